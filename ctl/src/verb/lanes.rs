//! `lanes`: what is scarce, and how much of it is in use.

use spindle_shared::exit;

use crate::Context;
use crate::fault::Fault;
use crate::output::human;
use crate::output::json;
use crate::output::table::{Align, Table};

/// Lists the lanes with their slots
#[derive(Debug, clap::Args)]
pub struct Lanes {}

impl Lanes {
    pub fn run(self, context: &Context) -> Result<u8, Fault> {
        let house = context.daemon.house()?;
        context.console.either(
            || json::lanes(&house),
            || {
                let mut table = Table::new(&[("LANE", Align::Left), ("IN USE", Align::Right), ("SLOTS", Align::Right)]);
                for (name, used, slots) in &house.lanes {
                    table.row(vec![human::escaped(name).into(), used.to_string().into(), slots.to_string().into()]);
                }
                table.render(context.console.colour)
            },
        )?;
        Ok(exit::DONE)
    }
}
