//! Every action by its key in the real loop, and the mouse: a person before a made-up daemon. What isn't tried here fails the last check.

use std::collections::BTreeSet;
use std::fs;

use crossterm::event::{KeyModifiers, MouseButton, MouseEvent, MouseEventKind};
use spindle_shared::job::{Output, PathBytes};

use super::*;
use crate::errand::Errand;
use crate::keys::{self, Place, TABLE};

/// What a key brings about.
enum Then {
    Shows(&'static str),
    /// No longer shown.
    Gone(&'static str),
    Asks(fn(&Request) -> bool),
    Does(fn(&Errand) -> bool),
    Ends,
}

use Then::{Asks, Does, Ends, Gone, Shows};

const OVERVIEW: Place = Place::In(View::Overview);
const BATCHES: Place = Place::In(View::Batches);
const BATCH: Place = Place::In(View::Batch);
const FAILURES: Place = Place::In(View::Failures);
const WORKERS: Place = Place::In(View::Workers);
const RESULTS: Place = Place::In(View::Results);
const HISTORY: Place = Place::In(View::History);

/// Where the last of these keys is pressed, all keys, and what it brings about.
const SCRIPT: [(Place, &str, Then); 106] = [
    // The help, and moving in a page.
    (BATCHES, "?", Shows("┌ keys")),
    (Place::Page, "j", Shows("↑ more")),
    (Place::Page, "k", Gone("↑ more")),
    (Place::Page, "⇟", Shows("↑ more")),
    (Place::Page, "⇞", Gone("↑ more")),
    (Place::Page, " ", Shows("↑ more")),
    (Place::Page, "g", Gone("↑ more")),
    (Place::Page, "G", Shows("↑ more")),
    (Place::Page, "\u{1b}", Gone("┌ keys")),
    // The list of batches.
    (BATCHES, "j", Shows("› 11")),
    (BATCHES, "k", Shows("› 12")),
    (BATCHES, "⇟", Shows("›  8")),
    (BATCHES, "⇞", Shows("› 12")),
    (BATCHES, "G", Shows("›  8")),
    (BATCHES, "g", Shows("› 12")),
    (BATCHES, " ", Shows("1 marked")),
    (BATCHES, "\u{1b}", Gone("1 marked")),
    (BATCHES, "s", Shows("sorted newest first")),
    (BATCHES, "sssss", Shows("sorted by course")),
    (BATCHES, "g/", Shows("batches with:")),
    (Place::Find, "n", Shows("batches with: n")),
    (Place::Find, "\u{8}", Gone("batches with: n")),
    (Place::Find, "night\r", Shows("1 of 4 with `night`")),
    (BATCHES, "/", Shows("batches with: night")),
    (Place::Find, "\u{1b}", Gone("night`")),
    (BATCHES, "p", Asks(|request| matches!(request, Request::Pause { what: Selection::Targets(_), .. }))),
    (BATCHES, "+", Asks(|request| matches!(request, Request::Prioritize { priority: Priority(25), .. }))),
    (BATCHES, "-", Asks(|request| matches!(request, Request::Prioritize { priority: Priority(75), .. }))),
    (BATCHES, "r", Asks(|request| matches!(request, Request::Retry(_)))),
    (BATCHES, "P", Asks(|request| matches!(request, Request::Pause { what: Selection::House, .. }))),
    (BATCHES, "e", Asks(|request| matches!(request, Request::Explain(Target::Batch(BatchId(12)))))),
    (BATCHES, "", Shows("a worker is at it")),
    (Place::Page, "q", Gone("a worker is at it")),
    (BATCHES, "c", Shows("Cancel batch 12")),
    (Place::Question, "\t", Shows("[Yes]")),
    (Place::Question, "n", Shows("cancelling 12: left as it is")),
    (Place::Question, "c\t\r", Asks(|request| matches!(request, Request::Cancel(_)))),
    (Place::Question, "cy", Asks(|request| matches!(request, Request::Cancel(_)))),
    (BATCHES, "G⌦", Shows("Forget batch 8")),
    (Place::Question, "y", Asks(|request| matches!(request, Request::Remove { purge: false, .. }))),
    (BATCHES, "x", Shows("export batch 8 into")),
    (Place::Line, "a", Shows("batch-8.zipa")),
    (Place::Line, "\u{8}", Gone("batch-8.zipa")),
    (Place::Line, "\u{1b}", Gone("export batch 8 into")),
    (
        Place::Line,
        "x\r",
        Does(|errand| matches!(errand, Errand::Export(line) if line.contains(&"--output=batch-8.zip".into()))),
    ),
    (BATCHES, "k", Shows("›  9")),
    // Results: two texts and two pictures.
    (BATCHES, "v", Shows("results of 9 · 4 files")),
    (RESULTS, "", Shows("line 3")),
    (RESULTS, "l", Shows("›b.txt")),
    (RESULTS, "h", Shows("›a.txt")),
    (RESULTS, "j", Shows("›d.png")),
    (RESULTS, "k", Shows("›a.txt")),
    (RESULTS, "\r", Shows("line 9")),
    (Place::Zoom, "G", Shows("line 99")),
    (Place::Zoom, "l", Shows("the other text")),
    (Place::Zoom, "h", Shows("line 9")),
    (Place::Zoom, "\u{1b}", Gone("line 9")),
    (RESULTS, " ", Shows("1 marked")),
    (RESULTS, "y", Does(|errand| matches!(errand, Errand::Copy(text) if text.ends_with("/a.txt")))),
    (RESULTS, "f", Shows("1 of quality 30 or more")),
    (RESULTS, "ffff", Gone("of quality")),
    (RESULTS, "[", Shows("results of 12")),
    (RESULTS, "]", Shows("results of 9")),
    (RESULTS, "\u{1b}", Shows("[3 Batch]")),
    (BATCH, "\u{1b}", Shows("[2 Batches]")),
    // One batch and its jobs.
    (BATCHES, "g\r", Shows("jobs of 12")),
    (BATCH, "\r", Shows("tries: 1")),
    (Place::Page, "?", Gone("tries: 1")),
    (BATCH, " ", Shows("1 marked")),
    (BATCH, "\u{1b}", Gone("1 marked")),
    (Place::Find, "/7.wav\r", Shows("2 of 20 with `7.wav`")),
    (BATCH, "\u{1b}", Gone("7.wav`")),
    // Failures.
    (BATCH, "4", Shows("failures · jobs: 2 · causes: 1")),
    (FAILURES, "\r", Shows("↓ 2")),
    (FAILURES, "r", Asks(|request| matches!(request, Request::Retry(Selection::Targets(jobs)) if jobs.len() == 2))),
    (FAILURES, "jjr", Asks(|request| matches!(request, Request::Retry(Selection::Targets(jobs)) if jobs.len() == 1))),
    (FAILURES, "R", Asks(|request| matches!(request, Request::Retry(Selection::Targets(jobs)) if jobs.len() == 2))),
    (FAILURES, "y", Does(|errand| matches!(errand, Errand::Copy(text) if text.contains("failed jobs by cause")))),
    (FAILURES, "w", Does(|errand| matches!(errand, Errand::Save(_, text) if text.contains("failed jobs by cause")))),
    (FAILURES, "e", Asks(|request| matches!(request, Request::Explain(Target::Job(_))))),
    (FAILURES, "", Shows("a worker is at it")),
    // From view to view.
    (Place::Page, "\u{1b}", Gone("a worker is at it")),
    (FAILURES, "5", Shows("[5 Workers]")),
    (WORKERS, "\t", Shows("[6 Results]")),
    (RESULTS, "7", Shows("[7 History]")),
    (HISTORY, "⇤", Shows("[6 Results]")),
    (RESULTS, "1", Shows("[1 Overview]")),
    (OVERVIEW, "", Shows("at work · 3")),
    (OVERVIEW, "\r", Shows("jobs of 12")),
    (BATCH, "2", Shows("[2 Batches]")),
    (BATCHES, "3", Shows("[3 Batch]")),
    (BATCH, "6", Shows("[6 Results]")),
    // Colours and language.
    (RESULTS, "T", Shows("colours: dark")),
    (RESULTS, "L", Shows("总览")),
    (RESULTS, "L", Gone("总览")),
    // A new batch.
    (RESULTS, "n", Shows("›recipe               subtitles")),
    (Place::Form, "\r", Shows("compress             Videos")),
    (Place::Form, "←", Shows("subtitles            Speech")),
    (Place::Form, "j\r", Shows("Cargo.toml")),
    (Place::Files, "j\r", Shows("causes.rs")),
    (Place::Files, "h", Shows("Cargo.toml")),
    (Place::Files, "G ", Shows("1 marked")),
    (Place::Files, "t", Gone("1 marked")),
    (Place::Form, "v", Shows("preview · 1 inputs, 1 skipped")),
    (Place::Plan, "S", Asks(|request| matches!(request, Request::Submit { dry_run: true, .. }))),
    (Place::Plan, "", Asks(|request| matches!(request, Request::Submit { dry_run: false, .. }))),
];

/// The rest, once the new batch is there.
const END: [(Place, &str, Then); 6] = [
    (BATCH, "", Shows("batch 77")),
    (Place::Form, "nj\r", Shows("Cargo.toml")),
    (Place::Files, "\u{1b}", Gone("Cargo.toml")),
    (Place::Form, "S", Shows("no inputs are chosen")),
    (Place::Form, "q", Gone("recipe   ")),
    (BATCH, "q", Ends),
];

fn world(folder: &Path) -> (Vec<BatchView>, Vec<JobView>) {
    let counts = |completed, failed| Counts { completed, failed, ..Counts::default() };
    let mut night = twelve(BatchState::Running, 2);
    night.counts.failed = 2;
    night.counts.pending -= 2;
    let batches = vec![
        night,
        batch(11, "later", BatchState::Pending, 0.0, Counts { pending: 7, ..Counts::default() }),
        batch(9, "podcast", BatchState::Completed, 1.0, counts(2, 0)),
        batch(8, "broken", BatchState::Failed, 1.0, counts(0, 1)),
    ];
    let mut jobs = jobs();
    for at in [3, 4] {
        jobs[at].state = JobState::Failed;
        jobs[at].failure = Some(Failure::new(FailureKind::Input, "it is empty"));
    }
    let lines: String = (0..100).map(|line| format!("line {line}\n")).collect();
    fs::write(folder.join("a.txt"), lines).unwrap();
    fs::write(folder.join("b.txt"), "the other text\n").unwrap();
    let output = |name: &str| Output {
        path: PathBytes::from(folder.join(name).as_path()),
        kind: name.rsplit('.').next().unwrap_or_default().to_owned(),
        bytes: 1,
    };
    let made = |index, names: [&str; 2], quality: f64| {
        let mut made = job(9, index, JobState::Completed, "x");
        made.outputs = names.iter().map(|name| output(name)).collect();
        made.detail.figures = vec![("quality".to_owned(), quality.into())];
        made
    };
    for name in ["c.png", "d.png"] {
        image::RgbImage::from_pixel(8, 8, image::Rgb([200, 0, 0])).save(folder.join(name)).unwrap();
    }
    let mut texts = made(1, ["a.txt", "b.txt"], 0.0);
    texts.detail.figures.clear();
    let mut pictures = [made(2, ["c.png", "d.png"], 10.0), made(3, ["c.png", "d.png"], 10.0)];
    pictures[0].outputs.truncate(1);
    pictures[1].outputs.remove(0);
    pictures[1].detail.figures = vec![("quality".to_owned(), 61.0.into())];
    jobs.push(texts);
    jobs.extend(pictures);
    (batches, jobs)
}

/// Plays one line of the script.
fn play(dashboard: &mut Dashboard, daemon: &Fake, place: Place, keys: &str, then: &Then) {
    let what = format!("{keys:?} in {place:?}");
    if let Shows(text) = then
        && keys.chars().count() == 1
    {
        dashboard.look();
        assert!(!dashboard.seen.contains(text), "{text:?} is there before {what}\n{}", dashboard.seen);
    }
    dashboard.press(keys);
    match then {
        Shows(text) => {
            dashboard.until(&format!("{what} shows {text:?}"), |frame| frame.contains(text));
        }
        Gone(text) => {
            dashboard.until(&format!("{what} takes {text:?} away"), |frame| !frame.contains(text));
        }
        Asks(fits) => {
            let asked = daemon.asked.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("{what} asks for nothing"));
            assert!(fits(&asked), "{what} asks for {asked:?}");
        }
        Does(fits) => loop {
            let errand = dashboard.errands.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("{what} does nothing"));
            if fits(&errand) {
                return;
            }
        },
        Ends => {}
    }
}

#[test]
fn every_action_goes_through_the_loop() {
    let (folder, socket) = place();
    let (batches, jobs) = world(folder.path());
    let daemon = Fake::start(&socket, batches, jobs);
    let mut dashboard = Dashboard::start(&socket);
    dashboard.shows("batches · 4");
    let mut tried = BTreeSet::new();
    for (place, keys, then) in SCRIPT.iter().chain(&END) {
        if let Some(last) = keys.chars().last() {
            let code = stroke(last).code;
            let bound = TABLE.iter().position(|binding| binding.places.contains(place) && binding.keys.contains(&code));
            let typed = keys::meaning(*place, stroke(last));
            assert!(bound.is_some() || typed.is_some(), "{last:?} means nothing in {place:?}");
            tried.extend(bound);
        }
        play(&mut dashboard, &daemon, *place, keys, then);
    }
    assert_eq!(dashboard.over.join().unwrap(), Ok(()));
    // Those that stand before the last key of a line are tried there too.
    let on_the_way = ["Esc", "Enter", "Space"];
    let missing: Vec<_> = TABLE
        .iter()
        .enumerate()
        .filter(|(at, binding)| !tried.contains(at) && !on_the_way.contains(&binding.label))
        .map(|(_, binding)| format!("{}: {} in {:?}", binding.label, binding.long, binding.places))
        .collect();
    assert!(missing.is_empty(), "not tried: {missing:#?}");
}

#[test]
fn the_mouse_goes_through_the_loop() {
    let (folder, socket) = place();
    let (batches, jobs) = world(folder.path());
    let _daemon = Fake::start(&socket, batches, jobs);
    let mut dashboard = Dashboard::start(&socket);
    dashboard.shows("podcast");
    dashboard.click("5 Workers");
    dashboard.shows("[5 Workers]");
    dashboard.click("2 Batches");
    dashboard.shows("[2 Batches]");
    dashboard.click("podcast");
    dashboard.shows("›  9");
    dashboard.roll(MouseEventKind::ScrollDown);
    dashboard.shows("›  8");
    dashboard.roll(MouseEventKind::ScrollUp);
    dashboard.shows("›  9");
    dashboard.click("podcast");
    dashboard.shows("batch 9 · podcast");
    dashboard.click("? help");
    dashboard.shows("show these keys");
    dashboard.roll(MouseEventKind::ScrollDown);
    dashboard.shows("↑ more");
    dashboard.click("Esc close");
    dashboard.until("the help is gone", |frame| !frame.contains("show these keys"));
    dashboard.click("6 Results");
    dashboard.shows("b.txt");
    dashboard.click("b.txt");
    dashboard.shows("›b.txt");
}

impl Dashboard {
    fn mouse(&self, kind: MouseEventKind, column: usize, row: usize) {
        let (column, row) = (u16::try_from(column).unwrap(), u16::try_from(row).unwrap());
        let mouse = MouseEvent { kind, column, row, modifiers: KeyModifiers::NONE };
        self.keys.send(Message::Mouse(mouse)).unwrap();
    }

    /// Where this stands on the screen.
    fn click(&mut self, text: &str) {
        self.until(text, |frame| frame.contains(text));
        let found = self.seen.lines().enumerate().find_map(|(row, line)| Some((row, line.find(text)?, line)));
        let (row, at, line) = found.unwrap();
        // Each line of the picture stands in quotes.
        let column = crate::view::cells(&line[..at]) - 1;
        self.mouse(MouseEventKind::Down(MouseButton::Left), column, row);
    }

    fn roll(&self, kind: MouseEventKind) {
        self.mouse(kind, 5, 9);
    }
}
