//! A table that leaves out whole columns where there is no room for them, the least important first. Knows no batch and no job.

use ratatui::Frame;
use ratatui::layout::{Constraint, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, HighlightSpacing, Row, Table, TableState};

use super::style::{clipped, clipped_middle, width};
use crate::look::Look;
use crate::model::Hit;

/// Where a name has no room for its own least width, the rows are kept readable all the same.
const NAME_LEAST: u16 = 5;
/// On a wide screen what stands behind a name stays near it.
const NAME_MOST: u16 = 64;

pub struct Column {
    pub head: &'static str,
    pub cells: Vec<(String, Style)>,
    /// Its width whatever is in it, so that a change of content moves no column; of the one that takes what is left, what it should have.
    pub least: u16,
    pub right: bool,
    /// Columns with smaller numbers stay longer; 0 stays always.
    pub rank: u8,
    pub kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// As wide as its widest cell.
    Whole,
    /// Takes what is left, as far as names need it; its cells are cut at their ends.
    Name,
    /// As a name; its cells are cut in their middle.
    FileName,
    /// Takes all that is left.
    Text,
}

impl Column {
    pub fn new(head: &'static str, rank: u8, least: u16, cells: Vec<(String, Style)>) -> Column {
        Column { head, cells, least, right: false, rank, kind: Kind::Whole }
    }

    pub fn right(mut self) -> Column {
        self.right = true;
        self
    }

    /// The one that takes what is left.
    pub fn fills(mut self, kind: Kind) -> Column {
        self.kind = kind;
        self
    }

    fn width(&self, look: Look) -> u16 {
        let widest = self.cells.iter().map(|(text, _)| width(text)).max().unwrap_or(0);
        u16::try_from(widest.max(width(look.t(self.head)))).unwrap_or(u16::MAX).max(self.least)
    }
}

/// What of a list is seen, and what of that is chosen.
pub struct Rows {
    /// Of the whole list.
    pub first: usize,
    pub chosen: Option<usize>,
    pub heads: bool,
    pub focused: bool,
}

pub fn draw(
    frame: &mut Frame<'_>,
    area: Rect,
    mut columns: Vec<Column>,
    rows: &Rows,
    block: Block<'_>,
    look: Look,
    hits: &mut Vec<(Rect, Hit)>,
) {
    let block_inside = block.inner(area);
    // One cell marks the chosen row: not every terminal shows it reversed.
    let inner = area.width.saturating_sub(1);
    let filling = loop {
        let fixed: u16 =
            columns.iter().filter(|column| column.kind == Kind::Whole).map(|column| column.width(look)).sum();
        let gaps = u16::try_from(columns.len().saturating_sub(1)).unwrap_or(u16::MAX);
        let left = inner.saturating_sub(fixed.saturating_add(gaps));
        let last = columns.iter().map(|column| column.rank).max().unwrap_or(0);
        let wanted = columns.iter().filter(|column| column.kind != Kind::Whole).map(|column| column.least).max();
        let enough = wanted.filter(|_| last > 1).unwrap_or(NAME_LEAST);
        if left >= enough || last == 0 {
            let text = columns.iter().any(|column| column.kind == Kind::Text);
            break if text { left } else { left.min(NAME_MOST) };
        }
        columns.retain(|column| column.rank != last);
    };
    let widths: Vec<u16> =
        columns.iter().map(|column| if column.kind == Kind::Whole { column.width(look) } else { filling }).collect();
    let count = columns.first().map_or(0, |column| column.cells.len());
    let cell = |column: &Column, cells: u16, row: usize| {
        let (text, style) = column.cells.get(row).cloned().unwrap_or_default();
        let text = match column.kind {
            Kind::FileName => clipped_middle(&text, cells),
            Kind::Whole | Kind::Name | Kind::Text => clipped(&text, cells),
        };
        let line = Line::from(Span::styled(text, style));
        if column.right { line.right_aligned() } else { line }
    };
    let body =
        (0..count).map(|row| Row::new(columns.iter().zip(&widths).map(|(column, cells)| cell(column, *cells, row))));
    let table = Table::new(body, widths.iter().map(|cells| Constraint::Length(*cells)))
        .column_spacing(1)
        .row_highlight_style(look.chosen(rows.focused))
        .highlight_symbol("›")
        .highlight_spacing(HighlightSpacing::Always)
        .block(block);
    let heads = columns.iter().map(|column| {
        let line = Line::from(look.t(column.head));
        if column.right { line.right_aligned() } else { line }
    });
    let table = if rows.heads { table.header(Row::new(heads).style(look.faint())) } else { table };
    for row in 0..count {
        let y = block_inside.y + u16::from(rows.heads) + u16::try_from(row).unwrap_or(u16::MAX);
        if y < block_inside.bottom() {
            hits.push((Rect::new(block_inside.x, y, block_inside.width, 1), Hit::Row(rows.first + row)));
        }
    }
    frame.render_stateful_widget(table, area, &mut TableState::new().with_selected(rows.chosen));
}

/// The first row to show so that the chosen one is seen, near the middle in a long list.
pub fn first_row(chosen: Option<usize>, rows: u16, total: usize) -> usize {
    let rows = usize::from(rows).max(1);
    chosen.unwrap_or(0).saturating_sub(rows / 2).min(total.saturating_sub(rows))
}

#[cfg(test)]
mod tests {
    use super::first_row;

    #[test]
    fn the_chosen_row_is_always_in_the_window() {
        for total in 1..40 {
            for rows in 1..12_u16 {
                for chosen in 0..total {
                    let first = first_row(Some(chosen), rows, total);
                    assert!(first <= chosen && chosen < first + usize::from(rows), "{chosen} of {total} in {rows}");
                }
            }
        }
    }
}
