//! Where a key stands in the file, and which key was meant by one that doesn't exist. Knows TOML, and none of our keys.

use std::ops::Range;

use toml::de::{DeTable, DeValue};

/// The key around this part of the text, as `section.key`; empty where the file is no TOML up to there.
pub fn key_at(text: &str, at: &Range<usize>) -> String {
    let Ok(table) = DeTable::parse(text) else { return String::new() };
    let mut path = Vec::new();
    descend(table.get_ref(), at.start, &mut path);
    path.join(".")
}

fn descend(table: &DeTable<'_>, at: usize, path: &mut Vec<String>) {
    for (key, value) in table {
        // A table's own span is that of its header; what is below it is looked through whatever it says.
        let here = key.span().contains(&at) || value.span().contains(&at);
        path.push(key.get_ref().clone().into_owned());
        if let DeValue::Table(below) = value.get_ref() {
            let depth = path.len();
            descend(below, at, path);
            if path.len() > depth {
                return;
            }
        }
        if here {
            return;
        }
        path.pop();
    }
}

/// The line (from 1) of a key, or of the nearest above it that stands in the file.
pub fn line_of(text: &str, key: &str) -> Option<usize> {
    let table = DeTable::parse(text).ok()?;
    let mut found = None;
    let mut table = Some(table.get_ref());
    for part in key.split('.') {
        let Some((name, value)) = table.and_then(|table| table.iter().find(|(name, _)| *name.get_ref() == part)) else {
            break;
        };
        found = Some(name.span().start);
        table = match value.get_ref() {
            DeValue::Table(below) => Some(below),
            _ => None,
        };
    }
    found.map(|at| line_at(text, at))
}

/// From 1.
pub fn line_at(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1
}

/// The one that was most likely meant.
pub fn nearest<'n>(wrong: &str, names: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let near = names.into_iter().map(|name| (distance(wrong, name), name)).min();
    near.filter(|(distance, name)| *distance <= (name.len() / 3).max(1)).map(|(_, name)| name)
}

/// Letters to change, to add or to leave out (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (above, a) in a.chars().enumerate() {
        let mut corner = std::mem::replace(&mut row[0], above + 1);
        for (at, b) in b.iter().enumerate() {
            let changed = corner + usize::from(a != *b);
            corner = row[at + 1];
            row[at + 1] = changed.min(corner + 1).min(row[at] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "[lanes]\ncpu = 2\nio = 'x'\n\n[providers.own]\nmodel = \"m\"\nkeys = [\"a\",\n  \"b\"]\n";

    #[test]
    fn a_key_is_found_by_its_place_and_its_line_by_its_key() {
        for (word, key, line) in [
            ("cpu", "lanes.cpu", 2),
            ("'x'", "lanes.io", 3),
            ("\"m\"", "providers.own.model", 6),
            ("\"b\"", "providers.own.keys", 7),
        ] {
            let at = TEXT.find(word).unwrap();
            assert_eq!(key_at(TEXT, &(at..at + 1)), key);
            assert_eq!(line_of(TEXT, key), Some(line), "{key}");
        }
        assert_eq!(line_of(TEXT, "providers.own.endpoint"), Some(5), "that of the section");
        assert_eq!(line_of(TEXT, "limits.max_inputs"), None);
        assert_eq!(key_at("[lanes\n", &(0..1)), "");
    }

    #[test]
    fn the_nearest_name_is_told_and_a_far_one_is_not() {
        let names = ["cpu", "io", "net", "memory_mib", "disk_reserve_mib"];
        assert_eq!(nearest("memory_mb", names), Some("memory_mib"));
        assert_eq!(nearest("cpus", names), Some("cpu"));
        assert_eq!(nearest("speed", names), None);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
