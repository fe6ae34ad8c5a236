//! The recipe `custom`: stages by name from a TOML file. A stage's keys are its options on the command line, read by the same definition.

use std::path::{Path, PathBuf};

use clap::{Args, Command};
use serde::Deserialize;
use spindle_shared::intake::MEDIA_EXTENSIONS;
use spindle_shared::recipe::{BUILT_IN, CUSTOM, Recipe};
use spindle_shared::stage::Stage;
use spindle_shared::stage::analyze::Analyze;
use spindle_shared::stage::assemble::Assemble;
use spindle_shared::stage::collect::Collect;
use spindle_shared::stage::compress::Compress;
use spindle_shared::stage::convert::Convert;
use spindle_shared::stage::decode::Decode;
use spindle_shared::stage::identify::Identify;
use spindle_shared::stage::image::Image;
use spindle_shared::stage::pack::Pack;
use spindle_shared::stage::plan::Plan;
use spindle_shared::stage::preview::Preview;
use spindle_shared::stage::publish::Publish;
use spindle_shared::stage::subtitle::SubtitleOptions;
use spindle_shared::stage::transcribe::Transcribe;
use toml::{Spanned, Table, Value};

use super::{RecipeOptions, highlights, subtitles};
use crate::output::human;
use crate::split_message;

#[derive(Debug, clap::Args)]
pub struct Custom {
    /// The recipe: stages by name in a TOML file (`spindlectl recipes show custom` shows one)
    #[arg(long, value_name = "FILE")]
    recipe: PathBuf,
}

impl RecipeOptions for Custom {
    const NAME: &'static str = CUSTOM;
    const PARALLEL: u32 = 3;
    const EXTENSIONS: &'static [&'static str] = &MEDIA_EXTENSIONS;

    fn recipe(self, force: bool) -> Result<Recipe, String> {
        let path = &self.recipe;
        let shown = human::escaped(&path.to_string_lossy());
        let text = std::fs::read_to_string(path).map_err(|error| format!("--recipe {shown}: {error}"))?;
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let folder = path.parent().unwrap_or(Path::new(""));
        read(&text, &stem, folder, force).map_err(|error| match error.line {
            Some(line) => format!("{shown}:{line}: {}", error.message),
            None => format!("{shown}: {}", error.message),
        })
    }
}

/// A recipe as `recipes show custom` shows it.
pub const EXAMPLE: &str = r#"# Subtitles for every lecture, and one document of all that was said.
name = "lectures"

[[map]]
stage = "decode"

[[map]]
stage = "transcribe"
model = "base"
language = "auto"

[[map]]
stage = "subtitle"
format = ["srt", "txt"]

[[map]]
stage = "publish"

[[gather]]
stage = "collect"
format = "md"
title = "Lectures"

[[gather]]
stage = "publish"
"#;

/// The recipe in a file's text, or what is wrong with it and in which line. Its paths are relative to this process's folder.
pub fn recipe_of_text(text: &str) -> Result<Recipe, String> {
    read(text, CUSTOM, Path::new(""), false).map_err(|wrong| match wrong.line {
        Some(line) => format!("{line}: {}", wrong.message),
        None => wrong.message,
    })
}

pub fn example() -> Option<Recipe> {
    recipe_of_text(EXAMPLE).ok()
}

/// What is wrong with a recipe file, and in which line, where it is one.
#[derive(Debug)]
struct Wrong {
    line: Option<usize>,
    message: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RecipeFile {
    /// The file's own name, if left out.
    name: Option<Spanned<String>>,
    map: Vec<Spanned<Table>>,
    #[serde(default)]
    gather: Vec<Spanned<Table>>,
}

/// `stem`: the file's, which names a recipe that does not name itself; `folder`: what its paths are relative to.
fn read(text: &str, stem: &str, folder: &Path, force: bool) -> Result<Recipe, Wrong> {
    let at = |offset: usize, message: String| {
        let line = text.as_bytes()[..offset.min(text.len())].iter().filter(|byte| **byte == b'\n').count() + 1;
        Wrong { line: Some(line), message }
    };
    let file: RecipeFile = toml::from_str(text).map_err(|error| {
        let message = error.message().to_owned();
        match error.span() {
            Some(span) => at(span.start, message),
            None => Wrong { line: None, message },
        }
    })?;
    let name = match &file.name {
        Some(name) => check_name(name.get_ref()).map_err(|message| at(name.span().start, message))?,
        None => check_name(stem).map_err(|message| Wrong { line: None, message })?,
    };
    let stages = |tables: Vec<Spanned<Table>>| -> Result<Vec<Stage>, Wrong> {
        let read = |table: Spanned<Table>| {
            let start = table.span().start;
            stage(table.into_inner(), folder, force).map_err(|message| at(start, message))
        };
        tables.into_iter().map(read).collect()
    };
    let mut map = stages(file.map)?;
    // Every input is known by its content; nobody has to ask for that.
    map.insert(0, Stage::Identify(Identify {}));
    let mut gather = stages(file.gather)?;
    let speaks = map.iter().any(|stage| matches!(stage, Stage::Transcribe(_)));
    let languageless = if speaks { &mut [][..] } else { &mut map[..] };
    for stage in gather.iter_mut().chain(languageless) {
        if let Stage::Publish(publish) = stage {
            // What is made of many inputs, or isn't heard at all, is in no one language.
            publish.language_suffix = false;
        }
    }
    let recipe = Recipe { name: name.to_owned(), map, gather };
    recipe.validate().map_err(|message| Wrong { line: None, message })?;
    Ok(recipe)
}

/// Outputs and lists carry it.
fn check_name(name: &str) -> Result<&str, String> {
    const NAME_CHARS_MAX: usize = 40;
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_');
    if name.is_empty() || name.chars().count() > NAME_CHARS_MAX || !name.chars().all(plain) {
        let name = human::escaped(name);
        return Err(format!("`{name}` is no name: 1–{NAME_CHARS_MAX} letters, digits, `-`, `_`; write name = \"…\""));
    }
    if BUILT_IN.iter().any(|(known, _)| *known == name) {
        return Err(format!("`{name}` is the name of a recipe that is built in: write another name = \"…\""));
    }
    Ok(name)
}

const STAGES: &str =
    "decode, transcribe, subtitle, compress, convert, preview, image, analyze, publish, collect, pack, plan, assemble";

fn stage(mut table: Table, folder: &Path, force: bool) -> Result<Stage, String> {
    let name = match table.remove("stage") {
        Some(Value::String(name)) => name,
        _ => return Err(format!("which stage? write stage = \"…\", one of {STAGES}")),
    };
    Ok(match name.as_str() {
        "decode" => Stage::Decode(options::<Decode>("decode", &table)?),
        "transcribe" => {
            let mut stage = options::<Transcribe>("transcribe", &table)?;
            stage.model.name = subtitles::model(&stage.model.name, folder)?;
            Stage::Transcribe(stage)
        }
        "subtitle" => Stage::Subtitle(options::<SubtitleOptions>("subtitle", &table)?.into()),
        "publish" => {
            let stage = options::<Publish>("publish", &table)?;
            Stage::Publish(Publish { force: force || stage.force, ..stage })
        }
        "compress" => Stage::Compress(options::<Compress>("compress", &table)?),
        "convert" => Stage::Convert(options::<Convert>("convert", &table)?),
        "preview" => Stage::Preview(options::<Preview>("preview", &table)?),
        "image" => Stage::Image(options::<Image>("image", &table)?),
        "pack" => Stage::Pack(options::<Pack>("pack", &table)?),
        "analyze" => Stage::Analyze(options::<Analyze>("analyze", &table)?),
        "plan" => {
            let rules = match table.remove("rules") {
                None => None,
                Some(Value::String(path)) => Some(highlights::rules(&folder.join(path))?),
                Some(_) => return Err("`rules` is the path of a file".to_owned()),
            };
            Stage::Plan(highlights::by_rules(options::<Plan>("plan", &table)?, rules))
        }
        "assemble" => Stage::Assemble(options::<Assemble>("assemble", &table)?),
        "collect" => Stage::Collect(options::<Collect>("collect", &table)?),
        "identify" => return Err("`identify` comes first by itself: leave it out".to_owned()),
        other => return Err(format!("there is no stage `{}`: known are {STAGES}", human::escaped(other))),
    })
}

/// A stage's parameters, read as its options are.
fn options<T: Args>(stage: &'static str, table: &Table) -> Result<T, String> {
    let mut words = Vec::new();
    for (key, value) in table {
        match value {
            Value::Boolean(true) => words.push(format!("--{key}")),
            Value::Boolean(false) => {}
            value => {
                words.push(format!("--{key}={}", text_of(value).ok_or_else(|| format!("`{key}` is no plain value"))?))
            }
        }
    }
    let command = Command::new(stage).no_binary_name(true).disable_help_flag(true);
    let told = |error: clap::Error| format!("{stage}: {}", split_message(&error.render().to_string()).0);
    let matches = T::augment_args(command).try_get_matches_from(words).map_err(told)?;
    T::from_arg_matches(&matches).map_err(told)
}

/// As it would stand on the command line; lists are joined by commas.
fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Float(number) => Some(number.to_string()),
        Value::Array(values) => {
            let plain = |value: &Value| (!value.is_array()).then(|| text_of(value)).flatten();
            Some(values.iter().map(plain).collect::<Option<Vec<_>>>()?.join(","))
        }
        Value::Boolean(_) | Value::Datetime(_) | Value::Table(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use spindle_shared::stage::assemble::Quality;
    use spindle_shared::stage::collect::DocumentFormat;
    use spindle_shared::stage::plan::Strategy;
    use spindle_shared::stage::subtitle::Format;

    use super::*;

    fn wrong(text: &str) -> String {
        let Wrong { line, message } = read(text, "talks", Path::new("/r"), false).unwrap_err();
        format!("{}: {message}", line.map_or("-".to_owned(), |line| line.to_string()))
    }

    #[test]
    fn the_example_is_a_recipe() {
        let recipe = read(EXAMPLE, "x", Path::new(""), true).unwrap();
        assert_eq!(recipe.name, "lectures");
        assert_eq!(
            recipe.map.iter().map(Stage::name).collect::<Vec<_>>(),
            ["identify", "decode", "transcribe", "subtitle", "publish"]
        );
        assert!(matches!(&recipe.map[3], Stage::Subtitle(s) if s.formats == [Format::Srt, Format::Txt]));
        assert!(matches!(&recipe.map[4], Stage::Publish(publish) if publish.force));
        let title = Some("Lectures".to_owned());
        assert_eq!(recipe.gather[0], Stage::Collect(Collect { format: DocumentFormat::Md, title }));
    }

    #[test]
    fn a_file_names_a_recipe_that_does_not_name_itself_and_its_models_lie_beside_it() {
        let text =
            "map = [{stage = 'decode'}, {stage = 'transcribe', model = './m.bin', beam-size = 2, no-vad = true}]";
        let recipe = read(text, "talks", Path::new("/r"), false).unwrap();
        assert_eq!(recipe.name, "talks");
        match &recipe.map[2] {
            Stage::Transcribe(stage) => {
                assert_eq!((stage.model.name.as_str(), stage.beam_size, stage.vad), ("/r/m.bin", 2, false))
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn highlights_may_be_part_of_it() {
        let text = "[[map]]\nstage='analyze'\n[[gather]]\nstage='plan'\ntarget-duration=30.5\nrules='r.toml'\n[[gather]]\nstage='assemble'\n\
                    quality='low'\nfade=1\n[[gather]]\nstage='publish'";
        let folder = tempfile::tempdir().unwrap();
        let told = read(text, "film", folder.path(), false).unwrap_err();
        assert!(told.line == Some(3) && told.message.contains("r.toml: No such file"), "{told:?}");
        std::fs::write(folder.path().join("r.toml"), "[[clip]]\nsound = { min = -20 }").unwrap();
        let recipe = read(text, "film", folder.path(), false).unwrap();
        let Stage::Plan(plan) = &recipe.gather[0] else { panic!("{recipe:?}") };
        assert_eq!((plan.target_duration, plan.strategy), (Some(30.5), Strategy::Custom));
        assert_eq!(recipe.gather[1], Stage::Assemble(Assemble { quality: Quality::Low, fade: Some(1.0) }));
    }

    #[test]
    fn mistakes_are_told_with_their_line() {
        let map = "[[map]]\nstage = 'decode'\n[[map]]\nstage = 'transcribe'\n";
        for (text, told) in [
            ("map = 3", "1: invalid type: integer `3`, expected a sequence"),
            ("", "1: missing field `map`"),
            ("map = []\nmore = 1", "2: unknown field `more`, expected one of `name`, `map`, `gather`"),
            ("name = 'a/b'\nmap = []", "1: `a/b` is no name: 1–40 letters, digits, `-`, `_`; write name = \"…\""),
            (
                "name = 'subtitles'\nmap = []",
                "1: `subtitles` is the name of a recipe that is built in: write another name = \"…\"",
            ),
            (
                "[[map]]\nmodel = 'x'",
                "1: which stage? write stage = \"…\", one of decode, transcribe, subtitle, compress, convert, preview, image, analyze, publish, collect, pack, plan, assemble",
            ),
            (
                "[[map]]\nstage = 'cook'",
                "1: there is no stage `cook`: known are decode, transcribe, subtitle, compress, convert, preview, image, analyze, publish, collect, pack, plan, assemble",
            ),
            (
                "[[map]]\nstage = 'publish'",
                "-: `publish` can't come after `identify` in the map: it has nothing to work on",
            ),
            (
                "[[map]]\nstage = 'collect'",
                "-: `collect` works on the results of all inputs: it comes first in the gather",
            ),
        ] {
            assert_eq!(wrong(text), told, "{text}");
        }
        let told = wrong(&format!("{map}beam-size = 9"));
        assert!(told.contains("beam-size 9 is outside 1–8"), "{told}");
        let told = wrong(&format!("{map}colour = 'red'"));
        assert!(told.starts_with("3: transcribe: unexpected argument '--colour'"), "{told}");
        let told = wrong(&format!("{map}[[gather]]\nstage = 'publish'"));
        assert!(told.contains("`publish` can't begin a gather"), "{told}");
        let told = wrong(&format!("{map}[[map]]\nstage='subtitle'\nformat='srt'\n[[gather]]\nstage = 'collect'"));
        assert!(told.contains("let the map's `subtitle` make the format `txt`"), "{told}");
    }

    proptest! {
        #[test]
        fn no_file_brings_it_down(text in "\\PC*", at in 0..400_usize) {
            let _ = read(&text, "x", Path::new(""), false);
            // The example with something odd in its middle.
            let at = (0..=at.min(EXAMPLE.len())).rev().find(|at| EXAMPLE.is_char_boundary(*at)).unwrap_or(0);
            let _ = read(&format!("{}{text}{}", &EXAMPLE[..at], &EXAMPLE[at..]), "x", Path::new(""), false);
        }
    }
}
