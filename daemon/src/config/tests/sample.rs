//! The sample configuration shows every key as the code has it.

use super::*;

#[test]
fn the_samples_provider_is_as_its_preset() {
    let shown = SAMPLE.lines().skip_while(|line| *line != "#   [providers.dashscope]");
    let shown: Vec<&str> = shown.take_while(|line| !line.is_empty()).map(|line| line.trim_start_matches('#')).collect();
    let config = load(&shown.join("\n")).unwrap();
    let [dashscope] =
        config.providers().into_iter().filter(|known| known.configured).collect::<Vec<_>>().try_into().unwrap();
    let plain = Config::default().providers().into_iter().find(|known| known.name == "dashscope").unwrap();
    assert_eq!(
        (&dashscope.endpoint, &dashscope.model, &dashscope.text_model),
        (&plain.endpoint, &plain.model, &plain.text_model)
    );
    assert_eq!(
        (&dashscope.keys, dashscope.timeout_ms, dashscope.structured),
        (&plain.keys, plain.timeout_ms, plain.structured)
    );
    assert_eq!(dashscope.limits.calls_per_day, plain.limits.calls_per_day);
    let said = shown.join("\n");
    for key in known("[providers.x]\nwrong = 1\n") {
        assert!(said.contains(&format!("{key} = ")), "the sample does not show {key}");
    }
}

const SAMPLE: &str = include_str!("../../../../packaging/spindled.toml");

/// `# key = value` in the sample: a key without a default of its own.
fn without_marks(sample: &str) -> String {
    let is_key = |line: &str| {
        line.split_once(" = ").is_some_and(|(key, _)| key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'))
    };
    let lines = sample.lines().map(|line| line.strip_prefix("# ").filter(|rest| is_key(rest)).unwrap_or(line));
    lines.collect::<Vec<_>>().join("\n")
}

/// The names that may stand in a place of the file, as the error for a wrong one tells them.
fn known(text: &str) -> Vec<String> {
    let error = load(text).unwrap_err().to_string();
    let (_, expected) = error.split_once("; there are ").unwrap_or_else(|| panic!("{error}"));
    expected.split(", ").map(str::to_owned).collect()
}

#[test]
fn the_sample_shows_the_defaults() {
    assert_eq!(load(SAMPLE).unwrap(), Config::default());
    // Nothing else is as the sample has it: each default of the code stands there, and what is commented out has none.
    let shown: toml::Table = toml::from_str(SAMPLE).unwrap();
    let all: toml::Table = toml::from_str(&without_marks(SAMPLE)).unwrap();
    let defaults = toml::Table::try_from(Config::default()).unwrap();
    for section in known("wrong = 1\n") {
        let of = |table: &toml::Table| table.get(&section).and_then(toml::Value::as_table).cloned().unwrap_or_default();
        assert_eq!(of(&shown), of(&defaults), "[{section}] of the sample and of the code");
        let mut silent = of(&all);
        silent.retain(|key, _| !of(&shown).contains_key(key));
        for key in silent.keys() {
            assert!(comment_of(&section, key).contains("default: "), "what counts without {section}.{key}?");
        }
    }
    assert_eq!(Config::default().cpu_slots() as usize, std::thread::available_parallelism().unwrap().get());
}

/// The sample's words above a key.
fn comment_of(section: &str, key: &str) -> String {
    let (section, key) = (format!("[{section}]"), format!("{key} = "));
    let above: Vec<_> = SAMPLE
        .lines()
        .skip_while(|line| *line != section)
        .take_while(|line| !line.trim_start_matches("# ").starts_with(&key))
        .collect();
    let words = above.iter().rev().take_while(|line| line.starts_with('#'));
    words.copied().collect::<Vec<_>>().join("\n")
}

#[test]
fn the_sample_shows_every_key_with_its_range() {
    let shown: toml::Table = toml::from_str(&without_marks(SAMPLE)).unwrap();
    load(&without_marks(SAMPLE)).unwrap();
    let mut ranges: BTreeMap<_, _> =
        Config::default().numbers().into_iter().map(|(key, _, range)| (key.to_owned(), range)).collect();
    for section in known("wrong = 1\n").into_iter().filter(|section| !NAMED.contains(&section.as_str())) {
        for key in known(&format!("[{section}]\nwrong = 1\n")) {
            let value = &shown[&section][&key];
            let Some(range) = ranges.remove(&format!("{section}.{key}")) else {
                assert!(value.is_str() || value.is_array() || value.is_bool(), "{section}.{key} has no range");
                continue;
            };
            for outside in range.start().checked_sub(1).into_iter().chain([range.end() + 1]) {
                assert!(load(&format!("[{section}]\n{key} = {outside}\n")).is_err(), "{section}.{key} = {outside}");
            }
            let told = format!("{}–{}", range.start(), range.end());
            assert!(
                comment_of(&section, &key).contains(&told),
                "the sample does not say above {section}.{key} that it is {told}"
            );
        }
    }
    assert!(ranges.is_empty(), "ranges of keys that don't exist: {ranges:?}");
}

/// Sections whose own sections are named by whoever writes the file.
const NAMED: &[&str] = &["stores", "profiles", "providers", "hooks"];

#[test]
fn the_samples_examples_show_every_key_and_are_right() {
    for section in NAMED {
        let start = format!("#   [{section}.");
        let shown = SAMPLE.lines().skip_while(|line| !line.starts_with(&start));
        let shown: Vec<&str> =
            shown.take_while(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#')).collect();
        let said = shown.join("\n");
        load(&said).unwrap_or_else(|error| panic!("{error}\n{said}"));
        let keys = match *section {
            // What must be there is told before what must not.
            "stores" => {
                ["endpoint", "bucket", "region", "path_style", "access_key", "secret_key", "link_minutes", "quota_mib"]
                    .map(str::to_owned)
                    .to_vec()
            }
            section => known(&format!("[{section}.x]\nwrong = 1\n")),
        };
        for key in keys {
            assert!(said.contains(&format!("{key} = ")), "the sample does not show {section}.NAME.{key}");
        }
    }
}

#[test]
fn what_is_read_at_the_start_only_are_keys() {
    let all: toml::Table = toml::from_str(&without_marks(SAMPLE)).unwrap();
    for key in changes::AT_START {
        let (section, key) = key.split_once('.').unwrap();
        assert!(all[section].as_table().unwrap().contains_key(key), "{section}.{key}");
    }
}
