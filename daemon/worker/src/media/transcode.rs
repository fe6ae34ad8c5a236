//! A video made anew: its pictures scaled, paced and encoded, its sound beside them, everything joined in one file. Knows no job and no profile.
//!
//! Pictures are encoded in pieces that begin at fixed places of the output, each with groups of pictures of its own, so that they can be made
//! in parallel, or by different runs, and joined without a seam. A short video is one piece.

mod join;
mod pieces;
mod reel;
mod sound;

use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI64};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::decoder::{Colour, Frame};
use super::encoder::{AudioSettings, VideoSettings};
use super::error::MediaError;
use super::facts::{StreamFacts, Turn, clock};
use super::pace::{self, Grid, Rate, per_second};
use super::pictures::{Pictures, Tally};
use super::texts::TextForm;
use join::{Joined, join};
use pieces::Course;
use reel::Scaler;
use sound::encode_sound;

/// Length of a piece.
const PIECE_SECONDS: f64 = 60.0;
/// Threads that encode pictures of a source larger than 1080p: each holds some.
const LARGE_THREADS: u32 = 2;
/// Pictures of such a source that are scaled for one that is shown, at most, rather than held as they are.
const SCALED_FOR_ONE: f64 = 3.0;
const MICROSECONDS: (i32, i32) = (1, 1_000_000);
/// Of a file's own tags, those that are the same thing in a copy.
const TAGS: [&str; 9] =
    ["title", "artist", "album", "date", "comment", "genre", "copyright", "description", "synopsis"];

/// The file that is read; several may read it at once.
#[derive(Clone)]
pub struct Source<'s> {
    pub file: &'s File,
    /// Gives the extension, for formats without a mark of their own.
    pub name: &'s str,
    pub cancel: Arc<AtomicBool>,
}

/// What encodes the pictures, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct Coder {
    /// libav's name (`libx264`).
    pub encoder: String,
    pub pixel_format: String,
    pub options: Vec<(String, String)>,
    pub bit_rate: Option<u64>,
    pub bit_rate_max: Option<u64>,
    pub buffer_bits: Option<u64>,
}

/// What is made.
#[derive(Debug, Clone)]
pub struct Plan<'p> {
    /// Pictures fit this box; they are never enlarged.
    pub fit: Option<(u32, u32)>,
    /// Frames per second at most.
    pub rate: Option<Rate>,
    pub coder: Coder,
    pub audio: AudioSettings,
    /// Samples per second, and most channels.
    pub audio_rate: Option<u32>,
    /// A number from 1, a language, or nothing.
    pub track: Option<&'p str>,
    /// libav's name of the container, and its options.
    pub container: &'p str,
    pub options: &'p [(&'p str, &'p str)],
    /// Subtitles go along in this form, and chapters with them.
    pub texts: Option<TextForm>,
    pub sound: bool,
    pub threads: u32,
    /// Encoded in pieces that outlive the run.
    pub in_pieces: bool,
    /// Length as the file tells it.
    pub seconds: Option<f64>,
}

/// One finished piece, as later runs find it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Counted from 0; the sound has none.
    pub piece: Option<u64>,
    /// BLAKE3 of its file, in hex.
    pub content: String,
    pub packets: u64,
    /// Of pictures.
    pub seconds: f64,
    /// What was made of the sound; none of pictures.
    pub sound: Option<Sound>,
    pub damaged: u64,
    /// The source ends in it.
    pub last: bool,
    /// How long the last picture is shown, in places.
    pub tail: i64,
}

/// The sound, encoded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sound {
    /// Samples of silence before it, which are not in the stream.
    pub begins: u64,
    pub samples: u64,
    pub rate: u32,
    pub channels: u32,
    pub language: Option<String>,
    pub title: Option<String>,
    pub notes: Vec<String>,
}

impl Row {
    pub fn file_name(&self) -> String {
        piece_name(self.piece)
    }
}

fn piece_name(piece: Option<u64>) -> String {
    piece.map_or_else(|| "sound".to_owned(), |piece| format!("pictures-{piece:05}"))
}

/// Where pieces are kept.
pub trait Pieces: Send {
    fn folder(&self) -> &Path;
    /// What earlier runs have finished, whole.
    fn done(&self) -> &[Row];
    fn keep(&mut self, row: Row) -> Result<(), MediaError>;
    /// They are to be found again after a crash: flushed to the disk.
    fn outlives(&self) -> bool;
}

/// What came of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Made {
    /// Of what was decoded, sound or pictures, whichever is longer.
    pub seconds: f64,
    pub source_size: (u32, u32),
    pub source_rate: Option<f64>,
    pub size: (u32, u32),
    pub rate: Rate,
    pub frames: u64,
    pub audio: bool,
    pub subtitles: usize,
    pub chapters: usize,
    pub notes: Vec<String>,
    /// Share that this very run has done.
    pub done_share: f64,
}

/// Width and height that fit the box: even, in proportion, never enlarged. `aspect` is a pixel's width divided by its height; both sides are
/// those of upright pictures.
pub fn fit(size: (u32, u32), aspect: (i32, i32), limit: Option<(u32, u32)>) -> (u32, u32) {
    let (mut width, mut height) = (f64::from(size.0.max(1)), f64::from(size.1.max(1)));
    let aspect = if aspect.0 > 0 && aspect.1 > 0 { f64::from(aspect.0) / f64::from(aspect.1) } else { 1.0 };
    // Square pixels, by making the longer side of each pixel shorter.
    if aspect > 1.0 {
        height /= aspect
    } else {
        width *= aspect
    }
    let share = limit.map_or(1.0, |limit| (f64::from(limit.0) / width).min(f64::from(limit.1) / height).min(1.0));
    let even = |side: f64, most: f64| {
        let near = 2.0 * (side / 2.0).round();
        // Half a pixel over is rounding; a whole one would be enlarged.
        let near = if near > most + 0.5 { near - 2.0 } else { near };
        near.max(2.0) as u32
    };
    let most = limit.map_or((width, height), |limit| (width.min(f64::from(limit.0)), height.min(f64::from(limit.1))));
    (even(width * share, most.0), even(height * share, most.1))
}

/// What is known when the first picture is decoded, and is the same for every piece.
struct Settled {
    grid: Grid,
    /// Places of one piece.
    piece_places: i64,
    filters: Filters,
    settings: VideoSettings,
    source_size: (u32, u32),
    notes: Vec<String>,
}

#[derive(Clone)]
struct Filters {
    deinterlace: bool,
    chain: String,
    size: (u32, u32),
}

/// Makes it. `pictures` is freshly opened over the same source.
pub fn transcode(
    source: &Source<'_>,
    mut pictures: Pictures<'_>,
    plan: &Plan<'_>,
    pieces: &mut dyn Pieces,
    output: &File,
    progress: &(dyn Fn(f32) + Sync),
) -> Result<Made, MediaError> {
    let facts = pictures.facts().clone();
    let stream = pictures.stream().clone();
    let mut first = Frame::new()?;
    let first_time = match pictures.next(&mut first)? {
        Some((time, length)) => (time, length),
        None => return Err(pictures.nothing()),
    };
    let settled = settle(&pictures, &stream, &first, first_time.0, plan)?;
    let places = plan.seconds.map(|seconds| (seconds * per_second(settled.grid.rate)).max(1.0));

    if plan.sound && facts.audio().next().is_some() && !pieces.done().iter().any(|row| row.piece.is_none()) {
        encode_sound(source, plan, pieces)?;
    }

    let before: u64 = pieces.done().iter().filter(|row| row.piece.is_some()).map(|row| row.packets).sum();
    let course = Course {
        source,
        settled: &settled,
        stop: AtomicBool::new(false),
        placed: AtomicI64::new(i64::try_from(before).unwrap_or(0)),
        places,
        progress,
        tally: Mutex::new(Tally::default()),
    };
    course.all(pictures, first, first_time, plan, pieces)?;

    let tally = *course.tally.lock().unwrap_or_else(PoisonError::into_inner);
    let mut rows: Vec<Row> = pieces.done().to_vec();
    rows.sort_by_key(|row| row.piece);
    let joined = join(source, &facts, &settled, plan, pieces.folder(), &rows, output)?;
    let frames: u64 = rows.iter().filter(|row| row.piece.is_some()).map(|row| row.packets).sum();
    let done_share = if frames > 0 { (frames - before.min(frames)) as f64 / frames as f64 } else { 1.0 };
    let mut notes = settled.notes.clone();
    notes.extend(told(&rows, tally, plan, &joined));
    let picture = stream.picture;
    Ok(Made {
        seconds: joined.seconds,
        source_size: settled.source_size,
        source_rate: picture
            .map(|p| p.rate)
            .filter(|(num, den)| *num > 0 && *den > 0)
            .map(|(num, den)| f64::from(num) / f64::from(den)),
        size: settled.filters.size,
        rate: settled.grid.rate,
        frames,
        audio: rows.iter().any(|row| row.sound.is_some()),
        subtitles: joined.subtitles,
        chapters: joined.chapters,
        notes,
        done_share,
    })
}

/// What a person should know of damage and missing parts.
fn told(rows: &[Row], tally: Tally, plan: &Plan<'_>, joined: &Joined) -> Vec<String> {
    let mut notes = Vec::new();
    let damaged = rows.iter().map(|row| row.damaged).sum::<u64>();
    if damaged > 0 {
        let all = rows.iter().map(|row| row.packets).sum::<u64>().max(tally.frames).max(damaged);
        let share = 100.0 * damaged as f64 / all as f64;
        notes.push(format!("damage in {damaged} of its packets or pictures ({share:.1} %)"));
    }
    if tally.leaps > 0 {
        notes.push(format!("the file's clock leaps {} times; the pictures are joined there", tally.leaps));
    }
    if let Some(promised) = plan.seconds
        && promised - joined.seconds > (promised * 0.05).max(2.0)
    {
        let lost = 100.0 * (1.0 - joined.seconds / promised);
        notes.push(format!(
            "the file says {}, but what can be decoded ends at {} ({lost:.0} % are missing)",
            clock(promised),
            clock(joined.seconds)
        ));
    }
    for sound in rows.iter().filter_map(|row| row.sound.as_ref()) {
        notes.extend(sound.notes.iter().cloned());
    }
    notes.extend(joined.notes.iter().cloned());
    notes
}

fn settle(
    pictures: &Pictures<'_>,
    stream: &StreamFacts,
    first: &Frame,
    first_time: i64,
    plan: &Plan<'_>,
) -> Result<Settled, MediaError> {
    let shape = first.picture().ok_or_else(|| pictures.nothing())?;
    let facts = stream.picture;
    let turn = facts.map_or(Turn::None, |facts| facts.turn);
    let mut aspect = facts.map_or((1, 1), |facts| facts.sample_aspect);
    if aspect == (1, 1) && shape.sample_aspect.0 > 0 && shape.sample_aspect.1 > 0 {
        aspect = shape.sample_aspect;
    }
    let stored = (shape.width.unsigned_abs(), shape.height.unsigned_abs());
    let (upright, aspect) = match turn.is_on_its_side() {
        true => ((stored.1, stored.0), (aspect.1, aspect.0)),
        false => (stored, aspect),
    };
    let size = fit(upright, aspect, plan.fit);
    let rate = facts.map_or((25, 1), |facts| pace::rate(facts.rate, facts.base_rate, plan.rate));
    let grid = Grid { time_base: pictures.time_base(), first: first_time, rate };
    let mut notes = Vec::new();
    let hdr = first.colour().is_hdr();
    let mut chains = Vec::new();
    if hdr {
        chains.push(chain(stored, size, turn, &plan.coder.pixel_format, true));
    }
    chains.push(chain(stored, size, turn, &plan.coder.pixel_format, false));
    // The first picture shows what colours come out; every piece is then encoded alike.
    let mut found = None;
    for (at, chain) in chains.iter().enumerate() {
        let filters = Filters { deinterlace: facts.is_some_and(|facts| facts.interlaced), chain: chain.clone(), size };
        match colours(first, &filters, grid) {
            Ok(colour) => {
                match (hdr, at) {
                    (true, 0) => notes.push("high dynamic range was mapped to the standard one".to_owned()),
                    (true, _) => notes
                        .push("high dynamic range was cut to 8 bits without mapping: libav has no zscale".to_owned()),
                    _ => {}
                }
                found = Some((filters, colour));
                break;
            }
            Err(error) if at + 1 == chains.len() => return Err(error),
            Err(_) => {}
        }
    }
    let (filters, colour) = found.ok_or_else(|| pictures.nothing())?;
    if filters.deinterlace {
        notes.push("the pictures are interlaced and were made whole".to_owned());
    }
    let settings = VideoSettings {
        encoder: plan.coder.encoder.clone(),
        width: size.0,
        height: size.1,
        rate,
        pixel_format: plan.coder.pixel_format.clone(),
        sample_aspect: (1, 1),
        bit_rate: plan.coder.bit_rate,
        bit_rate_max: plan.coder.bit_rate_max,
        buffer_bits: plan.coder.buffer_bits,
        group: None,
        options: plan.coder.options.clone(),
        colour: Some(colour),
        threads: plan.threads,
    };
    let piece_places = match plan.in_pieces {
        true => (PIECE_SECONDS * per_second(rate)).round().max(1.0) as i64,
        false => i64::MAX,
    };
    Ok(Settled { grid, piece_places, filters, settings, source_size: upright, notes })
}

fn chain(stored: (u32, u32), size: (u32, u32), turn: Turn, pixel_format: &str, map_tones: bool) -> String {
    let mut parts = Vec::new();
    // Before it is turned: there are fewer pixels to turn then.
    let scaled = if turn.is_on_its_side() { (size.1, size.0) } else { size };
    if scaled != stored {
        parts.push(format!("scale={}:{}:flags=bicubic", scaled.0, scaled.1));
    }
    if map_tones {
        parts.push(
            "zscale=transfer=linear:npl=100,format=gbrpf32le,zscale=primaries=bt709,tonemap=tonemap=hable:desat=0,\
             zscale=transfer=bt709:matrix=bt709:range=tv"
                .to_owned(),
        );
    }
    parts.push(format!("format={pixel_format}"));
    if !turn.filter().is_empty() {
        parts.push(turn.filter().to_owned());
    }
    parts.push("setsar=1".to_owned());
    parts.join(",")
}

/// The colours of what comes out of the filters.
fn colours(first: &Frame, filters: &Filters, grid: Grid) -> Result<Colour, MediaError> {
    let mut copy = first.another()?;
    let mut scaler = Scaler::new(filters.clone(), grid.rate, 1);
    let mut out = Frame::new()?;
    scaler.scale(&mut copy, 0, &mut out)?;
    Ok(out.colour().as_written())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn pictures_are_made_to_fit_and_never_larger() {
        let hd = Some((1_280, 720));
        for (size, aspect, limit, made) in [
            ((1_920, 1_080), (1, 1), hd, (1_280, 720)),
            ((1_080, 1_920), (1, 1), hd, (406, 720)),
            ((640, 360), (1, 1), hd, (640, 360)),
            ((641, 361), (1, 1), None, (640, 360)),
            ((720, 576), (16, 11), None, (720, 396)),
            ((1_440, 1_080), (4, 3), Some((1_920, 1_080)), (1_440, 810)),
            ((720, 480), (8, 9), None, (640, 480)),
            ((1, 1), (0, 0), hd, (2, 2)),
            ((10_000, 2), (1, 1), hd, (1_280, 2)),
        ] {
            assert_eq!(fit(size, aspect, limit), made, "{size:?} {aspect:?} {limit:?}");
        }
    }

    proptest! {
        #[test]
        fn sides_are_even_and_within(
            size in (2..8_000u32, 2..8_000u32),
            aspect in (1..100i32, 1..100i32),
            limit in proptest::option::of((16..4_000u32, 16..4_000u32)),
        ) {
            let (width, height) = fit(size, aspect, limit);
            prop_assert!(width.is_multiple_of(2) && height.is_multiple_of(2) && width > 0 && height > 0);
            let most = limit.unwrap_or((u32::MAX - 1, u32::MAX - 1));
            prop_assert!(width <= size.0.max(2) + 1 && height <= size.1.max(2) + 1);
            prop_assert!(width <= most.0 + 1 && height <= most.1 + 1);
        }
    }
}
