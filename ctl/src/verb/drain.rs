//! `drain`: nothing new is started; answers when nothing runs any more.

use spindle_shared::wire::request::Request;

use crate::Context;
use crate::fault::Fault;
use crate::follow::detach_on_interrupt;

/// Starts nothing new, and returns when nothing runs any more; `resume` ends it
#[derive(Debug, clap::Args)]
pub struct Drain {}

impl Drain {
    pub fn run(self, context: &Context) -> Result<u8, Fault> {
        detach_on_interrupt(context, "let go; the daemon goes on draining".to_owned())?;
        context.daemon.ask(&Request::Drain)?;
        super::shutdown::done(context, "drained", "drained: nothing runs any more")
    }
}
