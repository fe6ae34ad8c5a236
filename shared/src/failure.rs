//! A failure is data: a kind, a message for people, and advice. Kinds are decided where the fault is seen, never guessed from text.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What went wrong, as far as anyone would act differently. One retry policy and one line of advice each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum FailureKind {
    Network,
    RateLimited,
    Quota,
    Server,
    Auth,
    /// Missing, empty, unreadable, unsupported, no such stream, too long.
    Input,
    /// The output's name is taken by a file that is not ours to replace.
    Exists,
    Permission,
    OutOfMemory,
    Timeout,
    /// The worker died, hung, or spoke garbage under this job.
    Crash,
    /// This input killed its own worker twice.
    Poison,
    ModelMissing,
    Cancelled,
    Internal,
    /// There is no room on the disk. No job ends with it: work waits for room.
    DiskFull,
}

impl FailureKind {
    pub const ALL: [FailureKind; 16] = [
        FailureKind::Network,
        FailureKind::RateLimited,
        FailureKind::Quota,
        FailureKind::Server,
        FailureKind::Auth,
        FailureKind::Input,
        FailureKind::Exists,
        FailureKind::Permission,
        FailureKind::OutOfMemory,
        FailureKind::Timeout,
        FailureKind::Crash,
        FailureKind::Poison,
        FailureKind::ModelMissing,
        FailureKind::Cancelled,
        FailureKind::Internal,
        FailureKind::DiskFull,
    ];

    pub fn name(self) -> &'static str {
        match self {
            FailureKind::Network => "network",
            FailureKind::RateLimited => "rate_limited",
            FailureKind::Quota => "quota",
            FailureKind::Server => "server",
            FailureKind::Auth => "auth",
            FailureKind::Input => "input",
            FailureKind::Exists => "exists",
            FailureKind::Permission => "permission",
            FailureKind::OutOfMemory => "out_of_memory",
            FailureKind::Timeout => "timeout",
            FailureKind::Crash => "crash",
            FailureKind::Poison => "poison",
            FailureKind::ModelMissing => "model_missing",
            FailureKind::Cancelled => "cancelled",
            FailureKind::Internal => "internal",
            FailureKind::DiskFull => "disk_full",
        }
    }

    /// What to do, where the place of failure has nothing more exact to say.
    pub fn advice(self) -> &'static str {
        match self {
            FailureKind::Network => "check the connection, then `spindlectl retry` the job",
            FailureKind::RateLimited => "nothing to do: it goes on when the service allows",
            FailureKind::Quota => "wait for the quota to renew, or raise it",
            FailureKind::Server => "the service is at fault; retry later",
            FailureKind::Auth => "check the key or the login for this service",
            FailureKind::Input => "check that the file plays; replace it, then retry",
            FailureKind::Exists => "move the file that has this name, or submit with --force or --skip-existing",
            FailureKind::Permission => "give yourself the right to read the input and write the output folder",
            FailureKind::OutOfMemory => "run fewer at once (--parallel) or take a smaller model",
            FailureKind::Timeout => "raise --timeout, or split the input",
            FailureKind::Crash => "retry; if it happens again the input may be damaged",
            FailureKind::Poison => "this input makes the decoder crash: convert or repair it first",
            FailureKind::ModelMissing => {
                "fetch the model with `spindlectl models pull NAME`, or check it with `models verify`"
            }
            FailureKind::Cancelled => "submit it again, or `spindlectl retry` it",
            FailureKind::Internal => "this is a fault of Spindle: please report it, with what spindled wrote about it",
            FailureKind::DiskFull => "make room on this disk; it goes on by itself",
        }
    }
}

impl fmt::Display for FailureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why a run, and in the end a job, failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    pub kind: FailureKind,
    /// What happened, to which input; lower case, no full stop.
    pub message: String,
    /// What to do about it.
    pub advice: String,
    /// Milliseconds that a service asks to be left alone, where it has said so.
    pub retry_after_ms: Option<u64>,
    /// Number of the device (`st_dev`) that it happened on, where a file system was the cause.
    pub device: Option<u64>,
}

impl Failure {
    /// A failure with its kind's own advice.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Failure {
            kind,
            message: clipped(message.into()),
            advice: kind.advice().to_owned(),
            retry_after_ms: None,
            device: None,
        }
    }

    pub fn retry_after(self, ms: Option<u64>) -> Self {
        Failure { retry_after_ms: ms, ..self }
    }

    pub fn on_device(self, device: Option<u64>) -> Self {
        Failure { device, ..self }
    }

    /// The message without what differs from job to job: the input's name, quoted names, numbers. What is alike has one cause.
    pub fn shape(&self, input: Option<&str>) -> String {
        let mut text = self.message.clone();
        if let Some(input) = input.filter(|input| !input.is_empty()) {
            text = text.replace(input, "…");
            if let Some(name) = input.rsplit('/').next().filter(|name| !name.is_empty()) {
                text = text.replace(name, "…");
            }
        }
        let mut shape = String::with_capacity(text.len());
        let mut characters = text.chars().peekable();
        while let Some(c) = characters.next() {
            if c == '`' || c == '"' {
                while characters.next().is_some_and(|quoted| quoted != c) {}
                shape.push('…');
            } else if c.is_ascii_digit() {
                while characters.next_if(|next| next.is_ascii_digit() || *next == '.').is_some() {}
                shape.push('#');
            } else {
                shape.push(c);
            }
        }
        shape
    }

    pub fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = clipped(advice.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind, self.message)
    }
}

/// Texts from outside (a library's, a server's) end at the limit, on a character's border.
fn clipped(mut text: String) -> String {
    let max = crate::limits::FAILURE_TEXT_BYTES_MAX;
    if text.len() > max {
        let cut = (0..=max).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(cut);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_own_name_and_advice() {
        let names: std::collections::BTreeSet<_> = FailureKind::ALL.iter().map(|k| k.name()).collect();
        assert_eq!(names.len(), FailureKind::ALL.len());
        assert!(FailureKind::ALL.iter().all(|k| !k.advice().is_empty()));
    }

    #[test]
    fn unclosed_quotes_and_odd_names_do_no_harm_to_a_shape() {
        let shape = |message, input| Failure::new(FailureKind::Input, message).shape(input);
        assert_eq!(shape("no `track", None), "no …");
        assert_eq!(shape("字 7 字", Some("/")), "字 # 字");
        assert_eq!(shape("a.mp4 ends after 3.5 s", Some("/v/a.mp4")), shape("b.mp4 ends after 12 s", Some("/v/b.mp4")));
        assert_eq!(shape("ab", Some("")), "ab");
    }

    #[test]
    fn long_texts_are_cut_on_a_border() {
        let failure = Failure::new(FailureKind::Input, "字".repeat(10_000));
        assert!(failure.message.len() <= crate::limits::FAILURE_TEXT_BYTES_MAX + '…'.len_utf8());
    }
}
