//! From recordings to subtitles: the path that everybody walks.

use std::fs;
use std::path::Path;

use spindle_shared::id::BatchId;
use spindle_shared::job::JobState;
use spindle_tests::harness::Daemon;

#[test]
fn recordings_become_subtitles_beside_them() {
    let daemon = Daemon::real().start();
    daemon.sound("talk.wav", 3.0);
    daemon.sound("other.wav", 2.5);
    let ran = daemon.say("submit subtitles --wait talk.wav other.wav").expect(0);
    assert_eq!(ran.out, "1\n");
    ran.says(&["batch 1: completed", "2 of 2 completed"]);
    let expected = ["other.en.srt", "other.en.vtt", "other.wav", "talk.en.srt", "talk.en.vtt", "talk.wav"];
    assert_eq!(daemon.files("media"), expected);
    let srt = fs::read_to_string(daemon.media().join("talk.en.srt")).unwrap();
    assert!(srt.starts_with("1\n00:00:0") && srt.contains(" --> ") && srt.contains("hello world"), "{srt}");
    let vtt = fs::read_to_string(daemon.media().join("talk.en.vtt")).unwrap();
    assert!(vtt.starts_with("WEBVTT\n") && vtt.contains("hello world"), "{vtt}");
    assert_eq!(daemon.files("state/scratch"), [""; 0]);
    let jobs = daemon.jobs(BatchId(1));
    assert!(jobs.iter().all(|job| job.state == JobState::Completed && job.failure.is_none()), "{jobs:#?}");
    // A model that is told what to say hears the language it was told.
    assert_eq!(jobs[0].detail.language.as_deref(), Some("en"));
    assert!(jobs[0].detail.words.is_some_and(|words| words >= 2), "{jobs:#?}");
}

#[test]
fn chinese_is_detected_and_written_without_spaces() {
    let daemon = Daemon::setup().parrot("base", "zh", &["今天", "天气", "很好"]).start();
    daemon.sound("talk.wav", 3.0);
    daemon.say("submit subtitles --wait talk.wav").expect(0);
    assert_eq!(daemon.files("media"), ["talk.wav", "talk.zh.srt", "talk.zh.vtt"]);
    let srt = fs::read_to_string(daemon.media().join("talk.zh.srt")).unwrap();
    assert!(srt.contains("今天天气很好"), "{srt}");
    let detail = daemon.job(BatchId(1), 1).detail;
    assert_eq!(detail.language.as_deref(), Some("zh"));
    assert!(detail.language_probability.is_some_and(|share| share > 0.5), "{detail:?}");
}

#[test]
fn two_inputs_with_one_stem_are_told_apart() {
    let daemon = Daemon::real().start();
    daemon.sound("talk.wav", 2.0);
    fs::copy(daemon.sound("other/talk.wav", 2.0), daemon.media().join("talk.mp3")).unwrap();
    daemon.say("submit subtitles --wait --format srt talk.wav talk.mp3 other/talk.wav -o out").expect(0);
    assert_eq!(daemon.files("media/out"), ["talk.en.srt", "talk.mp3.en.srt", "talk.wav.en.srt"]);
}

#[test]
fn a_folder_is_mirrored_below_the_output_folder() {
    let daemon = Daemon::real().start();
    daemon.sound("talks/a.wav", 2.0);
    daemon.sound("talks/deep/er/b.wav", 2.0);
    fs::write(daemon.media().join("talks/notes.txt"), "no recording").unwrap();
    daemon.say("submit subtitles --wait --format vtt -r talks -o out").expect(0);
    assert_eq!(daemon.files("media/out"), ["a.en.vtt", "deep/er/b.en.vtt"]);
    assert!(!daemon.files("media/talks").iter().any(|name| name.ends_with("vtt")));
}

#[test]
fn a_folder_without_r_is_refused() {
    let daemon = Daemon::real().start();
    daemon.sound("talks/a.wav", 1.0);
    daemon.say("submit subtitles talks").expect(2).says(&["talks", "-r"]);
}

#[test]
fn names_with_odd_bytes_get_their_subtitles() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let daemon = Daemon::real().start();
    let names: [&[u8]; 4] = [b"sp ace'\"$(x).wav", b"new\nline.wav", b"not-utf8-\xff\xfe.wav", b"-dash.wav"];
    for name in names {
        fs::copy(daemon.sound("x", 1.5), daemon.media().join(OsStr::from_bytes(name))).unwrap();
    }
    let mut line = vec![OsStr::new("submit"), OsStr::new("subtitles"), OsStr::new("--wait"), OsStr::new("--")];
    line.extend(names.map(OsStr::from_bytes));
    daemon.ctl(line).expect(0);
    for name in names {
        let stem = &name[..name.len() - 4];
        let path = daemon.media().join(OsStr::from_bytes(&[stem, b".en.srt"].concat()));
        assert!(path.is_file(), "{path:?}");
    }
    // Nothing that is shown breaks a line or a terminal.
    assert_eq!(daemon.say("jobs 1").expect(0).out.lines().count(), 5);
    let job = &daemon.json("jobs 1")[2];
    assert!(job["input_bytes"].is_string(), "{job}");
}

/// Digits that a voice has spoken, heard by the demonstration model.
#[test]
fn words_that_were_spoken_are_heard() {
    let Some(assets) = std::env::var_os("SPINDLE_TEST_ASSETS") else {
        eprintln!("skipped: SPINDLE_TEST_ASSETS is not set");
        return;
    };
    let dev = Path::new(&assets).join("speech-models/eval/dev");
    // Each line of the text: start, end and words of a phrase.
    let spoken = fs::read_to_string(dev.join("seen_1.txt")).unwrap();
    let daemon = Daemon::setup().demonstration("mini").start();
    fs::copy(dev.join("seen_1.wav"), daemon.media().join("digits.wav")).unwrap();
    daemon.say("submit subtitles --wait --model mini --format txt digits.wav").expect(0);
    let text = fs::read_to_string(daemon.media().join("digits.en.txt")).unwrap().to_lowercase();
    let heard: Vec<&str> = text.split(|c: char| !c.is_alphabetic()).filter(|word| !word.is_empty()).collect();
    let spoken: Vec<&str> = spoken.split_whitespace().filter(|word| word.parse::<f64>().is_err()).collect();
    assert_eq!(heard, spoken, "{text}");
}
