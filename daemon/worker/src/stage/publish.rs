//! Publish: an artifact's files under their final names.

use std::fs::File;
use std::io::BufReader;

use spindle_shared::failure::{Failure, FailureKind};
use spindle_shared::job::{Output, PathBytes};
use spindle_shared::language::{UNDETERMINED, file_code, is_known};
use spindle_shared::output;
use spindle_shared::stage::publish::Publish;
use spindle_shared::stage::subtitle::Format;
use spindle_shared::worker::Done;

use crate::context::{Context, Halt};
use crate::files::publish::{Item, Rules, publish};
use crate::language::formats;

pub fn run(context: &Context, stage: &Publish) -> Result<Done, Halt> {
    let plan = &context.assignment.output;
    if plan.directory.is_empty() || plan.stem.is_empty() || plan.stem.0.iter().any(|byte| matches!(byte, b'/' | 0)) {
        let message =
            format!("the run came with no usable place for its outputs ({} in {})", plan.stem, plan.directory);
        return Err(Failure::new(FailureKind::Internal, message).into());
    }
    // Names are made of this text, so it is one of ours or none.
    let language = context.assignment.detail.language.as_deref().filter(|code| is_known(code)).unwrap_or(UNDETERMINED);
    let language = stage.language_suffix.then_some(file_code(language));
    let mut kinds = Vec::new();
    let mut items = Vec::new();
    for (input, source) in context.inputs() {
        let kind = kind_of(&input.name)?;
        let name = output::file_name(&plan.stem, language, kind);
        items.push(Item { name, source, bytes: input.bytes, check: check_of(kind) });
        kinds.push(kind);
    }
    if items.is_empty() {
        return Err(Failure::new(FailureKind::Internal, "the run came with nothing to publish").into());
    }

    let bytes: u64 = items.iter().map(|item| item.bytes).sum();
    let mut moved = 0;
    let mut tick = |more: u64| {
        context.go_on()?;
        moved += more;
        context.progress((moved as f64 / (2 * bytes).max(1) as f64) as f32);
        Ok(())
    };
    let rules = Rules { force: stage.force, replaceable: &context.assignment.replaceable };
    let hashes = publish(plan.directory.as_path(), &items, &context.assignment.part_tag, &rules, &mut tick)?;
    let outputs = items.iter().zip(kinds).map(|(item, kind)| Output {
        path: plan.directory.as_path().join(item.name.as_path()).into(),
        kind: kind.to_owned(),
        bytes: item.bytes,
    });
    Ok(Done { outputs: outputs.zip(hashes).collect(), work: bytes as f64, ..Done::default() })
}

/// The extension of the artifact's file is the output's kind and extension.
fn kind_of(name: &PathBytes) -> Result<&str, Failure> {
    name.as_path()
        .extension()
        .and_then(|extension| extension.to_str())
        .ok_or_else(|| Failure::new(FailureKind::Internal, format!("the artifact's file `{name}` has no kind")))
}

fn check_of(kind: &str) -> fn(&File) -> Result<(), String> {
    match Format::from_name(kind) {
        Some(Format::Srt) => |file| formats::srt::check(BufReader::new(file)),
        Some(Format::Vtt) => |file| formats::vtt::check(BufReader::new(file)),
        Some(Format::Json) => |file| formats::json::check(BufReader::new(file)),
        _ => |_| Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;
    use std::os::unix::fs::FileExt;
    use std::path::Path;
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;

    use spindle_shared::id::{ContentHash, RunId};
    use spindle_shared::job::{Detail, OutputPlan};
    use spindle_shared::stage::Stage;
    use spindle_shared::worker::{Assignment, InputFile};

    use super::*;

    const SRT: &str = "1\n00:00:00,000 --> 00:00:01,000\nHi\n\n";

    fn publish_into(
        directory: &Path,
        language: Option<&str>,
        stage: Publish,
        files: &[(&str, &str)],
    ) -> Result<Done, Halt> {
        let descriptors: Vec<OwnedFd> = files
            .iter()
            .map(|(_, content)| {
                let file = tempfile::tempfile().unwrap();
                file.write_all_at(content.as_bytes(), 0).unwrap();
                file.into()
            })
            .collect();
        let inputs = files
            .iter()
            .map(|(name, content)| InputFile { name: PathBytes((*name).into()), bytes: content.len() as u64 });
        let assignment = Assignment {
            run: RunId { boot: 1, counter: 1 },
            stage: Stage::Publish(stage.clone()),
            inputs: inputs.collect(),
            scratch: PathBytes::default(),
            checkpoint: None,
            output: OutputPlan { directory: directory.into(), stem: PathBytes(b"my talk".to_vec()) },
            part_tag: "b1j1".to_owned(),
            detail: Detail { language: language.map(str::to_owned), ..Detail::default() },
            replaceable: Vec::new(),
            threads: 1,
        };
        run(&Context::new(assignment, descriptors, Arc::new(AtomicBool::new(false)), Arc::new(|_| ())), &stage)
    }

    #[test]
    fn outputs_are_named_after_stem_language_and_kind() {
        for (language, suffix, name) in [
            (Some("de"), true, "my talk.de.srt"),
            (Some("jw"), true, "my talk.jv.srt"),
            (Some("und"), true, "my talk.und.srt"),
            (Some("../evil"), true, "my talk.und.srt"),
            (None, true, "my talk.und.srt"),
            (Some("de"), false, "my talk.srt"),
        ] {
            let directory = tempfile::tempdir().unwrap();
            let stage = Publish { language_suffix: suffix, force: false };
            let done = publish_into(directory.path(), language, stage, &[("subtitles.srt", SRT)]).unwrap();
            let path = directory.path().join(name);
            let output = Output { path: path.clone().into(), kind: "srt".to_owned(), bytes: SRT.len() as u64 };
            assert_eq!(done.outputs, [(output, ContentHash::of(SRT.as_bytes()))]);
            assert_eq!(std::fs::read_to_string(path).unwrap(), SRT);
        }
    }

    #[test]
    fn a_broken_subtitle_is_never_published() {
        for (name, content) in [("subtitles.srt", "no cue\n"), ("subtitles.vtt", ""), ("subtitles.json", "{")] {
            let directory = tempfile::tempdir().unwrap();
            let files = [("subtitles.txt", "fine\n"), (name, content)];
            let Err(Halt::Failed(failure)) = publish_into(directory.path(), None, Publish::default(), &files) else {
                panic!("{name} was published");
            };
            assert_eq!(failure.kind, FailureKind::Internal);
            assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
        }
    }

    #[test]
    fn nothing_to_publish_is_a_fault() {
        let directory = tempfile::tempdir().unwrap();
        assert!(publish_into(directory.path(), None, Publish::default(), &[]).is_err());
        assert!(publish_into(Path::new(""), None, Publish::default(), &[("subtitles.srt", SRT)]).is_err());
    }
}
