//! Hashes a file through its descriptor, by position, so that nobody else's reading is disturbed. Knows no names.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use spindle_shared::id::ContentHash;

use crate::context::Halt;

/// One read: large enough for a disk to stream, small enough that a wish to stop is heard at once.
pub const PIECE_BYTES: usize = 1 << 20;

/// Why a file was not read to its end.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("halted")]
    Halted(Halt),
}

/// What was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hashed {
    pub content: ContentHash,
    pub bytes: u64,
}

/// Reads from the start to the end, handing each piece to `take`, which may stop it. Ends early once more than `bytes_max` came:
/// a file that grows as fast as it is read would have no end.
pub fn hash_pieces(
    file: &File,
    bytes_max: u64,
    mut take: impl FnMut(&[u8]) -> Result<(), Halt>,
) -> Result<Hashed, ReadError> {
    let mut piece = vec![0; PIECE_BYTES];
    let mut hasher = blake3::Hasher::new();
    let mut bytes = 0;
    while bytes <= bytes_max {
        let read = match file.read_at(&mut piece, bytes) {
            Ok(0) => break,
            Ok(read) => read,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(e.into()),
        };
        hasher.update(&piece[..read]);
        bytes += read as u64;
        take(&piece[..read]).map_err(ReadError::Halted)?;
    }
    Ok(Hashed { content: ContentHash(*hasher.finalize().as_bytes()), bytes })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn the_hash_is_that_of_the_bytes_wherever_the_descriptor_stands() {
        let mut file = tempfile::tempfile().unwrap();
        let bytes: Vec<u8> = (0..PIECE_BYTES * 2 + 17).map(|at| (at % 251) as u8).collect();
        file.write_all(&bytes).unwrap();
        let mut seen = Vec::new();
        let hashed = hash_pieces(&file, u64::MAX, |piece| {
            seen.extend_from_slice(piece);
            Ok(())
        })
        .unwrap();
        assert_eq!(hashed, Hashed { content: ContentHash::of(&bytes), bytes: bytes.len() as u64 });
        assert!(seen == bytes);
    }

    #[test]
    fn a_file_that_outgrows_its_size_ends() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(10 * PIECE_BYTES as u64).unwrap();
        let hashed = hash_pieces(&file, 5, |_| Ok(())).unwrap();
        assert_eq!(hashed.bytes, PIECE_BYTES as u64);
    }

    #[test]
    fn a_wish_to_stop_ends_it() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(1).unwrap();
        let ended = hash_pieces(&file, u64::MAX, |_| Err(Halt::Stopped));
        assert!(matches!(ended, Err(ReadError::Halted(Halt::Stopped))));
    }
}
