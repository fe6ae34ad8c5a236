//! Aligned tables on a terminal's grid: wide characters count two columns. Knows nothing of what stands in them.

use unicode_width::UnicodeWidthStr;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    Left,
    Right,
}

/// A cell: its text, and the colour it has where colours are wanted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cell {
    text: String,
    colour: Option<&'static str>,
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Cell { text: text.into(), colour: None }
    }
}

impl Cell {
    /// `colour`: the number of an ANSI attribute.
    pub fn coloured(text: impl Into<String>, colour: Option<&'static str>) -> Self {
        Cell { text: text.into(), colour }
    }
}

#[derive(Debug)]
pub struct Table {
    header: Vec<(&'static str, Align)>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    pub fn new(header: &[(&'static str, Align)]) -> Self {
        Table { header: header.to_vec(), rows: Vec::new() }
    }

    pub fn row(&mut self, cells: Vec<Cell>) {
        debug_assert_eq!(cells.len(), self.header.len(), "a row has a cell for each column");
        self.rows.push(cells);
    }

    /// The whole table; the last column isn't padded, so no line ends in blanks.
    pub fn render(&self, colour: bool) -> String {
        let mut widths: Vec<usize> = self.header.iter().map(|(name, _)| name.width()).collect();
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.text.width());
            }
        }
        let mut out = String::new();
        let names: Vec<Cell> = self.header.iter().map(|(name, _)| Cell::coloured(*name, Some("1"))).collect();
        for row in std::iter::once(&names).chain(&self.rows) {
            let mut line = String::new();
            for (at, ((cell, (_, align)), width)) in row.iter().zip(&self.header).zip(&widths).enumerate() {
                let padding = " ".repeat(width - cell.text.width());
                let last = at + 1 == self.header.len();
                if at > 0 {
                    line.push_str("  ");
                }
                if *align == Align::Right {
                    line.push_str(&padding);
                }
                match cell.colour.filter(|_| colour) {
                    Some(number) => line.push_str(&format!("\x1b[{number}m{}\x1b[0m", cell.text)),
                    None => line.push_str(&cell.text),
                }
                if *align == Align::Left && !last {
                    line.push_str(&padding);
                }
            }
            out.push_str(line.trim_end());
            out.push('\n');
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_characters_take_two_columns() {
        let mut table = Table::new(&[("NAME", Align::Left), ("N", Align::Right), ("LAST", Align::Left)]);
        table.row(vec!["会议.mp4".into(), "1".into(), "a".into()]);
        table.row(vec!["talk 🎉".into(), "10".into(), "".into()]);
        assert_eq!(table.render(false), "NAME       N  LAST\n会议.mp4   1  a\ntalk 🎉   10\n");
    }

    #[test]
    fn colours_do_not_shift_columns() {
        let mut table = Table::new(&[("A", Align::Left), ("B", Align::Left)]);
        table.row(vec![Cell::coloured("x", Some("32")), "y".into()]);
        assert_eq!(table.render(true), "\x1b[1mA\x1b[0m  \x1b[1mB\x1b[0m\n\x1b[32mx\x1b[0m  y\n");
    }
}
