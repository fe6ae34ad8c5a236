//! THE KEYS: one table binds them, and makes the key line and the help. Knows no batch and no daemon.

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

/// What a person may want.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    Down,
    Up,
    PageDown,
    PageUp,
    First,
    Last,
    OtherPanel,
    Open,
    Close,
    Cancel,
    PauseOrResume,
    PauseOrResumeHouse,
    Retry,
    Sooner,
    Later,
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
}

/// Where a key means it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The batches and jobs.
    Main,
    /// Help, or a job in full.
    Page,
    /// A question with yes and no.
    Question,
    /// The line in which words to find are written.
    Find,
}

pub struct Binding {
    pub place: Place,
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
    place: Place,
    keys: &'static [KeyCode],
    action: Action,
    label: &'static str,
    short: Option<&'static str>,
    long: &'static str,
) -> Binding {
    Binding { place, keys, action, label, short, long }
}

/// In the order of the key line.
pub const TABLE: [Binding; 31] = {
    use Action::*;
    use KeyCode as Key;
    use Place::{Main, Page, Question};
    [
        bind(Main, &[Char('?')], Help, "?", Some("help"), "show these keys"),
        bind(Main, &[Char('q')], Quit, "q", Some("quit"), "leave; the daemon and its work go on"),
        bind(Main, &[Char('/')], Find, "/", Some("find"), "show only the batches, or jobs, with these words"),
        bind(Main, &[Tab, BackTab], OtherPanel, "Tab", Some("panel"), "go from batches to jobs and back"),
        bind(Main, &[Char('c')], Cancel, "c", Some("cancel"), "cancel the chosen batch or job, after a question"),
        bind(Main, &[Char('p')], PauseOrResume, "p", Some("pause"), "pause the chosen batch, or resume it"),
        bind(Main, &[Char('r')], Retry, "r", Some("retry"), "try failed and cancelled jobs again (batch or job)"),
        bind(Main, &[Char('+'), Char('=')], Sooner, "+", Some("sooner"), "the batch sooner: one step of priority up"),
        bind(Main, &[Char('-')], Later, "-", Some("later"), "the batch later: one step of priority down"),
        bind(Main, &[Enter], Open, "Enter", Some("open"), "a batch: go to its jobs; a job: show all of it"),
        bind(Main, &[Char('P')], PauseOrResumeHouse, "P", Some("pause all"), "pause the whole daemon, or resume it"),
        bind(Main, &[Esc], ShowAll, "Esc", Some("show all"), "show all again after a search"),
        bind(Main, &[Char('j'), Key::Down], Down, "j ↓", Some("down"), "one down; from a window's end to the next"),
        bind(Main, &[Char('k'), Key::Up], Up, "k ↑", Some("up"), "one up"),
        bind(Main, &[Key::PageDown], PageDown, "PgDn", None, "ten down"),
        bind(Main, &[Key::PageUp], PageUp, "PgUp", None, "ten up"),
        bind(Main, &[Char('g'), Home], First, "g Home", None, "to the first"),
        bind(Main, &[Char('G'), End], Last, "G End", None, "to the last"),
        bind(Page, &[Esc, Enter, Char('q'), Char('?')], Close, "Esc", Some("close"), "close this page"),
        bind(Page, &[Char('j'), Key::Down], Down, "j ↓", Some("down"), "one line down"),
        bind(Page, &[Char('k'), Key::Up], Up, "k ↑", Some("up"), "one line up"),
        bind(Page, &[Key::PageDown], PageDown, "PgDn", None, "ten lines down"),
        bind(Page, &[Key::PageUp], PageUp, "PgUp", None, "ten lines up"),
        bind(Page, &[Char('g'), Home], First, "g Home", None, "to the first line"),
        bind(Question, &[Char('y')], Yes, "y", Some("yes"), "do it"),
        bind(Question, &[Char('n'), Esc, Char('q')], No, "n Esc", Some("no"), "leave it"),
        bind(Question, &[Tab, BackTab, Key::Left, Key::Right], Toggle, "Tab ← →", None, "choose yes or no"),
        bind(Question, &[Enter], Answer, "Enter", Some("take the marked answer"), "take the marked answer"),
        bind(Place::Find, &[Enter], Keep, "Enter", Some("show what was found"), "show what was found"),
        bind(Place::Find, &[Esc], ShowAll, "Esc", Some("show all"), "show all again"),
        bind(Place::Find, &[Key::Backspace], Erase, "Backspace", Some("erase"), "erase the last letter"),
    ]
};

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
    let bound = TABLE.iter().find(|binding| binding.place == place && binding.keys.contains(&key.code));
    match (bound, key.code) {
        (Some(binding), _) => Some(binding.action),
        (None, Char(letter)) if place == Place::Find => Some(Action::Type(letter)),
        (None, _) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_means_two_things_in_one_place() {
        for (at, one) in TABLE.iter().enumerate() {
            for other in TABLE[at + 1..].iter().filter(|other| other.place == one.place) {
                assert!(!one.keys.iter().any(|key| other.keys.contains(key)), "{} and {}", one.long, other.long);
            }
        }
    }

    #[test]
    fn control_keys_are_not_letters() {
        let control = |letter| KeyEvent::new(Char(letter), KeyModifiers::CONTROL);
        for place in [Place::Main, Place::Page, Place::Question, Place::Find] {
            assert_eq!(meaning(place, control('c')), Some(Action::Quit));
            assert_eq!(meaning(place, control('p')), None);
        }
    }

    #[test]
    fn letters_are_written_where_words_are() {
        for letter in ['q', '?', '/', ' ', '会'] {
            let key = KeyEvent::new(Char(letter), KeyModifiers::NONE);
            assert_eq!(meaning(Place::Find, key), Some(Action::Type(letter)));
        }
        let release = KeyEvent { kind: KeyEventKind::Release, ..KeyEvent::new(Char('q'), KeyModifiers::NONE) };
        assert_eq!(meaning(Place::Main, release), None);
    }
}
