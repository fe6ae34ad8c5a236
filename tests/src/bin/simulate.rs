//! `simulate --seeds 10000 [--from N]`: lives through many seeds and says which law the first bad one breaks.

use std::process::ExitCode;
use std::time::Instant;

use spindle_tests::sim::{Options, Summary, run};

const USAGE: &str = "usage: simulate [--seeds COUNT] [--from SEED]";
const LOG_LINES: usize = 2000;

fn main() -> ExitCode {
    let (from, seeds) = match arguments() {
        Ok(arguments) => arguments,
        Err(message) => {
            eprintln!("{message}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let began = Instant::now();
    let mut sum = Summary::default();
    for seed in from..from.saturating_add(seeds) {
        match run(seed, &Options::default()) {
            Ok(one) => {
                sum.jobs += one.jobs;
                sum.runs += one.runs;
                sum.boots += one.boots;
                sum.turns += one.turns;
                sum.simulated_ms += one.simulated_ms;
            }
            Err(broken) => {
                // Once more, this time with a record of it.
                let again = run(seed, &Options { log: LOG_LINES, ..Options::default() });
                for line in again.as_ref().err().map(|broken| broken.log.as_slice()).unwrap_or_default() {
                    println!("{line}");
                }
                println!("{broken}");
                if again.map_err(|again| again.law) != Err(broken.law) {
                    println!("and another time it went otherwise: the world is not decided by its seed");
                }
                return ExitCode::FAILURE;
            }
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    println!(
        "{seeds} seeds in {seconds:.1} s ({:.0} per second): {} boots, {} turns, {} jobs, {} runs, {:.1} simulated days",
        seeds as f64 / seconds,
        sum.boots,
        sum.turns,
        sum.jobs,
        sum.runs,
        sum.simulated_ms as f64 / 86_400_000.0
    );
    ExitCode::SUCCESS
}

/// First seed and number of seeds.
fn arguments() -> Result<(u64, u64), String> {
    let (mut from, mut seeds) = (0, 10_000);
    let mut given = std::env::args().skip(1);
    while let Some(name) = given.next() {
        let value = given.next().ok_or_else(|| format!("{name} needs a number"))?;
        let number = value.parse::<u64>().map_err(|_| format!("`{value}` is no number"))?;
        match name.as_str() {
            "--from" => from = number,
            "--seeds" => seeds = number,
            _ => return Err(format!("`{name}` is not known")),
        }
    }
    Ok((from, seeds))
}
