//! `retry`: failed and cancelled jobs once more; finished ones stay.

use spindle_shared::wire::request::Request;

use super::act::act;
use crate::Context;
use crate::fault::Fault;
use crate::named::Chosen;

/// Queues failed and cancelled jobs again and keeps the finished ones
#[derive(Debug, clap::Args)]
pub struct Retry {
    #[command(flatten)]
    chosen: Chosen,
}

impl Retry {
    pub fn run(self, context: &Context) -> Result<u8, Fault> {
        act(context, &Request::Retry(self.chosen.required()?), None)
    }
}
