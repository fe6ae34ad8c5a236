//! `status`: the daemon, a batch, or a job, as it stands now.

use spindle_shared::exit;
use spindle_shared::id::Target;
use spindle_shared::wire::response::HouseView;

use crate::Context;
use crate::fault::Fault;
use crate::named;
use crate::output::human;
use crate::output::json::{BatchJson, HouseJson, JobJson};

/// Shows how the daemon, a batch or a job stands
#[derive(Debug, clap::Args)]
pub struct Status {
    /// Batches (`12`, `5-8`) or jobs (`12/3`); without one, the daemon
    #[arg(value_name = "ID")]
    ids: Vec<String>,
}

impl Status {
    pub fn run(self, context: &Context) -> Result<u8, Fault> {
        let targets = named::targets(&self.ids)?;
        let now = human::now();
        let console = context.console;
        match targets.as_slice() {
            [] => {
                let house = context.daemon.house()?;
                let socket = context.daemon.socket();
                console.either(|| HouseJson::new(&house, socket.as_deref(), now), || house_text(&house, now))?;
            }
            [Target::Batch(id)] => {
                let batch = context.daemon.batch(*id)?;
                console.either(|| BatchJson::new(&batch, now), || human::batch_text(&batch, now))?;
            }
            [Target::Job(id)] => {
                let job = context.daemon.job(*id)?;
                console.either(|| JobJson::from(&job), || human::job_text(&job, now))?;
            }
            several => self.several(context, several)?,
        }
        Ok(exit::DONE)
    }

    fn several(&self, context: &Context, targets: &[Target]) -> Result<(), Fault> {
        let now = human::now();
        let mut batch_ids = Vec::new();
        let mut jobs = Vec::new();
        for target in targets {
            match target {
                Target::Batch(id) => batch_ids.push(*id),
                Target::Job(id) => jobs.push(context.daemon.job(*id)?),
            }
        }
        let batches = if batch_ids.is_empty() { Vec::new() } else { context.daemon.batches(&batch_ids)? };
        let document = || {
            let batches = batches.iter().map(|batch| serde_json::to_value(BatchJson::new(batch, now)));
            let jobs = jobs.iter().map(|job| serde_json::to_value(JobJson::from(job)));
            batches.chain(jobs).filter_map(Result::ok).collect::<Vec<_>>()
        };
        context.console.either(document, || {
            let mut text = String::new();
            if !batches.is_empty() {
                text.push_str(&human::batch_table(&batches, now, context.console.colour));
            }
            if !jobs.is_empty() {
                text.push_str(&human::job_table(&jobs, now, context.console.colour));
            }
            text
        })
    }
}

fn house_text(house: &HouseView, now: spindle_shared::time::WallMs) -> String {
    let state = match (house.draining, house.paused) {
        (true, _) => "draining",
        (false, true) => "paused",
        (false, false) => "running",
    };
    let counts = &house.counts;
    let memory = format!("memory {}/{} MiB", house.memory_mib.0, house.memory_mib.1);
    let closed =
        house.closed.iter().map(|closed| format!("{}: {}", human::escaped(&closed.what), human::escaped(&closed.why)));
    let closed = if house.closed.is_empty() { "nothing".to_owned() } else { closed.collect::<Vec<_>>().join("; ") };
    let cards = match &house.no_device {
        Some(why) => format!("none: {}", human::escaped(why)),
        None if house.devices.is_empty() => "none".to_owned(),
        None => house
            .devices
            .iter()
            .map(|card| format!("{} {}", card.lane, human::card(card)))
            .collect::<Vec<_>>()
            .join("; "),
    };
    let lanes = house.lanes.iter().map(|(name, used, slots)| format!("{} {used}/{slots}", human::escaped(name)));
    let alerts = house.alerts.iter().map(|alert| {
        format!("{}, since {}: {}", human::escaped(&alert.rule), human::time(alert.since), human::escaped(&alert.text))
    });
    let alerts = if house.alerts.is_empty() { "none".to_owned() } else { alerts.collect::<Vec<_>>().join("; ") };
    human::block(&[
        ("daemon", format!("{state}, version {}, process {}", human::escaped(&house.version), house.pid)),
        ("started", format!("{} ({})", human::time(house.started_at), human::ago(house.started_at, now))),
        ("open batches", house.batches_open.to_string()),
        ("jobs", format!("{} running, {} retrying, {} pending", counts.running, counts.retrying, counts.pending)),
        ("lanes", lanes.chain([memory]).collect::<Vec<_>>().join(", ")),
        ("cards", cards),
        ("out of order", closed),
        ("alerts", alerts),
        ("done", format!("{} jobs, {} of recordings", house.done.jobs, human::seconds(house.done.media_seconds))),
        ("left", human::eta(house.eta)),
        ("state folder", house.state_dir.to_string()),
        ("model folder", house.model_dir.to_string()),
    ])
}
