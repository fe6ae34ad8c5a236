//! `shutdown`: stops the daemon; work stops at its checkpoints and goes on at the next start.

use serde::Serialize;
use spindle_shared::client::ClientError;
use spindle_shared::exit;
use spindle_shared::wire::request::Request;

use crate::Context;
use crate::fault::Fault;

/// Stops the daemon; running work stops at its checkpoints and goes on at the next start
#[derive(Debug, clap::Args)]
pub struct Shutdown {}

#[derive(Debug, Serialize)]
struct DoneJson<'a> {
    state: &'a str,
}

impl Shutdown {
    pub fn run(self, context: &Context) -> Result<u8, Fault> {
        match context.daemon.connect()?.call(&Request::Shutdown) {
            // It is gone before it could say so.
            Ok(_) | Err(ClientError::Broken(_)) => done(context, "stopped", "the daemon stops"),
            Err(error) => Err(error.into()),
        }
    }
}

/// Says what the daemon is now.
pub fn done(context: &Context, state: &str, told: &str) -> Result<u8, Fault> {
    if context.console.json {
        context.console.document(&DoneJson { state })?;
    } else {
        context.console.talk(told);
    }
    Ok(exit::DONE)
}
