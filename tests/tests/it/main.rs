//! End to end: the true programs, each test with a daemon of its own; a module per behaviour.

mod main_path;
