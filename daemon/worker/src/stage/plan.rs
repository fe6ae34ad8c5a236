//! Plan: the pieces that make the highlights, from the analyses of all videos. Decodes nothing.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};

use serde::{Deserialize, Serialize};
use serde_json::error::Category;
use spindle_shared::failure::{Failure, FailureKind};
use spindle_shared::job::Detail;
use spindle_shared::limits::ANALYSIS_BYTES_MAX;
use spindle_shared::stage::plan::{PLAN_FILE, Plan};
use spindle_shared::text::escaped;
use spindle_shared::worker::Done;

use crate::context::{Context, Halt, disk_failure};
use crate::highlights::analysis::Analysis;
use crate::highlights::choose::{self, Analysed};
use crate::highlights::plan::ClipPlan;

/// The artifact: a plan, and all it was made of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Planned {
    /// Seconds that were aimed at.
    pub target_duration: f64,
    pub plan: ClipPlan,
    /// 0–1.
    pub quality: f64,
    /// In input order.
    pub videos: Vec<PlannedVideo>,
    pub tokens_used: u64,
    /// Mean over the videos; null where nobody counts tokens.
    pub tokens_saved_share: Option<f64>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlannedVideo {
    /// Of the input in its batch, from 1.
    pub video_index: u32,
    /// The input's path, as text.
    pub input: String,
    #[serde(flatten)]
    pub analysis: Analysis,
}

pub fn run(context: &Context, stage: &Plan) -> Result<Done, Halt> {
    let mut videos = Vec::new();
    for result in context.results()? {
        context.go_on()?;
        let input = escaped(&result.row.input.as_path().to_string_lossy());
        let file = result.files.first().ok_or_else(|| unreadable(&input, "it is not there"))?;
        videos.push(PlannedVideo { video_index: result.row.index, analysis: read(file, &input)?, input });
    }
    let analysed: Vec<Analysed<'_>> =
        videos.iter().map(|video| Analysed { video_index: video.video_index, analysis: &video.analysis }).collect();
    let target_duration = choose::target(stage, &analysed);
    let (plan, odd) = choose::choose(stage, &analysed);
    let quality = plan.quality(analysed.len(), stage.target_duration.map(|_| target_duration));
    let tokens_used = videos.iter().map(|video| video.analysis.tokens_used).sum();
    let saved: Vec<f64> = videos.iter().filter_map(|video| video.analysis.tokens_saved_share).collect();
    let seconds = plan.total_duration;
    let tokens_saved_share = crate::highlights::analysis::mean(&saved);
    let planned = Planned { target_duration, plan, quality, videos, tokens_used, tokens_saved_share };
    let file = context.write_artifact(PLAN_FILE, |to| write_json(&planned, to, context))?;
    let notes = odd.map(|why| format!("the default plan was taken: {why}")).into_iter().collect();
    Ok(Done { files: vec![file], detail: Detail { notes, ..Detail::default() }, work: seconds, ..Done::default() })
}

/// A value as JSON for people and programs.
pub fn write_json(value: &impl Serialize, to: &mut impl Write, context: &Context) -> Result<(), Halt> {
    let failed = |error: serde_json::Error| match error.classify() {
        Category::Io => disk_failure(&std::io::Error::from(error), context.scratch()),
        _ => Failure::new(FailureKind::Internal, format!("failed to write JSON: {error}")),
    };
    serde_json::to_writer_pretty(&mut *to, value).map_err(failed)?;
    Ok(to.write_all(b"\n").map_err(|error| disk_failure(&error, context.scratch()))?)
}

/// JSON that another stage left.
pub fn read_json<T: serde::de::DeserializeOwned>(mut file: &File) -> Result<T, String> {
    file.seek(SeekFrom::Start(0)).map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    file.take(ANALYSIS_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() as u64 > ANALYSIS_BYTES_MAX {
        return Err(format!("it has more than {ANALYSIS_BYTES_MAX} bytes"));
    }
    serde_json::from_slice(&bytes).map_err(|error| error.to_string())
}

fn read(file: &File, input: &str) -> Result<Analysis, Failure> {
    read_json(file).map_err(|why| unreadable(input, &why))
}

fn unreadable(input: &str, why: &str) -> Failure {
    Failure::new(FailureKind::Internal, format!("failed to read the analysis of {input}: {why}"))
}
