//! `remove`: forgets ended batches; published outputs stay.

use spindle_shared::wire::request::Request;

use super::act::act;
use crate::Context;
use crate::fault::Fault;
use crate::named::Chosen;

/// Forgets ended batches; published outputs stay where they are
#[derive(Debug, clap::Args)]
pub struct Remove {
    #[command(flatten)]
    chosen: Chosen,
    /// Remove their artifacts and transcripts too
    #[arg(long)]
    purge: bool,
}

impl Remove {
    pub fn run(self, context: &Context) -> Result<u8, Fault> {
        act(context, &Request::Remove { what: self.chosen.required()?, purge: self.purge }, None)
    }
}
