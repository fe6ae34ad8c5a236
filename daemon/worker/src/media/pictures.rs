//! A video stream, decoded: its pictures with their times, from the start or from any point. Knows no job and writes no file.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::decoder::{Answer, Decoder, Frame};
use super::demuxer::{Demuxer, Packet, Step};
use super::error::MediaError;
use super::facts::{Facts, StreamFacts, StreamKind};
use super::logs;

/// A container that gives nothing but errors has ended.
const ERRORS_IN_A_ROW_MAX: u32 = 1_000;
/// A step of the clock that is longer, where the container's may begin anew, is a new clock and not a pause.
const LEAP_SECONDS: f64 = 10.0;
/// Containers with an index, which can be entered anywhere and keep their clock.
const SEEKABLE: [&str; 4] = ["mov", "matroska", "avi", "asf"];

/// An open video stream.
pub struct Pictures<'file> {
    demuxer: Demuxer<'file>,
    decoder: Decoder,
    stream: StreamFacts,
    time_base: (i32, i32),
    packet: Packet,
    /// A packet that the decoder had no room for.
    held: bool,
    draining: bool,
    errors_in_a_row: u32,
    clock: Clock,
    tally: Tally,
}

/// How it went, so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    pub packets: u64,
    pub frames: u64,
    /// Packets that the codec could make nothing of, and pictures with damage in them.
    pub damaged: u64,
    /// How often the file's clock began anew.
    pub leaps: u32,
}

impl Tally {
    pub fn add(&mut self, other: Tally) {
        self.packets += other.packets;
        self.frames += other.frames;
        self.damaged += other.damaged;
        self.leaps += other.leaps;
    }
}

/// Makes the timestamps of one file one rising clock.
struct Clock {
    may_leap: bool,
    leap: i64,
    /// Ticks between two frames where nothing tells.
    step: i64,
    shift: i64,
    last: Option<i64>,
}

impl Clock {
    /// The frame's time; made up where it has none, joined where the clock begins anew.
    fn time(&mut self, stamp: Option<i64>, leaps: &mut u32) -> i64 {
        let time = match (stamp, self.last) {
            (None, None) => 0,
            (None, Some(last)) => last.saturating_add(self.step),
            (Some(stamp), None) => stamp,
            (Some(stamp), Some(last)) => {
                let time = stamp.saturating_add(self.shift);
                if self.may_leap && time.saturating_sub(last).saturating_abs() > self.leap {
                    *leaps += 1;
                    self.shift = last.saturating_add(self.step).saturating_sub(stamp);
                    last.saturating_add(self.step)
                } else {
                    time
                }
            }
        };
        self.last = Some(time);
        time
    }
}

/// The stream that a player shows: what can be decoded, then the file's own choice, then the largest picture. Covers and thumbnails are
/// none.
pub fn choose(facts: &Facts) -> Result<&StreamFacts, MediaError> {
    facts
        .of(StreamKind::Video)
        .max_by_key(|stream| {
            let area = u64::from(stream.width) * u64::from(stream.height);
            (stream.decodable, stream.default, area, std::cmp::Reverse(stream.index))
        })
        .ok_or_else(|| MediaError::NoVideo { has: has(facts) })
}

/// Larger than 1080p: every picture that is held counts.
pub fn is_large(stream: &StreamFacts) -> bool {
    u64::from(stream.width) * u64::from(stream.height) > 1_920 * 1_088
}

fn has(facts: &Facts) -> String {
    facts.only([
        (StreamKind::Audio, "audio track", "audio tracks"),
        (StreamKind::Picture, "cover picture", "cover pictures"),
        (StreamKind::Subtitle, "subtitle track", "subtitle tracks"),
    ])
}

impl<'file> Pictures<'file> {
    /// `name` gives the extension; `threads`: for the codec, where it can use them; large pictures are decoded by one, as each holds its own.
    pub fn open(file: &'file File, name: &str, threads: u32, cancel: Arc<AtomicBool>) -> Result<Self, MediaError> {
        let mut demuxer = Demuxer::open(file, name, cancel)?;
        let stream = choose(demuxer.facts())?.clone();
        let threads = if is_large(&stream) { 1 } else { threads };
        let decoder =
            Decoder::open_with(&demuxer, &stream, threads).map_err(|error| match (error, &stream.encrypted) {
                (_, Some(scheme)) => MediaError::Encrypted { scheme: scheme.clone() },
                (MediaError::NoDecoder { codec, reason }, None) => MediaError::NoVideoDecoder { codec, reason },
                (other, None) => other,
            })?;
        demuxer.only(&[stream.index]);
        logs::begin();
        let time_base = demuxer.time_base(stream.index);
        let seconds = |seconds: f64| (seconds * f64::from(time_base.1) / f64::from(time_base.0.max(1))) as i64;
        let rate = stream.picture.map_or((25, 1), |picture| picture.rate);
        let step = if rate.0 > 0 { f64::from(rate.1) / f64::from(rate.0) } else { 0.04 };
        let clock = Clock {
            may_leap: demuxer.clock_may_leap(),
            leap: seconds(LEAP_SECONDS),
            step: seconds(step).max(1),
            shift: 0,
            last: None,
        };
        Ok(Pictures {
            demuxer,
            decoder,
            time_base,
            stream,
            packet: Packet::new()?,
            held: false,
            draining: false,
            errors_in_a_row: 0,
            clock,
            tally: Tally::default(),
        })
    }

    pub fn facts(&self) -> &Facts {
        self.demuxer.facts()
    }

    pub fn stream(&self) -> &StreamFacts {
        &self.stream
    }

    /// Seconds per tick of the pictures' times.
    pub fn time_base(&self) -> (i32, i32) {
        self.time_base
    }

    pub fn tally(&self) -> Tally {
        self.tally
    }

    /// What was counted, which begins anew.
    pub fn take_tally(&mut self) -> Tally {
        std::mem::take(&mut self.tally)
    }

    /// Whether [`Pictures::seek`] finds what it is asked for.
    pub fn can_seek(&self) -> bool {
        let format = &self.demuxer.facts().format;
        !self.demuxer.clock_may_leap() && format.split(',').any(|name| SEEKABLE.contains(&name))
    }

    /// Goes to where decoding must begin for everything from this time on to be right; `false` where it can't be found. The next picture may
    /// be an earlier one.
    pub fn seek(&mut self, time: i64) -> Result<bool, MediaError> {
        let found = self.demuxer.seek(self.stream.index, time)?;
        self.decoder.flush();
        (self.held, self.draining, self.errors_in_a_row) = (false, false, 0);
        (self.clock.last, self.clock.shift) = (None, 0);
        Ok(found)
    }

    /// The next picture's time, in ticks, and its own length where it tells; `None` at the end.
    pub fn next(&mut self, frame: &mut Frame) -> Result<Option<(i64, i64)>, MediaError> {
        loop {
            match self.decoder.receive(frame)? {
                Answer::Ok if frame.picture().is_some() => {
                    self.tally.frames += 1;
                    if frame.damaged() {
                        self.tally.damaged += 1;
                    }
                    let time = self.clock.time(frame.timestamp(), &mut self.tally.leaps);
                    let length = frame.length();
                    return Ok(Some((time, if length > 0 { length } else { self.clock.step })));
                }
                Answer::Ok | Answer::Damaged => {
                    self.tally.damaged += 1;
                    self.errors_in_a_row += 1;
                    if self.errors_in_a_row >= ERRORS_IN_A_ROW_MAX {
                        return Ok(None);
                    }
                }
                Answer::End => return Ok(None),
                Answer::More if self.draining => return Ok(None),
                Answer::More => self.feed()?,
            }
        }
    }

    /// One packet further.
    fn feed(&mut self) -> Result<(), MediaError> {
        while !self.held {
            match self.demuxer.read(&mut self.packet)? {
                Step::Packet if self.packet.stream() == self.stream.index => {
                    if let Some(scheme) = self.packet.encrypted() {
                        return Err(MediaError::Encrypted { scheme });
                    }
                    self.errors_in_a_row = 0;
                    self.tally.packets += 1;
                    self.held = true;
                }
                Step::Packet => {}
                Step::Damaged if self.errors_in_a_row < ERRORS_IN_A_ROW_MAX => self.errors_in_a_row += 1,
                Step::Damaged | Step::End => {
                    self.draining = true;
                    self.decoder.send(None)?;
                    return Ok(());
                }
            }
        }
        match self.decoder.send(Some(&self.packet))? {
            // It is full: gives first, takes then.
            Answer::More => {}
            Answer::Damaged => {
                self.tally.damaged += 1;
                self.held = false;
            }
            Answer::Ok | Answer::End => self.held = false,
        }
        Ok(())
    }

    /// Nothing where there should be something is a failure.
    pub fn nothing(&self) -> MediaError {
        MediaError::NoPicture { codec: self.stream.codec.clone(), packets: self.tally.packets, reason: logs::reason(0) }
    }
}
