//! Reports by the real programs: of what is heard and seen, of what can't be heard, of what has nothing in it; and what they are called.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use spindle_tests::harness::Daemon;

/// Three scenes, with sound or without.
fn video(path: &Path, sound: bool) {
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-y", "-f", "lavfi", "-i", "color=red:s=160x120:r=10:d=3", "-f", "lavfi", "-i"]);
    command.args(["testsrc=s=160x120:r=10:d=3", "-f", "lavfi", "-i", "color=blue:s=160x120:r=10:d=3"]);
    if sound {
        command.args(["-f", "lavfi", "-i", "sine=f=300:d=9", "-map", "3:a"]);
    }
    command.args(["-filter_complex", "[0:v][1:v][2:v]concat=n=3:v=1[v]", "-map", "[v]", "-pix_fmt", "yuv420p"]);
    assert!(command.arg(path).status().unwrap().success());
}

fn report(daemon: &Daemon, options: &[&str], inputs: &[&Path]) -> Value {
    let inputs = inputs.iter().map(|input| input.to_str().unwrap());
    let batch = daemon.submit_to("report", options.iter().copied().chain(inputs));
    daemon.ended_batch(batch);
    daemon.json(&format!("result {batch}"))
}

#[test]
fn a_video_is_told_by_its_own_words_and_pictures() {
    let daemon = Daemon::real().start();
    let path = daemon.media().join("my talk.mp4");
    video(&path, true);
    let title = "--title=It's \"here\": one, two\nthree";
    let result = report(
        &daemon,
        &["--template=comprehensive_lesson", title, "--link=https://youtu.be/dQw4w9WgXcQ", "--no-vad"],
        &[&path],
    );
    assert_eq!(result["state"], "completed", "{result:#}");
    let text = fs::read_to_string(daemon.media().join("my talk.report.md")).unwrap();
    assert!(text.starts_with("---\ntitle: \"It's \\\"here\\\": one, two\\nthree\"\ntype: lesson_plan\n"), "{text}");
    assert!(text.contains("https://www.youtube.com/watch?v=dQw4w9WgXcQ&t="), "{text}");
    assert!(text.contains("![00:01](my%20talk.report.01.jpg)"), "{text}");
    let picture = fs::read(daemon.media().join("my talk.report.01.jpg")).unwrap();
    assert_eq!(picture[..2], [0xff, 0xd8]);
    let page = fs::read_to_string(daemon.media().join("my talk.report.html")).unwrap();
    assert!(page.contains("src=\"data:image/jpeg;base64,") && !page.contains("report.01.jpg\""));
    let data: Value = serde_json::from_slice(&fs::read(daemon.media().join("my talk.report.json")).unwrap()).unwrap();
    assert_eq!((data["without_model"].as_bool(), data["made_by"].as_str()), (Some(true), Some("local")));
    assert!(data["pictures"].as_array().unwrap().len() >= 2, "{data:#}");
}

#[test]
fn without_sound_or_without_a_model_it_says_so() {
    let daemon = Daemon::real().start();
    let silent = daemon.media().join("silent.mp4");
    video(&silent, false);
    let result = report(&daemon, &["--template=summary_report", "--format=md"], &[&silent]);
    assert_eq!(result["state"], "completed", "{result:#}");
    let text = fs::read_to_string(daemon.media().join("silent.report.md")).unwrap();
    assert!(text.contains("No speech was heard") && text.contains("a new scene"), "{text}");
    let deaf = Daemon::setup().start();
    let path = deaf.media().join("talk.mp4");
    video(&path, true);
    let result = report(&deaf, &["--format=md"], &[&path]);
    assert_eq!(result["state"], "completed", "{result:#}");
    let text = fs::read_to_string(deaf.media().join("talk.report.md")).unwrap();
    assert!(text.contains("Nobody listened to it"), "{text}");
    deaf.ctl(["submit", "report", "--model=small", path.to_str().unwrap()]).expect(9);
}

#[test]
fn names_that_are_nearly_the_same_stay_apart() {
    let daemon = Daemon::real().start();
    let (one, two) = (daemon.sound("a.v1.wav", 2.0), daemon.sound("a.v2.wav", 3.0));
    let result = report(&daemon, &["--format=md", "--title=../../x"], &[&one, &two]);
    assert_eq!(result["state"], "completed", "{result:#}");
    let mut written = daemon.files("media");
    written.retain(|name| name.ends_with(".md"));
    written.sort();
    assert_eq!(written, ["a.v1.report.md", "a.v2.report.md"]);
}
