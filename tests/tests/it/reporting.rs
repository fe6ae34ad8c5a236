//! Reports by the real programs: of what is heard and seen, of what can't be heard, of what has nothing in it; what they are called, and whether
//! machines can read them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use saphyr::{LoadableYamlNode, Yaml};
use serde_json::{Value, json};
use spindle_tests::harness::Daemon;
use spindle_tests::oracle::{Asked, Oracle, Reply};

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

const TITLE: &str = "It's \"here\": one, two\n--- three # four: {five} [six] & *seven % @eight `nine` \\ 讲座 🎓";
const VIDEO: &str = "dQw4w9WgXcQ";

/// The front matter of a document, as a YAML parser has it, and what follows.
fn parsed(text: &str) -> (Yaml<'_>, &str) {
    let (front, body) = text.strip_prefix("---\n").and_then(|text| text.split_once("\n---\n")).expect("front matter");
    let mut documents = Yaml::load_from_str(front).unwrap_or_else(|error| panic!("{error}: {front}"));
    assert_eq!(documents.len(), 1, "{front}");
    (documents.remove(0), body)
}

/// Moments that the body tells, in seconds; each shows the time that it leads to.
fn moments(body: &str) -> Vec<u64> {
    let link = format!("](https://www.youtube.com/watch?v={VIDEO}&t=");
    let found = body.match_indices(&link).map(|(at, _)| {
        let shown = body[..at].rsplit('[').next().unwrap();
        let leads_to: u64 = body[at + link.len()..].split_once("s)").unwrap().0.parse().unwrap();
        let seconds = shown.split(':').fold(0, |sum, part| sum * 60 + part.parse::<u64>().unwrap());
        assert_eq!(seconds, leads_to, "{shown}");
        assert_eq!(shown.len(), 5, "under an hour it is MM:SS: {shown}");
        seconds
    });
    found.collect()
}

#[test]
fn real_clips_become_documents_that_machines_can_read() {
    let Some(assets) = std::env::var_os("SPINDLE_TEST_ASSETS").map(PathBuf::from) else {
        eprintln!("skipped: SPINDLE_TEST_ASSETS is not set");
        return;
    };
    // A film with speech, one with music, and a reader.
    let clips = [
        "video/auto-editor/example.mp4",
        "video/auto-editor/man-on-green-screen.mp4",
        "speech/librivox/sense_and_sensibility_0870.wav",
    ];
    let clips = clips.map(|clip| assets.join(clip));
    let oracle = Oracle::start(|asked: &Asked| {
        assert!(asked.text().contains("lasts 00:"), "{}", asked.text());
        Reply::json(&json!({
            "title": TITLE, "author": "Ann: \"the\" Author", "summary": "What it is about: all of it.", "subject": "Film & Sound: an Intro",
            "difficulty": "easy", "learning_objectives": ["To see"],
            "content_sections": [
                {"title": "Begin", "content": "Words.", "timestamp_seconds": 0, "key_points": ["a"]},
                {"title": "End: \"it\"", "content": "More words.", "timestamp_seconds": "00:05", "key_points": []},
            ],
            "important_timestamps": [{"seconds": 3, "description": "there"}], "picture_notes": [{"seconds": 2, "description": "a face"}],
            "terms": [{"term": "Film", "explanation": "moves"}], "takeaways": ["Look"],
            "suggested_activities": ["Watch"], "related_resources": ["None"], "tags": ["film", "video_analysis", "own tag"],
        }))
    });
    let setup = Daemon::real();
    let configuration = setup.state().with_file_name("spindled.toml");
    let provider = format!("[providers.oracle]\nendpoint = \"{}\"\nmodel = \"seer\"\nkeys = []\n", oracle.endpoint());
    fs::write(&configuration, provider).unwrap();
    let daemon = setup.env("SPINDLE_CONFIG", configuration.to_str().unwrap()).start();
    let link = format!("--link=https://youtu.be/{VIDEO}");
    let headings = [
        (
            "chinese_transcript",
            &[
                "## 基本信息",
                "## 完整逐字稿",
                "## 图像内容补充",
                "## 关键术语和人物",
                "## 我的学习收获",
                "## 重要时间节点",
            ][..],
        ),
        ("comprehensive_lesson", &["## Content", "## Learning objectives"]),
        ("summary_report", &["# "]),
    ];
    for (template, headings) in headings {
        for provider in [None, Some("--provider=oracle")] {
            let out = format!("{template}-{}", if provider.is_some() { "asked" } else { "local" });
            let (template, folder) = (format!("--template={template}"), format!("-o{out}"));
            let title = format!("--title={TITLE}");
            let mut options = vec![template.as_str(), &folder, &link, "--report-tag=given", "--report-tag=film"];
            // Without a model, whoever submits it says the title; a model says its own.
            options.extend(provider.or(Some(title.as_str())));
            let result = report(&daemon, &options, &clips.each_ref().map(PathBuf::as_path));
            assert_eq!(result["state"], "completed", "{out}: {result:#}");
            for (clip, job) in clips.iter().zip(result["jobs"].as_array().unwrap()) {
                let name = clip.file_stem().unwrap().to_str().unwrap();
                let text = fs::read_to_string(daemon.media().join(&out).join(format!("{name}.report.md"))).unwrap();
                let (front, body) = parsed(&text);
                let field = |name: &str| front[name].as_str().unwrap_or_default();
                // A model's title is made one line; a person's is kept.
                let one_line = TITLE.split_whitespace().collect::<Vec<_>>().join(" ");
                assert_eq!(field("title"), if provider.is_some() { one_line.as_str() } else { TITLE }, "{out}/{name}");
                assert_eq!((field("type"), field("source")), ("lesson_plan", &link["--link=".len()..]));
                assert_eq!(front["without_model"].as_bool(), Some(provider.is_none()), "{text}");
                let tags: Vec<&str> = front["tags"].as_vec().unwrap().iter().filter_map(|tag| tag.as_str()).collect();
                let told = ["lesson_plan", "video_analysis", "given", "film", "own tag", "film_sound_an_intro"];
                assert!(
                    if provider.is_some() { tags == told } else { tags[..4] == told[..4] },
                    "{out}/{name}: {tags:?}"
                );
                let seconds = front["duration_seconds"].as_floating_point().unwrap();
                let measured = job["media_seconds"].as_f64().unwrap_or(seconds);
                assert!((seconds - measured).abs() < 0.5, "{out}/{name}: {seconds} {measured}");
                let moments = moments(body);
                assert!(
                    moments.iter().all(|moment| *moment as f64 <= seconds),
                    "{out}/{name}: {moments:?} of {seconds}"
                );
                match provider {
                    Some(_) => {
                        assert!([0, 5, 3].iter().all(|said| moments.contains(said)), "{out}/{name}: {moments:?}")
                    }
                    None => {
                        assert!(!moments.is_empty() && body.contains("Made without a model"), "{out}/{name}: {body}")
                    }
                }
                let has = |heading: &&&str| body.contains(**heading);
                // What there is nothing of has no heading.
                assert!(provider.is_none() || headings.iter().all(|heading| has(&heading)), "{out}/{name}: {body}");
            }
        }
    }
    assert_eq!(oracle.count(), 9);
}
