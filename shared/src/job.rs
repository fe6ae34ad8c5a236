//! A job: one input on its way through the recipe's stages; what is known of it, and how it stands.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::id::JobId;
use crate::stage::Stage;
use crate::time::WallMs;
use crate::url::Url;

/// A path as the kernel has it: any bytes but NUL. On the wire bytes; shown lossily with control characters escaped.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct PathBytes(pub Vec<u8>);

impl PathBytes {
    pub fn as_path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.0))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<&Path> for PathBytes {
    fn from(path: &Path) -> Self {
        PathBytes(path.as_os_str().as_bytes().to_vec())
    }
}

impl From<PathBuf> for PathBytes {
    fn from(path: PathBuf) -> Self {
        PathBytes(path.into_os_string().into_vec())
    }
}

impl From<&OsStr> for PathBytes {
    fn from(text: &OsStr) -> Self {
        PathBytes(text.as_bytes().to_vec())
    }
}

impl From<OsString> for PathBytes {
    fn from(text: OsString) -> Self {
        PathBytes(text.into_vec())
    }
}

/// For people: control characters (a newline in a name, an escape sequence) are escaped.
impl fmt::Display for PathBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        crate::text::write_escaped(f, &String::from_utf8_lossy(&self.0))
    }
}

impl fmt::Debug for PathBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(&self.0))
    }
}

/// Which file it is and in which state, as stat tells; changes when the content may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FileIdentity {
    pub dev: u64,
    pub inode: u64,
    pub bytes: u64,
    /// Nanoseconds since the epoch.
    pub mtime_ns: i128,
    pub ctime_ns: i128,
}

impl FileIdentity {
    pub fn of(meta: &std::fs::Metadata) -> Self {
        use std::os::unix::fs::MetadataExt;
        let nanos = |s: i64, ns: i64| i128::from(s) * 1_000_000_000 + i128::from(ns);
        FileIdentity {
            dev: meta.dev(),
            inode: meta.ino(),
            bytes: meta.size(),
            mtime_ns: nanos(meta.mtime(), meta.mtime_nsec()),
            ctime_ns: nanos(meta.ctime(), meta.ctime_nsec()),
        }
    }
}

/// Where a job's material comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Input {
    /// A file of this machine, absolute, as it was when it was submitted.
    File { path: PathBytes, identity: FileIdentity },
    /// Something with a name and no file here (a model in the catalogue).
    Name(String),
    /// Something that lies elsewhere and is fetched first.
    Url(Url),
}

impl Input {
    pub fn bytes(&self) -> u64 {
        match self {
            Input::File { identity, .. } => identity.bytes,
            Input::Name(_) | Input::Url(_) => 0,
        }
    }
}

impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Input::File { path, .. } => path.fmt(f),
            Input::Name(name) => crate::text::write_escaped(f, name),
            Input::Url(url) => url.fmt(f),
        }
    }
}

/// Where a job's outputs go: names are made from the stem when the language is known.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct OutputPlan {
    pub directory: PathBytes,
    /// Told apart from the stems of the batch's other inputs.
    pub stem: PathBytes,
}

/// One input of a submission.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobSpec {
    pub input: Input,
    pub output: OutputPlan,
    /// Stages with this input's own parameters; `None` = the batch's.
    pub stages: Option<Vec<Stage>>,
    /// Decided at submission: nothing to do, and why.
    pub skip: Option<String>,
    /// Files this job may replace while they still have this content: earlier outputs, made otherwise.
    pub replace: Vec<(PathBytes, crate::id::ContentHash)>,
}

/// How a job stands, as shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum JobState {
    Pending,
    Running,
    /// Waits for its next try after a failed one.
    Retrying,
    Completed,
    Skipped,
    Failed,
    Cancelled,
}

impl JobState {
    pub const ALL: [JobState; 7] = [
        JobState::Pending,
        JobState::Running,
        JobState::Retrying,
        JobState::Completed,
        JobState::Skipped,
        JobState::Failed,
        JobState::Cancelled,
    ];

    pub fn name(self) -> &'static str {
        match self {
            JobState::Pending => "pending",
            JobState::Running => "running",
            JobState::Retrying => "retrying",
            JobState::Completed => "completed",
            JobState::Skipped => "skipped",
            JobState::Failed => "failed",
            JobState::Cancelled => "cancelled",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        JobState::ALL.into_iter().find(|state| state.name() == name)
    }

    pub fn is_terminal(self) -> bool {
        matches!(self, JobState::Completed | JobState::Skipped | JobState::Failed | JobState::Cancelled)
    }
}

/// A file published to the user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    pub path: PathBytes,
    /// `srt`, `vtt`, `model` …
    pub kind: String,
    pub bytes: u64,
}

/// What the stages found out about an input; filled in as they end.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Detail {
    /// Length of the decoded audio in seconds.
    pub media_seconds: Option<f64>,
    /// ISO 639-1, or `und`.
    pub language: Option<String>,
    /// 0–1.
    pub language_probability: Option<f64>,
    pub cues: Option<u32>,
    pub words: Option<u32>,
    /// What a person should know although the job went well.
    pub notes: Vec<String>,
    /// What a recipe's own stages measured, by name: `original_bytes`, `profile`.
    pub figures: Vec<(String, Figure)>,
}

/// Something that a stage measured or chose.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Figure {
    Number(f64),
    Text(String),
    Flag(bool),
}

impl From<f64> for Figure {
    fn from(number: f64) -> Self {
        Figure::Number(number)
    }
}

impl From<&str> for Figure {
    fn from(text: &str) -> Self {
        Figure::Text(text.to_owned())
    }
}

impl From<String> for Figure {
    fn from(text: String) -> Self {
        Figure::Text(text)
    }
}

impl From<bool> for Figure {
    fn from(flag: bool) -> Self {
        Figure::Flag(flag)
    }
}

impl Detail {
    /// Takes over what `newer` knows.
    pub fn absorb(&mut self, newer: Detail) {
        let Detail { media_seconds, language, language_probability, cues, words, notes, figures } = newer;
        self.media_seconds = media_seconds.or(self.media_seconds);
        self.language = language.or(self.language.take());
        self.language_probability = language_probability.or(self.language_probability);
        self.cues = cues.or(self.cues);
        self.words = words.or(self.words);
        for note in notes {
            if !self.notes.contains(&note) {
                self.notes.push(note);
            }
        }
        for (name, figure) in figures {
            self.figure(&name, figure);
        }
    }

    /// Sets a figure; an older one of this name goes.
    pub fn figure(&mut self, name: &str, figure: impl Into<Figure>) {
        let full = self.figures.len() >= crate::limits::FIGURES_MAX;
        match self.figures.iter_mut().find(|(known, _)| known == name) {
            Some((_, place)) => *place = figure.into(),
            None if !full => self.figures.push((name.to_owned(), figure.into())),
            None => {}
        }
    }

    pub fn number(&self, name: &str) -> Option<f64> {
        self.figures.iter().find_map(|(known, figure)| match figure {
            Figure::Number(number) if known == name => Some(*number),
            _ => None,
        })
    }

    pub fn flag(&self, name: &str) -> bool {
        self.figures.iter().any(|(known, figure)| known == name && *figure == Figure::Flag(true))
    }
}

/// A job as shown to people and scripts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobView {
    pub id: JobId,
    /// `None` in events of a batch too large to repeat every name.
    pub input: Option<Input>,
    pub state: JobState,
    /// The stage it is at, or was at when it ended.
    pub stage: String,
    /// 0–1, never going back.
    pub progress: f32,
    pub attempts: u32,
    pub worker: Option<String>,
    pub created_at: WallMs,
    pub started_at: Option<WallMs>,
    pub finished_at: Option<WallMs>,
    /// Stage and seconds, in the order of the stages.
    pub timings: Vec<(String, f64)>,
    pub failure: Option<Failure>,
    pub skipped_reason: Option<String>,
    pub outputs: Vec<Output>,
    pub detail: Detail,
    /// The most memory that the worker of any of its runs held; `None` = unknown.
    pub peak_memory_bytes: Option<u64>,
}
