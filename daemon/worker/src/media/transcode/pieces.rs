//! The pictures encoded in pieces, by as many threads as there may be. Knows no container and no sound.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::super::decoder::Frame;
use super::super::encoder::{VideoEncoder, VideoSettings};
use super::super::error::MediaError;
use super::super::pace::{self, per_second};
use super::super::packets;
use super::super::pictures::{Pictures, Tally, is_large};
use super::reel::{Reel, Scaler};
use super::{LARGE_THREADS, Pieces, Plan, Row, SCALED_FOR_ONE, Settled, Source, piece_name};

/// The encoding of all pieces.
pub(super) struct Course<'c, 's> {
    pub(super) source: &'c Source<'s>,
    pub(super) settled: &'c Settled,
    /// Another thread has failed.
    pub(super) stop: AtomicBool,
    /// Pictures that are done, of so many places.
    pub(super) placed: AtomicI64,
    pub(super) places: Option<f64>,
    pub(super) progress: &'c (dyn Fn(f32) + Sync),
    pub(super) tally: Mutex<Tally>,
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
    pub(super) fn all(
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
pub(super) struct Hashed {
    to: BufWriter<File>,
    hasher: blake3::Hasher,
}

impl Hashed {
    pub(super) fn create(path: &Path) -> Result<Self, MediaError> {
        let file = File::create(path).map_err(MediaError::Write)?;
        Ok(Hashed { to: BufWriter::with_capacity(256 << 10, file), hasher: blake3::Hasher::new() })
    }

    pub(super) fn finish(self, to_disk: bool) -> Result<String, MediaError> {
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
