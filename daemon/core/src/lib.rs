//! Spindle's core: decides, and does nothing. No clock, no input or output, no randomness; everything arrives as an argument.

pub mod change;
