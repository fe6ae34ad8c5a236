//! Model APIs by the real programs and a scripted endpoint: limits as they arrive there, what each refusal costs, and that no key is anywhere.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::Pid;
use serde_json::{Value, json};
use spindle_shared::id::BatchId;
use spindle_tests::harness::{Daemon, Setup, eventually, repeated};
use spindle_tests::oracle::{Asked, Oracle, Reply};

const KEY: &str = "sk-oracle-0123456789abcdef";

/// A daemon that knows the oracle; `more`: of its section in the configuration.
fn house(oracle: &Oracle, more: &str) -> Setup {
    let setup = Daemon::real();
    let path = setup.state().with_file_name("spindled.toml");
    let text = format!(
        "[providers.oracle]\nendpoint = \"{}\"\nmodel = \"seer\"\ntext_model = \"reader\"\nkeys = [\"env:ORACLE_KEY\"]\n{more}\n",
        oracle.endpoint()
    );
    fs::write(&path, text).unwrap();
    setup.env("ORACLE_KEY", KEY).env("SPINDLE_CONFIG", path.to_str().unwrap())
}

fn lesson() -> Value {
    json!({
        "title": "What: a \"talk\"", "summary": "All of it.", "subject": "Public Speaking",
        "content_sections": [{"title": "One", "content": "Words.", "timestamp_seconds": 1, "key_points": ["a"]}],
        "important_timestamps": [{"seconds": 1, "description": "there"}], "tags": ["x"],
    })
}

fn sounds(daemon: &Daemon, count: usize) -> Vec<String> {
    (0..count)
        .map(|number| {
            let path = daemon.sound(&format!("{number}.wav"), 1.5 + number as f64 / 100.0);
            path.to_str().unwrap().to_owned()
        })
        .collect()
}

/// A batch of reports by the oracle, at its end.
fn submit(daemon: &Daemon, inputs: &[String], options: &[&str]) -> Value {
    let mut arguments = vec!["--provider=oracle", "--template=summary_report", "-j8"];
    arguments.extend(options);
    arguments.extend(inputs.iter().map(String::as_str));
    let batch = daemon.submit_to("report", &arguments);
    daemon.ended_batch(batch);
    outcome(daemon, batch)
}

/// However it ended.
fn outcome(daemon: &Daemon, batch: BatchId) -> Value {
    daemon.ctl(["--json", "result", &batch.to_string()]).json()
}

#[test]
fn a_report_is_asked_for_once_and_repaired_by_asking_again() {
    let oracle = Oracle::start(|asked: &Asked| match asked.number {
        1 => Reply::Says("I would rather write prose.".to_owned()),
        _ => Reply::Says(format!("```json\n{}\n```", lesson())),
    });
    let daemon = house(&oracle, "price_in = 1.0\nprice_out = 2.0").start();
    let inputs = sounds(&daemon, 1);
    let result = submit(&daemon, &inputs, &["--format=md,json"]);
    assert_eq!(result["state"], "completed", "{result:#}");
    let asked = oracle.asked();
    assert_eq!(asked.len(), 2);
    assert!(asked[0].text().contains("hello world"), "{}", asked[0].text());
    assert!(asked[1].text().contains("could not be used") && asked[1].text().contains("no JSON object"));
    assert_eq!((asked[0].path.as_str(), asked[0].body["model"].as_str()), ("/v1/chat/completions", Some("reader")));
    assert_eq!(asked[0].headers["authorization"], format!("Bearer {KEY}"));
    assert_ne!(asked[0].headers["idempotency-key"], asked[1].headers["idempotency-key"]);
    let summary = &result["summary"];
    assert_eq!((summary["api_calls"].as_u64(), summary["tokens"].as_u64()), (Some(2), Some(2_200)));
    let cost = (2_000.0 * 1.0 + 200.0 * 2.0) / 1e6;
    assert!((summary["cost"].as_f64().unwrap() - cost).abs() < 1e-12, "{summary}");
    let text = fs::read_to_string(daemon.media().join("0.report.md")).unwrap();
    assert!(
        text.starts_with("---\ntitle: \"What: a \\\"talk\\\"\"\n") && text.contains("- \"public_speaking\""),
        "{text}"
    );
    // The same again is known, and nobody is asked.
    fs::remove_file(daemon.media().join("0.report.md")).unwrap();
    fs::remove_file(daemon.media().join("0.report.json")).unwrap();
    let again = submit(&daemon, &inputs, &["--format=md,json"]);
    assert_eq!((again["state"].as_str(), oracle.count()), (Some("completed"), 2), "{again:#}");
}

#[test]
fn no_more_are_asked_at_once_or_in_a_minute_than_allowed() {
    let oracle = Oracle::start(|_| Reply::Late(Duration::from_millis(150), Box::new(Reply::json(&lesson()))));
    let daemon = house(&oracle, "at_once = 3\nper_minute = 6").start();
    let inputs = sounds(&daemon, 8);
    let mut arguments = vec!["--provider=oracle", "-j8", "--format=json"];
    arguments.extend(inputs.iter().map(String::as_str));
    let batch = daemon.submit_to("report", &arguments);
    eventually("the minute's calls have gone out", || (daemon.batch(batch).counts.completed >= 4).then_some(()));
    // Each holds room for a second call while it asks, so that a minute's six are never passed.
    let said = eventually("somebody waits for his turn", || {
        let jobs = (1..=8).map(|job| daemon.json(&format!("explain {batch}/{job}")).to_string());
        jobs.into_iter().find(|said| said.contains("its turn at the model API oracle"))
    });
    assert!(said.contains("may go out in") || said.contains("when one is over"), "{said}");
    assert!(daemon.json("lanes").to_string().contains("api:oracle"));
    let asked = oracle.asked();
    assert!(asked.iter().all(|asked| asked.at_once <= 3));
    assert!(asked.len() <= 6, "{} in a minute", asked.len());
    daemon.say(&format!("cancel {batch}")).expect(0);
}

#[test]
fn what_a_service_asks_for_costs_no_try() {
    let oracle = Oracle::start(|asked: &Asked| match asked.number {
        1 => Reply::Status(429, vec![("retry-after", "1".to_owned())], "{}".to_owned()),
        2 => Reply::Status(429, vec![("retry-after-ms", "300".to_owned())], "{}".to_owned()),
        _ => Reply::json(&lesson()),
    });
    let daemon = house(&oracle, "").start();
    let inputs = sounds(&daemon, 1);
    let result = submit(&daemon, &inputs, &["--retries=0"]);
    assert_eq!(result["state"], "completed", "{result:#}");
    assert_eq!(result["jobs"][0]["attempts"], 1);
    let asked = oracle.asked();
    assert_eq!(asked.len(), 3);
    assert!(asked[1].at - asked[0].at >= Duration::from_secs(1));
    // The same work has the same key, however often it is tried.
    assert_eq!(asked[0].headers["idempotency-key"], asked[2].headers["idempotency-key"]);
}

#[test]
fn a_key_in_a_file_is_read_by_who_asks() {
    let oracle = Oracle::start(|_| Reply::json(&lesson()));
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), format!("{KEY}\n")).unwrap();
    let setup = house(&oracle, "");
    let path = setup.state().with_file_name("spindled.toml");
    let text = fs::read_to_string(&path).unwrap().replace("env:ORACLE_KEY", &format!("file:{}", file.path().display()));
    fs::write(&path, text).unwrap();
    let daemon = setup.start();
    let result = submit(&daemon, &sounds(&daemon, 1), &["--format=json"]);
    assert_eq!(result["state"], "completed", "{result:#}");
    assert_eq!(oracle.asked()[0].headers["authorization"], format!("Bearer {KEY}"));
}

#[test]
fn a_spent_quota_parks_and_outlives_the_daemon() {
    let oracle = Oracle::start(|_| Reply::json(&lesson()));
    let mut daemon = house(&oracle, "per_day = 2").start();
    let inputs = sounds(&daemon, 3);
    let mut arguments = vec!["--provider=oracle", "--format=json", "-j1"];
    arguments.extend(inputs.iter().map(String::as_str));
    let batch = daemon.submit_to("report", &arguments);
    eventually("one is parked", || {
        let said = daemon.json(&format!("explain {batch}")).to_string();
        (said.contains("goes on at 00:00 UTC") || said.contains("today")).then_some(())
    });
    let before = oracle.count();
    assert!(before <= 2, "{before}");
    assert_eq!(daemon.batch(batch).counts.failed, 0);
    daemon.kill();
    daemon.start();
    eventually("it is parked again", || {
        let said = daemon.json(&format!("explain {batch}")).to_string();
        said.contains("the model API oracle").then_some(())
    });
    assert_eq!(oracle.count(), before);
}

#[test]
fn a_hostile_endpoint_is_refused_and_nobody_grows() {
    /// What it does, and the kind of failure that it makes.
    type Hostile = (&'static str, fn() -> Reply, &'static str);
    fn away(to: &str) -> Reply {
        Reply::Status(307, vec![("location", to.to_owned())], String::new())
    }
    let hostile: [Hostile; 8] = [
        ("huge", || Reply::Huge(10 << 30), "server"),
        ("head", || Reply::EndlessHead, "network"),
        ("drip", || Reply::Drip, "network"),
        ("cut", || Reply::Cut, "network"),
        ("cloud", || away("http://169.254.169.254/latest/meta-data"), "server"),
        ("inside", || away("http://127.0.0.1:9/v1/chat/completions"), "server"),
        ("round", || away("/v1/chat/completions"), "server"),
        ("broken", || Reply::Status(200, Vec::new(), "{\"choices\":".to_owned()), "server"),
    ];
    for (name, reply, kind) in hostile {
        let oracle = Oracle::start(move |_| reply());
        let daemon = house(&oracle, "timeout_seconds = 2").start();
        let inputs = sounds(&daemon, 1);
        let result = submit(&daemon, &inputs, &["--retries=0"]);
        let failure = &result["jobs"][0]["failure"];
        assert_eq!(failure["kind"], kind, "{name}: {result:#}");
        assert!(failure["advice"].as_str().is_some_and(|advice| !advice.is_empty()), "{name}");
        assert_eq!(oracle.count(), 1, "{name}");
        // Ten GiB were offered; the program itself takes some fifty MiB, built for tests.
        assert!(daemon.peak_kib("net") < 160 << 10, "{name}: {} KiB", daemon.peak_kib("net"));
    }
}

/// Whether anything that this process may write to holds these bytes, by what the kernel gives of its memory; and how much that was.
fn memory_holds(pid: Pid, needle: &[u8]) -> (bool, u64) {
    let place = format!("/proc/{}", pid.as_raw_nonzero());
    let memory = fs::File::open(format!("{place}/mem")).unwrap();
    let (mut found, mut read) = (false, 0);
    for line in fs::read_to_string(format!("{place}/maps")).unwrap().lines() {
        let mut words = line.split_whitespace();
        let (range, rights) = (words.next().unwrap(), words.next().unwrap());
        // What can't be written to is what lies in a file.
        if rights.starts_with("rw") {
            let (begin, end) = range.split_once('-').unwrap();
            let (begin, end) = (u64::from_str_radix(begin, 16).unwrap(), u64::from_str_radix(end, 16).unwrap());
            let mut region = vec![0; (end - begin) as usize];
            let came = memory.read_at(&mut region, begin).unwrap_or(0);
            found |= memchr::memmem::find(&region[..came], needle).is_some();
            read += came as u64;
        }
    }
    (found, read)
}

fn holds(bytes: &[u8]) -> bool {
    memchr::memmem::find(bytes, KEY.as_bytes()).is_some()
}

/// No file below holds the key; how many there are.
fn search(folder: &Path) -> usize {
    let (mut folders, mut files) = (vec![folder.to_owned()], 0);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            match entry.file_type().unwrap() {
                kind if kind.is_dir() => folders.push(entry.path()),
                kind if kind.is_file() => {
                    files += 1;
                    assert!(!holds(&fs::read(entry.path()).unwrap_or_default()), "{}", entry.path().display());
                }
                _ => {}
            }
        }
    }
    files
}

#[test]
fn a_key_is_nowhere_but_in_the_question() {
    let released = Arc::new(AtomicBool::new(false));
    let thought = Arc::clone(&released);
    let oracle = Oracle::start(move |asked: &Asked| {
        // It thinks until it is let go.
        while !thought.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(5));
        }
        let mut lesson = lesson();
        lesson["summary"] = json!(format!("I was asked with {KEY}, was I not?"));
        match asked.text().contains("refuse") {
            true => Reply::Status(401, Vec::new(), format!("{{\"error\":{{\"message\":\"no such key: {KEY}\"}}}}")),
            false => Reply::json(&lesson),
        }
    });
    let daemon = house(&oracle, "").start();
    let inputs = sounds(&daemon, 1);
    let batch = daemon.submit_to("report", ["--provider=oracle", "--format=md,html,json", &inputs[0]]);
    eventually("the oracle is asked", || (oracle.count() > 0).then_some(()));
    // While it thinks, others decode and listen.
    let film = daemon.media().join("film.mp4");
    video(&film, 30);
    let long = daemon.media().join("long.wav");
    fs::write(&long, repeated(120)).unwrap();
    let others =
        [daemon.submit_to("compress", [&film]), daemon.submit_to("subtitles", ["--no-vad".as_ref(), long.as_os_str()])];
    for role in ["media", "speech"] {
        eventually(&format!("{role} works"), || {
            let lines = daemon.json("workers");
            let busy = |worker: &Value| {
                worker["role"] == role && worker["runs"].as_array().is_some_and(|runs| !runs.is_empty())
            };
            lines.as_array().unwrap().iter().any(busy).then_some(())
        });
        for pid in daemon.workers(role) {
            let (found, read) = memory_holds(pid, KEY.as_bytes());
            assert!(!found && read > 1 << 20, "{role}: {read} bytes of memory");
        }
    }
    for role in ["media", "speech", "files", "net"] {
        for pid in daemon.workers(role) {
            let proc = |file: &str| fs::read(format!("/proc/{}/{file}", pid.as_raw_nonzero())).unwrap();
            assert!(!holds(&proc("cmdline")), "{role}");
            assert!(role == "net" || !holds(&proc("environ")), "{role}");
        }
    }
    assert!(!daemon.batch(batch).state.is_terminal(), "the oracle thinks still");
    released.store(true, Ordering::SeqCst);
    for other in others {
        daemon.say(&format!("cancel {other}"));
    }
    daemon.ended_batch(batch);
    assert_eq!(daemon.batch(batch).counts.completed, 1);
    let text = fs::read_to_string(daemon.media().join("0.report.md")).unwrap();
    assert!(text.contains("I was asked with …, was I not?"), "{text}");
    // And where it is refused with the key in its words.
    let refused = daemon.sound("refuse.wav", 2.0);
    let batch = daemon.submit_to("report", ["--provider=oracle".as_ref(), refused.as_os_str()]);
    eventually("it has failed", || (daemon.batch(batch).counts.failed == 1).then_some(()));
    let result = outcome(&daemon, batch).to_string();
    assert!(result.contains("auth") && !result.contains(KEY), "{result}");
    let listed = daemon.json("providers list").to_string();
    assert!(listed.contains("env:ORACLE_KEY") && !listed.contains(KEY));
    assert!(daemon.log().contains("ready") && !daemon.log().contains(KEY));
    assert!(search(&daemon.state()) > 3 && search(&daemon.media()) > 5);
}

#[test]
fn a_batch_asks_no_more_than_it_may_cost() {
    let oracle = Oracle::start(|_| Reply::json(&lesson()));
    let daemon = house(&oracle, "price_in = 1000.0\nprice_out = 0.0").start();
    let inputs = sounds(&daemon, 4);
    // One costs 1.0.
    let result = submit(&daemon, &inputs, &["--max-cost=2.5"]);
    assert_eq!(
        (oracle.count(), result["completed"].as_u64(), result["failed"].as_u64()),
        (2, Some(2), Some(2)),
        "{result:#}"
    );
    let failed = result["jobs"].as_array().unwrap().iter().find(|job| job["state"] == "failed").unwrap();
    assert!(failed["failure"]["message"].as_str().unwrap().contains("--max-cost"), "{failed}");
}

#[test]
fn nobody_is_asked_who_is_not_named_or_has_no_key() {
    let oracle = Oracle::start(|_| Reply::json(&lesson()));
    let daemon = house(&oracle, "").start();
    let inputs = sounds(&daemon, 1);
    daemon.ctl(["submit", "report", "--provider=nobody", &inputs[0]]).expect(2).says(&[
        "nobody",
        "oracle",
        "dashscope",
    ]);
    daemon.ctl(["submit", "report", "--provider=openai", &inputs[0]]).expect(2).says(&["no key", "env:OPENAI_API_KEY"]);
    daemon.ctl(["submit", "report", "--provider=oracle", "--max-cost=1", &inputs[0]]).expect(2).says(&["price_in"]);
    daemon.ctl(["submit", "report", "--wait", &inputs[0]]).expect(0);
    assert_eq!(oracle.count(), 0);
    let text = fs::read_to_string(daemon.media().join("0.report.md")).unwrap();
    assert!(text.contains("without_model: true") && text.contains("Made without a model"), "{text}");
    daemon.say("providers check oracle").expect(0);
    daemon.say("providers check nobody").expect(7);
}

/// A video of three scenes.
fn video(path: &Path, seconds: u32) {
    let status = Command::new("ffmpeg")
        .args([
            "-v",
            "error",
            "-y",
            "-f",
            "lavfi",
            "-i",
            &format!("color=red:s=640x480:r=10:d={seconds}"),
            "-f",
            "lavfi",
            "-i",
        ])
        .args(["testsrc=s=640x480:r=10:d=8", "-f", "lavfi", "-i", "color=blue:s=640x480:r=10:d=8"])
        .args(["-filter_complex", "[0:v][1:v][2:v]concat=n=3:v=1[v]", "-map", "[v]", "-pix_fmt", "yuv420p"])
        .arg(path)
        .status();
    assert!(status.unwrap().success());
}

#[test]
fn a_model_finds_the_moments_and_proposes_the_cut() {
    let oracle = Oracle::start(|asked: &Asked| {
        match asked.pictures() {
        0 => Reply::Says(
            "Sure: {strategy: 'highlights', reasoning: 'the highlight of each', segments: [{video_index: 1, start_time: 9, end_time: 14, \
             reason: 'the test picture', weight: 9}, {video_index: 2, start_time: 1, end_time: 6, reason: 'calm', weight: 3},]}"
                .to_owned(),
        ),
        _ => Reply::Says("00:10 a key moment: the picture comes to life, and everybody cheers\nnothing else".to_owned()),
    }
    });
    let daemon = house(&oracle, "").start();
    let clips = ["a.mp4", "b.mp4"].map(|name| daemon.media().join(name));
    clips.iter().zip(8..).for_each(|(clip, seconds)| video(clip, seconds));
    let clips = clips.each_ref().map(|clip| clip.to_str().unwrap());
    let out = daemon.media().join("out");
    let options = ["--analyzer=oracle", "--target-duration=10", "--quality=low", "-o", out.to_str().unwrap()];
    let batch = daemon.submit_to("highlights", options.into_iter().chain(clips));
    daemon.ended_batch(batch);
    let result = outcome(&daemon, batch);
    assert_eq!(result["state"], "completed", "{result:#}");
    let asked = oracle.asked();
    assert_eq!(asked.iter().map(|asked| asked.pictures() > 0).collect::<Vec<_>>(), [true, true, false]);
    assert_eq!((&asked[0].body["model"], &asked[2].body["model"]), (&json!("seer"), &json!("reader")));
    let gather = &result["gather"];
    assert_eq!(gather["clip_plan"]["segments"][0]["reason"], "the test picture", "{gather:#}");
    assert_eq!(gather["tokens_used"], 3_300);
    assert!(gather["tokens_saved_share"].as_f64().unwrap() > 0.3, "{gather:#}");
    let analyses = gather["analyses"].as_array().or_else(|| gather["videos"].as_array()).unwrap();
    assert_eq!(analyses[0]["provider"], "oracle: seer");
    assert!(analyses[0]["raw_answer"].as_str().unwrap().contains("comes to life"));
    // What is no plan gives way to the default one.
    let oracle = Oracle::start(|_| Reply::Says("I am not able to.".to_owned()));
    let daemon = house(&oracle, "").start();
    let clip = daemon.media().join("a.mp4");
    video(&clip, 8);
    let options = ["--analyzer=oracle", "--quality=low", clip.to_str().unwrap()];
    let batch = daemon.submit_to("highlights", options);
    daemon.ended_batch(batch);
    let result = outcome(&daemon, batch);
    assert_eq!(
        (&result["state"], &result["gather"]["clip_plan"]["strategy"]),
        (&json!("completed"), &json!("default")),
        "{result:#}"
    );
}

#[test]
fn a_daemon_that_is_killed_again_and_again_has_no_call_billed_twice() {
    // A service that honours such keys does what it was asked once, and bills it once, though nobody takes the answer.
    let oracle = Oracle::start(|asked: &Asked| {
        let slow = asked.number <= 6;
        Reply::Late(Duration::from_secs(if slow { 3 } else { 0 }), Box::new(Reply::json(&lesson())))
    });
    let mut daemon = house(&oracle, "at_once = 2").start();
    let inputs = sounds(&daemon, 5);
    let batch = daemon.submit_to(
        "report",
        ["--provider=oracle", "--format=json"].into_iter().chain(inputs.iter().map(String::as_str)),
    );
    for cut in [2, 4, 6] {
        eventually("the oracle is asked", || (oracle.count() >= cut).then_some(()));
        daemon.kill();
        daemon.start();
    }
    assert_eq!(daemon.ended_batch(batch).counts.completed, 5);
    let asked = oracle.asked();
    assert!(asked.len() >= 8, "{} questions", asked.len());
    let mut bills: BTreeMap<&str, &Asked> = BTreeMap::new();
    for question in &asked {
        let first = bills.entry(question.headers["idempotency-key"].as_str()).or_insert(question);
        assert_eq!(first.body, question.body);
    }
    assert_eq!(bills.len(), 5, "as many bills as documents");
}
