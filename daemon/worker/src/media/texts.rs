//! Subtitle tracks that are text, as cues; and how each container has them. Knows no other stream.

use std::ffi::CStr;
use std::ptr::{self, NonNull};
use std::sync::Arc;

use ffmpeg_next::ffi;

use super::demuxer::{Demuxer, Packet, Step};
use super::error::MediaError;
use super::facts::{Facts, StreamKind};
use super::muxer::{StreamAbout, rescale};
use super::transcode::Source;
use crate::language::reading::without_marks;

/// No track of text has more.
const CUES_MAX: usize = 200_000;
const CUE_BYTES_MAX: usize = 16 << 10;

/// One track's cues, by their start.
pub struct Texts {
    pub about: StreamAbout,
    pub cues: Vec<Cue>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cue {
    pub start_ms: i64,
    pub end_ms: i64,
    pub text: String,
}

/// How a container has text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextForm {
    /// 3GPP timed text (`tx3g`) in MP4 and MOV: one sample after the other, each with its length before it.
    Mp4,
    /// SubRip's text in Matroska; the packets have the times.
    SubRip,
    /// WebVTT's text in WebM likewise.
    WebVtt,
}

impl TextForm {
    /// What a container's text tracks are made as; `None` where it has none.
    pub fn of_container(container: &str) -> Option<Self> {
        match container {
            "mp4" | "mov" => Some(TextForm::Mp4),
            "matroska" => Some(TextForm::SubRip),
            "webm" => Some(TextForm::WebVtt),
            _ => None,
        }
    }

    /// A cue's packet.
    pub fn sample(self, text: &str) -> Vec<u8> {
        match self {
            TextForm::Mp4 => mp4_sample(text),
            TextForm::SubRip => text.as_bytes().to_vec(),
            // What is text here would be a mark there.
            TextForm::WebVtt => text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").into_bytes(),
        }
    }

    /// The cues as the container can show them.
    pub fn fit(self, cues: &mut Vec<Cue>) {
        if self != TextForm::Mp4 {
            return;
        }
        for at in 1..cues.len() {
            let next = cues[at].start_ms;
            let before = &mut cues[at - 1];
            before.end_ms = before.end_ms.min(next);
        }
        cues.retain(|cue| cue.end_ms > cue.start_ms);
    }
}

/// Tracks of text among these streams, and what is told of the others. `zero_us` is the output's 0:00 on the file's clock.
pub fn read(
    source: &Source<'_>,
    facts: &Facts,
    streams: &[usize],
    zero_us: i64,
) -> Result<(Vec<Texts>, Vec<String>), MediaError> {
    let mut notes = Vec::new();
    let mut texts = Vec::new();
    let tracks: Vec<_> = facts.of(StreamKind::Subtitle).filter(|track| streams.contains(&track.index)).collect();
    if tracks.is_empty() {
        return Ok((texts, notes));
    }
    let mut demuxer = Demuxer::open(source.file, source.name, Arc::clone(&source.cancel))?;
    let mut decoders = Vec::new();
    for track in tracks {
        match TextDecoder::open(&demuxer, track.index) {
            Some(decoder) => {
                let (language, title) = (track.language.clone(), track.title.clone());
                let about = StreamAbout { language, title, default: track.default };
                decoders.push((track.index, decoder));
                texts.push(Texts { about, cues: Vec::new() });
            }
            None => {
                notes.push(format!("subtitles of the kind {} are pictures or unknown, and were left out", track.codec))
            }
        }
    }
    if decoders.is_empty() {
        return Ok((texts, notes));
    }
    demuxer.only(&decoders.iter().map(|(index, _)| *index).collect::<Vec<_>>());
    let mut packet = Packet::new()?;
    let mut errors = 0;
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
                let Some(at) = decoders.iter().position(|(index, _)| *index == packet.stream()) else { continue };
                let base = demuxer.time_base(packet.stream());
                let Some(text) = decoders[at].1.text(&mut packet) else { continue };
                let ms = |ticks: i64| (rescale(ticks, base, (1, 1_000_000)) - zero_us) / 1_000;
                let start = packet.stamp().or(packet.decode_stamp()).map_or(0, ms);
                let end = packet.stamp().map_or(start, |stamp| ms(stamp.saturating_add(packet.duration())));
                if texts[at].cues.len() < CUES_MAX && end > 0 {
                    texts[at].cues.push(Cue { start_ms: start.max(0), end_ms: end, text });
                }
            }
        }
    }
    for track in &mut texts {
        track.cues.sort_by_key(|cue| cue.start_ms);
        track.cues.retain(|cue| cue.end_ms > cue.start_ms);
    }
    texts.retain(|track| !track.cues.is_empty());
    Ok((texts, notes))
}

/// Its length and its text.
fn mp4_sample(text: &str) -> Vec<u8> {
    let mut cut = text.len().min(usize::from(u16::MAX));
    while !text.is_char_boundary(cut) {
        cut -= 1;
    }
    let text = &text.as_bytes()[..cut];
    let mut sample = Vec::with_capacity(2 + text.len());
    sample.extend_from_slice(&(text.len() as u16).to_be_bytes());
    sample.extend_from_slice(text);
    sample
}

/// A decoder of one track of text.
struct TextDecoder(NonNull<ffi::AVCodecContext>);

impl TextDecoder {
    /// `None` where it is no text.
    fn open(demuxer: &Demuxer<'_>, index: usize) -> Option<Self> {
        let parameters = demuxer.parameters(index);
        let (num, den) = demuxer.time_base(index);
        // SAFETY: the parameters live as long as the demuxer and are copied; the context is owned from its allocation on.
        unsafe {
            let id = parameters.as_ref()?.codec_id;
            let about = ffi::avcodec_descriptor_get(id).as_ref()?;
            if about.props & ffi::AV_CODEC_PROP_TEXT_SUB == 0 {
                return None;
            }
            let codec = ffi::avcodec_find_decoder(id);
            if codec.is_null() {
                return None;
            }
            let mut context = NonNull::new(ffi::avcodec_alloc_context3(codec))?;
            let decoder = TextDecoder(context);
            if ffi::avcodec_parameters_to_context(context.as_ptr(), parameters) < 0 {
                return None;
            }
            context.as_mut().pkt_timebase = ffi::AVRational { num, den };
            (ffi::avcodec_open2(context.as_ptr(), codec, ptr::null_mut()) >= 0).then_some(decoder)
        }
    }

    fn text(&mut self, packet: &mut Packet) -> Option<String> {
        // SAFETY: the subtitle is plain data that libav fills, and frees again.
        unsafe {
            let mut subtitle: ffi::AVSubtitle = std::mem::zeroed();
            let mut got = 0;
            let code = ffi::avcodec_decode_subtitle2(self.0.as_ptr(), &mut subtitle, &mut got, packet.as_mut_ptr());
            if code < 0 || got == 0 {
                return None;
            }
            let mut lines = Vec::new();
            for at in 0..subtitle.num_rects as usize {
                let Some(rect) = (*subtitle.rects.add(at)).as_ref() else { continue };
                let (text, is_ass) = if rect.ass.is_null() { (rect.text, false) } else { (rect.ass, true) };
                if !text.is_null() {
                    let text = CStr::from_ptr(text).to_string_lossy();
                    lines.push(if is_ass { plain(&text) } else { text.into_owned() });
                }
            }
            ffi::avsubtitle_free(&mut subtitle);
            let text: String = lines.join("\n").chars().take(CUE_BYTES_MAX / 4).collect();
            Some(text.trim().to_owned()).filter(|text| !text.is_empty())
        }
    }
}

impl Drop for TextDecoder {
    fn drop(&mut self) {
        let mut context = self.0.as_ptr();
        // SAFETY: allocated in `open`, freed only here.
        unsafe { ffi::avcodec_free_context(&mut context) };
    }
}

/// The text of libav's ASS line (`order,layer,style,name,left,right,vertical,effect,text`) without its marks.
fn plain(ass: &str) -> String {
    without_marks(ass.splitn(9, ',').nth(8).unwrap_or(ass))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_go_and_lines_stay() {
        assert_eq!(plain("0,0,Default,,0,0,0,,{\\i1}Well, yes{\\i0}\\Nno, {not} \\hx"), "Well, yes\nno, {not}  x");
        assert_eq!(plain("no ass"), "no ass");
        assert_eq!(plain("1,0,,,0,0,0,,{\\open"), "");
        assert_eq!(mp4_sample("é"), [0, 2, 0xc3, 0xa9]);
        assert_eq!(mp4_sample(&"字".repeat(40_000)).len(), 2 + 65_535);
    }
}
