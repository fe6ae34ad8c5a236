//! Pressure: what the machine has left, looked at once a second in a thread of its own, and told to the conductor where it matters. Decides
//! nothing but that idle workers leave when memory is short.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::inbox::{Inbox, Message};
use crate::machine;
use crate::workers::Supervisor;

const EVERY: Duration = Duration::from_secs(1);
/// With so many times the reserve free, how much exactly makes no difference.
const PLENTY: u64 = 4;

/// What to look at.
pub struct Pressure {
    pub state_dir: PathBuf,
    pub reserve_bytes: u64,
    pub supervisor: Arc<Supervisor>,
    pub inbox: Inbox,
}

impl Pressure {
    /// Looks until the conductor has ended.
    pub fn watch(self) -> std::io::Result<()> {
        std::thread::Builder::new().name("pressure".to_owned()).spawn(move || self.run()).map(drop)
    }

    fn run(self) {
        let (mut told_free, mut told_short) = (u64::MAX, false);
        loop {
            let free = machine::free_bytes(&self.state_dir).unwrap_or(u64::MAX);
            let plenty = self.reserve_bytes.saturating_mul(PLENTY);
            if free != told_free && free.min(told_free) < plenty {
                told_free = free;
                if self.inbox.send_blocking(Message::Room(free)).is_err() {
                    return;
                }
            }
            let short = machine::is_short_of_memory();
            if short {
                self.supervisor.send_idle_away();
            }
            if short != told_short {
                told_short = short;
                if self.inbox.send_blocking(Message::Memory { short }).is_err() {
                    return;
                }
            }
            std::thread::sleep(EVERY);
        }
    }
}
