//! Subtitle: a transcript to cues in each format.

use std::fs::File;
use std::io;

use spindle_shared::failure::{Failure, FailureKind};
use spindle_shared::job::Detail;
use spindle_shared::limits::TRANSCRIPT_BYTES_MAX;
use spindle_shared::stage::subtitle::{SUBTITLE_STEM, Subtitle};
use spindle_shared::stage::transcribe::TRANSCRIPT_FILE;
use spindle_shared::worker::Done;
use unicode_segmentation::UnicodeSegmentation;

use crate::context::{Context, Halt, disk_failure};
use crate::files::hash::{ReadError, hash_pieces};
use crate::language::atoms::text_of;
use crate::language::cues::cues;
use crate::language::formats;
use crate::language::transcript::Transcript;

pub fn run(context: &Context, stage: &Subtitle) -> Result<Done, Halt> {
    let transcript = read(context, context.artifact(TRANSCRIPT_FILE)?)?;
    context.go_on()?;
    let cues = cues(&transcript, &stage.shape);
    let mut files = Vec::with_capacity(stage.formats.len());
    for (at, &format) in stage.formats.iter().enumerate() {
        context.go_on()?;
        if stage.formats[..at].contains(&format) {
            continue;
        }
        let name = format!("{SUBTITLE_STEM}.{}", format.name());
        files.push(context.write_artifact(&name, |to| {
            formats::write(format, &transcript, &cues, to)
                .map_err(|error| disk_failure(&error, &context.scratch().join(&name)).into())
        })?);
        context.progress((at + 1) as f32 / stage.formats.len() as f32);
    }
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    let words = transcript.segments.iter().map(|segment| text_of(segment).unicode_words().count()).sum();
    let mut detail = Detail { cues: Some(count(cues.len())), words: Some(count(words)), ..Detail::default() };
    if cues.is_empty() {
        detail.notes.push("no speech was heard: the subtitles are empty".to_owned());
    }
    Ok(Done { files, detail, work: transcript.duration, ..Done::default() })
}

/// What an earlier stage heard, where one listened.
pub fn transcript(context: &Context) -> Result<Option<Transcript>, Halt> {
    match context.inputs().find(|(input, _)| input.name.0 == TRANSCRIPT_FILE.as_bytes()) {
        Some((_, file)) => read(context, file).map(Some),
        None => Ok(None),
    }
}

fn read(context: &Context, file: &File) -> Result<Transcript, Halt> {
    let failed = |what: String| Failure::new(FailureKind::Internal, format!("failed to read the transcript: {what}"));
    let mut json = Vec::new();
    hash_pieces(file, TRANSCRIPT_BYTES_MAX, |piece| {
        json.extend_from_slice(piece);
        context.go_on()
    })
    .map_err(|error| match error {
        ReadError::Io(error) => failed(error.to_string()).into(),
        ReadError::Halted(halt) => halt,
    })?;
    if json.len() as u64 > TRANSCRIPT_BYTES_MAX {
        let error = io::Error::from(io::ErrorKind::FileTooLarge);
        return Err(failed(format!("{error}: more than {TRANSCRIPT_BYTES_MAX} bytes")).into());
    }
    serde_json::from_slice(&json).map_err(|error| failed(error.to_string()).into())
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;
    use std::os::unix::fs::FileExt;
    use std::path::Path;
    use std::process::Command;
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;

    use spindle_shared::id::{ContentHash, RunId};
    use spindle_shared::job::PathBytes;
    use spindle_shared::stage::Stage;
    use spindle_shared::stage::subtitle::{Format, Shape};
    use spindle_shared::worker::{Assignment, InputFile};

    use super::*;
    use crate::language::transcript::Segment;

    fn subtitle(scratch: &Path, json: &[u8], formats: &[Format]) -> Result<Done, Halt> {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(json, 0).unwrap();
        let stage = Subtitle { formats: formats.to_vec(), shape: Shape::STANDARD };
        let assignment = Assignment {
            inputs: vec![InputFile::new(PathBytes(TRANSCRIPT_FILE.into()), json.len() as u64)],
            scratch: scratch.into(),
            ..Assignment::of(RunId { boot: 1, counter: 1 }, Stage::Subtitle(stage.clone()))
        };
        run(&Context::new(assignment, vec![file.into()], Arc::new(AtomicBool::new(false)), Arc::new(|_| ())), &stage)
    }

    /// Text that tempts a reader of subtitles to see more or less than is there.
    fn hostile() -> Transcript {
        let texts = [
            "It's 10 < 20 & 30 > 5.",
            "1",
            "2\n00:00:05,000 --> 00:00:06,000\nnot a cue",
            "WEBVTT",
            "NOTE this isn't one either",
            "STYLE ::cue { color: red }",
            "<i>open, {\\an8} and \\N closed\0",
            "-->",
            "字幕，也要能读。",
            "[00:12.00] 👩‍👩‍👧‍👦 e\u{301}",
            "&amp; &lt;",
            "12345",
        ];
        let segments = texts.iter().enumerate().map(|(at, text)| Segment {
            start: 4.0 * at as f64,
            end: 4.0 * at as f64 + 1.0,
            text: (*text).to_owned(),
            ..Segment::default()
        });
        Transcript {
            language: "en".to_owned(),
            language_probability: 1.0,
            duration: 50.0,
            segments: segments.collect(),
        }
    }

    #[test]
    fn every_format_is_left_in_scratch_as_reported() {
        let scratch = tempfile::tempdir().unwrap();
        let json = serde_json::to_vec(&hostile()).unwrap();
        let mut formats = Format::ALL.to_vec();
        formats.push(Format::Srt);
        let done = subtitle(scratch.path(), &json, &formats).unwrap();
        let names: Vec<_> = done.files.iter().map(|file| file.name.as_str()).collect();
        assert_eq!(names, Format::ALL.map(|format| format!("subtitles.{}", format.name())));
        for file in &done.files {
            let content = std::fs::read(scratch.path().join(&file.name)).unwrap();
            assert_eq!((file.bytes, file.content), (content.len() as u64, ContentHash::of(&content)), "{}", file.name);
        }
        assert_eq!(done.detail.cues, Some(12));
        // UAX 29 words: every Han character is one.
        assert!(done.detail.words.is_some_and(|words| words > 30), "{:?}", done.detail);
        assert_eq!(done.work, 50.0);
        let read = |name: &str| BufReader::new(File::open(scratch.path().join(name)).unwrap());
        assert_eq!(formats::srt::check(read("subtitles.srt")), Ok(()));
        assert_eq!(formats::vtt::check(read("subtitles.vtt")), Ok(()));
        assert_eq!(formats::json::check(read("subtitles.json")), Ok(()));
    }

    #[test]
    fn silence_is_told() {
        let scratch = tempfile::tempdir().unwrap();
        let silence = Transcript { duration: 3.0, ..Transcript::default() };
        let done = subtitle(scratch.path(), &serde_json::to_vec(&silence).unwrap(), &[Format::Srt]).unwrap();
        assert_eq!((done.detail.cues, done.detail.words), (Some(0), Some(0)));
        assert_eq!(done.detail.notes, ["no speech was heard: the subtitles are empty"]);
        assert_eq!(done.files[0].bytes, 0);
    }

    #[test]
    fn a_damaged_transcript_is_a_failure() {
        let scratch = tempfile::tempdir().unwrap();
        for json in [&b""[..], b"{", b"{\"language\":\"en\"}", b"\xff\xfe"] {
            let Err(Halt::Failed(failure)) = subtitle(scratch.path(), json, &[Format::Srt]) else {
                panic!("{json:?} was read");
            };
            assert_eq!(failure.kind, FailureKind::Internal);
        }
    }

    #[test]
    fn ffmpeg_reads_the_same_cues_without_a_warning() {
        if Command::new("ffmpeg").arg("-version").output().is_err() {
            eprintln!("skipped: ffmpeg is not installed");
            return;
        }
        let scratch = tempfile::tempdir().unwrap();
        let json = serde_json::to_vec(&hostile()).unwrap();
        let done = subtitle(scratch.path(), &json, &[Format::Srt, Format::Vtt, Format::Lrc]).unwrap();
        for file in &done.files {
            let out = Command::new("ffmpeg")
                .args(["-nostdin", "-v", "warning", "-i"])
                .arg(scratch.path().join(&file.name))
                .args(["-map", "0", "-c", "copy", "-f", "framecrc", "-"])
                .output()
                .unwrap();
            assert_eq!(String::from_utf8_lossy(&out.stderr), "", "{}", file.name);
            let frames = String::from_utf8(out.stdout).unwrap();
            let count = frames.lines().filter(|line| !line.starts_with('#')).count();
            assert_eq!(Some(count as u32), done.detail.cues, "{}: {frames}", file.name);
        }
    }
}
