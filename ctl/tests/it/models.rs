//! Models: listed, fetched, checked, removed.

use serde_json::json;
use spindle_shared::event::Fact;
use spindle_shared::job::Input;
use spindle_shared::made_up;
use spindle_shared::stage::Stage;
use spindle_shared::wire::request::Request;
use spindle_shared::wire::response::{HouseView, ModelView, Response, Submitted};

use crate::scripted::*;

fn model(name: &str, path: Option<&std::path::Path>, bytes: u64) -> ModelView {
    ModelView {
        name: name.to_owned(),
        path: path.map(Into::into),
        bytes,
        sha256: None,
        english_only: name.contains(".en"),
        about: "quick".to_owned(),
        purpose: "speech".to_owned(),
        licence: None,
    }
}

/// A daemon with this model folder and these models, whose pulls end well.
fn daemon(folder: &std::path::Path, models: Vec<ModelView>) -> Daemon {
    let folder = folder.to_owned();
    Daemon::start(move |call| match call.request {
        Request::Models => call.answer([Response::Models(models.clone())]),
        Request::House => call.answer([Response::House(HouseView {
            state_dir: folder.as_path().into(),
            model_dir: folder.as_path().into(),
            ..made_up::house()
        })]),
        Request::Submit { .. } => {
            let submitted = Submitted { batch: running(5), estimated_seconds: None, repeated: false };
            call.answer([Response::Submitted(submitted)]);
        }
        Request::Watch { .. } => {
            call.send(snapshot(1, &[running(5)], &[]));
            call.send(event(2, Fact::Batch(Box::new(ended(5, 3, 0, 0)))));
            call.until_gone();
        }
        _ => panic!("{:?}", call.request),
    })
}

#[test]
fn models_are_listed() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = daemon(folder.path(), vec![model("base", None, 5), model("tiny.en", Some(folder.path()), 6)]);
    let models = daemon.run(&["--json", "models", "list"]).with(0).json();
    assert_eq!(
        (&models[0]["name"], &models[0]["installed"], &models[0]["path"]),
        (&json!("base"), &json!(false), &json!(null))
    );
    assert_eq!((&models[1]["installed"], &models[1]["english_only"]), (&json!(true), &json!(true)));
    assert_eq!(daemon.run(&["--json", "models", "list", "--installed"]).with(0).json().as_array().unwrap().len(), 1);
}

#[test]
fn pull_submits_what_is_not_there_and_follows_it() {
    let folder = tempfile::tempdir().unwrap();
    let tiny = spindle_shared::catalogue::find("tiny").unwrap();
    let daemon = daemon(folder.path(), vec![model("tiny", Some(folder.path()), tiny.bytes)]);
    let ran = daemon.run(&["models", "pull", "turbo", "tiny", "base", "large-v3-turbo"]).with(0);
    assert!(ran.err.contains("tiny is installed already"), "{ran:#?}");
    let inputs = daemon.inputs();
    let names: Vec<_> = inputs.iter().map(|input| input.input.clone()).collect();
    assert_eq!(names, [Input::Name("large-v3-turbo".to_owned()), Input::Name("base".to_owned())]);
    assert_eq!(inputs[0].output.directory.as_path(), folder.path());
    let Some(Request::Submit { spec, .. }) =
        daemon.requests().into_iter().find(|request| matches!(request, Request::Submit { .. }))
    else {
        panic!()
    };
    assert_eq!(spec.recipe.name, "pull");
    let Stage::Pull(first) = &spec.recipe.map[0] else { panic!() };
    assert_eq!((first.file.as_str(), first.sha256.len()), ("ggml-large-v3-turbo.bin", 64));
    let Some([Stage::Pull(second)]) = inputs[1].stages.as_deref() else { panic!() };
    assert_eq!(second.name, "base");
}

#[test]
fn a_mirror_takes_the_publishers_place() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = daemon(folder.path(), vec![]);
    let mut command = daemon.command(&["models", "pull", "base", "--no-wait"]);
    let ran = Ran::from(command.env("SPINDLE_MODELS__MIRROR", "http://127.0.0.1:9/m/").output().unwrap()).with(0);
    assert_eq!(ran.out, "5\n");
    let Some(Request::Submit { spec, .. }) = daemon.requests().pop() else { panic!() };
    let Stage::Pull(pull) = &spec.recipe.map[0] else { panic!() };
    assert_eq!(pull.url, "http://127.0.0.1:9/m/ggml-base.bin");
    let mut command = daemon.command(&["models", "pull", "base"]);
    Ran::from(command.env("SPINDLE_MODELS__MIRROR", "http://example.org/").output().unwrap()).with(2);
}

#[test]
fn unknown_models_and_paths_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = daemon(folder.path(), vec![]);
    for verb in ["pull", "remove"] {
        assert!(daemon.run(&["models", verb, "huge"]).with(7).err.contains("no model `huge`"));
        daemon.run(&["models", verb, "../base"]).with(2);
    }
    assert_eq!(daemon.requests(), []);
}

#[test]
fn verify_tells_damaged_models() {
    let folder = tempfile::tempdir().unwrap();
    let damaged = folder.path().join("ggml-base.bin");
    std::fs::write(&damaged, "not a model").unwrap();
    let own = folder.path().join("ggml-own.bin");
    std::fs::write(&own, "x").unwrap();
    let daemon = daemon(
        folder.path(),
        vec![model("base", Some(&damaged), 11), model("tiny", None, 5), model("own", Some(&own), 1)],
    );
    let verified = daemon.run(&["--json", "models", "verify"]).with(1).json();
    let states: Vec<_> = verified
        .as_array()
        .unwrap()
        .iter()
        .map(|model| (model["name"].as_str().unwrap(), model["state"].as_str().unwrap()))
        .collect();
    assert_eq!(states, [("base", "damaged"), ("own", "unknown")]);
    daemon.run(&["models", "verify", "tiny"]).with(9);
    daemon.run(&["models", "verify", "own"]).with(0);
    daemon.run(&["models", "verify", "huge"]).with(7);
}

#[test]
fn remove_takes_away_the_catalogues_file_only() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ggml-base.bin");
    let other = folder.path().join("ggml-own.bin");
    std::fs::write(&file, "x").unwrap();
    std::fs::write(&other, "x").unwrap();
    let daemon = daemon(folder.path(), vec![]);
    daemon.run(&["models", "remove", "base", "tiny"]).with(7);
    assert!(file.exists(), "all are there before one is gone");
    daemon.run(&["models", "remove", "base"]).with(0);
    assert!(!file.exists() && other.exists());
    daemon.run(&["models", "remove", "own"]).with(7);
}

#[test]
fn languages_and_recipes_need_no_daemon() {
    let languages = Ran::from(command(&["--json", "models", "languages"]).output().unwrap()).with(0).json();
    assert_eq!(languages.as_array().unwrap().len(), 100);
    assert_eq!(languages[2], json!({"code": "de", "name": "german"}));
    let recipes = Ran::from(command(&["--json", "recipes", "list"]).output().unwrap()).with(0).json();
    assert_eq!(recipes[0]["name"], json!("subtitles"));
    let shown = Ran::from(command(&["--json", "recipes", "show", "subtitles"]).output().unwrap()).with(0).json();
    let stages: Vec<_> =
        shown["stages"].as_array().unwrap().iter().map(|stage| stage["stage"].as_str().unwrap()).collect();
    assert_eq!(stages, ["identify", "decode", "transcribe", "subtitle", "publish"]);
    Ran::from(command(&["recipes", "show", "none"]).output().unwrap()).with(7);
}
