//! A submission: its inputs received in chunks, its model found, names that are taken decided on. The core allots ids and does the rest.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use spindle_core::cache;
use spindle_core::effect::{Answer, Command, Peer};
use spindle_core::estimate::{Estimate, Expected};
use spindle_core::rates::Rates;
use spindle_core::stores::Known;
use spindle_shared::batch::{BatchSpec, BatchView, OnExisting};
use spindle_shared::id::ContentHash;
use spindle_shared::job::{Input, JobSpec, OutputPlan, PathBytes};
use spindle_shared::limits;
use spindle_shared::notify::Notify;
use spindle_shared::object_store::{self, ANY};
use spindle_shared::output;
use spindle_shared::packed::Packed;
use spindle_shared::recipe::{REPORT, Recipe};
use spindle_shared::stage::Stage;
use spindle_shared::stage::compress::VIDEO_EXTENSION;
use spindle_shared::stage::fetch::Fetch;
use spindle_shared::stage::transcribe::Transcribe;
use spindle_shared::stage::upload::Upload;
use spindle_shared::text;
use spindle_shared::url::Url;
use spindle_shared::wire::request::{Request, Submission, TakenName};
use spindle_shared::wire::response::{PlannedJob, Refusal, RefusalKind, Response};

use super::House;
use super::connection::{Broken, Connection};
use super::read::{in_frames, on_store};
use crate::store::StoreError;
use crate::{machine, models, profiles, providers};

/// Between two frames of inputs.
const PATIENCE: Duration = Duration::from_secs(60);
/// Of the names that are taken, as many are told.
const TAKEN_TOLD_MAX: usize = 20;

/// Inputs as they came: their memory goes while they become jobs.
type Inputs = Packed<Submission>;

/// All inputs, or why there can't be so many.
pub async fn receive(connection: &mut Connection, total: u32) -> Result<Result<Inputs, Refusal>, Broken> {
    let total = total as usize;
    if total > limits::INPUTS_MAX {
        let message = format!("{total} inputs are more than {}", limits::INPUTS_MAX);
        return Ok(Err(Refusal::new(RefusalKind::Limit, message).hint("submit them as several batches")));
    }
    let mut inputs = Inputs::new();
    while inputs.len() < total {
        match connection.receive(Some(PATIENCE)).await? {
            Request::Inputs(more) if !more.is_empty() && inputs.len() + more.len() <= total => {
                more.iter().for_each(|input| inputs.push(input));
            }
            _ => return Err(Broken::Garbage("inputs that don't fit the submission".to_owned())),
        }
    }
    Ok(Ok(inputs))
}

enum Prepared {
    /// The batch with its jobs; or the one that its key stands for already.
    Whole(Box<BatchSpec>, Packed<JobSpec>, Option<Box<BatchView>>),
    /// All is right so far, but these files are to be sent before.
    Unsent(Vec<PathBytes>),
}

pub async fn submit(
    house: &Arc<House>,
    peer: Peer,
    mut spec: BatchSpec,
    inputs: Inputs,
    dry_run: bool,
) -> Result<Vec<Response>, Broken> {
    let refused = check_peer(house, peer, &spec, dry_run).and_then(|()| check_notify(house, &spec.terms.notify));
    if let Err(refusal) = refused {
        return Ok(vec![Response::Refused(refusal)]);
    }
    let key = spec.key.clone();
    let prepared = on_store(house, move |house| {
        if let Some(key) = &key
            && !dry_run
            && let Some(id) = house.reader.batch_of_key(peer.owner, key)?
            && let Some(view) = house.reader.batch(id)?
        {
            return Ok(Ok(Prepared::Whole(Box::new(spec), Packed::new(), Some(Box::new(view)))));
        }
        let total = inputs.len();
        if let Some(refusal) = no_room(house, total).filter(|_| !dry_run) {
            return Ok(Err(refusal));
        }
        if let Some(limit) = house.config.get().limits.max_inputs.filter(|limit| total > *limit as usize) {
            let message = format!("{total} inputs are more than limits.max_inputs = {limit}");
            return Ok(Err(Refusal::new(RefusalKind::Limit, message)));
        }
        let key = spec.key.clone().unwrap_or_default();
        let named = Named { house, peer, key, dry_run, unsent: RefCell::default() };
        if let Err(refusal) = named.in_recipe(&mut spec) {
            return Ok(Err(refusal));
        }
        without_missing_ears(&mut spec.recipe, &house.model_dir);
        if let Err(refusal) =
            models::resolve(&mut spec.recipe.map, &house.model_dir, house.mirror().as_ref(), named.pictures())
        {
            return Ok(Err(refusal));
        }
        if let Err(refusal) = profiles::resolve(&mut spec.recipe.map, &house.config.get().profiles()) {
            return Ok(Err(refusal));
        }
        let priced = spec.terms.max_cost.is_some();
        let known = house.config.get().providers();
        let recipe = &mut spec.recipe;
        for stages in [&mut recipe.map, &mut recipe.gather] {
            if let Err(refusal) = providers::resolve(stages, &known, priced) {
                return Ok(Err(refusal));
            }
        }
        if let Some(place) = &mut spec.gather_to {
            match placed(house, place) {
                Ok(true) => uploading(&mut spec.recipe.gather),
                Ok(false) => {
                    if let Err(refusal) = named.in_output(place) {
                        return Ok(Err(refusal));
                    }
                }
                Err(refusal) => return Ok(Err(refusal)),
            }
        }
        if let Err(message) = spec.recipe.validate() {
            return Ok(Err(Refusal::new(RefusalKind::Usage, message)));
        }
        let jobs = jobs(house, &named, &spec, inputs)?;
        if house.spool.as_ref().is_some_and(|spool| !dry_run && spool.flush().is_err()) {
            return Ok(Err(Refusal::new(RefusalKind::Internal, "what was sent can't be written to the disk")));
        }
        let unsent = named.unsent.take();
        match jobs {
            Ok(_) if !unsent.is_empty() => Ok(Ok(Prepared::Unsent(unsent))),
            Ok(jobs) => Ok(Ok(Prepared::Whole(Box::new(spec), jobs, None))),
            Err(refusal) => Ok(Err(refusal)),
        }
    })
    .await?;
    let (spec, jobs, repeats) = match prepared {
        Ok(Prepared::Whole(spec, jobs, repeats)) => (spec, jobs, repeats),
        Ok(Prepared::Unsent(mut paths)) => {
            paths.sort_unstable();
            paths.dedup();
            return Ok(in_frames(paths, Response::Unsent));
        }
        Err(refusal) => return Ok(vec![Response::Refused(refusal)]),
    };
    if dry_run {
        return on_store(house, move |house| Ok(plan(house, &spec, &jobs, &house.reader.rates()?))).await;
    }
    match house.inbox.ask(peer, Command::Submit { spec, jobs, repeats, after: Vec::new() }).await? {
        Answer::Frames(mut frames) => {
            if let Some(spool) = &house.spool {
                frames.insert(0, Response::Spool(Some(spool.view(peer))));
            }
            Ok(frames)
        }
        _ => Err(Broken::Stopping),
    }
}

/// Whoever may not open what the daemon may is served through the spool, or not at all.
fn check_peer(house: &House, peer: Peer, spec: &BatchSpec, dry_run: bool) -> Result<(), Refusal> {
    let Some(_) = &house.spool else {
        return match house.users.is_keeper(peer) {
            true => Ok(()),
            false => Err(Refusal::new(
                RefusalKind::NotPermitted,
                "this daemon opens files where they lie, and so for its own user and root only",
            )),
        };
    };
    match &spec.key {
        None if !dry_run => Err(Refusal::new(RefusalKind::Usage, "a batch whose inputs are sent has a key")),
        _ => Ok(()),
    }
}

/// Turns a user's names into the spool's, where there is one: after it, nothing outside of the spool and the model folder is named.
struct Named<'a> {
    house: &'a House,
    peer: Peer,
    key: String,
    dry_run: bool,
    /// Files that are to be sent before.
    unsent: RefCell<Vec<PathBytes>>,
}

impl Named<'_> {
    fn in_recipe(&self, spec: &mut BatchSpec) -> Result<(), Refusal> {
        self.in_stages(&mut spec.recipe.map)?;
        self.in_stages(&mut spec.recipe.gather)
    }

    /// Models are taken by name; pictures that are laid over others were sent as inputs are.
    fn in_stages(&self, stages: &mut [Stage]) -> Result<(), Refusal> {
        let Some(spool) = &self.house.spool else { return Ok(()) };
        let of_the_folder = |name: &str| match name.contains('/') {
            true => Err(Refusal::new(RefusalKind::NotPermitted, "a model is taken by its name here, not by a path")
                .hint("`spindlectl models list` shows what there is; administrators install others")),
            false => Ok(()),
        };
        for stage in stages {
            match stage {
                Stage::Transcribe(stage) => {
                    of_the_folder(&stage.model.name)?;
                    // Where it lies, the daemon finds; nothing stands that a client has put there.
                    stage.model.path = PathBytes::default();
                }
                Stage::Image(stage) => {
                    for (needed, is_model) in stage.needs_mut() {
                        needed.path = PathBytes::default();
                        if is_model {
                            of_the_folder(&needed.name)?;
                            continue;
                        }
                        let sent =
                            spool.sent(self.peer.owner, &self.key, &PathBytes(needed.name.clone().into_bytes()))?;
                        if self.dry_run {
                            continue;
                        }
                        if spool.identity(&sent).is_none() {
                            self.unsent.borrow_mut().push(PathBytes(needed.name.clone().into_bytes()));
                            continue;
                        }
                        needed.name = sent.to_string_lossy().into_owned();
                    }
                }
                // Everybody works with what is in the model folder.
                Stage::Pull(_) => self.peer.must_be_admin("install models")?,
                _ => {}
            }
        }
        Ok(())
    }

    /// A picture that will be sent is not there yet.
    fn pictures(&self) -> bool {
        self.house.spool.is_none() || (!self.dry_run && self.unsent.borrow().is_empty())
    }

    fn in_output(&self, output: &mut OutputPlan) -> Result<(), Refusal> {
        let Some(spool) = &self.house.spool else { return Ok(()) };
        let stem = &output.stem.0;
        if stem.is_empty()
            || stem.iter().any(|byte| matches!(byte, b'/' | 0))
            || stem.len() > output::FILE_NAME_BYTES_MAX
        {
            let message = format!("`{}` is no name for an output", output.stem);
            return Err(Refusal::new(RefusalKind::Usage, message));
        }
        let folder = spool.made(self.peer.owner, &self.key, &output.directory)?;
        if !self.dry_run {
            output.directory = folder.into();
        }
        Ok(())
    }

    /// A job's input as the spool has it; what is skipped needn't be there.
    fn in_input(&self, job: &mut JobSpec, stages: &[Stage]) -> Result<(), Refusal> {
        let Some(spool) = &self.house.spool else { return Ok(()) };
        if job.stages.as_deref().unwrap_or(stages).iter().any(|stage| matches!(stage, Stage::Pull(_))) {
            // It goes where all models are.
            job.output.directory = self.house.model_dir.clone().into();
        }
        let Input::File { path, identity } = &mut job.input else { return Ok(()) };
        let sent = spool.sent(self.peer.owner, &self.key, path)?;
        if self.dry_run {
            return Ok(());
        }
        match spool.identity(&sent) {
            Some(found) => *identity = found,
            None if job.skip.is_some() => {}
            None => self.unsent.borrow_mut().push(path.clone()),
        }
        *path = sent.into();
        Ok(())
    }
}

fn check_notify(house: &House, targets: &[Notify]) -> Result<(), Refusal> {
    if targets.len() > limits::NOTIFY_MAX {
        let message = format!("--notify names {} targets, and {} are the most", targets.len(), limits::NOTIFY_MAX);
        return Err(Refusal::new(RefusalKind::Limit, message));
    }
    for target in targets {
        target.validate().map_err(|why| Refusal::new(RefusalKind::Usage, format!("--notify: {why}")))?;
        if matches!(target, Notify::Webhook { secret: Some(_), .. }) {
            return Err(Refusal::new(
                RefusalKind::Usage,
                "--notify: what signs it stands in the daemon's configuration",
            ));
        }
        if matches!(target, Notify::Command(_)) && !house.runs_commands {
            return Err(Refusal::new(
                RefusalKind::NotPermitted,
                "--notify: a system service runs no commands of submissions",
            )
            .hint("name a web address, or have whoever runs spindled add a hook to its configuration"));
        }
    }
    Ok(())
}

/// What a job takes in the queue until it has ended, in bytes, rather more than less.
const JOB_BYTES: u64 = 1_024;

/// A submission never takes what the work in hand needs to come to its end.
fn no_room(house: &House, jobs: usize) -> Option<Refusal> {
    let free = machine::free_bytes(&house.state_dir)?;
    let needed = house.reserve_bytes.saturating_add(JOB_BYTES * jobs as u64);
    (free < needed).then(|| {
        let message = format!(
            "{} MiB are free on the disk of {}, and {} must stay so with this batch",
            free >> 20,
            PathBytes::from(house.state_dir.as_path()),
            needed >> 20
        );
        Refusal::new(RefusalKind::Limit, message).hint("make room there, and submit it again")
    })
}

/// Each input as a job, with what is decided about names that are taken; or the refusal of the whole.
fn jobs(
    house: &House,
    named_by: &Named<'_>,
    spec: &BatchSpec,
    inputs: Inputs,
) -> Result<Result<Packed<JobSpec>, Refusal>, StoreError> {
    let mut jobs = Packed::new();
    let mut taken_names: Vec<PathBytes> = Vec::new();
    let mut speeds: Option<BTreeMap<String, Known>> = None;
    for submission in inputs.drain() {
        let Submission { input, mut output, mut stages, taken } = submission;
        if let Some(own) = &mut stages {
            if let Err(refusal) = named_by.in_stages(own) {
                return Ok(Err(refusal));
            }
            if let Err(refusal) = models::resolve(own, &house.model_dir, house.mirror().as_ref(), named_by.pictures()) {
                return Ok(Err(refusal));
            }
            if let Err(refusal) = profiles::resolve(own, &house.config.get().profiles()) {
                return Ok(Err(refusal));
            }
            if let Some(message) = own.iter().find_map(|stage| stage.validate().err()) {
                return Ok(Err(Refusal::new(RefusalKind::Usage, format!("{input}: {message}"))));
            }
        }
        if let Some(own) = &mut stages
            && let Err(refusal) =
                providers::resolve(own, &house.config.get().providers(), spec.terms.max_cost.is_some())
        {
            return Ok(Err(refusal));
        }
        if let Input::Url(url) = &input {
            if let Err(error) = Url::parse(url.as_str()) {
                return Ok(Err(Refusal::new(RefusalKind::Usage, format!("an input's address {error}"))));
            }
            let config = house.config.get();
            if config.remote.fetching().pages.have(url) && config.remote.reader().is_none() {
                return Ok(Err(no_reader(house, url)));
            }
            if let Some((bucket, _)) = url.in_store()
                && !house.config.get().stores.values().any(|store| store.bucket == bucket)
            {
                return Ok(Err(no_store(bucket)));
            }
            stages = Some(fetching(stages.unwrap_or_else(|| spec.recipe.map.clone())));
        }
        let timed = stages.as_deref().unwrap_or(&spec.recipe.map).iter().any(is_timed);
        match placed(house, &mut output) {
            Ok(true) => {
                let stages = stages.get_or_insert_with(|| spec.recipe.map.clone());
                uploading(stages);
                if timed && speeds.is_none() {
                    speeds = Some(house.reader.stores()?);
                }
                if let Some(Err(refusal)) =
                    speeds.as_ref().filter(|_| timed).map(|known| in_time(house, stages, &output, known))
                {
                    return Ok(Err(refusal));
                }
            }
            Ok(false) if timed => {
                let refusal = Refusal::new(RefusalKind::Usage, "--max-upload-time is for outputs that go to a store");
                return Ok(Err(refusal.hint("name one with -o s3://BUCKET/PREFIX")));
            }
            Ok(false) => {
                if let Err(refusal) = named_by.in_output(&mut output) {
                    return Ok(Err(refusal));
                }
            }
            Err(refusal) => return Ok(Err(refusal)),
        }
        let stages = named(stages, &spec.recipe.map, &output);
        let mut job = JobSpec { input, output, stages, skip: None, replace: Vec::new() };
        match spec.on_existing {
            OnExisting::Force => {}
            OnExisting::Refuse => taken_names.extend(taken.into_iter().map(|name| name.path)),
            OnExisting::Skip => skip_existing(house, spec, &mut job, &taken)?,
        }
        if let Err(refusal) = named_by.in_input(&mut job, &spec.recipe.map) {
            return Ok(Err(refusal));
        }
        jobs.push(&job);
    }
    if taken_names.is_empty() {
        return Ok(Ok(jobs));
    }
    let shown: Vec<String> = taken_names.iter().take(TAKEN_TOLD_MAX).map(ToString::to_string).collect();
    let more = taken_names.len().saturating_sub(TAKEN_TOLD_MAX);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let message = format!("{} outputs exist already: {}{more}", taken_names.len(), shown.join(", "));
    Ok(Err(
        Refusal::new(RefusalKind::Usage, message).hint("--skip-existing keeps what is up to date; --force replaces it")
    ))
}

/// A report is written without a transcript where the usual model of speech isn't installed; whoever names one means it.
fn without_missing_ears(recipe: &mut Recipe, model_dir: &Path) {
    let usual = Transcribe::default();
    let missing = recipe.map.iter().any(|stage| match stage {
        Stage::Transcribe(stage) => {
            stage.model.name == usual.model.name
                && models::resolve(&mut [Stage::Transcribe(stage.clone())], model_dir, None, false).is_err()
        }
        _ => false,
    });
    if recipe.name == REPORT && missing {
        recipe.map.retain(|stage| !matches!(stage, Stage::Listen(_) | Stage::Transcribe(_)));
    }
}

/// A document names its pictures, and so must know what its own outputs are called.
fn named(own: Option<Vec<Stage>>, stages: &[Stage], output: &OutputPlan) -> Option<Vec<Stage>> {
    if !stages.iter().any(|stage| matches!(stage, Stage::Write(_))) {
        return own;
    }
    let mut stages = own.unwrap_or_else(|| stages.to_vec());
    for stage in &mut stages {
        if let Stage::Write(write) = stage {
            write.stem = String::from_utf8_lossy(&output.stem.0).into_owned();
        }
    }
    Some(stages)
}

/// The stages of an input that lies elsewhere: fetched, it is hashed, too.
fn fetching(mut stages: Vec<Stage>) -> Vec<Stage> {
    stages.retain(|stage| !matches!(stage, Stage::Identify(_)));
    stages.insert(0, Stage::Fetch(Fetch::default()));
    stages
}

/// The last stage of outputs that go to an object store.
fn uploading(stages: &mut [Stage]) {
    for stage in stages {
        if let Stage::Publish(publish) = stage {
            *stage = Stage::Upload(Upload { publish: publish.clone(), store: None });
        }
    }
}

fn is_timed(stage: &Stage) -> bool {
    matches!(stage, Stage::Compress(compress) if compress.upload_ms.is_some())
}

/// Fills in how much may be uploaded in the time that there is, as fast as it has gone so far; where any store may be it, to the slowest.
fn in_time(
    house: &House,
    stages: &mut [Stage],
    output: &OutputPlan,
    known: &BTreeMap<String, Known>,
) -> Result<(), Refusal> {
    let wanted = object_store::folder(&output.directory.0).map_or(ANY, |(bucket, _)| bucket);
    let config = house.config.get();
    let mut slowest = f64::INFINITY;
    for store in config.stores.values().filter(|store| wanted == ANY || store.bucket == wanted) {
        let Some(speed) = known.get(&store.bucket).and_then(Known::bytes_per_second) else {
            let message =
                format!("how fast uploads to the bucket `{}` go is not known yet", text::escaped(&store.bucket));
            return Err(Refusal::new(RefusalKind::Usage, message).hint("`spindlectl stores check` measures it"));
        };
        slowest = slowest.min(speed);
    }
    for stage in stages {
        if let Stage::Compress(compress) = stage {
            compress.upload_bytes = compress.upload_ms.map(|ms| (slowest * ms as f64 / 1e3) as u64);
        }
    }
    Ok(())
}

/// Whether outputs go to an object store, which must be one of the configuration's; where any will do, that is settled when their size is known.
fn placed(house: &House, output: &mut OutputPlan) -> Result<bool, Refusal> {
    let Some((bucket, prefix)) = object_store::folder(&output.directory.0) else { return Ok(false) };
    let config = house.config.get();
    let stores = &config.stores;
    if !stores.values().any(|store| bucket == ANY || store.bucket == bucket) {
        return Err(no_store(bucket));
    }
    let place = object_store::parse_folder(&format!("s3://{bucket}/{prefix}"));
    let place = place.map_err(|why| Refusal::new(RefusalKind::Usage, format!("the place for outputs {why}")))?;
    output.directory = PathBytes(place.into_bytes());
    Ok(true)
}

fn no_reader(house: &House, url: &Url) -> Refusal {
    let program = text::escaped(&house.config.get().remote.ytdlp_program);
    Refusal::new(
        RefusalKind::ModelMissing,
        format!("{url} is a page, and {program}, which reads such, is not installed"),
    )
    .hint("install it where the daemon's PATH finds it; or submit the address of the file itself")
}

fn no_store(bucket: &str) -> Refusal {
    let message = format!("the configuration has no store with the bucket `{}`", text::escaped(bucket));
    Refusal::new(RefusalKind::Usage, message).hint("whoever runs spindled adds it as a [stores.NAME]")
}

/// What a taken name means for its job.
enum Verdict {
    /// Made from this input with these parameters, or never ours: it stays.
    Keep(&'static str),
    /// Made otherwise and untouched since: it may be replaced while it has this content.
    Redo(ContentHash),
}

/// Keeps what is up to date or not ours, redoes what was made otherwise; formats that are kept are not made again.
fn skip_existing(house: &House, spec: &BatchSpec, job: &mut JobSpec, taken: &[TakenName]) -> Result<(), StoreError> {
    let stages = job.stages.clone().unwrap_or_else(|| spec.recipe.map.clone());
    if matches!(job.input, Input::Name(_)) {
        return Ok(());
    }
    let parameters = cache::parameters(&stages);
    let mut kept: Vec<(PathBytes, &'static str)> = Vec::new();
    for name in taken {
        match verdict(house, name, &job.input, parameters)? {
            Verdict::Keep(reason) => kept.push((name.path.clone(), reason)),
            Verdict::Redo(content) => job.replace.push((name.path.clone(), content)),
        }
    }
    if kept.is_empty() {
        return Ok(());
    }
    let missing: Vec<_> = formats_of(&stages)
        .into_iter()
        .filter(|format| !kept.iter().any(|(path, _)| extension_of(path) == Some(format.name().as_bytes())))
        .collect();
    // Only subtitles come in several formats; elsewhere one name that is kept is the whole of it.
    if missing.is_empty() {
        let reason = kept.iter().map(|(_, reason)| *reason).max_by_key(|reason| reason.len()).unwrap_or(EXISTS);
        let path = &kept[0].0;
        job.skip = Some(format!("{reason}: {path}"));
        return Ok(());
    }
    let mut own = stages;
    for stage in &mut own {
        if let Stage::Subtitle(subtitle) = stage {
            subtitle.formats.clone_from(&missing);
        }
    }
    job.stages = Some(own);
    Ok(())
}

const EXISTS: &str = "exists";
const EDITED: &str = "edited since";
const UP_TO_DATE: &str = "up to date";

fn verdict(house: &House, name: &TakenName, input: &Input, parameters: ContentHash) -> Result<Verdict, StoreError> {
    if house.spool.is_some() {
        // What lies at a user's name is not looked at: what was fetched there may have been edited since.
        return Ok(Verdict::Keep(EXISTS));
    }
    let Some(record) = house.reader.published(&name.path)? else {
        return Ok(if name.identity.bytes == 0 { Verdict::Redo(ContentHash::of(b"")) } else { Verdict::Keep(EXISTS) });
    };
    let content = content_of(name.path.as_path());
    if content != Some(record.content) {
        return Ok(if name.identity.bytes == 0 { Verdict::Redo(ContentHash::of(b"")) } else { Verdict::Keep(EDITED) });
    }
    let same_input = match input {
        // Inode and ctime change when a file is restored from a backup or given another mode; size and time of change don't.
        Input::File { identity, .. } => record
            .input
            .is_some_and(|made_from| made_from.bytes == identity.bytes && made_from.mtime_ns == identity.mtime_ns),
        // Whether what lies there is another by now, only fetching would tell.
        Input::Url(_) => house.reader.job_spec(record.job)?.is_some_and(|made_from| made_from.input == *input),
        Input::Name(_) => false,
    };
    Ok(if same_input && record.parameters == parameters {
        Verdict::Keep(UP_TO_DATE)
    } else {
        Verdict::Redo(record.content)
    })
}

fn content_of(path: &Path) -> Option<ContentHash> {
    let mut hasher = spindle_shared::id::ContentHasher::default();
    std::io::copy(&mut File::open(path).ok()?, &mut hasher).ok()?;
    Some(hasher.finish())
}

fn extension_of(path: &PathBytes) -> Option<&[u8]> {
    path.0.rsplit(|byte| *byte == b'.').next()
}

fn formats_of(stages: &[Stage]) -> Vec<spindle_shared::stage::subtitle::Format> {
    stages
        .iter()
        .find_map(|stage| if let Stage::Subtitle(subtitle) = stage { Some(subtitle.formats.clone()) } else { None })
        .unwrap_or_default()
}

/// Slots for most of a batch's work, as if all graphics cards were in order.
fn slots_for(house: &House, spec: &BatchSpec) -> u32 {
    let slots = house.config.get().slots(house.gpus.count());
    let heaviest = spec.recipe.map.iter().max_by_key(|stage| stage.facts().weight);
    let wish = heaviest.map_or(spec.recipe.lane(), |stage| house.gpus.lane_for(stage));
    slots.iter().filter(|(lane, _)| house.gpus.serves(**lane, wish)).map(|(_, slots)| slots).sum()
}

/// What a dry run tells of each job.
fn plan(house: &House, spec: &BatchSpec, jobs: &Packed<JobSpec>, rates: &Rates) -> Vec<Response> {
    let work = jobs.iter().filter(|job| job.skip.is_none()).count();
    let slots = slots_for(house, spec);
    let estimate = Estimate::new(spec, u32::try_from(work).unwrap_or(u32::MAX), slots, rates, &house.gpus);
    let planned: Vec<PlannedJob> = jobs
        .iter()
        .zip(1..)
        .map(|(job, index)| {
            let stages = job.stages.as_deref().unwrap_or(&spec.recipe.map);
            let skipped = job.skip.is_some();
            let nothing = Expected { seconds: Some(0.0), bytes: Some(0.0) };
            let expected = if skipped { nothing } else { estimate.job(&job) };
            PlannedJob {
                index,
                input: job.input.clone(),
                outputs: if skipped { Vec::new() } else { outputs_of(&job, stages) },
                skipped_reason: job.skip.clone(),
                estimated_seconds: expected.seconds,
                estimated_bytes: expected.bytes,
            }
        })
        .collect();
    // Its number is the gather's own, which no input has.
    let assembles = spec.recipe.gather.iter().any(|stage| matches!(stage, Stage::Assemble(_)));
    let gather = assembles.then(|| PlannedJob {
        index: 0,
        input: Input::Name(String::new()),
        outputs: Vec::new(),
        skipped_reason: None,
        estimated_seconds: None,
        estimated_bytes: spindle_core::estimate::gather_bytes(spec, jobs, rates),
    });
    let planned: Vec<PlannedJob> = planned.into_iter().chain(gather).collect();
    let mut frames: Vec<Response> =
        planned.chunks(limits::ROWS_PER_FRAME_MAX / 4).map(|chunk| Response::Planned(chunk.to_vec())).collect();
    frames.push(Response::End);
    frames
}

/// Final names, with `{lang}` where the language is not known yet.
fn outputs_of(job: &JobSpec, stages: &[Stage]) -> Vec<PathBytes> {
    let suffix = stages.iter().find_map(|stage| match stage {
        Stage::Publish(publish) | Stage::Upload(Upload { publish, .. }) => Some(publish.language_suffix),
        _ => None,
    });
    let language = stages.iter().find_map(|stage| match stage {
        Stage::Transcribe(transcribe) if transcribe.translate || transcribe.model.english_only => Some("en".to_owned()),
        Stage::Transcribe(transcribe) => transcribe.language.clone(),
        _ => None,
    });
    let shown = suffix.unwrap_or(true).then(|| language.unwrap_or_else(|| "{lang}".to_owned()));
    let directory = job.output.directory.as_path();
    let input = match &job.input {
        Input::File { path, .. } => path.clone(),
        Input::Url(url) => PathBytes(url.file_name().into_bytes()),
        Input::Name(_) => PathBytes::default(),
    };
    let mut endings: Vec<String> = stages.iter().flat_map(|stage| stage.endings(input.as_path())).collect();
    if let Some(compress) =
        stages.iter().find_map(|stage| if let Stage::Compress(stage) = stage { Some(stage) } else { None })
        && compress.endings().len() > 1
    {
        endings = vec![format!("{{profile}}.{VIDEO_EXTENSION}")];
    }
    endings
        .into_iter()
        .map(|ending| {
            let name = output::file_name(&job.output.stem, shown.as_deref(), &ending);
            directory.join(name.as_path()).into()
        })
        .collect()
}
