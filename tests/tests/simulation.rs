//! Many made-up worlds: no law is broken in any of them, and a daemon that tells before it writes is found out.

use spindle_tests::sim::{Options, Order, run};

const SEEDS: u64 = 200;

#[test]
fn no_seed_breaks_a_law() {
    for seed in 0..SEEDS {
        if let Err(broken) = run(seed, &Options::default()) {
            let again = run(seed, &Options { log: 60, ..Options::default() });
            let log = again.err().map(|again| again.log.join("\n")).unwrap_or_default();
            panic!("{log}\n{broken}\n`cargo run --release --bin simulate -- --from {seed} --seeds 1` shows more");
        }
    }
}

#[test]
fn telling_before_writing_is_found_out() {
    let options = Options { order: Order::TellFirst, ..Options::default() };
    let found = (0..5).find_map(|seed| run(seed, &options).err()).expect("the laws are watched");
    assert!(found.law.contains("disk"), "{found}");
}

#[test]
fn a_seed_decides_everything() {
    for seed in 0..5 {
        assert_eq!(run(seed, &Options::default()).ok(), run(seed, &Options { log: 10, ..Options::default() }).ok());
    }
}
