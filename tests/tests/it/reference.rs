//! The reference in `docs/reference/`: made from the definitions that the programs go by, and found out of date where it differs from them.
//!
//! `SPINDLE_REWRITE=1 cargo nextest run --workspace -E 'test(reference)'` writes it anew.

use std::collections::{BTreeMap, BTreeSet};
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

/// The programs' own sources, by their places, without tests.
fn sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let parts = ["shared", "daemon", "daemon/core", "daemon/worker", "ctl", "tui"];
    let mut open: Vec<_> = parts.iter().map(|part| root.join(part).join("src")).collect();
    let mut found = Vec::new();
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && name != "tests" {
                open.push(path);
            } else if name.ends_with(".rs") && !name.ends_with("tests.rs") {
                let text = fs::read_to_string(&path).unwrap();
                let own = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default().to_owned();
                found.push((path.strip_prefix(&root).unwrap().display().to_string(), own));
            }
        }
    }
    assert!(found.len() > 200, "{}", found.len());
    found
}

/// Texts in quotes that are made of such letters alone, each with what stands before it.
fn quoted(text: &str, is_letter: fn(char) -> bool) -> impl Iterator<Item = (&str, &str)> {
    text.match_indices('"').filter_map(move |(at, _)| {
        let rest = &text[at + 1..];
        let end = rest.find(|letter| !is_letter(letter)).filter(|end| *end > 2 && rest[*end..].starts_with('"'))?;
        Some((text[..at].trim_end(), &rest[..end]))
    })
}

/// Variables that the programs read: those that a call names, Spindle's own, and, in a file that goes through a list of them, whatever looks like one.
fn variables_read() -> BTreeSet<String> {
    const OTHER_WORDS: [&str; 3] = ["CARGO_PKG_VERSION", "RESOURCE_EXHAUSTED", "SPINDLE_"];
    let mut read = BTreeSet::new();
    for (_, text) in sources() {
        let listed = text.match_indices("env::var").any(|(at, _)| {
            let argument = text[at..].split_once('(').map_or("", |(_, rest)| rest).trim_start_matches('*');
            argument.starts_with("variable)") || argument.starts_with("name)")
        });
        let calls = ["var(", "var_os(", "variable(", "base("];
        let is_letter = |letter: char| letter.is_ascii_uppercase() || letter.is_ascii_digit() || letter == '_';
        let names = quoted(&text, is_letter).filter(|(before, name)| {
            name.starts_with(|first: char| first.is_ascii_uppercase())
                && (listed || calls.iter().any(|call| before.ends_with(call)) || name.starts_with("SPINDLE_"))
        });
        read.extend(names.map(|(_, name)| name.to_owned()).filter(|name| !OTHER_WORDS.contains(&name.as_str())));
    }
    read
}

const PASSED_ON: &str = "passed on to commands of notifications";

/// What is read of the environment, by which program, and what for.
const ENVIRONMENT: &[(&str, &str, &str)] = &[
    ("SPINDLE_SOCKET", "all", "the daemon's socket, instead of `$XDG_RUNTIME_DIR/spindle/spindled.sock`"),
    ("SPINDLE_CONFIG", "spindled", "the configuration, instead of `$XDG_CONFIG_HOME/spindle/spindled.toml`"),
    ("SPINDLE_STATE_DIR", "spindled", "the state folder, instead of `$XDG_STATE_HOME/spindle`"),
    ("SPINDLE_MODEL_DIR", "spindled, spindlectl", "the model folder, instead of `$XDG_DATA_HOME/spindle/models`"),
    ("SPINDLE_LOG", "spindled", "what is logged (`debug`, `warn,spindled=debug`), whatever `log.level` says"),
    ("SPINDLE_WORKER", "spindled, spindlectl doctor", "the worker program, instead of the one beside the daemon"),
    (
        "SPINDLE_MODELS__MIRROR",
        "spindled, spindlectl models",
        "address that takes the publisher's place, as `models.mirror`",
    ),
    ("XDG_RUNTIME_DIR", "all", "where the socket lies; without it `/tmp/spindle-UID`"),
    ("XDG_CONFIG_HOME", "spindled", "where the configuration lies; without it `~/.config`"),
    ("XDG_STATE_HOME", "spindled", "where the state folder lies; without it `~/.local/state`"),
    ("XDG_DATA_HOME", "spindled, spindlectl", "where the model folder lies; without it `~/.local/share`"),
    ("HOME", "all", "where `~` is"),
    ("PATH", "spindled, spindlectl doctor", "where `yt-dlp` is looked for, and commands of notifications"),
    ("NO_COLOR", "spindlectl, spindletop", "no colour, if it is not empty"),
    ("TERM", "spindlectl, spindletop", "what the terminal can; `dumb` gets plain lines"),
    ("COLORTERM", "spindletop", "whether the terminal has all colours"),
    ("TERM_PROGRAM", "spindletop", "how the terminal shows pictures"),
    ("KITTY_WINDOW_ID", "spindletop", "how the terminal shows pictures"),
    ("TMUX", "spindletop", "inside of it pictures are made of half blocks"),
    ("STY", "spindletop", "inside of `screen` pictures are made of half blocks"),
    ("LC_ALL", "spindletop", "language, and whether the terminal shows UTF-8"),
    ("LC_CTYPE", "spindletop", "whether the terminal shows UTF-8"),
    ("LC_MESSAGES", "spindletop", "language"),
    ("LANG", "spindletop", "language, and whether the terminal shows UTF-8"),
    ("LANGUAGE", "spindletop", "language"),
    ("OPENAI_API_KEY", "worker", "key of the model API `openai`, unless its section names others"),
    ("GEMINI_API_KEY", "worker", "key of the model API `gemini`, unless its section names others"),
    ("DASHSCOPE_API_KEY", "worker", "key of the model API `dashscope`, unless its section names others"),
    ("TESSDATA_PREFIX", "worker", "where the data of text recognition lie"),
    ("LD_LIBRARY_PATH", "worker", "where else libraries lie; the walls let them be read"),
    ("VK_ICD_FILENAMES", "worker", "Vulkan's drivers; the walls let them be read"),
    ("VK_DRIVER_FILES", "worker", "Vulkan's drivers; the walls let them be read"),
    ("SSL_CERT_FILE", "worker", "certificates of a network that has its own; the walls let them be read"),
    ("SSL_CERT_DIR", "worker", "certificates of a network that has its own; the walls let them be read"),
    (
        "CREDENTIALS_DIRECTORY",
        "spindled, worker",
        "systemd's: where keys lie that the configuration names as `credential:NAME`",
    ),
    ("NOTIFY_SOCKET", "spindled", "systemd's: who is told that it is ready and alive"),
    ("JOURNAL_STREAM", "spindled", "systemd's: whether standard error is the journal"),
    ("DBUS_SESSION_BUS_ADDRESS", "spindled", PASSED_ON),
    ("DISPLAY", "spindled", PASSED_ON),
    ("WAYLAND_DISPLAY", "spindled", PASSED_ON),
    ("LOGNAME", "spindled", PASSED_ON),
    ("USER", "spindled", PASSED_ON),
    ("SHELL", "spindled", PASSED_ON),
];

#[test]
fn reference_of_the_environment() {
    let told: BTreeSet<String> = ENVIRONMENT.iter().map(|(name, ..)| (*name).to_owned()).collect();
    assert_eq!(told, variables_read(), "what is told of the environment, and what the programs read of it");
    let mut text = format!(
        "# Environment\n\n*{ANEW}.*\n\nEvery key of the [configuration](configuration.md) has a variable, too: `SPINDLE_SECTION__KEY`. The configuration may name \
         others, with keys in them (`env:NAME`).\n\n| variable | read by | what it is |\n|---|---|---|\n"
    );
    for (name, who, meaning) in ENVIRONMENT {
        let _ = writeln!(text, "| `{name}` | {who} | {} |", cell(meaning));
    }
    keep("environment.md", &text);
}

/// Options of the worker program, which has no use for a library to read them.
const WORKER: &[(&str, &str)] = &[
    ("--features", "say as JSON which codecs and languages of text recognition there are, and end"),
    ("--devices", "say as JSON which graphics cards this build can use, and end"),
    (
        "--probe FOLDER",
        "put up the walls of the role, try to get out of them, to FOLDER among others, say as JSON what came of it, and end; 1 = not all was refused",
    ),
    ("--role ROLE", "`media`, `speech`, `vision`, `files` or `net`"),
    ("--device N", "work on the graphics card `gpu:N`"),
    ("--state FOLDER", "the daemon's state folder, for the walls; without it there are none"),
    ("--models FOLDER", "the model folder, for the walls"),
    ("--program FILE", "a program that the role `net` may start"),
];

#[test]
fn reference_of_the_worker() {
    let read: BTreeSet<String> = sources()
        .iter()
        .filter(|(path, _)| ["daemon/worker/src/main.rs", "daemon/worker/src/walls.rs"].contains(&path.as_str()))
        .flat_map(|(_, text)| quoted(text, |letter| letter.is_ascii_lowercase() || letter == '-'))
        .filter_map(|(_, name)| name.strip_prefix("--").filter(|rest| rest.starts_with(|first: char| first != '-')))
        .map(|name| format!("--{name}"))
        .collect();
    let told = WORKER.iter().map(|(option, _)| option.split(' ').next().unwrap_or_default().to_owned());
    assert_eq!(told.collect::<BTreeSet<_>>(), read, "options that are told of, and that the worker reads");
    let mut text = format!(
        "# spindle-worker\n\n*{ANEW}.*\n\nThe daemon starts it, with a channel as its descriptor 3. For a person there are `--features` and `--devices`; \
         `spindlectl doctor` asks for the first, and tries the walls.\n\n| option | meaning |\n|---|---|\n"
    );
    for (option, meaning) in WORKER {
        let _ = writeln!(text, "| `{option}` | {} |", cell(meaning));
    }
    keep("spindle-worker.md", &text);
}

/// `--name`s in a text.
fn options_in(text: &str) -> BTreeSet<String> {
    text.split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '-'))
        .filter(|word| word.starts_with("--") && word[2..].starts_with(|first: char| first.is_ascii_lowercase()))
        .map(str::to_owned)
        .collect()
}

/// Every option of a command and of those below it.
fn options_of(command: &Command) -> BTreeSet<String> {
    let own = command.get_arguments().filter(|arg| !["help", "version"].contains(&arg.get_id().as_str()));
    own.filter_map(|arg| arg.get_long().map(|long| format!("--{long}")))
        .chain(command.get_subcommands().flat_map(options_of))
        .collect()
}

#[test]
fn every_option_is_in_the_reference_and_no_other() {
    let page = include_str!("../../../docs/reference/spindlectl.md");
    let first_cells = page.lines().filter_map(|line| line.strip_prefix("| `")?.split(" | ").next());
    let told: BTreeSet<String> = first_cells.flat_map(options_in).collect();
    let defined = options_of(&spindle_ctl::definition());
    assert!(defined.len() > 60, "{defined:?}");
    assert_eq!(told, defined, "options in spindlectl.md, and of spindlectl");
    // What is hidden stands in no help, and so not in the pages that are made of it.
    let hides = |(path, text): &(String, String)| text.contains("hide = true").then(|| path.clone());
    assert_eq!(sources().iter().filter_map(hides).collect::<Vec<_>>(), [""; 0]);
    for (page, program) in [
        (include_str!("../../../docs/reference/spindled.md"), "daemon/src/main.rs"),
        (include_str!("../../../docs/reference/spindletop.md"), "tui/src/main.rs"),
    ] {
        let (_, source) = sources().into_iter().find(|(path, _)| path == program).unwrap();
        let told: BTreeSet<String> =
            options_in(page).into_iter().filter(|name| !["--help", "--version"].contains(&name.as_str())).collect();
        // An option's field follows upon `#[arg(long …)]`.
        let fields =
            source.split("#[arg(").skip(1).filter(|rest| rest.split(")]").next().unwrap_or("").contains("long"));
        let named = fields.filter_map(|rest| {
            let field =
                rest.lines().skip(1).map(str::trim).find(|line| !line.starts_with('#') && !line.starts_with("//"))?;
            Some(format!("--{}", field.split(':').next()?.trim_start_matches("pub ").replace('_', "-")))
        });
        assert_eq!(told, named.collect(), "options in the page of {program}, and in the program");
    }
}

#[test]
fn every_exit_code_is_in_the_reference_and_no_other() {
    let source = include_str!("../../../shared/src/exit.rs");
    let defined: BTreeSet<u8> = source
        .lines()
        .filter_map(|line| line.strip_prefix("pub const ")?.split_once(": u8 = ")?.1.strip_suffix(';')?.parse().ok())
        .collect();
    let page = include_str!("../../../docs/reference/spindlectl.md");
    let table = page.split("## Exit codes").nth(1).unwrap().split("\n\n").nth(1).unwrap();
    let told: BTreeSet<u8> =
        table.lines().filter_map(|line| line.strip_prefix("| ")?.split(" |").next()?.parse().ok()).collect();
    assert_eq!(told, defined, "exit codes in spindlectl.md, and in exit.rs");
    // A program ends by a name of that list. The worker answers to the daemon alone.
    for (path, text) in sources().iter().filter(|(path, _)| !path.starts_with("daemon/worker/")) {
        for call in ["ExitCode::from(", "process::exit("] {
            for (at, _) in text.match_indices(call) {
                let rest = &text[at + call.len()..];
                assert!(rest.starts_with(|first: char| !first.is_ascii_digit()), "{path} ends by a number");
            }
        }
    }
    // What other pages say of codes.
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut pages = vec![docs.join("README.md"), docs.join("docs/operations.md"), docs.join("docs/graphics-cards.md")];
    pages.extend(fs::read_dir(docs.join("docs/guide")).unwrap().map(|entry| entry.unwrap().path()));
    let mut said = 0;
    for page in pages {
        let text = fs::read_to_string(&page).unwrap();
        for (before, number) in
            ["exit code ", "exits "].iter().flat_map(|words| text.match_indices(words)).map(|(at, words)| {
                (at, text[at + words.len()..].split(|letter: char| !letter.is_ascii_digit()).next().unwrap_or_default())
            })
        {
            let Ok(code) = number.parse::<u8>() else { continue };
            said += 1;
            assert!(defined.contains(&code), "{} tells of exit code {code} (at {before})", page.display());
        }
    }
    assert!(said >= 5, "{said}");
}

/// What the JSON of a metric has, so that the page above is made of something.
#[test]
fn metrics_have_names_and_help() {
    let metrics = Daemon::scripted().start().json("metrics");
    let named = |metric: &Value| metric["name"].is_string() && metric["help"].is_string() && metric["kind"].is_string();
    assert!(metrics.as_array().is_some_and(|metrics| metrics.len() > 10 && metrics.iter().all(named)), "{metrics}");
}
