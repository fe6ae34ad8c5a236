//! `recipes`: what can be submitted, and what each does with an input.

use clap::{CommandFactory, Subcommand};
use serde::Serialize;
use spindle_shared::exit;
use spindle_shared::recipe::{
    BUILT_IN, CHECK, COMPRESS, CONVERT, CUSTOM, HIGHLIGHTS, IMAGES, PREVIEW, PULL, REPORT, Recipe, SUBTITLES,
};
use spindle_shared::rules;
use spindle_shared::stage::Stage;
use spindle_shared::stage::convert::{Convert, Target};
use spindle_shared::stage::image::{OPERATIONS, PRESETS};
use spindle_shared::stage::pull::Pull;

use crate::fault::Fault;
use crate::output::human;
use crate::output::table::{Align, Table};
use crate::verb::submit::custom::{self, EXAMPLE};
use crate::{Cli, Context};

/// Lists recipes and shows what they do
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true)]
pub struct Recipes {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Lists the recipes
    List,
    /// Shows a recipe's stages and options
    Show {
        #[arg(value_name = "RECIPE")]
        name: String,
    },
}

#[derive(Debug, Serialize)]
struct RecipeJson {
    name: &'static str,
    about: &'static str,
}

#[derive(Debug, Serialize)]
struct StageJson {
    stage: &'static str,
    role: &'static str,
    lane: String,
    timeout_seconds: f64,
}

#[derive(Debug, Serialize)]
struct OptionJson {
    option: String,
    default: Option<String>,
    about: String,
}

#[derive(Debug, Serialize)]
struct ShownJson {
    #[serde(flatten)]
    recipe: RecipeJson,
    stages: Vec<StageJson>,
    gather: Vec<StageJson>,
    options: Vec<OptionJson>,
}

impl Recipes {
    pub fn run(self, context: &Context) -> Result<u8, Fault> {
        match self.action {
            Action::List => list(context),
            Action::Show { name } => show(context, &name),
        }
    }
}

fn list(context: &Context) -> Result<u8, Fault> {
    context.console.either(
        || BUILT_IN.map(|(name, about)| RecipeJson { name, about }),
        || {
            let mut table = Table::new(&[("RECIPE", Align::Left), ("ABOUT", Align::Left)]);
            for (name, about) in BUILT_IN {
                table.row(vec![name.into(), about.into()]);
            }
            table.render(context.console.colour)
        },
    )?;
    Ok(exit::DONE)
}

fn show(context: &Context, name: &str) -> Result<u8, Fault> {
    let unknown = || {
        let names = BUILT_IN.map(|(name, _)| name).join(", ");
        Fault::not_found(format!("there is no recipe `{}`", human::escaped(name))).hint(format!("known are {names}"))
    };
    let (name, about) = BUILT_IN.into_iter().find(|(known, _)| *known == name).ok_or_else(unknown)?;
    let recipe = example(name).ok_or_else(unknown)?;
    let stages: Vec<StageJson> = recipe.map.iter().map(stage).collect();
    let gather: Vec<StageJson> = recipe.gather.iter().map(stage).collect();
    let options = options(name);
    context.console.either(
        || ShownJson { recipe: RecipeJson { name, about }, stages, gather, options },
        || {
            let mut text = format!("{name}: {about}\n\nfor each input:\n");
            let line = |stage: &Stage| {
                let facts = stage.facts();
                format!("  {} (worker {}, lane {})\n", facts.name, facts.role.name(), facts.lane)
            };
            text.extend(recipe.map.iter().map(line));
            if !recipe.gather.is_empty() {
                text.push_str("\nonce, for all of them:\n");
                text.extend(recipe.gather.iter().map(line));
            }
            text.push_str(match name {
                PULL => "\nsubmitted by `spindlectl models pull NAME`\n",
                CHECK => "\nsubmitted by `spindlectl stores check`\n",
                _ => "",
            });
            if name == CUSTOM {
                // A whole file, to begin with: `recipes show custom > mine.toml`.
                return format!(
                    "{}\n{EXAMPLE}",
                    text.lines().map(|line| format!("# {line}").trim_end().to_owned() + "\n").collect::<String>()
                );
            }
            if name == HIGHLIGHTS {
                text.push_str("\na file of rules (--rules), with every key there is:\n");
                text.extend(rules::EXAMPLE.lines().map(|line| format!("  {line}\n")));
            }
            if name == IMAGES {
                text.push_str("\noperations (--op), each on the last one's output:\n");
                text.extend(OPERATIONS.lines().map(|line| format!("  {line}\n")));
                text.push_str("\npresets of `resize`:\n");
                text.extend(PRESETS.map(|(name, width, height)| format!("  {name} = {width}x{height}\n")));
            }
            if ![PULL, CHECK].contains(&name) {
                text.push_str(&format!("\noptions: `spindlectl submit {name} --help`\n"));
            }
            text
        },
    )?;
    Ok(exit::DONE)
}

/// The recipe with its defaults.
fn example(name: &str) -> Option<Recipe> {
    match name {
        SUBTITLES => {
            Some(Recipe::subtitles(Default::default(), Default::default(), Default::default(), Default::default()))
        }
        COMPRESS => Some(Recipe::compress(Default::default(), Default::default())),
        CONVERT => {
            let (to, track, audio_kbps) = (Target::Mp3, None, None);
            let convert = Convert { to, track, audio_kbps, shift_ms: 0, rewrap: false, merge: false, split: false };
            Some(Recipe::convert(convert, Default::default()))
        }
        PREVIEW => Some(Recipe::preview(Default::default(), Default::default())),
        HIGHLIGHTS => {
            Some(Recipe::highlights(Default::default(), Default::default(), Default::default(), Default::default()))
        }
        REPORT => super::submit::report::example(),
        IMAGES => Some(Recipe::images(Default::default(), None, Default::default())),
        CUSTOM => custom::example(),
        CHECK => Some(Recipe::check()),
        PULL => Some(Recipe::pull(Pull {
            name: String::new(),
            url: String::new(),
            file: String::new(),
            bytes: 0,
            sha256: String::new(),
        })),
        _ => None,
    }
}

fn stage(stage: &Stage) -> StageJson {
    let facts = stage.facts();
    StageJson {
        stage: facts.name,
        role: facts.role.name(),
        lane: facts.lane.to_string(),
        timeout_seconds: facts.timeout_ms as f64 / 1_000.0,
    }
}

/// The recipe's own options, from the definition that reads them.
fn options(recipe: &str) -> Vec<OptionJson> {
    let mut command = Cli::command();
    command.build();
    let Some(command) = command.find_subcommand("submit").and_then(|submit| submit.find_subcommand(recipe)) else {
        return Vec::new();
    };
    command
        .get_arguments()
        .filter(|argument| argument.get_help_heading().is_none() && argument.get_id() != "help")
        .filter_map(|argument| {
            let takes_value = argument.get_action().takes_values();
            let default = argument.get_default_values().first().filter(|_| takes_value);
            Some(OptionJson {
                option: format!("--{}", argument.get_long()?),
                default: default.map(|value| value.to_string_lossy().into_owned()).filter(|value| !value.is_empty()),
                about: argument.get_help().map(ToString::to_string).unwrap_or_default(),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_recipe_can_be_shown() {
        for (name, _) in BUILT_IN {
            assert!(example(name).is_some(), "{name}");
        }
        let options = options(SUBTITLES);
        let model = options.iter().find(|option| option.option == "--model").unwrap();
        assert_eq!(model.default.as_deref(), Some("base"));
        assert!(!options.iter().any(|option| option.option == "--priority" || option.option == "--json"));
    }
}
