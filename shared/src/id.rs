//! Identifiers: batches, jobs, runs, and content addresses. Numbers are newtypes, so none is taken for another.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A batch, numbered from 1 in the order of submission; a number is never given twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BatchId(pub u64);

/// A job: its batch and its place in input order, from 1. Shown as `12/3`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct JobId {
    pub batch: BatchId,
    pub index: u32,
}

/// One try of one stage of one job. The boot number fences what a dead daemon started; never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RunId {
    pub boot: u64,
    pub counter: u64,
}

/// A worker process, numbered by the supervisor from 1 in each boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct WorkerId(pub u64);

/// Who submitted: the numeric user id of the peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Owner(pub u32);

impl fmt::Display for BatchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl JobId {
    /// The job that gathers the results of all inputs, in batches that have one.
    pub fn gather(batch: BatchId) -> Self {
        JobId { batch, index: GATHER_INDEX }
    }

    pub fn is_gather(self) -> bool {
        self.index == GATHER_INDEX
    }
}

/// Inputs count from 1.
pub const GATHER_INDEX: u32 = 0;
const GATHER: &str = "gather";

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.is_gather() {
            true => write!(f, "{}/{GATHER}", self.batch),
            false => write!(f, "{}/{}", self.batch, self.index),
        }
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.boot, self.counter)
    }
}

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "w{}", self.0)
    }
}

/// What a person may name: a whole batch or one of its jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Target {
    Batch(BatchId),
    Job(JobId),
}

impl Target {
    pub fn batch(self) -> BatchId {
        match self {
            Target::Batch(batch) => batch,
            Target::Job(job) => job.batch,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Batch(batch) => batch.fmt(f),
            Target::Job(job) => job.fmt(f),
        }
    }
}

/// `12`, `12/3` or `12/gather`; nothing else.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a batch (`12`) or a job (`12/3`, `12/gather`)")]
pub struct BadTarget(pub String);

impl FromStr for Target {
    type Err = BadTarget;

    fn from_str(text: &str) -> Result<Self, BadTarget> {
        let bad = || BadTarget(text.to_owned());
        let positive = |s: &str| s.parse::<u64>().ok().filter(|n| *n > 0);
        match text.split_once('/') {
            None => Ok(Target::Batch(BatchId(positive(text).ok_or_else(bad)?))),
            Some((batch, GATHER)) => Ok(Target::Job(JobId::gather(BatchId(positive(batch).ok_or_else(bad)?)))),
            Some((batch, index)) => Ok(Target::Job(JobId {
                batch: BatchId(positive(batch).ok_or_else(bad)?),
                index: positive(index).and_then(|n| u32::try_from(n).ok()).ok_or_else(bad)?,
            })),
        }
    }
}

impl FromStr for BatchId {
    type Err = BadTarget;

    fn from_str(text: &str) -> Result<Self, BadTarget> {
        match text.parse()? {
            Target::Batch(id) => Ok(id),
            Target::Job(_) => Err(BadTarget(text.to_owned())),
        }
    }
}

/// A BLAKE3 hash: of a file's bytes (an input) or of what an artifact was made from (its address).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ContentHash(pub [u8; 32]);

impl ContentHash {
    pub fn of(bytes: &[u8]) -> Self {
        ContentHash(*blake3::hash(bytes).as_bytes())
    }
}

impl fmt::Display for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Sixty-four digits, as it is shown; nothing else.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a hash")]
pub struct BadHash;

impl FromStr for ContentHash {
    type Err = BadHash;

    fn from_str(text: &str) -> Result<Self, BadHash> {
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Ok(byte - b'0'),
            b'a'..=b'f' => Ok(byte - b'a' + 10),
            _ => Err(BadHash),
        };
        let mut hash = [0; 32];
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        if pairs.len() != hash.len() || !rest.is_empty() {
            return Err(BadHash);
        }
        for (byte, [high, low]) in hash.iter_mut().zip(pairs) {
            *byte = digit(*high)? << 4 | digit(*low)?;
        }
        Ok(ContentHash(hash))
    }
}

impl fmt::Debug for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Hashes what is written into it.
#[derive(Debug, Default)]
pub struct ContentHasher(blake3::Hasher);

impl ContentHasher {
    pub fn finish(&self) -> ContentHash {
        ContentHash(*self.0.finalize().as_bytes())
    }
}

impl std::io::Write for ContentHasher {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Hashes named parts in order; lengths are part of the hash, so no two lists of parts collide.
#[derive(Default)]
pub struct AddressHasher(blake3::Hasher);

impl AddressHasher {
    pub fn part(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.update(&(bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
        self
    }

    pub fn finish(&self) -> ContentHash {
        ContentHash(*self.0.finalize().as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_read_back_what_they_show() {
        for text in ["1", "12", "12/3"] {
            assert_eq!(text.parse::<Target>().map(|t| t.to_string()), Ok(text.to_owned()));
        }
        for text in ["", "0", "12/", "/3", "12/0", "a", "1/2/3", "-1", "12/4294967296"] {
            assert!(text.parse::<Target>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_hash_reads_back_what_it_shows() {
        let hash = ContentHash::of(b"x");
        assert_eq!(hash.to_string().parse(), Ok(hash));
        let text = hash.to_string();
        for wrong in [&text[1..], &format!("{text}0"), &text.to_uppercase(), "", &"é".repeat(32), &"g".repeat(64)] {
            assert_eq!(wrong.parse::<ContentHash>(), Err(BadHash), "{wrong}");
        }
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        let mut one = AddressHasher::default();
        one.part(b"ab").part(b"c");
        let mut other = AddressHasher::default();
        other.part(b"a").part(b"bc");
        assert_ne!(one.finish(), other.finish());
    }
}
