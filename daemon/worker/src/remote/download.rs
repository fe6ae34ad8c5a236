//! What any download over several connections needs: how one of them ended short of the whole, and what a refusal means. Knows nothing of what
//! is fetched.

use spindle_shared::failure::{Failure, FailureKind};

use crate::context::Halt;

/// How one connection ended short of the whole.
pub enum End {
    /// Broken off: the next one goes on from here.
    Cut(String),
    Halt(Halt),
}

impl From<Halt> for End {
    fn from(halt: Halt) -> Self {
        End::Halt(halt)
    }
}

impl From<Failure> for End {
    fn from(failure: Failure) -> Self {
        End::Halt(failure.into())
    }
}

/// Of a status that is no success.
pub fn kind_of_refusal(status: u16) -> FailureKind {
    match status {
        401 | 403 | 407 => FailureKind::Auth,
        408 => FailureKind::Network,
        429 => FailureKind::RateLimited,
        400..=499 => FailureKind::Input,
        _ => FailureKind::Server,
    }
}

/// How long the server wants to be left alone. Given as a date it is only told.
pub fn asked_wait_ms(retry_after: Option<&str>) -> Option<u64> {
    let seconds = retry_after.and_then(|after| after.trim().parse::<u64>().ok());
    seconds.map(|seconds| seconds.saturating_mul(1_000))
}
