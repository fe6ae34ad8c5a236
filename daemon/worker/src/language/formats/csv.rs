//! CSV after RFC 4180: start and end in seconds, text quoted where it must be.

use std::io::{self, Write};

use crate::language::cues::Cue;

pub fn write(cues: &[Cue], to: &mut impl Write) -> io::Result<()> {
    write!(to, "start,end,text\r\n")?;
    for cue in cues {
        let quoted = cue.text.contains([',', '"', '\r', '\n']) || cue.text.starts_with(' ') || cue.text.ends_with(' ');
        let text = if quoted { format!("\"{}\"", cue.text.replace('"', "\"\"")) } else { cue.text.clone() };
        write!(to, "{},{},{text}\r\n", seconds(cue.start_ms), seconds(cue.end_ms))?;
    }
    Ok(())
}

fn seconds(ms: u64) -> String {
    format!("{}.{:03}", ms / 1_000, ms % 1_000)
}
