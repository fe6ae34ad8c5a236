//! Graphics cards, as a scripted worker claims to have two: what is done on them, what of a card's failure a user sees, and that nothing is silent.

use serde_json::Value;
use spindle_shared::job::{Figure, JobView};
use spindle_tests::harness::{Daemon, Setup, program};

const CARDS: &str = r#"[
    {"name":"Large One","api":"CUDA","memory_bytes":25769803776,"free_bytes":25769803776,"roles":["speech"]},
    {"name":"Small One","api":"CUDA","memory_bytes":4294967296,"free_bytes":2147483648,"roles":["speech"]}
]"#;

fn with_cards(cards: &str) -> Setup {
    let worker = program("scripted-worker");
    Daemon::scripted()
        .env("SPINDLE_WORKERS__GPU_PROGRAM", &worker.to_string_lossy())
        .env("SPINDLE_SCRIPT_DEVICES", cards)
}

fn figure<'j>(job: &'j JobView, name: &str) -> Option<&'j str> {
    job.detail.figures.iter().find_map(|(known, figure)| match figure {
        Figure::Text(text) if known == name => Some(text.as_str()),
        _ => None,
    })
}

/// What a command prints has these words.
fn prints(daemon: &Daemon, line: &str, words: &[&str]) {
    let told = daemon.say(line).expect(0).out;
    for word in words {
        assert!(told.contains(word), "`{line}` does not say `{word}`, but\n{told}");
    }
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().unwrap().iter().map(|lane| lane["lane"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn what_a_card_can_do_is_done_on_it_and_everybody_can_see_that() {
    let daemon = with_cards(CARDS).start();
    assert_eq!(texts(&daemon.json("lanes"))[3..], ["gpu:0", "gpu:1", "memory", "gpu:0 memory", "gpu:1 memory"]);
    prints(&daemon, "lanes", &["gpu:1 is Small One (CUDA, for speech)", "2048 MiB"]);
    prints(&daemon, "status", &["gpu:0 Large One"]);
    let health = daemon.json("health");
    let check = health["checks"].as_array().unwrap().iter().find(|check| check["name"] == "graphics cards").unwrap();
    assert!(check["message"].as_str().unwrap().contains("gpu:0 Large One (0/24576 MiB)"), "{check}");
    let script = "slow-60000-a@transcribe";
    daemon.script(script);
    let id = daemon.submit([format!("{script}.wav")]);
    daemon.begun(script);
    let workers = daemon.json("workers");
    let speech = workers.as_array().unwrap().iter().find(|worker| worker["role"] == "speech").unwrap();
    assert_eq!(speech["device"], "gpu:1", "the smaller one is large enough");
    prints(&daemon, &format!("explain {id}/1"), &["transcribe runs on gpu:1 Small One"]);
    daemon.say(&format!("cancel {id}")).expect(0);
    daemon.script("well");
    let id = daemon.submit(["well.wav"]);
    daemon.say(&format!("wait {id}")).expect(0);
    let job = daemon.job(id, 1);
    assert_eq!((figure(&job, "device"), figure(&job, "fallback_reason")), (Some("gpu:1 Small One"), None));
}

#[test]
fn what_a_card_fails_the_processor_does_without_a_try_and_it_is_told() {
    let daemon = with_cards(CARDS).start();
    for script in ["segfault-card@transcribe", "fail-out_of_memory-card@transcribe"] {
        daemon.script(script);
        let id = daemon.submit([format!("{script}.wav")]);
        daemon.say(&format!("wait {id}")).expect(0);
        let job = daemon.job(id, 1);
        assert_eq!((job.attempts, figure(&job, "device")), (1, Some("cpu")), "{job:#?}");
        let reason = figure(&job, "fallback_reason").unwrap();
        assert!(reason.starts_with("gpu:1 Small One: "), "{reason}");
        let told = format!("job {id}/1 goes on on the processor: gpu:1 Small One");
        assert_eq!(daemon.log().matches(&told).count(), 1, "{}", daemon.log());
    }
    // Its model did not fit there: the next one goes to the other card.
    daemon.script("well");
    let id = daemon.submit(["well.wav"]);
    daemon.say(&format!("wait {id}")).expect(0);
    assert_eq!(figure(&daemon.job(id, 1), "device"), Some("gpu:0 Large One"));
    prints(&daemon, "lanes", &["gpu:1 is Small One (CUDA, for speech, left alone for a while: the model"]);
}

#[test]
fn where_no_card_is_found_all_is_done_all_the_same_and_the_reason_is_told() {
    for (cards, why) in [("[]", "finds no graphics card"), ("no list", "can't be read")] {
        let daemon = with_cards(cards).start();
        assert!(daemon.log().contains(why), "{}", daemon.log());
        prints(&daemon, "lanes", &["no graphics card is used", why]);
        daemon.script("well");
        let id = daemon.submit(["well.wav"]);
        daemon.say(&format!("wait {id}")).expect(0);
        let job = daemon.job(id, 1);
        assert_eq!(figure(&job, "device"), Some("cpu"));
        assert!(figure(&job, "fallback_reason").unwrap().contains(why), "{job:#?}");
    }
}
