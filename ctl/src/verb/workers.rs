//! `workers`: the processes that do the work.

use spindle_shared::exit;
use spindle_shared::wire::request::Request;
use spindle_shared::wire::response::{Response, WorkerView};

use crate::Context;
use crate::fault::Fault;
use crate::output::human;
use crate::output::json::WorkerJson;
use crate::output::table::{Align, Table};

/// Lists the worker processes
#[derive(Debug, clap::Args)]
pub struct Workers {}

impl Workers {
    pub fn run(self, context: &Context) -> Result<u8, Fault> {
        let workers: Vec<WorkerView> = context
            .daemon
            .ask(&Request::Workers)?
            .into_iter()
            .filter_map(|response| match response {
                Response::Workers(workers) => Some(workers),
                _ => None,
            })
            .flatten()
            .collect();
        if workers.is_empty() && !context.console.json {
            context.console.talk("no worker runs; they start with the first work");
            return Ok(exit::DONE);
        }
        context.console.either(
            || workers.iter().map(WorkerJson::from).collect::<Vec<_>>(),
            || {
                let mut table = Table::new(&[
                    ("WORKER", Align::Left),
                    ("ROLE", Align::Left),
                    ("PROCESS", Align::Right),
                    ("RUNS NOW", Align::Right),
                    ("RUNS DONE", Align::Right),
                    ("MEMORY", Align::Right),
                    ("MODEL", Align::Left),
                    ("CARD", Align::Left),
                ]);
                for worker in &workers {
                    table.row(vec![
                        human::escaped(&worker.id).into(),
                        human::escaped(&worker.role).into(),
                        worker.pid.to_string().into(),
                        worker.runs.len().to_string().into(),
                        worker.runs_done.to_string().into(),
                        human::bytes(worker.resident_bytes).into(),
                        worker.model.as_deref().map(human::escaped).unwrap_or_default().into(),
                        worker.device.as_deref().map(human::escaped).unwrap_or_default().into(),
                    ]);
                }
                table.render(context.console.colour)
            },
        )?;
        Ok(exit::DONE)
    }
}
