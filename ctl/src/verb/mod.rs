//! The verbs, one file each: its options, its help and what it does, side by side.

mod act;
mod backup;
mod cancel;
mod completions;
mod doctor;
mod drain;
mod explain;
mod export;
mod failures;
mod fetch;
mod folder;
mod gc;
mod health;
mod jobs;
mod lanes;
mod list;
mod logs;
mod man;
mod metrics;
mod models;
mod pause;
mod prioritize;
mod profiles;
mod providers;
mod recipes;
mod reload;
mod remove;
mod report;
mod result;
mod resume;
mod retry;
mod shutdown;
mod stats;
mod status;
mod stores;
pub mod submit;
mod wait;
mod watch;
mod workers;

use clap::Subcommand;

use crate::Context;
use crate::fault::Fault;

macro_rules! verbs {
    ($($name:ident($args:ty)),* $(,)?) => {
        #[derive(Debug, Subcommand)]
        pub enum Verb {
            $($name($args),)*
        }

        impl Verb {
            /// Does it; the exit code of what came of it.
            pub fn run(self, context: &Context) -> Result<u8, Fault> {
                match self {
                    $(Verb::$name(verb) => verb.run(context),)*
                }
            }
        }
    };
}

verbs! {
    Submit(submit::Submit),
    List(list::List),
    Status(status::Status),
    Jobs(jobs::Jobs),
    Watch(watch::Watch),
    Wait(wait::Wait),
    Result(result::ResultOf),
    Cancel(cancel::Cancel),
    Pause(pause::Pause),
    Resume(resume::Resume),
    Retry(retry::Retry),
    Prioritize(prioritize::Prioritize),
    Remove(remove::Remove),
    Explain(explain::Explain),
    Report(report::Report),
    Export(export::Export),
    Fetch(fetch::Fetch),
    Failures(failures::Failures),
    Models(models::Models),
    Recipes(recipes::Recipes),
    Profiles(profiles::Profiles),
    Providers(providers::Providers),
    Stores(stores::Stores),
    Stats(stats::StatsOf),
    Metrics(metrics::Metrics),
    Health(health::Health),
    Workers(workers::Workers),
    Lanes(lanes::Lanes),
    Logs(logs::Logs),
    Folder(folder::Folders),
    Gc(gc::Gc),
    Backup(backup::Backup),
    Doctor(doctor::Doctor),
    Drain(drain::Drain),
    Reload(reload::Reload),
    Shutdown(shutdown::Shutdown),
    Completions(completions::Completions),
    Man(man::Man),
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::CommandFactory;

    use crate::Cli;

    /// Every verb that scripts and people may count on, with the verbs below it.
    const CONTRACT: [&str; 57] = [
        "submit",
        "list",
        "status",
        "jobs",
        "watch",
        "wait",
        "result",
        "cancel",
        "pause",
        "resume",
        "retry",
        "prioritize",
        "explain",
        "export",
        "fetch",
        "report",
        "failures",
        "remove",
        "stats",
        "metrics",
        "health",
        "workers",
        "lanes",
        "logs",
        "models",
        "models list",
        "models pull",
        "models verify",
        "models remove",
        "recipes",
        "recipes list",
        "recipes show",
        "profiles",
        "providers",
        "providers check",
        "stores",
        "stores check",
        "folder",
        "folder add",
        "folder list",
        "folder remove",
        "gc",
        "backup",
        "doctor",
        "drain",
        "shutdown",
        "reload",
        "completions",
        "man",
        // Recipes are verbs below `submit`.
        "submit subtitles",
        "submit highlights",
        "submit compress",
        "submit report",
        "submit images",
        "submit convert",
        "submit preview",
        "submit custom",
    ];

    /// Not built yet: each waits for the thing it would speak of. Whoever builds one takes it out of here.
    const MISSING: [&str; 0] = [];

    /// Beyond the contract; they stay until it knows them.
    const MORE: [&str; 3] = ["models languages", "providers list", "stores list"];

    fn defined() -> BTreeSet<String> {
        let mut command = Cli::command();
        command.build();
        let mut names = BTreeSet::new();
        for verb in command.get_subcommands().filter(|verb| verb.get_name() != "help") {
            names.insert(verb.get_name().to_owned());
            for below in verb.get_subcommands().filter(|below| below.get_name() != "help") {
                names.insert(format!("{} {}", verb.get_name(), below.get_name()));
            }
        }
        names
    }

    #[test]
    fn the_contracts_verbs_are_there_or_named_as_missing() {
        let promised: BTreeSet<String> = CONTRACT.map(str::to_owned).into();
        let missing: BTreeSet<String> = MISSING.map(str::to_owned).into();
        let more: BTreeSet<String> = MORE.map(str::to_owned).into();
        let expected: BTreeSet<String> = promised.difference(&missing).chain(&more).cloned().collect();
        assert!(missing.is_subset(&promised), "{:?}", missing.difference(&promised));
        assert_eq!(defined(), expected);
    }

    #[test]
    fn every_verb_says_what_it_does_in_one_line() {
        let command = Cli::command();
        for verb in command.get_subcommands() {
            let about = verb.get_about().map(ToString::to_string).unwrap_or_default();
            assert!(!about.is_empty() && !about.contains('\n'), "{}: {about:?}", verb.get_name());
        }
    }
}
