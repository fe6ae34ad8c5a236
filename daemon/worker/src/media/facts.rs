//! The facts of a file: its streams and its clock, as plain data. Knows nothing of libav.

/// What is in a file.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Facts {
    /// libav's short name of the container (`mov,mp4,m4a,3gp,3g2,mj2`).
    pub format: String,
    /// Length as the container tells it.
    pub duration_seconds: Option<f64>,
    /// The length was reckoned from size and bit rate, and may be far off.
    pub duration_is_guess: bool,
    /// Where a player's clock shows 0:00, on the container's own clock, in microseconds; `None` where nothing tells.
    pub zero_us: Option<i64>,
    /// In the file's order.
    pub streams: Vec<StreamFacts>,
    pub chapters: Vec<Chapter>,
    /// What the file says of itself (`title`, `artist`): key and text.
    pub tags: Vec<(String, String)>,
}

/// A chapter, on the container's own clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chapter {
    pub start_us: i64,
    pub end_us: i64,
    pub title: Option<String>,
}

/// What only pictures have.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PictureFacts {
    /// Frames per second over the whole stream, as the container counts them; 0/1 where unknown.
    pub rate: (i32, i32),
    /// The rate in whose steps all its times can be told; 0/1 where unknown.
    pub base_rate: (i32, i32),
    /// Width of a pixel divided by its height; 1/1 where unknown.
    pub sample_aspect: (i32, i32),
    pub turn: Turn,
    /// Each picture is two fields of different times.
    pub interlaced: bool,
    /// More than 8 bits: each takes two bytes.
    pub deep: bool,
}

/// How a player turns the pictures before it shows them, as the display matrix says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Turn {
    #[default]
    None,
    Clockwise,
    HalfWay,
    CounterClockwise,
    /// Upside down, not turned; and the other mirrored ones.
    FlipVertical,
    FlipHorizontal,
    ClockwiseFlip,
    CounterClockwiseFlip,
}

impl Turn {
    /// Of a display matrix (3 × 3, fixed point). Angles between are taken for the nearest right one.
    pub fn of_matrix(matrix: &[i32; 9], clockwise_degrees: f64) -> Self {
        let quarter = (clockwise_degrees / 90.0).round().rem_euclid(4.0) as i64;
        match quarter {
            1 if matrix[3] > 0 => Turn::CounterClockwiseFlip,
            1 => Turn::Clockwise,
            2 if matrix[0] < 0 && matrix[4] < 0 => Turn::HalfWay,
            2 if matrix[0] < 0 => Turn::FlipHorizontal,
            2 => Turn::FlipVertical,
            3 if matrix[3] < 0 => Turn::ClockwiseFlip,
            3 => Turn::CounterClockwise,
            _ if matrix[4] < 0 => Turn::FlipVertical,
            _ => Turn::None,
        }
    }

    /// Width and height change places.
    pub fn is_on_its_side(self) -> bool {
        matches!(self, Turn::Clockwise | Turn::CounterClockwise | Turn::ClockwiseFlip | Turn::CounterClockwiseFlip)
    }

    /// libav's filter that makes the pictures upright; empty where they are.
    pub fn filter(self) -> &'static str {
        match self {
            Turn::None => "",
            Turn::Clockwise => "transpose=clock",
            Turn::HalfWay => "hflip,vflip",
            Turn::CounterClockwise => "transpose=cclock",
            Turn::FlipVertical => "vflip",
            Turn::FlipHorizontal => "hflip",
            Turn::ClockwiseFlip => "transpose=clock_flip",
            Turn::CounterClockwiseFlip => "transpose=cclock_flip",
        }
    }
}

/// One stream.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamFacts {
    /// Its place in the file, from 0, all kinds counted.
    pub index: usize,
    pub kind: StreamKind,
    /// libav's name (`aac`).
    pub codec: String,
    /// The installed libav has a decoder for it.
    pub decodable: bool,
    /// Name of the scheme, where the stream says that it is encrypted.
    pub encrypted: Option<String>,
    /// As the file writes it (`eng`, `de`, `en-US`).
    pub language: Option<String>,
    pub title: Option<String>,
    /// The file asks for it to be taken.
    pub default: bool,
    /// A commentary, or a track for people who can't see or hear the other.
    pub special: bool,
    /// 0 where unknown or not audio.
    pub channels: u32,
    /// Samples per second; 0 where unknown or not audio.
    pub sample_rate: u32,
    /// Of a sample, where the codec keeps them; 0 where unknown.
    pub bits: u32,
    /// Pixels; 0 where unknown or not visible.
    pub width: u32,
    pub height: u32,
    /// On the container's own clock.
    pub start_us: Option<i64>,
    /// Length of this stream alone, where the file tells it.
    pub duration_seconds: Option<f64>,
    /// Of video and pictures.
    pub picture: Option<PictureFacts>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamKind {
    Audio,
    Video,
    /// A cover or a thumbnail: a picture that stands in a stream of its own.
    Picture,
    Subtitle,
    Other,
}

impl Facts {
    /// The audio tracks in the file's order; people count them from 1.
    pub fn audio(&self) -> impl Iterator<Item = &StreamFacts> {
        self.of(StreamKind::Audio)
    }

    pub fn of(&self, kind: StreamKind) -> impl Iterator<Item = &StreamFacts> {
        self.streams.iter().filter(move |stream| stream.kind == kind)
    }

    /// How many streams of these kinds there are, in words for one and for many: `1 subtitle track only`. Empty where there are none.
    pub fn only(&self, kinds: [(StreamKind, &str, &str); 3]) -> String {
        let mut parts = Vec::new();
        for (kind, one, many) in kinds {
            match self.of(kind).count() {
                0 => {}
                1 => parts.push(format!("1 {one}")),
                count => parts.push(format!("{count} {many}")),
            }
        }
        if parts.is_empty() { String::new() } else { format!("{} only", parts.join(", ")) }
    }

    /// Where the audio and video begin on a player: the earliest stream is at 0:00. A clock that begins below zero does so
    /// for what players throw away (a codec's run-in, an edit list's cut), unless video does too or it is all of a second.
    pub fn find_zero(&self) -> Option<i64> {
        let earliest = |kind| self.of(kind).filter_map(|stream| stream.start_us).min();
        let (audio, video) = (earliest(StreamKind::Audio), earliest(StreamKind::Video));
        let first = audio.into_iter().chain(video).min()?;
        Some(match video {
            _ if first >= 0 => first,
            Some(video) => video.min(0),
            None if first < -1_000_000 => first,
            None => 0,
        })
    }
}

/// Seconds as people read them: `1:02:03`.
pub fn clock(seconds: f64) -> String {
    // Casts of floats saturate, so nothing a header says can overflow.
    let whole = seconds.max(0.0) as u64;
    let (hours, minutes, rest) = (whole / 3_600, whole / 60 % 60, whole % 60);
    if whole < 60 { format!("{seconds:.1} s") } else { format!("{hours}:{minutes:02}:{rest:02}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(kind: StreamKind, start_ms: i64) -> StreamFacts {
        StreamFacts {
            index: 0,
            kind,
            codec: "aac".to_owned(),
            decodable: true,
            encrypted: None,
            language: None,
            title: None,
            default: false,
            special: false,
            channels: 2,
            sample_rate: 48_000,
            bits: 0,
            width: 0,
            height: 0,
            start_us: Some(start_ms * 1_000),
            duration_seconds: None,
            picture: None,
        }
    }

    #[test]
    fn the_clock_begins_where_a_player_shows_zero() {
        use StreamKind::{Audio, Picture, Video};
        for (streams, zero_ms) in [
            (vec![(Video, 0), (Audio, 1_500)], Some(0)),
            (vec![(Video, 1_400), (Audio, 1_380)], Some(1_380)),
            (vec![(Video, 0), (Audio, -21)], Some(0)),
            (vec![(Video, -500), (Audio, -600)], Some(-500)),
            (vec![(Audio, -7)], Some(0)),
            (vec![(Audio, -5_000)], Some(-5_000)),
            (vec![(Picture, 0), (Audio, 25)], Some(25)),
            (vec![(Picture, 0)], None),
        ] {
            let facts = Facts { streams: streams.iter().map(|(k, s)| stream(*k, *s)).collect(), ..Facts::default() };
            assert_eq!(facts.find_zero(), zero_ms.map(|ms| ms * 1_000), "{streams:?}");
        }
    }

    #[test]
    fn lengths_are_shown_as_people_read_them() {
        assert_eq!(clock(3.25), "3.2 s");
        assert_eq!(clock(3_723.9), "1:02:03");
        assert!(clock(f64::INFINITY).ends_with(":15"));
        assert_eq!(clock(f64::NAN), "NaN s");
    }
}
