//! The stage over generated files: every format is made and read again.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use spindle_shared::id::RunId;
use spindle_shared::job::PathBytes;
use spindle_shared::stage::Stage;
use spindle_shared::worker::{Assignment, InputFile};

use super::*;

const SINE: &str = "-f lavfi -i sine=frequency=440:sample_rate=48000";
const VIDEO: &str = "-f lavfi -i testsrc2=size=64x48:rate=25";

/// A folder for generated files, or `None` (said loudly) where there is no `ffmpeg` program to generate them.
fn workshop() -> Option<tempfile::TempDir> {
    match Command::new("ffmpeg").arg("-version").output() {
        Ok(_) => Some(tempfile::tempdir().unwrap()),
        Err(_) => {
            eprintln!("skipped: there is no ffmpeg program to make the test's media with");
            None
        }
    }
}

/// Runs ffmpeg with these words; the last one is the file's name.
fn make(folder: &Path, words: &str) -> PathBuf {
    let output = Command::new("ffmpeg")
        .current_dir(folder)
        .args(["-nostdin", "-loglevel", "error", "-y"])
        .args(words.split_whitespace())
        .output()
        .unwrap();
    assert!(output.status.success(), "{words}: {}", String::from_utf8_lossy(&output.stderr));
    folder.join(words.split_whitespace().last().unwrap())
}

fn to(format: &str) -> Convert {
    Convert {
        to: Target::from_name(format).unwrap(),
        track: None,
        audio_kbps: None,
        shift_ms: 0,
        rewrap: false,
        merge: false,
        split: false,
    }
}

fn converted(file: &Path, stage: &Convert) -> Result<(Done, PathBuf), Halt> {
    let scratch = tempfile::tempdir_in(file.parent().unwrap()).unwrap().keep();
    let opened = File::open(file).unwrap();
    let bytes = opened.metadata().unwrap().len();
    let assignment = Assignment {
        inputs: vec![InputFile::new(PathBytes::from(file), bytes)],
        scratch: PathBytes::from(scratch.as_path()),
        ..Assignment::of(RunId { boot: 1, counter: 1 }, Stage::Convert(stage.clone()))
    };
    let context = Context::new(assignment, vec![OwnedFd::from(opened)], Arc::default(), Arc::new(|_| ()));
    let done = crate::stage::run(&context)?;
    let path = scratch.join(&done.files[0].name);
    Ok((done, path))
}

fn facts(path: &Path) -> Facts {
    let name = path.to_string_lossy().into_owned();
    crate::media::probe(&File::open(path).unwrap(), &name, Arc::default()).unwrap()
}

#[test]
fn sound_comes_out_in_every_format_as_long_as_it_was() {
    let Some(folder) = workshop() else { return };
    let file =
        make(folder.path(), &format!("{VIDEO} {SINE} -t 3 -c:v libx264 -preset ultrafast -c:a pcm_s16le talk.mov"));
    for (format, codec) in [
        ("mp3", "mp3"),
        ("aac", "aac"),
        ("m4a", "aac"),
        ("flac", "flac"),
        ("wav", "pcm_s16le"),
        ("opus", "opus"),
        ("ogg", "vorbis"),
    ] {
        let (done, path) = converted(&file, &to(format)).unwrap();
        assert_eq!(done.files[0].name, format!("media.{format}"));
        let facts = facts(&path);
        let sound = facts.audio().next().unwrap();
        assert_eq!((sound.codec.as_str(), sound.sample_rate, facts.streams.len()), (codec, 48_000, 1), "{format}");
        let form = Form { rate: 16_000, channels: 1, sample: Sample::S16 };
        let opened = File::open(&path).unwrap();
        let name = path.to_string_lossy().into_owned();
        let mut recording = crate::media::Recording::open(&opened, &name, None, form, Arc::default()).unwrap();
        while recording.next().unwrap().is_some() {}
        let seconds = recording.finish().unwrap().seconds;
        // MP3 and ADTS have no place to say what padding is.
        assert!((seconds - 3.0).abs() < 0.08, "{format}: {seconds}");
    }
}

#[test]
fn every_rate_and_every_bit_rate_comes_out_as_something() {
    let Some(folder) = workshop() else { return };
    for rate in [8_000, 11_025, 22_050, 96_000] {
        for channels in [1, 2] {
            let sound = format!("{SINE} -t 1 -ar {rate} -ac {channels} {rate}-{channels}.flac");
            let file = make(folder.path(), &sound);
            for format in ["mp3", "m4a", "opus", "ogg"] {
                for audio_kbps in [None, Some(16), Some(512)] {
                    let stage = Convert { audio_kbps, ..to(format) };
                    let (done, path) = converted(&file, &stage).unwrap();
                    let told = done.detail.notes.iter().any(|note| note.contains("kbit/s instead of"));
                    let facts = facts(&path);
                    assert!(facts.audio().next().is_some(), "{format} of {rate} Hz, {audio_kbps:?} kbit/s");
                    assert!(!told || audio_kbps.is_some(), "{:?}", done.detail.notes);
                }
            }
        }
    }
}

#[test]
fn text_takes_the_containers_form_and_pictures_are_copied() {
    let Some(folder) = workshop() else { return };
    std::fs::write(
        folder.path().join("in.srt"),
        "1\n00:00:00,500 --> 00:00:01,500\nA < B & C\n\n2\n00:00:01,000 --> 00:00:02,000\nzwei\n",
    )
    .unwrap();
    let words = "-i in.srt -map 0 -map 1 -map 2 -t 3 -c:v libx264 -preset ultrafast -c:a aac -c:s srt talk.mkv";
    let matroska = make(folder.path(), &format!("{VIDEO} {SINE} {words}"));
    let (done, mp4) = converted(&matroska, &to("mp4")).unwrap();
    assert!(done.detail.notes.contains(&"copied without encoding anew".to_owned()), "{:?}", done.detail.notes);
    let codecs = |path: &Path| facts(path).streams.iter().map(|stream| stream.codec.clone()).collect::<Vec<_>>();
    assert_eq!(codecs(&mp4), ["h264", "aac", "mov_text"]);
    // And back again: what was shown at the same time is now one after the other.
    let (done, back) = converted(&mp4, &to("mkv")).unwrap();
    assert!(done.detail.notes.contains(&"copied without encoding anew".to_owned()), "{:?}", done.detail.notes);
    assert_eq!(codecs(&back), ["h264", "aac", "subrip"]);
    let (_, srt) = converted(&back, &to("srt")).unwrap();
    let told = std::fs::read_to_string(srt).unwrap();
    // Matroska has no times before 0, so that all begins by the sound's priming later.
    let expected = |ms: u32| {
        let (first, second, end) = (500 + ms, ms, ms);
        format!(
            "1\n00:00:00,{first} --> 00:00:01,{second:03}\nA < B & C\n\n2\n00:00:01,{second:03} --> 00:00:02,{end:03}\nzwei"
        )
    };
    assert!((0..25).any(|ms| told.trim_end() == expected(ms)), "{told}");
    // Made anew for WebM, the text goes along, too; none of it is taken for a mark.
    let (_, webm) = converted(&matroska, &to("webm")).unwrap();
    assert_eq!(codecs(&webm), ["vp9", "opus", "webvtt"]);
    let (_, srt) = converted(&webm, &to("srt")).unwrap();
    let told = std::fs::read_to_string(srt).unwrap();
    assert!((0..25).any(|ms| told.trim_end() == expected(ms)), "{told}");
}

#[test]
fn what_fits_is_copied_and_what_doesn_t_is_made_anew() {
    let Some(folder) = workshop() else { return };
    let fits = make(folder.path(), &format!("{VIDEO} {SINE} -t 2 -c:v libx264 -preset ultrafast -c:a aac fits.mkv"));
    for (file, format, copied, codecs) in [
        (&fits, "mp4", true, ["h264", "aac"]),
        (&fits, "mov", true, ["h264", "aac"]),
        (&fits, "mkv", true, ["h264", "aac"]),
        (&fits, "webm", false, ["vp9", "opus"]),
    ] {
        let (done, path) = converted(file, &to(format)).unwrap();
        assert_eq!(done.detail.flag("copied"), copied, "{format}");
        let facts = facts(&path);
        assert_eq!(facts.streams.iter().map(|s| s.codec.as_str()).collect::<Vec<_>>(), codecs, "{format}");
        assert!((facts.duration_seconds.unwrap() - 2.0).abs() < 0.1, "{format}: {:?}", facts.duration_seconds);
    }
    let old = make(folder.path(), &format!("{VIDEO} {SINE} -t 2 -c:v msmpeg4v2 -c:a wmav2 old.avi"));
    let (done, path) = converted(&old, &to("mp4")).unwrap();
    assert!(!done.detail.flag("copied"));
    assert_eq!(facts(&path).streams.iter().map(|s| s.codec.as_str()).collect::<Vec<_>>(), ["h264", "aac"]);
    let same = make(folder.path(), &format!("{SINE} -t 1 same.mp3"));
    assert_eq!(converted(&same, &to("mp3")).unwrap().0.files[0].name, "media.converted.mp3");
}

#[test]
fn subtitles_are_converted_from_files_and_out_of_videos() {
    let Some(folder) = workshop() else { return };
    let srt = folder.path().join("a.srt");
    fs::write(&srt, b"1\n00:00:00,500 --> 00:00:01,500\nF\xe9licit\xe9, o\xf9\n\n").unwrap();
    let (done, path) = converted(&srt, &Convert { shift_ms: 1_000, ..to("vtt") }).unwrap();
    let text = fs::read_to_string(path).unwrap();
    assert_eq!(text, "WEBVTT\n\n00:00:01.500 --> 00:00:02.500\nFélicité, où\n\n");
    assert_eq!((done.detail.cues, done.detail.notes.as_slice()), (Some(1), &["read as windows-1252".to_owned()][..]));
    let (done, _) = converted(&srt, &to("srt")).unwrap();
    assert_eq!(done.files[0].name, "media.converted.srt");

    fs::write(&srt, "1\n00:00:00,500 --> 00:00:01,500\nHello\n\n").unwrap();
    let film = make(folder.path(), &format!("{VIDEO} -i a.srt -t 2 -c:v libx264 -preset ultrafast -c:s srt film.mkv"));
    let (_, path) = converted(&film, &to("srt")).unwrap();
    assert_eq!(fs::read_to_string(path).unwrap(), "1\n00:00:00,500 --> 00:00:01,500\nHello\n\n");
    for format in ["txt", "json", "lrc", "csv", "tsv"] {
        let (_, path) = converted(&film, &to(format)).unwrap();
        assert!(fs::read_to_string(path).unwrap().contains("Hello"), "{format}");
    }
}

#[test]
fn what_can_t_be_converted_says_why() {
    let Some(folder) = workshop() else { return };
    let picture = make(folder.path(), "-f lavfi -i testsrc2=size=64x48 -frames:v 1 picture.png");
    let empty = folder.path().join("empty.srt");
    fs::write(&empty, "nothing here\n").unwrap();
    let silent = make(folder.path(), &format!("{VIDEO} -t 1 -c:v libx264 silent.mp4"));
    for (file, format, told) in [
        (&picture, "mp4", "is a picture"),
        (&empty, "vtt", "holds no subtitles"),
        (&silent, "mp3", "no audio track"),
        (&silent, "srt", "has no such subtitles"),
    ] {
        let Err(Halt::Failed(failure)) = converted(file, &to(format)) else { panic!("{} was made", file.display()) };
        assert_eq!(failure.kind, FailureKind::Input, "{failure}");
        assert!(failure.message.contains(told), "{failure}");
    }
}
