//! Tab-separated values as whisper's own tools write them: start and end in milliseconds.

use std::io::{self, Write};

use crate::language::cues::Cue;

pub fn write(cues: &[Cue], to: &mut impl Write) -> io::Result<()> {
    writeln!(to, "start\tend\ttext")?;
    for cue in cues {
        writeln!(to, "{}\t{}\t{}", cue.start_ms, cue.end_ms, cue.text.replace(['\t', '\r', '\n'], " "))?;
    }
    Ok(())
}
