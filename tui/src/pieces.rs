//! What goes to the terminal, a frame in one piece: between marks at which terminals that know them (DEC 2026) change the picture at
//! once; others pass over them. A frame that changes nothing doesn't go out at all. Knows nothing of what is drawn.

use std::io::{self, Write};

const BEGIN: &[u8] = b"\x1b[?2026h";
const END: &[u8] = b"\x1b[?2026l";
const HIDE: &[u8] = b"\x1b[?25l";
const SHOW: &[u8] = b"\x1b[?25h";

pub struct Pieces<W> {
    out: W,
    frame: Vec<u8>,
    hidden: bool,
}

impl<W: Write> Pieces<W> {
    pub fn new(out: W) -> Pieces<W> {
        Pieces { out, frame: Vec::new(), hidden: false }
    }

    /// Nothing but what is so already: no colours, and a cursor that is hidden.
    fn says_nothing(&self) -> bool {
        let mut rest = self.frame.as_slice();
        while !rest.is_empty() {
            if let Some(after) = rest.strip_prefix(HIDE).filter(|_| self.hidden) {
                rest = after;
                continue;
            }
            let Some(colours) = rest.strip_prefix(b"\x1b[") else { return false };
            let digits = colours.iter().take_while(|byte| byte.is_ascii_digit() || **byte == b';').count();
            match colours.get(digits) {
                Some(b'm') => rest = &colours[digits + 1..],
                _ => return false,
            }
        }
        true
    }
}

impl<W: Write> Write for Pieces<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.frame.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.says_nothing() {
            self.frame.clear();
            return Ok(());
        }
        let last = |what: &[u8]| self.frame.windows(what.len()).rposition(|part| part == what);
        if let Some(hidden) = last(HIDE).max(last(SHOW)) {
            self.hidden = self.frame[hidden..].starts_with(HIDE);
        }
        // One write for all of it: a frame that comes in halves is seen in halves.
        self.frame.splice(..0, BEGIN.iter().copied());
        self.frame.extend_from_slice(END);
        let written = self.out.write_all(&self.frame).and_then(|()| self.out.flush());
        self.frame.clear();
        written
    }
}

#[cfg(test)]
mod tests {
    use ratatui::backend::CrosstermBackend;
    use ratatui::layout::Rect;
    use ratatui::{Terminal, TerminalOptions, Viewport};

    use super::*;
    use crate::model::View;
    use crate::view::{self, tests::full};

    /// What a terminal is told of these frames, one after another.
    fn told(frames: &mut [&mut dyn FnMut() -> crate::model::Model]) -> Vec<usize> {
        let mut written = Vec::new();
        let mut told = Vec::new();
        for count in 1..=frames.len() {
            written.clear();
            let options = TerminalOptions { viewport: Viewport::Fixed(Rect::new(0, 0, 120, 40)) };
            let pieces = CrosstermBackend::new(Pieces::new(&mut written));
            let mut terminal = Terminal::with_options(pieces, options).unwrap();
            for model in &mut frames[..count] {
                let model = model();
                terminal.draw(|frame| drop(view::draw(frame, &model))).unwrap();
            }
            drop(terminal);
            told.push(written.len());
        }
        told
    }

    #[test]
    fn where_nothing_changed_nothing_is_sent() {
        for view in View::ALL {
            let mut same = || full(view);
            let mut again = || full(view);
            let mut other = || {
                let mut model = full(view);
                model.silent_for = 1;
                model.wall.0 += 60_000;
                model
            };
            let told = told(&mut [&mut same, &mut again, &mut other]);
            assert!(told[0] > 500, "{view:?}: {told:?}");
            assert_eq!(told[0], told[1], "{view:?}: not a byte for the same picture");
            assert!(told[2] > told[1] && told[2] < told[1] + 600, "{view:?}: only what is new: {told:?}");
        }
    }

    #[test]
    fn a_frame_goes_out_in_one_piece() {
        struct Writes(Vec<Vec<u8>>);
        impl Write for Writes {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.push(bytes.to_vec());
                Ok(bytes.len())
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut pieces = Pieces::new(Writes(Vec::new()));
        pieces.write_all(b"a").unwrap();
        pieces.write_all(b"\x1b[?25l").unwrap();
        pieces.flush().unwrap();
        pieces.write_all(b"\x1b[39;49m\x1b[0m\x1b[?25l").unwrap();
        pieces.flush().unwrap();
        pieces.flush().unwrap();
        pieces.write_all(b"\x1b[?25h").unwrap();
        pieces.flush().unwrap();
        pieces.write_all(b"\x1b[?25l").unwrap();
        pieces.flush().unwrap();
        let written: Vec<_> = pieces.out.0.iter().map(|bytes| String::from_utf8_lossy(bytes).into_owned()).collect();
        let framed = |text: &str| format!("\u{1b}[?2026h{text}\u{1b}[?2026l");
        assert_eq!(written, [framed("a\u{1b}[?25l"), framed("\u{1b}[?25h"), framed("\u{1b}[?25l")]);
    }
}
