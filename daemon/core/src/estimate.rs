//! Estimates before anything runs: what a batch will take, by this machine's own history, and by a table where it has none.

use spindle_shared::batch::BatchSpec;
use spindle_shared::job::{Input, JobSpec};
use spindle_shared::packed::Packed;
use spindle_shared::stage::assemble::{Quality, SOUND_BYTES_PER_SECOND as TAPE_BYTES_PER_SECOND};
use spindle_shared::stage::decode::SAMPLE_RATE;
use spindle_shared::stage::plan::TARGET_SECONDS;
use spindle_shared::stage::{Stage, Unit};

use crate::gpus::Gpus;
use crate::rates::{RateKey, Rates, Scale};

/// Bytes of a second of decoded sound.
const SOUND_BYTES_PER_SECOND: f64 = 2.0 * SAMPLE_RATE as f64;

/// On the disk for each KiB of a copy while it is made: its pieces, and then the copy that they are joined in.
const COPY_BYTES_PER_KIB: f64 = 2.0 * 1_024.0;

/// What is expected of one input.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Expected {
    /// `None` = nothing is known of this kind of work.
    pub seconds: Option<f64>,
    /// On the disk while it is at work; `None` = unknown.
    pub bytes: Option<f64>,
}

/// What to expect of the jobs of one batch. Made once, then asked for each of what may be a million.
pub struct Estimate<'e> {
    spec: &'e BatchSpec,
    rates: &'e Rates,
    gpus: &'e Gpus,
    /// Of jobs with the batch's own stages.
    usual: Work,
    /// More jobs at once than there are slots take turns, and each takes so many times longer.
    turns: f64,
}

impl<'e> Estimate<'e> {
    /// Of a batch with as many jobs to do, in a house where `slots` of them can be at it at once.
    pub fn new(spec: &'e BatchSpec, jobs: u32, slots: u32, rates: &'e Rates, gpus: &'e Gpus) -> Self {
        let turns = (f64::from(spec.parallel.min(jobs)) / f64::from(slots.max(1))).max(1.0);
        Estimate { spec, rates, gpus, usual: Work::of(&spec.recipe.map, rates, gpus), turns }
    }

    pub fn job(&self, job: &JobSpec) -> Expected {
        match &job.stages {
            None => self.usual.expect(size_of(job, &self.spec.recipe.map), self.turns),
            Some(own) => Work::of(own, self.rates, self.gpus).expect(size_of(job, own), self.turns),
        }
    }
}

/// Seconds of a whole batch: ⌈n ÷ parallel⌉ × expected time of a job; `None` where one of its jobs has none.
/// `count`: those of them that are not skipped.
pub fn batch(
    spec: &BatchSpec,
    jobs: &Packed<JobSpec>,
    count: u32,
    slots: u32,
    rates: &Rates,
    gpus: &Gpus,
) -> Option<f64> {
    let work = jobs.iter().filter(|job| job.skip.is_none());
    let estimate = Estimate::new(spec, count, slots, rates, gpus);
    // An empty sum of floats is -0.
    let seconds: Option<f64> = work.map(|job| estimate.job(&job).seconds).sum::<Option<f64>>().map(|sum| sum + 0.0);
    Some(batch_seconds(count, spec.parallel, seconds? / f64::from(count.max(1))))
}

/// ⌈n ÷ parallel⌉ × expected time of a job.
pub fn batch_seconds(jobs: u32, parallel: u32, job_seconds: f64) -> f64 {
    f64::from(jobs.div_ceil(parallel.max(1))) * job_seconds
}

/// Bytes on the disk while a batch's gather is at work: of a video that is assembled, its packets, beside them the sound before it is encoded
/// and then the file that they are joined in. `None` where nothing much is written, or it isn't known how much.
pub fn gather_bytes(spec: &BatchSpec, jobs: &Packed<JobSpec>, rates: &Rates) -> Option<f64> {
    let assemble =
        spec.recipe.gather.iter().find_map(|stage| if let Stage::Assemble(own) = stage { Some(own) } else { None })?;
    let wanted = spec.recipe.gather.iter().find_map(|stage| match stage {
        Stage::Plan(plan) => plan.target_duration,
        _ => None,
    });
    let kib: f64 = jobs.iter().map(|job| f64::from(size_of(&job, &spec.recipe.map))).sum();
    let all = rates.length().map(|length| {
        let (base, slope) = length.line(Scale::Kib);
        base * jobs.len() as f64 + slope * kib
    });
    let all = all.filter(|seconds| *seconds > 0.0);
    let target = wanted.unwrap_or(TARGET_SECONDS);
    let seconds = all.map_or(target, |all| all.min(target));
    let encoded = match assemble.quality {
        Quality::Source => kib * 1_024.0 / all?,
        quality => f64::from(quality.bit_rate().unwrap_or(0) + quality.sound_bit_rate()) / 8.0,
    };
    Some(seconds * (encoded + encoded.max(TAPE_BYTES_PER_SECOND)))
}

/// Bytes as KiB, at least one; 0 stands for unknown.
pub fn kib(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(1_024)).unwrap_or(u32::MAX)
}

/// KiB of what a job has to work through.
pub fn size_of(job: &JobSpec, stages: &[Stage]) -> u32 {
    match &job.input {
        Input::File { identity, .. } => kib(identity.bytes),
        Input::Url(_) => 0,
        Input::Name(_) => stages
            .iter()
            .find_map(|stage| if let Stage::Pull(pull) = stage { Some(kib(pull.bytes)) } else { None })
            .unwrap_or(0),
    }
}

/// What a chain of stages takes, by the KiB of its input.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Work {
    /// By the rates of all stages that have any weight, the others where they are known: at no size, and for each KiB.
    measured: Option<(f64, f64)>,
    /// Of an input of unknown size.
    mean: Option<f64>,
    table: Option<f64>,
    /// Temporary bytes, at no size and for each KiB: decoded sound, or a copy and the pieces it is made of; none where neither is made, or
    /// nothing is known of it.
    temporary: Option<(f64, f64)>,
}

impl Work {
    fn of(stages: &[Stage], rates: &Rates, gpus: &Gpus) -> Self {
        let length = rates.length().map(|length| length.line(Scale::Kib));
        let decodes = stages.iter().any(|stage| matches!(stage, Stage::Decode(_)));
        let sound = length.filter(|_| decodes);
        let copies = stages.iter().find_map(RateKey::copies).and_then(|key| rates.known(&key, Scale::Kib));
        let copy = copies.map(|copies| copies.line(Scale::Kib));
        let copy = copy.map(|(base, slope)| (base * COPY_BYTES_PER_KIB, slope * COPY_BYTES_PER_KIB));
        // What only measures leaves a text.
        let measures = stages.iter().any(|stage| matches!(stage, Stage::Analyze(_)));
        let copying = stages.iter().any(|stage| RateKey::copies(stage).is_some());
        let nothing = (measures && !decodes && !copying).then_some((0.0, 0.0));
        let known = Work::known(stages, length, rates, gpus);
        Work {
            measured: known.map(|(line, _)| line),
            mean: known.map(|(_, mean)| mean),
            table: table_seconds(stages),
            temporary: sound
                .map(|(base, slope)| (base * SOUND_BYTES_PER_SECOND, slope * SOUND_BYTES_PER_SECOND))
                .or(copy)
                .or(nothing),
        }
    }

    fn known(stages: &[Stage], length: Option<(f64, f64)>, rates: &Rates, gpus: &Gpus) -> Option<((f64, f64), f64)> {
        let (mut base, mut slope, mut mean) = (0.0, 0.0, 0.0);
        for stage in stages {
            let facts = stage.facts();
            let scale = Scale::of(facts.unit);
            let Some(rate) = rates.known(&gpus.rate_key(stage, gpus.lane_for(stage)), scale) else {
                if is_weighty(stage, stages) {
                    return None;
                }
                continue;
            };
            let (own_base, own_slope) = rate.line(scale);
            mean += rate.mean();
            match facts.unit {
                Unit::MediaSeconds => {
                    let (length_base, length_slope) = length?;
                    base += own_base + own_slope * length_base;
                    slope += own_slope * length_slope;
                }
                Unit::InputBytes => {
                    base += own_base;
                    slope += own_slope;
                }
                Unit::OutputBytes => base += rate.mean(),
            }
        }
        Some(((base, slope), mean))
    }

    fn expect(&self, kib: u32, turns: f64) -> Expected {
        let at = |(base, slope): (f64, f64)| base + slope * f64::from(kib);
        let measured = if kib > 0 { self.measured.map(at) } else { self.mean };
        Expected {
            seconds: measured.map(|seconds| seconds * turns).or(self.table),
            bytes: self.temporary.filter(|_| kib > 0).map(at),
        }
    }
}

/// Whether a stage is too much of its job to be left out of an estimate where nothing is known of it: more than a twentieth.
pub fn is_weighty(stage: &Stage, stages: &[Stage]) -> bool {
    let whole: u32 = stages.iter().map(|stage| stage.facts().weight).sum();
    stage.facts().weight * 20 > whole
}

/// A guess of the right size, for want of this machine's own figures.
fn table_seconds(stages: &[Stage]) -> Option<f64> {
    stages.iter().find_map(|stage| match stage {
        Stage::Transcribe(transcribe) => Some(whisper_seconds(&transcribe.model.name)),
        Stage::Image(image) => Some(PICTURE_SECONDS * image.all().count().max(1) as f64),
        _ => None,
    })
}

/// Seconds per picture and operation.
const PICTURE_SECONDS: f64 = 8.0;

/// Seconds per audio file.
fn whisper_seconds(model: &str) -> f64 {
    const TABLE: [(&str, f64); 6] =
        [("turbo", 150.0), ("tiny", 30.0), ("base", 60.0), ("small", 120.0), ("medium", 300.0), ("large", 600.0)];
    TABLE.iter().find(|(part, _)| model.contains(part)).map_or(60.0, |(_, seconds)| *seconds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use spindle_shared::batch::{OnExisting, Priority};
    use spindle_shared::job::{FileIdentity, OutputPlan, PathBytes};
    use spindle_shared::recipe::Recipe;
    use spindle_shared::stage::assemble::Assemble;
    use spindle_shared::stage::plan::Plan;
    use spindle_shared::time::WallMs;

    fn spec(parallel: u32) -> BatchSpec {
        BatchSpec {
            recipe: Recipe::subtitles(Default::default(), Default::default(), Default::default(), Default::default()),
            name: None,
            tags: Vec::new(),
            priority: Priority::NORMAL,
            parallel,
            retries: None,
            timeout: None,
            key: None,
            on_existing: OnExisting::Refuse,
            terms: Default::default(),
            gather_to: None,
        }
    }

    fn seconds_of(spec: &BatchSpec, jobs: &[JobSpec], slots: u32, rates: &Rates) -> Option<f64> {
        let work = jobs.iter().filter(|job| job.skip.is_none()).count() as u32;
        batch(spec, &jobs.to_vec().into(), work, slots, rates, &Gpus::default())
    }

    fn file(bytes: u64) -> JobSpec {
        let identity = FileIdentity { dev: 1, inode: 1, bytes, mtime_ns: 0, ctime_ns: 0 };
        JobSpec {
            input: Input::File { path: PathBytes::default(), identity },
            output: OutputPlan::default(),
            stages: None,
            skip: None,
            replace: Vec::new(),
        }
    }

    #[test]
    fn a_turbo_model_is_not_taken_for_a_large_one() {
        assert_eq!(whisper_seconds("large-v3-turbo"), 150.0);
        assert_eq!(whisper_seconds("large-v3"), 600.0);
        assert_eq!(batch_seconds(7, 3, 60.0), 180.0);
    }

    #[test]
    fn without_a_history_the_table_tells() {
        let jobs = [file(1_000_000), file(2_000_000), JobSpec { skip: Some("up to date".to_owned()), ..file(1) }];
        assert_eq!(seconds_of(&spec(1), &jobs, 2, &Rates::default()), Some(120.0));
        assert_eq!(seconds_of(&spec(3), &jobs, 2, &Rates::default()), Some(60.0));
        assert_eq!(Estimate::new(&spec(1), 2, 2, &Rates::default(), &Gpus::default()).job(&jobs[0]).bytes, None);
    }

    #[test]
    fn an_assembled_video_needs_room_by_its_quality_and_length() {
        let assembled = |quality, target_duration| BatchSpec {
            recipe: Recipe::highlights(
                Default::default(),
                Plan { target_duration, ..Plan::default() },
                Assemble { quality, fade: None },
                Default::default(),
            ),
            ..spec(1)
        };
        let mut rates = Rates::default();
        let jobs = Packed::from(vec![file(10 << 20), file(20 << 20)]);
        let mebibytes = |quality, target, rates: &Rates| {
            gather_bytes(&assembled(quality, target), &jobs, rates).map(|bytes| (bytes / 1e6).round())
        };
        // 3192 kbit/s twice; 596 kbit/s, and the sound as it is.
        assert_eq!(mebibytes(Quality::High, Some(100.0), &rates), Some(80.0));
        assert_eq!(mebibytes(Quality::Low, Some(100.0), &rates), Some(27.0));
        assert_eq!(mebibytes(Quality::Source, Some(100.0), &rates), None, "nobody knows how long they are");
        for seconds in [50.0, 100.0, 200.0] {
            rates.learn(RateKey::length(), Scale::Kib, seconds * 512.0, seconds, WallMs(0));
        }
        let source = mebibytes(Quality::Source, Some(30.0), &rates).unwrap();
        assert!((30.0..33.0).contains(&source), "{source}: half a MiB a second, twice");
        let whole = mebibytes(Quality::Source, None, &rates).unwrap();
        assert!((60.0..66.0).contains(&whole), "{whole}: never more than there is");
        assert_eq!(
            Estimate::new(&assembled(Quality::Low, None), 2, 2, &rates, &Gpus::default()).job(&file(10 << 20)).bytes,
            Some(0.0)
        );
        assert_eq!(gather_bytes(&spec(1), &jobs, &rates), None);
    }

    #[test]
    fn a_history_tells_by_the_length_of_the_recordings() {
        let mut rates = Rates::default();
        for seconds in [10.0, 60.0, 300.0, 120.0] {
            // 32 KB a second, decoded in a thousandth and heard in a tenth of it.
            rates.learn(RateKey::length(), Scale::Kib, seconds * 31.25, seconds, WallMs(0));
            for (at, pace) in [(1, 0.001), (2, 0.1)] {
                let stage = &spec(1).recipe.map[at];
                rates.learn(RateKey::of(stage), Scale::MediaSeconds, seconds, seconds * pace, WallMs(0));
            }
        }
        let long = Estimate::new(&spec(1), 1, 2, &rates, &Gpus::default()).job(&file(32_000 * 600));
        assert!((long.seconds.unwrap() - 60.6).abs() < 3.0, "{long:?}");
        assert!((long.bytes.unwrap() / 19_200_000.0 - 1.0).abs() < 0.05, "{long:?}");
        let jobs = vec![file(32_000 * 100); 4];
        for (parallel, slots, expected) in [(1, 2, 40.0), (2, 2, 20.0), (4, 2, 20.0), (4, 4, 10.0), (3, 2, 30.0)] {
            let seconds = seconds_of(&spec(parallel), &jobs, slots, &rates).unwrap();
            assert!((seconds / expected - 1.0).abs() < 0.05, "{parallel} on {slots}: {seconds}");
        }
        // Another model has none yet.
        let mut other = spec(1);
        if let Stage::Transcribe(transcribe) = &mut other.recipe.map[2] {
            transcribe.model.name = "large-v3".to_owned();
        }
        assert_eq!(seconds_of(&other, &jobs, 2, &rates), Some(2_400.0));
    }
}
