//! The daemon's log: what tracing is told, as a line for people, as JSON, in systemd's journal or in daily files; and its end in memory, for
//! `spindlectl logs`. What a line says was made safe by whoever said it: keys are named by their places, and addresses without their query.

pub mod daily;
pub mod jobs;
mod journal;

use std::collections::VecDeque;
use std::io::{IsTerminal, Write as _};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Map, Value};
use spindle_shared::limits::{LOG_LINE_BYTES_MAX, LOG_LINES_MAX};
use spindle_shared::text;
use tokio::sync::watch;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, reload};

use crate::config;
use daily::Daily;
use journal::Journal;

/// One thing said.
pub struct Line {
    pub level: Level,
    pub message: String,
    pub fields: Map<String, Value>,
}

impl Line {
    fn of(event: &Event<'_>) -> Self {
        let mut words = Words { message: String::new(), fields: Map::new() };
        event.record(&mut words);
        Line { level: *event.metadata().level(), message: words.message, fields: words.fields }
    }

    /// One line of JSON, without its end.
    fn json(&self, time: jiff::Timestamp) -> String {
        let mut line = Map::new();
        line.insert("time".to_owned(), shown(time).into());
        line.insert("level".to_owned(), self.level.as_str().to_lowercase().into());
        line.insert("message".to_owned(), cut(text::redacted(&self.message)).into());
        for (name, value) in &self.fields {
            let value = match value {
                Value::String(said) => cut(text::redacted(said)).into(),
                other => other.clone(),
            };
            line.entry(name.clone()).or_insert(value);
        }
        Value::Object(line).to_string()
    }
}

/// RFC 3339, to the millisecond.
pub fn shown(time: jiff::Timestamp) -> String {
    format!("{time:.3}")
}

fn cut(mut said: String) -> String {
    if said.len() > LOG_LINE_BYTES_MAX {
        let end = (0..=LOG_LINE_BYTES_MAX).rev().find(|at| said.is_char_boundary(*at)).unwrap_or(0);
        said.truncate(end);
        said.push('…');
    }
    said
}

struct Words {
    message: String,
    fields: Map<String, Value>,
}

impl Words {
    fn put(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::String(said)) => self.message = said,
            (name, value) => drop(self.fields.insert(name.to_owned(), value)),
        }
    }
}

impl Visit for Words {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.put(field, format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }
}

/// The last lines, each with its number.
#[derive(Debug)]
pub struct Recent {
    lines: Mutex<(u64, VecDeque<String>)>,
    /// The number of the last.
    told: watch::Sender<u64>,
}

impl Default for Recent {
    fn default() -> Self {
        Recent { lines: Mutex::default(), told: watch::Sender::new(0) }
    }
}

impl Recent {
    fn push(&self, line: String) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.0 += 1;
        lines.1.push_back(line);
        if lines.1.len() > LOG_LINES_MAX {
            lines.1.pop_front();
        }
        self.told.send_replace(lines.0);
    }

    /// At most so many of those behind this number, and the number of the last.
    pub fn after(&self, number: u64, most: usize) -> (Vec<String>, u64) {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let new = usize::try_from(lines.0.saturating_sub(number)).unwrap_or(usize::MAX);
        let count = new.min(most).min(lines.1.len());
        (lines.1.iter().skip(lines.1.len() - count).cloned().collect(), lines.0)
    }

    pub fn changes(&self) -> watch::Receiver<u64> {
        self.told.subscribe()
    }
}

/// Where lines go besides memory.
enum Output {
    /// Text for people is tracing's own.
    None,
    Json,
    Journal(Journal),
    Daily(Mutex<Daily>),
}

struct Sink {
    recent: Arc<Recent>,
    output: Output,
}

impl<S: Subscriber> Layer<S> for Sink {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let line = Line::of(event);
        let json = line.json(jiff::Timestamp::now());
        match &self.output {
            Output::None => {}
            // Whoever reads it has gone; there is nobody to tell.
            Output::Json => drop(writeln!(std::io::stderr(), "{json}")),
            Output::Journal(journal) => journal.send(&line),
            Output::Daily(daily) => {
                let today = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date();
                daily.lock().unwrap_or_else(PoisonError::into_inner).write(&json, today);
            }
        }
        self.recent.push(json);
    }
}

/// Takes a level for the log, or says why it is none.
type SetLevel = dyn Fn(&str) -> Result<(), String> + Send + Sync;

/// The log once it is begun.
pub struct Log {
    pub recent: Arc<Recent>,
    level: Box<SetLevel>,
}

impl Log {
    /// Other levels count from now on; as in `SPINDLE_LOG`.
    pub fn set_level(&self, level: &str) -> Result<(), String> {
        (self.level)(level)
    }
}

/// `SPINDLE_LOG` outranks the configuration, for whoever looks for something.
fn filter(level: &str) -> Result<EnvFilter, String> {
    match std::env::var("SPINDLE_LOG") {
        Ok(own) if !own.is_empty() => EnvFilter::try_new(own).map_err(|error| format!("SPINDLE_LOG: {error}")),
        _ => EnvFilter::try_new(level).map_err(|error| format!("log.level: {error}")),
    }
}

/// Begins the log of this process. `state_dir`: where files go unless the configuration names a folder.
pub fn begin(config: &config::Log, state_dir: &Path) -> Result<Log, String> {
    let (filter, handle) = reload::Layer::new(filter(&config.level)?);
    let journaled = || journal::is_ours().then(Journal::connect).flatten();
    let output = match config.to {
        config::LogTo::Auto => journaled().map_or(Output::None, Output::Journal),
        config::LogTo::Stderr => Output::None,
        config::LogTo::Json => Output::Json,
        config::LogTo::Journald => Output::Journal(Journal::connect().ok_or("log.to = journald, and there is none")?),
        config::LogTo::Files => {
            let folder = config.folder.as_ref().map_or_else(|| state_dir.join("logs"), std::path::PathBuf::from);
            Output::Daily(Mutex::new(Daily::open(&folder, config.keep_days, config.file_mib << 20)?))
        }
    };
    let for_people = matches!(output, Output::None).then(|| {
        tracing_subscriber::fmt::layer()
            .with_writer(std::io::stderr)
            .with_ansi(std::io::stderr().is_terminal())
            .with_target(false)
    });
    let recent: Arc<Recent> = Arc::default();
    let sink = Sink { recent: Arc::clone(&recent), output };
    tracing_subscriber::registry().with(filter).with(for_people).with(sink).init();
    let level = move |level: &str| {
        let filter = self::filter(level)?;
        handle.reload(filter).map_err(|error| error.to_string())
    };
    Ok(Log { recent, level: Box::new(level) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(message: &str, fields: &[(&str, Value)]) -> Line {
        let fields = fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        Line { level: Level::WARN, message: message.to_owned(), fields }
    }

    #[test]
    fn a_line_is_one_line_of_json_without_secrets() {
        let line = line(
            "fetched https://me:pw@a.example/x?sig=SECRET\nand more",
            &[("job", "1/2".into()), ("bytes", 3.into()), ("message", "not this".into())],
        );
        let json = line.json(jiff::Timestamp::from_second(1_700_000_000).unwrap());
        let read: Value = serde_json::from_str(&json).unwrap();
        assert!(!json.contains('\n') && !json.contains("SECRET") && !json.contains("pw"), "{json}");
        assert_eq!((&read["level"], &read["job"], &read["bytes"]), (&"warn".into(), &"1/2".into(), &3.into()));
        assert_eq!(read["time"], "2023-11-14T22:13:20.000Z");
        assert!(cut("ä".repeat(LOG_LINE_BYTES_MAX)).len() <= LOG_LINE_BYTES_MAX + 3);
    }

    #[test]
    fn the_end_is_kept_and_each_line_is_given_once() {
        let recent = Recent::default();
        for number in 0..LOG_LINES_MAX + 10 {
            recent.push(number.to_string());
        }
        let (lines, last) = recent.after(0, usize::MAX);
        assert_eq!((lines.len(), last), (LOG_LINES_MAX, (LOG_LINES_MAX + 10) as u64));
        assert_eq!(recent.after(last, 5), (Vec::new(), last));
        recent.push("new".to_owned());
        assert_eq!(recent.after(last, 5), (vec!["new".to_owned()], last + 1));
        assert_eq!(recent.after(0, 2).0, [(LOG_LINES_MAX + 9).to_string(), "new".to_owned()]);
    }
}
