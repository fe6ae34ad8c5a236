//! Both clocks of the machine. Decides nothing by them.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use spindle_shared::time::{MonoMs, Now, WallMs};

/// Reads both clocks; the only place that does for the scheduler.
pub struct Clock {
    start: Instant,
}

impl Clock {
    pub fn new() -> Self {
        Clock { start: Instant::now() }
    }

    pub fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
        Now { wall: WallMs(wall), mono: MonoMs(self.start.elapsed().as_millis() as u64) }
    }
}
