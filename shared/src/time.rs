//! Time as data: the core is told it, never asks.

use serde::{Deserialize, Serialize};

/// Milliseconds since the Unix epoch, UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
pub struct WallMs(pub u64);

/// Milliseconds on a clock that never goes back, from an arbitrary start in each boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
pub struct MonoMs(pub u64);

/// Both clocks, read once per turn of the conductor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Now {
    pub wall: WallMs,
    pub mono: MonoMs,
}

impl MonoMs {
    pub fn plus(self, ms: u64) -> Self {
        MonoMs(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to here; 0 if it lies ahead.
    pub fn since(self, earlier: MonoMs) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}
