//! How things look and how wide they are: colours where they are wanted, cells counted as a terminal does. Knows no panel.

use ratatui::buffer::Buffer;
use ratatui::style::{Color, Modifier, Style};
use spindle_shared::batch::BatchState;
use spindle_shared::job::JobState;
use spindle_shared::text::escaped;
use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

use crate::look::{Look, Theme};

/// What is drawn means the same without its colours: every state is a word too.
impl Look {
    pub fn plain(self) -> Style {
        Style::new()
    }

    pub fn strong(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    pub fn faint(self) -> Style {
        match (self.theme, self.rich) {
            (Theme::Contrast, _) => Style::new(),
            // Dim is hard to read on many bright screens.
            (Theme::Light, true) => Style::new().fg(Color::Indexed(242)),
            (Theme::Dark, true) => Style::new().fg(Color::Indexed(245)),
            _ => Style::new().add_modifier(Modifier::DIM),
        }
    }

    pub fn chosen(self, focused: bool) -> Style {
        Style::new().add_modifier(if focused { Modifier::REVERSED } else { Modifier::UNDERLINED })
    }

    /// Titles and the open tab.
    pub fn title(self) -> Style {
        self.coloured([Color::Cyan, Color::Blue, Color::White], [111, 25, 15]).add_modifier(Modifier::BOLD)
    }

    pub fn good(self) -> Style {
        self.coloured([Color::Green, Color::Green, Color::LightGreen], [114, 28, 46])
    }

    pub fn bad(self) -> Style {
        self.coloured([Color::Red, Color::Red, Color::LightRed], [203, 124, 203]).add_modifier(Modifier::BOLD)
    }

    pub fn busy(self) -> Style {
        self.coloured([Color::Cyan, Color::Blue, Color::LightCyan], [80, 31, 51])
    }

    pub fn held(self) -> Style {
        self.coloured([Color::Yellow, Color::Magenta, Color::LightYellow], [179, 130, 226])
    }

    pub fn batch(self, state: BatchState) -> Style {
        match state {
            BatchState::Running => self.busy(),
            BatchState::Completed => self.good(),
            BatchState::Failed | BatchState::Partial => self.bad(),
            BatchState::Paused | BatchState::Cancelling => self.held(),
            BatchState::Pending => self.plain(),
            BatchState::Cancelled => self.faint(),
        }
    }

    pub fn job(self, state: JobState) -> Style {
        match state {
            JobState::Running => self.busy(),
            JobState::Completed => self.good(),
            JobState::Failed => self.bad(),
            JobState::Retrying => self.held(),
            JobState::Pending => self.plain(),
            JobState::Skipped | JobState::Cancelled => self.faint(),
        }
    }

    /// For dark, light and strong screens: of the terminal's 16 colours, or of its 256.
    fn coloured(self, few: [Color; 3], many: [u8; 3]) -> Style {
        let at = match self.theme {
            Theme::Dark => 0,
            Theme::Light => 1,
            Theme::Contrast => 2,
            Theme::Plain => return Style::new(),
        };
        let style = Style::new().fg(if self.rich { Color::Indexed(many[at]) } else { few[at] });
        if self.theme == Theme::Contrast { style.add_modifier(Modifier::BOLD) } else { style }
    }
}

/// Draws the same with ASCII alone; what stands for more than a line or a block becomes `?`.
pub fn to_ascii(buffer: &mut Buffer) {
    for cell in &mut buffer.content {
        if cell.symbol().is_ascii() {
            continue;
        }
        let letter = cell.symbol().chars().next().unwrap_or(' ');
        let plain = match letter {
            '─' | '━' | '–' | '—' => "-",
            '│' | '┃' => "|",
            '┌' | '┐' | '└' | '┘' | '├' | '┤' | '┬' | '┴' | '┼' | '╭' | '╮' | '╰' | '╯' => {
                "+"
            }
            '▸' | '›' | '→' | '▶' => ">",
            '◂' | '←' => "<",
            '↑' => "^",
            '↓' => "v",
            '·' | '░' | '○' => ".",
            '●' | '✓' | '█' | '▉' | '▊' | '▋' | '▌' => "#",
            '▍' | '▎' | '▏' | '◐' => "+",
            '▁' => "_",
            '▂' | '▃' => ".",
            '▄' | '▅' => "o",
            '▆' | '▇' => "O",
            '×' => "x",
            '…' | '~' => "~",
            '■' => "*",
            _ if letter.is_whitespace() => " ",
            _ => "?",
        };
        let wide = width(cell.symbol()) > 1;
        cell.set_symbol(if wide { "??" } else { plain });
    }
}

/// Text from outside, safe to show, and without what joins and tints emoji; flags become their letters. Terminals differ in how wide
/// they make what is joined and in how many pieces they keep it: what stands behind would be out of line, and pieces would stay behind.
pub fn shown(text: &str) -> String {
    escaped(text).chars().filter_map(unjoined).collect()
}

fn unjoined(letter: char) -> Option<char> {
    match letter {
        '\u{200d}' | '\u{fe00}'..='\u{fe0f}' | '\u{1f3fb}'..='\u{1f3ff}' | '\u{e0020}'..='\u{e007f}' => None,
        '\u{1f1e6}'..='\u{1f1ff}' => char::from_u32(u32::from('A') + u32::from(letter) - 0x1f1e6),
        other => Some(other),
    }
}

pub fn width(text: &str) -> usize {
    text.width()
}

/// The text in at most so many cells, cut between characters, with `…` where something is missing.
pub fn clipped(text: &str, cells: u16) -> String {
    let cells = usize::from(cells);
    if text.width() <= cells {
        return text.to_owned();
    }
    let mut kept = String::new();
    let mut used = 1;
    for cluster in text.graphemes(true) {
        used += cluster.width();
        if used > cells {
            break;
        }
        kept.push_str(cluster);
    }
    if cells > 0 {
        kept.push('…');
    }
    kept
}

/// As [`clipped`], with the end kept too: of names of files the ends differ.
pub fn clipped_middle(text: &str, cells: u16) -> String {
    let cells = usize::from(cells);
    if text.width() <= cells {
        return text.to_owned();
    }
    if cells < MIDDLE_MIN {
        return clipped(text, cells as u16);
    }
    let tail_cells = (cells - 1) / 3;
    let (mut tail, mut used) = (Vec::new(), 0);
    for cluster in text.graphemes(true).rev() {
        used += cluster.width();
        if used > tail_cells {
            break;
        }
        tail.push(cluster);
    }
    let tail: String = tail.into_iter().rev().collect();
    // What a wide character leaves free at the cut goes to the head; with its `…` the rest is full.
    let head = clipped(text, (cells - tail.width()) as u16);
    head + &tail
}

const MIDDLE_MIN: usize = 9;

/// The text in lines of at most so many cells, broken between words where that is possible. Where it needs more than `most` lines the
/// last ends in `…`.
pub fn wrapped(text: &str, cells: u16, most: usize) -> Vec<String> {
    let starts = line_starts(text, usize::from(cells).max(1));
    let line = |nth: usize| match starts.get(nth + 1) {
        Some(end) if nth + 1 < most => text[starts[nth]..*end].trim_end().to_owned(),
        _ => clipped(text[starts[nth]..].trim_end(), cells),
    };
    (0..starts.len().min(most)).map(line).collect()
}

fn line_starts(text: &str, cells: usize) -> Vec<usize> {
    let (mut starts, mut used, mut at) = (vec![0], 0, 0);
    for word in text.split_word_bounds() {
        let blank = word.trim().is_empty();
        if used > 0 && !blank && used + word.width() > cells {
            starts.push(at);
            used = 0;
        }
        for cluster in word.graphemes(true) {
            // A word may be longer than a line. Blanks at a line's end need no room.
            if !blank && used > 0 && used + cluster.width() > cells {
                starts.push(at);
                used = 0;
            }
            used += cluster.width();
            at += cluster.len();
        }
    }
    starts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_characters_take_two_cells_and_are_never_cut() {
        assert_eq!(clipped("会议录音", 8), "会议录音");
        assert_eq!(clipped("会议录音", 7), "会议录…");
        assert_eq!(clipped("会议录音", 6), "会议…");
        assert_eq!(clipped("e\u{301}e\u{301}e\u{301}", 2), "e\u{301}…");
        assert_eq!(clipped("abc", 1), "…");
        assert_eq!(clipped("abc", 0), "");
    }

    #[test]
    fn nothing_joined_is_wider_than_its_parts() {
        assert_eq!(shown("👨\u{200d}👩\u{200d}👧 ❤\u{fe0f} 👍🏽\u{1b}[2J"), "👨👩👧 ❤ 👍\\u{1b}[2J");
        assert_eq!(shown("🇯🇵 🏴\u{e0067}\u{e0062}\u{e007f}"), "JP 🏴");
        assert_eq!(width(&shown("👍🏽👨\u{200d}👩")), 6);
    }

    #[test]
    fn a_names_end_stays_in_sight() {
        assert_eq!(clipped_middle("interview with somebody part 3.mp4", 20), "interview wit… 3.mp4");
        assert_eq!(clipped_middle("会议录音第三季度全体大会北京.mp4", 20), "会议录音第三…京.mp4");
        assert_eq!(clipped_middle("short.mp4", 20), "short.mp4");
        for cells in 0..40 {
            let cut = clipped_middle("会a议b录c音第三季度x全体大会北京👍.mp4", cells);
            assert!(width(&cut) <= usize::from(cells), "{cut} in {cells}");
        }
    }

    #[test]
    fn texts_are_broken_between_words_and_nothing_is_lost() {
        assert_eq!(wrapped("the quick brown fox", 9, 9), ["the quick", "brown fox"]);
        assert_eq!(wrapped("the quick brown fox", 9, 1), ["the quic…"]);
        assert_eq!(wrapped("会议录音第三季度", 5, 9), ["会议", "录音", "第三", "季度"]);
        assert_eq!(wrapped("abcdefgh", 3, 2), ["abc", "de…"]);
        assert_eq!(wrapped("", 3, 2), [""]);
        let text = "a 会议 very-long-word-that-fits-nowhere 录音   and some";
        for cells in 2..20 {
            let lines = wrapped(text, cells, usize::MAX);
            assert!(lines.iter().all(|line| width(line) <= usize::from(cells)), "{lines:?} in {cells}");
            let letters = |text: &str| text.chars().filter(|letter| !letter.is_whitespace()).collect::<String>();
            assert_eq!(letters(&lines.concat()), letters(text));
        }
    }
}
