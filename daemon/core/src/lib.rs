//! Spindle's core: decides, and does nothing. No clock, no input or output, no randomness; everything arrives as an argument.

pub mod alert;
pub mod api;
pub mod batch;
pub mod breaker;
pub mod cache;
pub mod change;
pub mod effect;
pub mod estimate;
pub mod forecast;
pub mod governor;
pub mod gpus;
pub mod job;
pub mod outbox;
pub mod queue;
pub mod rates;
pub mod retry;
pub mod scheduler;
pub mod stores;
pub mod turn;
