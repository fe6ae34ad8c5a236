//! Sight: key pictures of a recording as files, with what was measured of its scenes. What earlier stages left goes along, for those that ask
//! or write and decode nothing.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};

use image::codecs::jpeg::JpegEncoder;
use image::{ExtendedColorType, ImageEncoder};
use serde::{Deserialize, Serialize};
use spindle_shared::failure::{Failure, FailureKind};
use spindle_shared::job::Detail;
use spindle_shared::stage::analyze::ANALYSIS_FILE;
use spindle_shared::stage::sight::{SIGHT_FILE, Sight, picture_file};
use spindle_shared::stage::transcribe::TRANSCRIPT_FILE;
use spindle_shared::worker::{ArtifactFile, Done};

use super::analyze;
use super::compress::halt_for;
use super::plan::{read_json, write_json};
use crate::context::{Context, Halt, disk_failure};
use crate::highlights::analysis::{Analysis, Scene, Video, scenes};
use crate::media::sheet;
use crate::media::transcode::{Source, fit};

/// Recordings are as long as they are; whoever pays by the hour limits that elsewhere.
const LONGEST_SECONDS: u32 = 86_400;
const JPEG_QUALITY: u8 = 80;
/// Into a scene, so that what blends into it is over.
const INTO_SCENE_SECONDS: f64 = 1.0;

/// For each picture so many are looked at, so far apart; a later one must be clearer by this factor.
const TRIES: usize = 4;
const TRY_SECONDS: f64 = 0.5;
const CLEARER: f64 = 1.3;
/// Light below it is black (video's own black is 16 of 255, and has noise); of a black picture no more than one in so many pixels is brighter.
const BLACK: i32 = 24;
const BLACK_SHARE: usize = 200;

/// What the pictures are of.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Sighted {
    /// `None` = there is nothing to see.
    pub video: Option<Video>,
    pub scenes: Vec<Scene>,
    pub pictures: Vec<Picture>,
    /// Size of the pictures.
    pub width: u32,
    pub height: u32,
    pub notes: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Picture {
    pub file: String,
    pub seconds: f64,
}

pub fn run(context: &Context, stage: &Sight) -> Result<Done, Halt> {
    // The recording itself comes behind what earlier stages left.
    let (file, name) = context.original()?;
    let mut files = carry(context)?;
    let mut sighted = watched(context, file, &name)?;
    let mut detail = Detail { notes: sighted.notes.clone(), ..Detail::default() };
    if let Some(video) = sighted.video.clone() {
        detail.media_seconds = Some(video.seconds);
        let times = times(&sighted.scenes, video.seconds, stage.pictures as usize);
        let size = fit((video.width, video.height), (1, 1), Some((stage.side, stage.side)));
        (sighted.width, sighted.height) = size;
        let source = Source { file, name: &name, cancel: context.cancel_flag() };
        let tries = tries(&times, &sighted.scenes, video.seconds);
        let seconds: Vec<f64> = tries.iter().map(|(_, seconds)| *seconds).collect();
        let mut best: Vec<Option<Look>> = times.iter().map(|_| None).collect();
        let mut of = tries.iter().map(|(picture, _)| *picture);
        let decoded = sheet::at(&source, &seconds, size, &mut |seconds, rows| {
            let look = Look { seconds, clear: clearness(&rows, size), rows };
            if let Some(place) = of.next().and_then(|picture| best.get_mut(picture))
                && place.as_ref().is_none_or(|before| look.clear > before.clear * CLEARER)
            {
                *place = Some(look);
            }
        });
        decoded.map_err(|error| halt_for(error, &name, None))?;
        let mut looks: Vec<Look> = best.into_iter().flatten().collect();
        // What is black shows nothing, unless that is all there is.
        if looks.iter().any(|look| look.clear > 0.0) {
            looks.retain(|look| look.clear > 0.0);
        }
        for (number, Look { seconds, rows, .. }) in (1..).zip(looks) {
            let bytes = jpeg(&rows, size).map_err(|error| {
                Failure::new(FailureKind::Internal, format!("failed to make a picture of {name}: {error}"))
            })?;
            let file = picture_file(number);
            files.push(context.write_artifact(&file, |to| {
                to.write_all(&bytes).map_err(|error| disk_failure(&error, context.scratch()).into())
            })?);
            sighted.pictures.push(Picture { file, seconds });
        }
    }
    files.push(context.write_artifact(SIGHT_FILE, |to| write_json(&sighted, to, context))?);
    let work = detail.media_seconds.unwrap_or(0.0);
    Ok(Done { files, detail, work, ..Done::default() })
}

/// What earlier stages left, copied.
fn carry(context: &Context) -> Result<Vec<ArtifactFile>, Halt> {
    let known = [TRANSCRIPT_FILE, ANALYSIS_FILE];
    let here = context.inputs().filter_map(|(input, file)| {
        let name = known.into_iter().find(|name| input.name.0 == name.as_bytes())?;
        Some((name, file))
    });
    here.map(|(name, mut file)| {
        context.write_artifact(name, |to| {
            let failed = |error: std::io::Error| disk_failure(&error, context.scratch());
            file.seek(SeekFrom::Start(0)).map_err(failed)?;
            let mut buffer = vec![0; 256 << 10];
            loop {
                context.go_on()?;
                match file.read(&mut buffer).map_err(failed)? {
                    0 => return Ok(()),
                    read => to.write_all(&buffer[..read]).map_err(failed)?,
                }
            }
        })
    })
    .collect()
}

/// What is known of the scenes: from the analysis, where there is one, or measured.
fn watched(context: &Context, file: &File, name: &str) -> Result<Sighted, Halt> {
    if let Ok(analysis) = context.artifact(ANALYSIS_FILE) {
        let analysis: Analysis = read_json(analysis).map_err(|why| {
            Failure::new(FailureKind::Internal, format!("failed to read the analysis of {name}: {why}"))
        })?;
        return Ok(Sighted { video: Some(analysis.video), scenes: analysis.scenes, ..Sighted::default() });
    }
    match analyze::measure(context, file, name, LONGEST_SECONDS) {
        Ok((video, signals, _, notes)) => {
            let scenes = scenes(&video, &signals);
            Ok(Sighted { scenes, video: Some(video), notes, ..Sighted::default() })
        }
        Err(analyze::Unseen::NoVideo { .. }) => {
            Ok(Sighted { notes: vec!["there is nothing to see: it has no video".to_owned()], ..Sighted::default() })
        }
        Err(analyze::Unseen::Halt(halt)) => Err(halt),
    }
}

/// Times of the pictures: of each part of the video the longest scene that begins there; where a scene goes on and on, now and then one more.
fn times(scenes: &[Scene], seconds: f64, most: usize) -> Vec<f64> {
    let part = seconds / most.max(1) as f64;
    let mut times: Vec<f64> = Vec::new();
    for at in 0..most {
        let (from, to) = (part * at as f64, part * (at + 1) as f64);
        let here = scenes.iter().filter(|scene| (from..to).contains(&scene.start_time));
        let longest = here.max_by(|a, b| (a.end_time - a.start_time).total_cmp(&(b.end_time - b.start_time)));
        let time = match longest {
            Some(scene) => scene.start_time + ((scene.end_time - scene.start_time) / 2.0).min(INTO_SCENE_SECONDS),
            None if times.last().is_none_or(|last| from - last >= 1.5 * part) => (from + to) / 2.0,
            None => continue,
        };
        if times.last().is_none_or(|last| time > last + 0.5) {
            times.push(time);
        }
    }
    if times.is_empty() { vec![seconds / 2.0] } else { times }
}

/// A picture that may be taken.
struct Look {
    seconds: f64,
    /// As [`clearness`] has it.
    clear: f64,
    rows: Vec<u8>,
}

/// Each of these times, by its number, and some close behind it in the same scene: a picture that is black, or blurred by motion, has a better
/// one beside it.
fn tries(times: &[f64], scenes: &[Scene], seconds: f64) -> Vec<(usize, f64)> {
    let mut tries = Vec::new();
    for (number, time) in times.iter().enumerate() {
        let scene = scenes.iter().rfind(|scene| scene.start_time <= *time);
        let end = scene.map_or(seconds, |scene| scene.end_time) - TRY_SECONDS / 2.0;
        let next = times.get(number + 1).copied().unwrap_or(f64::INFINITY);
        let close = (1..TRIES).map(|nth| time + TRY_SECONDS * nth as f64).take_while(|at| *at < end && *at < next);
        tries.extend([*time].into_iter().chain(close).map(|at| (number, at)));
    }
    tries
}

/// How much there is to see in rows of RGB: the mean difference of a pixel's light from its neighbours'; 0 = it is black.
fn clearness(rows: &[u8], (width, height): (u32, u32)) -> f64 {
    let light: Vec<i32> = rows
        .chunks_exact(3)
        .map(|rgb| (i32::from(rgb[0]) * 299 + i32::from(rgb[1]) * 587 + i32::from(rgb[2]) * 114) / 1_000)
        .collect();
    let (width, height) = (width as usize, height as usize);
    if light.len() < width * height || width < 3 || height < 3 {
        return 1.0;
    }
    let bright = light.iter().filter(|light| **light >= BLACK).count();
    if bright * BLACK_SHARE < light.len() {
        return 0.0;
    }
    let mut sum = 0_u64;
    for y in 1..height - 1 {
        for x in 1..width - 1 {
            let at = y * width + x;
            let around = light[at - 1] + light[at + 1] + light[at - width] + light[at + width];
            sum += u64::from((4 * light[at] - around).unsigned_abs());
        }
    }
    // What has one colour all over is no black.
    1.0 + sum as f64 / ((width - 2) * (height - 2)) as f64
}

fn jpeg(rows: &[u8], (width, height): (u32, u32)) -> Result<Vec<u8>, image::ImageError> {
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, JPEG_QUALITY).write_image(
        rows,
        width,
        height,
        ExtendedColorType::Rgb8,
    )?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clear_picture_is_told_from_a_blurred_and_a_black_one() {
        let picture = |light: &dyn Fn(usize, usize) -> u8| -> Vec<u8> {
            (0..48 * 64).flat_map(|at| [light(at % 64, at / 64); 3]).collect()
        };
        let size = (64, 48);
        let sharp = clearness(&picture(&|x, y| if (x / 4 + y / 4) % 2 == 0 { 200 } else { 40 }), size);
        let soft = clearness(&picture(&|x, _| (x * 3) as u8 + 30), size);
        let grey = clearness(&picture(&|_, _| 90), size);
        let black = clearness(&picture(&|x, y| 16 + ((x + y) % 3) as u8), size);
        assert!(sharp > soft * CLEARER && soft >= grey && grey > 0.0 && black == 0.0, "{sharp} {soft} {grey} {black}");
    }

    #[test]
    fn other_tries_stay_in_the_scene_and_before_the_next_picture() {
        let scene = |start_time: f64, end_time: f64| Scene { start_time, end_time, ..Scene::default() };
        let scenes = [scene(0.0, 2.0), scene(2.0, 40.0)];
        let told = tries(&[1.0, 3.0, 3.8], &scenes, 40.0);
        assert_eq!(told, [(0, 1.0), (0, 1.5), (1, 3.0), (1, 3.5), (2, 3.8), (2, 4.3), (2, 4.8), (2, 5.3)]);
        assert_eq!(tries(&[0.1], &[], 0.4), [(0, 0.1)]);
    }

    #[test]
    fn pictures_are_of_the_scenes_and_all_over_the_video() {
        let scene = |start_time: f64, end_time: f64| Scene { start_time, end_time, ..Scene::default() };
        let cut = [scene(0.0, 10.0), scene(10.0, 12.0), scene(12.0, 39.0), scene(39.0, 40.0)];
        assert_eq!(times(&cut, 40.0, 4), [1.0, 13.0, 39.5]);
        let still = [scene(0.0, 120.0)];
        assert_eq!(times(&still, 120.0, 6), [1.0, 50.0, 90.0]);
        assert_eq!(times(&[], 0.4, 3), [0.06666666666666667]);
        for most in 1..40 {
            let times = times(&cut, 40.0, most);
            assert!(!times.is_empty() && times.len() <= most && times.iter().all(|time| (0.0..40.0).contains(time)));
        }
    }
}
