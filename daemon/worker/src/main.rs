//! `spindle-worker`: one process of one role, started by the daemon only. Frames in, reports out; dies freely.

mod checkpoint;
mod context;
mod files;
mod language;
mod media;
mod remote;
mod speech;
mod stage;

fn main() {}
