//! The results of a batch: a card for each file, pictures as pictures; and one of them in full.

use ratatui::Frame;
use ratatui::layout::{Rect, Size};
use ratatui::text::Line;
use ratatui::widgets::{Clear, Paragraph, Widget};
use ratatui_image::Image;

use super::Hits;
use super::figures::bytes;
use super::style::{clipped, clipped_middle, shown, wrapped};
use crate::errand::PictureKey;
use crate::model::{Hit, Model};
use crate::results::{Grid, Item, Look as Kind, QUALITIES, Seen};

pub fn draw(frame: &mut Frame<'_>, body: Rect, model: &Model, hits: &mut Hits) {
    let look = model.look;
    let results = &model.results.value;
    let shown_items = results.shown();
    let Some(batch) = model.chosen_batch() else {
        let block = super::panel(look.t("results"), true, body, model);
        frame.render_widget(Paragraph::new(format!(" {}", look.t("no batch is chosen"))).block(block), body);
        return;
    };
    let mut title = look.fill("results of {} · {} files", &[&batch.id, &results.items.len()]);
    if let Some(least) = QUALITIES[results.quality] {
        title = look.fill("{} · {} of quality {} or more", &[&title, &shown_items.len(), &least]);
    }
    if !results.marked.is_empty() {
        title = format!("{title} · {}", look.fill("{} marked", &[&results.marked.len()]));
    }
    let block = super::panel(&title, true, body, model);
    if shown_items.is_empty() {
        let text = match (model.results.at, results.items.is_empty()) {
            (None, _) if model.is_stale() => "",
            (None, _) => "…",
            (_, true) => look.t("nothing is made yet; [ and ] go to other batches"),
            (_, false) => look.t("no picture is as good as that; f changes it"),
        };
        frame.render_widget(Paragraph::new(format!(" {text}")).block(block), body);
        return;
    }
    frame.render_widget(block, body);
    let area = super::grid_area(body);
    let grid = Grid::of(area);
    let first = grid.first(results.at);
    let (width, height) = grid.picture();
    for (nth, item) in shown_items.iter().enumerate().skip(first).take(grid.columns * grid.rows) {
        let card = grid.card(area, nth - first);
        hits.push((card, Hit::Row(nth)));
        let place = Rect::new(card.x + 1, card.y, width, height).intersection(card);
        match item.look {
            Kind::Picture => picture(frame, place, &PictureKey { path: item.path.clone(), width, height }, model),
            Kind::Text if place.height > 0 => beginning(frame, place, item, model),
            Kind::Text | Kind::Nothing => {
                let text = format!("[{}]", shown(&item.kind));
                let y = place.y + place.height / 2;
                let line = Line::styled(clipped(&text, place.width), look.faint()).centered();
                frame.render_widget(line, Rect { y, height: 1.min(place.height), ..place });
            }
        }
        caption(frame, card, item, nth == results.at, model);
    }
}

/// How a text begins.
fn beginning(frame: &mut Frame<'_>, place: Rect, item: &Item, model: &Model) {
    let look = model.look;
    let text = match model.results.value.beginnings.get(&item.path) {
        Some(Some(text)) if text.trim().is_empty() => look.t("(empty)"),
        Some(Some(text)) => text,
        _ => "…",
    };
    let lines = text.lines().map(str::trim_end).filter(|line| !line.is_empty());
    let lines = lines.flat_map(|line| wrapped(&shown(line), place.width, usize::from(place.height)));
    let lines: Vec<_> = lines.take(usize::from(place.height)).map(|line| Line::styled(line, look.faint())).collect();
    frame.render_widget(Paragraph::new(lines), place);
}

fn caption(frame: &mut Frame<'_>, card: Rect, item: &Item, chosen: bool, model: &Model) {
    let look = model.look;
    let marked = model.results.value.marked.contains(&item.path);
    let mark = format!("{}{}", if chosen { '›' } else { ' ' }, if marked { "■ " } else { "" });
    let name = item.path.as_path().file_name().map(|name| shown(&name.to_string_lossy())).unwrap_or_default();
    let room = card.width.saturating_sub(super::width(&mark) as u16 + 1);
    let name = format!("{mark}{}", clipped_middle(&name, room));
    let quality = item.quality.map(|score| format!(" · {}", look.fill("quality {}", &[&(score.round() as i64)])));
    let figures = format!(" {}{}", bytes(item.bytes as f64), quality.unwrap_or_default());
    let style = if chosen { look.chosen(true) } else { look.plain() };
    let y = card.bottom().saturating_sub(2).max(card.y);
    let line = |nth: u16| Rect::new(card.x, y + nth, card.width.saturating_sub(1), 1).intersection(card);
    frame.render_widget(Line::styled(name, style), line(0));
    frame.render_widget(Line::styled(clipped(&figures, card.width.saturating_sub(1)), look.faint()), line(1));
}

/// A picture in the middle of its place, or why there is none.
fn picture(frame: &mut Frame<'_>, place: Rect, key: &PictureKey, model: &Model) {
    let look = model.look;
    match model.results.value.album.get(key) {
        Some(Seen::Here(picture)) if !look.ascii => {
            let Size { width, height } = picture.0.size();
            let (width, height) = (width.min(place.width), height.min(place.height));
            let x = place.x + (place.width - width) / 2;
            let y = place.y + (place.height - height) / 2;
            Image::new(&picture.0).render(Rect::new(x, y, width, height), frame.buffer_mut());
        }
        seen => {
            let text = match seen {
                Some(Seen::Not(why)) => shown(why),
                Some(Seen::Here(_)) => look.t("pictures need more than ASCII").to_owned(),
                _ => "…".to_owned(),
            };
            let lines = wrapped(&text, place.width.max(1), usize::from(place.height));
            let lines: Vec<_> = lines.into_iter().map(|line| Line::styled(line, look.faint())).collect();
            frame.render_widget(Paragraph::new(lines), place);
        }
    }
}

/// The chosen result in full.
pub fn zoom(frame: &mut Frame<'_>, area: Rect, model: &Model, scroll: u16) {
    let look = model.look;
    let results = &model.results.value;
    let Some(item) = results.chosen() else { return };
    let quality = item.quality.map(|score| format!(" · {}", look.fill("quality {}", &[&(score.round() as i64)])));
    let title =
        format!("{} · {}{}", shown(&item.path.to_string()), bytes(item.bytes as f64), quality.unwrap_or_default());
    match item.look {
        Kind::Picture => {
            frame.render_widget(Clear, area);
            let block = super::panel(&clipped_middle(&title, area.width.saturating_sub(6)), true, area, model);
            frame.render_widget(block, area);
            if let Some(key) = model.zoomed(area) {
                let place = Rect::new(area.x + 2, area.y + 2, key.width, key.height).intersection(area);
                picture(frame, place, &key, model);
            }
        }
        Kind::Text => {
            let text = match &results.text {
                Some((path, Ok(text))) if *path == item.path && text.trim().is_empty() => look.t("(empty)").to_owned(),
                Some((path, text)) if *path == item.path => text.clone().unwrap_or_else(|why| why),
                _ => "…".to_owned(),
            };
            super::cover::text_page(frame, area, &title, &text, scroll, model);
        }
        Kind::Nothing => {
            let text = look.fill("{} is no picture and no text; it is at\n{}", &[&item.kind, &item.path]);
            super::cover::text_page(frame, area, &title, &text, scroll, model);
        }
    }
}
