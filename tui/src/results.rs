//! What a batch has made: its files one by one, and which of them can be looked at. Knows no daemon and no screen.

use std::collections::{BTreeSet, HashMap};

use ratatui::layout::Rect;
use spindle_shared::id::JobId;
use spindle_shared::job::{Figure, JobView, PathBytes};

use crate::errand::{Picture, PictureKey};

#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    pub job: JobId,
    pub path: PathBytes,
    pub kind: String,
    pub bytes: u64,
    /// 0–100, where it was measured.
    pub quality: Option<f64>,
    pub look: Look,
}

/// How a file can be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    Picture,
    Text,
    Nothing,
}

/// Kinds whose content is a picture that can be decoded here.
const PICTURES: [&str; 17] = [
    "bmp", "contact", "gif", "hdr", "ico", "jfif", "jpe", "jpeg", "jpg", "pbm", "pgm", "png", "pnm", "ppm", "sheet",
    "tiff", "webp",
];
const TEXTS: [&str; 14] =
    ["ass", "csv", "htm", "html", "json", "jsonl", "lrc", "md", "srt", "ssa", "tsv", "txt", "vtt", "xml"];

pub fn items(jobs: &[JobView]) -> Vec<Item> {
    let of_job = |job: &JobView| {
        let quality = job.detail.figures.iter().find_map(|(name, figure)| match figure {
            Figure::Number(score) if name == "quality" => Some(*score),
            _ => None,
        });
        let item = |output: &spindle_shared::job::Output| Item {
            job: job.id,
            path: output.path.clone(),
            kind: output.kind.clone(),
            bytes: output.bytes,
            quality,
            look: look(&output.path, &output.kind),
        };
        job.outputs.iter().map(item).collect::<Vec<_>>()
    };
    jobs.iter().flat_map(of_job).collect()
}

fn look(path: &PathBytes, kind: &str) -> Look {
    let extension = path.as_path().extension().map(|extension| extension.to_string_lossy().to_lowercase());
    let names = |known: &[&str]| extension.as_deref().is_some_and(|extension| known.contains(&extension));
    if names(&PICTURES) || PICTURES.contains(&kind) {
        Look::Picture
    } else if names(&TEXTS) || TEXTS.contains(&kind) {
        Look::Text
    } else {
        Look::Nothing
    }
}

/// How well a picture must be measured to be shown; what has no score is shown by the first only.
pub const QUALITIES: [Option<f64>; 5] = [None, Some(30.0), Some(50.0), Some(70.0), Some(85.0)];

#[derive(Debug)]
pub enum Seen {
    Wanted,
    Here(Picture),
    Not(String),
}

/// Looked-at pictures that are kept; the oldest go first.
const PICTURES_MAX: usize = 128;
/// Asked for and not here yet; more wait their turn.
const WANTED_MAX: usize = 2;

/// Pictures that have been asked for.
#[derive(Debug, Default)]
pub struct Album {
    seen: HashMap<PictureKey, (u64, Seen)>,
    turn: u64,
}

impl Album {
    /// What is known of this picture.
    pub fn get(&self, key: &PictureKey) -> Option<&Seen> {
        self.seen.get(key).map(|(_, seen)| seen)
    }

    pub fn put(&mut self, key: PictureKey, picture: Result<Picture, String>) {
        self.turn += 1;
        let seen = picture.map_or_else(Seen::Not, Seen::Here);
        self.seen.insert(key, (self.turn, seen));
        while self.seen.len() > PICTURES_MAX {
            let Some(oldest) = self.seen.iter().min_by_key(|(_, (turn, _))| *turn).map(|(key, _)| key.clone()) else {
                return;
            };
            self.seen.remove(&oldest);
        }
    }

    /// Which of these is to be asked for now, if any.
    pub fn want(&mut self, keys: impl IntoIterator<Item = PictureKey>) -> Option<PictureKey> {
        let waiting = self.seen.values().filter(|(_, seen)| matches!(seen, Seen::Wanted)).count();
        if waiting >= WANTED_MAX {
            return None;
        }
        let key = keys.into_iter().find(|key| !self.seen.contains_key(key))?;
        self.turn += 1;
        self.seen.insert(key.clone(), (self.turn, Seen::Wanted));
        Some(key)
    }
}

#[derive(Debug, Default)]
pub struct Results {
    pub items: Vec<Item>,
    pub at: usize,
    pub marked: BTreeSet<PathBytes>,
    /// Which of [`QUALITIES`].
    pub quality: usize,
    pub album: Album,
    /// The text that was looked at last.
    pub text: Option<(PathBytes, Result<String, String>)>,
    /// How texts begin, for their cards; `None` = on its way.
    pub beginnings: HashMap<PathBytes, Option<String>>,
}

/// Of a text a card shows no more than this many letters.
const BEGINNING_MAX: usize = 1_200;
/// Beginnings that are kept; beyond it all are read anew.
const BEGINNINGS_MAX: usize = 512;

impl Results {
    /// What fits the wanted quality.
    pub fn shown(&self) -> Vec<&Item> {
        let least = QUALITIES[self.quality];
        let fits = |item: &&Item| least.is_none_or(|least| item.quality.is_some_and(|quality| quality >= least));
        self.items.iter().filter(fits).collect()
    }

    /// A text has come.
    pub fn read(&mut self, path: PathBytes, text: Result<String, String>) {
        let beginning = text.as_ref().map_or_else(Clone::clone, |text| text.chars().take(BEGINNING_MAX).collect());
        self.beginnings.insert(path.clone(), Some(beginning));
        if self.chosen().is_some_and(|item| item.path == path) {
            self.text = Some((path, text));
        }
    }

    /// Which of these texts is to be read now, if any.
    pub fn want_beginning(&mut self, paths: impl IntoIterator<Item = PathBytes>) -> Option<PathBytes> {
        if self.beginnings.values().filter(|known| known.is_none()).count() >= WANTED_MAX {
            return None;
        }
        let path = paths.into_iter().find(|path| !self.beginnings.contains_key(path))?;
        if self.beginnings.len() >= BEGINNINGS_MAX {
            self.beginnings.clear();
        }
        self.beginnings.insert(path.clone(), None);
        Some(path)
    }

    pub fn chosen(&self) -> Option<&Item> {
        self.shown().get(self.at).copied()
    }
}

/// Where the cards stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grid {
    pub columns: usize,
    pub rows: usize,
    pub width: u16,
    pub height: u16,
}

/// Cells under a card's picture for its name and figures.
pub const CAPTION: u16 = 2;

impl Grid {
    pub fn of(area: Rect) -> Grid {
        let least = if area.width >= 200 { 34 } else { 24 };
        let columns = (area.width / least).max(1);
        let width = area.width / columns;
        // Cells are twice as high as wide; pictures mostly 4:3.
        let wanted = width.saturating_sub(2) * 3 / 8 + CAPTION + 1;
        let rows = ((area.height + wanted / 2) / wanted.max(1)).max(1);
        let height = if area.height < wanted { area.height } else { area.height / rows };
        Grid { columns: usize::from(columns), rows: usize::from(rows), width, height }
    }

    /// The first item to show so that this one is seen.
    pub fn first(&self, at: usize) -> usize {
        at / self.columns / self.rows * self.rows * self.columns
    }

    pub fn card(&self, area: Rect, nth: usize) -> Rect {
        let (row, column) = ((nth / self.columns) as u16, (nth % self.columns) as u16);
        let card = Rect::new(area.x + column * self.width, area.y + row * self.height, self.width, self.height);
        card.intersection(area)
    }

    /// The picture's place in a card.
    pub fn picture(&self) -> (u16, u16) {
        (self.width.saturating_sub(2), self.height.saturating_sub(CAPTION + 1))
    }
}

#[cfg(test)]
mod tests {
    use spindle_shared::job::{JobState, Output};

    use super::*;
    use crate::model::tests::job;

    fn made(index: u32, names: &[&str], quality: Option<f64>) -> JobView {
        let mut job = job(12, index, JobState::Completed, "x.jpg");
        let output = |name: &&str| Output {
            path: PathBytes(format!("/out/{name}").into_bytes()),
            kind: name.rsplit('.').next().unwrap_or_default().to_owned(),
            bytes: 1,
        };
        job.outputs = names.iter().map(output).collect();
        job.detail.figures = quality.into_iter().map(|score| ("quality".to_owned(), Figure::Number(score))).collect();
        job
    }

    #[test]
    fn files_are_looked_at_as_what_they_are_and_sifted_by_quality() {
        let jobs = [made(1, &["a.JPG", "a.srt", "a.mp4"], None), made(2, &["b.png"], Some(55.0))];
        let mut results = Results { items: items(&jobs), ..Results::default() };
        let looks: Vec<_> = results.items.iter().map(|item| item.look).collect();
        assert_eq!(looks, [Look::Picture, Look::Text, Look::Nothing, Look::Picture]);
        results.quality = 2;
        assert_eq!(results.shown().len(), 1);
        results.quality = 3;
        assert!(results.shown().is_empty());
    }

    #[test]
    fn pictures_are_asked_for_a_few_at_a_time_and_the_oldest_forgotten() {
        let key = |nth: usize| PictureKey { path: PathBytes(vec![b'a', nth as u8]), width: 1, height: 1 };
        let mut album = Album::default();
        for nth in 0..WANTED_MAX {
            assert_eq!(album.want([key(nth)]), Some(key(nth)));
        }
        assert_eq!(album.want([key(9)]), None, "enough are under way");
        for nth in 0..200 {
            album.put(key(nth), Err("x".to_owned()));
        }
        assert_eq!(album.seen.len(), PICTURES_MAX);
        assert!(album.get(&key(0)).is_none() && album.get(&key(199)).is_some());
    }

    #[test]
    fn cards_stay_inside() {
        for (width, height) in [(80, 18), (120, 30), (250, 60), (10, 3), (1, 1)] {
            let area = Rect::new(0, 0, width, height);
            let grid = Grid::of(area);
            for nth in 0..grid.columns * grid.rows {
                let card = grid.card(area, nth);
                assert!(area.contains(card.as_position()) && card.right() <= width && card.bottom() <= height);
            }
            for at in 0..100 {
                let first = grid.first(at);
                assert!(first <= at && at < first + grid.columns * grid.rows);
            }
        }
    }
}
