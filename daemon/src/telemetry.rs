//! What has happened since the daemon's start, counted as it becomes durable; and all of it as metrics. Decides nothing.

use std::collections::BTreeMap;

use spindle_core::change::Change;
use spindle_shared::failure::FailureKind;
use spindle_shared::job::JobState;
use spindle_shared::lane::Role;
use spindle_shared::metrics::Metric;
use spindle_shared::wire::response::{HouseView, WorkerView};

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
                    self.outputs += ended.outputs.len() as u64;
                    self.output_bytes += ended.outputs.iter().map(|output| output.bytes).sum::<u64>();
                }
                _ => {}
            }
        }
    }
}

/// What lies on the state folder's disk.
#[derive(Debug, Clone, Copy, Default)]
pub struct Disk {
    pub queue_bytes: Option<u64>,
    pub free_bytes: Option<u64>,
}

/// Names stay as they are for ever: dashboards and alerts hold on to them.
pub fn metrics(tally: &Tally, house: &HouseView, workers: &[WorkerView], disk: Disk) -> Vec<Metric> {
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
