//! What people name on the command line: ids and ranges of ids, tags, durations, users. Asks no daemon.

use std::str::FromStr;

use spindle_shared::batch::{BatchState, Priority, TimeLimit};
use spindle_shared::id::{BatchId, JobId, Target};
use spindle_shared::limits::{NAME_BYTES_MAX, TARGETS_MAX};
use spindle_shared::time::WallMs;
use spindle_shared::wire::request::{BatchFilter, Selection};

use crate::fault::Fault;
use crate::output::human;

/// `3`, `12/3`, `5-8`, `12/3-7`, and lists of these with commas; each thing once, in the order named.
pub fn targets(words: &[String]) -> Result<Vec<Target>, Fault> {
    let mut targets = Vec::new();
    let mut seen = std::collections::HashSet::new();
    for piece in words.iter().flat_map(|word| word.split(',')).filter(|piece| !piece.is_empty()) {
        for target in range(piece)? {
            if seen.insert(target) {
                targets.push(target);
            }
        }
        if targets.len() > TARGETS_MAX {
            return Err(Fault::usage(format!("more than {TARGETS_MAX} ids are named")));
        }
    }
    Ok(targets)
}

/// Batches only.
pub fn batches(words: &[String]) -> Result<Vec<BatchId>, Fault> {
    targets(words)?
        .into_iter()
        .map(|target| match target {
            Target::Batch(batch) => Ok(batch),
            Target::Job(job) => Err(Fault::usage(format!("`{job}` is a job; this takes batches"))
                .hint(format!("the batch is {}", job.batch))),
        })
        .collect()
}

fn range(piece: &str) -> Result<Vec<Target>, Fault> {
    let told = |error: spindle_shared::id::BadTarget| Fault::usage(error.to_string());
    let Some((first, last)) = piece.split_once('-').filter(|(first, _)| !first.is_empty()) else {
        return Ok(vec![piece.parse().map_err(told)?]);
    };
    let first: Target = first.parse().map_err(told)?;
    let last: u64 =
        last.parse().map_err(|_| Fault::usage(format!("`{piece}` is no range of ids (`5-8`, `12/3-7`)")))?;
    let from = match first {
        Target::Batch(batch) => batch.0,
        Target::Job(job) => u64::from(job.index),
    };
    if last < from {
        return Err(Fault::usage(format!("the range `{piece}` ends before it begins")));
    }
    if last - from >= TARGETS_MAX as u64 {
        return Err(Fault::usage(format!("the range `{piece}` has more than {TARGETS_MAX} ids")));
    }
    (from..=last)
        .map(|number| match first {
            Target::Batch(_) => Ok(Target::Batch(BatchId(number))),
            Target::Job(job) => u32::try_from(number)
                .map(|index| Target::Job(JobId { index, ..job }))
                .map_err(|_| Fault::usage(format!("`{piece}` goes beyond the last possible job"))),
        })
        .collect()
}

/// Those of the daemon's stores, providers and the like that are named, in the daemon's order; all of them where none is.
pub fn configured<T>(
    kind: &str,
    known: Vec<T>,
    name_of: impl Fn(&T) -> &str,
    names: &[String],
) -> Result<Vec<T>, Fault> {
    if let Some(unknown) = names.iter().find(|name| known.iter().all(|one| name_of(one) != name.as_str())) {
        return Err(Fault::not_found(format!("there is no {kind} `{}`", human::escaped(unknown)))
            .hint(format!("`spindlectl {kind}s list` shows them")));
    }
    let is_named = |one: &T| names.is_empty() || names.iter().any(|name| name == name_of(one));
    Ok(known.into_iter().filter(is_named).collect())
}

/// `KEY=VALUE`.
pub fn tag(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("a tag is KEY=VALUE")?;
    if key.is_empty() {
        return Err("a tag is KEY=VALUE; its key is empty".to_owned());
    }
    Ok((short(key)?, short(value)?))
}

/// A name, a key: not empty and within the limit.
pub fn name(text: &str) -> Result<String, String> {
    if text.trim().is_empty() {
        return Err("is empty".to_owned());
    }
    short(text)
}

fn short(text: &str) -> Result<String, String> {
    match text.len() {
        0..=NAME_BYTES_MAX => Ok(text.to_owned()),
        bytes => Err(format!("has {bytes} bytes, more than {NAME_BYTES_MAX}")),
    }
}

pub fn batch_state(text: &str) -> Result<BatchState, String> {
    BatchState::from_name(text)
        .ok_or_else(|| format!("known states are {}", BatchState::ALL.map(BatchState::name).join(", ")))
}

pub fn job_state(text: &str) -> Result<spindle_shared::job::JobState, String> {
    use spindle_shared::job::JobState;
    JobState::from_name(text)
        .ok_or_else(|| format!("known states are {}", JobState::ALL.map(JobState::name).join(", ")))
}

pub fn priority(text: &str) -> Result<Priority, String> {
    Priority::from_str(text)
}

/// A batch's own priority; `None` = computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnPriority(pub Option<Priority>);

pub fn own_priority(text: &str) -> Result<OwnPriority, String> {
    match text {
        "auto" => Ok(OwnPriority(None)),
        text => priority(text).map(|priority| OwnPriority(Some(priority))),
    }
}

/// A duration, or `3x`: so many times the recording's length.
pub fn time_limit(text: &str) -> Result<TimeLimit, String> {
    let Some(times) = text.trim().strip_suffix('x') else { return duration_ms(text).map(TimeLimit::Milliseconds) };
    let times = times.trim().parse::<f64>().ok().filter(|times| (0.01..=1_000.0).contains(times));
    times.map(TimeLimit::TimesMedia).ok_or_else(|| format!("`{text}` is no multiple of a length: 0.01x–1000x"))
}

/// A time to come: `23:30` is the next half past eleven here, `+2h` two hours from now, else as in RFC 3339.
pub fn moment(text: &str) -> Result<WallMs, String> {
    moment_after(text.trim(), &jiff::Zoned::now())
}

fn moment_after(text: &str, now: &jiff::Zoned) -> Result<WallMs, String> {
    let wrong = || format!("`{text}` is no time: 23:30, +2h, 2026-12-24T18:00:00Z");
    let ms = |time: jiff::Timestamp| u64::try_from(time.as_millisecond()).map(WallMs).map_err(|_| wrong());
    if let Some(later) = text.strip_prefix('+') {
        let later = duration_ms(later).map_err(|_| wrong())?;
        return Ok(WallMs(ms(now.timestamp())?.0.saturating_add(later)));
    }
    if let Ok(time) = text.parse::<jiff::civil::Time>() {
        let on =
            |date: jiff::civil::Date| date.to_datetime(time).to_zoned(now.time_zone().clone()).map_err(|_| wrong());
        let today = on(now.date())?;
        let next = if today > *now { today } else { on(now.date().tomorrow().map_err(|_| wrong())?)? };
        return ms(next.timestamp());
    }
    ms(text.parse().map_err(|_| wrong())?)
}

/// `90`, `90s`, `5m`, `1h30m`, `500ms`, `7d` in milliseconds; a bare number is seconds.
pub fn duration_ms(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is no duration: 90, 90s, 5m, 1h30m");
    let text_of_time = text.trim();
    if text_of_time.starts_with(['-', '+']) {
        return Err(wrong());
    }
    if let Ok(seconds) = text_of_time.parse::<f64>() {
        let ms = seconds * 1_000.0;
        return match (1.0..1e15).contains(&ms) {
            true => Ok(ms.round() as u64),
            false => Err(wrong()),
        };
    }
    // Days have no fixed length to a calendar; here they are 24 hours.
    let (days, rest) = match text_of_time.split_once('d') {
        Some((days, rest)) => (days.trim().parse::<u32>().map_err(|_| wrong())?, rest.trim()),
        None => (0, text_of_time),
    };
    let rest_ms = match rest {
        "" => 0,
        rest => {
            let rest: jiff::SignedDuration = rest.parse().map_err(|_| wrong())?;
            u64::try_from(rest.as_millis()).map_err(|_| wrong())?
        }
    };
    match u64::from(days) * 86_400_000 + rest_ms {
        0 => Err(wrong()),
        ms => Ok(ms),
    }
}

/// A user's name or number.
pub fn user(text: &str) -> Result<u32, String> {
    if let Ok(number) = text.parse() {
        return Ok(number);
    }
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    users
        .lines()
        .filter_map(passwd_row)
        .find(|(name, _)| *name == text)
        .map(|(_, id)| id)
        .ok_or_else(|| format!("there is no user `{text}`"))
}

/// Name of a user, or the number where the system knows none.
pub fn user_name(id: u32) -> String {
    static USERS: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    let users = USERS.get_or_init(|| std::fs::read_to_string("/etc/passwd").unwrap_or_default());
    users
        .lines()
        .filter_map(passwd_row)
        .find(|(_, known)| *known == id)
        .map_or_else(|| id.to_string(), |(name, _)| name.to_owned())
}

fn passwd_row(line: &str) -> Option<(&str, u32)> {
    let mut fields = line.split(':');
    let name = fields.next()?;
    Some((name, fields.nth(1)?.parse().ok()?))
}

/// Which batches or jobs an action is about.
#[derive(Debug, Clone, clap::Args)]
pub struct Chosen {
    /// Batches (`3`, `5-8`); where single jobs can be meant, also jobs (`12/3`, `12/3-7`)
    #[arg(value_name = "ID")]
    pub ids: Vec<String>,
    #[command(flatten)]
    pub filter: Filter,
}

/// Batches chosen by what they are.
#[derive(Debug, Clone, clap::Args)]
pub struct Filter {
    /// Every batch
    #[arg(long)]
    pub all: bool,
    /// Batches in this state; may be given several times
    #[arg(long, value_name = "STATE", value_parser = batch_state, value_delimiter = ',')]
    pub state: Vec<BatchState>,
    /// Batches with this tag; may be given several times, all must fit
    #[arg(long, value_name = "K=V", value_parser = tag)]
    pub tag: Vec<(String, String)>,
}

impl Chosen {
    /// What was chosen; `None` where nothing was named at all.
    pub fn selection(&self) -> Result<Option<Selection>, Fault> {
        let Filter { all, state, tag } = &self.filter;
        let filtered = *all || !state.is_empty() || !tag.is_empty();
        match (self.ids.is_empty(), filtered) {
            (false, true) => Err(Fault::usage("name ids, or choose with --all, --state and --tag; not both")),
            (false, false) => targets(&self.ids).map(|targets| Some(Selection::Targets(targets))),
            (true, true) => Ok(Some(Selection::Matching(BatchFilter {
                states: state.clone(),
                tags: tag.clone(),
                ..BatchFilter::default()
            }))),
            (true, false) => Ok(None),
        }
    }

    pub fn required(&self) -> Result<Selection, Fault> {
        self.selection()?.ok_or_else(|| {
            Fault::usage("no batch or job is named")
                .hint("name ids (`3 5-8 12/3`), or choose with --all, --state or --tag")
        })
    }
}

/// An amount of money.
pub fn cost(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(cost) if cost.is_finite() && cost > 0.0 => Ok(cost),
        _ => Err("a cost is a number above 0".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_to_come() {
        let now: jiff::Zoned = "2026-11-26T22:00:00+01:00[+01:00]".parse().unwrap();
        let at =
            |text: &str| moment_after(text, &now).map(|at| jiff::Timestamp::from_millisecond(at.0 as i64).unwrap());
        for (text, utc) in [
            ("23:30", "2026-11-26T22:30:00Z"),
            ("06:15", "2026-11-27T05:15:00Z"),
            // Right now is over.
            ("22:00", "2026-11-27T21:00:00Z"),
            ("+2h", "2026-11-26T23:00:00Z"),
            ("2026-12-24T18:00:00Z", "2026-12-24T18:00:00Z"),
        ] {
            assert_eq!(at(text).unwrap().to_string(), utc, "{text}");
        }
        for wrong in ["", "25:00", "+", "-2h", "tomorrow", "1850-01-01T00:00:00Z"] {
            assert!(at(wrong).is_err(), "{wrong}");
        }
    }

    fn shown(words: &[&str]) -> Result<String, String> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        targets(&words)
            .map(|targets| targets.iter().map(Target::to_string).collect::<Vec<_>>().join(" "))
            .map_err(|fault| fault.message)
    }

    #[test]
    fn ids_come_singly_in_lists_and_in_ranges() {
        for (words, expected) in [
            (&["3", "5-8"][..], "3 5 6 7 8"),
            (&["12/3-5"], "12/3 12/4 12/5"),
            (&["3,5-6", "12/1"], "3 5 6 12/1"),
            (&["5-7", "6"], "5 6 7"),
            (&["4-4"], "4"),
            (&["12/gather"], "12/gather"),
        ] {
            assert_eq!(shown(words).as_deref(), Ok(expected), "{words:?}");
        }
        for words in
            [&["0"][..], &["-3"], &["8-5"], &["3-"], &["a-b"], &["1-99999999"], &["12/gathers"], &["1/2-4294967296"]]
        {
            assert!(shown(words).is_err(), "{words:?}");
        }
    }

    #[test]
    fn limits_are_durations_or_multiples() {
        assert_eq!(time_limit("5m"), Ok(TimeLimit::Milliseconds(300_000)));
        assert_eq!(time_limit("2.5x"), Ok(TimeLimit::TimesMedia(2.5)));
        for text in ["x", "0x", "-1x", "nanx", "1001x", "soon"] {
            assert!(time_limit(text).is_err(), "{text}");
        }
        assert_eq!(own_priority("auto"), Ok(OwnPriority(None)));
        assert_eq!(own_priority("high"), Ok(OwnPriority(Some(Priority(25)))));
        assert!(own_priority("automatic").is_err());
    }

    #[test]
    fn durations_are_read_as_people_write_them() {
        for (text, ms) in [
            ("90", 90_000),
            ("1.5", 1_500),
            ("90s", 90_000),
            ("5m", 300_000),
            ("1h30m", 5_400_000),
            ("500ms", 500),
            ("7d", 604_800_000),
            ("1d 2h", 93_600_000),
        ] {
            assert_eq!(duration_ms(text), Ok(ms), "{text}");
        }
        for text in ["", "0", "-1", "-5m", "soon", "nan", "inf", "1e300", "5 apples", "0s"] {
            assert!(duration_ms(text).is_err(), "{text}");
        }
    }

    #[test]
    fn tags_have_a_key() {
        assert_eq!(tag("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert_eq!(tag("a="), Ok(("a".to_owned(), String::new())));
        assert!(tag("a").is_err() && tag("=b").is_err());
        assert!(tag(&format!("a={}", "x".repeat(201))).is_err());
    }

    #[test]
    fn root_is_known_by_name_and_number() {
        assert_eq!(user("0"), Ok(0));
        assert_eq!(user_name(4_000_000_000), "4000000000");
    }
}
