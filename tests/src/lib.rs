//! Spindle's tests from outside: the harness they share.

pub mod bucket;
pub mod ear;
pub mod harness;
pub mod onnx;
pub mod oracle;
pub mod parrot;
pub mod sim;
pub mod site;
pub mod terminal;
pub mod users;
mod web;
