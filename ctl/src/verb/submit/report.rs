//! The recipe `report` on the command line: what is listened to and looked at, and what is written of it.

use std::path::{Path, PathBuf};

use spindle_shared::intake::MEDIA_EXTENSIONS;
use spindle_shared::output::{self, Names};
use spindle_shared::paths;
use spindle_shared::provider::ProviderRef;
use spindle_shared::recipe::{self, Recipe};
use spindle_shared::stage::listen::Listen;
use spindle_shared::stage::publish::Publish;
use spindle_shared::stage::sight::Sight;
use spindle_shared::stage::transcribe::Transcribe;
use spindle_shared::stage::write::{DocumentFormat, Write};
use spindle_shared::template::{self, Template};

use super::RecipeOptions;
use super::subtitles::model;
use crate::output::human;

#[derive(Debug, clap::Args)]
pub struct ReportArgs {
    /// What the report is like: chinese_transcript, comprehensive_lesson, summary_report; one of your own in the folder
    /// `templates` beside the daemon's configuration, by its name; or a file (TOML)
    #[arg(long, value_name = "NAME|FILE", default_value = template::DEFAULT)]
    template: String,
    /// Value of a parameter of the template; may be given several times
    #[arg(long = "param", value_name = "NAME=VALUE", value_parser = parameter)]
    parameters: Vec<(String, String)>,
    /// Who writes it: a model API from `spindlectl providers list`, to which transcript and pictures are sent; left out, it is made on this
    /// machine without a model
    #[arg(long, value_name = "PROVIDER")]
    provider: Option<String>,
    /// Forms of the document
    #[arg(long = "format", value_enum, value_name = "FORMAT,…", value_delimiter = ',', default_values = ["md", "html", "json"])]
    formats: Vec<DocumentFormat>,
    /// Title; otherwise as the model says, or the file's name
    #[arg(long, value_name = "TEXT")]
    title: Option<String>,
    /// Where the recording can be watched: times become links
    #[arg(long, value_name = "URL")]
    link: Option<String>,
    /// What the outputs are called before their endings: {stem} (of the input's name), {title} (--title, 50 characters of it), {template} and
    /// anything else as it stands; never more than one name
    #[arg(long = "name-pattern", value_name = "PATTERN", default_value = output::STEM, value_parser = output::check_pattern)]
    name_pattern: String,
    /// A tag of the document; may be given several times
    #[arg(long = "report-tag", value_name = "TAG")]
    tags: Vec<String>,
    #[command(flatten)]
    transcribe: Transcribe,
    #[command(flatten)]
    listen: Listen,
    #[command(flatten)]
    sight: Sight,
}

fn parameter(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("a parameter is NAME=VALUE".to_owned()),
    }
}

impl RecipeOptions for ReportArgs {
    const NAME: &'static str = recipe::REPORT;
    const OF_THE_BATCH: &'static [&'static str] = &["name-pattern"];
    const PARALLEL: u32 = 3;
    const EXTENSIONS: &'static [&'static str] = &MEDIA_EXTENSIONS;

    fn names(&self) -> Option<Names> {
        let pattern = self.name_pattern.clone();
        let template = Path::new(&self.template).file_stem().map(|stem| stem.to_string_lossy().into_owned());
        Some(Names { pattern, title: self.title.clone(), template: template.unwrap_or_default() })
    }

    fn recipe(self, force: bool) -> Result<Recipe, String> {
        let ReportArgs {
            template,
            parameters,
            provider,
            mut formats,
            title,
            link,
            tags,
            name_pattern: _,
            mut transcribe,
            listen,
            sight,
        } = self;
        transcribe.model.name = model(&transcribe.model.name, Path::new(""))?;
        formats.sort_unstable();
        formats.dedup();
        let write = Write {
            template: find(&template)?,
            parameters,
            provider: provider.map(ProviderRef::named),
            formats,
            title,
            link,
            tags,
            stem: String::new(),
        };
        let recipe = Recipe::report(listen, Some(transcribe), sight, write, Publish { force, ..Publish::default() });
        recipe.validate()?;
        Ok(recipe)
    }
}

/// The recipe with its defaults.
pub fn example() -> Option<Recipe> {
    let write = Write {
        template: find(template::DEFAULT).ok()?,
        parameters: Vec::new(),
        provider: None,
        formats: vec![DocumentFormat::Md, DocumentFormat::Html, DocumentFormat::Json],
        title: None,
        link: None,
        tags: Vec::new(),
        stem: String::new(),
    };
    let (listen, transcribe, sight) = (Listen::default(), Some(Transcribe::default()), Sight::default());
    Some(Recipe::report(listen, transcribe, sight, write, Publish::default()))
}

/// A template by its name or its file.
fn find(name: &str) -> Result<Template, String> {
    if let Some((_, text)) = template::BUILT_IN.iter().find(|(known, _)| *known == name) {
        return template::parse(text);
    }
    let shown = human::escaped(name);
    let path = match name.contains('/') || name.ends_with(".toml") {
        true => PathBuf::from(name),
        false => own_folder().join(format!("{name}.toml")),
    };
    let text = std::fs::read_to_string(&path).map_err(|error| {
        let known: Vec<&str> = template::BUILT_IN.iter().map(|(name, _)| *name).collect();
        let path = human::escaped(&path.to_string_lossy());
        format!("--template {shown}: {path}: {error}; built in are {}", known.join(", "))
    })?;
    template::parse(&text).map_err(|wrong| format!("--template {shown}: {}", wrong.trim_end()))
}

fn own_folder() -> PathBuf {
    let configuration = paths::configuration(paths::Service::User);
    configuration.parent().unwrap_or(Path::new("")).join("templates")
}

#[cfg(test)]
mod tests {
    use clap::{Args, FromArgMatches};
    use spindle_shared::stage::Stage;

    use super::*;

    fn recipe(options: &[&str]) -> Result<Recipe, String> {
        let command = ReportArgs::augment_args(clap::Command::new("test").no_binary_name(true));
        let matches = command.try_get_matches_from(options).map_err(|error| error.to_string())?;
        ReportArgs::from_arg_matches(&matches).map_err(|error| error.to_string())?.recipe(false)
    }

    fn write(recipe: &Recipe) -> &Write {
        let found =
            recipe.map.iter().find_map(|stage| if let Stage::Write(write) = stage { Some(write) } else { None });
        found.unwrap()
    }

    #[test]
    fn without_options_nobody_is_asked() {
        let told = recipe(&[]).unwrap();
        assert_eq!(write(&told).template.name, "chinese_transcript");
        assert!(told.map.iter().all(|stage| stage.api().is_none()));
        let told = recipe(&["--provider=gemini", "--template=summary_report", "--param=minutes=1"]).unwrap();
        assert_eq!(told.map.iter().filter_map(|stage| stage.api()).count(), 1);
        assert_eq!(write(&told).parameters, [("minutes".to_owned(), "1".to_owned())]);
    }

    #[test]
    fn what_makes_no_sense_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("own.toml");
        let text = "name = \"own\"\nversion = \"1\"\ndescription = \"\"\nlanguage = \"en\"\nprompt = \"\"\nlayout = \"\"\n\
                    [[parameters]]\nname = \"course\"\ndescription = \"which\"\nrequired = true\n";
        std::fs::write(&path, text).unwrap();
        let own = format!("--template={}", path.display());
        for (options, told) in [
            (&["--template=nosuch"][..], "built in are chinese_transcript"),
            (&["--param=x"], "NAME=VALUE"),
            (&["--param=x=1"], "has no parameter `x`; its parameters: focus"),
            (&["--link=ftp://a"], "no http or https address"),
            (&["--pictures=0"], "--pictures 0 is outside 1–32"),
            (&[&own], "needs the parameter `course` (which)"),
        ] {
            let error = recipe(options).unwrap_err();
            assert!(error.contains(told), "{options:?}: {error}");
        }
        assert!(recipe(&[&own, "--param=course=7"]).is_ok());
    }
}
