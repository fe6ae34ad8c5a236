//! The reference in `docs/reference/`: made from the definitions that the programs go by, and found out of date where it differs from them.
//!
//! `SPINDLE_REWRITE=1 cargo nextest run --workspace -E 'test(reference)'` writes it anew.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use clap::{Arg, ArgAction, Command};
use serde_json::Value;
use spindle_core::retry::Policy;
use spindle_shared::exit;
use spindle_shared::failure::FailureKind;
use spindle_shared::recipe::BUILT_IN;
use spindle_tests::harness::Daemon;

const ANEW: &str = "Made from the programs' own definitions; a test holds it to them";

/// The page must be as it is written; or it is written so.
fn keep(name: &str, text: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference");
    let path = folder.join(name);
    let text = format!("{}\n", text.trim_end());
    if std::env::var_os("SPINDLE_REWRITE").is_some() {
        fs::create_dir_all(folder).unwrap();
        fs::write(&path, &text).unwrap();
    }
    let there = fs::read_to_string(&path).unwrap_or_default();
    let differs = there.lines().zip(text.lines()).find(|(there, made)| there != made);
    assert!(there == text, "docs/reference/{name} is out of date ({differs:?}): SPINDLE_REWRITE=1 makes it anew");
}

fn cell(text: &str) -> String {
    text.trim().replace('|', "\\|").replace('\n', " ").replace('<', "\\<")
}

/// `-o`, `--output DIR`
fn option_of(arg: &Arg) -> String {
    let mut names = Vec::new();
    names.extend(arg.get_short().map(|short| format!("`-{short}`")));
    let value = value_of(arg);
    match arg.get_long() {
        Some(long) if value.is_empty() => names.push(format!("`--{long}`")),
        Some(long) => names.push(format!("`--{long} {value}`")),
        None => names.push(format!("`{value}`")),
    }
    // A bar ends a table's cell, in code too.
    names.join(", ").replace('|', "\\|")
}

fn value_of(arg: &Arg) -> String {
    if !matches!(arg.get_action(), ArgAction::Set | ArgAction::Append) {
        return String::new();
    }
    let names = arg.get_value_names().map(|names| names.iter().map(|name| name.to_string()).collect::<Vec<_>>());
    names.map_or_else(|| arg.get_id().to_string().to_uppercase(), |names| names.join(" "))
}

fn meaning_of(arg: &Arg) -> String {
    let help = arg.get_long_help().or(arg.get_help()).map(ToString::to_string).unwrap_or_default();
    let mut text = cell(&help);
    if value_of(arg).is_empty() {
        return text;
    }
    let known: Vec<String> = arg
        .get_possible_values()
        .iter()
        .filter(|value| !value.is_hide_set())
        .map(|value| match value.get_help() {
            Some(help) => format!("`{}` {}", value.get_name(), cell(&help.to_string())),
            None => format!("`{}`", value.get_name()),
        })
        .collect();
    if !known.is_empty() {
        let _ = write!(text, ": {}", known.join("; "));
    }
    let default: Vec<_> = arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
    if default.iter().any(|value| !value.is_empty()) && !help.contains("[default") {
        let _ = write!(text, ". Default: `{}`", default.join(" "));
    }
    text
}

fn table<'a>(text: &mut String, args: impl IntoIterator<Item = &'a Arg>) {
    let rows: Vec<_> = args.into_iter().map(|arg| format!("| {} | {} |", option_of(arg), meaning_of(arg))).collect();
    if !rows.is_empty() {
        let _ = writeln!(text, "| option | meaning |\n|---|---|\n{}\n", rows.join("\n"));
    }
}

/// What a verb has beside that every verb has.
fn own_args<'a>(command: &'a Command, heading: Option<&'a str>) -> impl Iterator<Item = &'a Arg> {
    command.get_arguments().filter(move |arg| {
        !arg.is_hide_set() && !["help", "version"].contains(&arg.get_id().as_str()) && arg.get_help_heading() == heading
    })
}

fn verb(text: &mut String, command: &Command, name: &str, level: usize) {
    let about = command.get_long_about().or(command.get_about()).map(ToString::to_string).unwrap_or_default();
    let headings = [None, Some("Batch options"), Some("Global options")];
    let lost = command.get_arguments().find(|arg| !headings.contains(&arg.get_help_heading()));
    assert!(lost.is_none(), "{name}: {lost:?} stands under a heading that isn't looked for");
    let _ = writeln!(text, "{} {name}\n\n{}.\n", "#".repeat(level), about.trim_end().trim_end_matches('.'));
    table(text, own_args(command, None));
    for below in command.get_subcommands().filter(|below| below.get_name() != "help" && !below.is_hide_set()) {
        verb(text, below, &format!("{name} {}", below.get_name()), level + 1);
    }
}

#[test]
fn reference_of_spindlectl() {
    let definition = spindle_ctl::definition();
    let mut text = format!("# spindlectl\n\n*{ANEW}.*\n\n`spindlectl [OPTIONS] VERB …`\n\n");
    table(&mut text, own_args(&definition, Some("Global options")));
    text.push_str("## Exit codes\n\n| code | meaning |\n|--:|---|\n");
    for (code, meaning) in exit::ALL {
        let _ = writeln!(text, "| {code} | {meaning} |");
    }
    text.push_str(
        "\nErrors are one line `error: …` on standard error, with a line `hint: …` where there is one; with `--json` a document \
         `{\"error\":{\"code\":…,\"kind\":…,\"message\":…,\"hint\":…}}`.\n\n",
    );
    let submit = definition.find_subcommand("submit").unwrap();
    for command in definition.get_subcommands().filter(|command| command.get_name() != "help") {
        verb(&mut text, command, command.get_name(), 2);
        if command.get_name() == "submit" {
            text.push_str("### Options of every recipe\n\n");
            table(&mut text, own_args(submit.get_subcommands().next().unwrap(), Some("Batch options")));
        }
    }
    keep("spindlectl.md", &text);
}

#[test]
fn reference_of_failures() {
    let mut text = format!(
        "# Kinds of failure\n\n*{ANEW}.*\n\nA failed job has a kind, a message and an advice (`explain`, `failures`, `--json`). Where the place of \
         the failure knows nothing more exact, the advice is this. What may pass by itself is tried again, after a wait that grows; `--retries N` \
         takes the place of the number for these kinds.\n\n| kind | tries | first wait, longest | what to do |\n|---|--:|---|---|\n"
    );
    for kind in FailureKind::ALL {
        let Policy { tries, first_wait_ms, wait_ms_max, .. } = Policy::of(kind);
        let tries_told = if tries == u32::MAX { "until it passes".to_owned() } else { tries.to_string() };
        let waits = if tries > 1 {
            format!("{} s, {} s", first_wait_ms / 1_000, wait_ms_max / 1_000)
        } else {
            "–".to_owned()
        };
        let _ = writeln!(text, "| `{}` | {tries_told} | {waits} | {} |", kind.name(), cell(kind.advice()));
    }
    keep("failures.md", &text);
}

#[test]
fn reference_of_metrics() {
    let daemon = Daemon::scripted().start();
    let metrics = daemon.json("metrics");
    let mut text = format!(
        "# Metrics\n\n*{ANEW}.*\n\n`spindlectl metrics` prints them as Prometheus reads them. Names and labels stay as they are; labels take their \
         values from closed lists. Counters begin at 0 with the daemon.\n\n| metric | kind | labels | meaning |\n|---|---|---|---|\n"
    );
    for metric in metrics.as_array().unwrap_or_else(|| panic!("{metrics}")) {
        let word = |key: &str| metric[key].as_str().unwrap_or_default();
        let mut labels: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for sample in metric["samples"].as_array().into_iter().flatten() {
            for (label, value) in sample["labels"].as_object().into_iter().flatten() {
                labels.entry(label).or_default().push(value.as_str().unwrap_or_default());
            }
        }
        let labels: Vec<String> = labels
            .iter()
            .map(|(label, values)| match *label {
                // Different with each version and machine, and with what was done.
                "version" | "stage" | "lane" => format!("`{label}`"),
                _ => format!("`{label}`: {}", values.join(", ")),
            })
            .collect();
        let _ = writeln!(
            text,
            "| `{}` | {} | {} | {} |",
            word("name"),
            word("kind"),
            labels.join("; "),
            cell(word("help"))
        );
    }
    keep("metrics.md", &text);
}

/// A key of the sample with what stands above it.
#[derive(Default)]
struct Key {
    name: String,
    value: String,
    /// Whether leaving it out means what stands there.
    is_default: bool,
    about: String,
}

#[test]
fn reference_of_configuration() {
    let sample = include_str!("../../../packaging/spindled.toml");
    let mut text =
        format!("# Configuration\n\n*{ANEW}: [packaging/spindled.toml](../../packaging/spindled.toml).*\n\n");
    let (mut above, mut keys): (Vec<&str>, Vec<Key>) = (Vec::new(), Vec::new());
    let mut section = "";
    let mut example = Vec::new();
    let flush = |text: &mut String, section: &str, keys: &mut Vec<Key>| {
        if !keys.is_empty() {
            text.push_str("| key | default | environment | meaning |\n|---|---|---|---|\n");
        }
        for key in keys.drain(..) {
            let default =
                if key.is_default { format!("`{}`", key.value) } else { format!("– (e.g. `{}`)", key.value) };
            let variable = format!("SPINDLE_{}__{}", section.to_uppercase(), key.name.to_uppercase());
            let _ = writeln!(text, "| `{}` | {default} | `{variable}` | {} |", key.name, cell(&key.about));
        }
        text.push('\n');
    };
    for line in sample.lines().chain([""]) {
        let comment = line.strip_prefix('#').map(|rest| rest.strip_prefix(' ').unwrap_or(rest));
        let assigned = comment
            .unwrap_or(line)
            .split_once(" = ")
            .filter(|(key, _)| key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'));
        if let Some(shown) = line.strip_prefix("#   ") {
            example.push(shown);
        } else if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            flush(&mut text, section, &mut keys);
            section = name;
            let _ = writeln!(text, "## `[{name}]`\n\n{}\n", above.join(" "));
            above.clear();
        } else if let Some((name, value)) = assigned {
            let about = above.join(" ");
            above.clear();
            let key = Key { name: name.to_owned(), value: value.to_owned(), is_default: comment.is_none(), about };
            keys.push(key);
        } else if let Some(comment) = comment {
            if !comment.is_empty() {
                above.push(comment);
            }
        } else if line.is_empty() {
            flush(&mut text, section, &mut keys);
            // What stands alone is about what follows it, or introduces an example.
            if !above.is_empty() {
                let name = example.first().map(|first: &&str| first.trim().to_owned());
                if let Some(name) = name {
                    let _ = writeln!(text, "## `{name}`\n");
                }
                let _ = writeln!(text, "{}\n", above.join(" "));
                above.clear();
            }
            if !example.is_empty() {
                let _ = writeln!(text, "```toml\n{}\n```\n", example.join("\n"));
                example.clear();
            }
        }
    }
    let parsed: toml::Table = toml::from_str(sample).unwrap();
    assert!(parsed.keys().all(|section| text.contains(&format!("## `[{section}]`"))), "a section is left out");
    while text.contains("\n\n\n") {
        text = text.replace("\n\n\n", "\n\n");
    }
    keep("configuration.md", &text);
}

#[test]
fn reference_of_recipes() {
    let daemon = Daemon::scripted().start();
    let mut text = format!(
        "# Recipes\n\n*{ANEW}.*\n\nAs `spindlectl recipes show NAME` tells them; options: [spindlectl](spindlectl.md#submit).\n"
    );
    for (name, _) in BUILT_IN {
        let shown = daemon.ctl(["recipes", "show", name]).expect(0).out;
        let _ = write!(text, "\n## {name}\n\n```text\n{}\n```\n", shown.trim_end());
    }
    keep("recipes.md", &text);
}

#[test]
fn reference_of_the_other_programs() {
    let daemon = Daemon::scripted().stopped();
    let said = |program: &str, arguments: &[&str]| {
        let mut command = daemon.command(program);
        let output = command.args(arguments).output().unwrap();
        assert!(output.status.success(), "{program} {arguments:?}");
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    };
    let text = format!("# spindled\n\n*{ANEW}.*\n\n```text\n{}\n```\n", said("spindled", &["--help"]));
    keep("spindled.md", &text);
    let text = format!(
        "# spindletop\n\n*{ANEW}.*\n\n```text\n{}\n```\n\n## Keys\n\n```text\n{}\n```\n",
        said("spindletop", &["--help"]),
        said("spindletop", &["--keys"])
    );
    keep("spindletop.md", &text);
}

/// What the JSON of a metric has, so that the page above is made of something.
#[test]
fn metrics_have_names_and_help() {
    let metrics = Daemon::scripted().start().json("metrics");
    let named = |metric: &Value| metric["name"].is_string() && metric["help"].is_string() && metric["kind"].is_string();
    assert!(metrics.as_array().is_some_and(|metrics| metrics.len() > 10 && metrics.iter().all(named)), "{metrics}");
}
