//! Frames on the local socket: a length (u32, little-endian) and as many bytes. Pure; never sees the socket or the meaning.

use crate::limits::FRAME_BYTES_MAX;

const LENGTH_BYTES: usize = 4;

/// The stream is of no use after this: where the next frame begins is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error("a frame of {bytes} bytes was announced; the most allowed is {FRAME_BYTES_MAX}")]
    TooLong { bytes: usize },
}

/// Takes bytes as they come, gives frames as they are whole.
#[derive(Debug, Default)]
pub struct FrameDecoder {
    buffer: Vec<u8>,
    /// Bytes at the buffer's start that were given out already.
    taken: usize,
}

impl FrameDecoder {
    pub fn new() -> Self {
        FrameDecoder::default()
    }

    /// Memory grows by what has come, never by what is announced. Take out all frames between two pushes.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.taken > 0 {
            self.buffer.drain(..self.taken);
            self.taken = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole frame without its length; `None` until more bytes have come.
    #[allow(clippy::should_implement_trait, reason = "fallible and resumable, which Iterator is not")]
    pub fn next(&mut self) -> Result<Option<Vec<u8>>, FrameError> {
        let waiting = &self.buffer[self.taken..];
        let Some((length, rest)) = waiting.split_first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
        let bytes = u32::from_le_bytes(*length) as usize;
        if bytes > FRAME_BYTES_MAX {
            return Err(FrameError::TooLong { bytes });
        }
        let Some(frame) = rest.get(..bytes) else { return Ok(None) };
        let frame = frame.to_vec();
        self.taken += LENGTH_BYTES + bytes;
        if self.taken == self.buffer.len() {
            self.buffer.clear();
            self.taken = 0;
            // One large frame must not hold its memory for the life of a connection.
            self.buffer.shrink_to(KEPT_BYTES);
        }
        Ok(Some(frame))
    }

    /// Whether a frame has begun and is not whole: an end of the stream here is a cut, not a good-bye.
    pub fn is_mid_frame(&self) -> bool {
        self.taken < self.buffer.len()
    }
}

const KEPT_BYTES: usize = 16 << 10;

/// A payload with its length before it. The sender keeps to [`FRAME_BYTES_MAX`]; a longer one is refused by the receiver.
pub fn encode_frame(payload: &[u8]) -> Vec<u8> {
    debug_assert!(payload.len() <= FRAME_BYTES_MAX, "a frame of {} bytes is sent", payload.len());
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    let mut frame = Vec::with_capacity(LENGTH_BYTES + payload.len());
    frame.extend_from_slice(&length.to_le_bytes());
    frame.extend_from_slice(payload);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn incomplete_is_an_answer() {
        let frame = encode_frame(b"abc");
        let mut decoder = FrameDecoder::new();
        for byte in &frame[..frame.len() - 1] {
            decoder.push(&[*byte]);
            assert_eq!(decoder.next(), Ok(None));
            assert!(decoder.is_mid_frame());
        }
        decoder.push(b"c");
        assert_eq!(decoder.next(), Ok(Some(b"abc".to_vec())));
        assert_eq!(decoder.next(), Ok(None));
        assert!(!decoder.is_mid_frame());
    }

    #[test]
    fn the_longest_frame_passes_and_one_byte_more_does_not() {
        let longest = vec![7; FRAME_BYTES_MAX];
        let mut decoder = FrameDecoder::new();
        decoder.push(&encode_frame(&longest));
        assert_eq!(decoder.next(), Ok(Some(longest)));
        let bytes = FRAME_BYTES_MAX + 1;
        decoder.push(&(bytes as u32).to_le_bytes());
        assert_eq!(decoder.next(), Err(FrameError::TooLong { bytes }));
    }

    #[test]
    fn an_announced_length_takes_no_memory() {
        let mut decoder = FrameDecoder::new();
        decoder.push(&(FRAME_BYTES_MAX as u32).to_le_bytes());
        assert_eq!(decoder.next(), Ok(None));
        assert!(decoder.buffer.capacity() < 1_000, "{}", decoder.buffer.capacity());
    }

    proptest! {
        #[test]
        fn frames_come_out_as_they_went_in_however_they_are_cut(
            payloads in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 0..12),
            cut in 1_usize..97,
        ) {
            let stream: Vec<u8> = payloads.iter().flat_map(|payload| encode_frame(payload)).collect();
            let mut decoder = FrameDecoder::new();
            let mut seen = Vec::new();
            for piece in stream.chunks(cut) {
                decoder.push(piece);
                while let Some(frame) = decoder.next().unwrap() {
                    seen.push(frame);
                }
            }
            prop_assert_eq!(seen, payloads);
            prop_assert!(!decoder.is_mid_frame());
        }
    }
}
