//! How things are to look and in which language: what is settled when the dashboard starts, and may be changed by a key. Knows no panel.

use clap::ValueEnum;

use crate::texts;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Theme {
    /// For dark backgrounds
    #[default]
    Dark,
    /// For light backgrounds
    Light,
    /// Bold, with the brightest colours
    Contrast,
    /// No colours at all
    Plain,
}

impl Theme {
    const ORDER: [Theme; 4] = [Theme::Dark, Theme::Light, Theme::Contrast, Theme::Plain];

    pub fn next(self) -> Theme {
        let at = Theme::ORDER.iter().position(|theme| *theme == self).unwrap_or(0);
        Theme::ORDER[(at + 1) % Theme::ORDER.len()]
    }

    pub fn name(self) -> &'static str {
        match self {
            Theme::Dark => "dark",
            Theme::Light => "light",
            Theme::Contrast => "contrast",
            Theme::Plain => "plain",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Language {
    #[default]
    #[value(name = "en")]
    English,
    #[value(name = "zh")]
    Chinese,
}

/// Meaning never hangs on colour alone: every state is a word too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Look {
    pub theme: Theme,
    pub language: Language,
    /// The terminal knows 256 colours; otherwise its 16.
    pub rich: bool,
    /// Nothing but ASCII is drawn.
    pub ascii: bool,
}

/// What the environment says of the terminal.
pub struct Surroundings<'e> {
    pub no_color: Option<&'e str>,
    pub colorterm: Option<&'e str>,
    pub term: Option<&'e str>,
    /// The first of `LC_ALL`, `LC_CTYPE` and `LANG` that says something.
    pub ctype: Option<&'e str>,
    /// The first of `LC_ALL`, `LC_MESSAGES` and `LANG` that says something.
    pub messages: Option<&'e str>,
}

impl Look {
    /// What fits these surroundings, where nothing else was asked for.
    pub fn fitting(surroundings: &Surroundings<'_>) -> Look {
        let Surroundings { no_color, colorterm, term, ctype, messages } = *surroundings;
        let forbidden = no_color.is_some_and(|value| !value.is_empty());
        let dumb = term == Some("dumb");
        let utf8 = ctype.is_none_or(|ctype| {
            let ctype = ctype.to_ascii_lowercase();
            // A container has often no locale at all, and a terminal before it that takes everything.
            ctype.contains("utf-8") || ctype.contains("utf8")
        });
        Look {
            theme: if forbidden || dumb { Theme::Plain } else { Theme::Dark },
            language: match messages {
                Some(messages) if messages.starts_with("zh") && utf8 => Language::Chinese,
                _ => Language::English,
            },
            rich: colorterm.is_some_and(|value| value == "truecolor" || value == "24bit")
                || term.is_some_and(|term| term.contains("256color")),
            ascii: !utf8 || dumb || term == Some("linux"),
        }
    }

    /// This text in the reader's language.
    pub fn t(self, english: &'static str) -> &'static str {
        match self.language {
            Language::English => english,
            Language::Chinese => texts::chinese(english),
        }
    }

    /// This text in the reader's language with each `{}` filled in.
    pub fn fill(self, english: &'static str, values: &[&dyn std::fmt::Display]) -> String {
        let (mut text, mut values) = (String::new(), values.iter());
        let mut pieces = self.t(english).split("{}");
        text.push_str(pieces.next().unwrap_or_default());
        for piece in pieces {
            if let Some(value) = values.next() {
                text.push_str(&value.to_string());
            }
            text.push_str(piece);
        }
        text
    }

    /// A word of a closed list that the daemon speaks, such as a state; as it is where the table hasn't it.
    pub fn word(self, english: &str) -> String {
        match self.language {
            Language::English => english.to_owned(),
            Language::Chinese => texts::known(english).unwrap_or(english).to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: Surroundings<'_> =
        Surroundings { no_color: None, colorterm: None, term: None, ctype: None, messages: None };

    #[test]
    fn the_surroundings_decide() {
        let look = |surroundings: &Surroundings<'_>| Look::fitting(surroundings);
        assert_eq!(look(&NOTHING), Look::default());
        assert_eq!(look(&Surroundings { no_color: Some("1"), ..NOTHING }).theme, Theme::Plain);
        assert_eq!(look(&Surroundings { no_color: Some(""), ..NOTHING }).theme, Theme::Dark);
        assert!(look(&Surroundings { term: Some("xterm-256color"), ..NOTHING }).rich);
        assert!(look(&Surroundings { term: Some("linux"), ..NOTHING }).ascii);
        assert!(look(&Surroundings { ctype: Some("C"), ..NOTHING }).ascii);
        let chinese = Surroundings { ctype: Some("zh_CN.UTF-8"), messages: Some("zh_CN.UTF-8"), ..NOTHING };
        assert_eq!((look(&chinese).language, look(&chinese).ascii), (Language::Chinese, false));
        let unreadable = Surroundings { ctype: Some("zh_CN.GB2312"), messages: Some("zh_CN.GB2312"), ..NOTHING };
        assert_eq!((look(&unreadable).language, look(&unreadable).ascii), (Language::English, true));
    }

    #[test]
    fn gaps_are_filled_in_their_order() {
        let look = Look::default();
        assert_eq!(look.fill("{} of {}", &[&3, &12]), "3 of 12");
        assert_eq!(Look { language: Language::Chinese, ..look }.fill("{} of {}", &[&3, &12]), "3 / 12");
    }
}
