//! What the verbs that change something share: ask, and tell what happened to each thing.

use spindle_shared::exit;
use spindle_shared::wire::request::Request;
use spindle_shared::wire::response::{Acted, Response};

use crate::Context;
use crate::fault::Fault;
use crate::output::human;
use crate::output::json::ActedJson;

/// `of_house`: what to say where the whole daemon was meant and it names nothing else.
pub fn act(context: &Context, request: &Request, of_house: Option<&str>) -> Result<u8, Fault> {
    let acted: Vec<Acted> = context
        .daemon
        .ask(request)?
        .into_iter()
        .filter_map(|response| match response {
            Response::Acted(acted) => Some(acted),
            _ => None,
        })
        .flatten()
        .collect();
    if context.console.json {
        context.console.document(&acted.iter().map(ActedJson::from).collect::<Vec<_>>())?;
        return Ok(exit::DONE);
    }
    if !context.console.quiet {
        let lines: String =
            acted.iter().map(|acted| format!("{}: {}\n", acted.target, human::escaped(&acted.what))).collect();
        context.console.data(&lines)?;
    }
    if acted.is_empty() {
        context.console.talk(of_house.unwrap_or("nothing fits, nothing done"));
    }
    Ok(exit::DONE)
}
