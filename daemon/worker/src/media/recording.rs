//! A recording's chosen audio track, from media time 0 on, as pieces of the output. Knows no job and writes no file.

use std::collections::VecDeque;
use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::decoder::{Answer, Decoder, Frame, Shape};
use super::demuxer::{Demuxer, Packet, Step};
use super::error::MediaError;
use super::facts::{Facts, StreamFacts, StreamKind, clock};
use super::resampler::{Form, Resampler};
use super::timeline::{Joined, Place, Timeline};
use super::{logs, track};

/// The longest output. No recording is longer; a lying header and a broken clock are.
const OUTPUT_SECONDS_MAX: u64 = 48 * 3_600;
/// A container that gives nothing but errors has ended.
const ERRORS_IN_A_ROW_MAX: u32 = 1_000;
/// Fewer bits for a second than any codec needs, even for silence: then the length is not this file's.
const BITS_PER_SECOND_MIN: f64 = 100.0;
/// Less than this is what a codec's run-in or a rounded header may hide.
const PROMISE_SECONDS_MIN: f64 = 0.1;
/// Places that are told of one by one.
const LEAPS_TOLD_MAX: usize = 3;

/// A run of the output.
pub enum Piece {
    /// In the form asked for.
    Samples(Vec<u8>),
    /// So many samples of silence, for each channel.
    Silence(u64),
}

/// An open recording, read once from start to end.
pub struct Recording<'file> {
    form: Form,
    demuxer: Demuxer<'file>,
    decoder: Decoder,
    resampler: Option<(Shape, Resampler)>,
    timeline: Timeline,
    track: StreamFacts,
    /// A stream whose clock tells a pause from a leap.
    witness: Option<Witness>,
    packet: Packet,
    frame: Frame,
    ready: VecDeque<Piece>,
    /// Samples of the output that were handed to `ready`.
    written: u64,
    packets: u64,
    frames: u64,
    damaged: u64,
    leaps: Vec<String>,
    slow_clock: bool,
    errors_in_a_row: u32,
    notes: Vec<String>,
    /// Where the file says that this track ends, in media time.
    promised_end_seconds: Option<f64>,
    ended: bool,
}

/// How it went.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    pub seconds: f64,
    /// What a person should know although it went well.
    pub notes: Vec<String>,
}

struct Witness {
    index: usize,
    /// Microseconds per tick, as a fraction.
    tick: (i64, i64),
    last: Option<i64>,
    /// How far its clock went on, in small steps.
    advanced_us: i64,
    /// The same, at each of the last frames of audio: a parser holds a packet back until it has seen the next one, so a
    /// pause in the file shows a few frames late.
    at_frames: VecDeque<i64>,
}

impl<'file> Recording<'file> {
    /// `wanted`: a number from 1, a language, or nothing. `form`: what its samples are to be.
    pub fn open(
        file: &'file File,
        name: &str,
        wanted: Option<&str>,
        form: Form,
        cancel: Arc<AtomicBool>,
    ) -> Result<Self, MediaError> {
        let bits = file.metadata().map_err(MediaError::Read)?.len() as f64 * 8.0;
        let mut demuxer = Demuxer::open(file, name, cancel)?;
        let facts = demuxer.facts().clone();
        let candidates = track::choose(&facts, wanted)?;
        let (track, decoder) = first_that_opens(&demuxer, &candidates)?;
        let mut notes = Vec::new();
        if let Some(first) = facts.audio().find(|stream| stream.default && !stream.decodable && wanted.is_none()) {
            notes.push(format!("the default track is {}, which can't be decoded; took {}", first.codec, track.codec));
        }
        let clock_may_leap = demuxer.clock_may_leap();
        let witness = facts.of(StreamKind::Video).next().filter(|_| clock_may_leap).map(|stream| {
            let (num, den) = demuxer.time_base(stream.index);
            let tick = (i64::from(num).saturating_mul(1_000_000), i64::from(den).max(1));
            Witness { index: stream.index, tick, last: None, advanced_us: 0, at_frames: VecDeque::from([0]) }
        });
        let mut read = vec![track.index];
        read.extend(witness.as_ref().map(|witness| witness.index));
        demuxer.only(&read);
        // What was said while the streams were looked at doesn't explain what happens to this one.
        logs::begin();
        let promised_end_seconds = promised_end(&facts, track).filter(|seconds| bits / seconds >= BITS_PER_SECOND_MIN);
        // The container's own length bounds what is believed of its clock, the track's may be shorter than its pauses.
        let end = facts.duration_seconds.filter(|_| !facts.duration_is_guess);
        Ok(Recording {
            timeline: Timeline::new(demuxer.time_base(track.index), facts.zero_us, end, clock_may_leap, form.rate),
            form,
            track: track.clone(),
            decoder,
            demuxer,
            resampler: None,
            witness,
            packet: Packet::new()?,
            frame: Frame::new()?,
            ready: VecDeque::new(),
            written: 0,
            packets: 0,
            frames: 0,
            damaged: 0,
            leaps: Vec::new(),
            slow_clock: false,
            errors_in_a_row: 0,
            notes,
            promised_end_seconds,
            ended: false,
        })
    }

    /// The track that is decoded.
    pub fn track(&self) -> &StreamFacts {
        &self.track
    }

    /// Length as the file tells it, for progress.
    pub fn expected_seconds(&self) -> Option<f64> {
        self.promised_end_seconds.or(self.demuxer.facts().duration_seconds)
    }

    /// The next piece of the output; `None` at its end.
    pub fn next(&mut self) -> Result<Option<Piece>, MediaError> {
        loop {
            if let Some(piece) = self.ready.pop_front() {
                return Ok(Some(piece));
            }
            if self.ended {
                return Ok(None);
            }
            self.advance()?;
            if self.written > OUTPUT_SECONDS_MAX * u64::from(self.form.rate) {
                return Err(MediaError::TooLong { limit_seconds: OUTPUT_SECONDS_MAX });
            }
        }
    }

    /// After the end: what came of it. Nothing where there should be something is a failure.
    pub fn finish(self) -> Result<Summary, MediaError> {
        let seconds = self.written as f64 / f64::from(self.form.rate);
        let mut notes = self.notes;
        if self.frames == 0 {
            if let Some(scheme) = self.track.encrypted {
                return Err(MediaError::Encrypted { scheme });
            }
            let reason = logs::reason(0);
            if self.damaged > 0 {
                return Err(MediaError::NothingDecoded { codec: self.track.codec, packets: self.packets, reason });
            }
            let promised = self.promised_end_seconds.filter(|_| self.packets == 0).unwrap_or(0.0);
            if promised > PROMISE_SECONDS_MIN {
                return Err(MediaError::NothingThere { promised_seconds: promised, reason });
            }
        }
        match self.damaged {
            0 => {}
            1 => notes.push("1 damaged packet skipped".to_owned()),
            damaged => notes.push(format!("{damaged} damaged packets skipped")),
        }
        if let Some(promised) = self.promised_end_seconds
            // A length reckoned from a clock that leaps means nothing.
            && self.leaps.is_empty()
            && promised - seconds > (promised * 0.05).max(2.0)
        {
            notes.push(format!("the file says {}, but its audio ends at {}", clock(promised), clock(seconds)));
        }
        if self.slow_clock {
            notes.push("the file's timestamps don't fit its audio and were left aside".to_owned());
        }
        let untold = self.leaps.len().saturating_sub(LEAPS_TOLD_MAX);
        notes.extend(self.leaps.into_iter().take(LEAPS_TOLD_MAX));
        if untold > 0 {
            notes.push(format!("the file's clock leaps {untold} more times"));
        }
        Ok(Summary { seconds, notes })
    }

    /// One packet further.
    fn advance(&mut self) -> Result<(), MediaError> {
        match self.demuxer.read(&mut self.packet)? {
            Step::End => self.drain(),
            Step::Damaged => {
                self.errors_in_a_row += 1;
                self.timeline.damaged();
                if self.errors_in_a_row >= ERRORS_IN_A_ROW_MAX { self.drain() } else { Ok(()) }
            }
            Step::Packet => {
                self.errors_in_a_row = 0;
                if self.packet.stream() == self.track.index {
                    return self.decode();
                }
                if let Some(witness) = self.witness.as_mut().filter(|w| w.index == self.packet.stream()) {
                    witness.see(self.packet.decode_stamp());
                }
                Ok(())
            }
        }
    }

    fn decode(&mut self) -> Result<(), MediaError> {
        if let Some(scheme) = self.packet.encrypted() {
            return Err(MediaError::Encrypted { scheme });
        }
        self.packets += 1;
        let damaged_before = self.damaged;
        // A codec that is full takes the packet after it has given its frames.
        let mut sent = self.decoder.send(Some(&self.packet))?;
        self.receive()?;
        if sent == Answer::More {
            sent = self.decoder.send(Some(&self.packet))?;
            self.receive()?;
        }
        if sent == Answer::Damaged {
            self.damaged += 1;
        }
        if self.damaged > damaged_before {
            // One packet, however often the codec complained of it.
            self.damaged = damaged_before + 1;
            self.timeline.damaged();
        }
        Ok(())
    }

    fn drain(&mut self) -> Result<(), MediaError> {
        self.ended = true;
        let damaged_before = self.damaged;
        self.decoder.send(None)?;
        self.receive()?;
        self.damaged = damaged_before;
        self.end_run()
    }

    fn receive(&mut self) -> Result<(), MediaError> {
        let mut complaints = 0;
        loop {
            match self.decoder.receive(&mut self.frame)? {
                Answer::Ok => self.take_frame()?,
                Answer::More | Answer::End => return Ok(()),
                Answer::Damaged => {
                    self.damaged += 1;
                    complaints += 1;
                    if complaints >= ERRORS_IN_A_ROW_MAX {
                        return Ok(());
                    }
                }
            }
        }
    }

    fn take_frame(&mut self) -> Result<(), MediaError> {
        let Some(shape) = self.frame.settle_shape() else {
            self.damaged += 1;
            return Ok(());
        };
        self.frames += 1;
        if self.frame.samples() == 0 {
            return Ok(());
        }
        if self.resampler.as_ref().is_none_or(|(present, _)| *present != shape) {
            self.end_run()?;
            self.timeline.new_shape(shape.rate);
        }
        let vouched_us = self.witness.as_mut().map_or(0, Witness::vouched_us);
        let placed = self.timeline.place(self.frame.timestamp(), self.frame.samples(), vouched_us);
        match placed.joined {
            None => {}
            Some(Joined::Leap(seconds)) => {
                let at = clock(self.written as f64 / f64::from(self.form.rate));
                let (by, way) = (clock(seconds.abs()), if seconds > 0.0 { "ahead" } else { "back" });
                self.leaps.push(format!("the file's clock leaps {by} {way} at {at}; the audio is joined there"));
            }
            Some(Joined::SlowClock) => self.slow_clock = true,
        }
        match placed.place {
            Place::Follow => {}
            Place::After { silence_until } => {
                self.end_run()?;
                let silence = silence_until.saturating_sub(self.written);
                if silence > 0 {
                    self.written = self.written.saturating_add(silence);
                    self.ready.push_back(Piece::Silence(silence));
                }
            }
            Place::Cut { samples } if samples >= self.frame.samples() => return Ok(()),
            Place::Cut { samples } => {
                if !self.frame.drop_first(samples) {
                    return Err(MediaError::OutOfMemory { doing: "decoding" });
                }
            }
        }
        self.timeline.feed(self.frame.samples());
        let (_, resampler) = match &mut self.resampler {
            Some(present) => present,
            none => none.insert((shape, Resampler::new(shape, self.form)?)),
        };
        let (ready, written) = (&mut self.ready, &mut self.written);
        let block = self.form.block();
        resampler.push(&mut self.frame, &mut |bytes| put(ready, written, block, bytes))
    }

    /// What the resampler still holds belongs before whatever comes next.
    fn end_run(&mut self) -> Result<(), MediaError> {
        let Some((_, resampler)) = self.resampler.take() else { return Ok(()) };
        let (ready, written) = (&mut self.ready, &mut self.written);
        let block = self.form.block();
        resampler.finish(&mut |bytes| put(ready, written, block, bytes))
    }
}

fn put(ready: &mut VecDeque<Piece>, written: &mut u64, block: usize, bytes: &[u8]) {
    *written += (bytes.len() / block) as u64;
    match ready.back_mut() {
        Some(Piece::Samples(samples)) => samples.extend_from_slice(bytes),
        _ => ready.push_back(Piece::Samples(bytes.to_vec())),
    }
}

impl Witness {
    /// How far it went on over the last frames of audio; asked once for each.
    fn vouched_us(&mut self) -> i64 {
        const FRAMES: usize = 8;
        if self.at_frames.len() == FRAMES {
            self.at_frames.pop_front();
        }
        self.at_frames.push_back(self.advanced_us);
        self.at_frames.front().map_or(0, |first| self.advanced_us.saturating_sub(*first))
    }

    fn see(&mut self, stamp: Option<i64>) {
        const STEP_US_MAX: i128 = 10_000_000;
        let Some(stamp) = stamp else { return };
        let before = self.last.replace(stamp).unwrap_or(stamp);
        let step = (i128::from(stamp) - i128::from(before)) * i128::from(self.tick.0) / i128::from(self.tick.1);
        if (0..=STEP_US_MAX).contains(&step) {
            self.advanced_us = self.advanced_us.saturating_add(step as i64);
        }
    }
}

/// The first candidate whose codec opens; where none does, why the best one didn't.
fn first_that_opens<'facts>(
    demuxer: &Demuxer<'_>,
    candidates: &[&'facts StreamFacts],
) -> Result<(&'facts StreamFacts, Decoder), MediaError> {
    let mut first_error = None;
    for track in candidates {
        match Decoder::open(demuxer, track) {
            Ok(decoder) => return Ok((track, decoder)),
            Err(e) => {
                let e = match &track.encrypted {
                    Some(scheme) => MediaError::Encrypted { scheme: scheme.clone() },
                    None => e,
                };
                first_error.get_or_insert(e);
            }
        }
    }
    Err(first_error.unwrap_or(MediaError::NoAudio { has: String::new() }))
}

/// The track's own length where the file tells it, else the container's, unless that is only a guess.
fn promised_end(facts: &Facts, track: &StreamFacts) -> Option<f64> {
    if facts.duration_is_guess {
        return None;
    }
    let start = track.start_us.unwrap_or(0).saturating_sub(facts.zero_us.unwrap_or(0)).max(0) as f64 / 1e6;
    track.duration_seconds.map(|own| start + own).or(facts.duration_seconds)
}
