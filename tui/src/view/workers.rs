//! Workers and lanes: which processes there are, what each does now and how much memory it holds; what is scarce and how much is in use.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::widgets::Paragraph;
use spindle_shared::job::JobView;
use spindle_shared::wire::response::WorkerView;

use super::Hits;
use super::figures::{bytes, percent};
use super::style::{clipped, shown};
use super::table::{self, Column, Kind, Rows, first_row};
use crate::model::{Model, View, file_name};

pub fn draw(frame: &mut Frame<'_>, body: Rect, model: &Model, hits: &mut Hits) {
    let look = model.look;
    let workers = &model.workers.value;
    let needed = u16::try_from(workers.len()).unwrap_or(u16::MAX).saturating_add(3).max(4);
    let lanes = model.house.as_ref().map_or(1, |house| house.lanes.len() + 1 + 2 * house.closed.len());
    let lanes = u16::try_from(lanes).unwrap_or(4).saturating_add(3).min(body.height / 2);
    let upper = needed.min(body.height.saturating_sub(lanes));
    let [list, lower] = Layout::vertical([Constraint::Length(upper), Constraint::Fill(1)]).areas(body);
    let title = format!("{} · {}", look.t("workers"), workers.len());
    let block = super::panel(&title, true, list, model);
    if workers.is_empty() {
        let text = if model.is_stale() { "" } else { look.t("no worker runs; they start with the first work") };
        frame.render_widget(Paragraph::new(format!(" {text}")).block(block), list);
    } else {
        let at = model.rows[View::Workers as usize].min(workers.len() - 1);
        let rows = super::rows(list);
        let first = first_row(Some(at), rows, workers.len());
        let seen: Vec<_> = workers.iter().skip(first).take(usize::from(rows)).collect();
        let plain = |text: &dyn Fn(&WorkerView) -> String| {
            seen.iter().map(|worker| (text(worker), Style::new())).collect::<Vec<_>>()
        };
        let doing = seen.iter().map(|worker| (doing(worker, model), look.busy())).collect();
        let mut columns = vec![
            Column::new("worker", 0, 9, plain(&|worker| shown(&worker.id))),
            Column::new("role", 4, 7, plain(&|worker| shown(&worker.role))),
            Column::new("process", 5, 8, plain(&|worker| worker.pid.to_string())).right(),
            Column::new("runs", 1, 4, plain(&|worker| worker.runs.len().to_string())).right(),
            Column::new("done", 3, 6, plain(&|worker| worker.runs_done.to_string())).right(),
            Column::new("memory", 0, 8, plain(&|worker| bytes(worker.resident_bytes as f64))).right(),
            Column::new("model", 2, 10, plain(&model_name)),
            Column::new("doing", 0, 24, doing).fills(Kind::Text),
        ];
        if workers.iter().any(|worker| worker.device.is_some()) {
            let devices = plain(&|worker| worker.device.as_deref().map(shown).unwrap_or_default());
            columns.insert(6, Column::new("device", 3, 7, devices));
        }
        let rows = Rows { first, chosen: Some(at - first), heads: list.height > 3, focused: true };
        table::draw(frame, list, columns, &rows, block, look, hits);
    }
    lane_table(frame, lower, model);
}

/// A model given by its path is called as its file is.
fn model_name(worker: &WorkerView) -> String {
    let name = worker.model.as_deref().unwrap_or_default();
    shown(name.rsplit('/').next().unwrap_or(name))
}

/// The jobs that it works on; several may share one worker.
fn doing(worker: &WorkerView, model: &Model) -> String {
    let mine = |job: &&JobView| job.worker.as_deref() == Some(&worker.id);
    let jobs: Vec<String> = model
        .at_work
        .value
        .values()
        .flatten()
        .filter(mine)
        .map(|job| format!("{} {} {} {}", job.id, shown(&job.stage), percent(job.progress), shown(&file_name(job))))
        .collect();
    if jobs.is_empty() && worker.runs.is_empty() { model.look.t("idle").to_owned() } else { jobs.join(" · ") }
}

fn lane_table(frame: &mut Frame<'_>, area: Rect, model: &Model) {
    let look = model.look;
    let block = super::panel(look.t("lanes"), false, area, model);
    let Some(house) = &model.house else {
        frame.render_widget(block, area);
        return;
    };
    let mut names: Vec<(String, Style)> = house.lanes.iter().map(|(name, ..)| (shown(name), Style::new())).collect();
    let mut uses: Vec<(String, Style)> =
        house.lanes.iter().map(|(_, used, slots)| (format!("{used}/{slots}"), Style::new())).collect();
    let share = |used: u32, all: u32| used as f32 / all.max(1) as f32;
    let bar = |share: f32| (super::figures::bar(share, 20), look.busy());
    let mut bars: Vec<(String, Style)> = house.lanes.iter().map(|(_, used, slots)| bar(share(*used, *slots))).collect();
    let mib = |mib: u32| bytes(f64::from(mib) * 1_048_576.0);
    let (used, limit) = house.memory_mib;
    names.push((look.t("memory").to_owned(), Style::new()));
    uses.push((look.fill("{} of {} expected", &[&mib(used), &mib(limit)]), Style::new()));
    bars.push(bar(share(used, limit)));
    let mut waits: Vec<(String, Style)> = names.iter().map(|_| (String::new(), Style::new())).collect();
    for closed in &house.closed {
        names.push((shown(&closed.what), look.held()));
        uses.push((look.fill("{} jobs wait", &[&closed.parked]), look.held()));
        bars.push((String::new(), Style::new()));
        let text = format!("{} → {}", shown(&closed.why), shown(&closed.advice));
        waits.push((clipped(&text, area.width), Style::new()));
    }
    let columns = vec![
        Column::new("lane", 0, 8, names),
        Column::new("", 2, 20, bars),
        Column::new("in use", 0, 22, uses),
        Column::new("", 1, 10, waits).fills(Kind::Text),
    ];
    let rows = Rows { first: 0, chosen: None, heads: area.height > 3, focused: false };
    table::draw(frame, area, columns, &rows, block, look, &mut Hits::new());
}
