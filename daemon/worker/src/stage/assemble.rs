//! Assemble: the pieces of a plan, cut from the original videos and joined to one. Knows jobs and failures; how pictures are cut is `film`'s,
//! which of them are copied `runs`', sound `score`'s.

mod film;
mod runs;
mod score;

use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::time::Instant;

use serde::Serialize;
use spindle_shared::failure::{Failure, FailureKind};
use spindle_shared::job::Detail;
use spindle_shared::stage::assemble::{Assemble, HIGHLIGHTS_STEM, Quality};
use spindle_shared::stage::plan::PLAN_FILE;
use spindle_shared::worker::{ArtifactFile, Done};

use self::film::{Fade, Film, Look, Trouble};
use self::score::Score;
use super::analyze::zero_seconds;
use super::compress::halt_for;
use super::plan::{Planned, PlannedVideo, read_json, write_json};
use crate::context::{Context, Halt, disk_failure};
use crate::highlights::plan::ClipPlan;
use crate::media::copying::{Likeness, likeness};
use crate::media::decoder::{Colour, Frame};
use crate::media::demuxer::{Demuxer, Packet};
use crate::media::muxer::{Muxer, StreamAbout, rescale};
use crate::media::pace::{per_second, rate};
use crate::media::packets::{Packets, Times};
use crate::media::pictures::Pictures;
use crate::media::{MediaError, StreamFacts};

/// No result is quicker.
const RATE_MAX: (u32, u32) = (60, 1);

/// A video that pieces are cut from.
pub struct Source<'c> {
    file: &'c File,
    name: String,
    /// Where a player shows 0:00, on the container's clock.
    zero: f64,
    stream: StreamFacts,
    time_base: (i32, i32),
    /// Ticks of one picture.
    step: i64,
    seekable: bool,
    /// What its packets can be copied beside.
    likeness: Option<Likeness>,
    colour: Option<Colour>,
    sound: bool,
    /// Seconds that are cut from it.
    taken: f64,
}

/// A piece of a source.
pub struct Taken {
    source: usize,
    start: f64,
    end: f64,
}

/// What came of it, as the description beside the video.
#[derive(Serialize)]
struct Told<'p> {
    #[serde(rename = "final")]
    last: Final,
    clip_plan: &'p ClipPlan,
    plan_quality: f64,
    target_duration: f64,
    videos: &'p [PlannedVideo],
    tokens_used: u64,
    tokens_saved_share: Option<f64>,
    assembly_seconds: f64,
}

#[derive(Serialize)]
struct Final {
    duration: f64,
    bytes: u64,
    width: u32,
    height: u32,
    frame_rate: f64,
    frames: u64,
    frames_copied: u64,
    quality: &'static str,
    sound: bool,
    segments: Vec<Cut>,
}

/// A segment of the plan as it came out.
#[derive(Serialize)]
struct Cut {
    video_index: u32,
    /// In its video: of the first picture that is shown.
    source_time: f64,
    /// In the result.
    start_time: f64,
    end_time: f64,
    frames: u64,
    frames_copied: u64,
}

pub fn run(context: &Context, stage: &Assemble) -> Result<Done, Halt> {
    let began = Instant::now();
    let planned: Planned = read_json(context.artifact(PLAN_FILE)?)
        .map_err(|why| Failure::new(FailureKind::Internal, format!("failed to read the plan: {why}")))?;
    let (sources, pieces) = sources(context, &planned)?;
    let main = (0..sources.len()).rev().max_by(|a, b| sources[*a].taken.total_cmp(&sources[*b].taken)).unwrap_or(0);
    let fade = stage.fade.map(Fade);
    let mut notes = Vec::new();
    let (film, look) = film(context, &sources, &pieces, main, stage.quality, fade, &mut notes)?;
    let score = score::record(context, &sources, &pieces, &film.shown, stage.quality, fade, &mut notes)?;
    context.progress(0.95);

    let name = format!("{HIGHLIGHTS_STEM}.mp4");
    let sound = score.is_some();
    let video = join(context, &name, &film, score, look)?;
    let duration = film.shown.last().map_or(0.0, |last| last.end_seconds);
    let segments = film.shown.iter().zip(&planned.plan.segments).map(|(shown, piece)| Cut {
        video_index: piece.video_index,
        source_time: milliseconds(shown.from_seconds),
        start_time: milliseconds(shown.start_seconds),
        end_time: milliseconds(shown.end_seconds),
        frames: shown.frames,
        frames_copied: shown.copied,
    });
    let told = Told {
        last: Final {
            duration: milliseconds(duration),
            bytes: video.bytes,
            width: look.width,
            height: look.height,
            frame_rate: milliseconds(per_second(look.rate)),
            frames: film.frames,
            frames_copied: film.copied,
            quality: stage.quality.name(),
            sound,
            segments: segments.collect(),
        },
        clip_plan: &planned.plan,
        plan_quality: planned.quality,
        target_duration: planned.target_duration,
        videos: &planned.videos,
        tokens_used: planned.tokens_used,
        tokens_saved_share: planned.tokens_saved_share,
        assembly_seconds: milliseconds(began.elapsed().as_secs_f64()),
    };
    let description =
        context.write_artifact(&format!("{HIGHLIGHTS_STEM}.json"), |to| write_json(&told, to, context))?;
    Ok(Done {
        files: vec![video, description],
        detail: Detail { media_seconds: Some(duration), notes, ..Detail::default() },
        work: duration,
        ..Done::default()
    })
}

fn milliseconds(seconds: f64) -> f64 {
    (seconds * 1_000.0).round() / 1_000.0
}

/// The videos that the plan cuts from, opened, and its pieces.
fn sources<'c>(context: &'c Context, planned: &Planned) -> Result<(Vec<Source<'c>>, Vec<Taken>), Halt> {
    // The first is the plan, the rest are the videos it was made of, in its order.
    let originals: Vec<_> = context.inputs().skip(1).collect();
    if originals.len() != planned.videos.len() {
        return Err(Failure::new(FailureKind::Internal, "the run came without the videos of its plan").into());
    }
    let mut sources: Vec<Source<'c>> = Vec::new();
    let mut places = vec![None; originals.len()];
    let mut pieces = Vec::new();
    for piece in &planned.plan.segments {
        context.go_on()?;
        let at = planned.videos.iter().position(|video| video.video_index == piece.video_index);
        let at = at.ok_or_else(|| Failure::new(FailureKind::Internal, "the plan has a piece of no video"))?;
        let (input, file) = originals[at];
        if let Some(why) = &input.absent {
            return Err(Failure::new(FailureKind::Input, format!("a piece can't be cut any more: {why}"))
                .advise("put the file back as it was and `spindlectl retry` the batch, or submit it again as it is now")
                .into());
        }
        let source = match places[at] {
            Some(source) => source,
            None => {
                let name = input.name.to_string();
                sources.push(Source::open(context, file, &name).map_err(|error| halt(error, &name))?);
                *places[at].insert(sources.len() - 1)
            }
        };
        sources[source].taken += piece.end_time - piece.start_time;
        pieces.push(Taken { source, start: piece.start_time, end: piece.end_time });
    }
    Ok((sources, pieces))
}

pub fn halt(error: MediaError, name: &str) -> Halt {
    halt_for(error, name, None)
}

impl<'c> Source<'c> {
    fn open(context: &Context, file: &'c File, name: &str) -> Result<Self, MediaError> {
        let mut pictures = Pictures::open(file, name, 1, context.cancel_flag())?;
        let mut frame = Frame::new()?;
        let colour = pictures.next(&mut frame)?.map(|_| frame.colour());
        let (stream, time_base, seekable) = (pictures.stream().clone(), pictures.time_base(), pictures.can_seek());
        let (zero, sound) = (zero_seconds(pictures.facts()), pictures.facts().audio().next().is_some());
        drop(pictures);
        let demuxer = Demuxer::open(file, name, context.cancel_flag())?;
        let likeness = likeness(&demuxer, &stream).filter(|_| seekable);
        let own_rate = stream.picture.map_or((25, 1), |picture| rate(picture.rate, picture.base_rate, None));
        let step = f64::from(time_base.1) / f64::from(time_base.0.max(1)) / per_second(own_rate);
        let (step, name) = ((step.round() as i64).max(1), name.to_owned());
        Ok(Source { file, name, zero, stream, time_base, step, seekable, likeness, colour, sound, taken: 0.0 })
    }

    /// What its pictures look like on a screen, with square pixels.
    fn look(&self) -> Look {
        let picture = self.stream.picture;
        let (num, den) = picture.map_or((1, 1), |picture| picture.sample_aspect);
        let wide = f64::from(self.stream.width) * f64::from(num.max(1)) / f64::from(den.max(1));
        let even = |value: f64| (((value / 2.0).round() as u32) * 2).clamp(2, 16_384);
        let (mut width, mut height) = (even(wide), even(f64::from(self.stream.height)));
        if picture.is_some_and(|picture| picture.turn.is_on_its_side()) {
            (width, height) = (height, width);
        }
        let rate = picture.map_or((25, 1), |picture| rate(picture.rate, picture.base_rate, Some(RATE_MAX)));
        Look { width, height, sample_aspect: (1, 1), rate, colour: self.colour }
    }
}

/// The pictures: copied as far as that was asked for and goes, else encoded to what most of them are.
fn film(
    context: &Context,
    sources: &[Source<'_>],
    pieces: &[Taken],
    main: usize,
    quality: Quality,
    fade: Option<Fade>,
    notes: &mut Vec<String>,
) -> Result<(Film, Look), Halt> {
    let told = |trouble: Trouble| match trouble {
        Trouble::Halt(halt) => halt,
        Trouble::Media(source, error) => halt(error, &sources[source].name),
        Trouble::NotAlike => Failure::new(FailureKind::Internal, "what was to be copied can't be").into(),
    };
    if quality == Quality::Source {
        match most_alike(sources) {
            Some(like) => {
                let (num, den) = sources[like].stream.picture.map_or((1, 1), |picture| picture.sample_aspect);
                let (width, height) = (sources[like].stream.width, sources[like].stream.height);
                let sample_aspect = (u32::try_from(num).unwrap_or(1).max(1), u32::try_from(den).unwrap_or(1).max(1));
                let look = Look { width, height, sample_aspect, ..sources[like].look() };
                match film::copied(context, sources, pieces, like, &look, fade) {
                    Ok(film) => {
                        notes.extend(unlike(sources, pieces, like));
                        return Ok((film, look));
                    }
                    Err(Trouble::NotAlike) => notes.push(
                        "nothing could be copied: the H.264 of the videos leaves no room for edges; all was encoded anew"
                            .to_owned(),
                    ),
                    Err(trouble) => return Err(told(trouble)),
                }
            }
            None => {
                notes.push("nothing could be copied: the videos are not plain H.264; all was encoded anew".to_owned())
            }
        }
    }
    let look = sources[main].look();
    film::encoded(context, sources, pieces, &look, quality, fade).map_err(told).map(|film| (film, look))
}

/// Which videos could not be copied beside the others, for people; `None` where all are alike.
fn unlike(sources: &[Source<'_>], pieces: &[Taken], like: usize) -> Option<String> {
    let is_unlike = |source: usize| sources[source].likeness != sources[like].likeness;
    let names: Vec<&str> =
        (0..sources.len()).filter(|source| is_unlike(*source)).map(|source| sources[source].name.as_str()).collect();
    let (first, others) = names.split_first()?;
    let more = if others.is_empty() { String::new() } else { format!(" and {} more", others.len()) };
    let count = pieces.iter().filter(|piece| is_unlike(piece.source)).count();
    Some(format!(
        "{count} of {} pieces were encoded anew, as their videos are not like the others: {first}{more}",
        pieces.len()
    ))
}

/// The source whose packets most of the time can be copied beside.
fn most_alike(sources: &[Source<'_>]) -> Option<usize> {
    let seconds = |at: &usize| {
        let like = sources.iter().filter(|other| other.likeness == sources[*at].likeness);
        like.map(|other| other.taken).sum::<f64>()
    };
    let copyable = (0..sources.len()).rev().filter(|at| sources[*at].likeness.is_some());
    copyable.max_by(|a, b| seconds(a).total_cmp(&seconds(b)))
}

/// A file in the run's folder without a name there: however the run ends, it is gone.
pub fn unnamed(context: &Context) -> Result<File, Halt> {
    let path = context.scratch().join(".piece");
    let open = || -> std::io::Result<File> {
        let file = File::options().read(true).write(true).create_new(true).open(&path)?;
        std::fs::remove_file(&path)?;
        Ok(file)
    };
    Ok(open().map_err(|error| disk_failure(&error, &path))?)
}

/// Both streams into one MP4, its index at the front.
fn join(context: &Context, name: &str, film: &Film, score: Option<Score>, look: Look) -> Result<ArtifactFile, Halt> {
    let path = context.scratch().join(name);
    let on_disk = |error: std::io::Error| disk_failure(&error, &path);
    let failed = |error: MediaError| halt(error, name);
    let file = File::options().read(true).write(true).create_new(true).open(&path).map_err(on_disk)?;
    let mut muxer = Muxer::new(&file, "mp4", context.cancel_flag()).map_err(failed)?;
    let about = StreamAbout { default: true, ..StreamAbout::default() };
    let video = muxer.add(&film.codec, film.time_base, &about).map_err(failed)?;
    muxer.says_rate(video, look.rate);
    let mut streams = vec![(video, film.time_base, &film.packets)];
    if let Some(score) = &score {
        streams.push((
            muxer.add(&score.codec, score.time_base, &about).map_err(failed)?,
            score.time_base,
            &score.packets,
        ));
    }
    let mut writing = muxer.begin(&[("movflags", "+faststart")]).map_err(failed)?;
    let mut readers = Vec::new();
    for (stream, time_base, mut packets) in streams {
        packets.seek(SeekFrom::Start(0)).map_err(on_disk)?;
        let to = writing.time_base(stream);
        let mut reader = Reader {
            stream,
            time_base,
            to,
            packets: Packets::new(packets),
            packet: Packet::new().map_err(failed)?,
            next: None,
        };
        reader.advance().map_err(failed)?;
        readers.push(reader);
    }
    let mut written = 0_u64;
    loop {
        let first = readers.iter_mut().filter(|reader| reader.next.is_some());
        let Some(reader) = first.min_by(|a, b| a.seconds().total_cmp(&b.seconds())) else { break };
        writing.write(reader.stream, &mut reader.packet).map_err(failed)?;
        reader.advance().map_err(failed)?;
        written += 1;
        if written.is_multiple_of(256) {
            context.go_on()?;
        }
    }
    drop(readers);
    writing.finish().map_err(failed)?;
    drop(file);
    context.progress(1.0);
    context.adopt_artifact(name)
}

/// A stream's packets on their way into the container.
struct Reader<'f> {
    stream: usize,
    time_base: (i32, i32),
    /// The container's.
    to: (i32, i32),
    packets: Packets<&'f File>,
    packet: Packet,
    next: Option<Times>,
}

impl Reader<'_> {
    fn advance(&mut self) -> Result<(), MediaError> {
        self.next = self.packets.next(&mut self.packet)?;
        if let Some(times) = self.next {
            let to = |ticks: i64| rescale(ticks, self.time_base, self.to);
            self.packet.set_times(to(times.stamp), to(times.decode_stamp), to(times.duration));
        }
        Ok(())
    }

    /// When it is decoded.
    fn seconds(&self) -> f64 {
        let ticks = self.next.map_or(0, |times| times.decode_stamp);
        ticks as f64 * f64::from(self.time_base.0) / f64::from(self.time_base.1.max(1))
    }
}
