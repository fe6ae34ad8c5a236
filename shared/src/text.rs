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

/// Without what may be secret in addresses: a login before the host, and all behind a `?`.
pub fn redacted(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, address) = rest.split_at(at + 3);
        out.push_str(before);
        let end = address.find(|c: char| c.is_whitespace() || "\"'<>`)".contains(c)).unwrap_or(address.len());
        let (address, after) = address.split_at(end);
        let host = address.find(['/', '?', '#']).unwrap_or(address.len());
        let shown = match address[..host].rfind('@') {
            Some(at) => {
                out.push('…');
                &address[at..]
            }
            None => address,
        };
        match shown.find('?') {
            Some(at) => {
                out.push_str(&shown[..=at]);
                out.push('…');
            }
            None => out.push_str(shown),
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

/// Marks that turn the reading order around; in a file name they can make `exe.txt` of `txt.exe`.
fn is_bidi_control(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    #[test]
    fn logins_and_queries_of_addresses_are_left_out() {
        for (text, shown) in [
            ("plain ? text", "plain ? text"),
            ("see https://a.example/x?sig=S3CRET&t=1 for more?", "see https://a.example/x?… for more?"),
            ("(\"http://me:pw@h:1/p\") and s3://b/c", "(\"http://…@h:1/p\") and s3://b/c"),
            ("https://h/a@b", "https://h/a@b"),
            ("https://", "https://"),
        ] {
            assert_eq!(super::redacted(text), shown);
        }
    }

    #[test]
    fn control_characters_are_shown_not_obeyed() {
        assert_eq!(super::escaped("a\n\u{1b}[31m字.mp4"), "a\\n\\u{1b}[31m字.mp4");
        assert_eq!(super::escaped("x\u{202e}4pm.y"), "x\\u{202e}4pm.y");
    }
}
