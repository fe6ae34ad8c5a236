//! SubRip: numbered cues, commas before milliseconds, no escaping of any kind.

use std::io::{self, BufRead, Write};

use super::clock::{Clock, read_span};
use crate::language::cues::Cue;

pub fn write(cues: &[Cue], to: &mut impl Write) -> io::Result<()> {
    for (number, cue) in (1..).zip(cues) {
        let clock = |ms| Clock { ms, mark: ',' };
        writeln!(to, "{number}\n{} --> {}", clock(cue.start_ms), clock(cue.end_ms))?;
        for line in &cue.lines {
            // The format can't escape its own arrow.
            writeln!(to, "{}", line.replace("-->", "→"))?;
        }
        writeln!(to)?;
    }
    Ok(())
}

/// Whether this is a sequence of numbered, ordered cues with text; an empty file is one.
pub fn check(file: impl BufRead) -> Result<(), String> {
    let mut lines = file.lines();
    let mut next = || lines.next().transpose().map_err(|error| error.to_string());
    let mut before = 0;
    let mut number = 0u64;
    while let Some(line) = next()? {
        number += 1;
        if line != number.to_string() {
            return Err(format!("cue {number} has the number `{}`", line.escape_debug()));
        }
        let (start, end) = next()?
            .and_then(|line| read_span(&line, ','))
            .filter(|(start, _)| *start >= before)
            .ok_or_else(|| format!("cue {number} has no valid times"))?;
        before = end.max(start);
        let mut text = 0;
        while let Some(line) = next()?
            && !line.is_empty()
        {
            if line.contains("-->") {
                return Err(format!("cue {number} has an arrow in its text"));
            }
            text += 1;
        }
        if text == 0 {
            return Err(format!("cue {number} has no text"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn what_is_no_subtitle_is_told() {
        let good = "1\n00:00:00,000 --> 00:00:01,000\na\nb\n\n2\n00:00:01,000 --> 00:00:02,000\nc\n\n";
        assert_eq!(check(good.as_bytes()), Ok(()));
        for bad in [
            good.replace("2\n00", "3\n00"),
            good.replace("a\nb\n", ""),
            good.replace("a\n", "a --> b\n"),
            good.replace("00:00:02", "00:00:00"),
            good[..8].to_owned(),
            "\n".to_owned(),
        ] {
            assert!(check(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(check(&b"1\n\xff"[..]).is_err());
    }
}
