//! Estimates: what a batch will take, from a table where this machine has no history yet.

use spindle_shared::stage::Stage;

/// Expected seconds for one input; `None` = nothing is known of this kind of work.
pub fn job_seconds(stages: &[Stage]) -> Option<f64> {
    stages.iter().find_map(|stage| match stage {
        Stage::Transcribe(transcribe) => Some(whisper_seconds(&transcribe.model.name)),
        _ => None,
    })
}

/// Seconds per audio file: a guess of the right size, for want of this machine's own figures.
fn whisper_seconds(model: &str) -> f64 {
    const TABLE: [(&str, f64); 6] =
        [("turbo", 150.0), ("tiny", 30.0), ("base", 60.0), ("small", 120.0), ("medium", 300.0), ("large", 600.0)];
    TABLE.iter().find(|(part, _)| model.contains(part)).map_or(60.0, |(_, seconds)| *seconds)
}

/// ⌈n ÷ parallel⌉ × expected time of a job.
pub fn batch_seconds(jobs: u32, parallel: u32, job_seconds: f64) -> f64 {
    f64::from(jobs.div_ceil(parallel.max(1))) * job_seconds
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_turbo_model_is_not_taken_for_a_large_one() {
        assert_eq!(super::whisper_seconds("large-v3-turbo"), 150.0);
        assert_eq!(super::whisper_seconds("large-v3"), 600.0);
        assert_eq!(super::batch_seconds(7, 3, 60.0), 180.0);
    }
}
