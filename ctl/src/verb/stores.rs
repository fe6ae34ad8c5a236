//! `stores`: which object stores there are, and whether each does what is needed of it.

use clap::Subcommand;
use serde::Serialize;
use spindle_shared::batch::{BatchSpec, OnExisting, Priority};
use spindle_shared::exit;
use spindle_shared::id::Target;
use spindle_shared::job::{Figure, Input, JobState, JobView, OutputPlan};
use spindle_shared::object_store::{SENT_BYTES, SENT_SECONDS, StoreView};
use spindle_shared::recipe::Recipe;
use spindle_shared::wire::request::Submission;

use super::submit::send::send;
use crate::Context;
use crate::fault::Fault;
use crate::follow::{Course, detach_on_interrupt, follow};
use crate::named;
use crate::output::human;
use crate::output::table::{Align, Cell, Table};

/// Object stores that inputs come from and outputs go to
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true)]
pub struct Stores {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Lists them with endpoint, bucket, quota and what Spindle has put there, how fast an upload goes, and the life of links; no key is shown
    List,
    /// Tries each out with one small object: writes it, reads it back by a signed link, sees a link refused after its time, sends 1 MiB to see how
    /// fast uploads go, and removes it
    Check {
        /// Otherwise all of the configuration
        #[arg(value_name = "STORE")]
        names: Vec<String>,
    },
}

#[derive(Debug, Serialize)]
struct StoreJson {
    store: String,
    endpoint: String,
    bucket: String,
    link_seconds: u64,
    /// `null` = any number.
    quota_bytes: Option<u64>,
    stored_bytes: u64,
    bytes_per_second: Option<u64>,
}

#[derive(Debug, Serialize)]
struct CheckedJson {
    #[serde(flatten)]
    store: StoreJson,
    /// It does all that outputs and inputs need.
    usable: bool,
    write_seconds: Option<f64>,
    read_seconds: Option<f64>,
    links_expire: Option<bool>,
    removes: Option<bool>,
    /// Of one MiB that was sent.
    measured_bytes_per_second: Option<u64>,
    notes: Vec<String>,
    failure: Option<FailureJson>,
}

#[derive(Debug, Serialize)]
struct FailureJson {
    kind: &'static str,
    message: String,
    advice: String,
}

impl From<&StoreView> for StoreJson {
    fn from(view: &StoreView) -> Self {
        StoreJson {
            store: view.name.clone(),
            endpoint: view.endpoint.clone(),
            bucket: view.bucket.clone(),
            link_seconds: view.link_seconds,
            quota_bytes: view.quota_bytes,
            stored_bytes: view.stored_bytes,
            bytes_per_second: view.bytes_per_second,
        }
    }
}

impl CheckedJson {
    fn of(view: &StoreView, job: &JobView) -> Self {
        let number = |name: &str| job.detail.number(name);
        let is = |name: &str| {
            let known = job.detail.figures.iter().find(|(known, _)| known == name);
            known.map(|(_, figure)| *figure == Figure::Flag(true))
        };
        CheckedJson {
            store: StoreJson::from(view),
            usable: job.state == JobState::Completed,
            write_seconds: number("write_seconds"),
            read_seconds: number("read_seconds"),
            links_expire: is("links_expire"),
            removes: is("removes"),
            measured_bytes_per_second: number(SENT_BYTES)
                .zip(number(SENT_SECONDS).filter(|seconds| *seconds > 0.0))
                .map(|(bytes, seconds)| (bytes / seconds) as u64),
            notes: job.detail.notes.clone(),
            failure: job.failure.as_ref().map(|failure| FailureJson {
                kind: failure.kind.name(),
                message: failure.message.clone(),
                advice: failure.advice.clone(),
            }),
        }
    }
}

impl Stores {
    pub fn run(self, context: &Context) -> Result<u8, Fault> {
        let all = context.daemon.stores()?;
        match self.verb {
            Verb::List => list(context, &all),
            Verb::Check { names } => check(context, all, &names),
        }
    }
}

fn list(context: &Context, stores: &[StoreView]) -> Result<u8, Fault> {
    context.console.either(
        || stores.iter().map(StoreJson::from).collect::<Vec<_>>(),
        || {
            if stores.is_empty() {
                return "the configuration names none\n".to_owned();
            }
            let mut table = Table::new(&[
                ("STORE", Align::Left),
                ("BUCKET", Align::Left),
                ("STORED", Align::Right),
                ("QUOTA", Align::Right),
                ("UPLOADS AT", Align::Right),
                ("LINKS LIVE", Align::Right),
                ("ENDPOINT", Align::Left),
            ]);
            for store in stores {
                let lives = match store.link_seconds {
                    0 => "none made".to_owned(),
                    seconds => human::seconds(seconds as f64),
                };
                table.row(vec![
                    human::escaped(&store.name).into(),
                    human::escaped(&store.bucket).into(),
                    human::bytes(store.stored_bytes).into(),
                    store.quota_bytes.map_or("-".to_owned(), human::bytes).into(),
                    store.bytes_per_second.map_or("-".to_owned(), speed).into(),
                    lives.into(),
                    human::escaped(&store.endpoint).into(),
                ]);
            }
            table.render(context.console.colour)
        },
    )?;
    Ok(exit::DONE)
}

fn check(context: &Context, stores: Vec<StoreView>, names: &[String]) -> Result<u8, Fault> {
    let stores = named::configured("store", stores, |store| &store.name, names)?;
    if stores.is_empty() {
        context.console.either(Vec::<CheckedJson>::new, || "the configuration names none\n".to_owned())?;
        return Ok(exit::DONE);
    }
    let spec = BatchSpec {
        recipe: Recipe::check(),
        name: Some("stores check".to_owned()),
        tags: Vec::new(),
        priority: Priority::NORMAL,
        parallel: 4,
        // Whoever checks wants to know how it is now.
        retries: Some(0),
        timeout: None,
        key: None,
        on_existing: OnExisting::Refuse,
        terms: Default::default(),
        gather_to: None,
    };
    let inputs: Vec<Submission> = stores
        .iter()
        .map(|store| Submission {
            input: Input::Name(store.name.clone()),
            output: OutputPlan::default(),
            stages: None,
            taken: Vec::new(),
        })
        .collect();
    let id = send(context, spec, &inputs)?.submitted.batch.id;
    detach_on_interrupt(context, format!("let go; batch {id} goes on"))?;
    follow(context, &Course { targets: vec![Target::Batch(id)], jobs: 0, ..Course::default() }, &mut [])?;
    let jobs = context.daemon.jobs(id, Vec::new())?;
    let checked: Vec<CheckedJson> = stores.iter().zip(&jobs).map(|(store, job)| CheckedJson::of(store, job)).collect();
    context.console.either(|| &checked, || table(&checked).render(context.console.colour) + &findings(&checked))?;
    let usable = checked.iter().filter(|store| store.usable).count();
    Ok(match usable {
        all if all == checked.len() => exit::DONE,
        0 => exit::ALL_FAILED,
        _ => exit::SOME_FAILED,
    })
}

fn speed(bytes_per_second: u64) -> String {
    format!("{}/s", human::bytes(bytes_per_second))
}

fn table(checked: &[CheckedJson]) -> Table {
    let mut table = Table::new(&[
        ("STORE", Align::Left),
        ("USABLE", Align::Left),
        ("WRITES", Align::Right),
        ("READS", Align::Right),
        ("LINKS EXPIRE", Align::Left),
        ("REMOVES", Align::Left),
        ("UPLOADS AT", Align::Right),
        ("BUCKET", Align::Left),
    ]);
    let seconds = |seconds: Option<f64>| seconds.map_or("-".to_owned(), |seconds| format!("{seconds:.2} s"));
    let word = |is: Option<bool>| is.map_or("-", |is| if is { "yes" } else { "no" });
    for store in checked {
        table.row(vec![
            human::escaped(&store.store.store).into(),
            if store.usable { Cell::coloured("yes", Some("32")) } else { Cell::coloured("no", Some("31")) },
            seconds(store.write_seconds).into(),
            seconds(store.read_seconds).into(),
            word(store.links_expire).into(),
            word(store.removes).into(),
            store.measured_bytes_per_second.map_or("-".to_owned(), speed).into(),
            human::escaped(&store.store.bucket).into(),
        ]);
    }
    table
}

/// What is wrong with each, and what to do.
fn findings(checked: &[CheckedJson]) -> String {
    let mut text = String::new();
    for store in checked {
        let name = human::escaped(&store.store.store);
        for note in &store.notes {
            text.push_str(&format!("{name}: {}\n", human::escaped(note)));
        }
        if let Some(failure) = &store.failure {
            text.push_str(&format!("{name}: {}: {}\n", failure.kind, human::escaped(&failure.message)));
            if !failure.advice.is_empty() {
                text.push_str(&format!("  {}\n", human::escaped(&failure.advice)));
            }
        }
    }
    text
}
