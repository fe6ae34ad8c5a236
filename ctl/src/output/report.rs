//! The report on a batch: its figures and failures as one document. Takes jobs in one by one; knows no daemon and no file.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;
use spindle_shared::batch::BatchView;
use spindle_shared::job::{JobState, JobView};
use spindle_shared::limits::{REPORT_JOBS_MAX, REPORT_REMARKS_MAX};

use crate::output::causes::{Cause, Causes};
use crate::output::human;
use crate::output::json::{BatchJson, Figures, JobJson, SummaryJson, input_text};

pub struct BatchReport<'b> {
    batch: &'b BatchView,
    figures: Figures,
    stages: Vec<Stage>,
    files: u64,
    bytes: u64,
    tried_again: u32,
    causes: Causes,
    skipped: Remarks,
    notes: Remarks,
    /// The job over all results, where the recipe has one.
    pub gather: Option<JobView>,
}

#[derive(Debug)]
struct Stage {
    name: String,
    jobs: u32,
    seconds: f64,
    slowest: f64,
}

/// Sentences with how often they were said; those beyond the limit go together.
#[derive(Debug, Default)]
struct Remarks {
    said: BTreeMap<String, u32>,
    others: u32,
}

impl Remarks {
    fn add(&mut self, text: &str) {
        if let Some(times) = self.said.get_mut(text) {
            *times += 1;
        } else if self.said.len() < REPORT_REMARKS_MAX {
            self.said.insert(text.to_owned(), 1);
        } else {
            self.others += 1;
        }
    }

    /// The most frequent first.
    fn sorted(&self) -> Vec<(&str, u32)> {
        let mut said: Vec<_> = self.said.iter().map(|(text, times)| (text.as_str(), *times)).collect();
        said.sort_by_key(|(_, times)| std::cmp::Reverse(*times));
        said.extend((self.others > 0).then_some(("others", self.others)));
        said
    }
}

#[derive(Debug, Serialize)]
pub struct ReportJson {
    generated_at: String,
    #[serde(flatten)]
    batch: BatchJson,
    /// Of the total, 0–1.
    shares: SharesJson,
    summary: SummaryJson,
    /// Jobs that needed more than one try at the stage they ended at.
    tried_again: u32,
    stages: Vec<StageJson>,
    outputs: OutputsJson,
    failures: Vec<CauseJson>,
    skipped_reasons: Vec<RemarkJson>,
    notes: Vec<RemarkJson>,
    gather: Option<JobJson>,
}

#[derive(Debug, Serialize)]
struct SharesJson {
    completed: f64,
    failed: f64,
    skipped: f64,
    cancelled: f64,
}

#[derive(Debug, Serialize)]
struct StageJson {
    stage: String,
    jobs: u32,
    total_seconds: f64,
    mean_seconds: f64,
    slowest: f64,
}

#[derive(Debug, Serialize)]
struct OutputsJson {
    files: u64,
    bytes: u64,
}

#[derive(Debug, Serialize)]
struct CauseJson {
    kind: &'static str,
    count: usize,
    message: String,
    advice: String,
    jobs: Vec<FailedJobJson>,
    /// Not named for want of room.
    unnamed: usize,
}

#[derive(Debug, Serialize)]
struct FailedJobJson {
    job_id: String,
    input: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    input_bytes: Option<String>,
    stage: String,
    attempts: u32,
    message: String,
}

#[derive(Debug, Serialize)]
struct RemarkJson {
    text: String,
    jobs: u32,
}

impl<'b> BatchReport<'b> {
    pub fn new(batch: &'b BatchView) -> Self {
        BatchReport {
            batch,
            figures: Figures::default(),
            stages: Vec::new(),
            files: 0,
            bytes: 0,
            tried_again: 0,
            causes: Causes::new(REPORT_JOBS_MAX, REPORT_JOBS_MAX),
            skipped: Remarks::default(),
            notes: Remarks::default(),
            gather: None,
        }
    }

    pub fn add(&mut self, job: &JobView) {
        self.figures.add(job);
        for (name, seconds) in &job.timings {
            match self.stages.iter_mut().find(|stage| stage.name == *name) {
                Some(stage) => {
                    stage.jobs += 1;
                    stage.seconds += seconds;
                    stage.slowest = stage.slowest.max(*seconds);
                }
                None => {
                    self.stages.push(Stage { name: name.clone(), jobs: 1, seconds: *seconds, slowest: *seconds });
                }
            }
        }
        self.files += job.outputs.len() as u64;
        self.bytes += job.outputs.iter().map(|output| output.bytes).sum::<u64>();
        self.tried_again += u32::from(job.attempts > 1);
        if job.state == JobState::Failed {
            self.causes.add(job);
        }
        if let Some(reason) = &job.skipped_reason {
            self.skipped.add(reason);
        }
        job.detail.notes.iter().for_each(|note| self.notes.add(note));
    }

    pub fn json(self) -> ReportJson {
        let now = human::now();
        let counts = self.batch.counts;
        let share = |jobs: u32| (f64::from(jobs) / f64::from(counts.total().max(1)) * 10_000.0).round() / 10_000.0;
        let remarks = |remarks: &Remarks| {
            let said = remarks.sorted().into_iter();
            said.map(|(text, jobs)| RemarkJson { text: text.to_owned(), jobs }).collect()
        };
        ReportJson {
            generated_at: human::time(now),
            batch: BatchJson::new(self.batch, now),
            shares: SharesJson {
                completed: share(counts.completed),
                failed: share(counts.failed),
                skipped: share(counts.skipped),
                cancelled: share(counts.cancelled),
            },
            summary: self.figures.summary(self.batch),
            tried_again: self.tried_again,
            outputs: OutputsJson { files: self.files, bytes: self.bytes },
            skipped_reasons: remarks(&self.skipped),
            notes: remarks(&self.notes),
            gather: self.gather.as_ref().map(JobJson::from),
            stages: self
                .stages
                .into_iter()
                .map(|stage| StageJson {
                    stage: stage.name,
                    jobs: stage.jobs,
                    total_seconds: stage.seconds,
                    mean_seconds: stage.seconds / f64::from(stage.jobs),
                    slowest: stage.slowest,
                })
                .collect(),
            failures: self.causes.sorted().into_iter().map(cause_json).collect(),
        }
    }

    pub fn markdown(self) -> String {
        let now = human::now();
        let batch = self.batch;
        let counts = batch.counts;
        let mut text = format!("# Batch {}", batch.id);
        if let Some(name) = &batch.name {
            put(&mut text, format_args!(": {}", plain(name)));
        }
        put(&mut text, format_args!("\n\n{}\n\n", self.verdict()));

        text.push_str("| | |\n|---|---|\n");
        for (name, value) in human::batch_rows(batch, now) {
            if name != "batch" && name != "name" && name != "inputs" && name != "stage" {
                put(&mut text, format_args!("| {name} | {} |\n", plain(&value)));
            }
        }
        put(&mut text, format_args!("| reported | {} |\n", human::time(now)));

        text.push_str("\n## Inputs\n\n| state | inputs | share |\n|---|--:|--:|\n");
        let states = [
            ("completed", counts.completed),
            ("skipped", counts.skipped),
            ("failed", counts.failed),
            ("cancelled", counts.cancelled),
        ];
        for (name, number) in states {
            put(&mut text, format_args!("| {name} | {number} | {} |\n", percent(number, counts.total())));
        }
        put(&mut text, format_args!("| **all** | {} | |\n", counts.total()));

        text.push_str("\n## Figures\n\n");
        for (name, value) in self.figure_rows() {
            put(&mut text, format_args!("- {name}: {value}\n"));
        }
        if !self.stages.is_empty() {
            text.push_str("\n| stage | jobs | mean | slowest | in all |\n|---|--:|--:|--:|--:|\n");
            for Stage { name, jobs, seconds, slowest } in &self.stages {
                let [mean, slowest, all] = [seconds / f64::from(*jobs), *slowest, *seconds].map(human::seconds);
                put(&mut text, format_args!("| {} | {jobs} | {mean} | {slowest} | {all} |\n", plain(name)));
            }
        }
        self.skipped.write(&mut text, "Skipped", "why");
        self.notes.write(&mut text, "Remarks", "remark");

        if let Some(gather) = &self.gather {
            text.push_str("\n## Gather\n\n| | |\n|---|---|\n");
            for line in human::job_text(gather, now).lines() {
                let (name, value) = line.split_once("  ").unwrap_or((line, ""));
                put(&mut text, format_args!("| {name} | {} |\n", plain(value.trim())));
            }
        }

        let causes = self.causes.sorted();
        if !causes.is_empty() {
            text.push_str("\n## Failures\n");
            causes.iter().for_each(|cause| write_cause(&mut text, cause, batch));
        }
        text
    }

    fn verdict(&self) -> String {
        let counts = self.batch.counts;
        match (counts.failed, counts.cancelled) {
            (0, 0) => format!("All {} inputs are done.", counts.total()),
            (0, cancelled) => format!("{cancelled} of {} inputs were cancelled, the others are done.", counts.total()),
            (failed, 0) => format!("{failed} of {} inputs failed.", counts.total()),
            (failed, cancelled) => {
                format!("{failed} of {} inputs failed, {cancelled} were cancelled.", counts.total())
            }
        }
    }

    /// What is known, and nothing of what isn't.
    fn figure_rows(&self) -> Vec<(&'static str, String)> {
        let summary = self.figures.summary(self.batch);
        let with =
            |seconds: Option<f64>, job: Option<&String>| Some(format!("{} (job {})", human::seconds(seconds?), job?));
        let rows = [
            ("mean time of a completed job", summary.mean_seconds.map(human::seconds)),
            ("fastest", with(summary.fastest, summary.fastest_job.as_ref())),
            ("slowest", with(summary.slowest, summary.slowest_job.as_ref())),
            ("throughput", summary.throughput.map(|rate| format!("{:.1} jobs per minute", rate * 60.0))),
            ("recordings", summary.media_seconds.map(human::seconds)),
            ("speed", summary.media_throughput.map(|speed| format!("{speed:.1} × real time"))),
            ("most memory of one worker", summary.peak_memory_bytes.map(human::bytes)),
            ("tried more than once", (self.tried_again > 0).then(|| format!("{} jobs", self.tried_again))),
            ("outputs", Some(format!("{} files, {}", self.files, human::bytes(self.bytes)))),
        ];
        rows.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }
}

impl Remarks {
    fn write(&self, text: &mut String, heading: &str, column: &str) {
        if self.said.is_empty() {
            return;
        }
        put(text, format_args!("\n## {heading}\n\n| inputs | {column} |\n|--:|---|\n"));
        for (said, times) in self.sorted() {
            put(text, format_args!("| {times} | {} |\n", plain(said)));
        }
    }
}

fn write_cause(text: &mut String, cause: &Cause, batch: &BatchView) {
    let Cause { kind, count, message, advice, jobs } = cause;
    // Commands to type stand between backticks.
    let advice = plain(advice).replace("\\`", "`");
    put(text, format_args!("\n### {count} × {kind}: {}\n\nWhat to do: {}.\n\n", plain(message), advice));
    text.push_str("| job | input | stage | tries | message |\n|--:|---|---|--:|---|\n");
    for job in jobs {
        let input = job.input.as_ref().map_or_else(|| human::UNKNOWN.to_owned(), ToString::to_string);
        put(
            text,
            format_args!(
                "| {} | {} | {} | {} | {} |\n",
                job.id,
                plain(&input),
                plain(&job.stage),
                job.attempts,
                plain(&job.message)
            ),
        );
    }
    if *count > jobs.len() {
        let unnamed = count - jobs.len();
        put(text, format_args!("\nAnd {unnamed} more: `spindlectl jobs {} --state failed` lists all.\n", batch.id));
    }
}

fn cause_json(cause: Cause) -> CauseJson {
    let unnamed = cause.count - cause.jobs.len();
    let jobs = cause.jobs.into_iter().map(|job| {
        let (input, input_bytes) = job.input.as_ref().map(input_text).unzip();
        FailedJobJson {
            job_id: job.id.to_string(),
            input,
            input_bytes: input_bytes.flatten(),
            stage: job.stage,
            attempts: job.attempts,
            message: job.message,
        }
    });
    CauseJson {
        kind: cause.kind.name(),
        count: cause.count,
        message: cause.message,
        advice: cause.advice,
        jobs: jobs.collect(),
        unnamed,
    }
}

/// Writing to a String can't fail.
fn put(text: &mut String, written: std::fmt::Arguments<'_>) {
    let _ = text.write_fmt(written);
}

fn percent(part: u32, whole: u32) -> String {
    format!("{:.1} %", f64::from(part) / f64::from(whole.max(1)) * 100.0)
}

/// Text that Markdown takes for text: no name or message makes a heading, a link or a cell of a table.
fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in human::escaped(text).chars() {
        if matches!(c, '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '|' | '#' | '~' | '&') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}
