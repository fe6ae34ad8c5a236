//! Preview: a small copy of a video, and a sheet of pictures from all over it. Knows jobs; pictures are `media`'s.

use std::fs::File;
use std::io::Write;

use image::codecs::jpeg::JpegEncoder;
use image::{ExtendedColorType, ImageEncoder, Rgb, RgbImage};
use spindle_shared::job::Detail;
use spindle_shared::stage::preview::{PREVIEW_FILE, Preview, SHEET_FILE};
use spindle_shared::worker::Done;

use super::compress::{Kept, halt_for, length};
use crate::context::{Context, Halt, disk_failure};
use crate::media::MediaError;
use crate::media::encoder::AudioSettings;
use crate::media::pictures::Pictures;
use crate::media::sheet;
use crate::media::transcode::{self, Coder, Plan, Source, fit};
use crate::picture::digits;

const JPEG_QUALITY: u8 = 85;
/// Between the pictures of the sheet, and around them.
const GAP: u32 = 6;
const GROUND: Rgb<u8> = Rgb([24, 24, 24]);

pub fn run(context: &Context, stage: &Preview) -> Result<Done, Halt> {
    let (file, name) = context.input()?;
    let halt = |error: MediaError| halt_for(error, &name, None);
    let bytes = file.metadata().map_err(|e| halt(MediaError::Read(e)))?.len();
    let threads = context.assignment.threads.max(1);
    let source = Source { file, name: &name, cancel: context.cancel_flag() };

    let pictures = Pictures::open(file, &name, threads, context.cancel_flag()).map_err(halt)?;
    let seconds = length(pictures.facts(), pictures.stream().duration_seconds);
    context.lasts(seconds);
    let plan = Plan {
        fit: Some((stage.side, stage.side)),
        rate: Some((stage.fps, 1)),
        coder: Coder {
            encoder: "libx264".to_owned(),
            pixel_format: "yuv420p".to_owned(),
            options: vec![("preset".to_owned(), "veryfast".to_owned()), ("crf".to_owned(), "28".to_owned())],
            bit_rate: None,
            bit_rate_max: Some(400_000),
            buffer_bits: Some(800_000),
        },
        audio: AudioSettings { encoder: "aac".to_owned(), bit_rate: Some(64_000) },
        audio_rate: Some(44_100),
        track: None,
        container: "mp4",
        options: &[("movflags", "+faststart")],
        texts: None,
        sound: true,
        threads,
        in_pieces: false,
        seconds,
    };
    let path = context.scratch().join(PREVIEW_FILE);
    let options = || File::options().read(true).write(true).create(true).truncate(true).to_owned();
    let output = options().open(&path).map_err(|e| disk_failure(&e, &path))?;
    let mut pieces = Kept::open(context, false)?;
    // The sheet needs a few pictures only.
    let progress = |share: f32| context.progress(share * 0.9);
    let made = transcode::transcode(&source, pictures, &plan, &mut pieces, &output, &progress).map_err(halt)?;
    drop(output);
    pieces.go();
    let copy = context.adopt_artifact(PREVIEW_FILE)?;

    let sheet =
        contact_sheet(context, stage, &source, made.source_size, seconds.unwrap_or(made.seconds)).map_err(halt)?;
    let artifact = context.write_artifact(SHEET_FILE, |to| {
        let disk = |error: std::io::Error| disk_failure(&error, &context.scratch().join(SHEET_FILE));
        let mut jpeg = Vec::new();
        let encoder = JpegEncoder::new_with_quality(&mut jpeg, JPEG_QUALITY);
        encoder
            .write_image(&sheet, sheet.width(), sheet.height(), ExtendedColorType::Rgb8)
            .map_err(|e| disk(std::io::Error::other(e)))?;
        Ok(to.write_all(&jpeg).map_err(disk)?)
    })?;

    let mut detail = Detail { media_seconds: Some(made.seconds), notes: made.notes, ..Detail::default() };
    detail.figure("preview_resolution", format!("{}x{}", made.size.0, made.size.1));
    detail.figure("sheet_resolution", format!("{}x{}", sheet.width(), sheet.height()));
    Ok(Done { files: vec![copy, artifact], detail, work: bytes as f64, ..Done::default() })
}

/// Pictures at even distances, each with its time in the corner.
fn contact_sheet(
    context: &Context,
    stage: &Preview,
    source: &Source<'_>,
    upright: (u32, u32),
    seconds: f64,
) -> Result<RgbImage, MediaError> {
    let count = stage.columns * stage.rows;
    let room = (stage.sheet_width - GAP * (stage.columns + 1)) / stage.columns;
    // As high as wide at most, so that a sheet of upright pictures stays one.
    let (width, height) = fit(upright, (1, 1), Some((room.max(2), room.max(2))));
    let (cell_width, cell_height) = (width.min(room), height);
    let mut canvas =
        RgbImage::from_pixel(stage.columns * (cell_width + GAP) + GAP, stage.rows * (cell_height + GAP) + GAP, GROUND);
    let times: Vec<f64> = (0..count).map(|at| (f64::from(at) + 0.5) * seconds / f64::from(count)).collect();
    let mut place = 0;
    sheet::at(source, &times, (cell_width, cell_height), &mut |time, rows| {
        let (column, row) = (place % stage.columns, place / stage.columns);
        let corner = (GAP + column * (cell_width + GAP), GAP + row * (cell_height + GAP));
        if let Some(picture) = RgbImage::from_raw(cell_width, cell_height, rows) {
            image::imageops::replace(&mut canvas, &picture, corner.0.into(), corner.1.into());
        }
        write_time(&mut canvas, corner, (cell_width, cell_height), time);
        place += 1;
        context.progress(0.9 + 0.1 * place as f32 / count as f32);
    })?;
    Ok(canvas)
}

/// In the lower right corner of a picture.
fn write_time(canvas: &mut RgbImage, corner: (u32, u32), size: (u32, u32), seconds: f64) {
    let whole = seconds.max(0.0) as u64;
    let text = match (whole / 3_600, whole / 60 % 60, whole % 60) {
        (0, minutes, seconds) => format!("{minutes}:{seconds:02}"),
        (hours, minutes, seconds) => format!("{hours}:{minutes:02}:{seconds:02}"),
    };
    digits::write(canvas, corner, size, &text);
}

#[cfg(test)]
mod tests;
