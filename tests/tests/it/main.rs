//! End to end: the true programs, each test with a daemon of its own; a module per behaviour.

#![allow(clippy::unwrap_used, reason = "all of this is a test")]

mod backups;
mod cache;
mod cards;
mod clients;
mod configuring;
mod crashes;
mod dashboard;
mod doctor;
mod estimates;
mod existing;
mod failures;
mod folders;
mod gathering;
mod highlights;
mod housekeeping;
mod images;
mod logging;
mod main_path;
mod manager;
mod notifications;
mod providers;
mod remote;
mod reporting;
mod restarts;
mod seeing;
mod service;
mod shapes;
mod startup;
mod steering;
mod stores;
mod submitting;
mod turns;
mod watching_over;
