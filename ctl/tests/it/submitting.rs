//! From a command line to a submission: inputs, outputs, overrides, and what is told before a batch exists.

use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::json;
use spindle_shared::batch::{BatchSpec, OnExisting, Priority, TimeLimit};
use spindle_shared::job::Input;
use spindle_shared::stage::Stage;
use spindle_shared::stage::subtitle::Format;
use spindle_shared::stage::transcribe::Transcribe;
use spindle_shared::wire::request::{Request, Submission};
use spindle_shared::wire::response::{PlannedJob, Refusal, RefusalKind, Response, Submitted};

use crate::scripted::*;

fn daemon() -> Daemon {
    Daemon::holding(vec![running(12)], vec![])
}

fn spec(daemon: &Daemon) -> BatchSpec {
    match daemon.requests().remove(0) {
        Request::Submit { spec, .. } => *spec,
        other => panic!("{other:?}"),
    }
}

fn names(inputs: &[Submission]) -> Vec<String> {
    inputs
        .iter()
        .map(|submission| match &submission.input {
            Input::File { path, .. } => path.as_path().file_name().unwrap().to_string_lossy().into_owned(),
            Input::Name(name) => name.clone(),
            Input::Url(url) => url.as_str().to_owned(),
        })
        .collect()
}

fn transcribe(stages: &[Stage]) -> &Transcribe {
    stages.iter().find_map(|stage| if let Stage::Transcribe(stage) = stage { Some(stage) } else { None }).unwrap()
}

#[test]
fn one_file_is_one_command_and_its_id_is_all_that_is_printed() {
    let daemon = daemon();
    daemon.file("talk.mp4", "x");
    let ran = daemon.run(&["submit", "subtitles", "talk.mp4"]).with(0);
    assert_eq!(ran.out, "12\n");
    assert_eq!(ran.err, "batch 12: 3 inputs, about 2 min 00 s\n");
    assert_eq!(daemon.run(&["-q", "submit", "subtitles", "talk.mp4"]).with(0).err, "");
    let spec = spec(&daemon);
    assert_eq!((spec.recipe.name.as_str(), spec.parallel, spec.priority), ("subtitles", 3, Priority(50)));
    assert_eq!(spec.on_existing, OnExisting::Refuse);
    assert!(spec.key.is_some_and(|key| key.len() == 32), "a key is drawn");
    let inputs = daemon.inputs();
    let Input::File { path, identity } = &inputs[0].input else { panic!() };
    assert!(path.as_path().is_absolute());
    assert_eq!(identity.bytes, 1);
    assert_eq!(
        (inputs[0].output.directory.as_path(), inputs[0].output.stem.0.as_slice()),
        (path.as_path().parent().unwrap(), &b"talk"[..])
    );
}

#[test]
fn the_submission_as_json() {
    let daemon = daemon();
    daemon.file("talk.mp4", "x");
    let submitted = daemon.run(&["--json", "submit", "subtitles", "talk.mp4"]).with(0).json();
    assert_eq!(
        submitted,
        json!({
            "batch_id": 12, "name": "meetings", "recipe": "subtitles", "state": "running", "total": 3,
            "estimated_seconds": 120.0, "priority": 50, "parallel": 3, "skipped": 0,
            "created_at": "2023-11-14T22:13:20.000Z", "repeated": false, "tags": {"course": "b", "a": "x"}
        })
    );
}

#[test]
fn options_reach_the_daemon() {
    let daemon = daemon();
    daemon.file("talk.mp4", "x");
    #[rustfmt::skip]
    daemon.run(&[
        "submit", "subtitles", "talk.mp4", "--model", "small", "--language", "german", "--languages", "de,en", "--translate",
        "--prompt", "Ada", "--beam-size", "2", "--best-of", "3", "--temperature", "0.2", "--no-vad", "--track", "2", "--format", "vtt,json",
        "--preset", "short", "--max-lines", "1", "--no-language-suffix", "-o", "out", "-p", "urgent", "-j", "4", "--name", "n",
        "--tag", "a=b", "--retries", "2", "--timeout", "5m", "--force", "--key", "k",
    ]).with(0);
    let spec = spec(&daemon);
    let stage = transcribe(&spec.recipe.map);
    assert_eq!(
        (stage.model.name.as_str(), stage.language.as_deref(), stage.prompt.as_deref()),
        ("small", Some("de"), Some("Ada"))
    );
    assert_eq!(
        (stage.translate, stage.vad, stage.beam_size, stage.best_of, stage.temperature),
        (true, false, 2, 3, 0.2)
    );
    assert_eq!(stage.languages, ["de", "en"]);
    for stage in &spec.recipe.map {
        match stage {
            Stage::Decode(decode) => assert_eq!(decode.track.as_deref(), Some("2")),
            Stage::Subtitle(subtitle) => {
                assert_eq!(subtitle.formats, [Format::Vtt, Format::Json]);
                assert_eq!((subtitle.shape.lines_max, subtitle.shape.words_max), (1, Some(8)));
            }
            Stage::Publish(publish) => assert_eq!((publish.language_suffix, publish.force), (false, true)),
            _ => {}
        }
    }
    assert_eq!((spec.parallel, spec.retries, spec.timeout), (4, Some(2), Some(TimeLimit::Milliseconds(300_000))));
    assert_eq!(
        (spec.key.as_deref(), spec.name.as_deref(), spec.on_existing),
        (Some("k"), Some("n"), OnExisting::Force)
    );
    assert_eq!((spec.priority, spec.tags), (Priority(0), vec![("a".to_owned(), "b".to_owned())]));
    assert_eq!(daemon.inputs()[0].output.directory.as_path(), std::path::absolute(daemon.path()).unwrap().join("out"));
}

#[test]
fn a_model_named_by_path_is_made_absolute() {
    let daemon = daemon();
    daemon.file("talk.mp4", "x");
    daemon.run(&["submit", "subtitles", "--model", "./own.bin", "talk.mp4"]).with(0);
    let expected = std::path::absolute(daemon.path()).unwrap().join("own.bin");
    assert_eq!(transcribe(&spec(&daemon).recipe.map).model.name, expected.to_str().unwrap());
}

#[test]
fn a_list_overrides_options_input_by_input() {
    let daemon = daemon();
    for name in ["a.mp4", "b.mp4", "c.mp4"] {
        daemon.file(name, name);
    }
    daemon.file("list.csv", "path,language,format,beam_size\na.mp4,German,,\nb.mp4,,txt,3\nc.mp4,,,\n");
    daemon.run(&["submit", "subtitles", "--language", "en", "--from", "list.csv"]).with(0);
    let inputs = daemon.inputs();
    assert_eq!(names(&inputs), ["a.mp4", "b.mp4", "c.mp4"]);
    let own = |at: usize| transcribe(inputs[at].stages.as_ref().unwrap());
    assert_eq!((own(0).language.as_deref(), own(0).beam_size), (Some("de"), 5));
    assert_eq!((own(1).language.as_deref(), own(1).beam_size), (Some("en"), 3));
    assert_eq!(inputs[2].stages, None);
}

#[test]
fn lists_come_from_standard_input_too() {
    for (list, expected) in [
        (&b"a.mp4\n# no\n\nb.mp4\n"[..], None),
        (b"a.mp4\0b.mp4\0", None),
        (b"{\"input\": \"a.mp4\", \"language\": \"de\"}\n{\"input\": \"b.mp4\"}\n", Some("de")),
    ] {
        let daemon = daemon();
        daemon.file("a.mp4", "a");
        daemon.file("b.mp4", "b");
        let mut child = daemon.command(&["submit", "subtitles", "--from", "-"]).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(list).unwrap();
        Ran::from(child.wait_with_output().unwrap()).with(0);
        let inputs = daemon.inputs();
        assert_eq!(names(&inputs), ["a.mp4", "b.mp4"]);
        let own = inputs[0].stages.as_ref().and_then(|stages| transcribe(stages).language.as_deref());
        assert_eq!(own, expected);
    }
}

#[test]
fn all_that_is_wrong_is_told_before_a_batch_exists() {
    let daemon = daemon();
    daemon.file("a.mp4", "a");
    std::fs::create_dir(daemon.path().join("folder")).unwrap();
    let ran = daemon.run(&["submit", "subtitles", "a.mp4", "gone.mp4", "folder", "ftp://x.org/v.mp4"]).with(2);
    let expected = "error: 3 inputs can't be taken:\n  gone.mp4: no such file\n  folder: is a folder; -r takes what is in it\n  \
        ftp://…: `ftp` is no way to fetch: https, http, s3 and oss are\n";
    assert_eq!((ran.err.as_str(), ran.out.as_str()), (expected, ""));

    daemon.file("list.txt", "a.mp4\ngone.mp4\n");
    assert_eq!(
        daemon.run(&["submit", "subtitles", "--from", "list.txt"]).with(2).err,
        "error: list.txt:2: gone.mp4: no such file\n"
    );
    daemon.file("list.csv", "input,langauge\na.mp4,de\n");
    let ran = daemon.run(&["submit", "subtitles", "--from", "list.csv"]).with(2);
    assert!(
        ran.err
            .starts_with("error: list.csv:1: unknown column `langauge`; known are input, path, file, model, language,"),
        "{ran:#?}"
    );
    daemon.file("list.jsonl", "{\"input\": \"a.mp4\", \"language\": \"klingon\"}\n");
    let ran = daemon.run(&["submit", "subtitles", "--from", "list.jsonl"]).with(2);
    assert!(ran.err.starts_with("error: list.jsonl:1: ") && ran.err.contains("klingon"), "{ran:#?}");

    let many: Vec<String> = (0..30).map(|number| format!("gone-{number}")).collect();
    let arguments: Vec<&str> = ["submit", "subtitles"].into_iter().chain(many.iter().map(String::as_str)).collect();
    let ran = daemon.run(&arguments).with(2);
    assert_eq!((ran.err.lines().count(), ran.err.lines().last()), (22, Some("  … and 10 more")));
    assert_eq!(daemon.requests(), []);
}

#[test]
fn an_output_place_that_cannot_be_is_told() {
    let daemon = daemon();
    daemon.file("a.mp4", "a");
    for (folder, why) in [
        ("a.mp4", "is not a folder"),
        ("a.mp4/below", "is not a folder"),
        ("https://host/x", "is no place for outputs"),
    ] {
        let ran = daemon.run(&["submit", "subtitles", "a.mp4", "-o", folder]).with(2);
        assert!(ran.err.contains(why), "{ran:#?}");
    }
    assert_eq!(daemon.requests(), []);
}

#[test]
fn names_that_are_taken_go_along() {
    let daemon = daemon();
    for name in ["talk.mp4", "talk.en.srt", "talk.de.vtt", "talk.de.txt", "talk.xx.srt", "other.en.srt", "talk.srt"] {
        daemon.file(name, "x");
    }
    std::os::unix::fs::symlink("/nowhere", daemon.path().join("talk.fr.srt")).unwrap();
    let taken = |arguments: &[&str]| {
        let before = daemon.inputs().len();
        let arguments: Vec<&str> = ["submit", "subtitles", "talk.mp4"].iter().chain(arguments).copied().collect();
        daemon.run(&arguments).with(0);
        let names = |submission: &Submission| {
            submission
                .taken
                .iter()
                .map(|name| name.path.as_path().file_name().unwrap().to_str().unwrap().to_owned())
                .collect::<Vec<_>>()
        };
        names(&daemon.inputs()[before])
    };
    assert_eq!(taken(&[]), ["talk.de.vtt", "talk.en.srt", "talk.fr.srt"]);
    assert_eq!(taken(&["--language", "de"]), ["talk.de.vtt"]);
    assert_eq!(taken(&["--language", "de", "--translate"]), ["talk.en.srt"]);
    assert_eq!(taken(&["--no-language-suffix"]), ["talk.srt"]);
    assert_eq!(taken(&["--format", "txt"]), ["talk.de.txt"]);
    assert_eq!(taken(&["-o", "elsewhere"]), [""; 0]);
}

#[test]
fn folders_are_walked_and_mirrored() {
    let daemon = daemon();
    for name in [
        "in/b.MP4",
        "in/a.mp3",
        "in/deep/c.wav",
        "in/.hidden.mp4",
        "in/x.part",
        "in/notes.txt",
        "in/a.en.srt",
        "in/.git/d.mp4",
    ] {
        daemon.file(name, name);
    }
    std::os::unix::fs::symlink("..", daemon.path().join("in/deep/loop")).unwrap();
    std::os::unix::fs::symlink("a.mp3", daemon.path().join("in/z.mp3")).unwrap();
    let ran = daemon.run(&["submit", "subtitles", "-r", "in", "-o", "out"]).with(0);
    let inputs = daemon.inputs();
    assert_eq!(names(&inputs), ["a.mp3", "b.MP4", "c.wav"]);
    assert!(inputs[2].output.directory.as_path().ends_with("out/deep"), "{:?}", inputs[2].output);
    assert!(ran.err.contains("left out: ") && ran.err.contains("in/z.mp3: is named twice"), "{ran:#?}");
}

#[test]
fn odd_names_arrive_byte_for_byte() {
    let daemon = daemon();
    let name = std::ffi::OsStr::from_bytes(b"caf\xe9 \n \xf0\x9f\x8e\x89.mp4");
    std::fs::write(daemon.path().join(name), "x").unwrap();
    let output = daemon.command(&["submit", "subtitles", "--"]).arg(name).output().unwrap();
    Ran::from(output).with(0);
    let Input::File { path, .. } = &daemon.inputs()[0].input else { panic!() };
    assert_eq!(path.as_path().file_name(), Some(name));
}

#[test]
fn a_dry_run_lists_and_submits_nothing() {
    let planned = |index, skipped: Option<&str>| PlannedJob {
        index,
        input: Input::Name(format!("/v/{index}.mp4")),
        outputs: vec![std::path::Path::new("/v/x.{lang}.srt").into()],
        skipped_reason: skipped.map(str::to_owned),
        estimated_seconds: Some(60.0),
        estimated_bytes: skipped.is_none().then_some(1_920_000.0),
    };
    let plan = vec![planned(1, None), planned(2, Some("exists")), planned(3, None)];
    let daemon = Daemon::saying(vec![Response::Planned(plan)]);
    for name in ["a.mp4", "b.mp4", "c.mp4"] {
        daemon.file(name, "x");
    }
    let arguments = ["submit", "subtitles", "--dry-run", "-j", "1", "a.mp4", "b.mp4", "c.mp4"];
    let ran = daemon.run(&arguments).with(0);
    assert!(ran.out.contains("skipped: exists") && ran.out.contains("/v/x.{lang}.srt"), "{ran:#?}");
    assert_eq!(
        ran.err,
        "3 inputs, 1 skipped, about 2 min 00 s and 1.8 MiB of disk while it runs; nothing was submitted\n"
    );
    let json: Vec<&str> = ["--json"].iter().chain(&arguments).copied().collect();
    let plan = daemon.run(&json).with(0).json();
    assert_eq!((&plan["total"], &plan["skipped"], &plan["estimated_seconds"]), (&json!(3), &json!(1), &json!(120.0)));
    assert_eq!(plan["jobs"][1]["skipped_reason"], json!("exists"));
    assert!(daemon.requests().iter().all(|request| matches!(request, Request::Submit { dry_run: true, .. })));
}

#[test]
fn ten_thousand_inputs_go_in_frames_of_bounded_size() {
    let daemon = daemon();
    let list: String = (0..2_500)
        .map(|number| {
            daemon.file(&format!("in/{number:05}.mp4"), "");
            format!("in/{number:05}.mp4\n")
        })
        .collect();
    daemon.file("list.txt", list);
    daemon.run(&["submit", "subtitles", "--from", "list.txt"]).with(0);
    let inputs = daemon.inputs();
    assert_eq!(inputs.len(), 2_500);
    assert_eq!(names(&inputs)[2_499], "02499.mp4");
}

#[test]
fn a_refusal_before_the_inputs_are_read_is_heard() {
    // The refusal comes at once and the daemon hangs up; most inputs are never read.
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("s");
    let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    std::thread::spawn(move || {
        use spindle_shared::wire::{codec, frame::encode_frame, hello::Hello};
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(&encode_frame(&codec::encode(&Hello::ours()))).unwrap();
        let refusal = Response::Refused(Refusal::new(RefusalKind::Limit, "too many inputs"));
        stream.write_all(&encode_frame(&codec::encode(&refusal))).unwrap();
    });
    let list: String = (0..5_000)
        .map(|number| {
            std::fs::write(folder.path().join(format!("{number}.mp4")), "").unwrap();
            format!("{number}.mp4\n")
        })
        .collect();
    std::fs::write(folder.path().join("list.txt"), list).unwrap();
    let arguments = ["--socket", socket.to_str().unwrap(), "submit", "subtitles", "--from", "list.txt"];
    let ran = Ran::from(command(&arguments).current_dir(folder.path()).output().unwrap()).with(6);
    assert_eq!(ran.err, "error: too many inputs\n");
}

#[test]
fn a_submission_whose_answer_was_lost_is_sent_again_under_its_key() {
    let calls = AtomicU32::new(0);
    let daemon = Daemon::start(move |call| {
        if calls.fetch_add(1, Ordering::SeqCst) > 0 {
            let submitted = Submitted { batch: running(12), estimated_seconds: None, repeated: true };
            call.answer([Response::Submitted(submitted)]);
        }
    });
    daemon.file("a.mp4", "x");
    assert_eq!(daemon.run(&["submit", "subtitles", "a.mp4"]).with(0).out, "12\n");
    let keys: Vec<_> = daemon
        .requests()
        .into_iter()
        .map(|request| if let Request::Submit { spec, .. } = request { spec.key } else { None })
        .collect();
    assert_eq!(keys.len(), 2);
    assert!(keys[0].is_some() && keys[0] == keys[1]);
}

#[test]
fn an_address_is_an_input_whose_outputs_land_in_the_current_folder() {
    let daemon = daemon();
    let url = "https://me:pw@x.org/a/talk%201.mp4?sig=s3cret";
    let ran = daemon.run(&["submit", "subtitles", url, url, "https://x.org/b/talk%201.mp4"]).with(0);
    assert!(ran.err.contains("left out: https://x.org/a/talk%201.mp4?…: is named twice"), "{ran:#?}");
    assert!(!ran.err.contains("s3cret") && !ran.err.contains("pw@"), "{ran:#?}");
    let inputs = daemon.inputs();
    assert_eq!(names(&inputs), [url, "https://x.org/b/talk%201.mp4"]);
    let places: Vec<_> =
        inputs.iter().map(|input| (input.output.directory.as_path(), input.output.stem.to_string())).collect();
    let here = daemon.path().canonicalize().unwrap();
    let here = here.as_path();
    assert_eq!(places, [(here, "talk 1".to_owned()), (here, "talk 1.mp4".to_owned())]);
}
