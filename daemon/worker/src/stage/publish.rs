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
