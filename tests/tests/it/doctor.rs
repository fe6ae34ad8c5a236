//! The doctor finds an installation well that is, and says what is wrong with one that isn't.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde_json::Value;
use spindle_tests::harness::{Daemon, Ran, Setup, program};

fn findings(daemon: &Daemon, words: &[&str]) -> (i32, Vec<Value>) {
    let ran = daemon.ctl([&["--json", "doctor"], words].concat());
    let found: Value = serde_json::from_str(&ran.out).unwrap_or_else(|e| panic!("{e}: {}", ran.out));
    (ran.code, found.as_array().unwrap().clone())
}

#[test]
fn each_recipe_is_tried_and_nothing_is_left() {
    let daemon = Daemon::real().start();
    let (code, found) = findings(&daemon, &[]);
    let tried: Vec<_> = found.iter().filter(|finding| finding["part"] == "jobs").collect();
    for finding in &tried {
        assert_eq!(finding["verdict"], "well", "{finding:#}");
    }
    let names: Vec<_> = tried.iter().map(|finding| finding["what"].as_str().unwrap()).collect();
    assert_eq!(names, ["subtitles", "compress", "convert", "preview", "highlights", "report", "images"]);
    assert_eq!(code, 0, "{found:#?}");
    assert_eq!(daemon.json("list").as_array().map(Vec::len), Some(0));
}

#[test]
fn without_a_daemon_the_rest_is_looked_at() {
    let daemon = Daemon::real().stopped();
    let ran = daemon.say("--json doctor").expect(5);
    let found: Value = serde_json::from_str(&ran.out).unwrap();
    let of = |what: &str| found.as_array().unwrap().iter().find(|finding| finding["what"] == what).cloned().unwrap();
    assert_eq!((of("answers")["verdict"].as_str(), of("program")["verdict"].as_str()), (Some("wrong"), Some("well")));
    assert!(of("answers")["hint"].as_str().unwrap().contains("start"));
}

/// What was found, by where it was looked at: how it stands, what is said where it isn't well, and whether that comes with what to do.
fn by_line(found: &[Value]) -> BTreeMap<String, (String, String, bool)> {
    let word = |finding: &Value, key: &str| finding[key].as_str().unwrap_or_default().to_owned();
    found
        .iter()
        .map(|finding| {
            let verdict = word(finding, "verdict");
            let message = if verdict == "well" { String::new() } else { word(finding, "message") };
            let line = format!("{}/{}", word(finding, "part"), word(finding, "what"));
            (line, (verdict, message, finding["hint"].is_string()))
        })
        .collect()
}

const CARD: &str =
    r#"[{"name":"One","api":"CUDA","memory_bytes":4294967296,"free_bytes":2147483648,"roles":["speech"]}]"#;

fn with_cards(setup: Setup, cards: &str) -> Daemon {
    let worker = program("scripted-worker");
    setup.env("SPINDLE_WORKERS__GPU_PROGRAM", &worker.to_string_lossy()).env("SPINDLE_SCRIPT_DEVICES", cards).start()
}

/// Runs it where tesseract's library can't be opened (`hidden` = by this environment), and tries the recipes too.
fn findings_without_text(daemon: &Daemon, hidden: (&str, &Path), words: &[&str]) -> Vec<Value> {
    let mut command = daemon.command("spindlectl");
    command.args(["--json", "doctor"]).args(words).env(hidden.0, hidden.1);
    Ran::of(command).expect(0).json().as_array().unwrap().clone()
}

#[test]
fn without_models_cards_and_text_recognition_it_says_just_that() {
    // A machine that has everything; what is no model of speech is told by its file's name.
    let full = with_cards(Daemon::real(), CARD);
    fs::write(full.models().join("ggml-silero-v6.2.0.bin"), "").unwrap();
    let (code, found) = findings(&full, &["--no-jobs"]);
    assert_eq!(code, 0, "{found:#?}");
    let full = by_line(&found);
    assert_eq!(full["cards/gpu:0"].0, "well");
    let card = found.iter().find(|finding| finding["what"] == "gpu:0").unwrap();
    assert!(card["message"].as_str().unwrap().contains("One (CUDA), 2048 MiB of memory, for: speech"), "{card}");

    // One that has none of them. The library is there, and is no library.
    let bare = with_cards(Daemon::setup(), "[]");
    let hidden = bare.root().join("hidden");
    fs::create_dir(&hidden).unwrap();
    for name in ["libtesseract.so.5", "libtesseract.so.4", "libtesseract.so"] {
        fs::write(hidden.join(name), "none").unwrap();
    }
    let found = findings_without_text(&bare, ("LD_LIBRARY_PATH", &hidden), &[]);
    let (jobs, rest): (Vec<Value>, Vec<Value>) = found.into_iter().partition(|finding| finding["part"] == "jobs");
    let (jobs, bare_lines) = (by_line(&jobs), by_line(&rest));
    let unwell: Vec<&str> =
        jobs.iter().filter(|(_, (verdict, ..))| verdict != "well").map(|(line, _)| line.as_str()).collect();
    assert_eq!((unwell, jobs.len()), (vec!["jobs/subtitles"], 7), "{jobs:#?}");
    let differ: BTreeSet<&str> = full
        .keys()
        .chain(bare_lines.keys())
        .filter(|line| full.get(*line) != bare_lines.get(*line))
        .map(String::as_str)
        .collect();
    let mut expected = BTreeSet::from([
        "cards/gpu",
        "cards/gpu:0",
        "models/speech",
        "models/voice activity",
        "text/chi_sim",
        "text/eng",
    ]);
    // Where the machine has no text recognition either, there is nothing to tell apart.
    for line in ["text/chi_sim", "text/eng"].into_iter().filter(|line| full[*line].0 != "well") {
        eprintln!("SKIPPED: {line} is missing on this machine, so that its absence shows no difference");
        expected.remove(line);
    }
    assert_eq!(differ, expected, "{full:#?} {bare_lines:#?}");
    let limited = ["cards/gpu", "models/speech", "models/voice activity", "text/chi_sim", "text/eng"];
    for (line, told) in
        limited.iter().map(|line| (line, &bare_lines[*line])).chain([(&"jobs", &jobs["jobs/subtitles"])])
    {
        assert_eq!((told.0.as_str(), told.2), ("limited", true), "{line}: {told:?}");
    }
    assert!(bare_lines["text/eng"].1.contains("is not installed"), "{bare_lines:#?}");
    assert!(bare_lines["cards/gpu"].1.contains("finds no graphics card"), "{bare_lines:#?}");

    // The library without the data of a language.
    let empty = bare.root().join("empty");
    fs::create_dir(&empty).unwrap();
    let found = by_line(&findings_without_text(&bare, ("TESSDATA_PREFIX", &empty), &["--no-jobs"]));
    if full["text/eng"].0 == "well" {
        assert!(found["text/eng"].1.contains("no data for `eng`"), "{found:#?}");
    }
    let differ: Vec<&String> = found.keys().filter(|line| found.get(*line) != bare_lines.get(*line)).collect();
    assert!(differ.iter().all(|line| line.starts_with("text/")), "{differ:?}");
}

#[test]
fn a_machine_that_nobody_wants_cards_of_is_well_without() {
    let daemon = Daemon::scripted().start();
    let (_, found) = findings(&daemon, &["--no-jobs"]);
    let cards: Vec<_> = found.iter().filter(|finding| finding["part"] == "cards").collect();
    let [card] = cards.as_slice() else { panic!("{cards:?}") };
    assert_eq!(card["verdict"], "well", "{card}");
    assert!(card["hint"].as_str().unwrap().contains("workers.gpu_program"), "{card}");
    assert!(!found.iter().any(|finding| finding["what"] == "graphics cards"), "told once");
}
