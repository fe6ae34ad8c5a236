//! Times as subtitle files write them, from whole milliseconds: rounding has been done, so nothing carries by halves.

use std::fmt;

/// `HH:MM:SS,mmm` with the format's own mark before the milliseconds; hours have two digits or more.
pub struct Clock {
    pub ms: u64,
    pub mark: char,
}

impl fmt::Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Clock { ms, mark } = self;
        write!(f, "{:02}:{:02}:{:02}{mark}{:03}", ms / 3_600_000, ms / 60_000 % 60, ms / 1_000 % 60, ms % 1_000)
    }
}

/// Reads `HH:MM:SS,mmm` with the given mark.
pub fn read(text: &str, mark: char) -> Option<u64> {
    let (clock, ms) = text.split_once(mark)?;
    let mut parts = clock.split(':');
    let (hours, minutes, seconds) = (parts.next()?, parts.next()?, parts.next()?);
    let digits = |text: &str, most: usize| {
        (text.len() >= 2 && text.len() <= most && text.bytes().all(|byte| byte.is_ascii_digit()))
            .then(|| text.parse::<u64>().ok())
            .flatten()
    };
    if parts.next().is_some() || ms.len() != 3 {
        return None;
    }
    let (hours, minutes, seconds, ms) = (digits(hours, 9)?, digits(minutes, 2)?, digits(seconds, 2)?, digits(ms, 3)?);
    (minutes < 60 && seconds < 60).then(|| ((hours * 60 + minutes) * 60 + seconds) * 1_000 + ms)
}

/// Reads `time --> time`, where the second is not before the first.
pub fn read_span(line: &str, mark: char) -> Option<(u64, u64)> {
    let (start, end) = line.split_once(" --> ")?;
    let (start, end) = (read(start, mark)?, read(end, mark)?);
    (start <= end).then_some((start, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_and_read_back() {
        for (ms, text) in [
            (0, "00:00:00,000"),
            (1, "00:00:00,001"),
            (59_999, "00:00:59,999"),
            (60_000, "00:01:00,000"),
            (3_599_999, "00:59:59,999"),
            (3_600_000, "01:00:00,000"),
            (359_999_999, "99:59:59,999"),
            (360_000_000, "100:00:00,000"),
            (3_600_000_000, "1000:00:00,000"),
        ] {
            assert_eq!(Clock { ms, mark: ',' }.to_string(), text);
            assert_eq!(read(text, ','), Some(ms));
        }
        for text in ["", "0:00:00,000", "00:60:00,000", "00:00:00.000", "00:00:00,00", "00:00,000", "00:00:+1,000"] {
            assert_eq!(read(text, ','), None, "{text}");
        }
        assert_eq!(read_span("00:00:01,000 --> 00:00:00,999", ','), None);
    }
}
