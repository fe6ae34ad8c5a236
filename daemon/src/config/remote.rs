//! `[remote]` and `[models]`: where inputs and models may come from. Fetches nothing.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use spindle_shared::stage::fetch::{Fetch, Pages};

/// Inputs that lie elsewhere.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Remote {
    /// Largest input that is fetched.
    pub input_max_mib: u64,
    /// `HOST:PORT` that inputs may come from although they are no public ones.
    pub allow: Vec<String>,
    /// Sites whose addresses are pages around a recording: `HOST`, for all below it, too, or `HOST:PORT`.
    pub ytdlp: Vec<String>,
    /// The program that reads them: a name in PATH, or a path.
    pub ytdlp_program: String,
    /// How stores share outputs that may go to any of them.
    pub balance: Balance,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Balance {
    /// One after the other.
    Turns,
    /// The one with the most room left comes next.
    Room,
}

impl From<Balance> for spindle_core::stores::Balance {
    fn from(balance: Balance) -> Self {
        match balance {
            Balance::Turns => spindle_core::stores::Balance::Turns,
            Balance::Room => spindle_core::stores::Balance::Room,
        }
    }
}

/// Of a script's first line, which names its interpreter.
const SHEBANG_BYTES_MAX: u64 = 256;

/// Sites that many name and whose addresses are no files.
const SITES: [&str; 4] = ["youtube.com", "youtu.be", "vimeo.com", "bilibili.com"];

impl Default for Remote {
    fn default() -> Self {
        Remote {
            input_max_mib: 20_480,
            allow: Vec::new(),
            ytdlp: SITES.map(str::to_owned).into(),
            ytdlp_program: "yt-dlp".to_owned(),
            balance: Balance::Turns,
        }
    }
}

impl Remote {
    /// What a run is told that fetches.
    pub fn fetching(&self) -> Fetch {
        let bytes_max = self.input_max_mib.saturating_mul(1 << 20);
        let pages = Pages { program: self.ytdlp_program.clone(), sites: self.ytdlp.clone() };
        Fetch { bytes_max, allow: self.allow.clone(), store: None, pages }
    }

    /// The program that reads pages, where it is on this machine.
    pub fn reader(&self) -> Option<PathBuf> {
        let program = Path::new(&self.ytdlp_program);
        let is_program =
            |path: &PathBuf| rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok() && path.is_file();
        match program.components().count() {
            1 => {
                let path = std::env::var_os("PATH")?;
                std::env::split_paths(&path).map(|folder| folder.join(program)).find(is_program)
            }
            _ => Some(program.to_owned()).filter(is_program),
        }
    }

    /// What workers that fetch may start: that program, and the one that it is a script for.
    pub fn programs(&self) -> Vec<PathBuf> {
        let Some(reader) = self.reader().filter(|_| !self.ytdlp.is_empty()) else { return Vec::new() };
        let mut begin = Vec::new();
        let read = File::open(&reader).and_then(|file| file.take(SHEBANG_BYTES_MAX).read_to_end(&mut begin));
        let line = read.ok().and_then(|_| begin.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next());
        let interpreter = line.and_then(|line| std::str::from_utf8(line).ok()?.split_whitespace().next());
        [reader].into_iter().chain(interpreter.map(PathBuf::from)).collect()
    }
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Models {
    /// Address that takes the place of the publisher's.
    pub mirror: Option<String>,
}
