//! Log files, one a day, or several where a day says more than a file may hold; old ones go. Touches only what bears a name that it gives.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use jiff::civil::Date;
use spindle_shared::limits::LOG_FILES_A_DAY_MAX;

pub struct Daily {
    folder: PathBuf,
    keep_days: u64,
    file_bytes: u64,
    /// The day and number of the open file, and how long it is.
    open: Option<(Date, u32, File, u64)>,
}

impl Daily {
    pub fn open(folder: &Path, keep_days: u64, file_bytes: u64) -> Result<Self, String> {
        fs::create_dir_all(folder)
            .map_err(|error| format!("failed to make the folder {}: {error}", folder.display()))?;
        Ok(Daily { folder: folder.to_owned(), keep_days, file_bytes: file_bytes.max(1), open: None })
    }

    /// What can't be written is lost: a log must stop nobody.
    pub fn write(&mut self, line: &str, today: Date) {
        let fits = |(day, _, _, bytes): &(Date, u32, File, u64)| *day == today && *bytes < self.file_bytes;
        if !self.open.as_ref().is_some_and(fits) {
            self.turn(today);
        }
        if let Some((_, _, file, bytes)) = &mut self.open {
            let line = format!("{line}\n");
            if file.write_all(line.as_bytes()).is_ok() {
                *bytes += line.len() as u64;
            }
        }
    }

    fn turn(&mut self, today: Date) {
        let first = match &self.open {
            Some((day, number, ..)) if *day == today => number + 1,
            _ => 0,
        };
        self.open = (first..LOG_FILES_A_DAY_MAX).find_map(|number| {
            let path = self.folder.join(name_of(today, number));
            let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path).ok()?;
            let bytes = file.metadata().ok()?.len();
            (bytes < self.file_bytes).then_some((today, number, file, bytes))
        });
        self.forget(today);
    }

    /// Days count by their names, which no clock changes.
    fn forget(&self, today: Date) {
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let Some((day, _)) = name.to_str().and_then(parse) else { continue };
            let age = today.since((jiff::Unit::Day, day)).map_or(0, |span| span.get_days());
            if i64::from(age) > i64::try_from(self.keep_days).unwrap_or(i64::MAX) {
                drop(fs::remove_file(entry.path()));
            }
        }
    }
}

fn name_of(day: Date, number: u32) -> String {
    match number {
        0 => format!("spindled.{day}.jsonl"),
        number => format!("spindled.{day}.{number}.jsonl"),
    }
}

fn parse(name: &str) -> Option<(Date, u32)> {
    let middle = name.strip_prefix("spindled.")?.strip_suffix(".jsonl")?;
    let (day, number) = match middle.split_once('.') {
        Some((day, number)) => (day, number.parse().ok()?),
        None => (middle, 0),
    };
    let day = day.parse().ok()?;
    (name_of(day, number) == name).then_some((day, number))
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn each_day_has_its_file_and_a_full_one_its_next() {
        let folder = tempfile::tempdir().unwrap();
        let mut daily = Daily::open(folder.path(), 7, 10).unwrap();
        for line in ["123456", "123456", "third"] {
            daily.write(line, date(2026, 1, 2));
        }
        daily.write("next day", date(2026, 1, 3));
        assert_eq!(
            names(folder.path()),
            ["spindled.2026-01-02.1.jsonl", "spindled.2026-01-02.jsonl", "spindled.2026-01-03.jsonl"]
        );
        assert_eq!(fs::read(folder.path().join("spindled.2026-01-02.jsonl")).unwrap(), b"123456\n123456\n");
        // Another daemon of the same day goes on where there is room.
        let mut again = Daily::open(folder.path(), 7, 10).unwrap();
        again.write("x", date(2026, 1, 2));
        assert_eq!(fs::read(folder.path().join("spindled.2026-01-02.1.jsonl")).unwrap(), b"third\nx\n");
    }

    #[test]
    fn old_days_go_and_what_others_have_put_there_stays() {
        let folder = tempfile::tempdir().unwrap();
        let others = ["notes.jsonl", "spindled.2020-01-01.jsonl.gz", "spindled.2020-1-1.jsonl", "spindled.jsonl"];
        for name in others.iter().chain(&[
            "spindled.2026-01-01.jsonl",
            "spindled.2026-01-05.2.jsonl",
            "spindled.2027-01-01.jsonl",
        ]) {
            fs::write(folder.path().join(name), "x").unwrap();
        }
        let mut daily = Daily::open(folder.path(), 7, 1_000).unwrap();
        daily.write("x", date(2026, 1, 9));
        let mut expected: Vec<_> = others.map(str::to_owned).to_vec();
        // A day to come is a clock's fault, and no reason to delete.
        expected.extend(
            ["spindled.2026-01-05.2.jsonl", "spindled.2026-01-09.jsonl", "spindled.2027-01-01.jsonl"]
                .map(str::to_owned),
        );
        expected.sort();
        assert_eq!(names(folder.path()), expected);
    }
}
