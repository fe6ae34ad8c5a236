//! Spindle's tests from outside: the harness they share.

pub mod sim;
