//! A checkpoint: finished pieces of a long stage in an append-only file, each with its hash, found again by any later run of the same work.
//!
//! A record is `u32 length, little-endian | first 16 bytes of the payload's BLAKE3 | payload`. Reading stops at the first record that is
//! short or doesn't match, and the file is cut there: a kill in the middle of an append costs that piece and nothing else.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

const HASH_BYTES: usize = 16;
/// A piece is a window's text or a chunk's index, never media.
const PIECE_BYTES_MAX: usize = 16 << 20;

/// An open checkpoint: the pieces that were there, and the place to append.
pub struct Checkpoint {
    file: File,
    pieces: Vec<Vec<u8>>,
}

impl Checkpoint {
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let mut pieces = Vec::new();
        let mut good_until = 0;
        while let Some(piece) = read_piece(&mut file)? {
            good_until += (4 + HASH_BYTES + piece.len()) as u64;
            pieces.push(piece);
        }
        file.set_len(good_until)?;
        file.seek(SeekFrom::Start(good_until))?;
        Ok(Checkpoint { file, pieces })
    }

    /// What earlier runs finished, in the order it was appended.
    pub fn pieces(&self) -> &[Vec<u8>] {
        &self.pieces
    }

    /// Adds one finished piece; it survives the process from here on.
    pub fn append(&mut self, piece: &[u8]) -> io::Result<()> {
        let len = u32::try_from(piece.len())
            .ok()
            .filter(|len| *len as usize <= PIECE_BYTES_MAX)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "a checkpoint's piece is too large"))?;
        let mut record = Vec::with_capacity(4 + HASH_BYTES + piece.len());
        record.extend_from_slice(&len.to_le_bytes());
        record.extend_from_slice(&blake3::hash(piece).as_bytes()[..HASH_BYTES]);
        record.extend_from_slice(piece);
        self.file.write_all(&record)?;
        self.file.sync_data()
    }
}

/// `None` at the end of what is whole.
fn read_piece(file: &mut File) -> io::Result<Option<Vec<u8>>> {
    let mut head = [0; 4 + HASH_BYTES];
    if !read_whole(file, &mut head)? {
        return Ok(None);
    }
    let len = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
    if len > PIECE_BYTES_MAX {
        return Ok(None);
    }
    let mut piece = vec![0; len];
    if !read_whole(file, &mut piece)? || blake3::hash(&piece).as_bytes()[..HASH_BYTES] != head[4..] {
        return Ok(None);
    }
    Ok(Some(piece))
}

/// Whether the buffer could be filled; a short file is no error.
fn read_whole(file: &mut File, buffer: &mut [u8]) -> io::Result<bool> {
    match file.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(e) => Err(e),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(path: &Path) -> Vec<Vec<u8>> {
        Checkpoint::open(path).unwrap().pieces().to_vec()
    }

    #[test]
    fn pieces_come_back_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c");
        let mut checkpoint = Checkpoint::open(&path).unwrap();
        assert!(checkpoint.pieces().is_empty());
        checkpoint.append(b"one").unwrap();
        checkpoint.append(b"").unwrap();
        assert_eq!(pieces(&path), [b"one".to_vec(), b"".to_vec()]);
        let mut again = Checkpoint::open(&path).unwrap();
        again.append(b"three").unwrap();
        assert_eq!(pieces(&path), [b"one".to_vec(), b"".to_vec(), b"three".to_vec()]);
    }

    #[test]
    fn any_cut_and_any_flipped_byte_costs_only_what_follows() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c");
        let mut checkpoint = Checkpoint::open(&path).unwrap();
        checkpoint.append(b"first").unwrap();
        checkpoint.append(b"second").unwrap();
        let whole = std::fs::read(&path).unwrap();
        let first_len = 4 + HASH_BYTES + 5;
        for cut in first_len..whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            assert_eq!(pieces(&path), [b"first".to_vec()], "cut at {cut}");
        }
        for flip in first_len..whole.len() {
            let mut bytes = whole.clone();
            bytes[flip] ^= 1;
            std::fs::write(&path, &bytes).unwrap();
            assert_eq!(pieces(&path), [b"first".to_vec()], "flip at {flip}");
            // And what is appended after the damage is found again.
            Checkpoint::open(&path).unwrap().append(b"new").unwrap();
            assert_eq!(pieces(&path), [b"first".to_vec(), b"new".to_vec()]);
        }
    }
}
