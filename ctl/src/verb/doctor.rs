//! `doctor`: whether an installation can do what it promises; looks, and tries each recipe on something tiny.

use serde::Serialize;
use spindle_shared::exit;

use crate::Context;
use crate::doctor::{self, Finding, Verdict};
use crate::fault::Fault;
use crate::output::human;
use crate::output::table::{Align, Cell, Table};

/// Checks the installation: machine, programs, codecs, models, graphics cards, walls around workers, the daemon, and a tiny real job of each recipe
#[derive(Debug, clap::Args)]
pub struct Doctor {
    /// Only look; give the daemon no jobs
    #[arg(long)]
    no_jobs: bool,
}

#[derive(Debug, Serialize)]
struct FindingJson {
    part: &'static str,
    what: String,
    verdict: &'static str,
    message: String,
    hint: Option<String>,
}

impl Doctor {
    pub fn run(self, context: &Context) -> Result<u8, Fault> {
        let findings = doctor::examine(&context.daemon, !self.no_jobs, &|what| context.console.talk(what))?;
        context.console.either(
            || {
                let json = |finding: &Finding| FindingJson {
                    part: finding.part,
                    what: finding.what.clone(),
                    verdict: finding.verdict.name(),
                    message: finding.message.clone(),
                    hint: finding.hint.clone(),
                };
                findings.iter().map(json).collect::<Vec<_>>()
            },
            || {
                let header = [("PART", Align::Left), ("CHECK", Align::Left), ("STATE", Align::Left), ("", Align::Left)];
                let mut table = Table::new(&header);
                for finding in &findings {
                    let colour = match finding.verdict {
                        Verdict::Well => "32",
                        Verdict::Limited => "33",
                        Verdict::Wrong => "31",
                    };
                    let hint = finding.hint.as_ref().map(|hint| format!(": {hint}")).unwrap_or_default();
                    table.row(vec![
                        finding.part.into(),
                        human::escaped(&finding.what).into(),
                        Cell::coloured(finding.verdict.name(), Some(colour)),
                        human::escaped(&format!("{}{hint}", finding.message)).into(),
                    ]);
                }
                table.render(context.console.colour)
            },
        )?;
        let wrong = |finding: &&Finding| finding.verdict == Verdict::Wrong;
        let unreachable = findings.iter().filter(wrong).any(|finding| finding.what == doctor::ANSWERS);
        Ok(match (unreachable && context.daemon.socket().is_none(), findings.iter().any(|finding| wrong(&finding))) {
            (true, _) => exit::UNREACHABLE,
            (false, true) => exit::ERROR,
            (false, false) => exit::DONE,
        })
    }
}
