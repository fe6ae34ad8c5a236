//! Publish: an artifact's files under their final names.

use std::fs::File;
use std::io::BufReader;

use spindle_shared::failure::{Failure, FailureKind};
use spindle_shared::job::{Figure, Output};
use spindle_shared::output;
use spindle_shared::stage::publish::Publish;
use spindle_shared::stage::subtitle::Format;
use spindle_shared::worker::{Done, Published};

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
    let files = context.inputs().map(|(input, _)| input.name.as_path());
    let names = output::published_as(plan, stage, context.assignment.detail.language.as_deref(), files)
        .ok_or_else(|| Failure::new(FailureKind::Internal, "the artifact has a file without a kind"))?;
    let items: Vec<Item<'_>> = context
        .inputs()
        .zip(&names)
        .map(|((input, source), (path, kind))| Item {
            name: path.as_path().file_name().unwrap_or_default().into(),
            source,
            bytes: input.bytes,
            check: check_of(kind),
        })
        .collect();
    if items.is_empty() && context.assignment.detail.figures.contains(&("published".to_owned(), Figure::Flag(false))) {
        // The stage before found nothing worth writing, and says why.
        return Ok(Done::default());
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
    let placed = publish(plan.directory.as_path(), &items, &context.assignment.part_tag, &rules, &mut tick)?;
    let outputs = names.iter().zip(&items).map(|((path, kind), item)| Output {
        path: path.clone(),
        kind: (*kind).to_owned(),
        bytes: item.bytes,
    });
    let outputs =
        outputs.zip(placed).map(|(output, (content, identity))| Published { output, content, identity }).collect();
    Ok(Done { outputs, work: bytes as f64, ..Done::default() })
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
    use spindle_shared::job::{Detail, FileIdentity, OutputPlan, PathBytes};
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
        let inputs =
            files.iter().map(|(name, content)| InputFile::new(PathBytes((*name).into()), content.len() as u64));
        let assignment = Assignment {
            inputs: inputs.collect(),
            output: OutputPlan { directory: directory.into(), stem: PathBytes(b"my talk".to_vec()) },
            part_tag: "b1j1".to_owned(),
            detail: Detail { language: language.map(str::to_owned), ..Detail::default() },
            ..Assignment::of(RunId { boot: 1, counter: 1 }, Stage::Publish(stage.clone()))
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
            let [published] = done.outputs.as_slice() else { panic!("{:?}", done.outputs) };
            assert_eq!((&published.output, published.content), (&output, ContentHash::of(SRT.as_bytes())));
            let now = FileIdentity::of(&std::fs::metadata(&path).unwrap());
            assert_eq!(published.identity, Some(now), "known as it stands");
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
