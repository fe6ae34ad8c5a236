//! THE KEYS: one table binds them, and makes the key line and the help. Knows no batch and no daemon.

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

/// What a person may want.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    Down,
    Up,
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
pub const TABLE: [Binding; 22] = {
    use Action::*;
    use Place::{Main, Page, Question};
    [
        bind(Main, &[Char('?')], Help, "?", Some("help"), "show these keys"),
        bind(Main, &[Char('q')], Quit, "q", Some("quit"), "leave; the daemon and its work go on"),
        bind(Main, &[Tab, BackTab], OtherPanel, "Tab", Some("panel"), "go from batches to jobs and back"),
        bind(Main, &[Enter], Open, "Enter", Some("open"), "a batch: go to its jobs; a job: show all of it"),
        bind(Main, &[Char('c')], Cancel, "c", Some("cancel"), "cancel the chosen batch or job, after a question"),
        bind(Main, &[Char('p')], PauseOrResume, "p", Some("pause"), "pause the chosen batch, or resume it"),
        bind(Main, &[Char('r')], Retry, "r", Some("retry"), "try failed and cancelled jobs again (batch or job)"),
        bind(
            Main,
            &[Char('+'), Char('=')],
            Sooner,
            "+",
            Some("sooner"),
            "the batch sooner: its priority number goes down",
        ),
        bind(Main, &[Char('-')], Later, "-", Some("later"), "the batch later: its priority number goes up"),
        bind(Main, &[Char('P')], PauseOrResumeHouse, "P", None, "pause the whole daemon, or resume it"),
        bind(Main, &[Char('j'), KeyCode::Down], Down, "j ↓", None, "one down"),
        bind(Main, &[Char('k'), KeyCode::Up], Up, "k ↑", None, "one up"),
        bind(Main, &[Char('g'), Home], First, "g Home", None, "to the first"),
        bind(Main, &[Char('G'), End], Last, "G End", None, "to the last"),
        bind(Page, &[Esc, Enter, Char('q'), Char('?')], Close, "Esc", Some("close"), "close this page"),
        bind(Page, &[Char('j'), KeyCode::Down], Down, "j ↓", Some("down"), "one line down"),
        bind(Page, &[Char('k'), KeyCode::Up], Up, "k ↑", Some("up"), "one line up"),
        bind(Page, &[Char('g'), Home], First, "g Home", None, "to the first line"),
        bind(Question, &[Char('y')], Yes, "y", Some("yes"), "do it"),
        bind(Question, &[Char('n'), Esc, Char('q')], No, "n Esc", Some("no"), "leave it"),
        bind(Question, &[Tab, BackTab, KeyCode::Left, KeyCode::Right], Toggle, "Tab ← →", None, "choose yes or no"),
        bind(Question, &[Enter], Answer, "Enter", Some("take the marked answer"), "take the marked answer"),
    ]
};

/// What this key means here. ^C leaves from everywhere, as people expect.
pub fn meaning(place: Place, key: KeyEvent) -> Option<Action> {
    if key.kind == KeyEventKind::Release {
        return None;
    }
    if key.modifiers.intersects(KeyModifiers::CONTROL | KeyModifiers::ALT) {
        return (key.code == Char('c') && key.modifiers.contains(KeyModifiers::CONTROL)).then_some(Action::Quit);
    }
    TABLE
        .iter()
        .find(|binding| binding.place == place && binding.keys.contains(&key.code))
        .map(|binding| binding.action)
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
        assert_eq!(meaning(Place::Main, control('p')), None);
        for place in [Place::Main, Place::Page, Place::Question] {
            assert_eq!(meaning(place, control('c')), Some(Action::Quit));
        }
    }
}
