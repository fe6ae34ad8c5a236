//! Streams copied as they are into another container. Knows no codec.

use std::fs::File;
use std::sync::Arc;

use super::demuxer::{Demuxer, Packet, Step};
use super::encoder::Codec;
use super::error::MediaError;
use super::facts::Facts;
use super::logs;
use super::muxer::{Muxer, StreamAbout, rescale};
use super::texts::{self, TextForm};
use super::transcode::Source;

/// What a file in another container is made of without encoding sound or pictures anew.
pub struct Copies {
    /// Streams that go as they are.
    pub streams: Vec<usize>,
    /// Subtitles that the container has in another form.
    pub texts: Vec<usize>,
}

/// Makes it, with all times, tags and chapters. What is told: what had to be left out.
pub fn remux(
    source: &Source<'_>,
    facts: &Facts,
    copies: &Copies,
    container: &str,
    options: &[(&str, &str)],
    output: &File,
    progress: &(dyn Fn(f32) + Sync),
) -> Result<Vec<String>, MediaError> {
    let Copies { streams, texts } = copies;
    let zero = facts.zero_us.unwrap_or(0);
    let (texts, mut notes) = texts::read(source, facts, texts, zero)?;
    let mut demuxer = Demuxer::open(source.file, source.name, Arc::clone(&source.cancel))?;
    demuxer.only(streams);
    logs::begin();
    let mut muxer = Muxer::new(output, container, Arc::clone(&source.cancel))?;
    let mut places = vec![None; facts.streams.len()];
    for index in streams {
        let Some(stream) = facts.streams.get(*index) else { continue };
        let about =
            StreamAbout { language: stream.language.clone(), title: stream.title.clone(), default: stream.default };
        let place = muxer.add(&Codec::of_stream(&demuxer, *index)?, demuxer.time_base(*index), &about)?;
        muxer.turn_like(place, &demuxer, *index)?;
        places[*index] = Some(place);
    }
    let mut written = Vec::new();
    if let Some(form) = TextForm::of_container(container) {
        for mut track in texts {
            form.fit(&mut track.cues);
            let place = muxer.add(&Codec::text(form)?, (1, 1_000), &track.about)?;
            written.extend(track.cues.into_iter().map(|cue| (place, form, cue)));
        }
    }
    for (key, value) in &facts.tags {
        muxer.tag(key, value);
    }
    for chapter in &facts.chapters {
        muxer.chapter((chapter.start_us - zero) / 1_000, (chapter.end_us - zero) / 1_000, chapter.title.as_deref())?;
    }
    let mut writing = muxer.begin(options)?;
    let mut packet = Packet::new()?;
    let (mut errors, mut without_time) = (0u64, 0u64);
    // All at once, as they are small: libav brings them among the other packets.
    for (place, form, cue) in written {
        packet.fill(&form.sample(&cue.text))?;
        packet.set_key(true);
        let at = |ms: i64| rescale(ms, (1, 1_000), writing.time_base(place));
        packet.set_times(at(cue.start_ms), at(cue.start_ms), at(cue.end_ms) - at(cue.start_ms));
        writing.write_between(place, &mut packet)?;
    }
    loop {
        match demuxer.read(&mut packet)? {
            Step::End => break,
            Step::Damaged => {
                errors += 1;
                if errors > 1_000 {
                    break;
                }
            }
            Step::Packet => {
                let index = packet.stream();
                let Some(place) = places.get(index).copied().flatten() else { continue };
                if let Some(scheme) = packet.encrypted() {
                    return Err(MediaError::Encrypted { scheme });
                }
                let (from, to) = (demuxer.time_base(index), writing.time_base(place));
                let shift = rescale(zero, (1, 1_000_000), to);
                let at = |ticks: i64| rescale(ticks, from, to) - shift;
                let Some(stamp) = packet.stamp().or(packet.decode_stamp()) else {
                    without_time += 1;
                    continue;
                };
                let decode = packet.decode_stamp().unwrap_or(stamp);
                if let Some(expected) = facts.duration_seconds.filter(|seconds| *seconds > 0.0) {
                    progress((rescale(decode, from, (1, 1_000)) as f64 / 1_000.0 / expected) as f32);
                }
                packet.set_times(at(stamp), at(decode), rescale(packet.duration(), from, to));
                writing.write_between(place, &mut packet)?;
            }
        }
    }
    writing.finish()?;
    if errors > 0 {
        notes.push(format!("damage in {errors} places of the file"));
    }
    if without_time > 0 {
        let reason = format!("{without_time} packets have no time");
        return Err(MediaError::Mux { format: container.to_owned(), reason });
    }
    Ok(notes)
}
