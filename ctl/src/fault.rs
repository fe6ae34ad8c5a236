//! A fault: why a verb wasn't done, as a line, a hint and an exit code. Knows no output.

use std::io;

use spindle_shared::client::ClientError;
use spindle_shared::exit;
use spindle_shared::wire::response::Refusal;

/// Told once, in `main`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub code: u8,
    /// For scripts: the refusal's kind, `usage`, `unreachable` …
    pub kind: &'static str,
    /// Lower case, one line.
    pub message: String,
    pub hint: Option<String>,
}

impl Fault {
    pub fn new(code: u8, kind: &'static str, message: impl Into<String>) -> Self {
        Fault { code, kind, message: message.into(), hint: None }
    }

    pub fn usage(message: impl Into<String>) -> Self {
        Fault::new(exit::USAGE, "usage", message)
    }

    pub fn error(message: impl Into<String>) -> Self {
        Fault::new(exit::ERROR, "error", message)
    }

    pub fn not_found(message: impl Into<String>) -> Self {
        Fault::new(exit::NOT_FOUND, "not_found", message)
    }

    /// The daemon answered something else than was asked.
    pub fn unexpected(what: &str) -> Self {
        Fault::new(exit::ERROR, "protocol", format!("the daemon's answer lacks {what}"))
            .hint("spindlectl and spindled may be of different versions; restart the daemon")
    }

    /// Whoever read our output has read enough: nothing to tell.
    pub fn reader_gone() -> Self {
        Fault::new(exit::DONE, "reader_gone", "")
    }

    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Standard output couldn't be written.
    pub fn of_output(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Fault::reader_gone(),
            _ => Fault::error(format!("failed to write the output: {error}")),
        }
    }
}

impl From<ClientError> for Fault {
    fn from(error: ClientError) -> Self {
        let message = error.to_string();
        match error {
            ClientError::Unreachable { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                Fault::new(exit::UNREACHABLE, "unreachable", message).hint(
                    "its socket is for those in its group: `sudo usermod -aG spindle NAME` lets somebody in at the \
                     system's, from their next login on",
                )
            }
            ClientError::Unreachable { .. } => Fault::new(exit::UNREACHABLE, "unreachable", message)
                .hint("start it with `spindled &`; --socket or --system names another"),
            ClientError::Untrusted { .. } => Fault::new(exit::UNREACHABLE, "untrusted", message)
                .hint("set XDG_RUNTIME_DIR, or name the daemon's socket with --socket"),
            ClientError::Protocol(_) => Fault::new(exit::ERROR, "protocol", message),
            ClientError::Refused(refusal) => refusal.into(),
            ClientError::Broken(_) => Fault::new(exit::UNREACHABLE, "broken", message)
                .hint("see whether the daemon still runs: `spindlectl health`"),
        }
    }
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        Fault {
            code: refusal.kind.exit_code(),
            kind: refusal.kind.name(),
            message: refusal.message,
            hint: refusal.hint,
        }
    }
}
