//! Pictures as they are decoded, in their order, and the filters that make of each what is encoded. Knows no piece and no file that is written.

use super::super::decoder::Frame;
use super::super::error::MediaError;
use super::super::graph::{Feed, Graph, PictureShape};
use super::super::muxer::rescale;
use super::super::pace::{Grid, Rate};
use super::super::pictures::Pictures;
use super::{Filters, MICROSECONDS};

/// The filters for pictures of whatever shape comes.
pub(super) struct Scaler {
    filters: Filters,
    rate: Rate,
    threads: u32,
    graph: Option<(PictureShape, Graph)>,
}

impl Scaler {
    pub(super) fn new(filters: Filters, rate: Rate, threads: u32) -> Self {
        Scaler { filters, rate, threads, graph: None }
    }

    /// `frame` is left empty, `out` is filled.
    pub(super) fn scale(&mut self, frame: &mut Frame, place: i64, out: &mut Frame) -> Result<(), MediaError> {
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
pub(super) struct Reel<'file> {
    pub(super) pictures: Pictures<'file>,
    /// Its time base, and whether it was told of the end.
    deinterlacer: Option<(Graph, bool)>,
    wants_deinterlacer: bool,
    pub(super) raw: Frame,
    /// The first picture, decoded already.
    pub(super) waiting: Option<(i64, i64)>,
    /// Of a picture, in the source's ticks.
    length: i64,
}

impl<'file> Reel<'file> {
    pub(super) fn new(pictures: Pictures<'file>, deinterlace: bool) -> Result<Self, MediaError> {
        Ok(Reel {
            pictures,
            deinterlacer: None,
            wants_deinterlacer: deinterlace,
            raw: Frame::new()?,
            waiting: None,
            length: 0,
        })
    }

    pub(super) fn next(&mut self, frame: &mut Frame) -> Result<Option<(i64, i64)>, MediaError> {
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
    pub(super) fn seek(&mut self, grid: &Grid, place: i64) -> Result<bool, MediaError> {
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
