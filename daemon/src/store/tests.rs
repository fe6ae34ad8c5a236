//! The store against a model, cut power, damaged files and yesterday's queues. Knows the store's inside.

mod copies;
mod crash;
mod figures;
mod golden;
mod model;
mod opening;
pub(crate) mod samples;
mod turns;
