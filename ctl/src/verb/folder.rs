//! `folder`: what is dropped into a watched folder is submitted.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use serde::Serialize;
use spindle_shared::exit;
use spindle_shared::job::PathBytes;
use spindle_shared::wire::request::Request;
use spindle_shared::wire::response::{FolderView, Response};

use crate::fault::Fault;
use crate::output::human;
use crate::output::table::{Align, Table};
use crate::verb::Verb;
use crate::{Cli, Context};

/// Watched folders: what is dropped there is submitted once it has stopped growing
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true)]
pub struct Folders {
    #[command(subcommand)]
    verb: FolderVerb,
}

#[derive(Debug, Subcommand)]
enum FolderVerb {
    /// Watches a folder from now on, over restarts, too; what is there already is taken as well
    ///
    /// Whatever `submit` takes may stand behind the folder, but for what waits, names inputs or dates: `folder add ~/Inbox subtitles --model base
    /// -o ~/Subtitles`. Outputs that exist are kept, unless --force stands there; what Spindle has made is never taken as an input.
    Add {
        /// The folder
        dir: PathBuf,
        /// Those below it, too
        #[arg(short, long)]
        recursive: bool,
        /// As behind `submit`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true, value_name = "RECIPE [OPTIONS]")]
        submit: Vec<String>,
    },
    /// Lists them, with how they stand
    List,
    /// Watches them no more; nothing in them is touched
    Remove {
        /// Numbers, as `folder list` has them
        #[arg(required = true, value_name = "NUMBER")]
        numbers: Vec<u64>,
    },
}

#[derive(Debug, Serialize)]
struct FolderJson {
    folder_id: u64,
    path: String,
    owner: u32,
    submit: Vec<String>,
    recursive: bool,
    /// `watched`, or `unwell`.
    state: &'static str,
    trouble: Option<String>,
    waiting: u32,
    taken: u64,
}

impl From<&FolderView> for FolderJson {
    fn from(view: &FolderView) -> Self {
        FolderJson {
            folder_id: view.id,
            path: view.path.to_string(),
            owner: view.owner.0,
            submit: view.arguments.clone(),
            recursive: view.recursive,
            state: if view.trouble.is_none() { "watched" } else { "unwell" },
            trouble: view.trouble.clone(),
            waiting: view.waiting,
            taken: view.taken,
        }
    }
}

/// Options of `submit` that a folder can't have: it has its inputs, its keys and its time.
const NOT_FOR_FOLDERS: [&str; 12] = [
    "--wait",
    "--follow",
    "--progress-file",
    "--dry-run",
    "--key",
    "--from",
    "--recursive",
    "--at",
    "--after",
    "--after-any",
    "--socket",
    "--system",
];

impl Folders {
    pub fn run(self, context: &Context) -> Result<u8, Fault> {
        let request = match self.verb {
            FolderVerb::List => Request::Folders,
            FolderVerb::Remove { numbers } => Request::FolderRemove(numbers),
            FolderVerb::Add { dir, recursive, submit } => {
                let extensions = checked(&submit)?;
                let path = std::path::absolute(&dir)
                    .map_err(|error| Fault::usage(format!("{}: {error}", human::escaped(&dir.to_string_lossy()))))?;
                let working = std::env::current_dir().map_err(|error| Fault::error(error.to_string()))?;
                Request::FolderAdd {
                    path: PathBytes::from(path.as_path()),
                    working: PathBytes::from(working.as_path()),
                    arguments: submit,
                    extensions,
                    recursive,
                }
            }
        };
        let answers = context.daemon.ask(&request)?;
        let folders: Vec<FolderView> = answers
            .into_iter()
            .filter_map(|response| if let Response::Folders(folders) = response { Some(folders) } else { None })
            .flatten()
            .collect();
        context.console.either(
            || folders.iter().map(FolderJson::from).collect::<Vec<_>>(),
            || match folders.is_empty() {
                true => "no folder is watched\n".to_owned(),
                false => table(&folders).render(context.console.colour),
            },
        )?;
        Ok(exit::DONE)
    }
}

/// What is wrong with it is said now, and not when the first file comes; gives what the recipe takes from folders.
fn checked(submit: &[String]) -> Result<Vec<String>, Fault> {
    let odd = submit.iter().find(|word| {
        let name = word.split('=').next().unwrap_or_default();
        NOT_FOR_FOLDERS.contains(&name) || word.as_str() == "-r"
    });
    if let Some(odd) = odd {
        return Err(Fault::usage(format!("`{}` is nothing for a watched folder", human::escaped(odd))));
    }
    let words = ["spindlectl", "submit"].into_iter().chain(submit.iter().map(String::as_str)).chain(["--", "input"]);
    let parsed = Cli::try_parse_from(words).map_err(|error| Fault::usage(error.to_string().trim_end().to_owned()))?;
    match parsed.verb {
        Verb::Submit(submit) => Ok(submit.extensions().iter().map(|ending| (*ending).to_owned()).collect()),
        _ => Err(Fault::usage("a recipe comes behind the folder")),
    }
}

fn table(folders: &[FolderView]) -> Table {
    let mut table = Table::new(&[
        ("NUMBER", Align::Right),
        ("TAKEN", Align::Right),
        ("WAITING", Align::Right),
        ("STATE", Align::Left),
        ("SUBMITS", Align::Left),
        ("FOLDER", Align::Left),
    ]);
    for folder in folders {
        let state = folder.trouble.as_deref().map_or_else(|| "watched".to_owned(), human::escaped);
        table.row(vec![
            folder.id.to_string().into(),
            folder.taken.to_string().into(),
            folder.waiting.to_string().into(),
            state.into(),
            human::escaped(&folder.arguments.join(" ")).into(),
            folder.path.to_string().into(),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str) -> Result<Vec<String>, Fault> {
        checked(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn what_is_nothing_for_a_folder_is_said_at_once() {
        assert!(check("subtitles --model base -o /tmp/x").unwrap().contains(&"mp4".to_owned()));
        assert!(check("images --op resize=10x10,contain").unwrap().contains(&"jpg".to_owned()));
        for line in [
            "subtitles --wait",
            "subtitles -r",
            "subtitles --key=x",
            "subtitles --speed 3",
            "songs",
            "subtitles --from l.txt",
        ] {
            assert!(check(line).is_err(), "{line}");
        }
    }
}
