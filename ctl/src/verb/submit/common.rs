//! What every recipe's submission has in common: inputs, where outputs go, how the batch runs, and what is done after.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use spindle_shared::batch::{After, BatchSpec, Halt, OnExisting, Priority, Terms, TimeLimit};
use spindle_shared::exit;
use spindle_shared::id::{BatchId, Target};
use spindle_shared::intake::{self, Intake, ListFile, Problem};
use spindle_shared::job::{OutputPlan, PathBytes};
use spindle_shared::limits::{PARALLEL_MAX, TAGS_MAX};
use spindle_shared::notify::Notify;
use spindle_shared::object_store;
use spindle_shared::output::{self, Candidates, Names, Placed};
use spindle_shared::recipe::Recipe;
use spindle_shared::stage::Stage;
use spindle_shared::time::WallMs;
use spindle_shared::url;
use spindle_shared::wire::request::Submission;
use spindle_shared::wire::response::{PlannedJob, Response};

use super::RecipeOptions;
use super::overrides::Overrides;
use super::send::{Sent, send};
use crate::Context;
use crate::fault::Fault;
use crate::follow::{Course, Display, Ending, detach_on_interrupt, follow};
use crate::named;
use crate::output::human;
use crate::output::json::{BatchJson, PlanJson, PlannedJson, SubmitJson};
use crate::output::progress::{ProgressFile, Stream};
use crate::output::table::{Align, Table};
use crate::verb::fetch::fetch_ended;
use crate::verb::wait::conclude;
use crate::verb::watch::{JOBS_SHOWN, display};

/// Problems and files listed before the rest is counted.
const LISTED_MAX: usize = 20;

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Batch options")]
pub struct Common {
    /// Files, and with -r folders; https://, http:// and s3:// addresses are fetched first
    #[arg(value_name = "INPUT")]
    inputs: Vec<PathBuf>,
    /// Take the recordings and videos in folders, and in folders in them
    #[arg(short, long)]
    recurse: bool,
    /// Take inputs from a list: lines of text (`#` begins a comment), .csv with a header, or .jsonl; columns beside
    /// `input` are options of the recipe for that input; `-` is standard input
    #[arg(long, value_name = "FILE")]
    from: Vec<PathBuf>,
    /// Folder for outputs, or s3://BUCKET/PREFIX in a store of the configuration (s3://*/PREFIX: all of them, in turn or by the room that is left,
    /// as the configuration says); otherwise they land beside their inputs, and those of addresses in the current folder
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// 0–100, smaller runs first; or urgent, high, normal, low, idle; `auto` = by the inputs' sizes (small ones earlier), and
    /// later with each retry
    #[arg(short, long, value_name = "P", default_value = "normal", value_parser = named::own_priority)]
    // Of its own type: clap takes an `Option` for an option that may be left out.
    priority: named::OwnPriority,
    /// Jobs at work at the same time; 1–64 [default: depends on the recipe]
    #[arg(short = 'j', long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(PARALLEL_MAX)))]
    parallel: Option<u32>,
    /// A name for people
    #[arg(long, value_parser = named::name)]
    name: Option<String>,
    /// A tag to find the batch by; may be given several times
    #[arg(long, value_name = "K=V", value_parser = named::tag)]
    tag: Vec<(String, String)>,
    /// Tries after the first, for failures that may pass; otherwise each kind of failure has its own number
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=100))]
    retries: Option<u32>,
    /// Longest time for one stage of one job: `90`, `5m`, `1h30m`; `3x` = three times as long as the recording, and a minute at
    /// least
    #[arg(long, value_name = "DUR", value_parser = named::time_limit)]
    timeout: Option<TimeLimit>,
    /// Skip inputs whose outputs are there and were made from the same input in the same way
    #[arg(long, conflicts_with = "force")]
    skip_existing: bool,
    /// Replace whatever has an output's name
    #[arg(long)]
    force: bool,
    /// Show what would be done, and do nothing
    #[arg(long, conflicts_with_all = ["wait", "follow", "progress_file"])]
    dry_run: bool,
    /// Wait for the end, and exit as `wait` does
    #[arg(long)]
    wait: bool,
    /// Wait for the end and show progress
    #[arg(long)]
    follow: bool,
    /// Wait for the end and keep the batch's state in this file for other programs: the JSON that `status` gives, at most
    /// twice a second and at the end, always whole
    #[arg(long, value_name = "FILE")]
    progress_file: Option<PathBuf>,
    /// Begin when these batches have completed; if one of them ends otherwise, this one fails
    #[arg(long, value_name = "ID", value_delimiter = ',')]
    after: Vec<BatchId>,
    /// Begin when these batches have ended, however
    #[arg(long, value_name = "ID", value_delimiter = ',')]
    after_any: Vec<BatchId>,
    /// Begin at this time: `23:30`, `+2h`, `2026-12-24T18:00:00Z`
    #[arg(long, value_name = "TIME", value_parser = named::moment, allow_hyphen_values = true)]
    at: Option<WallMs>,
    /// Give the rest up when so many jobs have failed: `soon,fail=3` lets what runs end, `now,fail=10%` stops it too
    #[arg(long, value_name = "WHEN")]
    halt: Option<Halt>,
    /// What its model APIs may cost, in the unit of the configured prices; what would pass it fails, and is not asked
    #[arg(long, value_name = "COST", value_parser = named::cost)]
    max_cost: Option<f64>,
    /// Tell somebody of its end: a web address, which gets it as JSON, or a command, which gets it on standard input and in its environment, and
    /// runs without a shell; may be given several times
    #[arg(long, value_name = "CMD|URL")]
    notify: Vec<Notify>,
    /// The same key gives the same batch: a submission repeated by mistake is taken once
    #[arg(long, value_parser = named::name)]
    key: Option<String>,
}

impl Common {
    fn terms(&self) -> Terms {
        let after = |batches: &[BatchId], any_end: bool| -> Vec<After> {
            batches.iter().map(|batch| After { batch: *batch, any_end }).collect()
        };
        let after = [after(&self.after, false), after(&self.after_any, true)].concat();
        let (auto_priority, notify) = (self.priority.0.is_none(), self.notify.clone());
        Terms { after, at: self.at, halt: self.halt, auto_priority, max_cost: self.max_cost, notify }
    }
}

/// Finds the inputs, plans the outputs, submits, and stays if it was asked to.
pub fn submit<R: RecipeOptions>(context: &Context, options: R, common: Common) -> Result<u8, Fault> {
    let (spec, inputs) = prepared(context, options, &common)?;
    if common.dry_run {
        return dry_run(context, spec, &inputs);
    }
    if let Some(path) = &common.progress_file {
        let folder = std::path::absolute(path).ok().and_then(|path| path.parent().map(Path::to_owned));
        if !folder.is_some_and(|folder| folder.is_dir()) {
            return Err(Fault::usage(format!("--progress-file {}: its folder isn't there", shown(path))));
        }
        // It is replaced at every change; a device or a pipe would be gone.
        if std::fs::metadata(path).is_ok_and(|meta| !meta.is_file()) {
            return Err(Fault::usage(format!("--progress-file {}: is there, and is no file", shown(path))));
        }
    }
    let sent = send(context, spec, &inputs)?;
    stay(context, &sent, &common)
}

/// What is to be submitted: all that can be known without the daemon.
pub fn prepared<R: RecipeOptions>(
    context: &Context,
    options: R,
    common: &Common,
) -> Result<(BatchSpec, Vec<Submission>), Fault> {
    let matches = context
        .matches
        .subcommand_matches("submit")
        .and_then(|submit| submit.subcommand_matches(R::NAME))
        .ok_or_else(|| Fault::error("the command line lost its recipe"))?;
    let names = options.names();
    let recipe = options.recipe(common.force).map_err(Fault::usage)?;
    let mut overrides = Overrides::new::<R>(matches, common.force);
    if common.skip_existing && !recipe.gather.is_empty() {
        return Err(Fault::usage("--skip-existing: an input that is skipped has no result to gather")
            .hint("--force does what is needed: what is known already isn't done again, and what is the same isn't written again"));
    }
    let inputs = inputs::<R>(context, common, &recipe.map, &mut overrides, names.as_ref())?;
    let gather_to = gather_to(&recipe, common, &inputs)?;
    if common.tag.len() > TAGS_MAX {
        return Err(Fault::usage(format!("{} tags are more than {TAGS_MAX}", common.tag.len())));
    }
    let spec = BatchSpec {
        recipe,
        name: common.name.clone(),
        tags: common.tag.clone(),
        priority: common.priority.0.unwrap_or(Priority::NORMAL),
        parallel: common.parallel.unwrap_or(R::PARALLEL),
        retries: common.retries,
        timeout: common.timeout,
        key: common.key.clone(),
        on_existing: match (common.skip_existing, common.force) {
            (true, _) => OnExisting::Skip,
            (false, true) => OnExisting::Force,
            (false, false) => OnExisting::Refuse,
        },
        terms: common.terms(),
        gather_to,
    };
    Ok((spec, inputs))
}

/// Inputs with their outputs' places and names that are taken already.
fn inputs<R: RecipeOptions>(
    context: &Context,
    common: &Common,
    stages: &[Stage],
    overrides: &mut Overrides,
    names: Option<&Names>,
) -> Result<Vec<Submission>, Fault> {
    let columns = overrides.columns();
    let intake = Intake { recurse: common.recurse, extensions: R::EXTENSIONS, columns: &columns };
    let lists: Vec<ListFile> = common
        .from
        .iter()
        .map(|path| if path == Path::new("-") { ListFile::Standard } else { ListFile::File(path.clone()) })
        .collect();
    if lists.iter().filter(|list| **list == ListFile::Standard).count() > 1 {
        return Err(Fault::usage("standard input can be read once only: `--from -` is given twice"));
    }
    let taken_in = intake.take(&common.inputs, &lists).map_err(|problems| wrong_inputs(&problems))?;
    tell_dropped(context, &taken_in.dropped);
    let found = taken_in.found;
    if found.is_empty() {
        let fault = Fault::usage("there are no inputs");
        return Err(match common.inputs.is_empty() && common.from.is_empty() {
            true => fault.hint("name files, folders with -r, or a list with --from"),
            false => fault,
        });
    }

    let mut problems = Vec::new();
    let mut own_stages = Vec::with_capacity(found.len());
    for input in &found {
        own_stages.push(match input.overrides.as_slice() {
            [] => None,
            row => match overrides.stages::<R>(row) {
                Ok(stages) => Some(stages),
                Err(why) => {
                    let path = Some(PathBytes(input.input.to_string().into_bytes()));
                    problems.push(Problem { origin: input.origin.clone(), path, why });
                    None
                }
            },
        });
    }
    if !problems.is_empty() {
        return Err(wrong_inputs(&problems));
    }

    let directory = output_folder(common.output.as_deref())?;
    let placed: Vec<Placed<'_>> =
        found.iter().map(|input| Placed { path: &input.path, root: input.root.as_deref() }).collect();
    let mut plans = output::plan(&placed, directory.as_deref());
    if let Some(names) = names.filter(|names| names.pattern != output::STEM) {
        names.rename(&mut plans);
    }
    let folders: BTreeSet<_> = plans.iter().map(|plan| &plan.directory).collect();
    let closed: Vec<String> = folders
        .into_iter()
        .filter(|folder| object_store::folder(&folder.0).is_none())
        .filter_map(|folder| intake::writable(folder.as_path()).err().map(|why| format!("{folder}: {why}")))
        .collect();
    if !closed.is_empty() {
        return Err(listed("output folders can't be used", &closed).hint("name another with -o"));
    }

    let candidates: Vec<(&OutputPlan, Candidates)> = plans
        .iter()
        .zip(&own_stages)
        .zip(&found)
        .map(|((plan, own), input)| (plan, candidates(plan, own.as_deref().unwrap_or(stages), &input.path)))
        .collect();
    let taken = intake::taken(&candidates);
    drop(candidates);
    Ok(found
        .into_iter()
        .zip(plans)
        .zip(own_stages)
        .zip(taken)
        .map(|(((input, output), stages), taken)| Submission { input: input.input, output, stages, taken })
        .collect())
}

/// Where what is gathered goes: the output folder, or beside the first input; named after the recipe.
fn gather_to(recipe: &Recipe, common: &Common, inputs: &[Submission]) -> Result<Option<OutputPlan>, Fault> {
    if recipe.gather.is_empty() {
        return Ok(None);
    }
    let directory = match output_folder(common.output.as_deref())? {
        Some(folder) => folder.into(),
        None => inputs.first().map(|input| input.output.directory.clone()).unwrap_or_default(),
    };
    Ok(Some(OutputPlan { directory, stem: PathBytes(recipe.name.clone().into_bytes()) }))
}

/// Names that a job with these stages may publish under.
fn candidates(plan: &OutputPlan, stages: &[Stage], input: &Path) -> Candidates {
    let mut language = None;
    let mut suffix = true;
    let mut extensions = Vec::new();
    for stage in stages {
        match stage {
            Stage::Transcribe(transcribe) if transcribe.translate => language = Some("en"),
            Stage::Transcribe(transcribe) => language = transcribe.language.as_deref(),
            Stage::Publish(publish) => suffix = publish.language_suffix,
            other => {
                let endings = other.endings(input);
                extensions = if endings.is_empty() { extensions } else { endings };
            }
        }
    }
    let extensions: Vec<&str> = extensions.iter().map(String::as_str).collect();
    output::candidates(plan, language, suffix, &extensions)
}

fn output_folder(named: Option<&Path>) -> Result<Option<PathBuf>, Fault> {
    let Some(folder) = named else { return Ok(None) };
    if url::is_url(folder.as_os_str().as_encoded_bytes()) && !folder.exists() {
        let place = object_store::parse_folder(&folder.to_string_lossy());
        return place
            .map(|place| Some(place.into()))
            .map_err(|why| Fault::usage(format!("-o {}: {why}", shown(folder))));
    }
    std::path::absolute(folder).map(Some).map_err(|error| Fault::usage(format!("-o {}: {error}", shown(folder))))
}

fn shown(path: &Path) -> String {
    human::escaped(&path.to_string_lossy())
}

fn wrong_inputs(problems: &[Problem]) -> Fault {
    listed("inputs can't be taken", &problems.iter().map(ToString::to_string).collect::<Vec<_>>())
}

/// One problem on the error's own line; several below it, the first twenty in full.
fn listed(what: &str, problems: &[String]) -> Fault {
    match problems {
        [one] => Fault::usage(one.clone()),
        several => {
            let mut message = format!("{} {what}:", several.len());
            for problem in several.iter().take(LISTED_MAX) {
                message.push_str("\n  ");
                message.push_str(problem);
            }
            if several.len() > LISTED_MAX {
                message.push_str(&format!("\n  … and {} more", several.len() - LISTED_MAX));
            }
            Fault::usage(message)
        }
    }
}

fn tell_dropped(context: &Context, dropped: &[Problem]) {
    for problem in dropped.iter().take(LISTED_MAX) {
        context.console.talk(format_args!("left out: {problem}"));
    }
    if dropped.len() > LISTED_MAX {
        context.console.talk(format_args!("left out: {} more", dropped.len() - LISTED_MAX));
    }
}

fn dry_run(context: &Context, spec: BatchSpec, inputs: &[Submission]) -> Result<u8, Fault> {
    let recipe = spec.recipe.name.clone();
    let parallel = spec.parallel.max(1);
    let total = u32::try_from(inputs.len()).map_err(|_| Fault::usage("too many inputs"))?;
    let planned: Vec<PlannedJob> = context
        .daemon
        .connect()?
        .submit(spec, total, true, inputs.iter().cloned())?
        .into_iter()
        .filter_map(|response| match response {
            Response::Planned(planned) => Some(planned),
            _ => None,
        })
        .flatten()
        .collect();
    let (gather, planned): (Vec<PlannedJob>, Vec<PlannedJob>) = planned.into_iter().partition(|job| job.index == 0);
    let skipped = planned.iter().filter(|job| job.skipped_reason.is_some()).count();
    // As at submission: ⌈n ÷ parallel⌉ × the expected time of a job; unknown where one of them is.
    let work = || planned.iter().filter(|job| job.skipped_reason.is_none());
    let jobs = u32::try_from(work().count()).unwrap_or(u32::MAX);
    let seconds: Option<f64> = work().map(|job| job.estimated_seconds).sum();
    let estimated_seconds =
        seconds.map(|seconds| f64::from(jobs.div_ceil(parallel)) * seconds / f64::from(jobs.max(1)));
    // Most that is on the disk at one time.
    let bytes: Option<Vec<f64>> = work().map(|job| job.estimated_bytes).collect();
    let gathers = gather.first().map_or(Some(0.0), |gather| gather.estimated_bytes);
    let estimated_bytes = bytes.zip(gathers).map(|(mut bytes, gathers)| {
        bytes.sort_by(|one, other| other.total_cmp(one));
        bytes.iter().take(parallel as usize).sum::<f64>().max(gathers)
    });
    context.console.either(
        || PlanJson {
            dry_run: true,
            recipe,
            total: planned.len(),
            skipped,
            estimated_seconds,
            estimated_bytes: estimated_bytes.map(|bytes| bytes as u64),
            jobs: planned.iter().map(PlannedJson::from).collect(),
        },
        || {
            let mut table = Table::new(&[
                ("JOB", Align::Right),
                ("ABOUT", Align::Right),
                ("INPUT", Align::Left),
                ("OUTPUTS OR REASON", Align::Left),
            ]);
            for job in &planned {
                let outputs = job.outputs.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
                let remark = job
                    .skipped_reason
                    .as_ref()
                    .map_or(outputs, |reason| format!("skipped: {}", human::escaped(reason)));
                let about = job.estimated_seconds.filter(|_| job.skipped_reason.is_none());
                let about = about.map_or(human::UNKNOWN.to_owned(), human::seconds);
                table.row(vec![
                    job.index.to_string().into(),
                    about.into(),
                    job.input.to_string().into(),
                    remark.into(),
                ]);
            }
            table.render(false)
        },
    )?;
    let disk = estimated_bytes.filter(|bytes| *bytes >= 1.0).map(|bytes| human::bytes(bytes as u64));
    let estimate = match (estimated_seconds.map(human::seconds), disk) {
        (None, None) => String::new(),
        (Some(time), None) => format!(", about {time}"),
        (None, Some(disk)) => format!(", about {disk} of disk while it runs"),
        (Some(time), Some(disk)) => format!(", about {time} and {disk} of disk while it runs"),
    };
    context
        .console
        .talk(format_args!("{}, {skipped} skipped{estimate}; nothing was submitted", counted(planned.len())));
    Ok(exit::DONE)
}

fn counted(count: usize) -> String {
    if count == 1 { "1 input".to_owned() } else { format!("{count} inputs") }
}

/// Tells what was submitted, and follows it where that was asked for.
fn stay(context: &Context, sent: &Sent, common: &Common) -> Result<u8, Fault> {
    let Sent { submitted, spooled } = sent;
    let batch = &submitted.batch;
    let stays = common.wait || common.follow || common.progress_file.is_some();
    let console = context.console;
    if !console.json {
        console.data(&format!("{}\n", batch.id))?;
    } else if !stays || common.follow {
        console.document(&SubmitJson::from(submitted))?;
    }
    if submitted.repeated {
        console.talk(format_args!("batch {} has this key already; nothing new was submitted", batch.id));
    } else {
        let skipped =
            if batch.counts.skipped > 0 { format!(", {} skipped", batch.counts.skipped) } else { String::new() };
        let estimate = submitted.estimated_seconds.map(|seconds| format!(", about {}", human::seconds(seconds)));
        let estimate = estimate.unwrap_or_default();
        console.talk(format_args!("batch {}: {}{skipped}{estimate}", batch.id, counted(batch.counts.total() as usize)));
    }
    if !stays {
        return Ok(exit::DONE);
    }
    detach_on_interrupt(context, format!("let go; batch {} goes on", batch.id))?;
    let mut displays: Vec<Box<dyn Display>> = Vec::new();
    if common.follow {
        displays.push(display(console, Stream::Err));
    }
    if let Some(path) = &common.progress_file {
        displays.push(Box::new(ProgressFile::new(console, path, batch.id)));
    }
    let jobs = if common.follow { JOBS_SHOWN } else { 0 };
    let course = Course { targets: vec![Target::Batch(batch.id)], jobs, ..Course::default() };
    let ending = follow(context, &course, &mut displays)?;
    if console.json
        && let Ending::Ended(outcome) = &ending
        && let Some(ended) = outcome.batches.first()
    {
        console.document(&EndedJson {
            batch: BatchJson::new(ended, human::now()),
            estimated_seconds: submitted.estimated_seconds,
            repeated: submitted.repeated,
        })?;
    }
    if *spooled && matches!(ending, Ending::Ended(_)) {
        fetch_ended(context, Target::Batch(batch.id), common.force)?;
    }
    conclude(context, ending)
}

/// A submission that was waited for: the batch as it ended, with what `submit` says of it.
#[derive(Debug, serde::Serialize)]
struct EndedJson {
    #[serde(flatten)]
    batch: BatchJson,
    estimated_seconds: Option<f64>,
    repeated: bool,
}
