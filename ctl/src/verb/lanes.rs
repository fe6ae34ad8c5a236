//! `lanes`: what is scarce, and how much of it is in use.

use spindle_shared::exit;
use spindle_shared::wire::response::ClosedView;

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
                let (used, limit) = house.memory_mib;
                table.row(vec!["memory".into(), format!("{used} MiB").into(), format!("{limit} MiB").into()]);
                for card in &house.devices {
                    let name = format!("{} memory", human::escaped(&card.lane));
                    table.row(vec![
                        name.into(),
                        format!("{} MiB", card.used_mib).into(),
                        format!("{} MiB", card.memory_mib).into(),
                    ]);
                }
                let mut text = table.render(context.console.colour);
                for card in &house.devices {
                    text.push_str(&format!("{} is {}\n", human::escaped(&card.lane), human::card(card)));
                }
                if let Some(why) = &house.no_device {
                    text.push_str(&format!("no graphics card is used: {}\n", human::escaped(why)));
                }
                for closed in &house.closed {
                    let ClosedView { what, why, advice, parked, tries_in_ms } = closed;
                    let when =
                        tries_in_ms.map(|ms| format!(", tried again in {}", human::seconds(ms as f64 / 1_000.0)));
                    text.push_str(&format!(
                        "{parked} jobs wait for {}{}: {}; {}\n",
                        human::escaped(what),
                        when.unwrap_or_default(),
                        human::escaped(why),
                        human::escaped(advice)
                    ));
                }
                text
            },
        )?;
        Ok(exit::DONE)
    }
}
