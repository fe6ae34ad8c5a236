//! A batch: a recipe with parameters over inputs; what is asked for, and how it stands.

use serde::{Deserialize, Serialize};

use crate::id::{BatchId, Owner};
use crate::job::{JobState, OutputPlan};
use crate::notify::Notify;
use crate::recipe::Recipe;
use crate::time::WallMs;

/// 0–100, smaller runs first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Priority(pub u8);

impl Priority {
    pub const NORMAL: Priority = Priority(50);
    /// Taken back from by each retry, where the priority is computed.
    pub const RETRIED: u8 = 20;

    /// Of inputs that are so large in the mean: short ones first.
    pub fn of_size(mean_bytes: u64) -> Self {
        const MB: u64 = 1_000_000;
        match mean_bytes {
            small if small < 100 * MB => Priority(Self::NORMAL.0 - 10),
            large if large > 500 * MB => Priority(Self::NORMAL.0 + 10),
            _ => Self::NORMAL,
        }
    }

    pub const WORDS: [(&str, Priority); 5] = [
        ("urgent", Priority(0)),
        ("high", Priority(25)),
        ("normal", Priority(50)),
        ("low", Priority(75)),
        ("idle", Priority(100)),
    ];
}

impl std::str::FromStr for Priority {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some((_, priority)) = Priority::WORDS.iter().find(|(word, _)| *word == text) {
            return Ok(*priority);
        }
        text.parse::<u8>()
            .ok()
            .filter(|number| *number <= 100)
            .map(Priority)
            .ok_or_else(|| format!("`{text}` is no priority: 0–100 or urgent, high, normal, low, idle"))
    }
}

impl std::fmt::Display for Priority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// What to do where an output's name is taken at submission.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnExisting {
    Refuse,
    Skip,
    Force,
}

/// What a user asks for, without the inputs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BatchSpec {
    pub recipe: Recipe,
    pub name: Option<String>,
    pub tags: Vec<(String, String)>,
    pub priority: Priority,
    /// Jobs at work at the same time, from first start to end; 1–64.
    pub parallel: u32,
    /// Tries after the first, for kinds that are tried again; `None` = each kind's own policy.
    pub retries: Option<u32>,
    /// Longest time for one run of a stage; `None` = each stage's own.
    pub timeout: Option<TimeLimit>,
    /// The same key from the same owner gives the same batch.
    pub key: Option<String>,
    pub on_existing: OnExisting,
    pub terms: Terms,
    /// Where the gather's outputs go; their stem is this one and the batch's number. `None` = nothing is gathered.
    pub gather_to: Option<OutputPlan>,
}

/// How long a run of a stage may take.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum TimeLimit {
    Milliseconds(u64),
    /// This many times as long as the recording is, and a minute at least; 0.01–1000.
    TimesMedia(f64),
}

impl TimeLimit {
    const LEAST_MS: f64 = 60_000.0;

    /// In milliseconds; `None` where it depends on a length that is not known yet.
    pub fn ms(self, media_seconds: Option<f64>) -> Option<u64> {
        match self {
            TimeLimit::Milliseconds(ms) => Some(ms),
            TimeLimit::TimesMedia(times) => Some((times * media_seconds? * 1_000.0).max(Self::LEAST_MS) as u64),
        }
    }
}

/// When a batch may begin, how urgent it is, and when it gives up.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Terms {
    /// Batches that must have ended before.
    pub after: Vec<After>,
    /// Not before this time.
    pub at: Option<WallMs>,
    pub halt: Option<Halt>,
    /// Its priority is not the one given, but follows from its inputs' sizes, and falls with each retry.
    pub auto_priority: bool,
    /// What its model APIs may cost, in the unit of the configured prices; `None` = anything.
    pub max_cost: Option<f64>,
    /// Who is told of its end.
    pub notify: Vec<Notify>,
}

/// A batch to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct After {
    pub batch: BatchId,
    /// However it ends; otherwise it must have completed.
    pub any_end: bool,
}

impl After {
    /// Whether this end is what was waited for.
    pub fn is_met_by(self, end: BatchState) -> bool {
        self.any_end || end == BatchState::Completed
    }
}

/// Gives the rest of a batch up once so much of it has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Halt {
    /// What runs is stopped too; otherwise it comes to its end.
    pub now: bool,
    pub failed: HaltAt,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum HaltAt {
    Jobs(u32),
    /// 1–100, of all jobs of the batch that are not skipped.
    Percent(u8),
}

impl Halt {
    /// Whether these counts are enough.
    pub fn is_due(self, counts: &Counts) -> bool {
        let failed = counts.failed;
        failed > 0
            && match self.failed {
                HaltAt::Jobs(jobs) => failed >= jobs,
                HaltAt::Percent(percent) => {
                    u64::from(failed) * 100 >= u64::from(percent) * u64::from(counts.total() - counts.skipped)
                }
            }
    }
}

impl std::str::FromStr for Halt {
    type Err = String;

    /// `soon,fail=3`, `now,fail=10%`.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not like soon,fail=10%: soon or now, and a number of jobs or 1–100 %");
        let (when, failed) = text.split_once(",fail=").ok_or_else(wrong)?;
        let now = match when {
            "soon" => false,
            "now" => true,
            _ => return Err(wrong()),
        };
        let failed = match failed.strip_suffix('%') {
            Some(percent) => HaltAt::Percent(percent.parse().ok().filter(|p| (1..=100).contains(p)).ok_or_else(wrong)?),
            None => HaltAt::Jobs(failed.parse().ok().filter(|jobs| *jobs > 0).ok_or_else(wrong)?),
        };
        Ok(Halt { now, failed })
    }
}

/// How a batch stands, as shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum BatchState {
    Pending,
    Running,
    Paused,
    Cancelling,
    Completed,
    Partial,
    Failed,
    Cancelled,
}

impl BatchState {
    pub const ALL: [BatchState; 8] = [
        BatchState::Pending,
        BatchState::Running,
        BatchState::Paused,
        BatchState::Cancelling,
        BatchState::Completed,
        BatchState::Partial,
        BatchState::Failed,
        BatchState::Cancelled,
    ];

    pub fn name(self) -> &'static str {
        match self {
            BatchState::Pending => "pending",
            BatchState::Running => "running",
            BatchState::Paused => "paused",
            BatchState::Cancelling => "cancelling",
            BatchState::Completed => "completed",
            BatchState::Partial => "partial",
            BatchState::Failed => "failed",
            BatchState::Cancelled => "cancelled",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        BatchState::ALL.into_iter().find(|state| state.name() == name)
    }

    pub fn is_terminal(self) -> bool {
        matches!(self, BatchState::Completed | BatchState::Partial | BatchState::Failed | BatchState::Cancelled)
    }
}

/// The one rule for a batch's state: all completed or skipped → completed, none → failed, else partial; only a batch that was
/// cancelled itself is `cancelled`, and what can't be gathered makes it failed. `gather`: how its gather job stands, where it has one.
pub fn state_of(counts: &Counts, gather: Option<JobState>, paused: bool, cancelling: bool) -> BatchState {
    let good = counts.completed + counts.skipped;
    if !counts.all_ended() || gather.is_some_and(|gather| !gather.is_terminal()) {
        return match (cancelling, paused) {
            (true, _) => BatchState::Cancelling,
            (false, true) => BatchState::Paused,
            (false, false) if counts.running + counts.retrying + counts.ended() > counts.skipped => BatchState::Running,
            (false, false) => BatchState::Pending,
        };
    }
    if cancelling {
        BatchState::Cancelled
    } else if gather == Some(JobState::Failed) {
        BatchState::Failed
    } else if good == counts.total() && gather != Some(JobState::Cancelled) {
        BatchState::Completed
    } else if good == 0 {
        BatchState::Failed
    } else {
        BatchState::Partial
    }
}

/// How many jobs are in each state; they always add up to the total.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counts {
    pub pending: u32,
    pub running: u32,
    pub retrying: u32,
    pub completed: u32,
    pub skipped: u32,
    pub failed: u32,
    pub cancelled: u32,
}

impl Counts {
    pub fn total(&self) -> u32 {
        self.pending + self.running + self.retrying + self.ended()
    }

    pub fn ended(&self) -> u32 {
        self.completed + self.skipped + self.failed + self.cancelled
    }

    pub fn all_ended(&self) -> bool {
        self.pending + self.running + self.retrying == 0
    }

    pub fn slot(&mut self, state: JobState) -> &mut u32 {
        match state {
            JobState::Pending => &mut self.pending,
            JobState::Running => &mut self.running,
            JobState::Retrying => &mut self.retrying,
            JobState::Completed => &mut self.completed,
            JobState::Skipped => &mut self.skipped,
            JobState::Failed => &mut self.failed,
            JobState::Cancelled => &mut self.cancelled,
        }
    }
}

/// A batch as shown to people and scripts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BatchView {
    pub id: BatchId,
    pub name: Option<String>,
    pub recipe: String,
    pub owner: Owner,
    pub state: BatchState,
    pub priority: Priority,
    pub parallel: u32,
    pub created_at: WallMs,
    pub started_at: Option<WallMs>,
    pub finished_at: Option<WallMs>,
    pub counts: Counts,
    /// How its gather job stands; `None` = it has none.
    pub gather: Option<JobState>,
    /// 0–1, never going back.
    pub progress: f32,
    /// The stage most of its running jobs are at.
    pub stage: Option<String>,
    /// Remaining time: likely, low and high, in seconds; `None` = unknown.
    pub eta: Option<Eta>,
    pub tags: Vec<(String, String)>,
}

/// Remaining time as a range, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Eta {
    pub seconds: f64,
    pub low: f64,
    pub high: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_by_length_has_a_floor_and_needs_a_length() {
        assert_eq!(TimeLimit::Milliseconds(5).ms(None), Some(5));
        assert_eq!(TimeLimit::TimesMedia(2.0).ms(Some(100.0)), Some(200_000));
        assert_eq!(TimeLimit::TimesMedia(2.0).ms(Some(1.0)), Some(60_000));
        assert_eq!(TimeLimit::TimesMedia(2.0).ms(None), None);
    }

    #[test]
    fn halts_are_read_as_they_are_written() {
        let counts = |failed, total| Counts { failed, pending: total - failed, ..Counts::default() };
        for (text, failed, total, due) in [
            ("soon,fail=3", 2, 10, false),
            ("soon,fail=3", 3, 10, true),
            ("now,fail=10%", 0, 5, false),
            ("now,fail=10%", 1, 10, true),
            ("now,fail=10%", 1, 11, false),
            ("soon,fail=100%", 10, 10, true),
        ] {
            let halt: Halt = text.parse().unwrap();
            assert_eq!(halt.is_due(&counts(failed, total)), due, "{text}");
            assert_eq!(halt.now, text.starts_with("now"));
        }
        for wrong in
            ["", "soon", "fail=3", "later,fail=1", "soon,fail=0", "soon,fail=101%", "soon,fail=-1", "soon,fail=x%"]
        {
            assert!(wrong.parse::<Halt>().is_err(), "{wrong}");
        }
    }
}
