//! THE KEYS: one table binds them, and makes the key line and the help. Knows no batch and no daemon.

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use crate::model::View;

/// What a person may want.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    Down,
    Up,
    Left,
    Right,
    PageDown,
    PageUp,
    First,
    Last,
    Go(View),
    NextView,
    LastView,
    Open,
    Close,
    Mark,
    Sort,
    Cancel,
    PauseOrResume,
    PauseOrResumeHouse,
    Retry,
    RetryAll,
    Sooner,
    Later,
    Remove,
    Explain,
    Export,
    New,
    Results,
    NextBatch,
    LastBatch,
    Quality,
    Copy,
    Save,
    Theme,
    Language,
    Help,
    Quit,
    Find,
    Type(char),
    Erase,
    Keep,
    ShowAll,
    Yes,
    No,
    Toggle,
    Answer,
    Change,
    ChangeBack,
    Preview,
    Submit,
    Take,
}

/// Where a key means it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// One of the views, with nothing over it.
    In(View),
    /// Help, or something told in full.
    Page,
    /// A result in full.
    Zoom,
    /// What a submission would do.
    Plan,
    /// A question with yes and no.
    Question,
    /// The line in which words to find are written.
    Find,
    /// The form of a new batch.
    Form,
    /// A line of text: an option's value, a file's name.
    Line,
    /// The files to choose from.
    Files,
}

pub struct Binding {
    pub places: &'static [Place],
    pub keys: &'static [KeyCode],
    pub action: Action,
    /// The keys as a person reads them.
    pub label: &'static str,
    /// A word for the key line; `None` = only in the help.
    pub short: Option<&'static str>,
    pub long: &'static str,
}

use KeyCode::{BackTab, Char, End, Enter, Esc, Home, Tab};

const fn bind(
    places: &'static [Place],
    keys: &'static [KeyCode],
    action: Action,
    label: &'static str,
    short: Option<&'static str>,
    long: &'static str,
) -> Binding {
    Binding { places, keys, action, label, short, long }
}

const BATCHES: &[Place] = &[Place::In(View::Batches)];
const BATCH: &[Place] = &[Place::In(View::Batch)];
const OF_BATCHES: &[Place] = &[Place::In(View::Batches), Place::In(View::Batch)];
const FAILURES: &[Place] = &[Place::In(View::Failures)];
const RESULTS: &[Place] = &[Place::In(View::Results)];
pub const EVERYWHERE: &[Place] = &[
    Place::In(View::Overview),
    Place::In(View::Batches),
    Place::In(View::Batch),
    Place::In(View::Failures),
    Place::In(View::Workers),
    Place::In(View::Results),
    Place::In(View::History),
];
const PAGES: &[Place] = &[Place::Page, Place::Zoom, Place::Plan];
const ZOOM: &[Place] = &[Place::Zoom];
const AT_WORK: &[Place] = &[Place::In(View::Overview)];
/// From everywhere else there is a way back.
const BEHIND: &[Place] = &[
    Place::In(View::Batches),
    Place::In(View::Batch),
    Place::In(View::Failures),
    Place::In(View::Workers),
    Place::In(View::Results),
    Place::In(View::History),
];
const QUESTION: &[Place] = &[Place::Question];
const FIND: &[Place] = &[Place::Find];
const FORM: &[Place] = &[Place::Form];
const LINE: &[Place] = &[Place::Line];
const FILES: &[Place] = &[Place::Files];
const LISTS: &[Place] = &[
    Place::In(View::Overview),
    Place::In(View::Batches),
    Place::In(View::Batch),
    Place::In(View::Failures),
    Place::In(View::Workers),
    Place::In(View::Results),
    Place::In(View::History),
    Place::Page,
    Place::Zoom,
    Place::Plan,
    Place::Form,
    Place::Files,
];

/// In the order of the key line.
pub const TABLE: [Binding; 75] = {
    use Action::*;
    use KeyCode as Key;
    [
        bind(EVERYWHERE, &[Char('?')], Help, "?", Some("help"), "show these keys"),
        bind(EVERYWHERE, &[Char('n')], New, "n", Some("new"), "submit a new batch"),
        bind(AT_WORK, &[Enter], Open, "Enter", Some("go to the job"), "go to the job in its batch"),
        bind(BATCHES, &[Enter], Open, "Enter", Some("open"), "go to the batch's jobs"),
        bind(
            BATCHES,
            &[Char(' ')],
            Mark,
            "Space",
            Some("mark"),
            "mark the batch; actions are about all that are marked",
        ),
        bind(BATCH, &[Enter], Open, "Enter", Some("open"), "show all that is known of the job"),
        bind(
            BATCH,
            &[Char(' ')],
            Mark,
            "Space",
            Some("mark"),
            "mark the job; cancel and retry are about all that are marked",
        ),
        bind(
            FAILURES,
            &[Enter],
            Open,
            "Enter",
            Some("jobs"),
            "show or hide the jobs that failed of it; a job: all that is known",
        ),
        bind(FAILURES, &[Char('r')], Retry, "r", Some("retry"), "try this job, or all jobs of this cause, again"),
        bind(FAILURES, &[Char('R')], RetryAll, "R", Some("retry all"), "try every failed job of the list again"),
        bind(
            FAILURES,
            &[Char('y')],
            Copy,
            "y",
            Some("copy"),
            "copy a report of the failures (clipboard of the terminal)",
        ),
        bind(FAILURES, &[Char('w')], Save, "w", Some("save"), "write the report into a file"),
        bind(FAILURES, &[Char('e')], Explain, "e", Some("explain"), "say why the job failed, and what to do"),
        bind(RESULTS, &[Enter], Open, "Enter", Some("zoom"), "show the picture or the text in full"),
        bind(RESULTS, &[Char(' ')], Mark, "Space", Some("mark"), "mark the result"),
        bind(RESULTS, &[Char(']')], NextBatch, "[ ]", Some("batch"), "the results of the next batch"),
        bind(RESULTS, &[Char('[')], LastBatch, "[", None, "the results of the batch before"),
        bind(RESULTS, &[Char('f')], Quality, "f", Some("quality"), "show only pictures of at least this quality"),
        bind(
            RESULTS,
            &[Char('y')],
            Copy,
            "y",
            Some("copy paths"),
            "copy the paths of what is marked, or of this result",
        ),
        bind(RESULTS, &[Char('l'), Key::Right], Right, "l →", None, "one to the right"),
        bind(RESULTS, &[Char('h'), Key::Left], Left, "h ←", None, "one to the left"),
        bind(OF_BATCHES, &[Char('c')], Cancel, "c", Some("cancel"), "cancel the batch or job, after a question"),
        bind(OF_BATCHES, &[Char('r')], Retry, "r", Some("retry"), "try failed and cancelled jobs again (batch or job)"),
        bind(OF_BATCHES, &[Char('p')], PauseOrResume, "p", Some("pause"), "pause the batch, or resume it"),
        bind(
            OF_BATCHES,
            &[Char('e')],
            Explain,
            "e",
            Some("explain"),
            "say why the batch or job is as it is, and what to do",
        ),
        bind(OF_BATCHES, &[Char('/')], Find, "/", Some("find"), "show only the batches, or jobs, with these words"),
        bind(BATCHES, &[Char('s')], Sort, "s", Some("sort"), "sort by another column"),
        bind(OF_BATCHES, &[Char('v')], Results, "v", Some("results"), "show what the batch has made"),
        bind(
            OF_BATCHES,
            &[Char('+'), Char('=')],
            Sooner,
            "+ -",
            Some("prio"),
            "the batch sooner: one step of priority up",
        ),
        bind(OF_BATCHES, &[Char('-')], Later, "-", None, "the batch later: one step of priority down"),
        bind(OF_BATCHES, &[Char('x')], Export, "x", Some("export"), "put originals and outputs into one archive"),
        bind(
            BATCHES,
            &[Key::Delete],
            Remove,
            "Del",
            None,
            "forget batches that have ended, after a question; their outputs stay",
        ),
        bind(EVERYWHERE, &[Char('q')], Quit, "q", Some("quit"), "leave; the daemon and its work go on"),
        bind(
            EVERYWHERE,
            &[Char('P')],
            PauseOrResumeHouse,
            "P",
            Some("pause all"),
            "pause the whole daemon, or resume it",
        ),
        bind(EVERYWHERE, &[Tab], NextView, "Tab", Some("next view"), "to the next view; 1–7 go to one at once"),
        bind(EVERYWHERE, &[BackTab], LastView, "Shift-Tab", None, "to the view before"),
        bind(EVERYWHERE, &[Char('1')], Go(View::Overview), "1", None, "how it goes"),
        bind(EVERYWHERE, &[Char('2')], Go(View::Batches), "2", None, "all batches"),
        bind(EVERYWHERE, &[Char('3')], Go(View::Batch), "3", None, "one batch with its jobs"),
        bind(EVERYWHERE, &[Char('4')], Go(View::Failures), "4", None, "failures by cause"),
        bind(EVERYWHERE, &[Char('5')], Go(View::Workers), "5", None, "workers and lanes"),
        bind(EVERYWHERE, &[Char('6')], Go(View::Results), "6", None, "what a batch has made"),
        bind(EVERYWHERE, &[Char('7')], Go(View::History), "7", None, "the last days"),
        bind(BEHIND, &[Esc], ShowAll, "Esc", None, "back; show all again after a search; unmark"),
        bind(EVERYWHERE, &[Char('T')], Theme, "T", None, "other colours: dark, light, contrast, plain"),
        bind(EVERYWHERE, &[Char('L')], Language, "L", None, "the other language: English, 中文"),
        bind(LISTS, &[Char('j'), Key::Down], Down, "j ↓", None, "one down; from a window's end to the next"),
        bind(LISTS, &[Char('k'), Key::Up], Up, "k ↑", None, "one up"),
        bind(LISTS, &[Key::PageDown], PageDown, "PgDn", None, "ten down"),
        bind(LISTS, &[Key::PageUp], PageUp, "PgUp", None, "ten up"),
        bind(LISTS, &[Char('g'), Home], First, "g Home", None, "to the first"),
        bind(LISTS, &[Char('G'), End], Last, "G End", None, "to the last"),
        bind(&[Place::Plan], &[Char('S')], Submit, "S", Some("submit"), "submit the batch"),
        bind(PAGES, &[Esc, Enter, Char('q'), Char('?')], Close, "Esc", Some("close"), "close this page"),
        bind(PAGES, &[Char(' ')], PageDown, "Space", None, "ten down"),
        bind(QUESTION, &[Char('y')], Yes, "y", Some("yes"), "do it"),
        bind(QUESTION, &[Char('n'), Esc, Char('q')], No, "n Esc", Some("no"), "leave it"),
        bind(QUESTION, &[Tab, BackTab, Key::Left, Key::Right], Toggle, "Tab ← →", None, "choose yes or no"),
        bind(QUESTION, &[Enter], Answer, "Enter", Some("take the marked answer"), "take the marked answer"),
        bind(FIND, &[Enter], Keep, "Enter", Some("show what was found"), "show what was found"),
        bind(FIND, &[Esc], ShowAll, "Esc", Some("show all"), "show all again"),
        bind(LINE, &[Enter], Keep, "Enter", Some("take it"), "take what is written"),
        bind(LINE, &[Esc], Close, "Esc", Some("leave it"), "leave it as it was"),
        bind(
            &[Place::Find, Place::Line],
            &[Key::Backspace],
            Erase,
            "Backspace",
            Some("erase"),
            "erase the last letter",
        ),
        bind(
            FORM,
            &[Enter, Char(' '), Key::Right],
            Change,
            "Enter",
            Some("change"),
            "change this line: write, choose, or switch",
        ),
        bind(FORM, &[Key::Left, Key::Backspace], ChangeBack, "←", None, "the choice before; or as it was at first"),
        bind(FORM, &[Char('v')], Preview, "v", Some("preview"), "show what would be done, and what skipped"),
        bind(FORM, &[Char('S')], Submit, "S", Some("submit"), "submit the batch"),
        bind(&[Place::Form, Place::Files], &[Esc, Char('q')], Close, "Esc", Some("back"), "back without it"),
        bind(FILES, &[Enter, Key::Right], Open, "Enter", Some("open or take"), "go into the folder, or take the file"),
        bind(FILES, &[Char(' ')], Mark, "Space", Some("mark"), "mark the file or folder"),
        bind(FILES, &[Char('t')], Take, "t", Some("take"), "take what is marked, or this"),
        bind(FILES, &[Key::Left, Char('h')], Left, "h ←", Some("up"), "to the folder above"),
        bind(ZOOM, &[Char('l'), Key::Right], Right, "l →", Some("next"), "the next result"),
        bind(ZOOM, &[Char('h'), Key::Left], Left, "h ←", None, "the result before"),
    ]
};

/// The table as people read it, under titles: what is of use in this view comes first.
pub fn sections(here: View) -> Vec<(&'static str, Vec<&'static Binding>)> {
    let everywhere = |places: &[Place]| View::ALL.iter().all(|view| places.contains(&Place::In(*view)));
    let of = |place: Place| move |binding: &&Binding| binding.places.contains(&place) && !everywhere(binding.places);
    let mut sections = vec![
        (here.name(), TABLE.iter().filter(of(Place::In(here))).collect()),
        ("everywhere", TABLE.iter().filter(|binding| everywhere(binding.places)).collect()),
    ];
    for view in View::ALL.into_iter().filter(|view| *view != here) {
        sections.push((view.name(), TABLE.iter().filter(of(Place::In(view))).collect()));
    }
    for (place, title) in [
        (Place::Form, "the form of a new batch"),
        (Place::Files, "choosing files"),
        (Place::Line, "writing a value"),
        (Place::Find, "writing what to find"),
        (Place::Page, "pages like this one"),
        (Place::Zoom, "a result in full"),
        (Place::Plan, "the preview"),
        (Place::Question, "questions"),
    ] {
        sections.push((title, TABLE.iter().filter(of(place)).collect::<Vec<_>>()));
    }
    // What was said of pages isn't said again of each kind of them.
    let mut told: Vec<&str> = Vec::new();
    for (_, bindings) in &mut sections {
        bindings.retain(|binding| !told.contains(&binding.long));
        told.extend(
            bindings.iter().filter(|binding| binding.places.contains(&Place::Page)).map(|binding| binding.long),
        );
    }
    sections.retain(|(_, bindings)| !bindings.is_empty());
    sections
}

/// What this key means here. ^C leaves from everywhere, as people expect.
pub fn meaning(place: Place, key: KeyEvent) -> Option<Action> {
    if key.kind == KeyEventKind::Release {
        return None;
    }
    // AltGr, which many letters need, comes as both together.
    let controls = key.modifiers & (KeyModifiers::CONTROL | KeyModifiers::ALT);
    if controls == KeyModifiers::CONTROL || controls == KeyModifiers::ALT {
        return (key.code == Char('c') && controls == KeyModifiers::CONTROL).then_some(Action::Quit);
    }
    let bound = TABLE.iter().find(|binding| binding.places.contains(&place) && binding.keys.contains(&key.code));
    match (bound, key.code) {
        (Some(binding), _) => Some(binding.action),
        (None, Char(letter)) if matches!(place, Place::Find | Place::Line) => Some(Action::Type(letter)),
        (None, _) => None,
    }
}

#[cfg(test)]
#[path = "every_key_tests.rs"]
mod every_key_tests;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_means_two_things_in_one_place() {
        let bindings: Vec<_> = TABLE.iter().collect();
        for (at, one) in bindings.iter().enumerate() {
            for other in &bindings[at + 1..] {
                let together = one.places.iter().any(|place| other.places.contains(place));
                let same = one.keys.iter().any(|key| other.keys.contains(key));
                assert!(!(together && same), "{} and {}", one.long, other.long);
            }
        }
    }

    #[test]
    fn control_keys_are_not_letters() {
        let control = |letter| KeyEvent::new(Char(letter), KeyModifiers::CONTROL);
        for place in
            [Place::In(View::Batches), Place::Page, Place::Zoom, Place::Plan, Place::Question, Place::Find, Place::Line]
        {
            assert_eq!(meaning(place, control('c')), Some(Action::Quit));
            assert_eq!(meaning(place, control('p')), None);
        }
    }

    #[test]
    fn letters_are_written_where_words_are() {
        for letter in ['q', '?', '/', ' ', '会'] {
            let key = KeyEvent::new(Char(letter), KeyModifiers::NONE);
            assert_eq!(meaning(Place::Find, key), Some(Action::Type(letter)));
            assert_eq!(meaning(Place::Line, key), Some(Action::Type(letter)));
        }
        let release = KeyEvent { kind: KeyEventKind::Release, ..KeyEvent::new(Char('q'), KeyModifiers::NONE) };
        assert_eq!(meaning(Place::In(View::Overview), release), None);
    }
}
