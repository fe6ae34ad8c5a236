//! Many values of one kind kept as their bytes: a million inputs take a third of what they take as values. In their order, read from the
//! beginning; knows nothing of what they are.

use std::fmt;
use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::wire::codec;

/// A piece of memory that is given back at once when its values are taken out.
const CHUNK_BYTES: usize = 256 << 10;
/// Before each value: its length.
const LENGTH_BYTES: usize = size_of::<u32>();

/// Values as bytes. Costs an encoding for each that is put in, and a decoding for each that is read.
#[derive(Clone, PartialEq, Eq)]
pub struct Packed<T> {
    chunks: Vec<Vec<u8>>,
    len: usize,
    kind: PhantomData<fn() -> T>,
}

impl<T> Packed<T> {
    pub fn new() -> Self {
        Packed { chunks: Vec::new(), len: 0, kind: PhantomData }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl<T> Default for Packed<T> {
    fn default() -> Self {
        Packed::new()
    }
}

impl<T: Serialize + DeserializeOwned> Packed<T> {
    pub fn push(&mut self, value: &T) {
        let bytes = codec::encode(value);
        // A value of 4 GiB can't come: what is put in came in a frame, which is far smaller.
        let Ok(length) = u32::try_from(bytes.len()) else { return };
        let needed = LENGTH_BYTES + bytes.len();
        if self.chunks.last().is_none_or(|chunk| chunk.len() + needed > CHUNK_BYTES) {
            self.chunks.push(Vec::new());
        }
        if let Some(chunk) = self.chunks.last_mut() {
            chunk.extend_from_slice(&length.to_le_bytes());
            chunk.extend_from_slice(&bytes);
            self.len += 1;
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = T> + '_ {
        self.chunks.iter().flat_map(|chunk| values(chunk))
    }

    /// Its memory goes piece by piece.
    pub fn drain(self) -> impl Iterator<Item = T> {
        self.chunks.into_iter().flat_map(|chunk| values(&chunk).collect::<Vec<T>>())
    }
}

fn values<T: DeserializeOwned>(mut chunk: &[u8]) -> impl Iterator<Item = T> {
    std::iter::from_fn(move || {
        let (length, rest) = chunk.split_first_chunk::<LENGTH_BYTES>()?;
        let (bytes, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        chunk = rest;
        // What was encoded here is understood here.
        codec::decode(bytes, bytes.len()).ok()
    })
}

impl<T: Serialize + DeserializeOwned> FromIterator<T> for Packed<T> {
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Self {
        let mut packed = Packed::new();
        values.into_iter().for_each(|value| packed.push(&value));
        packed
    }
}

impl<T: Serialize + DeserializeOwned> From<Vec<T>> for Packed<T> {
    fn from(values: Vec<T>) -> Self {
        values.into_iter().collect()
    }
}

impl<T: Serialize + DeserializeOwned + fmt::Debug> fmt::Debug for Packed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out_in_its_order() {
        let values: Vec<String> = (0..20_000).map(|number| format!("{number}: {}", "é".repeat(number % 40))).collect();
        let mut packed: Packed<String> = values.iter().cloned().collect();
        assert!(packed.chunks.len() > 2);
        assert_eq!((packed.len(), packed.iter().collect::<Vec<_>>()), (20_000, values.clone()));
        // One that is larger than a piece has a piece of its own.
        packed.push(&"x".repeat(2 * CHUNK_BYTES));
        packed.push(&String::new());
        assert_eq!(packed.len(), 20_002);
        let out: Vec<String> = packed.drain().collect();
        assert_eq!(out[..20_000], values);
        assert_eq!((out[20_000].len(), out[20_001].as_str()), (2 * CHUNK_BYTES, ""));
    }

    #[test]
    fn nothing_is_nothing() {
        let packed = Packed::<u64>::default();
        assert!(packed.is_empty() && packed.iter().next().is_none());
    }
}
