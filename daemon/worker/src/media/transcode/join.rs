//! Everything in one file: pieces, sound and subtitles, packet by packet on one clock. Encodes nothing.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use super::super::demuxer::Packet;
use super::super::encoder::{AudioEncoder, Codec, VideoEncoder};
use super::super::error::MediaError;
use super::super::facts::{Facts, StreamKind};
use super::super::muxer::{Muxer, StreamAbout, Writing, rescale};
use super::super::pace::per_second;
use super::super::packets::{Packets, Times};
use super::super::resampler::{Form, Sample};
use super::super::{logs, texts};
use super::{MICROSECONDS, Plan, Row, Settled, Source, TAGS};

pub(super) struct Joined {
    pub(super) seconds: f64,
    pub(super) subtitles: usize,
    pub(super) chapters: usize,
    pub(super) notes: Vec<String>,
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
pub(super) fn join(
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
    use super::super::super::packets;
    use super::super::piece_name;
    use super::*;

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
