//! How things look and how wide they are: colours where they are wanted, cells counted as a terminal does. Knows no panel.

use ratatui::style::{Color, Modifier, Style};
use spindle_shared::batch::BatchState;
use spindle_shared::job::JobState;
use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

/// Meaning never hangs on colour alone: every state is a word too.
#[derive(Debug, Clone, Copy)]
pub struct Palette {
    pub colour: bool,
}

impl Palette {
    pub fn plain(self) -> Style {
        Style::new()
    }

    pub fn strong(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    pub fn faint(self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    pub fn chosen(self, focused: bool) -> Style {
        Style::new().add_modifier(if focused { Modifier::REVERSED } else { Modifier::UNDERLINED })
    }

    pub fn good(self) -> Style {
        self.coloured(Color::Green)
    }

    pub fn bad(self) -> Style {
        self.coloured(Color::Red).add_modifier(Modifier::BOLD)
    }

    pub fn busy(self) -> Style {
        self.coloured(Color::Cyan)
    }

    pub fn held(self) -> Style {
        self.coloured(Color::Yellow)
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

    fn coloured(self, colour: Color) -> Style {
        if self.colour { Style::new().fg(colour) } else { Style::new() }
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

/// A bar of so many cells; full only when all is done.
pub fn bar(share: f32, cells: usize) -> String {
    let full = (f64::from(share.clamp(0.0, 1.0)) * cells as f64) as usize;
    format!("{}{}", "█".repeat(full), "░".repeat(cells.saturating_sub(full)))
}

/// Whole per cents; 100 only when all is done.
pub fn percent(share: f32) -> String {
    format!("{}%", (share.clamp(0.0, 1.0) * 100.0) as u8)
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
    fn nothing_is_done_before_it_is_done() {
        assert_eq!((bar(0.999, 10), percent(0.999)), ("█████████░".to_owned(), "99%".to_owned()));
        assert_eq!((bar(1.0, 4), percent(1.0)), ("████".to_owned(), "100%".to_owned()));
        assert_eq!((bar(f32::NAN, 2), percent(f32::NAN)), ("░░".to_owned(), "0%".to_owned()));
    }
}
