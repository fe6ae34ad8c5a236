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
