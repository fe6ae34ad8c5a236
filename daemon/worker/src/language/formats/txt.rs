//! Plain text: what was said, one segment a line.

use std::io::{self, Write};

use crate::language::atoms::text_of;
use crate::language::transcript::Transcript;

pub fn write(transcript: &Transcript, to: &mut impl Write) -> io::Result<()> {
    transcript.segments.iter().map(text_of).filter(|text| !text.is_empty()).try_for_each(|text| writeln!(to, "{text}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::language::transcript::{Segment, Word};

    #[test]
    fn every_segment_is_one_line() {
        let words = vec![
            Word { text: " from".to_owned(), ..Word::default() },
            Word { text: " words".to_owned(), ..Word::default() },
        ];
        let segments = vec![
            Segment { text: " two\nlines\t ".to_owned(), ..Segment::default() },
            Segment { text: "  ".to_owned(), ..Segment::default() },
            Segment { words, ..Segment::default() },
        ];
        let mut out = Vec::new();
        write(&Transcript { segments, ..Transcript::default() }, &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "two lines\nfrom words\n");
    }
}
