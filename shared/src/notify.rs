//! Whom to tell: a command of this machine or a web address, as a submission or the configuration names it. Tells nobody itself.

use serde::{Deserialize, Serialize};

use crate::limits::{COMMAND_BYTES_MAX, COMMAND_WORDS_MAX};
use crate::url::Url;

/// One target. A secret stands here by its place (`env:NAME`, `file:PATH`, `credential:NAME`), never itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Notify {
    /// A program and its arguments, without a shell.
    Command(Vec<String>),
    Webhook {
        url: String,
        secret: Option<String>,
    },
}

impl Notify {
    /// What a submission names must be plausible.
    pub fn validate(&self) -> Result<(), String> {
        match self {
            Notify::Command(words) => {
                let bytes: usize = words.iter().map(String::len).sum();
                match words.first().map(String::as_str) {
                    None | Some("") => Err("a command has a program".to_owned()),
                    _ if words.len() > COMMAND_WORDS_MAX || bytes > COMMAND_BYTES_MAX => {
                        Err(format!("a command has {COMMAND_WORDS_MAX} words and {COMMAND_BYTES_MAX} bytes at most"))
                    }
                    _ if words.iter().any(|word| word.contains('\0')) => Err("a command has no NUL in it".to_owned()),
                    _ => Ok(()),
                }
            }
            Notify::Webhook { url, .. } => match Url::parse(url) {
                Ok(url) if url.in_store().is_some() => Err("a bucket can't be told anything".to_owned()),
                Ok(_) => Ok(()),
                Err(error) => Err(format!("the address {error}")),
            },
        }
    }
}

/// An address where it looks like one, else a command: words with quotes as a shell has them, and nothing else of a shell.
impl std::str::FromStr for Notify {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let notify = match text.contains("://") && !text.contains(char::is_whitespace) {
            true => Notify::Webhook { url: text.to_owned(), secret: None },
            false => Notify::Command(words(text)?),
        };
        notify.validate()?;
        Ok(notify)
    }
}

fn words(text: &str) -> Result<Vec<String>, String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None::<char>);
    let mut letters = text.chars();
    while let Some(c) = letters.next() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some('\''), c) => word.get_or_insert_default().push(c),
            (None, '\'' | '"') => {
                word.get_or_insert_default();
                quote = Some(c);
            }
            (_, '\\') => {
                let next = letters.next().ok_or("a command doesn't end with a backslash")?;
                word.get_or_insert_default().push(next);
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    if quote.is_some() {
        return Err("a quote in the command is not closed".to_owned());
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_commands_are_told_apart() {
        let command = |words: &[&str]| Ok(Notify::Command(words.iter().map(|word| (*word).to_owned()).collect()));
        assert_eq!("notify-send done".parse(), command(&["notify-send", "done"]));
        assert_eq!(
            r#"/bin/x 'a b' "c \" d" e\ f "" $HOME;ls"#.parse(),
            command(&["/bin/x", "a b", "c \" d", "e f", "", "$HOME;ls"])
        );
        assert_eq!("curl https://x.example/a".parse(), command(&["curl", "https://x.example/a"]));
        assert!(matches!("https://x.example/a?b".parse(), Ok(Notify::Webhook { .. })));
        for wrong in ["", "   ", "'open", "end\\", "s3://bucket/x", "ftp://x.example/"] {
            assert!(wrong.parse::<Notify>().is_err(), "{wrong}");
        }
    }
}
