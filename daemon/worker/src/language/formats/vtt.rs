//! WebVTT: a header, points before milliseconds, text escaped as in HTML.

use std::io::{self, BufRead, Write};

use super::clock::{Clock, read_span};
use crate::language::cues::Cue;

pub fn write(cues: &[Cue], to: &mut impl Write) -> io::Result<()> {
    write!(to, "WEBVTT\n\n")?;
    for cue in cues {
        let clock = |ms| Clock { ms, mark: '.' };
        writeln!(to, "{} --> {}", clock(cue.start_ms), clock(cue.end_ms))?;
        for line in &cue.lines {
            writeln!(to, "{}", line.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;"))?;
        }
        writeln!(to)?;
    }
    Ok(())
}

/// Whether this is a header and ordered cues with text.
pub fn check(file: impl BufRead) -> Result<(), String> {
    let mut lines = file.lines();
    let mut next = || lines.next().transpose().map_err(|error| error.to_string());
    if next()?.as_deref() != Some("WEBVTT") || next()?.as_deref() != Some("") {
        return Err("it has no WEBVTT header".to_owned());
    }
    let mut before = 0;
    let mut number = 0u64;
    while let Some(line) = next()? {
        number += 1;
        let (start, end) = read_span(&line, '.')
            .filter(|(start, _)| *start >= before)
            .ok_or_else(|| format!("cue {number} has no valid times"))?;
        before = end.max(start);
        let mut text = 0;
        while let Some(line) = next()?
            && !line.is_empty()
        {
            if line.contains(['<', '>']) {
                return Err(format!("cue {number} has text that isn't escaped"));
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
        let good = "WEBVTT\n\n00:00:00.000 --> 00:00:01.000\na &lt;\nb\n\n00:00:01.000 --> 00:00:02.000\nc\n\n";
        assert_eq!(check(good.as_bytes()), Ok(()));
        for bad in [
            good.replace("WEBVTT\n", ""),
            good.replace("a &lt;\nb\n", ""),
            good.replace("&lt;", "<"),
            good.replace("00:00:02", "00:00:00"),
            good.replace("01.000 --> ", "01,000 --> "),
            String::new(),
        ] {
            assert!(check(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
