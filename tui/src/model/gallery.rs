//! Pictures and texts of results: which of them are wanted now. Opens no file itself.

use ratatui::layout::Rect;
use spindle_shared::job::PathBytes;

use super::{Cover, Model, View};
use crate::errand::{Errand, PictureKey};
use crate::results::{self, Grid, Results};

impl Model {
    /// Pictures that are in sight and not here yet.
    pub(super) fn want_pictures(&mut self) {
        if self.view != View::Results || self.size.0 == 0 {
            return;
        }
        let body = self.body();
        let mut texts: Vec<PathBytes> = Vec::new();
        let keys: Vec<PictureKey> = match &self.cover {
            Some(Cover::Zoom { .. }) => self.zoomed(body).into_iter().collect(),
            None => {
                let area = crate::view::grid_area(body);
                let grid = Grid::of(area);
                let (width, height) = grid.picture();
                let shown = self.results.value.shown();
                let first = grid.first(self.results.value.at);
                let seen = shown.into_iter().skip(first).take(grid.columns * grid.rows);
                let is_text = |item: &&results::Item| item.look == results::Look::Text;
                texts = seen.clone().filter(is_text).map(|item| item.path.clone()).collect();
                seen.filter(|item| item.look == results::Look::Picture)
                    .map(|item| PictureKey { path: item.path.clone(), width, height })
                    .collect()
            }
            Some(_) => Vec::new(),
        };
        while let Some(key) = self.results.value.album.want(keys.iter().cloned()) {
            self.errands.push(Errand::Picture(key));
        }
        while let Some(path) = self.results.value.want_beginning(texts.iter().cloned()) {
            self.errands.push(Errand::Text(path));
        }
    }

    /// The chosen picture as large as there is room.
    pub fn zoomed(&self, body: Rect) -> Option<PictureKey> {
        let item = self.results.value.chosen().filter(|item| item.look == results::Look::Picture)?;
        let (width, height) = (body.width.saturating_sub(4), body.height.saturating_sub(3));
        (width > 0 && height > 0).then(|| PictureKey { path: item.path.clone(), width, height })
    }

    pub(super) fn want_text(&mut self) {
        let Results { text, .. } = &self.results.value;
        let wanted = self.results.value.chosen().filter(|item| item.look == results::Look::Text);
        if let Some(item) = wanted.filter(|item| text.as_ref().is_none_or(|(path, _)| *path != item.path)) {
            self.errands.push(Errand::Text(item.path.clone()));
        }
    }

    /// In the grid of results one row is many items.
    pub(super) fn step_rows(&mut self, by: isize) {
        let columns = Grid::of(crate::view::grid_area(self.body())).columns;
        self.step(move |at, last| {
            if by > 0 && at + columns <= last {
                at + columns
            } else if by < 0 && at >= columns {
                at - columns
            } else {
                at
            }
        });
    }
}
