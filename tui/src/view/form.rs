//! The form of a new batch as it is seen, with the list of files and the preview that may lie over it.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::text::Line;
use ratatui::widgets::{Clear, Paragraph};
use spindle_shared::job::PathBytes;
use spindle_shared::wire::response::PlannedJob;

use super::Hits;
use super::figures::{UNKNOWN, bytes, span};
use super::style::{clipped, clipped_middle, shown, wrapped};
use super::table::{self, Column, Kind, Rows, first_row};
use crate::form::{FieldKind, Files, Form};
use crate::model::Model;

pub fn draw(frame: &mut Frame<'_>, area: Rect, form: &Form, model: &Model, hits: &mut Hits) {
    hits.clear();
    frame.render_widget(Clear, area);
    if let Some(files) = &form.files {
        return draw_files(frame, area, files, model, hits);
    }
    if let Some(plan) = &form.plan {
        return draw_plan(frame, area, plan.jobs.as_ref(), plan.scroll, model);
    }
    let look = model.look;
    let help_rows = if area.height < 12 { 0 } else { 4 };
    let line_rows = u16::from(form.line.is_some());
    let [list, line, help] =
        Layout::vertical([Constraint::Fill(1), Constraint::Length(line_rows), Constraint::Length(help_rows)])
            .areas(area);
    let rows = super::rows(list);
    let first = first_row(Some(form.at), rows, form.fields.len());
    let seen: Vec<_> = form.fields.iter().skip(first).take(usize::from(rows)).collect();
    let name = |kind: FieldKind, name: &str| match kind {
        FieldKind::Recipe => look.t("recipe").to_owned(),
        FieldKind::Inputs => look.t("inputs").to_owned(),
        _ => name.to_owned(),
    };
    let value_cells = if area.width < 120 { 30 } else { 60 };
    let set = |set: bool| if set { look.strong() } else { look.faint() };
    let columns = vec![
        Column::new("", 0, 20, seen.iter().map(|field| (name(field.kind, &field.name), Style::new())).collect()),
        Column::new(
            "value",
            0,
            20,
            seen.iter()
                .map(|field| {
                    let always = matches!(field.kind, FieldKind::Recipe | FieldKind::Inputs);
                    if field.kind == FieldKind::Inputs && form.inputs.is_empty() {
                        return (look.t("none yet: Enter").to_owned(), look.held());
                    }
                    let text = shown(&form.shown(field));
                    (clipped_middle(&text, value_cells), set(always || field.value.is_some()))
                })
                .collect(),
        ),
        Column::new("", 1, 20, seen.iter().map(|field| (shown(first_line(&field.help)), look.faint())).collect())
            .fills(Kind::Text),
    ];
    let title = look.t("new batch: set what you need, v shows what would be done, S submits");
    let block = super::panel(title, true, list, model);
    let rows = Rows { first, chosen: Some(form.at.saturating_sub(first)), heads: false, focused: true };
    table::draw(frame, list, columns, &rows, block, look, hits);
    if let (Some(text), Some(field)) = (&form.line, form.chosen()) {
        super::write_line(frame, line, &format!("{} {text}", field.name), look);
    }
    if let Some(field) = form.chosen().filter(|_| help_rows > 0) {
        let mut text = shown(&field.help.replace('\n', " "));
        if !field.choices.is_empty() {
            text = format!("{text} ({})", field.choices.join(", "));
        }
        if !field.default.is_empty() {
            text = format!("{text} {}", look.fill("[default: {}]", &[&field.default]));
        }
        let cells = help.width.saturating_sub(2);
        let lines = wrapped(&text, cells, usize::from(help_rows) - 1).into_iter();
        let lines: Vec<_> = lines.map(|line| Line::from(format!(" {line}"))).collect();
        let title = name(field.kind, &field.name);
        frame.render_widget(Paragraph::new(lines).block(super::panel(&title, false, help, model)), help);
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

fn draw_files(frame: &mut Frame<'_>, area: Rect, files: &Files, model: &Model, hits: &mut Hits) {
    let look = model.look;
    let folder = PathBytes::from(files.folder.as_path()).to_string();
    let marked = look.fill("{} marked", &[&files.marked.len()]);
    let room = area.width.saturating_sub(super::width(&marked) as u16 + 12);
    let title = format!("{} · {marked}", clipped_middle(&folder, room));
    let block = super::panel(&title, true, area, model);
    let entries = match &files.entries {
        None => Err("…"),
        Some(Err(why)) => Err(why.as_str()),
        Some(Ok(entries)) => Ok(entries),
    };
    let entries = match entries {
        Ok(entries) => entries,
        Err(text) => {
            frame.render_widget(Paragraph::new(format!(" {}", shown(text))).block(block), area);
            return;
        }
    };
    let rows = super::rows(area);
    let first = first_row(Some(files.at), rows, entries.len());
    let seen: Vec<_> = entries.iter().enumerate().skip(first).take(usize::from(rows)).collect();
    let columns = vec![
        Column::new(
            "",
            0,
            1,
            seen.iter()
                .map(|(at, _)| {
                    let marked = files.path(*at).is_some_and(|path| files.marked.contains(&path));
                    (if marked { "■" } else { "" }.to_owned(), look.held())
                })
                .collect(),
        ),
        Column::new(
            "name",
            0,
            20,
            seen.iter()
                .map(|(at, entry)| {
                    let name = shown(&entry.name.to_string_lossy());
                    if files.is_here(*at) {
                        return (look.t("./ (this folder, with all below it)").to_owned(), look.busy());
                    }
                    if entry.folder { (format!("{name}/"), look.busy()) } else { (name, Style::new()) }
                })
                .collect(),
        )
        .fills(Kind::FileName),
        Column::new(
            "size",
            1,
            8,
            seen.iter()
                .map(|(_, entry)| (if entry.folder { String::new() } else { bytes(entry.bytes as f64) }, look.faint()))
                .collect(),
        )
        .right(),
    ];
    let rows = Rows { first, chosen: Some(files.at.saturating_sub(first)), heads: area.height > 3, focused: true };
    table::draw(frame, area, columns, &rows, block, look, hits);
}

/// What would be done.
fn draw_plan(
    frame: &mut Frame<'_>,
    area: Rect,
    jobs: Option<&Result<Vec<PlannedJob>, String>>,
    scroll: usize,
    model: &Model,
) {
    let look = model.look;
    let jobs = match jobs {
        None => return super::cover::text_page(frame, area, look.t("preview"), "…", 0, model),
        Some(Err(why)) => return super::cover::text_page(frame, area, look.t("preview"), why, 0, model),
        Some(Ok(jobs)) => jobs,
    };
    let inputs: Vec<&PlannedJob> = jobs.iter().filter(|job| job.index > 0).collect();
    let skipped = inputs.iter().filter(|job| job.skipped_reason.is_some()).count();
    let title = look.fill("preview · {} inputs, {} skipped; nothing is submitted yet", &[&inputs.len(), &skipped]);
    let rows = super::rows(area);
    let first = scroll.min(inputs.len().saturating_sub(usize::from(rows)));
    let seen: Vec<_> = inputs.into_iter().skip(first).take(usize::from(rows)).collect();
    let becomes = |job: &PlannedJob| match &job.skipped_reason {
        Some(reason) => (look.fill("skipped: {}", &[&shown(reason)]), look.held()),
        None => {
            let name = |path: &PathBytes| path.as_path().file_name().map(|name| shown(&name.to_string_lossy()));
            (job.outputs.iter().filter_map(name).collect::<Vec<_>>().join(" "), Style::new())
        }
    };
    let about = |job: &PlannedJob| job.estimated_seconds.map_or(UNKNOWN.to_owned(), span);
    let columns = vec![
        Column::new("", 0, 4, seen.iter().map(|job| (job.index.to_string(), look.faint())).collect()).right(),
        Column::new(
            "input",
            0,
            30,
            seen.iter().map(|job| (clipped_middle(&shown(&job.input.to_string()), 40), Style::new())).collect(),
        ),
        Column::new("about", 1, 8, seen.iter().map(|job| (about(job), Style::new())).collect()).right(),
        Column::new("becomes", 0, 20, seen.iter().map(|job| becomes(job)).collect()).fills(Kind::Text),
    ];
    let block = super::panel(&clipped(&title, area.width.saturating_sub(4)), true, area, model);
    let rows = Rows { first, chosen: None, heads: area.height > 3, focused: true };
    table::draw(frame, area, columns, &rows, block, look, &mut Hits::new());
}
