//! Every key of the table, in every place where it is bound: it changes what a person sees, or has something done. None is taken and ignored.

use crossterm::event::KeyModifiers;
use spindle_shared::id::BatchId;
use spindle_shared::job::{FileIdentity, Input, PathBytes};
use spindle_shared::wire::response::PlannedJob;

use super::*;
use crate::errand::FileEntry;
use crate::message::Message;
use crate::model::Model;
use crate::model::tests::press;
use crate::view::tests::{drawn, full};

const PLACES: [Place; 8] =
    [Place::Page, Place::Zoom, Place::Plan, Place::Question, Place::Find, Place::Form, Place::Line, Place::Files];

/// A house with something everywhere, and the keyboard at this place.
fn at(place: Place) -> Model {
    let mut model = match place {
        Place::In(view) => full(view),
        Place::Zoom => full(View::Results),
        _ => full(View::Batches),
    };
    model.size = (80, 24);
    let keys = match place {
        Place::In(_) => "",
        Place::Page => "?",
        Place::Zoom => "l\r",
        Place::Question => "c",
        Place::Find => "/x",
        Place::Line => "jjjx",
        Place::Form => "n",
        Place::Plan | Place::Files => "nj\r",
    };
    press(&mut model, keys);
    match place {
        Place::Zoom => {
            let text: String = (0..100).map(|line| format!("line {line}\n")).collect();
            let path = model.results.value.chosen().map(|item| item.path.clone()).unwrap();
            model.update(Message::Text(path, Ok(text)));
        }
        Place::Files | Place::Plan => {
            let folder = std::env::current_dir().unwrap();
            let names = std::iter::once((".", true))
                .chain([("a folder", true), ("b.wav", false)])
                .chain(["c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m"].map(|name| (name, false)));
            let entries = names.map(|(name, folder)| FileEntry { name: name.into(), folder, bytes: 1 }).collect();
            model.update(Message::Files(folder, Ok(entries)));
        }
        _ => {}
    }
    if place == Place::Plan {
        press(&mut model, "jjtv");
        let identity = FileIdentity { dev: 1, inode: 1, bytes: 1, mtime_ns: 0, ctime_ns: 0 };
        let planned = |index| PlannedJob {
            index,
            input: Input::File { path: PathBytes(format!("/in/{index}.wav").into_bytes()), identity },
            outputs: Vec::new(),
            skipped_reason: None,
            estimated_seconds: None,
            estimated_bytes: None,
        };
        model.update(Message::Planned(Ok((1..100).map(planned).collect())));
    }
    model.errands.clear();
    model.status = None;
    assert_eq!(model.place(), place, "{place:?}");
    model
}

/// What must have been pressed before, so that this has something to do.
fn before(place: Place, action: Action) -> &'static str {
    match (place, action) {
        (Place::In(View::Results), Action::Up | Action::PageUp | Action::First | Action::Left) => "llll",
        (Place::In(View::Results), Action::LastBatch) => "]",
        (Place::In(View::Batch), Action::Export) => "2jjj3",
        (Place::In(View::Batches), Action::Export) => "jjj",
        (_, Action::Up | Action::PageUp | Action::First) => "jj",
        (Place::Zoom, Action::Left) => "l",
        // `--translate`, switched on.
        (Place::Form, Action::ChangeBack) => "jjjjj ",
        (Place::Form, Action::Preview | Action::Submit) => "INPUTS",
        (Place::Files, Action::Open) => "j",
        _ => "",
    }
}

/// All that a person could notice, and all that was asked for.
fn noticed(model: &Model) -> String {
    format!("{:?} {:?} {:?}", drawn(model, 80, 24), model.errands, model.ending)
}

fn check(place: Place, binding: &Binding, code: KeyCode) {
    // Where one is already, one can't go.
    if place == Place::In(model_view(binding.action)) && matches!(binding.action, Action::Go(_)) {
        return;
    }
    let mut model = at(place);
    match before(place, binding.action) {
        "INPUTS" => {
            let Some(crate::model::Cover::Form(form)) = &mut model.cover else { panic!("no form") };
            form.inputs = vec!["/in/a.wav".into()];
        }
        keys => drop(press(&mut model, keys)),
    }
    model.errands.clear();
    let before = noticed(&model);
    let asked = model.update(Message::Key(KeyEvent::new(code, KeyModifiers::NONE)));
    let after = noticed(&model);
    assert!(
        asked.is_some() || before != after,
        "{code:?} ({:?}: {}) does nothing in {place:?}",
        binding.action,
        binding.long
    );
}

fn model_view(action: Action) -> View {
    match action {
        Action::Go(view) => view,
        _ => View::Overview,
    }
}

#[test]
fn every_key_does_something_wherever_it_is_bound() {
    let places = View::ALL.into_iter().map(Place::In).chain(PLACES);
    let mut checked = 0;
    for place in places {
        for binding in TABLE.iter().filter(|binding| binding.places.contains(&place)) {
            for code in binding.keys {
                check(place, binding, *code);
                checked += 1;
            }
        }
    }
    assert!(checked > 250, "the whole table is gone through: {checked}");
}

#[test]
fn what_is_bound_is_bound_somewhere_that_is_tested() {
    for binding in &TABLE {
        let known = |place: &Place| matches!(place, Place::In(_)) || PLACES.contains(place);
        assert!(!binding.places.is_empty() && binding.places.iter().all(known), "{}", binding.long);
    }
}

#[test]
fn a_job_at_work_is_gone_to_from_the_overview() {
    let mut model = full(View::Overview);
    press(&mut model, "j\r");
    assert_eq!((model.view, model.batch), (View::Batch, Some(BatchId(12))));
    assert_eq!(model.job.map(|job| job.index), Some(4), "the one that was marked");
}
