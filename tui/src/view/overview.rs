//! The overview: how fast it goes and how long it will take, what each worker does now, the machine, what needs a person, what ended.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;
use spindle_shared::batch::{BatchView, Counts};
use spindle_shared::job::{JobState, JobView};

use super::Hits;
use super::figures::{UNKNOWN, bar, bytes, eta, per_minute, percent, real_time, span, sparkline};
use super::style::{clipped, clipped_middle, shown, width};
use super::table::{self, Column, Kind, Rows, first_row};
use crate::model::{Link, Model, View, file_name};

pub fn draw(frame: &mut Frame<'_>, body: Rect, model: &Model, hits: &mut Hits) {
    if body.height < 10 {
        return at_work(frame, body, model, hits);
    }
    let half = body.width.saturating_sub(2) / 2;
    let lanes = lane_lines(model, half);
    let machine = machine_lines(model, half);
    let middle = u16::try_from(lanes.len().max(machine.len())).unwrap_or(4) + 1;
    let wide = body.width >= WIDE;
    let (pace_rows, middle_rows) = (6, middle.min(body.height / 3));
    let lanes = as_many(lanes, usize::from(middle_rows.saturating_sub(1)), model);
    let rest = body.height.saturating_sub(pace_rows + middle_rows);
    let [pace, halves, lower] =
        Layout::vertical([Constraint::Length(pace_rows), Constraint::Length(middle_rows), Constraint::Length(rest)])
            .areas(body);
    pace_panel(frame, pace, model);
    let [left, right] = Layout::horizontal([Constraint::Fill(1), Constraint::Fill(1)]).spacing(2).areas(halves);
    lines_panel(frame, left, model.look.t("lanes"), lanes, model);
    lines_panel(frame, right, model.look.t("machine"), machine, model);
    if wide {
        let [left, right] = Layout::horizontal([Constraint::Fill(3), Constraint::Fill(2)]).spacing(2).areas(lower);
        work_and_batches(frame, left, model, hits);
        let alerts = alert_lines(model, right.width);
        let needed = u16::try_from(alerts.len()).unwrap_or(u16::MAX).saturating_add(1).min(right.height / 2);
        let [upper, lower] = Layout::vertical([Constraint::Length(needed), Constraint::Fill(1)]).areas(right);
        lines_panel(frame, upper, model.look.t("alerts"), alerts, model);
        ends(frame, lower, model);
    } else {
        let alerts = alert_lines(model, lower.width);
        let alarmed = is_alarmed(model);
        let lines = |count: usize| u16::try_from(count).unwrap_or(u16::MAX).saturating_add(1);
        let alert = if alarmed { lines(alerts.len()).min((lower.height / 4).max(2)) } else { 0 };
        let ended = lines(ended(model).len()).clamp(2, ((lower.height - alert) / 3).max(3));
        let [upper, middle, under] =
            Layout::vertical([Constraint::Fill(1), Constraint::Length(alert), Constraint::Length(ended)]).areas(lower);
        work_and_batches(frame, upper, model, hits);
        if alarmed {
            lines_panel(frame, middle, model.look.t("alerts"), alerts, model);
        }
        ends(frame, under, model);
    }
}

/// What is at work takes what it needs; where more room is left, the open batches are seen too.
fn work_and_batches(frame: &mut Frame<'_>, area: Rect, model: &Model, hits: &mut Hits) {
    let jobs = model.jobs_at_work().len().max(1);
    let needed = u16::try_from(jobs).unwrap_or(u16::MAX).saturating_add(3);
    let open = super::batches::open(model);
    if open.is_empty() || area.height < needed.min(area.height / 2 + 2) + 5 {
        return at_work(frame, area, model, hits);
    }
    let upper = needed.min(area.height / 2 + 2);
    let [upper, lower] = Layout::vertical([Constraint::Length(upper), Constraint::Fill(1)]).areas(area);
    at_work(frame, upper, model, hits);
    super::batches::draw_open(frame, lower, &open, model);
}

/// Room from which on what is at work and what has ended stand side by side.
const WIDE: u16 = 160;

fn lines_panel(frame: &mut Frame<'_>, area: Rect, title: &str, lines: Vec<Line<'static>>, model: &Model) {
    // A panel of one line under its title is one all the same.
    let block = super::panel(title, false, Rect { height: area.height.max(3), ..area }, model);
    frame.render_widget(Paragraph::new(lines).block(block), area);
}

/// Three figures with their trends, and what is left.
fn pace_panel(frame: &mut Frame<'_>, area: Rect, model: &Model) {
    let look = model.look;
    // What was measured of a daemon that is gone says nothing of now.
    let known = |rate: Option<f64>| rate.filter(|_| !model.is_stale());
    let pace = &model.pace;
    let figure = |name: &'static str, value: String, bars: Vec<f64>, peak: &dyn Fn(f64) -> String| {
        let name = pad(look.t(name), NAME_CELLS);
        let lead = format!(" {name}{}", pad(&value, VALUE_CELLS));
        let top = bars.iter().copied().fold(0.0, f64::max);
        let scale = if bars.len() < 2 { String::new() } else { format!("  {}", look.fill("peak {}", &[&peak(top)])) };
        let room = usize::from(area.width).saturating_sub(width(&lead) + width(&scale) + 1).min(BARS_MAX);
        let bars = if bars.len() < 2 { &[][..] } else { &bars[bars.len().saturating_sub(room)..] };
        Line::from(vec![
            Span::styled(lead, look.plain()),
            Span::styled(sparkline(bars), look.busy()),
            Span::styled(scale, look.faint()),
        ])
    };
    let rate = |bytes_per_minute: Option<f64>| match bytes_per_minute {
        Some(rate) => format!("{}/min", bytes(rate)),
        None => UNKNOWN.to_owned(),
    };
    let left = model.house.as_ref().filter(|_| !model.is_stale()).and_then(|house| house.eta);
    let open: Vec<_> = model.snapshot.batches.values().filter(|batch| !batch.state.is_terminal()).collect();
    let sum = |count: fn(&Counts) -> u32| open.iter().map(|batch| u64::from(count(&batch.counts))).sum::<u64>();
    let all = sum(Counts::total).max(1);
    let done = open.iter().map(|batch| f64::from(batch.progress) * f64::from(batch.counts.total())).sum::<f64>();
    let share = if open.is_empty() { 0.0 } else { (done / all as f64) as f32 };
    let counts = look.fill(
        "{} batches open: {} running, {} waiting, {} failed",
        &[
            &open.len(),
            &sum(|counts| counts.running),
            &sum(|counts| counts.pending + counts.retrying),
            &sum(|counts| counts.failed),
        ],
    );
    let remaining = if open.is_empty() { look.t("nothing is open").to_owned() } else { eta(left) };
    let lines = vec![
        figure(
            "speed",
            look.fill("{} real time", &[&real_time(known(pace.real_time()))]),
            pace.bars(BARS_MAX),
            &|top| real_time(Some(top)),
        ),
        figure("jobs", format!("{}/min", per_minute(known(pace.jobs_per_minute()))), pace.job_bars(BARS_MAX), &|top| {
            format!("{}/min", per_minute(Some(top)))
        }),
        figure("output", rate(known(pace.bytes_per_minute())), pace.byte_bars(BARS_MAX), &|top| rate(Some(top))),
        Line::from(vec![
            Span::raw(format!(" {}{}", pad(look.t("left"), NAME_CELLS), pad(&remaining, VALUE_CELLS))),
            Span::styled(if open.is_empty() { String::new() } else { bar(share, 20) }, look.busy()),
            Span::raw(if open.is_empty() { String::new() } else { format!(" {}", percent(share)) }),
        ]),
        Line::styled(format!(" {}", clipped(&counts, area.width.saturating_sub(1))), look.plain()),
    ];
    let block = super::panel(look.t("throughput"), false, area, model);
    frame.render_widget(Paragraph::new(lines).block(block), area);
}

const NAME_CELLS: usize = 8;
const VALUE_CELLS: usize = 20;
/// Each bar stands for five seconds.
const BARS_MAX: usize = 120;

/// The text and blanks up to so many cells; one blank at least.
fn pad(text: &str, cells: usize) -> String {
    format!("{text}{}", " ".repeat(cells.saturating_sub(width(text)).max(1)))
}

/// Its bar is as long as there is room beside the longest text.
fn gauge(name: &str, share: f32, text: &str, style: Style, cells: u16) -> Line<'static> {
    let lead = format!(" {}", pad(&clipped(name, 24), NAME_CELLS));
    let bar_cells = usize::from(cells).saturating_sub(NAME_CELLS + 1 + GAUGE_TEXT).clamp(GAUGE_CELLS.0, GAUGE_CELLS.1);
    let room = usize::from(cells).saturating_sub(width(&lead) + bar_cells + 2);
    Line::from(vec![
        Span::raw(lead),
        Span::styled(bar(share, bar_cells), style),
        Span::raw(format!("  {}", clipped(text, u16::try_from(room).unwrap_or(u16::MAX)))),
    ])
}

/// At least, and at most.
const GAUGE_CELLS: (usize, usize) = (8, 40);
const GAUGE_TEXT: usize = 28;

/// Of more lines than there is room for, the first, and how many more there are.
fn as_many(mut lines: Vec<Line<'static>>, rows: usize, model: &Model) -> Vec<Line<'static>> {
    if lines.len() > rows && rows > 1 {
        let more = lines.len() - (rows - 1);
        lines.truncate(rows - 1);
        let text = model.look.fill("{} more: 5 shows them all", &[&more]);
        lines.push(Line::styled(format!(" {text}"), model.look.faint()));
    }
    lines
}

fn lane_lines(model: &Model, cells: u16) -> Vec<Line<'static>> {
    let look = model.look;
    let Some(house) = &model.house else { return vec![Line::from(format!(" {UNKNOWN}"))] };
    let mib = |mib: u32| bytes(f64::from(mib) * 1_048_576.0);
    let mut lines: Vec<_> = house
        .lanes
        .iter()
        .map(|(name, used, slots)| {
            let share = *used as f32 / (*slots).max(1) as f32;
            let mut text = format!("{used}/{slots}");
            // A graphics card's memory is as scarce as its slots.
            if let Some(device) = house.devices.iter().find(|device| device.lane == *name) {
                let memory = look.fill("{} of {}", &[&mib(device.used_mib), &mib(device.memory_mib)]);
                text = format!("{text} · {memory} · {}", shown(&device.name));
            }
            gauge(&shown(name), share, &text, look.busy(), cells)
        })
        .collect();
    let (used, limit) = house.memory_mib;
    let text = look.fill("{} of {} expected", &[&mib(used), &mib(limit)]);
    let fits = usize::from(cells) >= NAME_CELLS + GAUGE_CELLS.0 + 3 + width(&text);
    let text = if fits { text } else { look.fill("{} of {}", &[&mib(used), &mib(limit)]) };
    lines.push(gauge(look.t("memory"), used as f32 / limit.max(1) as f32, &text, look.busy(), cells));
    lines
}

fn machine_lines(model: &Model, cells: u16) -> Vec<Line<'static>> {
    let look = model.look;
    let machine = &model.machine;
    let style = |share: f32| if share > 0.9 { look.held() } else { look.good() };
    let share_line = |name: &str, share: Option<f32>| match share {
        Some(share) => gauge(name, share, &percent(share), style(share), cells),
        None => Line::from(format!(" {}{UNKNOWN}", pad(name, NAME_CELLS))),
    };
    let size_line = |name: &str, size: Option<(u64, u64)>| match size {
        Some((used, all)) => {
            let share = used as f32 / all.max(1) as f32;
            gauge(name, share, &look.fill("{} of {}", &[&bytes(used as f64), &bytes(all as f64)]), style(share), cells)
        }
        None => Line::from(format!(" {}{UNKNOWN}", pad(name, NAME_CELLS))),
    };
    let mut lines = vec![
        share_line("CPU", machine.cpu),
        size_line(look.t("memory"), machine.memory),
        size_line(look.t("disk"), machine.disk),
    ];
    if machine.gpu.is_some() {
        lines.push(share_line("GPU", machine.gpu));
    }
    lines
}

/// What each worker does now.
fn at_work(frame: &mut Frame<'_>, area: Rect, model: &Model, hits: &mut Hits) {
    let look = model.look;
    let jobs = model.jobs_at_work();
    let title = format!("{} · {}", look.t("at work"), jobs.len());
    let block = super::panel(&title, true, area, model);
    if jobs.is_empty() {
        let text = match (&model.link, model.snapshot.batches.is_empty()) {
            (Link::Lost(_), true) => look.t("no daemon yet: start one with `spindled &`; this goes on by itself"),
            _ if model.is_stale() => "",
            (_, true) => look.t("nothing yet: press n to submit the first batch, ? for all keys"),
            _ => look.t("nothing is at work"),
        };
        frame.render_widget(Paragraph::new(format!(" {text}")).block(block), area);
        return;
    }
    let rows = super::rows(area);
    let at = model.rows[View::Overview as usize].min(jobs.len() - 1);
    let first = first_row(Some(at), rows, jobs.len());
    let seen: Vec<_> = jobs.into_iter().skip(first).take(usize::from(rows)).collect();
    let columns = work_columns(&seen, area.width, model);
    let rows = Rows { first, chosen: Some(at - first), heads: area.height > 3, focused: true };
    table::draw(frame, area, columns, &rows, block, look, hits);
}

fn work_columns(seen: &[&JobView], cells: u16, model: &Model) -> Vec<Column> {
    let look = model.look;
    let plain =
        |text: &dyn Fn(&JobView) -> String| seen.iter().map(|job| (text(job), Style::new())).collect::<Vec<_>>();
    let in_state =
        |text: &dyn Fn(&JobView) -> String| seen.iter().map(|job| (text(job), look.job(job.state))).collect::<Vec<_>>();
    let bar_cells = if cells < 100 { 8 } else { 16 };
    vec![
        Column::new(
            "worker",
            5,
            9,
            plain(&|job| match &job.worker {
                Some(worker) => shown(worker),
                // Between two stages it waits for a lane.
                None if job.state == JobState::Running => look.t("waits").to_owned(),
                None => look.word(job.state.name()),
            }),
        ),
        Column::new("job", 0, 5, plain(&|job| job.id.to_string())).right(),
        Column::new("input", 0, 20, plain(&|job| shown(&file_name(job)))).fills(Kind::FileName),
        Column::new("stage", 2, 10, in_state(&|job| shown(&job.stage))),
        Column::new("", 3, bar_cells, in_state(&|job| bar(job.progress, usize::from(bar_cells)))),
        Column::new("done", 0, 4, plain(&|job| percent(job.progress))).right(),
        Column::new("time", 4, 11, plain(&|job| super::jobs::time(job, model))).right(),
    ]
}

fn is_alarmed(model: &Model) -> bool {
    let out_of_order = model.house.as_ref().is_some_and(|house| {
        let cards = house.no_device.is_some() || house.devices.iter().any(|device| device.closed.is_some());
        !house.closed.is_empty() || !house.alerts.is_empty() || cards
    });
    out_of_order || !model.snapshot.alerts.is_empty()
}

/// What is out of order, and what the daemon has said.
fn alert_lines(model: &Model, cells: u16) -> Vec<Line<'static>> {
    let look = model.look;
    let mut lines = Vec::new();
    for closed in model.house.iter().flat_map(|house| &house.closed) {
        let when = closed
            .tries_in_ms
            .map(|ms| look.fill(", tried again in {}", &[&span(ms as f64 / 1_000.0)]))
            .unwrap_or_default();
        let what =
            look.fill("{} jobs wait for {}{}: {}", &[&closed.parked, &shown(&closed.what), &when, &shown(&closed.why)]);
        lines.push(Line::styled(format!(" {}", clipped(&what, cells.saturating_sub(1))), look.held()));
        lines.push(Line::from(format!("  → {}", clipped(&shown(&closed.advice), cells.saturating_sub(4)))));
    }
    let cards = model.house.iter().flat_map(|house| {
        let closed =
            house.devices.iter().filter_map(|device| Some(format!("{}: {}", device.lane, device.closed.as_ref()?)));
        closed.chain(house.no_device.clone()).chain(house.alerts.iter().map(|alert| alert.text.clone()))
    });
    for text in cards {
        lines.push(Line::styled(format!(" {}", clipped(&shown(&text), cells.saturating_sub(1))), look.held()));
    }
    for alert in model.snapshot.alerts.iter().rev().take(ALERTS_SHOWN) {
        lines.push(Line::styled(format!(" {}", clipped(&shown(alert), cells.saturating_sub(1))), look.held()));
    }
    if lines.is_empty() {
        lines.push(Line::styled(format!(" {}", look.t("none")), look.faint()));
    }
    lines
}

/// Of a batch's name so much is seen.
const NAME_LEAST: usize = 10;
const ALERTS_SHOWN: usize = 4;

fn ended(model: &Model) -> Vec<&BatchView> {
    let mut ended: Vec<_> = model.snapshot.batches.values().filter(|batch| batch.state.is_terminal()).collect();
    ended.sort_unstable_by_key(|batch| std::cmp::Reverse((batch.finished_at, batch.id)));
    ended
}

/// The batches that have ended last.
fn ends(frame: &mut Frame<'_>, area: Rect, model: &Model) {
    let look = model.look;
    let ended = ended(model);
    let rows = usize::from(area.height.saturating_sub(1));
    let lines: Vec<_> = ended
        .iter()
        .take(rows)
        .map(|batch| {
            let when = batch.finished_at.map(|at| model.clock(at)).unwrap_or_default();
            let state = pad(&look.word(batch.state.name()), 10);
            let (counts, took) = (&batch.counts, super::batches::time(batch, model));
            let figures = look.fill("{} ok, {} failed", &[&(counts.completed + counts.skipped), &counts.failed]);
            let lead = format!(" {} {:>4} ", pad(&when, 11), batch.id.to_string());
            let fixed = width(&lead) + width(&state) + NAME_LEAST + 2;
            let tail = match took.as_str() {
                "" => figures,
                took if fixed + width(&figures) + width(took) + 3 <= usize::from(area.width) => {
                    format!("{figures} · {took}")
                }
                _ => figures,
            };
            let tail = clipped(&tail, area.width.saturating_sub(fixed as u16));
            let room = usize::from(area.width).saturating_sub(width(&lead) + width(&state) + width(&tail) + 2);
            let name = clipped_middle(&super::batch_name(batch), room as u16);
            let gap = " ".repeat(room.saturating_sub(width(&name)) + 1);
            Line::from(vec![
                Span::styled(lead, look.faint()),
                Span::styled(state, look.batch(batch.state)),
                Span::raw(name),
                Span::raw(gap),
                Span::styled(tail, look.faint()),
            ])
        })
        .collect();
    let none = lines.is_empty() && !model.is_stale();
    let lines = if none { vec![Line::styled(format!(" {}", look.t("none yet")), look.faint())] } else { lines };
    lines_panel(frame, area, look.t("recent ends"), lines, model);
}
