//! spindlectl as people and scripts meet it: the real program against a scripted daemon.

mod actions;
mod errors;
mod following;
mod listings;
mod models;
mod scripted;
mod submitting;
