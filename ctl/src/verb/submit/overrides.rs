//! Options per input: a list's columns are the recipe's own options, read by the very definition that reads the command line.

use std::collections::HashMap;
use std::ffi::OsString;

use clap::parser::ValueSource;
use clap::{ArgAction, ArgMatches, Command};
use spindle_shared::stage::Stage;

use super::RecipeOptions;
use crate::split_message;

pub struct Overrides {
    command: Command,
    /// The recipe's options as they were given for the whole batch.
    given: Vec<(String, OsString)>,
    force: bool,
    of_the_batch: &'static [&'static str],
    /// Rows repeat each other: ten thousand inputs have three languages.
    known: HashMap<Vec<(String, String)>, Vec<Stage>>,
}

impl Overrides {
    pub fn new<R: RecipeOptions>(matches: &ArgMatches, force: bool) -> Self {
        let command = R::augment_args(
            Command::new(R::NAME).no_binary_name(true).args_override_self(true).disable_help_flag(true),
        );
        let mut given = Vec::new();
        for argument in command.get_arguments() {
            let id = argument.get_id().as_str();
            let Some(long) = argument.get_long() else { continue };
            if matches.value_source(id) != Some(ValueSource::CommandLine) {
                continue;
            }
            if is_flag(argument.get_action()) {
                given.push((long.to_owned(), format!("--{long}").into()));
            } else {
                for value in matches.get_raw(id).into_iter().flatten() {
                    let mut word = OsString::from(format!("--{long}="));
                    word.push(value);
                    given.push((long.to_owned(), word));
                }
            }
        }
        Overrides { command, given, force, of_the_batch: R::OF_THE_BATCH, known: HashMap::new() }
    }

    /// What a list may have as columns.
    pub fn columns(&self) -> Vec<String> {
        let longs = self.command.get_arguments().filter_map(|argument| argument.get_long());
        longs.filter(|long| !self.of_the_batch.contains(long)).map(str::to_owned).collect()
    }

    /// The stages of an input with parameters of its own.
    pub fn stages<R: RecipeOptions>(&mut self, row: &[(String, String)]) -> Result<Vec<Stage>, String> {
        if let Some(stages) = self.known.get(row) {
            return Ok(stages.clone());
        }
        let words = self.words(row)?;
        let matches = self.command.try_get_matches_from_mut(words).map_err(|error| told(&error))?;
        let options = R::from_arg_matches(&matches).map_err(|error| told(&error))?;
        let stages = options.recipe(self.force)?.map;
        self.known.insert(row.to_vec(), stages.clone());
        Ok(stages)
    }

    fn words(&self, row: &[(String, String)]) -> Result<Vec<OsString>, String> {
        let mut words = self.given.clone();
        for (column, value) in row {
            let flag = self
                .command
                .get_arguments()
                .any(|argument| argument.get_long() == Some(column) && is_flag(argument.get_action()));
            // An input's own value takes the batch's place, where an option may come several times, too.
            words.retain(|(long, _)| long != column);
            if flag {
                if truth(value).ok_or_else(|| format!("the column `{column}` is yes or no, not `{value}`"))? {
                    words.push((column.clone(), format!("--{column}").into()));
                }
            } else {
                words.push((column.clone(), format!("--{column}={value}").into()));
            }
        }
        Ok(words.into_iter().map(|(_, word)| word).collect())
    }
}

fn is_flag(action: &ArgAction) -> bool {
    matches!(action, ArgAction::SetTrue | ArgAction::SetFalse)
}

fn truth(text: &str) -> Option<bool> {
    match text.to_lowercase().as_str() {
        "true" | "yes" | "1" | "on" => Some(true),
        "false" | "no" | "0" | "off" => Some(false),
        _ => None,
    }
}

fn told(error: &clap::Error) -> String {
    split_message(&error.render().to_string()).0
}

#[cfg(test)]
mod tests {
    use clap::Args;
    use spindle_shared::stage::subtitle::Format;

    use super::super::subtitles::Subtitles;
    use super::*;

    fn overrides(command_line: &[&str]) -> Overrides {
        let command = Subtitles::augment_args(Command::new("test").no_binary_name(true));
        Overrides::new::<Subtitles>(&command.try_get_matches_from(command_line).unwrap(), false)
    }

    fn row(cells: &[(&str, &str)]) -> Vec<(String, String)> {
        cells.iter().map(|(column, value)| ((*column).to_owned(), (*value).to_owned())).collect()
    }

    fn parts(stages: &[Stage]) -> (Option<String>, bool, String, Vec<Format>, u32) {
        let transcribe = stages.iter().find_map(|stage| match stage {
            Stage::Transcribe(transcribe) => Some(transcribe),
            _ => None,
        });
        let subtitle = stages.iter().find_map(|stage| match stage {
            Stage::Subtitle(subtitle) => Some(subtitle),
            _ => None,
        });
        let (transcribe, subtitle) = (transcribe.unwrap(), subtitle.unwrap());
        let shape = subtitle.shape.lines_max;
        (
            transcribe.language.clone(),
            transcribe.translate,
            transcribe.model.name.clone(),
            subtitle.formats.clone(),
            shape,
        )
    }

    #[test]
    fn a_row_goes_over_the_command_line_and_leaves_the_rest() {
        let mut overrides = overrides(&["--language", "en", "--model", "small", "--translate", "--max-lines=1"]);
        let stages = overrides.stages::<Subtitles>(&row(&[("language", "German"), ("format", "vtt")])).unwrap();
        assert_eq!(parts(&stages), (Some("de".to_owned()), true, "small".to_owned(), vec![Format::Vtt], 1));
        let stages = overrides.stages::<Subtitles>(&row(&[("translate", "no"), ("model", "base")])).unwrap();
        assert_eq!(
            parts(&stages),
            (Some("en".to_owned()), false, "base".to_owned(), vec![Format::Srt, Format::Vtt], 1)
        );
    }

    #[test]
    fn wrong_values_say_which() {
        let mut overrides = overrides(&[]);
        let message = overrides.stages::<Subtitles>(&row(&[("language", "klingon")])).unwrap_err();
        assert!(message.contains("klingon") && message.contains("--language"), "{message}");
        let message = overrides.stages::<Subtitles>(&row(&[("translate", "maybe")])).unwrap_err();
        assert!(message.contains("maybe"), "{message}");
        let message = overrides.stages::<Subtitles>(&row(&[("beam-size", "9")])).unwrap_err();
        assert!(message.contains("1–8"), "{message}");
    }

    #[test]
    fn a_value_is_never_taken_for_an_option() {
        let mut overrides = overrides(&[]);
        let stages = overrides.stages::<Subtitles>(&row(&[("prompt", "--translate")])).unwrap();
        assert!(!parts(&stages).1);
    }

    #[test]
    fn columns_are_the_recipes_own_options() {
        let columns = overrides(&[]).columns();
        assert!(columns.iter().any(|column| column == "language") && columns.iter().any(|column| column == "track"));
        assert!(!columns.iter().any(|column| column == "priority" || column == "help"), "{columns:?}");
    }
}
