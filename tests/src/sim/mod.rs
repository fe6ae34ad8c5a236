//! The simulator: the real scheduler in a made-up world of disk, workers, clients and clocks, all from one seed. Knows no thread, no file and
//! no real time, so that a seed that fails once fails for ever.
//!
//! Faults it makes: the daemon is killed between any two effects; a commit fails; workers die alone or with neighbours, hang, ignore a stop,
//! report late, twice, or after their daemon is gone; progress is garbage; the wall clock leaps; inputs change while they wait.

mod apis;
mod clients;
mod disk;
mod laws;
mod random;
mod workers;
mod world;

pub use random::Random;
pub use world::{Broken, Options, Order, Summary, run};
