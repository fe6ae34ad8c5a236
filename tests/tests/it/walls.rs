//! The walls around workers, tried from within by each role as the real program puts them up.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use spindle_tests::harness::program;

/// What a process of this role could do, and could not.
fn probe(role: &str, root: &Path, more: &[&str]) -> (bool, Value) {
    for folder in ["state/scratch", "state/checkpoints", "models", "outside"] {
        fs::create_dir_all(root.join(folder)).unwrap();
    }
    fs::write(root.join("outside/theirs"), "theirs").unwrap();
    let run = Command::new(program("spindle-worker"))
        .arg("--probe")
        .arg(root.join("outside"))
        .args(["--role", role])
        .arg("--state")
        .arg(root.join("state"))
        .arg("--models")
        .arg(root.join("models"))
        .args(more)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&run.stdout);
    let told = serde_json::from_str(&said).unwrap_or_else(|e| panic!("{role}: {e}: {said}"));
    assert_eq!(fs::read_to_string(root.join("outside/theirs")).unwrap(), "theirs", "{role}");
    (run.status.success(), told)
}

#[test]
fn every_role_is_kept_from_what_is_not_its_own() {
    for role in ["media", "speech", "vision", "files", "net"] {
        let root = tempfile::tempdir().unwrap();
        let (right, told) = probe(role, root.path(), &[]);
        if told["lacks"].as_array().is_some_and(|lacks| !lacks.is_empty()) {
            eprintln!("skipped for {role}: this machine can't put all walls up: {}", told["lacks"]);
            continue;
        }
        assert!(right, "{role}: {told:#}");
        let refused = |what: &str| {
            let attempts = told["attempts"].as_array().unwrap();
            let attempt = attempts.iter().find(|attempt| attempt["what"] == what).unwrap_or_else(|| panic!("{what}"));
            !attempt["refused"].is_null()
        };
        for what in [
            "read /etc/shadow",
            "read another's file",
            "write outside its folders",
            "start a program",
            "trace its parent",
            "signal its parent",
        ] {
            assert!(refused(what), "{role}: {what}");
        }
        assert_eq!(refused("open a socket"), role != "net", "{role}");
        assert!(!refused("write into scratch"), "{role}");
    }
}
