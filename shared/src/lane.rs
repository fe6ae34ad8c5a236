//! Lanes: what is scarce and has slots; and the roles of the processes that use them.

use std::fmt;

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
    /// A graphics card, by its number in this house.
    Gpu(u8),
}

impl Lane {
    /// Those that every house has.
    pub const ALWAYS: [Lane; 4] = [Lane::Cpu, Lane::Io, Lane::Net, Lane::Api];

    /// Those of a house with so many graphics cards.
    pub fn all(gpus: u8) -> impl Iterator<Item = Lane> + use<> {
        Lane::ALWAYS.into_iter().chain((0..gpus).map(Lane::Gpu))
    }

    pub fn gpu(self) -> Option<u8> {
        match self {
            Lane::Gpu(number) => Some(number),
            Lane::Cpu | Lane::Io | Lane::Net | Lane::Api => None,
        }
    }
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Lane::Cpu => f.write_str("cpu"),
            Lane::Io => f.write_str("io"),
            Lane::Net => f.write_str("net"),
            Lane::Api => f.write_str("api"),
            Lane::Gpu(number) => write!(f, "gpu:{number}"),
        }
    }
}

/// A graphics card, as a worker that can use it has found it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// As its maker calls it.
    pub name: String,
    /// `CUDA`, `Vulkan`.
    pub api: String,
    pub memory_bytes: u64,
    /// Of it, what nobody had taken when it was looked at.
    pub free_bytes: u64,
    /// What a worker can do on it, by the names of roles.
    pub roles: Vec<String>,
}

impl Device {
    pub fn does(&self, role: Role) -> bool {
        self.roles.iter().any(|name| name == role.name())
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
