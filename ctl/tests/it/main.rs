//! spindlectl as people and scripts meet it: the real program against a scripted daemon.
#![allow(clippy::unwrap_used, reason = "the whole program is a test")]

mod actions;
mod errors;
mod following;
mod listings;
mod models;
mod reports;
mod scripted;
mod submitting;
