//! The first frame in each direction: magic, protocol number, build. Frozen for ever.

use serde::{Deserialize, Serialize};

/// Says that the other side is Spindle at all.
pub const MAGIC: [u8; 8] = *b"SPINDLE\n";
/// Raised when the two sides would misunderstand each other.
pub const PROTOCOL: u32 = 3;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    pub magic: [u8; 8],
    pub protocol: u32,
    /// The program's version, for messages only.
    pub build: String,
}

/// Why two sides can't talk.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadHello {
    #[error("the other side is not Spindle")]
    NotSpindle,
    #[error(
        "the {older} is older ({theirs} against {ours}): upgrade it, or restart it if it was upgraded while running"
    )]
    Protocol { older: &'static str, ours: u32, theirs: u32 },
}

impl Hello {
    pub fn ours() -> Self {
        Hello { magic: MAGIC, protocol: PROTOCOL, build: env!("CARGO_PKG_VERSION").to_owned() }
    }

    /// `other_side` names who sent it: `daemon` or `client`.
    pub fn check(&self, other_side: &'static str) -> Result<(), BadHello> {
        if self.magic != MAGIC {
            return Err(BadHello::NotSpindle);
        }
        if self.protocol != PROTOCOL {
            let own_side = if other_side == "daemon" { "client" } else { "daemon" };
            let older = if self.protocol < PROTOCOL { other_side } else { own_side };
            return Err(BadHello::Protocol { older, ours: PROTOCOL, theirs: self.protocol });
        }
        Ok(())
    }
}
