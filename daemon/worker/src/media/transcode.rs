//! A video made anew: its pictures scaled, paced and encoded, its sound beside them, everything joined in one file. Knows no job and no profile.
//!
//! Pictures are encoded in pieces that begin at fixed places of the output, each with groups of pictures of its own, so that they can be made
//! in parallel, or by different runs, and joined without a seam. A short video is one piece.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::decoder::{Colour, Frame};
use super::demuxer::{Demuxer, Packet};
use super::encoder::{AudioEncoder, AudioSettings, Codec, VideoEncoder, VideoSettings};
use super::error::MediaError;
use super::facts::{Facts, StreamFacts, StreamKind, Turn, clock};
use super::graph::{Feed, Graph, PictureShape};
use super::logs;
use super::muxer::{Muxer, StreamAbout, Writing, rescale};
use super::pace::{self, Grid, Rate, per_second};
use super::packets::{self, Packets, Times};
use super::pictures::{Pictures, Tally, is_large};
use super::recording::{Piece, Recording};
use super::resampler::{Form, Sample};
use super::texts::{self, TextForm};

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

/// The filters for pictures of whatever shape comes.
struct Scaler {
    filters: Filters,
    rate: Rate,
    threads: u32,
    graph: Option<(PictureShape, Graph)>,
}

impl Scaler {
    fn new(filters: Filters, rate: Rate, threads: u32) -> Self {
        Scaler { filters, rate, threads, graph: None }
    }

    /// `frame` is left empty, `out` is filled.
    fn scale(&mut self, frame: &mut Frame, place: i64, out: &mut Frame) -> Result<(), MediaError> {
        let unfit = || MediaError::Shape { reason: "a picture went into the filters and none came out".to_owned() };
        let shape = frame.picture().ok_or_else(unfit)?;
        let graph = match &mut self.graph {
            Some((known, graph)) if *known == shape => graph,
            other => {
                let time_base = (self.rate.1.cast_signed(), self.rate.0.cast_signed());
                let feed = Feed::Pictures { shape, time_base };
                // Pictures may change their size in the middle of a stream.
                let (width, height) = self.filters.size;
                let chain = match other {
                    None => self.filters.chain.clone(),
                    Some(_) => format!("{},scale={width}:{height}:flags=bicubic,setsar=1", self.filters.chain),
                };
                &mut other.insert((shape, Graph::new(feed, &chain, self.threads)?)).1
            }
        };
        frame.set_timestamp(Some(place));
        graph.push(Some(frame))?;
        if graph.pull(out)? { Ok(()) } else { Err(unfit()) }
    }
}

/// Decoded pictures in their order, made whole where they are interlaced.
struct Reel<'file> {
    pictures: Pictures<'file>,
    /// Its time base, and whether it was told of the end.
    deinterlacer: Option<(Graph, bool)>,
    wants_deinterlacer: bool,
    raw: Frame,
    /// The first picture, decoded already.
    waiting: Option<(i64, i64)>,
    /// Of a picture, in the source's ticks.
    length: i64,
}

impl<'file> Reel<'file> {
    fn new(pictures: Pictures<'file>, deinterlace: bool) -> Result<Self, MediaError> {
        Ok(Reel {
            pictures,
            deinterlacer: None,
            wants_deinterlacer: deinterlace,
            raw: Frame::new()?,
            waiting: None,
            length: 0,
        })
    }

    fn next(&mut self, frame: &mut Frame) -> Result<Option<(i64, i64)>, MediaError> {
        if !self.wants_deinterlacer {
            return match self.waiting.take() {
                Some(times) => {
                    frame.take(&mut self.raw);
                    Ok(Some(times))
                }
                None => self.pictures.next(frame),
            };
        }
        let base = self.pictures.time_base();
        loop {
            if let Some((graph, _)) = &mut self.deinterlacer
                && graph.pull(frame)?
            {
                let stamp = frame.filtered_timestamp().unwrap_or(0);
                return Ok(Some((rescale(stamp, graph.time_base(), base), self.length)));
            }
            if self.deinterlacer.as_ref().is_some_and(|(_, ended)| *ended) {
                return Ok(None);
            }
            let times = match self.waiting.take() {
                Some(times) => Some(times),
                None => self.pictures.next(&mut self.raw)?,
            };
            match (times, &mut self.deinterlacer) {
                (Some((time, length)), known) => {
                    self.length = length;
                    let shape = self.raw.picture().ok_or_else(|| self.pictures.nothing())?;
                    let (graph, _) = match known {
                        Some(known) => known,
                        none => {
                            let feed = Feed::Pictures { shape, time_base: base };
                            none.insert((Graph::new(feed, "yadif=mode=send_frame:deint=interlaced", 1)?, false))
                        }
                    };
                    self.raw.set_timestamp(Some(time));
                    graph.push(Some(&mut self.raw))?;
                }
                (None, Some((graph, ended))) => {
                    graph.push(None)?;
                    *ended = true;
                }
                (None, None) => return Ok(None),
            }
        }
    }

    /// Goes to where the pictures from this place on are found; `false` where there is no such way.
    fn seek(&mut self, grid: &Grid, place: i64) -> Result<bool, MediaError> {
        let ticks = |seconds: i64| rescale(seconds * 1_000_000, MICROSECONDS, grid.time_base);
        for back in [1, 20, 120] {
            self.deinterlacer = None;
            self.waiting = None;
            let target = grid.stamp(place).saturating_sub(ticks(back)).max(grid.first);
            if !self.pictures.seek(target)? {
                return Ok(false);
            }
            match self.pictures.next(&mut self.raw)? {
                Some(times) if grid.place(times.0) <= place => {
                    self.waiting = Some(times);
                    return Ok(true);
                }
                // Too far, or nothing at all: from further back.
                _ => {}
            }
        }
        Ok(false)
    }
}

/// The encoding of all pieces.
struct Course<'c, 's> {
    source: &'c Source<'s>,
    settled: &'c Settled,
    /// Another thread has failed.
    stop: AtomicBool,
    /// Pictures that are done, of so many places.
    placed: AtomicI64,
    places: Option<f64>,
    progress: &'c (dyn Fn(f32) + Sync),
    tally: Mutex<Tally>,
}

/// Where all threads put their finished pieces.
type Shelf<'p> = Mutex<&'p mut (dyn Pieces + 'p)>;

/// Pieces one after the other: from here to before there, or to the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stretch {
    from: i64,
    to: Option<i64>,
}

impl<'s> Course<'_, 's> {
    fn all(
        &self,
        pictures: Pictures<'s>,
        first: Frame,
        first_time: (i64, i64),
        plan: &Plan<'_>,
        pieces: &mut dyn Pieces,
    ) -> Result<(), MediaError> {
        let done: BTreeSet<i64> =
            pieces.done().iter().filter_map(|row| row.piece.and_then(|piece| i64::try_from(piece).ok())).collect();
        let last = pieces.done().iter().filter(|row| row.last).filter_map(|row| row.piece).max();
        if last.is_some_and(|last| (0..=last).all(|piece| done.contains(&i64::try_from(piece).unwrap_or(i64::MAX)))) {
            return Ok(());
        }
        let can_seek = pictures.can_seek() && self.settled.piece_places != i64::MAX;
        // Of large pictures, few can be held: they are decoded in one place only, and few are encoded at once.
        let large = is_large(pictures.stream());
        // Each thread's own, one after the other.
        let stretches = match can_seek {
            true => self.stretches(&done, last, if large { 1 } else { plan.threads }),
            false => vec![vec![Stretch { from: 0, to: None }]],
        };
        let threads = u32::try_from(stretches.len()).unwrap_or(1).max(1);
        let each = (plan.threads / threads).clamp(1, if large { LARGE_THREADS } else { u32::MAX });
        let pieces: Shelf<'_> = Mutex::new(pieces);
        let mut reel = Reel::new(pictures, self.settled.filters.deinterlace)?;
        reel.raw = first;
        reel.waiting = Some(first_time);
        let Some((own, others)) = stretches.split_first() else { return Ok(()) };
        std::thread::scope(|scope| {
            let workers: Vec<_> = others
                .iter()
                .map(|stretch| {
                    let (pieces, done) = (&pieces, &done);
                    scope.spawn(move || {
                        let result = self.open_and_run(stretch, each, done, pieces);
                        if result.is_err() {
                            self.stop.store(true, Ordering::Relaxed);
                        }
                        result
                    })
                })
                .collect();
            let mut result = own.iter().try_for_each(|stretch| self.run(&mut reel, *stretch, each, &done, &pieces));
            if result.is_err() {
                self.stop.store(true, Ordering::Relaxed);
            }
            for worker in workers {
                let other = worker.join().unwrap_or_else(|_| {
                    Err(MediaError::Encode { encoder: "a piece".to_owned(), reason: "it gave up".to_owned() })
                });
                result = result.and(other);
            }
            result
        })
    }

    /// What is left to do, in as many parts as there are threads.
    fn stretches(&self, done: &BTreeSet<i64>, last: Option<u64>, threads: u32) -> Vec<Vec<Stretch>> {
        let expected = self.places.map_or(1.0, |places| (places / self.settled.piece_places as f64).ceil()) as i64;
        let count = last.and_then(|last| i64::try_from(last).ok()).map_or(expected.max(1), |last| last + 1);
        let open: Vec<i64> = (0..count).filter(|piece| !done.contains(piece)).collect();
        let share = open.len().div_ceil(threads.max(1) as usize).max(1);
        let mut parts: Vec<Vec<Stretch>> = open
            .chunks(share)
            .map(|part| {
                let mut stretches: Vec<Stretch> = Vec::new();
                for piece in part {
                    match stretches.last_mut() {
                        Some(before) if before.to == Some(*piece) => before.to = Some(piece + 1),
                        _ => stretches.push(Stretch { from: *piece, to: Some(piece + 1) }),
                    }
                }
                stretches
            })
            .collect();
        if last.is_none() {
            // Where the source goes on longer than it says, so does the last.
            if parts.is_empty() {
                parts.push(Vec::new());
            }
            if let Some(end) = parts.last_mut() {
                match end.last_mut() {
                    Some(stretch) if stretch.to == Some(count) => stretch.to = None,
                    _ => end.push(Stretch { from: count, to: None }),
                }
            }
        }
        parts
    }

    fn open_and_run(
        &self,
        stretches: &[Stretch],
        threads: u32,
        done: &BTreeSet<i64>,
        pieces: &Shelf<'_>,
    ) -> Result<(), MediaError> {
        let Source { file, name, cancel } = self.source;
        let pictures = Pictures::open(file, name, threads, Arc::clone(cancel))?;
        let mut reel = Reel::new(pictures, self.settled.filters.deinterlace)?;
        stretches.iter().try_for_each(|stretch| self.run(&mut reel, *stretch, threads, done, pieces))
    }

    fn run(
        &self,
        reel: &mut Reel<'s>,
        stretch: Stretch,
        threads: u32,
        done: &BTreeSet<i64>,
        pieces: &Shelf<'_>,
    ) -> Result<(), MediaError> {
        let Settled { grid, piece_places, filters, settings, .. } = self.settled;
        let begin = stretch.from.saturating_mul(*piece_places);
        if stretch.from > 0 && !reel.seek(grid, begin)? {
            // The long way.
            let Source { file, name, cancel } = self.source;
            let pictures = Pictures::open(file, name, threads, Arc::clone(cancel))?;
            *reel = Reel::new(pictures, filters.deinterlace)?;
        }
        let limit = stretch.to.map_or(i64::MAX, |to| to.saturating_mul(*piece_places));
        let mut writer = PieceWriter {
            course: self,
            settings: VideoSettings { threads, ..settings.clone() },
            scaler: Scaler::new(filters.clone(), grid.rate, threads),
            out: Frame::new()?,
            open: None,
            last_place: None,
            damaged: reel.pictures.tally().damaged,
            done,
            pieces,
        };
        let (mut frame, mut held_frame) = (Frame::new()?, Frame::new()?);
        let mut held: Option<(i64, i64)> = None;
        // A large picture is held as what is made of it, unless most are left out.
        let source_rate =
            reel.pictures.stream().picture.map_or((25, 1), |picture| pace::rate(picture.rate, picture.base_rate, None));
        let early =
            is_large(reel.pictures.stream()) && per_second(source_rate) <= SCALED_FOR_ONE * per_second(grid.rate);
        let ended = loop {
            if self.stop.load(Ordering::Relaxed) || self.source.cancel.load(Ordering::Relaxed) {
                return Err(MediaError::Stopped);
            }
            let Some((time, length)) = reel.next(&mut frame)? else { break true };
            let place = grid.place(time);
            if let Some((before, _)) = held {
                // What goes back in time can't be shown any more.
                if place < before {
                    continue;
                }
                if place > before {
                    writer.put(&mut held_frame, before, early, reel.pictures.tally())?;
                    held = None;
                }
            }
            if place >= limit {
                break false;
            }
            if place >= begin.max(0) {
                match early {
                    true => writer.scale(&mut frame, place, &mut held_frame)?,
                    false => held_frame.take(&mut frame),
                }
                held = Some((place, grid.place(time.saturating_add(length.max(0)))));
            }
        };
        let mut tail = 1;
        if let Some((place, end)) = held {
            // A last one that would begin where the source ends takes the place before, where that is free.
            let place = if end > place { place } else { (end - 1).max(begin) };
            if writer.last_place.is_none_or(|last| last < place) {
                writer.put(&mut held_frame, place, early, reel.pictures.tally())?;
            }
            // A picture that says it is shown for a minute is believed; one for a day is a broken header.
            let shown = end - writer.last_place.unwrap_or(place);
            tail = shown.clamp(1, (60.0 * per_second(grid.rate)) as i64 + 1);
        }
        writer.finish(ended, tail, reel.pictures.tally())?;
        self.tally.lock().unwrap_or_else(PoisonError::into_inner).add(reel.pictures.take_tally());
        Ok(())
    }
}

/// Encodes pictures into the piece that their place belongs to.
struct PieceWriter<'w, 'c, 's, 'p> {
    course: &'w Course<'c, 's>,
    settings: VideoSettings,
    scaler: Scaler,
    out: Frame,
    open: Option<OpenPiece>,
    /// Of the picture that was put last.
    last_place: Option<i64>,
    /// Of the source, when the open piece began.
    damaged: u64,
    done: &'w BTreeSet<i64>,
    pieces: &'w Shelf<'p>,
}

struct OpenPiece {
    number: i64,
    encoder: VideoEncoder,
    file: Hashed,
    packets: u64,
}

impl PieceWriter<'_, '_, '_, '_> {
    /// What is to be encoded of a picture, before it is sure that it will be.
    fn scale(&mut self, frame: &mut Frame, place: i64, scaled: &mut Frame) -> Result<(), MediaError> {
        match self.done.contains(&(place / self.course.settled.piece_places)) {
            true => Ok(()),
            false => self.scaler.scale(frame, place, scaled),
        }
    }

    fn put(&mut self, frame: &mut Frame, place: i64, is_scaled: bool, tally: Tally) -> Result<(), MediaError> {
        let number = place / self.course.settled.piece_places;
        self.last_place = Some(place);
        if self.open.as_ref().is_some_and(|open| open.number != number) {
            self.close(false, 1, tally)?;
        }
        if self.done.contains(&number) {
            return Ok(());
        }
        let picture = match is_scaled {
            true => {
                frame.set_timestamp(Some(place));
                frame
            }
            false => {
                self.scaler.scale(frame, place, &mut self.out)?;
                &mut self.out
            }
        };
        let open = match &mut self.open {
            Some(open) => open,
            none => {
                let pieces = self.pieces.lock().unwrap_or_else(PoisonError::into_inner);
                let path = pieces.folder().join(piece_name(u64::try_from(number).ok()));
                drop(pieces);
                self.damaged = tally.damaged;
                none.insert(OpenPiece {
                    number,
                    encoder: VideoEncoder::open(&self.settings)?,
                    file: Hashed::create(&path)?,
                    packets: 0,
                })
            }
        };
        let OpenPiece { encoder, file, packets, .. } = open;
        encoder.push(picture, &mut |packet| {
            *packets += 1;
            packets::put(packet, file).map(drop)
        })?;
        let placed = self.course.placed.fetch_add(1, Ordering::Relaxed) + 1;
        if let Some(places) = self.course.places {
            // The joining is quick, and is not counted.
            (self.course.progress)((placed as f64 / places).min(0.99) as f32);
        }
        Ok(())
    }

    fn close(&mut self, last: bool, tail: i64, tally: Tally) -> Result<(), MediaError> {
        let Some(OpenPiece { number, encoder, mut file, mut packets }) = self.open.take() else { return Ok(()) };
        encoder.finish(&mut |packet| {
            packets += 1;
            packets::put(packet, &mut file).map(drop)
        })?;
        let mut pieces = self.pieces.lock().unwrap_or_else(PoisonError::into_inner);
        let content = file.finish(pieces.outlives())?;
        let piece = u64::try_from(number).ok();
        let damaged = tally.damaged.saturating_sub(self.damaged);
        let seconds = self.course.settled.grid.seconds(i64::try_from(packets).unwrap_or(0));
        pieces.keep(Row { piece, content, packets, seconds, sound: None, damaged, last, tail })
    }

    fn finish(mut self, ended: bool, tail: i64, tally: Tally) -> Result<(), MediaError> {
        self.close(ended, tail, tally)
    }
}

/// A file that is hashed as it is written.
struct Hashed {
    to: BufWriter<File>,
    hasher: blake3::Hasher,
}

impl Hashed {
    fn create(path: &Path) -> Result<Self, MediaError> {
        let file = File::create(path).map_err(MediaError::Write)?;
        Ok(Hashed { to: BufWriter::with_capacity(256 << 10, file), hasher: blake3::Hasher::new() })
    }

    fn finish(self, to_disk: bool) -> Result<String, MediaError> {
        let file = self.to.into_inner().map_err(|e| MediaError::Write(e.into_error()))?;
        if to_disk {
            file.sync_data().map_err(MediaError::Write)?;
        }
        Ok(self.hasher.finalize().to_hex().to_string())
    }
}

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.to.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.to.flush()
    }
}

/// The whole sound in one piece. What can't be heard is told, and the pictures go on without it; a track that was asked for and isn't there is
/// a failure.
fn encode_sound(source: &Source<'_>, plan: &Plan<'_>, pieces: &mut dyn Pieces) -> Result<(), MediaError> {
    let Source { file, name, cancel } = source;
    let probe = |channels: u32, rate: u32| Form { rate, channels, sample: Sample::F32 };
    let wished = [Sample::F32, Sample::S16, Sample::S32];
    let sample = AudioEncoder::sample(&plan.audio.encoder, &wished).unwrap_or(Sample::F32);
    let facts = {
        let demuxer = Demuxer::open(file, name, Arc::clone(cancel))?;
        demuxer.facts().clone()
    };
    let track = match super::track::choose(&facts, plan.track) {
        Ok(tracks) => tracks.first().copied().cloned(),
        Err(error) => return Err(error),
    };
    let channels = track.as_ref().map_or(2, |track| track.channels).clamp(1, 2);
    let rate =
        plan.audio_rate.or(track.as_ref().map(|track| track.sample_rate).filter(|rate| *rate > 0)).unwrap_or(48_000);
    let form = Form { sample, ..probe(channels, rate) };
    let silent = |error: MediaError| match error {
        MediaError::Stopped | MediaError::OutOfMemory { .. } | MediaError::Write(_) | MediaError::Read(_) => Err(error),
        MediaError::NoSuchTrack { .. } | MediaError::NoEncoder { .. } | MediaError::Encode { .. } => Err(error),
        other if plan.track.is_some() => Err(other),
        other => Ok(Some(format!("the copy has no sound: {other}"))),
    };
    match sound(source, plan, form, &pieces.folder().join(piece_name(None)), pieces.outlives()) {
        Ok((content, packets, sound)) => {
            pieces.keep(Row { piece: None, content, packets, seconds: 0.0, sound, damaged: 0, last: false, tail: 0 })
        }
        Err(error) => {
            let note = silent(error)?;
            let file = Hashed::create(&pieces.folder().join(piece_name(None)))?;
            let content = file.finish(pieces.outlives())?;
            let sound = note.map(|note| Sound {
                begins: 0,
                samples: 0,
                rate,
                channels,
                language: None,
                title: None,
                notes: vec![note],
            });
            pieces.keep(Row { piece: None, content, packets: 0, seconds: 0.0, sound, damaged: 0, last: false, tail: 0 })
        }
    }
}

fn sound(
    source: &Source<'_>,
    plan: &Plan<'_>,
    form: Form,
    path: &Path,
    to_disk: bool,
) -> Result<(String, u64, Option<Sound>), MediaError> {
    let mut recording = Recording::open(source.file, source.name, plan.track, form, Arc::clone(&source.cancel))?;
    let (language, title) = (recording.track().language.clone(), recording.track().title.clone());
    let mut encoder = AudioEncoder::open(&plan.audio, form)?;
    let mut file = Hashed::create(path)?;
    let (mut begins, mut samples, mut packets) = (0, 0, 0);
    let mut put = |packet: &mut Packet| {
        packets += 1;
        packets::put(packet, &mut file).map(drop)
    };
    while let Some(piece) = recording.next()? {
        if source.cancel.load(Ordering::Relaxed) {
            return Err(MediaError::Stopped);
        }
        match piece {
            Piece::Silence(count) if samples == 0 => begins += count,
            Piece::Silence(count) => {
                samples += count;
                encoder.push_silence(count, &mut put)?;
            }
            Piece::Samples(bytes) => {
                samples += (bytes.len() / form.block()) as u64;
                encoder.push(&bytes, &mut put)?;
            }
        }
    }
    let summary = recording.finish()?;
    encoder.finish(&mut put)?;
    let content = file.finish(to_disk)?;
    let Form { rate, channels, .. } = form;
    Ok((content, packets, Some(Sound { begins, samples, rate, channels, language, title, notes: summary.notes })))
}

struct Joined {
    seconds: f64,
    subtitles: usize,
    chapters: usize,
    notes: Vec<String>,
}

/// Fills the packet with the next one.
type Next<'f> = dyn FnMut(&mut Packet) -> Result<Option<Times>, MediaError> + 'f;

/// One stream's packets on their way into the file, in the order of their decoding times.
struct Strand<'f> {
    stream: usize,
    from: Box<Next<'f>>,
    time_base: (i32, i32),
    /// Added to every time, in microseconds.
    shift_us: i64,
    packet: Packet,
    /// Of the packet, in the file's ticks and in microseconds.
    next: Option<(Times, i64)>,
}

impl Strand<'_> {
    fn advance(&mut self, writing: &Writing<'_>) -> Result<(), MediaError> {
        let to = writing.time_base(self.stream);
        let shift = rescale(self.shift_us, MICROSECONDS, to);
        self.next = (self.from)(&mut self.packet)?.map(|times| {
            let at = |ticks: i64| rescale(ticks, self.time_base, to) + shift;
            let stamp = at(times.stamp);
            let own = Times {
                stamp,
                decode_stamp: at(times.decode_stamp),
                duration: at(times.stamp.saturating_add(times.duration)) - stamp,
                key: times.key,
            };
            (own, rescale(own.decode_stamp, to, MICROSECONDS))
        });
        Ok(())
    }
}

/// Everything in one file.
fn join(
    source: &Source<'_>,
    facts: &Facts,
    settled: &Settled,
    plan: &Plan<'_>,
    folder: &Path,
    rows: &[Row],
    output: &File,
) -> Result<Joined, MediaError> {
    let open = |row: &Row| File::open(folder.join(row.file_name())).map_err(MediaError::Read);
    let pictures: Vec<&Row> = rows.iter().filter(|row| row.piece.is_some()).collect();
    let tail = pictures.last().map_or(1, |row| row.tail);
    let rate = settled.grid.rate;
    let times = joined_times(&pictures, tail, per_second(rate).ceil() as i64, open)?;
    let picture_base = (rate.1.cast_signed(), rate.0.cast_signed());
    let sound_row = rows.iter().find(|row| row.sound.is_some() && row.packets > 0);
    let sound = sound_row.and_then(|row| row.sound.as_ref());

    // Both on one clock, whose zero is where a player shows 0:00.
    let zero = facts.zero_us.unwrap_or_else(|| rescale(settled.grid.first, settled.grid.time_base, MICROSECONDS));
    let picture_us = rescale(settled.grid.first, settled.grid.time_base, MICROSECONDS) - zero;
    let sound_us = sound.map_or(0, |sound| (sound.begins as f64 * 1e6 / f64::from(sound.rate.max(1))) as i64);
    let early = picture_us.min(0);
    let (picture_us, sound_us) = (picture_us - early, sound_us - early);

    let all_texts: Vec<usize> = facts.of(StreamKind::Subtitle).map(|track| track.index).collect();
    let wanted_texts = plan.texts.map_or(&[][..], |_| &all_texts);
    let (texts, mut notes) = texts::read(source, facts, wanted_texts, zero + early)?;
    logs::begin();
    let mut muxer = Muxer::new(output, plan.container, Arc::clone(&source.cancel))?;
    let encoder = VideoEncoder::open(&settled.settings)?;
    let about = StreamAbout { default: true, ..StreamAbout::default() };
    let video = muxer.add(&encoder.codec()?, picture_base, &about)?;
    muxer.says_rate(video, rate);
    drop(encoder);
    let mut strands = Vec::new();
    {
        let mut at = 0;
        let mut left = pictures.iter();
        let mut reader: Option<Packets<File>> = None;
        let times = &times.all;
        strands.push(Strand {
            stream: video,
            from: Box::new(move |packet| {
                loop {
                    if let Some(from) = &mut reader
                        && from.next(packet)?.is_some()
                    {
                        at += 1;
                        return Ok(times.get(at - 1).copied());
                    }
                    match left.next() {
                        Some(row) => reader = Some(Packets::new(open(row)?)),
                        None => return Ok(None),
                    }
                }
            }),
            time_base: picture_base,
            shift_us: picture_us,
            packet: Packet::new()?,
            next: None,
        });
    }
    if let (Some(row), Some(sound)) = (sound_row, sound) {
        let sample = AudioEncoder::sample(&plan.audio.encoder, &[Sample::F32, Sample::S16, Sample::S32]);
        let form = Form { rate: sound.rate, channels: sound.channels, sample: sample.unwrap_or(Sample::F32) };
        let codec = AudioEncoder::open(&plan.audio, form)?.codec()?;
        let time_base = (1, sound.rate.cast_signed());
        let (language, title) = (sound.language.clone(), sound.title.clone());
        let stream = muxer.add(&codec, time_base, &StreamAbout { language, title, default: true })?;
        let mut reader = Packets::new(open(row)?);
        strands.push(Strand {
            stream,
            from: Box::new(move |packet| reader.next(packet)),
            time_base,
            shift_us: sound_us,
            packet: Packet::new()?,
            next: None,
        });
    }
    let mut subtitles = 0;
    for mut track in texts {
        let Some(form) = plan.texts else { break };
        form.fit(&mut track.cues);
        let stream = muxer.add(&Codec::text(form)?, (1, 1_000), &track.about)?;
        subtitles += 1;
        let mut cues = track.cues.into_iter();
        strands.push(Strand {
            stream,
            from: Box::new(move |packet| match cues.next() {
                None => Ok(None),
                Some(cue) => {
                    packet.fill(&form.sample(&cue.text))?;
                    packet.set_key(true);
                    let duration = (cue.end_ms - cue.start_ms).max(1);
                    Ok(Some(Times { stamp: cue.start_ms, decode_stamp: cue.start_ms, duration, key: true }))
                }
            }),
            time_base: (1, 1_000),
            shift_us: 0,
            packet: Packet::new()?,
            next: None,
        });
    }
    let mut chapters = 0;
    if plan.texts.is_some() {
        for chapter in &facts.chapters {
            let ms = |us: i64| (us - zero - early) / 1_000;
            let (start, end) = (ms(chapter.start_us).max(0), ms(chapter.end_us));
            if end > start {
                muxer.chapter(start, end, chapter.title.as_deref())?;
                chapters += 1;
            }
        }
    }
    for (key, value) in &facts.tags {
        if TAGS.contains(&key.to_lowercase().as_str()) {
            muxer.tag(&key.to_lowercase(), value);
        }
    }
    let mut writing = muxer.begin(plan.options)?;
    for strand in &mut strands {
        strand.advance(&writing)?;
    }
    while let Some(strand) = strands.iter_mut().filter(|s| s.next.is_some()).min_by_key(|s| s.next.map(|(_, at)| at)) {
        if let Some((times, _)) = strand.next {
            strand.packet.set_times(times.stamp, times.decode_stamp, times.duration);
            strand.packet.set_key(times.key);
            writing.write(strand.stream, &mut strand.packet)?;
        }
        strand.advance(&writing)?;
    }
    drop(strands);
    writing.finish()?;
    let picture_seconds = picture_us as f64 / 1e6 + settled.grid.seconds(times.places);
    let sound_seconds =
        sound.map_or(0.0, |sound| sound_us as f64 / 1e6 + sound.samples as f64 / f64::from(sound.rate.max(1)));
    if facts.audio().count() > 1 && sound.is_some() {
        notes.push(format!("of {} audio tracks one was kept", facts.audio().count()));
    }
    if facts.of(StreamKind::Video).count() > 1 {
        notes.push(format!("of {} video streams one was kept", facts.of(StreamKind::Video).count()));
    }
    Ok(Joined { seconds: picture_seconds.max(sound_seconds), subtitles, chapters, notes })
}

struct JoinedTimes {
    /// In the order of decoding, over all pieces.
    all: Vec<Times>,
    /// From the first picture to the end of the last.
    places: i64,
}

/// Decoding times over all pieces: each encoder's own begin below its first picture, and would run into the piece before. A picture is decoded
/// when so many pictures as the deepest reordering needs have been shown before it.
fn joined_times(
    rows: &[&Row],
    tail: i64,
    delay_max: i64,
    open: impl Fn(&Row) -> Result<File, MediaError>,
) -> Result<JoinedTimes, MediaError> {
    let mut all = Vec::new();
    let mut packet = Packet::new()?;
    for row in rows {
        let mut packets = Packets::new(open(row)?);
        while let Some(times) = packets.next(&mut packet)? {
            all.push(times);
        }
    }
    let mut shown: Vec<i64> = all.iter().map(|times| times.stamp).collect();
    shown.sort_unstable();
    let rank = |stamp: i64| shown.partition_point(|other| *other < stamp);
    let depth = all.iter().enumerate().map(|(at, times)| at.saturating_sub(rank(times.stamp))).max().unwrap_or(0);
    let first = shown.first().copied().unwrap_or(0);
    let places = shown.last().map_or(0, |last| last + tail.max(1));
    // A container reckons a stream's length by decoding times: the delay at the beginning is as long as the one at the end, within reason.
    let steps = i64::try_from(depth).unwrap_or(i64::MAX);
    let at_end = shown.len().checked_sub(depth + 1).map_or(steps, |at| shown[shown.len() - 1] - shown[at]);
    let delay = at_end.clamp(steps, steps.max(delay_max));
    for (at, times) in all.iter_mut().enumerate() {
        times.decode_stamp = match at.checked_sub(depth) {
            Some(before) => shown[before],
            None => first - delay + at as i64,
        };
        let next = shown.get(rank(times.stamp) + 1).copied().unwrap_or(places);
        times.duration = next - times.stamp;
    }
    if let [begin, .., end] = all.as_mut_slice() {
        end.duration = (places - first - (end.decode_stamp - begin.decode_stamp)).max(1);
    }
    Ok(JoinedTimes { all, places })
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

    #[test]
    fn decoding_times_rise_over_the_seams_and_end_where_the_pictures_do() {
        let dir = tempfile::tempdir().unwrap();
        // Two pieces with B pictures, the second beginning with a long pause.
        for (piece, stamps) in [(0, vec![0, 4, 2, 1, 3]), (1, vec![5, 30, 20, 10, 31])] {
            let mut file = File::create(dir.path().join(piece_name(Some(piece)))).unwrap();
            for stamp in stamps {
                let mut packet = Packet::new().unwrap();
                packet.fill(b"x").unwrap();
                packet.set_times(stamp, stamp, 1);
                packets::put(&packet, &mut file).unwrap();
            }
        }
        let row = |piece| Row {
            piece: Some(piece),
            content: String::new(),
            packets: 5,
            seconds: 0.0,
            sound: None,
            damaged: 0,
            last: false,
            tail: 1,
        };
        let rows = [row(0), row(1)];
        let open = |row: &Row| File::open(dir.path().join(row.file_name())).map_err(MediaError::Read);
        let joined = joined_times(&rows.iter().collect::<Vec<_>>(), 3, 25, open).unwrap();
        assert_eq!(joined.places, 34);
        assert!(joined.all.windows(2).all(|pair| pair[0].decode_stamp < pair[1].decode_stamp), "{:?}", joined.all);
        assert!(joined.all.iter().all(|times| times.decode_stamp <= times.stamp && times.duration > 0));
        let (begin, end) = (joined.all[0], joined.all[9]);
        assert_eq!(end.decode_stamp + end.duration - begin.decode_stamp, 34);
    }
}
