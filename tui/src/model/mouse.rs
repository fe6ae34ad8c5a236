//! The mouse: a click does what lies under it, the wheel what the arrow keys do.

use crossterm::event::{KeyEvent, MouseButton, MouseEvent, MouseEventKind};
use ratatui::layout::Position;
use spindle_shared::wire::request::Request;

use super::{Cover, Hit, Model, View};
use crate::keys::{self, Action};

impl Model {
    pub(super) fn mouse(&mut self, mouse: MouseEvent) -> Option<Request> {
        let at = Position::new(mouse.column, mouse.row);
        match mouse.kind {
            MouseEventKind::ScrollDown => self.roll(Action::Down),
            MouseEventKind::ScrollUp => self.roll(Action::Up),
            MouseEventKind::Down(MouseButton::Left) => {
                let hit = self.hits.iter().rev().find(|(area, _)| area.contains(at)).map(|(_, hit)| *hit)?;
                self.changed = true;
                match hit {
                    Hit::Go(view) => self.do_it(Action::Go(view)),
                    Hit::Act(action) => self.do_it(action),
                    Hit::Row(row) => self.pick(row),
                }
            }
            _ => None,
        }
    }

    /// The wheel does what the arrow keys do, where they do something.
    pub(super) fn roll(&mut self, action: Action) -> Option<Request> {
        let code = if action == Action::Down { crossterm::event::KeyCode::Down } else { crossterm::event::KeyCode::Up };
        let bound = keys::meaning(self.place(), KeyEvent::from(code)) == Some(action);
        self.changed |= bound;
        if bound { self.do_it(action) } else { None }
    }

    /// A click chooses a row; a click on the chosen one opens it.
    pub(super) fn pick(&mut self, row: usize) -> Option<Request> {
        match &mut self.cover {
            Some(Cover::Form(form)) => match &mut form.files {
                Some(files) if files.at == row => return self.do_it(Action::Open),
                Some(files) => files.at = row,
                None if form.at == row => return self.do_it(Action::Change),
                None => form.at = row,
            },
            Some(_) => {}
            None => {
                let before = (self.batch, self.job, self.rows, self.results.value.at, self.moved);
                self.moved = true;
                self.step(|_, last| row.min(last));
                let same = (self.batch, self.job, self.rows, self.results.value.at)
                    == (before.0, before.1, before.2, before.3);
                let opens = matches!(self.view, View::Batches | View::Batch | View::Failures | View::Results);
                if same && opens && before.4 {
                    return self.do_it(Action::Open);
                }
            }
        }
        None
    }
}
