//! The supervisor: starts, feeds and stops worker processes, and tells how they ended. Knows runs, never jobs, and decides no retry.
//!
//! **Invariant:** for every [`StartOrder`] exactly one last note comes ([`Note::Ended`], [`Note::Changed`], or a place in
//! [`Note::Lost`]), and none of them before the run can do nothing any more: it has reported, its process is reaped, or it
//! never reached one.
//!
//! **Invariant:** the caller's thread never waits: it opens no file, starts no process and is called back from other threads only.

mod channel;
mod feeder;
mod lock;
mod note;
mod open;
mod order;
mod receiver;
mod spawner;
mod state;
mod supervisor;
mod tail;
#[cfg(test)]
mod tests;

pub use lock::await_predecessors;
pub use note::{Death, Note, Why, WorkerView};
pub use order::{StartOrder, ToOpen};
pub use spawner::worker_program;
pub use supervisor::{Settings, Supervisor, Walls};
