//! Pictures of made-up models, on a screen of any size.

use ratatui::Terminal;
use ratatui::backend::TestBackend;

use super::draw;
use crate::keys::Action;
use crate::model::tests::{busy, press};
use crate::model::{Link, Model, Panel};

fn picture(model: &Model, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, model)).unwrap();
    terminal.backend().to_string()
}

#[test]
fn main_80x24() {
    insta::assert_snapshot!(picture(&busy(), 80, 24));
}

#[test]
fn main_200x50() {
    insta::assert_snapshot!(picture(&busy(), 200, 50));
}

#[test]
fn a_failed_job_80x24() {
    let mut model = busy();
    press(&mut model, "\tG");
    while model.chosen_job().is_some_and(|job| job.failure.is_none()) {
        press(&mut model, "k");
    }
    insta::assert_snapshot!(picture(&model, 80, 24));
}

#[test]
fn help_question_and_lost_daemon_80x24() {
    let mut model = busy();
    press(&mut model, "?");
    insta::assert_snapshot!("help", picture(&model, 80, 24));
    press(&mut model, "qc");
    insta::assert_snapshot!("question", picture(&model, 80, 24));
    press(&mut model, "n");
    model.link = Link::Lost("the connection to the daemon broke: end of file".to_owned());
    insta::assert_snapshot!("lost", picture(&model, 80, 24));
}

#[test]
fn any_size_is_drawn() {
    for (width, height) in [(20, 5), (1, 1), (2, 3), (10, 8), (47, 12), (81, 13), (300, 100)] {
        for keys in ["", "\t", "?", "c", "\t\r", "?jjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjjj", "G\tG"] {
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
    insta::assert_snapshot!("smallest", picture(&model, 20, 5));
    press(&mut model, "?jj");
    insta::assert_snapshot!("smallest_help", picture(&model, 20, 5));
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
    for binding in &crate::keys::TABLE {
        assert!(help.contains(binding.long), "{}", binding.long);
    }
    assert!(crate::keys::TABLE.iter().any(|binding| binding.action == Action::Help && binding.short.is_some()));
}
