//! Times, sizes, shares and states as people read them. Nothing here is read back by a program.

use std::time::{SystemTime, UNIX_EPOCH};

use spindle_shared::batch::{BatchState, BatchView, Eta};
use spindle_shared::job::{Figure, JobState, JobView};
use spindle_shared::time::WallMs;
use spindle_shared::wire::response::DeviceView;

use crate::output::table::{Align, Cell, Table};

pub const UNKNOWN: &str = "–";

/// RFC 3339, UTC, with milliseconds.
pub fn time(at: WallMs) -> String {
    let ms = i64::try_from(at.0).unwrap_or(i64::MAX);
    match jiff::Timestamp::from_millisecond(ms) {
        Ok(time) => format!("{time:.3}"),
        Err(_) => UNKNOWN.to_owned(),
    }
}

pub fn now() -> WallMs {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    WallMs(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// `just now`, `3 min ago`, `2 days ago`.
pub fn ago(at: WallMs, now: WallMs) -> String {
    let seconds = now.0.saturating_sub(at.0) / 1_000;
    match seconds {
        0..5 => "just now".to_owned(),
        5..60 => format!("{seconds} s ago"),
        60..3_600 => format!("{} min ago", seconds / 60),
        3_600..86_400 => format!("{} h ago", seconds / 3_600),
        86_400..172_800 => "1 day ago".to_owned(),
        _ => format!("{} days ago", seconds / 86_400),
    }
}

/// `0.4 s`, `42 s`, `3 min 20 s`, `2 h 05 min`, `3 d 4 h`.
pub fn seconds(seconds: f64) -> String {
    if !seconds.is_finite() || seconds < 0.0 {
        return UNKNOWN.to_owned();
    }
    if seconds < 9.95 {
        return format!("{seconds:.1} s");
    }
    let whole = seconds.round() as u64;
    match whole {
        0..60 => format!("{whole} s"),
        60..3_600 => format!("{} min {:02} s", whole / 60, whole % 60),
        3_600..86_400 => format!("{} h {:02} min", whole / 3_600, whole % 3_600 / 60),
        _ => format!("{} d {} h", whole / 86_400, whole % 86_400 / 3_600),
    }
}

/// `512 B`, `1.4 KiB`, `74 MiB`.
pub fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1_024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1_024.0;
    let mut unit = 0;
    while value >= 1_023.5 && unit + 1 < UNITS.len() {
        value /= 1_024.0;
        unit += 1;
    }
    match value < 9.95 {
        true => format!("{value:.1} {}", UNITS[unit]),
        false => format!("{value:.0} {}", UNITS[unit]),
    }
}

/// A share of 0–1 as `42 %`; 100 % only when it is all.
pub fn percent(share: f32) -> String {
    let percent = (share.clamp(0.0, 1.0) * 100.0).floor() as u32;
    format!("{percent} %")
}

pub fn escaped(text: &str) -> String {
    spindle_shared::text::escaped(text)
}

pub fn batch_colour(state: BatchState) -> Option<&'static str> {
    match state {
        BatchState::Completed => Some("32"),
        BatchState::Partial | BatchState::Paused | BatchState::Cancelling => Some("33"),
        BatchState::Failed => Some("31"),
        BatchState::Running => Some("36"),
        BatchState::Pending | BatchState::Cancelled => None,
    }
}

pub fn job_colour(state: JobState) -> Option<&'static str> {
    match state {
        JobState::Completed => Some("32"),
        JobState::Retrying => Some("33"),
        JobState::Failed => Some("31"),
        JobState::Running => Some("36"),
        JobState::Pending | JobState::Skipped | JobState::Cancelled => None,
    }
}

/// Whole seconds of the elapsed time; `None` before the start.
pub fn elapsed_seconds(started: Option<WallMs>, finished: Option<WallMs>, now: WallMs) -> Option<f64> {
    let started = started?;
    Some(finished.unwrap_or(now).0.saturating_sub(started.0) as f64 / 1_000.0)
}

/// `2 min 10 s (1–4 min)`, or that it isn't known.
pub fn eta(eta: Option<Eta>) -> String {
    eta.map_or(UNKNOWN.to_owned(), |eta| format!("{} ({})", seconds(eta.seconds), range(eta)))
}

/// `12–20 s`, `2–4 min`, `1.5–2.2 h`: between which times it will likely be over.
pub fn range(eta: Eta) -> String {
    let Eta { low, high, .. } = eta;
    if !low.is_finite() || !high.is_finite() || low < 0.0 || high < low {
        return UNKNOWN.to_owned();
    }
    let (unit, name, steps) = match high {
        high if high < 90.0 => (1.0, "s", 1.0),
        high if high < 5_400.0 => (60.0, "min", 1.0),
        high if high < 129_600.0 => (3_600.0, "h", 10.0),
        _ => (86_400.0, "d", 10.0),
    };
    let low = (low / unit * steps).floor() / steps;
    let high = (high / unit * steps).ceil() / steps;
    if low == high { format!("{low} {name}") } else { format!("{low}–{high} {name}") }
}

/// Of a batch: nothing is left once it has ended.
pub fn batch_eta(view: &BatchView) -> Option<Eta> {
    view.eta.filter(|_| !view.state.is_terminal())
}

/// `list` and `status` of several.
pub fn batch_table(batches: &[BatchView], now: WallMs, colour: bool) -> String {
    use Align::{Left, Right};
    let mut table = Table::new(&[
        ("BATCH", Right),
        ("STATE", Left),
        ("DONE", Right),
        ("ENDED", Right),
        ("FAILED", Right),
        ("RECIPE", Left),
        ("PRIORITY", Right),
        ("LEFT", Right),
        ("CREATED", Left),
        ("NAME", Left),
    ]);
    for batch in batches {
        table.row(vec![
            batch.id.to_string().into(),
            Cell::coloured(batch.state.name(), batch_colour(batch.state)),
            percent(batch.progress).into(),
            format!("{}/{}", batch.counts.ended(), batch.counts.total()).into(),
            batch.counts.failed.to_string().into(),
            escaped(&batch.recipe).into(),
            batch.priority.to_string().into(),
            batch_eta(batch).map_or(UNKNOWN.to_owned(), range).into(),
            ago(batch.created_at, now).into(),
            batch.name.as_deref().map(escaped).unwrap_or_default().into(),
        ]);
    }
    table.render(colour)
}

/// One batch in full.
pub fn batch_text(view: &BatchView, now: WallMs) -> String {
    block(&batch_rows(view, now))
}

/// What there is to say of a batch, name by name.
pub fn batch_rows(view: &BatchView, now: WallMs) -> Vec<(&'static str, String)> {
    let counts = &view.counts;
    let tags = view.tags.iter().map(|(key, value)| escaped(&format!("{key}={value}"))).collect::<Vec<_>>().join(" ");
    let counted = [
        (counts.completed, "completed"),
        (counts.skipped, "skipped"),
        (counts.failed, "failed"),
        (counts.cancelled, "cancelled"),
        (counts.running, "running"),
        (counts.retrying, "retrying"),
        (counts.pending, "pending"),
    ]
    .into_iter()
    .filter(|(number, _)| *number > 0)
    .map(|(number, name)| format!("{number} {name}"))
    .collect::<Vec<_>>()
    .join(", ");
    let elapsed = elapsed_seconds(view.started_at, view.finished_at, now);
    let mut rows = vec![
        ("batch", view.id.to_string()),
        ("name", view.name.as_deref().map(escaped).unwrap_or_default()),
        ("recipe", escaped(&view.recipe)),
        ("owner", crate::named::user_name(view.owner.0)),
        ("state", format!("{}, {}", view.state.name(), percent(view.progress))),
        ("inputs", format!("{} ({counted})", counts.total())),
        ("gather", view.gather.map(|state| state.name().to_owned()).unwrap_or_default()),
        ("stage", view.stage.as_deref().map(escaped).unwrap_or_default()),
        ("priority", view.priority.to_string()),
        ("parallel", view.parallel.to_string()),
        ("created", time(view.created_at)),
        ("started", view.started_at.map(time).unwrap_or_default()),
        ("finished", view.finished_at.map(time).unwrap_or_default()),
        ("elapsed", elapsed.map(seconds).unwrap_or_default()),
        ("left", if view.state.is_terminal() { String::new() } else { eta(view.eta) }),
        ("tags", tags),
    ];
    rows.retain(|(_, value)| !value.is_empty());
    rows
}

/// A graphics card, without its number.
pub fn card(card: &DeviceView) -> String {
    let closed =
        card.closed.as_deref().map_or(String::new(), |why| format!(", left alone for a while: {}", escaped(why)));
    format!("{} ({}, for {}{closed})", escaped(&card.name), escaped(&card.api), escaped(&card.roles.join(", ")))
}

/// Names and values below each other.
pub fn block(rows: &[(&str, String)]) -> String {
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    rows.iter().map(|(name, value)| format!("{name:<width$}  {value}\n")).collect()
}

/// What a person wants to know of a job in one line: why it failed or was skipped, or where its outputs are.
pub fn job_remark(job: &JobView) -> String {
    if let Some(failure) = &job.failure {
        return escaped(&failure.to_string());
    }
    if let Some(reason) = &job.skipped_reason {
        return escaped(reason);
    }
    if job.outputs.is_empty() && job.state == JobState::Completed {
        // Why nothing was written, where something might have been.
        return job.detail.notes.last().map(|note| escaped(note)).unwrap_or_default();
    }
    job.outputs.iter().map(|output| output.path.to_string()).collect::<Vec<_>>().join(" ")
}

pub fn job_input(job: &JobView) -> String {
    job.input.as_ref().map_or_else(|| UNKNOWN.to_owned(), ToString::to_string)
}

pub fn job_table(jobs: &[JobView], now: WallMs, colour: bool) -> String {
    use Align::{Left, Right};
    let mut table = Table::new(&[
        ("JOB", Right),
        ("STATE", Left),
        ("STAGE", Left),
        ("DONE", Right),
        ("TRIES", Right),
        ("TIME", Right),
        ("INPUT", Left),
        ("OUTPUTS OR REASON", Left),
    ]);
    for job in jobs {
        table.row(vec![
            job.id.to_string().into(),
            Cell::coloured(job.state.name(), job_colour(job.state)),
            escaped(&job.stage).into(),
            percent(job.progress).into(),
            job.attempts.to_string().into(),
            elapsed_seconds(job.started_at, job.finished_at, now).map_or(UNKNOWN.to_owned(), seconds).into(),
            job_input(job).into(),
            job_remark(job).into(),
        ]);
    }
    table.render(colour)
}

/// One job in full.
pub fn job_text(job: &JobView, now: WallMs) -> String {
    let detail = &job.detail;
    let language = detail.language.as_ref().map(|code| match detail.language_probability {
        Some(probability) => format!("{} ({})", escaped(code), percent(probability as f32)),
        None => escaped(code),
    });
    let timings = job.timings.iter().map(|(stage, time)| format!("{} {}", escaped(stage), seconds(*time)));
    let mut rows = vec![
        ("job", job.id.to_string()),
        ("input", job_input(job)),
        ("state", format!("{}, {}", job.state.name(), percent(job.progress))),
        ("stage", escaped(&job.stage)),
        ("tries", job.attempts.to_string()),
        ("worker", job.worker.as_deref().map(escaped).unwrap_or_default()),
        ("created", time(job.created_at)),
        ("started", job.started_at.map(time).unwrap_or_default()),
        ("finished", job.finished_at.map(time).unwrap_or_default()),
        ("elapsed", elapsed_seconds(job.started_at, job.finished_at, now).map(seconds).unwrap_or_default()),
        ("timings", timings.collect::<Vec<_>>().join(", ")),
        ("length", detail.media_seconds.map(seconds).unwrap_or_default()),
        ("language", language.unwrap_or_default()),
        ("cues", detail.cues.map(|cues| cues.to_string()).unwrap_or_default()),
        ("words", detail.words.map(|words| words.to_string()).unwrap_or_default()),
        ("skipped", job.skipped_reason.as_deref().map(escaped).unwrap_or_default()),
    ];
    if let Some(failure) = &job.failure {
        rows.push(("failure", escaped(&failure.to_string())));
        rows.push(("advice", escaped(&failure.advice)));
    }
    for output in &job.outputs {
        rows.push(("output", format!("{} ({})", output.path, bytes(output.bytes))));
    }
    for (name, figure) in &detail.figures {
        let value = match figure {
            Figure::Number(number) => number.to_string(),
            Figure::Text(text) => escaped(text),
            Figure::Flag(flag) => flag.to_string(),
        };
        rows.push(("figure", format!("{} {value}", escaped(&name.replace('_', " ")))));
    }
    for note in &detail.notes {
        rows.push(("note", escaped(note)));
    }
    rows.retain(|(_, value)| !value.is_empty());
    block(&rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_well() {
        for (value, text) in [
            (0.04, "0.0 s"),
            (9.94, "9.9 s"),
            (9.96, "10 s"),
            (59.6, "1 min 00 s"),
            (200.0, "3 min 20 s"),
            (7_500.0, "2 h 05 min"),
            (273_600.0, "3 d 4 h"),
            (f64::NAN, UNKNOWN),
        ] {
            assert_eq!(seconds(value), text);
        }
    }

    #[test]
    fn ranges_read_well() {
        for (low, high, text) in [
            (12.4, 19.2, "12–20 s"),
            (0.0, 0.4, "0–1 s"),
            (100.0, 200.0, "1–4 min"),
            (180.0, 180.0, "3 min"),
            (5_400.0, 7_900.0, "1.5–2.2 h"),
            (86_400.0, 200_000.0, "1–2.4 d"),
            (5.0, 4.0, UNKNOWN),
            (0.0, f64::INFINITY, UNKNOWN),
        ] {
            assert_eq!(range(Eta { seconds: low, low, high }), text);
        }
    }

    #[test]
    fn sizes_read_well() {
        for (value, text) in
            [(0, "0 B"), (1_023, "1023 B"), (1_024, "1.0 KiB"), (147_951_465, "141 MiB"), (u64::MAX, "16384 PiB")]
        {
            assert_eq!(bytes(value), text);
        }
    }

    #[test]
    fn all_is_said_only_of_all() {
        assert_eq!(percent(0.999), "99 %");
        assert_eq!(percent(1.0), "100 %");
        assert_eq!(percent(f32::NAN), "0 %");
    }

    #[test]
    fn times_are_rfc_3339_with_milliseconds() {
        assert_eq!(time(WallMs(1_700_000_000_007)), "2023-11-14T22:13:20.007Z");
        assert_eq!(time(WallMs(0)), "1970-01-01T00:00:00.000Z");
        assert_eq!(ago(WallMs(1_000), WallMs(0)), "just now");
        assert_eq!(ago(WallMs(0), WallMs(130_000)), "2 min ago");
    }
}
