//! The recipe `highlights` on the command line: how videos are analysed, what of them is chosen, and how that is joined.

use std::path::{Path, PathBuf};

use spindle_shared::provider::ProviderRef;
use spindle_shared::recipe::{self, Recipe};
use spindle_shared::rules::{self, Rules};
use spindle_shared::stage::analyze::Analyze;
use spindle_shared::stage::assemble::Assemble;
use spindle_shared::stage::plan::{Plan, Strategy};
use spindle_shared::stage::publish::Publish;
use spindle_shared::stage::transcribe::{ModelRef, Transcribe};

use super::{RecipeOptions, VIDEO_EXTENSIONS, subtitles};
use crate::output::human;

#[derive(Debug, clap::Args)]
pub struct Highlights {
    #[command(flatten)]
    plan: Plan,
    /// Rules for clips (TOML), for --strategy custom, which they imply; `spindlectl recipes show highlights` tells the language
    #[arg(long, value_name = "FILE")]
    rules: Option<PathBuf>,
    #[command(flatten)]
    assemble: Assemble,
    /// Who analyses the videos and plans the cut: `local`, this machine by measuring, or a model API from `spindlectl providers list`, to which
    /// small pictures and what was measured are sent
    #[arg(long, value_name = "PROVIDER", default_value = LOCAL)]
    analyzer: String,
    /// Have a whisper model listen, too: moments that are spoken of count more, and rules may ask what is said; a name from
    /// `spindlectl models list`, or a file
    #[arg(long, value_name = "NAME|PATH")]
    model: Option<String>,
    #[command(flatten)]
    analyze: Analyze,
}

/// Nobody is asked.
const LOCAL: &str = "local";

impl RecipeOptions for Highlights {
    const NAME: &'static str = recipe::HIGHLIGHTS;
    const PARALLEL: u32 = 5;
    const EXTENSIONS: &'static [&'static str] = &VIDEO_EXTENSIONS;
    const OF_THE_BATCH: &'static [&'static str] =
        &["target-duration", "strategy", "rules", "quality", "fade", "analyzer"];

    fn recipe(self, force: bool) -> Result<Recipe, String> {
        let Highlights { plan, rules, assemble, analyzer, model, analyze } = self;
        let plan = by_rules(plan, rules.map(|path| self::rules(&path)).transpose()?);
        let publish = Publish { force, ..Publish::default() };
        let recipe = match analyzer.as_str() {
            LOCAL => Recipe::highlights(analyze, plan, assemble, publish),
            name => Recipe::highlights_by(ProviderRef::named(name), analyze, plan, assemble, publish),
        };
        let recipe = match model {
            Some(name) => recipe.heard(Transcribe {
                model: ModelRef { name: subtitles::model(&name, Path::new(""))?, ..ModelRef::default() },
                ..Transcribe::default()
            }),
            None => recipe,
        };
        recipe.validate()?;
        Ok(recipe)
    }
}

/// Rules of one's own imply the strategy that asks for them.
pub fn by_rules(plan: Plan, rules: Option<Rules>) -> Plan {
    match rules {
        Some(rules) => Plan { rules: Some(rules), strategy: Strategy::Custom, ..plan },
        None => plan,
    }
}

/// A file of rules.
pub fn rules(path: &Path) -> Result<Rules, String> {
    let shown = human::escaped(&path.to_string_lossy());
    let text = std::fs::read_to_string(path).map_err(|error| format!("--rules {shown}: {error}"))?;
    rules::parse(&text).map_err(|wrong| format!("{shown}:{wrong}"))
}

#[cfg(test)]
mod tests {
    use clap::{Args, FromArgMatches};
    use spindle_shared::stage::Stage;
    use spindle_shared::stage::assemble::Quality;

    use super::*;

    fn recipe(options: &[&str]) -> Result<Recipe, String> {
        let command = Highlights::augment_args(clap::Command::new("test").no_binary_name(true));
        let matches = command.try_get_matches_from(options).map_err(|error| error.to_string())?;
        Highlights::from_arg_matches(&matches).map_err(|error| error.to_string())?.recipe(false)
    }

    #[test]
    fn options_become_stages() {
        let told = recipe(&[]).unwrap();
        assert_eq!(
            told,
            Recipe::highlights(Analyze::default(), Plan::default(), Assemble::default(), Publish::default())
        );
        let told = recipe(&["--target-duration", "60", "--quality=source", "--fade", "--max-duration=30"]).unwrap();
        assert!(matches!(&told.map[1], Stage::Analyze(stage) if stage.longest_seconds == 30));
        assert!(matches!(&told.gather[0], Stage::Plan(stage) if stage.target_duration == Some(60.0)));
        let Stage::Assemble(assemble) = &told.gather[1] else { panic!("{told:?}") };
        assert_eq!(*assemble, Assemble { quality: Quality::Source, fade: Some(0.5) });
        assert!(matches!(&recipe(&["--fade=2"]).unwrap().gather[1], Stage::Assemble(stage) if stage.fade == Some(2.0)));
    }

    #[test]
    fn what_makes_no_sense_is_told() {
        for (options, told) in [
            (&["--target-duration=0"][..], "--target-duration 0 is outside 1–86400"),
            (&["--target-duration=NaN"], "--target-duration NaN is outside 1–86400"),
            (&["--strategy=custom"], "--strategy custom needs --rules FILE"),
            (&["--fade=9"], "--fade 9 is outside 0.1–5"),
            (&["--max-duration=0"], "--max-duration 0 is outside 1–86400"),
            (&["--rules=/nonexistent.toml"], "--rules /nonexistent.toml: No such file or directory (os error 2)"),
        ] {
            assert_eq!(recipe(options).unwrap_err(), told, "{options:?}");
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rules.toml");
        std::fs::write(&path, "[[clip]]\nweight = 0").unwrap();
        let told = recipe(&[&format!("--rules={}", path.display())]).unwrap_err();
        assert_eq!(told, format!("{}:2: weight: 0 is outside 1–10", path.display()));
        std::fs::write(&path, "[[clip]]\nname = \"joy\"\ntext = [\"bravo\"]").unwrap();
        let told = recipe(&[&format!("--rules={}", path.display())]).unwrap_err();
        assert!(told.contains("`joy` asks what is said"), "{told}");
        let recipe = recipe(&[&format!("--rules={}", path.display()), "--model=tiny"]).unwrap();
        let stages: Vec<&str> = recipe.map.iter().map(Stage::name).collect();
        assert_eq!(stages, ["identify", "listen", "transcribe", "analyze"]);
    }
}
