//! The pictures of all pieces, one after the other, as one stream of packets in a file that has no name. Knows no sound and no container.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{BufWriter, Write};

use super::runs::{self, Entry};
use super::{Quality, Source, Taken, unnamed};
use crate::context::{Context, Halt};
use crate::media::copying::{codec_with, matrix_name, parameter_sets};
use crate::media::decoder::{Colour, Frame};
use crate::media::demuxer::{Demuxer, Packet, Step};
use crate::media::encoder::{Codec, VideoEncoder, VideoSettings};
use crate::media::graph::{Feed, Graph, PictureShape};
use crate::media::muxer::rescale;
use crate::media::pace::{Rate, per_second};
use crate::media::pictures::Pictures;
use crate::media::{MediaError, h264, packets};

/// What all pictures are made to look like.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Look {
    pub width: u32,
    pub height: u32,
    pub sample_aspect: (u32, u32),
    pub rate: Rate,
    /// `None` = nobody says.
    pub colour: Option<Colour>,
}

/// The stream, and where each piece is in it.
pub struct Film {
    pub packets: File,
    /// Seconds per tick of the packets' times.
    pub time_base: (i32, i32),
    pub codec: Codec,
    pub shown: Vec<Shown>,
    pub frames: u64,
    /// Of them, those that were copied as they were.
    pub copied: u64,
}

/// A piece as it came out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shown {
    /// In its video, of the first picture that is shown.
    pub from_seconds: f64,
    /// In the result.
    pub start_seconds: f64,
    pub end_seconds: f64,
    pub frames: u64,
    pub copied: u64,
}

/// What stops the making of it.
pub enum Trouble {
    Halt(Halt),
    /// With one of the sources, by its place.
    Media(usize, MediaError),
    /// What was to be copied can't be, after all.
    NotAlike,
}

impl From<Halt> for Trouble {
    fn from(halt: Halt) -> Self {
        Trouble::Halt(halt)
    }
}

fn of(source: usize) -> impl Fn(MediaError) -> Trouble {
    move |error| Trouble::Media(source, error)
}

/// How a piece is faded.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fade(pub f64);

impl Fade {
    /// Seconds at either end of a piece of this length.
    pub fn of(self, seconds: f64) -> f64 {
        self.0.min(seconds / 2.0)
    }
}

/// Everything encoded anew, by one encoder, at one rate.
pub fn encoded(
    context: &Context,
    sources: &[Source<'_>],
    pieces: &[Taken],
    look: &Look,
    quality: Quality,
    fade: Option<Fade>,
) -> Result<Film, Trouble> {
    let kept = |error: MediaError| Trouble::Media(pieces.first().map_or(0, |piece| piece.source), error);
    let mut settings = settings(context, look, quality);
    settings.colour = look.colour;
    let mut encoder = VideoEncoder::open(&settings).map_err(kept)?;
    let codec = encoder.codec().map_err(kept)?;
    let file = unnamed(context)?;
    let mut writer = BufWriter::with_capacity(256 << 10, &file);
    let (mut shown, mut next) = (Vec::new(), 0_i64);
    let mut upright = Frame::new().map_err(kept)?;
    let all: f64 = pieces.iter().map(|piece| piece.end - piece.start).sum();
    for piece in pieces {
        let source = &sources[piece.source];
        let failed = of(piece.source);
        let count = ((piece.end - piece.start) * per_second(look.rate)).round().max(1.0) as i64;
        let seconds = count as f64 / per_second(look.rate);
        let mut gallery = Gallery::new(source, look, fade.map(|fade| fade.of(seconds)), seconds, false);
        let (mut first, mut filled) = (None, 0_i64);
        // The picture that is shown now, and is until the next one's place.
        let mut holds = false;
        source
            .pictures(context, piece.start, &mut |frame, time, length| {
                let half = length as f64 / 2.0;
                let (from, to) = (source.ticks(piece.start) - half, source.ticks(piece.end) - half);
                if (time as f64) < from {
                    return Ok(true);
                }
                if (time as f64) >= to {
                    return Ok(false);
                }
                let begin = *first.get_or_insert(time);
                let place = (source.seconds_of(time - begin) * per_second(look.rate)).round() as i64;
                while holds && filled < place.min(count) {
                    upright.set_timestamp(Some(next + filled));
                    encoder.push(&mut upright, &mut |packet| packets::put(packet, &mut writer).map(drop))?;
                    filled += 1;
                }
                holds |= gallery.hang(frame, time - begin, &mut upright)?;
                context.progress(
                    (FILM_SHARE * (shown_seconds(&shown) + source.seconds_of(time - begin)) / all.max(0.1)) as f32,
                );
                Ok(filled < count)
            })
            .map_err(|trouble| trouble.with(piece.source))?;
        let Some(first) = first.filter(|_| holds) else {
            return Err(failed(MediaError::NoPicture {
                codec: source.stream.codec.clone(),
                packets: 0,
                reason: format!("there is none from {:.2} s to {:.2} s", piece.start, piece.end),
            }));
        };
        while filled < count {
            upright.set_timestamp(Some(next + filled));
            encoder.push(&mut upright, &mut |packet| packets::put(packet, &mut writer).map(drop)).map_err(&failed)?;
            filled += 1;
        }
        let at = |place: i64| place as f64 / per_second(look.rate);
        shown.push(Shown {
            from_seconds: source.seconds_of(first) - source.zero,
            start_seconds: at(next),
            end_seconds: at(next + count),
            frames: count as u64,
            copied: 0,
        });
        next += count;
    }
    encoder.finish(&mut |packet| packets::put(packet, &mut writer).map(drop)).map_err(kept)?;
    writer.flush().map_err(|error| kept(MediaError::Write(error)))?;
    drop(writer);
    let time_base = (look.rate.1 as i32, look.rate.0 as i32);
    Ok(Film { packets: file, time_base, codec, shown, frames: next as u64, copied: 0 })
}

/// Share of the whole work that pictures are.
const FILM_SHARE: f64 = 0.8;

fn shown_seconds(shown: &[Shown]) -> f64 {
    shown.last().map_or(0.0, |last| last.end_seconds)
}

/// As much copied as can be: `like` says which source's packets are the track's own; what is not like it is encoded to fit.
pub fn copied(
    context: &Context,
    sources: &[Source<'_>],
    pieces: &[Taken],
    main: usize,
    look: &Look,
    fade: Option<Fade>,
) -> Result<Film, Trouble> {
    let likeness = sources[main].likeness.as_ref().ok_or(Trouble::NotAlike)?;
    let id = h264::free_id(&likeness.extra).ok_or(Trouble::NotAlike)?;
    let strung = h264::strung(&likeness.extra).ok_or(Trouble::NotAlike)?;
    let time_base = sources[main].time_base;
    let mut seam = settings(context, look, Quality::Source);
    seam.colour = sources[main].colour;
    // Its packets come in the order they are shown in, and name parameter sets of their own.
    seam.options.push(("x264-params".to_owned(), format!("bframes=0:sps-id={id}")));
    let sets = VideoEncoder::open(&seam).and_then(|encoder| encoder.codec()).map(|codec| parameter_sets(&codec));
    let extra = h264::joined(&likeness.extra, &sets.map_err(of(main))?).ok_or(Trouble::NotAlike)?;

    let mut plans = Vec::new();
    let mut delay = 0;
    for piece in pieces {
        context.go_on()?;
        let source = &sources[piece.source];
        let alike = source.likeness.as_ref() == Some(likeness);
        let index = if alike { index(context, source, piece, strung).map_err(of(piece.source))? } else { None };
        let plan = index.map(|entries| {
            let half = source.step / 2;
            let (start, end) = (source.ticks(piece.start) as i64 - half, source.ticks(piece.end) as i64 - half);
            let faded = fade.map_or(0, |fade| {
                (source.ticks(fade.of(piece.end - piece.start)) - source.ticks(0.0)).ceil() as i64 + half
            });
            let runs = runs::cut(&entries, start..end, start + faded..end - faded);
            let order: Vec<i64> = runs.copied.iter().map(|at| entries[*at].stamp).collect();
            delay = delay.max(runs::delay(&order));
            (runs, order)
        });
        plans.push(plan);
    }

    let mut strip = Strip {
        file: unnamed(context)?,
        written: Vec::with_capacity(WRITTEN_BYTES),
        waiting: BinaryHeap::new(),
        delay,
        added: 0,
        step: rescale(sources[main].step, sources[main].time_base, time_base).max(1),
        last: i64::MIN,
        packet: Packet::new().map_err(of(main))?,
    };
    let (mut shown, mut position) = (Vec::new(), 0_i64);
    let (mut frames, mut copied) = (0, 0);
    let all: f64 = pieces.iter().map(|piece| piece.end - piece.start).sum();
    for (piece, plan) in pieces.iter().zip(plans) {
        context.go_on()?;
        let source = &sources[piece.source];
        let failed = of(piece.source);
        let to_track = |ticks: i64| rescale(ticks, source.time_base, time_base);
        let before = strip.added;
        let (first, end, kept) = match plan {
            Some((runs, order)) if runs.head.len() + order.len() + runs.tail.len() > 0 => {
                let all = || runs.head.iter().chain(&order).chain(&runs.tail).copied();
                let first = all().min().unwrap_or(0);
                let end = all().max().unwrap_or(first) + source.step;
                let step = to_track(source.step).max(1);
                let cutting = Cutting { context, source, piece, seam: &seam, look, fade, strung };
                let place = |stamp: i64| position + to_track(stamp - first);
                cutting.encode(&runs.head, first, end - first, &mut strip, &place, step)?;
                cutting.copy(&runs.copied, &mut strip, &place, step).map_err(&failed)?;
                cutting.encode(&runs.tail, first, end - first, &mut strip, &place, step)?;
                (first, to_track(end - first), order.len() as u64)
            }
            _ => {
                // Not alike: as many pictures as it has time for, at the track's own rate.
                let cutting = Cutting { context, source, piece, seam: &seam, look, fade, strung };
                let (first, length) = cutting.encode_whole(&mut strip, position, time_base)?;
                (first, length, 0)
            }
        };
        let seconds_of = |ticks: i64| ticks as f64 * f64::from(time_base.0) / f64::from(time_base.1);
        shown.push(Shown {
            from_seconds: source.seconds_of(first) - source.zero,
            start_seconds: seconds_of(position),
            end_seconds: seconds_of(position + end),
            frames: (strip.added - before) as u64,
            copied: kept,
        });
        position += end;
        frames += (strip.added - before) as u64;
        copied += kept;
        context.progress((FILM_SHARE * shown_seconds(&shown) / all.max(0.1)) as f32);
    }
    let codec = {
        let demuxer =
            Demuxer::open(sources[main].file, &sources[main].name, context.cancel_flag()).map_err(of(main))?;
        codec_with(&demuxer, sources[main].stream.index, &extra).map_err(of(main))?
    };
    strip.flush().map_err(of(main))?;
    Ok(Film { packets: strip.file, time_base, codec, shown, frames, copied })
}

/// The packets that a piece is cut from, in the order of decoding; `None` where they have no times to cut by.
fn index(
    context: &Context,
    source: &Source<'_>,
    piece: &Taken,
    strung: h264::Strung,
) -> Result<Option<Vec<Entry>>, MediaError> {
    let mut entries = Vec::new();
    let complete = source.packets(context, piece, &mut |packet| {
        let Some(stamp) = packet.stamp() else { return Ok(false) };
        entries.push(Entry { stamp, anew: packet.is_key() && h264::begins_anew(packet.bytes(), strung) });
        Ok(true)
    })?;
    Ok(complete.then_some(entries))
}

/// One piece, being cut.
struct Cutting<'a> {
    context: &'a Context,
    source: &'a Source<'a>,
    piece: &'a Taken,
    seam: &'a VideoSettings,
    look: &'a Look,
    fade: Option<Fade>,
    strung: h264::Strung,
}

impl Cutting<'_> {
    /// The packets at these places, as they are. `place`: which time each has in the track; `step`: how long one is shown.
    fn copy(
        &self,
        places: &[usize],
        strip: &mut Strip,
        place: &dyn Fn(i64) -> i64,
        step: i64,
    ) -> Result<(), MediaError> {
        let (mut at, mut left) = (0, places.iter().copied().peekable());
        if places.is_empty() {
            return Ok(());
        }
        self.source.packets(self.context, self.piece, &mut |packet| {
            if left.next_if_eq(&at).is_some() {
                strip.add(packet.bytes(), place(packet.stamp().unwrap_or_default()), step, packet.is_key())?;
            }
            at += 1;
            Ok(left.peek().is_some())
        })?;
        Ok(())
    }

    /// The pictures with these times, encoded.
    fn encode(
        &self,
        stamps: &[i64],
        first: i64,
        length: i64,
        strip: &mut Strip,
        place: &dyn Fn(i64) -> i64,
        step: i64,
    ) -> Result<(), Trouble> {
        let (Some(from), Some(to)) = (stamps.first(), stamps.last()) else { return Ok(()) };
        let (source, number) = (self.source, self.piece.source);
        let failed = of(number);
        let seconds = source.seconds_of(length);
        let mut gallery = Gallery::new(source, self.look, self.fade.map(|fade| fade.of(seconds)), seconds, true);
        let mut encoder = VideoEncoder::open(self.seam).map_err(&failed)?;
        let mut upright = Frame::new().map_err(&failed)?;
        let (mut sent, mut given, strung) = (Vec::new(), 0, self.strung);
        let mut give = |packet: &mut Packet, sent: &[i64]| {
            let Some(stamp) = sent.get(given) else { return Ok(()) };
            given += 1;
            strip.add(&h264::restrung(packet.bytes(), strung), place(*stamp), step, packet.is_key())
        };
        let start = source.seconds_of(*from) - source.zero;
        source
            .pictures(self.context, start, &mut |frame, time, _| {
                if stamps.binary_search(&time).is_ok() && gallery.hang(frame, time - first, &mut upright)? {
                    upright.set_timestamp(Some(sent.len() as i64));
                    sent.push(time);
                    encoder.push(&mut upright, &mut |packet| give(packet, &sent))?;
                }
                Ok(time < *to)
            })
            .map_err(|trouble| trouble.with(number))?;
        encoder.finish(&mut |packet| give(packet, &sent)).map_err(&failed)
    }

    /// All of a piece whose packets are not like the track's, at the track's rate. Gives the time of its first picture, and its length in
    /// the track.
    fn encode_whole(&self, strip: &mut Strip, position: i64, time_base: (i32, i32)) -> Result<(i64, i64), Trouble> {
        let (source, piece, rate) = (self.source, self.piece, self.look.rate);
        let failed = of(piece.source);
        let count = ((piece.end - piece.start) * per_second(rate)).round().max(1.0) as i64;
        let seconds = count as f64 / per_second(rate);
        let frame_base = (rate.1 as i32, rate.0 as i32);
        let at = |place: i64| rescale(place, frame_base, time_base);
        let mut gallery = Gallery::new(source, self.look, self.fade.map(|fade| fade.of(seconds)), seconds, false);
        let mut encoder = VideoEncoder::open(self.seam).map_err(&failed)?;
        let mut upright = Frame::new().map_err(&failed)?;
        let (strung, mut given) = (self.strung, 0_i64);
        let mut give = |packet: &mut Packet| {
            given += 1;
            let place = given - 1;
            let bytes = h264::restrung(packet.bytes(), strung);
            strip.add(&bytes, position + at(place), at(place + 1) - at(place), packet.is_key())
        };
        let (mut first, mut filled, mut holds) = (None, 0_i64, false);
        source
            .pictures(self.context, piece.start, &mut |frame, time, length| {
                let half = length as f64 / 2.0;
                if (time as f64) < source.ticks(piece.start) - half {
                    return Ok(true);
                }
                if (time as f64) >= source.ticks(piece.end) - half {
                    return Ok(false);
                }
                let begin = *first.get_or_insert(time);
                let place = (source.seconds_of(time - begin) * per_second(rate)).round() as i64;
                while holds && filled < place.min(count) {
                    upright.set_timestamp(Some(filled));
                    encoder.push(&mut upright, &mut give)?;
                    filled += 1;
                }
                holds |= gallery.hang(frame, time - begin, &mut upright)?;
                Ok(filled < count)
            })
            .map_err(|trouble| trouble.with(piece.source))?;
        while holds && filled < count {
            upright.set_timestamp(Some(filled));
            encoder.push(&mut upright, &mut give).map_err(&failed)?;
            filled += 1;
        }
        encoder.finish(&mut give).map_err(&failed)?;
        Ok((first.unwrap_or_else(|| source.ticks(piece.start) as i64), at(filled)))
    }
}

/// Pictures of one source, made to look like the others.
struct Gallery<'a> {
    source: &'a Source<'a>,
    look: &'a Look,
    fade: Option<f64>,
    seconds: f64,
    /// They look like it already.
    as_they_are: bool,
    graph: Option<(PictureShape, Graph)>,
}

impl<'a> Gallery<'a> {
    fn new(source: &'a Source<'a>, look: &'a Look, fade: Option<f64>, seconds: f64, as_they_are: bool) -> Self {
        Gallery { source, look, fade, seconds, as_they_are, graph: None }
    }

    /// Makes `upright` of a frame whose time counts from the piece's beginning; `false` where there is none yet.
    fn hang(&mut self, frame: &mut Frame, time: i64, upright: &mut Frame) -> Result<bool, MediaError> {
        let Some(shape) = frame.picture() else { return Ok(false) };
        if self.graph.as_ref().is_none_or(|(present, _)| *present != shape) {
            let filters = self.filters(shape);
            self.graph =
                Some((shape, Graph::new(Feed::Pictures { shape, time_base: self.source.time_base }, &filters, 1)?));
        }
        let Some((_, graph)) = &mut self.graph else { return Ok(false) };
        frame.set_timestamp(Some(time));
        graph.push(Some(frame))?;
        graph.pull(upright)
    }

    fn filters(&self, shape: PictureShape) -> String {
        let mut filters = Vec::new();
        let Look { width, height, sample_aspect, .. } = *self.look;
        if !self.as_they_are {
            let turn = self.source.stream.picture.map(|picture| picture.turn).unwrap_or_default();
            let (mut wide, mut high) = (f64::from(shape.width), f64::from(shape.height));
            let (num, den) = if shape.sample_aspect.0 > 0 { shape.sample_aspect } else { self.source.sample_aspect() };
            wide *= f64::from(num.max(1)) / f64::from(den.max(1));
            if turn.is_on_its_side() {
                (wide, high) = (high, wide);
            }
            if self.source.stream.picture.is_some_and(|picture| picture.interlaced) {
                // One picture of each, at once.
                filters.push("yadif=deint=interlaced".to_owned());
            }
            if !turn.filter().is_empty() {
                filters.push(turn.filter().to_owned());
            }
            let aspect = wide / high.max(1.0) * f64::from(sample_aspect.1) / f64::from(sample_aspect.0.max(1));
            let (fit_width, fit_height) = fit(aspect, width, height);
            filters.push(format!("scale={fit_width}:{fit_height}:out_range=tv{}", matrix(self.look)));
            filters.push(format!("setsar={}/{}", sample_aspect.0, sample_aspect.1));
            if (fit_width, fit_height) != (width, height) {
                filters.push(format!(
                    "pad={width}:{height}:{}:{}",
                    (width - fit_width) / 4 * 2,
                    (height - fit_height) / 4 * 2
                ));
            }
        }
        filters.push("format=yuv420p".to_owned());
        if let Some(fade) = self.fade {
            let out = (self.seconds - fade).max(0.0);
            filters.push(format!("fade=t=in:st=0:d={fade:.6},fade=t=out:st={out:.6}:d={fade:.6}"));
        }
        filters.join(",")
    }
}

/// The largest even size with this aspect, in pixels of the box, that fits in the box.
fn fit(aspect: f64, width: u32, height: u32) -> (u32, u32) {
    let even = |value: f64, most: u32| (((value / 2.0).round() as u32) * 2).clamp(2, most);
    let of_box = f64::from(width) / f64::from(height.max(1));
    if !aspect.is_finite() || aspect <= 0.0 {
        (width, height)
    } else if aspect >= of_box {
        (width, even(f64::from(width) / aspect, height))
    } else {
        (even(f64::from(height) * aspect, width), height)
    }
}

/// The colours that all are brought to, as an option of libav's scaler.
fn matrix(look: &Look) -> String {
    look.colour
        .and_then(|colour| matrix_name(&colour))
        .map_or(String::new(), |name| format!(":out_color_matrix={name}"))
}

fn settings(context: &Context, look: &Look, quality: Quality) -> VideoSettings {
    let bit_rate = quality.bit_rate().map(u64::from);
    let preset = match quality {
        Quality::Low => "ultrafast",
        Quality::Medium => "fast",
        Quality::High | Quality::Source => "medium",
    };
    let mut options = vec![("preset".to_owned(), preset.to_owned())];
    if bit_rate.is_none() {
        // Next to nothing of it can be seen.
        options.push(("crf".to_owned(), "17".to_owned()));
    }
    VideoSettings {
        encoder: "libx264".to_owned(),
        width: look.width,
        height: look.height,
        rate: look.rate,
        pixel_format: "yuv420p".to_owned(),
        sample_aspect: look.sample_aspect,
        bit_rate,
        bit_rate_max: bit_rate,
        buffer_bits: bit_rate.map(|rate| 2 * rate),
        group: None,
        options,
        colour: None,
        threads: context.assignment.threads,
    }
}

/// Packets with the times they have in the track, and decoding times that fit.
struct Strip {
    file: File,
    written: Vec<u8>,
    /// Times shown, of which the smallest is the next decoding time once `delay` others wait.
    waiting: BinaryHeap<Reverse<i64>>,
    delay: usize,
    added: usize,
    step: i64,
    last: i64,
    packet: Packet,
}

/// Written at a time.
const WRITTEN_BYTES: usize = 1 << 20;

impl Strip {
    fn add(&mut self, bytes: &[u8], stamp: i64, length: i64, key: bool) -> Result<(), MediaError> {
        self.waiting.push(Reverse(stamp));
        let decode = if self.added < self.delay {
            // Before anything is shown; the first piece begins at 0.
            (self.added as i64 - self.delay as i64) * self.step
        } else {
            self.waiting.pop().map_or(stamp, |Reverse(stamp)| stamp)
        };
        let decode = decode.max(self.last.saturating_add(1));
        self.last = decode;
        self.added += 1;
        self.packet.fill(bytes)?;
        self.packet.set_times(stamp.max(decode), decode, length);
        self.packet.set_key(key);
        packets::put(&self.packet, &mut self.written)?;
        if self.written.len() >= WRITTEN_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), MediaError> {
        self.file.write_all(&self.written).map_err(MediaError::Write)?;
        self.written.clear();
        Ok(())
    }
}

/// What stops the going through of one source.
pub enum Stop {
    Halt(Halt),
    Media(MediaError),
}

impl Stop {
    fn with(self, source: usize) -> Trouble {
        match self {
            Stop::Halt(halt) => Trouble::Halt(halt),
            Stop::Media(error) => Trouble::Media(source, error),
        }
    }
}

impl From<MediaError> for Stop {
    fn from(error: MediaError) -> Self {
        Stop::Media(error)
    }
}

impl Source<'_> {
    /// Player's seconds to ticks of the stream.
    pub fn ticks(&self, seconds: f64) -> f64 {
        (seconds + self.zero) * f64::from(self.time_base.1) / f64::from(self.time_base.0.max(1))
    }

    pub fn seconds_of(&self, ticks: i64) -> f64 {
        ticks as f64 * f64::from(self.time_base.0) / f64::from(self.time_base.1.max(1))
    }

    fn sample_aspect(&self) -> (i32, i32) {
        self.stream.picture.map_or((1, 1), |picture| picture.sample_aspect)
    }

    /// Every picture from somewhere before this time on, until `take` has enough.
    fn pictures(
        &self,
        context: &Context,
        from_seconds: f64,
        take: &mut dyn FnMut(&mut Frame, i64, i64) -> Result<bool, MediaError>,
    ) -> Result<(), Stop> {
        let mut pictures = Pictures::open(self.file, &self.name, context.assignment.threads, context.cancel_flag())?;
        if pictures.can_seek() && from_seconds > 0.0 {
            // Half a picture earlier is the same picture.
            let found = pictures.seek(self.ticks(from_seconds) as i64 - self.step / 2)?;
            if !found {
                pictures = Pictures::open(self.file, &self.name, context.assignment.threads, context.cancel_flag())?;
            }
        }
        let mut frame = Frame::new()?;
        while let Some((time, length)) = pictures.next(&mut frame)? {
            context.go_on().map_err(Stop::Halt)?;
            if !take(&mut frame, time, length)? {
                break;
            }
        }
        Ok(())
    }

    /// Every packet of a piece, from where decoding must begin; always the same ones in the same order. `false` where `take` wanted no more.
    fn packets(
        &self,
        context: &Context,
        piece: &Taken,
        take: &mut dyn FnMut(&Packet) -> Result<bool, MediaError>,
    ) -> Result<bool, MediaError> {
        let mut demuxer = Demuxer::open(self.file, &self.name, context.cancel_flag())?;
        demuxer.only(&[self.stream.index]);
        let start = self.ticks(piece.start) as i64 - self.step / 2;
        if self.seekable && !demuxer.seek(self.stream.index, start)? {
            demuxer = Demuxer::open(self.file, &self.name, context.cancel_flag())?;
            demuxer.only(&[self.stream.index]);
        }
        let end = self.ticks(piece.end) as i64 + self.step;
        let mut packet = Packet::new()?;
        loop {
            match demuxer.read(&mut packet)? {
                Step::Packet if packet.stream() != self.stream.index => {}
                // What is decoded later is shown later.
                Step::Packet if packet.decode_stamp().is_some_and(|stamp| stamp >= end) => return Ok(true),
                Step::Packet => {
                    if !take(&packet)? {
                        return Ok(false);
                    }
                }
                Step::Damaged => return Ok(false),
                Step::End => return Ok(true),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_fit_into_the_box_with_even_sides() {
        for (aspect, size, fitted) in [
            (16.0 / 9.0, (1280, 720), (1280, 720)),
            (4.0 / 3.0, (1280, 720), (960, 720)),
            (9.0 / 16.0, (1280, 720), (406, 720)),
            (2.35, (1280, 720), (1280, 544)),
            (1e9, (1280, 720), (1280, 2)),
            (f64::NAN, (1280, 720), (1280, 720)),
        ] {
            assert_eq!(fit(aspect, size.0, size.1), fitted, "{aspect}");
        }
    }
}
