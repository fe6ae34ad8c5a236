//! `reload`: the daemon reads its configuration again.

use serde::Serialize;
use spindle_shared::exit;
use spindle_shared::wire::request::Request;
use spindle_shared::wire::response::{ConfigChange, Response};

use crate::Context;
use crate::fault::Fault;
use crate::output::human;

/// Has the daemon read its configuration again, and tells what has changed and what of that waits for a restart
///
/// A configuration that is wrong changes nothing. `spindled --check-config` looks at it beforehand.
#[derive(Debug, clap::Args)]
pub struct Reload {}

#[derive(Debug, Serialize)]
struct ReloadedJson<'c> {
    changed: Vec<ChangeJson<'c>>,
    /// Whether any of them counts from the next start on only.
    restart: bool,
}

#[derive(Debug, Serialize)]
struct ChangeJson<'c> {
    key: &'c str,
    before: Option<&'c str>,
    after: Option<&'c str>,
    restart: bool,
}

impl Reload {
    pub fn run(self, context: &Context) -> Result<u8, Fault> {
        let changes = context
            .daemon
            .ask(&Request::Reload)?
            .into_iter()
            .find_map(|response| if let Response::Reloaded(changes) = response { Some(changes) } else { None })
            .ok_or_else(|| Fault::unexpected("what has changed"))?;
        context.console.either(|| document(&changes), || text(&changes))?;
        Ok(exit::DONE)
    }
}

fn document(changes: &[ConfigChange]) -> ReloadedJson<'_> {
    let changed = changes.iter().map(|change| ChangeJson {
        key: &change.key,
        before: change.before.as_deref(),
        after: change.after.as_deref(),
        restart: change.restart,
    });
    ReloadedJson { changed: changed.collect(), restart: changes.iter().any(|change| change.restart) }
}

fn text(changes: &[ConfigChange]) -> String {
    if changes.is_empty() {
        return "nothing has changed\n".to_owned();
    }
    let shown = |value: &Option<String>| value.as_deref().map_or_else(|| "(nothing)".to_owned(), human::escaped);
    let lines = changes.iter().map(|change| {
        let waits = if change.restart { "  (counts when the daemon is restarted)" } else { "" };
        format!("{}: {} -> {}{waits}\n", human::escaped(&change.key), shown(&change.before), shown(&change.after))
    });
    lines.collect()
}
