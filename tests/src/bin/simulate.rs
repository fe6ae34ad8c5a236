//! `simulate --seeds 10000 [--from N] [--threads N]`: lives through many seeds and says which law the first bad one breaks.

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use spindle_tests::sim::{Options, Summary, run};

const USAGE: &str = "usage: simulate [--seeds COUNT] [--from SEED] [--threads COUNT]";
const LOG_LINES: usize = 2000;

fn main() -> ExitCode {
    let Asked { from, seeds, threads } = match arguments() {
        Ok(asked) => asked,
        Err(message) => {
            eprintln!("{message}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let began = Instant::now();
    let until = from.saturating_add(seeds);
    let (next, bad) = (AtomicU64::new(from), AtomicU64::new(u64::MAX));
    // Each world is one thread's own; a bad seed ends all that come after it.
    let live = || {
        let mut sum = Summary::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= until || seed > bad.load(Ordering::Relaxed) {
                return sum;
            }
            match run(seed, &Options::default()) {
                Ok(one) => add(&mut sum, &one),
                Err(_) => drop(bad.fetch_min(seed, Ordering::Relaxed)),
            }
        }
    };
    let sums: Vec<_> = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(live)).collect();
        workers.into_iter().map(thread::ScopedJoinHandle::join).collect()
    });
    let mut sum = Summary::default();
    for one in &sums {
        match one {
            Ok(one) => add(&mut sum, one),
            // It has printed why.
            Err(_) => return ExitCode::FAILURE,
        }
    }
    let bad = bad.into_inner();
    if bad < u64::MAX {
        tell(bad);
        return ExitCode::FAILURE;
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

fn add(sum: &mut Summary, one: &Summary) {
    sum.jobs += one.jobs;
    sum.runs += one.runs;
    sum.boots += one.boots;
    sum.turns += one.turns;
    sum.simulated_ms += one.simulated_ms;
}

/// A bad seed once more, this time with a record of it.
fn tell(seed: u64) {
    let (first, again) =
        (run(seed, &Options::default()).err(), run(seed, &Options { log: LOG_LINES, ..Options::default() }).err());
    for line in again.as_ref().map(|broken| broken.log.as_slice()).unwrap_or_default() {
        println!("{line}");
    }
    if let Some(broken) = &first {
        println!("{broken}");
    }
    if first.is_none() || again.map(|again| again.law) != first.map(|first| first.law) {
        println!("seed {seed} was bad, and another time it went otherwise: the world is not decided by its seed");
    }
}

struct Asked {
    from: u64,
    seeds: u64,
    threads: u64,
}

fn arguments() -> Result<Asked, String> {
    let threads = thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
    let mut asked = Asked { from: 0, seeds: 10_000, threads };
    let mut given = std::env::args().skip(1);
    while let Some(name) = given.next() {
        let value = given.next().ok_or_else(|| format!("{name} needs a number"))?;
        let number = value.parse::<u64>().map_err(|_| format!("`{value}` is no number"))?;
        match name.as_str() {
            "--from" => asked.from = number,
            "--seeds" => asked.seeds = number,
            "--threads" => asked.threads = number.clamp(1, 1_024),
            _ => return Err(format!("`{name}` is not known")),
        }
    }
    Ok(asked)
}
