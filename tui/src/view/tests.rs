//! Pictures of made-up models, on a screen of any size.

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use spindle_shared::wire::request::Request;

use super::draw;
use crate::keys::{Action, TABLE};
use crate::message::{Message, News};
use crate::model::tests::{busy, press};
use crate::model::{Link, Model, Panel};

fn picture(model: &Model, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, model)).unwrap();
    terminal.backend().buffer().content().chunks(usize::from(width)).map(line).collect()
}

/// A line as a reader sees it: what lies behind a wide character isn't there. Edges are marked, so that nothing is lost at them.
fn line(cells: &[ratatui::buffer::Cell]) -> String {
    let (mut line, mut hidden) = (String::from("|"), 0);
    for cell in cells {
        if hidden > 0 {
            hidden -= 1;
            continue;
        }
        line.push_str(cell.symbol());
        hidden = super::width(cell.symbol()).saturating_sub(1);
    }
    line + "|\n"
}

/// What stands in a view is the same on a small screen and on a large one, and neither is cut.
fn check(name: &str, model: &Model) {
    for (width, height) in [(80, 24), (200, 50)] {
        let picture = picture(model, width, height);
        for line in picture.lines() {
            assert_eq!(super::width(line), usize::from(width) + 2, "{line}");
        }
        insta::assert_snapshot!(format!("{name}_{width}x{height}"), picture);
    }
}

#[test]
fn batches() {
    check("batches", &busy());
}

#[test]
fn jobs_and_a_failed_one() {
    let mut model = busy();
    press(&mut model, "\tjj");
    assert!(model.chosen_job().is_some_and(|job| job.failure.is_some()));
    check("jobs", &model);
    press(&mut model, "\r");
    check("job", &model);
}

#[test]
fn help() {
    let mut model = busy();
    press(&mut model, "?");
    check("help", &model);
}

#[test]
fn question() {
    let mut model = busy();
    press(&mut model, "c");
    check("question", &model);
    press(&mut model, "\t");
    assert!(picture(&model, 80, 24).contains("[Yes]"), "the answer is marked without colours too");
}

#[test]
fn search() {
    let mut model = busy();
    press(&mut model, "/会议");
    check("search", &model);
    press(&mut model, "x");
    check("search_in_vain", &model);
}

#[test]
fn lost_daemon() {
    let mut model = busy();
    model.update(Message::Lost("the connection to the daemon broke: end of file".to_owned()));
    model.silent_for = 12;
    press(&mut model, "p");
    check("lost", &model);
    model.link = Link::Silent;
    check("silent", &model);
}

#[test]
fn nothing_yet() {
    let mut model = Model::new(true);
    check("connecting", &model);
    model.update(crate::model::tests::watching(Default::default(), Vec::new()));
    check("empty", &model);
}

#[test]
fn a_large_batch() {
    let mut model = busy();
    let Some(Request::Watch { scope, .. }) = press(&mut model, "j") else { panic!("no window is asked for") };
    check("large_waiting", &model);
    let rows =
        (1..=500).map(|index| crate::model::tests::job(13, index, spindle_shared::job::JobState::Pending, "x.wav"));
    let mut snapshot = spindle_shared::snapshot::Snapshot::default();
    snapshot.jobs.extend(rows.map(|job| (job.id, job)));
    model.update(Message::Window(scope, News::Snapshot(Box::new(snapshot))));
    press(&mut model, "\tG");
    check("large", &model);
}

#[test]
fn any_size_is_drawn() {
    for (width, height) in [(20, 5), (1, 1), (2, 3), (10, 8), (47, 12), (81, 13), (150, 9), (150, 20), (300, 100)] {
        for keys in [
            "",
            "\t",
            "?",
            "c",
            "\t\r",
            "?jjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjj",
            "G\tG",
            "/",
            "/会议会议会议",
            "/zzz\r",
        ] {
            for mut model in [Model::new(true), busy()] {
                press(&mut model, keys);
                picture(&model, width, height);
            }
        }
    }
}

#[test]
fn smallest_20x5() {
    let mut model = busy();
    let mut pictures = picture(&model, 20, 5);
    for keys in ["\t", "\t?jj", "qc", "n/会议"] {
        press(&mut model, keys);
        pictures += &format!("{keys:?}\n{}", picture(&model, 20, 5));
    }
    insta::assert_snapshot!("smallest", pictures);
}

#[test]
fn without_colours_nothing_is_coloured() {
    let mut model = busy();
    let coloured = |model: &Model| {
        let mut terminal = Terminal::new(TestBackend::new(80, 24)).unwrap();
        terminal.draw(|frame| draw(frame, model)).unwrap();
        let reset = ratatui::style::Color::Reset;
        terminal.backend().buffer().content().iter().any(|cell| cell.fg != reset || cell.bg != reset)
    };
    assert!(coloured(&model));
    model.colour = false;
    model.panel = Panel::Jobs;
    assert!(!coloured(&model));
}

#[test]
fn the_help_names_every_key_of_the_table() {
    let mut model = busy();
    press(&mut model, "?");
    let help = picture(&model, 100, 60);
    for binding in &TABLE {
        assert!(help.contains(binding.long), "{}", binding.long);
    }
    assert!(TABLE.iter().any(|binding| binding.action == Action::Help && binding.short.is_some()));
}

#[test]
fn the_cursor_stands_where_letters_are_written() {
    let mut model = busy();
    press(&mut model, "/会议");
    let mut terminal = Terminal::new(TestBackend::new(80, 24)).unwrap();
    terminal.draw(|frame| draw(frame, &model)).unwrap();
    terminal.backend_mut().assert_cursor_position((18, 22));
}
