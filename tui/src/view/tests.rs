//! Pictures of made-up models, on a screen of any size.

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::{Buffer, Cell};
use ratatui::layout::Size;
use ratatui::style::{Color, Modifier};
use ratatui_image::Resize;
use ratatui_image::picker::Picker;
use spindle_shared::batch::{BatchState, Counts};
use spindle_shared::event::{Event, Fact};
use spindle_shared::failure::{Failure, FailureKind};
use spindle_shared::id::{BatchId, RunId};
use spindle_shared::job::{Figure, JobState, JobView, Output, PathBytes};
use spindle_shared::time::WallMs;
use spindle_shared::wire::request::Request;
use spindle_shared::wire::response::{ClosedView, RecipeStats, Response, Stats, WorkerView};

use super::draw;
use crate::errand::{Errand, Picture};
use crate::keys::{Action, TABLE};
use crate::look::{Language, Look, Theme};
use crate::machine::Machine;
use crate::message::{Message, News};
use crate::model::tests::{batch, busy, fresh, house, job, press};
use crate::model::{Link, Model, View};

pub fn drawn(model: &Model, width: u16, height: u16) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| drop(draw(frame, model))).unwrap();
    terminal.backend().buffer().clone()
}

fn picture(model: &Model, width: u16, height: u16) -> String {
    drawn(model, width, height).content().chunks(usize::from(width)).map(line).collect()
}

/// A line as a reader sees it: what lies behind a wide character isn't there.
fn line(cells: &[Cell]) -> String {
    let (mut line, mut hidden) = (String::new(), 0);
    for cell in cells {
        if hidden > 0 {
            hidden -= 1;
            continue;
        }
        line.push_str(cell.symbol());
        hidden = super::width(cell.symbol()).saturating_sub(1);
    }
    line + "\n"
}

/// Where a line isn't plain, and how.
fn looks(cells: &[Cell]) -> String {
    let name = |cell: &Cell| {
        let mut name = match cell.fg {
            Color::Reset => String::new(),
            colour => format!("{colour:?}").to_lowercase(),
        };
        for (flag, letter) in
            [(Modifier::BOLD, '!'), (Modifier::DIM, '-'), (Modifier::REVERSED, '%'), (Modifier::UNDERLINED, '_')]
        {
            if cell.modifier.contains(flag) {
                name.push(letter);
            }
        }
        name
    };
    let mut runs: Vec<(usize, usize, String)> = Vec::new();
    for (at, cell) in cells.iter().enumerate() {
        let name = name(cell);
        match runs.last_mut() {
            Some((_, end, known)) if *known == name => *end = at,
            _ => runs.push((at, at, name)),
        }
    }
    let named = runs.into_iter().filter(|(_, _, name)| !name.is_empty());
    named.map(|(from, to, name)| format!(" {from}-{to}{name}")).collect()
}

/// A view on three screens, each in two themes: its text once, and where it has which look.
fn check(name: &str, model: &mut Model) {
    for (width, height) in [(80, 24), (120, 40), (250, 70)] {
        model.size = (width, height);
        let mut told = String::new();
        for theme in [Theme::Dark, Theme::Light] {
            model.look.theme = theme;
            let buffer = drawn(model, width, height);
            if told.is_empty() {
                for row in buffer.content().chunks(usize::from(width)) {
                    let line = line(row);
                    assert_eq!(super::width(line.trim_end_matches('\n')), usize::from(width), "{line}");
                    told.push_str(line.trim_end());
                    told.push('\n');
                }
            }
            told.push_str(&format!("{theme:?}\n"));
            for (nth, row) in buffer.content().chunks(usize::from(width)).enumerate() {
                let looks = looks(row);
                // A grid of pictures is all colours.
                if !looks.is_empty() && looks.len() < 400 {
                    told.push_str(&format!("{nth}:{looks}\n"));
                }
            }
        }
        insta::assert_snapshot!(format!("{name}_{width}x{height}"), told);
    }
}

fn answer(model: &mut Model, request: Request, responses: Vec<Response>) {
    model.update(Message::Answered(Box::new(request), Ok(responses)));
}

/// A house with something in every view.
pub fn full(view: View) -> Model {
    let mut model = busy();
    model.machine = Machine {
        cpu: Some(0.73),
        memory: Some((9_400_000_000, 16_000_000_000)),
        disk: Some((470_000_000_000, 500_000_000_000)),
        gpu: None,
    };
    let mut house = house();
    house.closed = vec![ClosedView {
        what: "the model base".to_owned(),
        why: "its file is cut off".to_owned(),
        advice: "fetch it again with `spindlectl models pull base`".to_owned(),
        parked: 3,
        tries_in_ms: Some(42_000),
    }];
    model.house = Some(house);
    model.snapshot.apply(&Event { seq: 90, time: WallMs(0), fact: Fact::Alert("the disk is nearly full".to_owned()) });
    let run = |counter| RunId { boot: 1, counter };
    let worker = |id: &str, role: &str, runs, bytes| WorkerView {
        id: id.to_owned(),
        role: role.to_owned(),
        pid: 4_242,
        model: (role == "speech").then(|| "tiny".to_owned()),
        runs,
        runs_done: 17,
        resident_bytes: bytes,
        device: None,
    };
    let workers = vec![
        worker("speech-1", "speech", vec![run(1), run(2)], 812_000_000),
        worker("w2", "files", vec![], 50_800_000),
    ];
    answer(&mut model, Request::Workers, vec![Response::Workers(workers)]);
    let running: Vec<JobView> = model.known_jobs().filter(|job| job.state == JobState::Running).cloned().collect();
    let states = vec![JobState::Running, JobState::Retrying];
    let request = Request::Jobs { batch: BatchId(12), states, from: 1, limit: 64 };
    answer(&mut model, request, vec![Response::Jobs(running)]);
    let mut failed: Vec<JobView> = model.known_jobs().filter(|job| job.failure.is_some()).cloned().collect();
    let mut timeout = job(9, 4, JobState::Failed, "long.mp4");
    timeout.failure = Some(Failure::new(FailureKind::Timeout, "ran for 30 min"));
    timeout.finished_at = Some(WallMs(65_000));
    failed.push(timeout);
    answer(&mut model, Request::Failures { limit: 1 }, vec![Response::Jobs(failed)]);
    for (nth, (day, _)) in model.days().into_iter().enumerate() {
        let recipe = |name: &str, factor: u32| RecipeStats {
            recipe: name.to_owned(),
            completed: factor * (nth as u32 + 1),
            failed: factor / 4,
            seconds: f64::from(factor) * 60.0 * (nth as f64 + 1.0),
            media_seconds: f64::from(factor) * 600.0 * (nth as f64 + 1.0),
            outputs: u64::from(factor),
            output_bytes: u64::from(factor) * 12_345_678 * (nth as u64 + 1),
            ..RecipeStats::default()
        };
        let stats = Stats {
            recipes: vec![recipe("compress", 3), recipe("subtitles", 20)],
            failures: vec![(FailureKind::Input, 5), (FailureKind::Timeout, 1)],
            ..Stats::default()
        };
        answer(&mut model, Request::Stats { since: day }, vec![Response::Stats(Box::new(stats))]);
    }
    // Silent ticks: what was asked for on the way is not.
    let at = model.heard_for_tests();
    press(
        &mut model,
        match view {
            View::Overview => "1",
            View::Batches => "2",
            View::Batch => "3",
            View::Failures => "4",
            View::Workers => "5",
            View::Results => "6",
            View::History => "7",
        },
    );
    if view == View::Results {
        model.update(Message::Tick(at, WallMs(200_000)));
        let made = |index: u32, names: &[&str], quality: Option<f64>| {
            let mut job = job(12, index, JobState::Completed, "x.jpg");
            job.outputs = names
                .iter()
                .map(|name| Output {
                    path: PathBytes(format!("/out/{name}").into_bytes()),
                    kind: name.rsplit('.').next().unwrap_or_default().to_owned(),
                    bytes: 123_456,
                })
                .collect();
            job.detail.figures =
                quality.into_iter().map(|score| ("quality".to_owned(), Figure::Number(score))).collect();
            job
        };
        let jobs = vec![
            made(1, &["花.jpg"], Some(81.4)),
            made(2, &["会议录音-第三季度-全体员工大会.srt", "会议录音.txt"], None),
            made(3, &["missing.png"], Some(35.0)),
            made(4, &["a.mp4"], None),
        ];
        let states = vec![JobState::Completed];
        answer(
            &mut model,
            Request::Jobs { batch: BatchId(12), states, from: 1, limit: 500 },
            vec![Response::Jobs(jobs)],
        );
    }
    model
}

/// Paints what pictures were asked for: red above, blue below.
fn paint(model: &mut Model) {
    let picker = Picker::halfblocks();
    model.errands.clear();
    for _ in 0..4 {
        model.update(Message::Resized);
        let at = model.heard_for_tests();
        model.update(Message::Tick(at, WallMs(200_000)));
        for errand in std::mem::take(&mut model.errands) {
            let Errand::Picture(key) = errand else { continue };
            let painted = match key.path.to_string().contains("missing") {
                true => Err("no such file".to_owned()),
                false => {
                    let pixels = image::RgbImage::from_fn(64, 48, |_, y| {
                        image::Rgb(if y < 24 { [200, 0, 0] } else { [0, 0, 200] })
                    });
                    let size = Size::new(key.width, key.height);
                    let protocol = picker.new_protocol(pixels.into(), size, Resize::Scale(None)).unwrap();
                    Ok(Picture(protocol))
                }
            };
            model.update(Message::Picture(key, painted));
        }
    }
}

#[test]
fn overview() {
    check("overview", &mut full(View::Overview));
}

#[test]
fn batches() {
    check("batches", &mut full(View::Batches));
}

#[test]
fn one_batch() {
    check("batch", &mut full(View::Batch));
}

#[test]
fn failures() {
    check("failures", &mut full(View::Failures));
}

#[test]
fn workers() {
    check("workers", &mut full(View::Workers));
}

#[test]
fn results() {
    let mut model = full(View::Results);
    for size in [(80, 24), (120, 40), (250, 70)] {
        model.size = size;
        paint(&mut model);
    }
    check("results", &mut model);
}

#[test]
fn history() {
    check("history", &mut full(View::History));
}

/// What stands in a view is the same on a small screen and on a large one, and neither is cut.
fn check_small(name: &str, model: &Model) {
    let picture = picture(model, 80, 24);
    for line in picture.lines() {
        assert_eq!(super::width(line), 80, "{line}");
    }
    let trimmed: Vec<_> = picture.lines().map(str::trim_end).collect();
    insta::assert_snapshot!(name, trimmed.join("\n"));
}

#[test]
fn covers() {
    let mut model = busy();
    press(&mut model, "3jj\r");
    check_small("job", &model);
    let mut model = busy();
    press(&mut model, "?");
    check_small("help", &model);
    let mut model = busy();
    press(&mut model, "c");
    check_small("question", &model);
    press(&mut model, "\t");
    assert!(picture(&model, 80, 24).contains("[Yes]"), "the answer is marked without colours too");
    let mut model = busy();
    press(&mut model, "n");
    check_small("form", &model);
}

#[test]
fn search() {
    let mut model = busy();
    press(&mut model, "/会议");
    check_small("search", &model);
    press(&mut model, "x");
    check_small("search_in_vain", &model);
}

#[test]
fn lost_daemon() {
    let mut model = busy();
    model.update(Message::Lost("the connection to the daemon broke: end of file".to_owned()));
    model.silent_for = 12;
    press(&mut model, "p");
    check_small("lost", &model);
    model.link = Link::Silent;
    check_small("silent", &model);
}

#[test]
fn nothing_yet() {
    let mut model = fresh();
    model.view = View::Overview;
    check_small("connecting", &model);
    model.update(crate::model::tests::watching(Default::default(), Vec::new()));
    check_small("empty", &model);
}

#[test]
fn a_large_batch() {
    let mut model = busy();
    let Some(Request::Watch { scope, .. }) = press(&mut model, "j") else { panic!("no window is asked for") };
    let rows = (1..=500).map(|index| job(13, index, JobState::Pending, "x.wav"));
    let mut snapshot = spindle_shared::snapshot::Snapshot::default();
    snapshot.jobs.extend(rows.map(|job| (job.id, job)));
    model.update(Message::Window(scope, News::Snapshot(Box::new(snapshot))));
    press(&mut model, "3G");
    check_small("large", &model);
}

#[test]
fn in_chinese_all_is_chinese() {
    for view in View::ALL {
        let mut model = full(view);
        model.look = Look { language: Language::Chinese, ..model.look };
        let picture = picture(&model, 120, 40);
        assert!(picture.contains("总览") && !picture.contains("Overview"), "{picture}");
        for line in picture.lines() {
            assert_eq!(super::width(line), 120, "{line}");
        }
        if view == View::Overview {
            insta::assert_snapshot!("chinese", picture.lines().map(str::trim_end).collect::<Vec<_>>().join("\n"));
        }
    }
}

#[test]
fn ascii_is_ascii() {
    for view in View::ALL {
        let mut model = full(view);
        model.look.ascii = true;
        for keys in ["", "?", "\u{1b}n"] {
            press(&mut model, keys);
            let picture = picture(&model, 120, 40);
            assert!(picture.is_ascii(), "{picture}");
        }
    }
}

#[test]
fn any_size_is_drawn() {
    for (width, height) in [(20, 5), (1, 1), (2, 3), (10, 8), (47, 12), (81, 13), (150, 9), (150, 20), (300, 100)] {
        for view in View::ALL {
            let mut keys = vec!["", "?", "\r", "G", "c", "/会议会议会议", "/zzz\r"];
            // The form is the same over every view.
            keys.extend(if view == View::Batches { &["n", "nj\r"][..] } else { &[] });
            for keys in keys {
                for mut model in [fresh(), full(view)] {
                    model.view = view;
                    model.size = (width, height);
                    press(&mut model, keys);
                    picture(&model, width, height);
                }
            }
        }
    }
}

#[test]
fn smallest_20x5() {
    let mut model = busy();
    let mut pictures = picture(&model, 20, 5);
    for keys in ["3", "2?jj", "qc", "n/会议"] {
        press(&mut model, keys);
        pictures += &format!("{keys:?}\n{}", picture(&model, 20, 5));
    }
    insta::assert_snapshot!("smallest", pictures);
}

#[test]
fn without_colours_nothing_is_coloured() {
    let coloured = |model: &Model| {
        drawn(model, 120, 40).content().iter().any(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset)
    };
    for view in View::ALL {
        let mut model = full(view);
        for (theme, rich) in [(Theme::Dark, false), (Theme::Light, true), (Theme::Contrast, false)] {
            model.look = Look { theme, rich, ..model.look };
            assert!(coloured(&model), "{view:?} {theme:?}");
        }
        model.look.theme = Theme::Plain;
        assert!(!coloured(&model), "{view:?}");
    }
}

#[test]
fn the_help_names_every_key_of_the_table() {
    let mut model = busy();
    press(&mut model, "?");
    let help = picture(&model, 140, 130);
    for binding in &TABLE {
        assert!(help.contains(binding.long), "{}", binding.long);
    }
    assert!(TABLE.iter().any(|binding| binding.action == Action::Help && binding.short.is_some()));
}

#[test]
fn every_key_line_offers_help_or_a_way_back() {
    for view in View::ALL {
        let picture = picture(&full(view), 80, 24);
        let keys = picture.lines().last().unwrap_or_default();
        assert!(keys.contains("? help") && keys.contains("n new"), "{keys}");
    }
}

#[test]
fn the_cursor_stands_where_letters_are_written() {
    let mut model = busy();
    press(&mut model, "/会议");
    let mut terminal = Terminal::new(TestBackend::new(80, 24)).unwrap();
    terminal.draw(|frame| drop(draw(frame, &model))).unwrap();
    terminal.backend_mut().assert_cursor_position((18, 22));
}

#[test]
fn a_gathering_batch_says_so() {
    let mut model = busy();
    let mut gathers = batch(12, "reel", BatchState::Running, 0.9, Counts { completed: 4, ..Counts::default() });
    gathers.gather = Some(JobState::Running);
    model.update(Message::Event(Box::new(Event { seq: 99, time: WallMs(0), fact: Fact::Batch(Box::new(gathers)) })));
    press(&mut model, "3");
    assert!(picture(&model, 80, 24).contains("gather: running"));
}
