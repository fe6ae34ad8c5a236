//! Bytes on the wire, written and read at once and not one by one.

use std::fmt;

use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A piece of a file.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Piece(pub Vec<u8>);

impl fmt::Debug for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Piece({} bytes)", self.0.len())
    }
}

impl Serialize for Piece {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Piece {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_byte_buf(Bytes)
    }
}

struct Bytes;

impl<'de> Visitor<'de> for Bytes {
    type Value = Piece;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes")
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Piece, E> {
        Ok(Piece(bytes.to_vec()))
    }

    fn visit_byte_buf<E: Error>(self, bytes: Vec<u8>) -> Result<Piece, E> {
        Ok(Piece(bytes))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut bytes: A) -> Result<Piece, A::Error> {
        let mut piece = Vec::new();
        while let Some(byte) = bytes.next_element()? {
            piece.push(byte);
        }
        Ok(Piece(piece))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{FRAME_BYTES_MAX, PIECE_BYTES};
    use crate::wire::codec;

    #[test]
    fn a_piece_comes_back_and_fits_into_a_frame() {
        for bytes in [0, 1, 250, 251, PIECE_BYTES] {
            let piece = Piece((0..bytes).map(|byte| byte as u8).collect());
            let encoded = codec::encode(&piece);
            assert!(encoded.len() <= bytes + 5);
            assert_eq!(codec::decode::<Piece>(&encoded, FRAME_BYTES_MAX).unwrap(), piece);
            assert!(bytes == 0 || codec::decode::<Piece>(&encoded[..encoded.len() - 1], FRAME_BYTES_MAX).is_err());
        }
    }
}
