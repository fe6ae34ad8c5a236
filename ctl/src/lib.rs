//! spindlectl: reads the command line, does one verb, and turns what came of it into an exit code. Knows the daemon by its socket only.

mod console;
mod daemon;
mod doctor;
mod fault;
mod follow;
mod named;
mod output;
mod verb;
mod whole;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser};
use spindle_shared::batch::BatchSpec;
use spindle_shared::client::{Client, ClientError, Which};
use spindle_shared::exit;
use spindle_shared::wire::request::Submission;
use spindle_shared::wire::response::Submitted;

use console::Console;
use daemon::Daemon;
use fault::Fault;
pub use verb::submit::custom::{EXAMPLE as RECIPE_FILE, recipe_of_text};

/// Submits batches of recordings and videos to Spindle, and watches and steers them.
#[derive(Debug, Parser)]
#[command(name = "spindlectl", version, max_term_width = 100, after_help = EXIT_CODES)]
struct Cli {
    /// Socket of the daemon; otherwise the user's if it answers, else the system's
    #[arg(long, global = true, value_name = "PATH", help_heading = "Global options")]
    socket: Option<PathBuf>,
    /// Talk to the system's daemon
    #[arg(long, global = true, conflicts_with = "socket", help_heading = "Global options")]
    system: bool,
    /// Print JSON on standard output: one document, or one object a line where it goes on
    #[arg(long, global = true, help_heading = "Global options")]
    json: bool,
    /// Say nothing but data and errors
    #[arg(short, long, global = true, help_heading = "Global options")]
    quiet: bool,
    #[command(subcommand)]
    verb: verb::Verb,
}

const EXIT_CODES: &str = "\
Exit codes: 0 done, 1 error, 2 usage, 3 some jobs failed, 4 all failed, 5 no daemon, 6 refused (a limit), 7 no such batch or \
job, 8 cancelled, 9 a model is missing, 10 not finished yet, 11 not permitted, 124 out of time, 130 interrupted.";

/// What every verb may use.
struct Context {
    console: Console,
    daemon: Daemon,
    /// The command line as it was read, for what the typed form can't tell: what was named and what is a default.
    matches: ArgMatches,
}

/// Does what a command line says, its first word being the program's name, and gives the exit code (`spindle_shared::exit`).
pub fn run(arguments: &[OsString]) -> u8 {
    let read = Cli::command()
        .try_get_matches_from(arguments)
        .and_then(|matches| Cli::from_arg_matches(&matches).map(|cli| (cli, matches)));
    let (cli, matches) = match read {
        Ok(read) => read,
        Err(error) => return misread(&error, arguments),
    };
    let console = Console::new(cli.json, cli.quiet);
    let daemon = Daemon::new(Which { socket: cli.socket, system: cli.system });
    let context = Context { console, daemon, matches };
    match cli.verb.run(&context) {
        Ok(code) => code,
        Err(fault) => {
            context.console.report(&fault);
            fault.code
        }
    }
}

/// `submit` with all its recipes and options, for whoever makes a form of it.
pub fn submission() -> clap::Command {
    let mut command = Cli::command();
    command.build();
    command.find_subcommand("submit").cloned().unwrap_or(command)
}

/// What a command line of `submit` asks for: finds the inputs, plans the outputs, says nothing and sends nothing.
pub fn prepared(arguments: &[OsString]) -> Result<(BatchSpec, Vec<Submission>), String> {
    let (verb, context) = silent(arguments)?;
    match verb {
        verb::Verb::Submit(submit) => submit.prepared(&context).map_err(|fault| in_words(&fault)),
        _ => Err("this is no submission".to_owned()),
    }
}

/// Submits what a command line asks for over connections of the caller's, and sends the files that the daemon lacks.
pub fn submitted(
    arguments: &[OsString],
    connect: &dyn Fn() -> Result<Client, ClientError>,
) -> Result<Submitted, String> {
    let (spec, inputs) = prepared(arguments)?;
    let sent = verb::submit::send::send_over(connect, spec, &inputs, &mut |_| verb::submit::send::unseen());
    sent.map(|sent| sent.submitted).map_err(|fault| in_words(&fault))
}

/// Does what a command line of `export` asks for, and gives back what it would have said.
pub fn exported(arguments: &[OsString]) -> Result<String, String> {
    let (verb, context) = silent(arguments)?;
    match verb {
        verb::Verb::Export(export) => export.told_only(&context).map_err(|fault| in_words(&fault)),
        _ => Err("this is no export".to_owned()),
    }
}

fn silent(arguments: &[OsString]) -> Result<(verb::Verb, Context), String> {
    let read = Cli::command()
        .try_get_matches_from(arguments)
        .and_then(|matches| Cli::from_arg_matches(&matches).map(|cli| (cli, matches)));
    let (cli, matches) = read.map_err(|error| split_message(&error.render().to_string()).0)?;
    let daemon = Daemon::new(Which { socket: cli.socket, system: cli.system });
    Ok((cli.verb, Context { console: Console::new(false, true), daemon, matches }))
}

fn in_words(fault: &Fault) -> String {
    let hint = fault.hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
    format!("{}{hint}", fault.message)
}

/// Help and version are data; all else that clap says is a mistake of usage.
fn misread(error: &clap::Error, arguments: &[OsString]) -> u8 {
    let told = matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
    );
    let json = arguments.iter().take_while(|argument| *argument != "--").any(|argument| argument == "--json");
    if json && !matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        let text = error.render().to_string();
        let (message, hint) = match told {
            true => ("the command is incomplete".to_owned(), Some("see --help".to_owned())),
            false => split_message(&text),
        };
        let mut fault = Fault::usage(message);
        fault.hint = hint;
        Console::new(true, false).report(&fault);
    } else {
        // Nobody is left to tell where the terminal is gone.
        let _ = error.print();
    }
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => exit::DONE,
        _ => exit::USAGE,
    }
}

/// clap's text into what is wrong (its first paragraph) and what helps (its tips).
fn split_message(text: &str) -> (String, Option<String>) {
    let mut message = Vec::new();
    let mut hint = None;
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if let Some(tip) = line.strip_prefix("tip:") {
            hint.get_or_insert_with(|| tip.trim().to_owned());
        } else if line.starts_with("Usage:") {
            break;
        } else if !line.is_empty() {
            message.push(if at == 0 { line.trim_start_matches("error:").trim() } else { line });
        }
    }
    (message.join(" "), hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_holds_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn claps_errors_become_one_line_and_a_hint() {
        let error = Cli::command().try_get_matches_from(["spindlectl", "lst"]).unwrap_err();
        let (message, hint) = split_message(&error.render().to_string());
        assert_eq!(message, "unrecognized subcommand 'lst'");
        assert!(hint.is_some_and(|hint| hint.contains("'list'")));
    }
}
