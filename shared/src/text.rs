//! Text from outside, made safe to show.

use std::fmt;

/// Writes `text` with control characters as `\n`, `\x1b` …, so that a file's name can't move the cursor or fake a line.
pub fn write_escaped(f: &mut dyn fmt::Write, text: &str) -> fmt::Result {
    for c in text.chars() {
        if c.is_control() || is_bidi_control(c) {
            for escaped in c.escape_default() {
                f.write_char(escaped)?;
            }
        } else {
            f.write_char(c)?;
        }
    }
    Ok(())
}

pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    // Writing to a String can't fail.
    let _ = write_escaped(&mut out, text);
    out
}

/// Marks that turn the reading order around; in a file name they can make `exe.txt` of `txt.exe`.
fn is_bidi_control(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    #[test]
    fn control_characters_are_shown_not_obeyed() {
        assert_eq!(super::escaped("a\n\u{1b}[31m字.mp4"), "a\\n\\u{1b}[31m字.mp4");
        assert_eq!(super::escaped("x\u{202e}4pm.y"), "x\\u{202e}4pm.y");
    }
}
