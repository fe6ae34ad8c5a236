//! Spindle's vocabulary: the nouns, the stages, the recipes and the wire, shared by all four programs.
//!
//! Knows no runtime, no database and no clock; only [`client`] (a feature) opens a socket, only [`intake`] (a feature) walks folders.

#[cfg(feature = "archive")]
pub mod archive;
pub mod batch;
pub mod catalogue;
#[cfg(feature = "client")]
pub mod client;
pub mod event;
pub mod exit;
pub mod failure;
pub mod id;
#[cfg(feature = "intake")]
pub mod intake;
pub mod job;
pub mod lane;
pub mod language;
pub mod limits;
#[cfg(feature = "made-up")]
pub mod made_up;
pub mod metrics;
pub mod notify;
pub mod object_store;
pub mod output;
pub mod packed;
pub mod paths;
pub mod processor;
pub mod provider;
pub mod recipe;
pub mod rules;
pub mod snapshot;
pub mod stage;
pub mod style;
pub mod template;
pub mod text;
pub mod time;
pub mod url;
pub mod wire;
pub mod worker;
