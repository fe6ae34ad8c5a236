//! Object stores by the real programs and a store that believes nobody who doesn't sign: outputs go there whole or not at all, inputs come from
//! there, links end in time, and `stores check` says what is wrong.

use std::fs;
use std::process::Command;

use serde_json::Value;
use spindle_shared::failure::FailureKind;
use spindle_shared::id::BatchId;
use spindle_tests::bucket::{ACCESS_KEY, Bucket, SECRET_KEY, section};
use spindle_tests::harness::{Daemon, Setup, eventually, repeated};

/// A daemon with such a configuration, and keys in its environment.
fn house(configuration: &str) -> Setup {
    let setup = Daemon::real();
    let path = setup.state().with_file_name("spindled.toml");
    fs::write(&path, configuration).unwrap();
    setup
        .env("BUCKET_ACCESS_KEY", ACCESS_KEY)
        .env("BUCKET_SECRET_KEY", SECRET_KEY)
        .env("SPINDLE_CONFIG", path.to_str().unwrap())
}

/// The link that the result of its first job has.
fn link(daemon: &Daemon, batch: BatchId) -> String {
    let result = daemon.json(&format!("result {batch}"));
    let job = result["jobs"][0]["detail"].as_object().unwrap();
    let links = job.iter().filter(|(name, _)| name.starts_with("link ")).filter_map(|(_, value)| value.as_str());
    links.map(str::to_owned).next().unwrap_or_else(|| panic!("no link: {result:#}"))
}

#[test]
fn an_output_goes_to_its_store_and_an_input_comes_from_there() {
    let store = Bucket::start(&["talks"]);
    let daemon = house(&section(&store, "media", "talks", "link_minutes = 5")).start();
    daemon.sound("my talk (1).wav", 2.0);
    daemon
        .ctl(["submit", "convert", "--to", "mp3", "--wait", "-o", "s3://talks/made/here", "my talk (1).wav"])
        .expect(0);
    assert_eq!(store.objects(), ["talks/made/here/my talk (1).mp3"]);
    let bytes = store.object("talks/made/here/my talk (1).mp3").unwrap();
    assert!(bytes.len() > 5_000);
    let link = link(&daemon, BatchId(1));
    assert_eq!(store.get(&link), (200, bytes));
    // Who changes how long it lives has no link.
    assert!(link.contains("X-Amz-Expires=300"), "{link}");
    let longer = link.replace("X-Amz-Expires=300", "X-Amz-Expires=600000");
    assert_eq!(store.get(&longer).0, 403);
    assert_eq!(store.refused(), ["SignatureDoesNotMatch"]);
    // The same again counts as done: nothing is sent.
    let sent = |store: &Bucket| store.log().into_iter().filter(|line| line.starts_with("PUT")).count();
    daemon
        .ctl(["submit", "convert", "--to", "mp3", "--wait", "-o", "s3://talks/made/here", "my talk (1).wav"])
        .expect(0);
    assert_eq!(sent(&store), 1);
    // Another content is never replaced unasked.
    store.put("talks/made/here/my talk (1).mp3", b"somebody else's".to_vec());
    daemon.ctl(["submit", "convert", "--to", "mp3", "--wait", "-o", "s3://talks/made/here", "my talk (1).wav"]);
    assert_eq!(daemon.job(BatchId(3), 1).failure.unwrap().kind, FailureKind::Exists);
    assert_eq!(store.object("talks/made/here/my talk (1).mp3").unwrap(), b"somebody else's");
    // And back.
    store.put("talks/in/a b+c.wav", spindle_tests::harness::wav(2.0, 300.0));
    daemon.ctl(["submit", "subtitles", "--wait", "-o", "back", "s3://talks/in/a%20b+c.wav"]).expect(0);
    assert_eq!(daemon.files("media/back"), ["a b+c.en.srt", "a b+c.en.vtt"]);
    daemon.ctl(["submit", "subtitles", "-o", "s3://nobodys/x", "my talk (1).wav"]).expect(2).says(&["nobodys"]);
    let folder = fs::read_dir(daemon.state()).unwrap().flatten();
    for file in folder.filter(|file| file.path().is_file()) {
        let bytes = fs::read(file.path()).unwrap();
        for key in [ACCESS_KEY, SECRET_KEY] {
            // A link names whose it is: that is no secret.
            let found = memchr::memmem::find(&bytes, key.as_bytes()).is_some();
            assert!(!found || key == ACCESS_KEY, "{}", file.path().display());
        }
    }
    assert!(!daemon.log().contains(SECRET_KEY) && !daemon.log().contains("X-Amz-Signature"));
}

#[test]
fn a_killed_upload_shows_nothing_and_goes_on_where_it_was() {
    let store = Bucket::start(&["talks"]);
    let mut daemon = house(&section(&store, "media", "talks", "")).start();
    // 16 kHz mono: 32 kB a second, and parts of 8 MiB.
    fs::write(daemon.media().join("long.wav"), repeated(80)).unwrap();
    store.silent_from(3);
    daemon.ctl(["submit", "convert", "--to", "wav", "-o", "s3://talks/made", "long.wav"]).expect(0);
    eventually("two parts are there", || store.log().iter().any(|line| line == "silent at part 3").then_some(()));
    daemon.kill();
    assert_eq!((store.objects(), store.unfinished()), (Vec::new(), 1));
    let before = store.log().len();
    store.silent_from(usize::MAX);
    daemon.start();
    assert_eq!(daemon.ended_batch(BatchId(1)).counts.completed, 1, "{:#?}", daemon.jobs(BatchId(1)));
    let after: Vec<String> = store.log().split_off(before);
    let parts: Vec<&String> = after.iter().filter(|line| line.contains(" part ")).collect();
    assert_eq!(parts, ["PUT talks/made/long.converted.wav part 3", "PUT talks/made/long.converted.wav part 4"]);
    assert_eq!((store.objects().len(), store.unfinished()), (1, 0));
    let made = store.object("talks/made/long.converted.wav").unwrap();
    let original = fs::read(daemon.media().join("long.wav")).unwrap();
    assert!(made.len() > 25_000_000 && made[made.len() - 1_000..] == original[original.len() - 1_000..]);
    assert_eq!(store.refused(), [""; 0]);
}

#[test]
fn what_is_wrong_with_a_store_is_found_out_before_it_is_needed() {
    let store = Bucket::start(&["talks", "other"]);
    let wrong = tempfile::NamedTempFile::new().unwrap();
    fs::write(wrong.path(), "not-the-secret-at-all").unwrap();
    let bad_key = section(&store, "c-wrong", "talks", "").replace(
        "secret_key = \"env:BUCKET_SECRET_KEY\"",
        &format!("secret_key = \"file:{}\"", wrong.path().display()),
    );
    let bad_region = section(&store, "e-far", "talks", "").replace("eu-test-7", "us-east-1");
    let nobody = section(&store, "f-gone", "talks", "").replace(store.host(), "127.0.0.1:9");
    let all = [
        section(&store, "a", "talks", "link_minutes = 60"),
        section(&store, "b", "other", ""),
        bad_key,
        section(&store, "d-nowhere", "elsewhere", ""),
        bad_region,
        nobody,
    ];
    let daemon = house(&all.concat()).start();
    let ran = daemon.ctl(["--json", "stores", "check"]).expect(3);
    let checked = ran.json();
    let rows: Vec<(&str, bool, &str)> = checked
        .as_array()
        .unwrap()
        .iter()
        .map(|row| {
            (row["store"].as_str().unwrap(), row["usable"] == true, row["failure"]["kind"].as_str().unwrap_or(""))
        })
        .collect();
    let told = [
        ("a", true, ""),
        ("b", true, ""),
        ("c-wrong", false, "auth"),
        ("d-nowhere", false, "auth"),
        ("e-far", false, "internal"),
        ("f-gone", false, "network"),
    ];
    assert_eq!(rows, told, "{checked:#}");
    assert_eq!((&checked[0]["links_expire"], &checked[0]["removes"]), (&Value::from(true), &Value::from(true)));
    for (row, says) in [(2, "secret_key"), (3, "bucket"), (4, "region")] {
        let advice = checked[row]["failure"]["advice"].as_str().unwrap();
        assert!(advice.contains(says), "{advice}");
    }
    assert!(store.objects().is_empty(), "{:?}", store.objects());
    // A link whose time was over was tried, and refused.
    assert_eq!(store.refused().iter().filter(|code| *code == "AccessDenied").count(), 2);
    let said = daemon.say("stores check a").expect(0);
    assert!(said.out.contains("LINKS EXPIRE") && said.out.contains("yes"), "{}", said.out);
    let said = daemon.say("stores check c-wrong").expect(4);
    assert!(said.out.contains("secret_key") && !said.out.contains("not-the-secret"), "{}", said.out);
    daemon.say("stores check nobody").expect(7).says(&["nobody"]);
    assert_eq!(daemon.json("stores list").as_array().unwrap().len(), 6);
}

#[test]
fn outputs_take_turns_over_batches_too() {
    let store = Bucket::start(&["one", "two", "three"]);
    let all = ["one", "two", "three"].map(|bucket| section(&store, bucket, bucket, ""));
    let daemon = house(&all.concat()).start();
    for number in 0..6 {
        daemon.sound(&format!("{number}.wav"), 1.5);
        let name = format!("{number}.wav");
        daemon.ctl(["submit", "convert", "--to", "mp3", "--wait", "-o", "s3://*/turns", &name]).expect(0);
    }
    for bucket in ["one", "two", "three"] {
        let there = store.objects().into_iter().filter(|name| name.starts_with(&format!("{bucket}/"))).count();
        assert_eq!(there, 2, "{:?}", store.objects());
    }
}

#[test]
fn outputs_go_where_the_most_room_is_and_nowhere_once_all_is_full() {
    let store = Bucket::start(&["large", "small"]);
    let stores = |large: u32| {
        let large = section(&store, "large", "large", &format!("quota_mib = {large}"));
        format!("[remote]\nbalance = \"room\"\n{large}{}", section(&store, "small", "small", "quota_mib = 1"))
    };
    let setup = house(&stores(2));
    let configuration = setup.state().with_file_name("spindled.toml");
    let mut daemon = setup.start();
    let submit = |daemon: &Daemon, number: u32| {
        // 20 s of 16 kHz mono are 0.61 MiB.
        let name = format!("{number}.wav");
        fs::write(daemon.media().join(&name), spindle_tests::harness::wav(20.0, 200.0 + f64::from(number))).unwrap();
        daemon.ctl(["submit", "convert", "--to", "wav", "--wait", "-o", "s3://*/rooms", &name]);
    };
    for number in 1..=3 {
        submit(&daemon, number);
    }
    let place = |bucket: &str, number: u32| format!("{bucket}/rooms/{number}.converted.wav");
    // 2.0 and 1.0 are left, then 1.4 and 1.0, then 0.8 and 1.0, then 0.8 and 0.4.
    assert_eq!(store.objects(), [place("large", 1), place("large", 2), place("small", 3)]);
    daemon.kill();
    daemon.start();
    submit(&daemon, 4);
    assert_eq!(store.objects()[..3], [place("large", 1), place("large", 2), place("large", 4)]);
    // 0.2 and 0.4: neither has room.
    submit(&daemon, 5);
    let failure = daemon.job(BatchId(5), 1).failure.unwrap();
    assert_eq!(failure.kind, FailureKind::Quota);
    assert!(failure.message.contains("none of 2 stores has room for an output of 0.6 MiB"), "{failure}");
    assert!(failure.message.contains("small") && failure.advice.contains("quota_mib"), "{failure}");
    let bytes = |bucket: &str| -> u64 {
        let ours = store.objects().into_iter().filter(|name| name.starts_with(&format!("{bucket}/")));
        ours.map(|name| store.object(&name).unwrap().len() as u64).sum()
    };
    let listed = daemon.json("stores list");
    for row in listed.as_array().unwrap() {
        assert_eq!(row["stored_bytes"], bytes(row["bucket"].as_str().unwrap()), "{listed:#}");
        assert!(row["bytes_per_second"].is_u64(), "{listed:#}");
    }
    assert_eq!(listed[0]["quota_bytes"], 2 << 20);
    let said = daemon.say("stores list").expect(0);
    assert!(said.out.contains("QUOTA") && said.out.contains("2.0 MiB"), "{}", said.out);
    // One that is named is not filled beyond its quota either.
    daemon.ctl(["submit", "convert", "--to", "wav", "--wait", "-o", "s3://small/x", "1.wav"]);
    assert_eq!(daemon.job(BatchId(6), 1).failure.unwrap().kind, FailureKind::Quota);
    fs::write(&configuration, stores(3)).unwrap();
    daemon.say("reload").expect(0);
    daemon.say("retry 5").expect(0);
    daemon.say("wait 5").expect(0);
    assert!(store.object(&place("large", 5)).is_some());
}

#[test]
fn the_time_for_an_upload_chooses_the_profile_by_what_was_measured() {
    let store = Bucket::start(&["talks"]);
    let daemon = house(&section(&store, "media", "talks", "")).start();
    let clip = daemon.media().join("clip.mp4");
    let made = Command::new("ffmpeg")
        .args(["-v", "error", "-f", "lavfi", "-i", "testsrc=size=160x90:rate=5:duration=60", "-c:v", "libx264"])
        .args(["-preset", "ultrafast", "-pix_fmt", "yuv420p"])
        .arg(&clip)
        .status()
        .expect("the program ffmpeg is installed");
    assert!(made.success());
    let submit = |more: &[&str]| {
        let words = ["submit", "compress", "--wait", "-o", "s3://talks/small"];
        daemon.ctl(words.into_iter().chain(more.iter().copied()).chain(["clip.mp4"]))
    };
    // Nobody has sent anything yet, and no figure is made up.
    submit(&["--max-upload-time", "1m"]).expect(2).says(&["`talks` go is not known", "stores check"]);
    daemon.ctl(["submit", "compress", "--max-upload-time", "1m", "clip.mp4"]).expect(2).says(&["-o s3://BUCKET"]);
    submit(&["--max-upload-time", "1m", "--profile", "balanced"]).expect(2).says(&["leave --profile out"]);
    let checked = daemon.ctl(["--json", "stores", "check"]).expect(0).json();
    let measured = checked[0]["measured_bytes_per_second"].as_u64().unwrap();
    assert_eq!(daemon.json("stores list")[0]["bytes_per_second"], measured);
    // Ten hours are enough for any, a thousandth of a second for none (loopback would have to take 4 GB a second).
    submit(&["--max-upload-time", "10h"]).expect(0);
    submit(&["--max-upload-time", "1ms"]).expect(0);
    assert_eq!(store.objects(), ["talks/small/clip.aggressive.mp4", "talks/small/clip.conservative.mp4"]);
    let told = |batch: u64| {
        let detail = daemon.json(&format!("result {batch}"))["jobs"][0]["detail"].clone();
        (detail["upload_budget_bytes"].as_f64().unwrap(), detail["notes"].to_string())
    };
    let (budget, why) = told(2);
    // What is shown is whole bytes a second.
    let shown = (measured * 36_000) as f64;
    assert!((shown..=shown + 36_000.0).contains(&budget), "{budget} {shown}: {why}");
    assert!(why.contains("conservative: 60 s of it are 23.9 MB at most; 36000 s of upload take"), "{why}");
    let (_, why) = told(3);
    assert!(why.contains("aggressive, the smallest: 60 s of it may be 4.2 MB, which is too much"), "{why}");
}
