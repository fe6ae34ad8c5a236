//! `health`: whether all is well; the exit code alone answers it.

use spindle_shared::exit;
use spindle_shared::wire::request::Request;
use spindle_shared::wire::response::Response;

use crate::Context;
use crate::fault::Fault;
use crate::output::human;
use crate::output::json::HealthJson;
use crate::output::table::{Align, Cell, Table};

/// Says whether all is well; exits 0 only then
#[derive(Debug, clap::Args)]
pub struct Health {}

impl Health {
    pub fn run(self, context: &Context) -> Result<u8, Fault> {
        let health = context
            .daemon
            .ask(&Request::Health)?
            .into_iter()
            .find_map(|response| match response {
                Response::Health(health) => Some(health),
                _ => None,
            })
            .ok_or_else(|| Fault::unexpected("its health"))?;
        context.console.either(
            || HealthJson::from(&health),
            || {
                let mut table = Table::new(&[("CHECK", Align::Left), ("STATE", Align::Left), ("", Align::Left)]);
                for (name, well, message) in &health.checks {
                    let state =
                        if *well { Cell::coloured("well", Some("32")) } else { Cell::coloured("unwell", Some("31")) };
                    table.row(vec![human::escaped(name).into(), state, human::escaped(message).into()]);
                }
                let verdict = if health.healthy { "healthy" } else { "not healthy" };
                format!(
                    "{verdict}, version {}\n{}",
                    human::escaped(&health.version),
                    table.render(context.console.colour)
                )
            },
        )?;
        Ok(if health.healthy { exit::DONE } else { exit::ERROR })
    }
}
