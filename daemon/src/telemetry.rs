//! What has happened since the daemon's start, counted as it becomes durable; and all of it as metrics. Decides nothing.

use std::collections::BTreeMap;

use spindle_core::alert::{Rule, Vitals};
use spindle_core::change::Change;
use spindle_shared::failure::FailureKind;
use spindle_shared::job::JobState;
use spindle_shared::lane::Role;
use spindle_shared::metrics::Metric;
use spindle_shared::wire::response::{AlertView, HouseView, WorkerView};

/// Counts that only rise. The conductor keeps them; others are told how they stand.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    batches: u64,
    /// By terminal state.
    ended: BTreeMap<JobState, u64>,
    failures: BTreeMap<FailureKind, u64>,
    /// Jobs that went through a stage, and their seconds in it. The kinds of stages are few.
    stages: BTreeMap<String, (u64, f64)>,
    outputs: u64,
    output_bytes: u64,
    /// Jobs that were at work, and their seconds from first start to end.
    worked: (u64, f64),
    /// Of videos that were made smaller: before, after.
    compressed_bytes: (f64, f64),
    /// Share of a model's tokens that a smaller video is expected to save: jobs, and the sum.
    token_saving: (u64, f64),
    api_calls: f64,
    api_tokens: f64,
}

impl Tally {
    /// Takes notice of changes that are durable now.
    pub fn count(&mut self, changes: &[Change]) {
        for change in changes {
            match change {
                Change::BatchAdded(_) => self.batches += 1,
                Change::JobEnded(_, ended) => {
                    *self.ended.entry(ended.state).or_default() += 1;
                    if let Some(failure) = ended.failure.as_ref().filter(|_| ended.state == JobState::Failed) {
                        *self.failures.entry(failure.kind).or_default() += 1;
                    }
                    for (stage, seconds) in &ended.timings {
                        if let Some((jobs, sum)) = self.stages.get_mut(stage) {
                            *jobs += 1;
                            *sum += seconds;
                        } else {
                            self.stages.insert(stage.clone(), (1, *seconds));
                        }
                    }
                    if let (JobState::Completed, Some(started_at)) = (ended.state, ended.started_at) {
                        self.worked.0 += 1;
                        self.worked.1 += ended.finished_at.0.saturating_sub(started_at.0) as f64 / 1_000.0;
                    }
                    let figure = |name: &str| ended.detail.number(name).unwrap_or(0.0);
                    if ended.detail.number("compressed_bytes").is_some() {
                        self.compressed_bytes.0 += figure("original_bytes");
                        self.compressed_bytes.1 += figure("compressed_bytes");
                    }
                    if let Some(saving) = ended.detail.number("expected_token_saving") {
                        self.token_saving.0 += 1;
                        self.token_saving.1 += saving;
                    }
                    self.api_calls += figure("api_calls");
                    self.api_tokens += figure("tokens");
                    self.outputs += ended.outputs.len() as u64;
                    self.output_bytes += ended.outputs.iter().map(|output| output.bytes).sum::<u64>();
                }
                _ => {}
            }
        }
    }
}

impl Tally {
    /// Jobs that completed or failed, and those that failed.
    pub fn ended_and_failed(&self) -> (u64, u64) {
        let of = |state| self.ended.get(&state).copied().unwrap_or(0);
        (of(JobState::Completed) + of(JobState::Failed), of(JobState::Failed))
    }
}

/// What lies on the state folder's disk.
#[derive(Debug, Clone, Copy, Default)]
pub struct Disk {
    pub queue_bytes: Option<u64>,
    pub free_bytes: Option<u64>,
}

/// Names stay as they are for ever: dashboards and alerts hold on to them.
pub fn metrics(
    tally: &Tally,
    vitals: Vitals,
    house: &HouseView,
    workers: &[WorkerView],
    firing: &[AlertView],
    disk: Disk,
) -> Vec<Metric> {
    let counts = &house.counts;
    let roles = |of: fn(&WorkerView) -> u64| {
        let sum = move |role: Role| workers.iter().filter(|worker| worker.role == role.name()).map(of).sum::<u64>();
        Role::ALL.map(|role| (role.name(), sum(role) as f64))
    };
    let terminal = JobState::ALL.into_iter().filter(|state| state.is_terminal());
    let number = |count: Option<&u64>| count.copied().unwrap_or(0) as f64;
    let lanes =
        |of: fn(&(String, u32, u32)) -> u32| house.lanes.iter().map(move |lane| (lane.0.as_str(), f64::from(of(lane))));
    let stages = |of: fn(&(u64, f64)) -> f64| tally.stages.iter().map(move |(name, sums)| (name.as_str(), of(sums)));
    let mut metrics = vec![
        Metric::gauge("spindle_build_info", "1, with the daemon's version.")
            .sample(&[("version", &house.version)], 1.0),
        Metric::gauge("spindle_start_time_seconds", "When the daemon started, seconds since 1970.")
            .value(house.started_at.0 as f64 / 1_000.0),
        Metric::gauge("spindle_paused", "1 while the whole daemon is paused.").value(f64::from(u8::from(house.paused))),
        Metric::gauge("spindle_draining", "1 while the daemon starts nothing new.")
            .value(f64::from(u8::from(house.draining))),
        Metric::gauge("spindle_batches_open", "Batches that are not at their end.")
            .value(f64::from(house.batches_open)),
        Metric::counter("spindle_batches_submitted_total", "Batches submitted.").value(tally.batches as f64),
        Metric::gauge("spindle_jobs_open", "Jobs that are not at their end, by state.").each(
            "state",
            [
                ("pending", f64::from(counts.pending)),
                ("running", f64::from(counts.running)),
                ("retrying", f64::from(counts.retrying)),
            ],
        ),
        Metric::counter(
            "spindle_jobs_ended_total",
            "Jobs that came to an end, gather jobs among them, by how they ended.",
        )
        .each("state", terminal.map(|state| (state.name(), number(tally.ended.get(&state))))),
        Metric::gauge("spindle_queue_jobs", "Jobs that could begin and wait for a place.")
            .value(f64::from(vitals.queue)),
        Metric::gauge(
            "spindle_success_ratio",
            "Share of the jobs that completed, of all that completed or failed since the start; 1 before the first.",
        )
        .value(match tally.ended_and_failed() {
            (0, _) => 1.0,
            (ended, failed) => 1.0 - failed as f64 / ended as f64,
        }),
        Metric::counter("spindle_job_seconds_total", "Seconds from first start to end of completed jobs.")
            .value(tally.worked.1),
        Metric::counter(
            "spindle_jobs_worked_total",
            "Completed jobs that were at work; seconds over these = mean time.",
        )
        .value(tally.worked.0 as f64),
        Metric::counter("spindle_compression_original_bytes_total", "Bytes of videos before they were made smaller.")
            .value(tally.compressed_bytes.0),
        Metric::counter("spindle_compression_compressed_bytes_total", "Bytes of videos after they were made smaller.")
            .value(tally.compressed_bytes.1),
        Metric::counter("spindle_compression_jobs_total", "Jobs that made a video smaller for a model.")
            .value(tally.token_saving.0 as f64),
        Metric::counter(
            "spindle_compression_token_saving_total",
            "Sum of the shares of tokens that smaller videos are expected to save; over the jobs = mean share.",
        )
        .value(tally.token_saving.1),
        Metric::counter("spindle_api_calls_total", "Calls of model APIs.").value(tally.api_calls),
        Metric::counter("spindle_api_tokens_total", "Tokens that model APIs have counted.").value(tally.api_tokens),
        Metric::gauge("spindle_alert_firing", "1 while the daemon's own rule holds, by rule.").each(
            "rule",
            Rule::ALL
                .map(|rule| (rule.name(), f64::from(u8::from(firing.iter().any(|firing| firing.rule == rule.name()))))),
        ),
        Metric::gauge("spindle_store_usable", "1 while the queue can be read and written.")
            .value(f64::from(u8::from(firing.iter().all(|firing| firing.rule != Rule::Store.name())))),
        Metric::counter("spindle_job_failures_total", "Jobs that failed for good, by kind of failure.")
            .each("kind", FailureKind::ALL.map(|kind| (kind.name(), number(tally.failures.get(&kind))))),
        Metric::counter("spindle_stage_jobs_total", "Ended jobs that went through a stage themselves, by stage.")
            .each("stage", stages(|(jobs, _)| *jobs as f64)),
        Metric::counter("spindle_stage_seconds_total", "Seconds that ended jobs spent in a stage, by stage.")
            .each("stage", stages(|(_, seconds)| *seconds)),
        Metric::counter("spindle_media_seconds_total", "Seconds of recordings worked through.")
            .value(house.done.media_seconds),
        Metric::counter("spindle_outputs_total", "Files published.").value(tally.outputs as f64),
        Metric::counter("spindle_output_bytes_total", "Bytes of the files published.").value(tally.output_bytes as f64),
        Metric::gauge("spindle_lane_slots", "Slots of a lane.").each("lane", lanes(|(_, _, slots)| *slots)),
        Metric::gauge("spindle_lane_slots_used", "Slots of a lane that runs hold.")
            .each("lane", lanes(|(_, used, _)| *used)),
        Metric::gauge("spindle_memory_expected_bytes", "Memory that runs are expected to take.")
            .value(f64::from(house.memory_mib.0) * f64::from(1 << 20)),
        Metric::gauge("spindle_memory_limit_bytes", "Memory that all runs together may be expected to take.")
            .value(f64::from(house.memory_mib.1) * f64::from(1 << 20)),
        Metric::gauge("spindle_out_of_order", "Things outside that work waits for.").value(house.closed.len() as f64),
        Metric::gauge("spindle_workers", "Worker processes, by role.").each("role", roles(|_| 1)),
        Metric::gauge("spindle_worker_resident_bytes", "Memory that worker processes hold, by role.")
            .each("role", roles(|worker| worker.resident_bytes)),
        Metric::gauge("spindle_worker_runs", "Runs at work, by their worker's role.")
            .each("role", roles(|worker| worker.runs.len() as u64)),
    ];
    if let Some(bytes) = disk.queue_bytes {
        metrics.push(Metric::gauge("spindle_queue_bytes", "Size of the queue's file.").value(bytes as f64));
    }
    if let Some(bytes) = disk.free_bytes {
        metrics.push(
            Metric::gauge("spindle_disk_free_bytes", "Free on the disk of the state folder.").value(bytes as f64),
        );
    }
    metrics
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use spindle_core::change::EndedJob;
    use spindle_shared::id::{BatchId, JobId};
    use spindle_shared::job::Detail;
    use spindle_shared::made_up;
    use spindle_shared::time::WallMs;

    use super::*;

    fn house() -> HouseView {
        HouseView {
            version: "1.2.3".to_owned(),
            batches_open: 0,
            lanes: vec![("cpu".to_owned(), 1, 4)],
            memory_mib: (0, 0),
            ..made_up::house()
        }
    }

    fn ended(state: JobState, failure: Option<FailureKind>) -> Change {
        let mut detail = Detail::default();
        detail.figure("original_bytes", 1_000.0);
        detail.figure("compressed_bytes", 250.0);
        detail.figure("expected_token_saving", 0.65);
        let ended = EndedJob {
            state,
            stage: "compress".to_owned(),
            attempts: 1,
            progress: 1.0,
            started_at: Some(WallMs(1_000)),
            finished_at: WallMs(3_500),
            timings: vec![("compress".to_owned(), 2.0)],
            failure: failure.map(|kind| spindle_shared::failure::Failure::new(kind, "x")),
            skipped_reason: None,
            outputs: Vec::new(),
            detail,
            peak_memory_bytes: 0,
            artifact: None,
        };
        Change::JobEnded(JobId { batch: BatchId(1), index: 1 }, Box::new(ended))
    }

    fn all() -> Vec<Metric> {
        let mut tally = Tally::default();
        tally.count(&[ended(JobState::Completed, None), ended(JobState::Failed, Some(FailureKind::Input))]);
        let disk = Disk { queue_bytes: Some(1), free_bytes: Some(2) };
        let firing = [AlertView { rule: "store".to_owned(), since: WallMs(0), text: String::new() }];
        metrics(&tally, Vitals { queue: 7, ..Vitals::default() }, &house(), &[], &firing, disk)
    }

    /// Name and value of each sample, as a reader of the text format takes it; panics at what is none.
    fn parse(text: &str) -> Vec<(String, f64)> {
        let name = |text: &str| {
            let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
            assert!(
                !text.is_empty() && text.chars().all(fits) && !text.starts_with(|c: char| c.is_ascii_digit()),
                "{text}"
            );
        };
        let (mut samples, mut typed) = (Vec::new(), String::new());
        let (mut types, mut seen) = (BTreeSet::new(), BTreeSet::new());
        assert!(text.ends_with('\n'));
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (of, kind) = rest.split_once(' ').unwrap();
                name(of);
                assert!(matches!(kind, "counter" | "gauge"), "{line}");
                assert!(types.insert(of.to_owned()), "{of} comes twice");
                typed = of.to_owned();
            } else if let Some(rest) = line.strip_prefix("# HELP ") {
                name(rest.split_once(' ').unwrap().0);
            } else {
                let (series, value) = line.rsplit_once(' ').unwrap();
                let of = series.split('{').next().unwrap();
                assert_eq!(of, typed, "a sample stands under its own type");
                if let Some(labels) = series.strip_prefix(of).filter(|labels| !labels.is_empty()) {
                    let inner = labels.strip_prefix('{').and_then(|labels| labels.strip_suffix('}')).unwrap();
                    for label in inner.split("\",") {
                        let (label, value) = label.split_once("=\"").unwrap();
                        name(label);
                        assert!(!value.trim_end_matches('"').contains('"'), "{line}");
                    }
                }
                assert!(seen.insert(series.to_owned()), "{series} comes twice");
                samples.push((series.to_owned(), value.parse().unwrap()));
            }
        }
        samples
    }

    #[test]
    fn the_text_is_what_prometheus_reads_and_figures_are_right() {
        let text: String = all().iter().map(ToString::to_string).collect();
        let samples: BTreeMap<String, f64> = parse(&text).into_iter().collect();
        for (series, value) in [
            ("spindle_queue_jobs", 7.0),
            ("spindle_success_ratio", 0.5),
            ("spindle_job_seconds_total", 2.5),
            ("spindle_jobs_worked_total", 1.0),
            ("spindle_compression_original_bytes_total", 2_000.0),
            ("spindle_compression_compressed_bytes_total", 500.0),
            ("spindle_compression_token_saving_total", 1.3),
            ("spindle_job_failures_total{kind=\"input\"}", 1.0),
            ("spindle_alert_firing{rule=\"store\"}", 1.0),
            ("spindle_alert_firing{rule=\"queue\"}", 0.0),
            ("spindle_store_usable", 0.0),
            ("spindle_lane_slots{lane=\"cpu\"}", 4.0),
        ] {
            assert_eq!(samples.get(series), Some(&value), "{series}\n{text}");
        }
    }

    #[test]
    fn the_rules_for_prometheus_speak_of_metrics_and_thresholds_that_there_are() {
        let rules = include_str!("../../packaging/prometheus/spindle.rules.yml");
        let known: BTreeSet<String> = all().into_iter().map(|metric| metric.name).collect();
        let words = rules.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        let named: BTreeSet<&str> = words.filter(|word| word.starts_with("spindle_")).collect();
        assert!(named.len() >= 7, "{named:?}");
        for name in &named {
            assert!(known.contains(*name), "there is no metric {name}");
        }
        // The same numbers as inside.
        let defaults = spindle_core::alert::Thresholds::default();
        let minutes = |ms: u64| format!("for: {}m", ms / 60_000);
        for (alert, condition, holds) in [
            ("SpindleFailures", format!("> {:.2}", defaults.failures), defaults.failures_ms),
            ("SpindleFailures", format!(">= {}", defaults.failures_jobs), defaults.failures_ms),
            ("SpindleNoWorkers", "== 0".to_owned(), defaults.no_workers_ms),
            ("SpindleQueue", format!("spindle_queue_jobs > {}", defaults.queue), defaults.queue_ms),
            ("SpindleStore", "spindle_store_usable == 0".to_owned(), defaults.store_ms),
            ("SpindleOutOfOrder", "spindle_out_of_order > 0".to_owned(), defaults.out_of_order_ms),
        ] {
            let (_, rule) = rules.split_once(&format!("- alert: {alert}\n")).unwrap_or_else(|| panic!("no {alert}"));
            let rule = rule.split("- alert: ").next().unwrap();
            assert!(
                rule.contains(&condition) && rule.contains(&minutes(holds)),
                "{alert}: {condition}, {}",
                minutes(holds)
            );
        }
        assert_eq!(rules.matches("- alert: ").count(), Rule::ALL.len());
    }
}
