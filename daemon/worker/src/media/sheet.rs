//! Single pictures from all over a video, small, as rows of RGB. Knows no layout.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::decoder::Frame;
use super::error::MediaError;
use super::facts::Turn;
use super::graph::{Feed, Graph, PictureShape};
use super::muxer::rescale;
use super::pictures::Pictures;
use super::transcode::Source;

/// The picture that is shown at each of these times, which rise, from the first picture on, as RGB of this size: `take` gets the time and the
/// rows. Where the video ends sooner, its last picture stands in.
pub fn at(
    source: &Source<'_>,
    times: &[f64],
    size: (u32, u32),
    take: &mut dyn FnMut(f64, Vec<u8>),
) -> Result<(), MediaError> {
    let mut pictures = Pictures::open(source.file, source.name, 1, Arc::clone(&source.cancel))?;
    let turn = pictures.stream().picture.map_or(Turn::None, |picture| picture.turn);
    let base = pictures.time_base();
    let mut graph: Option<(PictureShape, Graph)> = None;
    let (mut shown, mut next) = (Frame::new()?, Frame::new()?);
    let Some((first, _)) = pictures.next(&mut shown)? else { return Err(pictures.nothing()) };
    let mut now = first;
    let mut ahead = pictures.next(&mut next)?.map(|(time, _)| time);
    let near = rescale(5_000, (1, 1_000), base);
    for seconds in times {
        let wanted = first.saturating_add(rescale((seconds * 1_000.0) as i64, (1, 1_000), base));
        // Far ahead, decoding all between would take longer than going there.
        if pictures.can_seek() && wanted.saturating_sub(now) > near && ahead.is_some() && pictures.seek(wanted)? {
            let mut found = Frame::new()?;
            if let Some((time, _)) = pictures.next(&mut found)? {
                shown.take(&mut found);
                now = time;
                ahead = pictures.next(&mut next)?.map(|(time, _)| time);
            } else {
                ahead = None;
            }
        }
        while let Some(time) = ahead.filter(|time| *time <= wanted) {
            if source.cancel.load(Ordering::Relaxed) {
                return Err(MediaError::Stopped);
            }
            shown.take(&mut next);
            now = time;
            ahead = pictures.next(&mut next)?.map(|(time, _)| time);
        }
        take(*seconds, rows(&shown, turn, size, base, &mut graph)?);
    }
    Ok(())
}

fn rows(
    shown: &Frame,
    turn: Turn,
    size: (u32, u32),
    base: (i32, i32),
    graph: &mut Option<(PictureShape, Graph)>,
) -> Result<Vec<u8>, MediaError> {
    let mut frame = shown.another()?;
    let nothing = || MediaError::Shape { reason: "a picture went into the filters and none came out".to_owned() };
    let shape = frame.picture().ok_or_else(nothing)?;
    let graph = match graph {
        Some((known, graph)) if *known == shape => graph,
        other => {
            let scaled = if turn.is_on_its_side() { (size.1, size.0) } else { size };
            let turned = if turn.filter().is_empty() { String::new() } else { format!(",{}", turn.filter()) };
            let chain = format!("scale={}:{}:flags=area{turned},format=rgb24", scaled.0, scaled.1);
            &mut other.insert((shape, Graph::new(Feed::Pictures { shape, time_base: base }, &chain, 1)?)).1
        }
    };
    graph.push(Some(&mut frame))?;
    let mut out = Frame::new()?;
    if graph.pull(&mut out)? { Ok(out.packed_rows(3)) } else { Err(nothing()) }
}
