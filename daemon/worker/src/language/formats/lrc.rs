//! LRC, as music players show words: `[mm:ss.xx]` and a line.

use std::io::{self, Write};

use crate::language::cues::Cue;

pub fn write(cues: &[Cue], to: &mut impl Write) -> io::Result<()> {
    for cue in cues {
        let hundredths = (cue.start_ms + 5) / 10;
        // What begins with a bracket would be read as another time.
        let apart = if cue.text.starts_with('[') { " " } else { "" };
        let (minutes, seconds) = (hundredths / 6_000, hundredths / 100 % 60);
        writeln!(to, "[{minutes:02}:{seconds:02}.{:02}]{apart}{}", hundredths % 100, cue.text)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::language::formats::tests::cue;

    #[test]
    fn hundredths_carry_and_minutes_go_on_beyond_the_hour() {
        for (ms, expected) in [(0, "[00:00.00]"), (4, "[00:00.00]"), (59_995, "[01:00.00]"), (6_000_000, "[100:00.00]")]
        {
            let mut out = Vec::new();
            write(&[cue(ms, ms + 1, &["x"])], &mut out).unwrap();
            assert_eq!(String::from_utf8(out).unwrap(), format!("{expected}x\n"));
        }
    }
}
