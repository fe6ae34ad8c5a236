//! What the daemon tells, made fit to print: for scripts (json) and for people (human, table).

pub mod causes;
pub mod human;
pub mod json;
pub mod progress;
pub mod report;
pub mod table;
