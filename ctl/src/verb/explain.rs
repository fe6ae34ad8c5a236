//! `explain`: why something is as it is, and what to do.

use serde::Serialize;
use spindle_shared::exit;
use spindle_shared::id::Target;
use spindle_shared::wire::request::Request;
use spindle_shared::wire::response::{Explanation, Response};

use crate::Context;
use crate::fault::Fault;
use crate::output::human;
use crate::output::json::ExplanationJson;

/// Says why a batch or a job waits, was skipped or failed, and what to do
#[derive(Debug, clap::Args)]
pub struct Explain {
    /// The batch (`12`) or the job (`12/3`)
    #[arg(value_name = "ID")]
    id: String,
}

#[derive(Debug, Serialize)]
struct ExplainedJson {
    #[serde(flatten)]
    first: ExplanationJson,
    /// What belongs to it: jobs of the batch that have something to say of their own.
    also: Vec<ExplanationJson>,
}

impl Explain {
    pub fn run(self, context: &Context) -> Result<u8, Fault> {
        let target: Target =
            self.id.parse().map_err(|error: spindle_shared::id::BadTarget| Fault::usage(error.to_string()))?;
        let explained: Vec<Explanation> = context
            .daemon
            .ask(&Request::Explain(target))?
            .into_iter()
            .filter_map(|response| match response {
                Response::Explained(explained) => Some(explained),
                _ => None,
            })
            .flatten()
            .collect();
        let Some((first, also)) = explained.split_first() else { return Err(Fault::unexpected("an explanation")) };
        context.console.either(
            || ExplainedJson { first: first.into(), also: also.iter().map(ExplanationJson::from).collect() },
            || explained.iter().map(text).collect(),
        )?;
        Ok(exit::DONE)
    }
}

fn text(explanation: &Explanation) -> String {
    let kind = match explanation.target {
        Target::Batch(_) => "batch",
        Target::Job(_) => "job",
    };
    let advice = explanation.advice.iter().map(|advice| format!("  what to do: {}\n", human::escaped(advice)));
    format!(
        "{kind} {} is {}: {}\n{}",
        explanation.target,
        human::escaped(&explanation.state),
        human::escaped(&explanation.why),
        advice.collect::<String>()
    )
}
