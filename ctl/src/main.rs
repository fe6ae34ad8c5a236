//! The program spindlectl: nothing but the process around the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().collect();
    ExitCode::from(spindle_ctl::run(&arguments))
}
