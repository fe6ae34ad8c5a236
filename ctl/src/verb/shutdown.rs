//! `shutdown`: stops the daemon, and answers when it is gone; work stops at its checkpoints and goes on at the next start.

use std::os::fd::OwnedFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde::Serialize;
use spindle_shared::client::ClientError;
use spindle_shared::exit;
use spindle_shared::wire::request::Request;

use crate::Context;
use crate::fault::Fault;

/// Stops the daemon, and returns when it is gone; running work stops at its checkpoints and goes on at the next start
#[derive(Debug, clap::Args)]
pub struct Shutdown {}

#[derive(Debug, Serialize)]
struct DoneJson<'a> {
    state: &'a str,
}

/// A little longer than service managers give it.
const PATIENCE: Timespec = Timespec { tv_sec: 100, tv_nsec: 0 };

impl Shutdown {
    pub fn run(self, context: &Context) -> Result<u8, Fault> {
        let process = context.daemon.house().ok().and_then(|house| process(house.pid));
        match context.daemon.connect()?.call(&Request::Shutdown) {
            // It is gone before it could say so.
            Ok(_) | Err(ClientError::Broken(_)) => {}
            Err(error) => return Err(error.into()),
        }
        // Whoever starts another one, or moves its folder, must find nobody there.
        if process.is_some_and(|process| !has_ended(&process)) {
            return Err(Fault::error("the daemon was told to stop and still runs after 100 s"));
        }
        done(context, "stopped", "the daemon has stopped")
    }
}

/// One that can be waited for; `None` where it is gone already, or none of this machine's.
fn process(pid: u32) -> Option<OwnedFd> {
    let pid = Pid::from_raw(i32::try_from(pid).ok()?)?;
    pidfd_open(pid, PidfdFlags::empty()).ok()
}

fn has_ended(process: &OwnedFd) -> bool {
    // A signal here is a wish to wait no longer, and ends this program.
    poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&PATIENCE)).is_ok_and(|ready| ready > 0)
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
