//! Lanes: what is scarce and has slots; and the roles of the processes that use them.

use serde::{Deserialize, Serialize};

/// Something scarce with slots. A run occupies one slot of its lane, or as many as it was given, from Start until its process has ended or
/// reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Lane {
    /// Processor cores.
    Cpu,
    /// Hashing, shaping texts, publishing: bound by the disk, milliseconds each.
    Io,
    /// Fetching from elsewhere.
    Net,
    /// Asking model APIs; who may be asked how often is each one's own.
    Api,
}

impl Lane {
    pub const ALL: [Lane; 4] = [Lane::Cpu, Lane::Io, Lane::Net, Lane::Api];

    pub fn name(self) -> &'static str {
        match self {
            Lane::Cpu => "cpu",
            Lane::Io => "io",
            Lane::Net => "net",
            Lane::Api => "api",
        }
    }
}

/// What a worker process is for; fixed at its start, and with it what it may touch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Role {
    /// Decodes and encodes; no network.
    Media,
    /// Holds one model of speech and transcribes several recordings over it.
    Speech,
    /// Holds models of pictures; pictures of several runs go through one together.
    Vision,
    /// Fetches; no decoder.
    Net,
    /// Hashes, shapes texts, publishes; neither decoder nor network.
    Files,
}

impl Role {
    pub const ALL: [Role; 5] = [Role::Media, Role::Speech, Role::Vision, Role::Net, Role::Files];

    pub fn name(self) -> &'static str {
        match self {
            Role::Media => "media",
            Role::Speech => "speech",
            Role::Vision => "vision",
            Role::Net => "net",
            Role::Files => "files",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Role::ALL.into_iter().find(|role| role.name() == name)
    }
}
