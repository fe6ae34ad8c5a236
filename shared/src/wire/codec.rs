//! Values to bytes and back. The only file that names bincode; knows neither sockets nor the meaning of what it carries.

use bincode::config::{self, Config};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Why bytes are no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    #[error("a message has {bytes} bytes, more than the {max} allowed")]
    TooLong { bytes: usize, max: usize },
    #[error("a message can't be understood: {0}")]
    Malformed(String),
    #[error("a message has {0} bytes after its end")]
    Trailing(usize),
}

/// Bytes of a value. Every value of our own types can be encoded: they are derived, and their lists know their length.
pub fn encode<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    bincode::serde::encode_to_vec(value, config::standard()).expect("derived types with sized lists always encode")
}

/// The value of exactly these bytes, of which there may be `max`; what is left over makes it an error.
pub fn decode<T: DeserializeOwned>(bytes: &[u8], max: usize) -> Result<T, CodecError> {
    if bytes.len() > max {
        return Err(CodecError::TooLong { bytes: bytes.len(), max });
    }
    // A text that announces a length is allocated before it is read. bincode's limit, fixed at compile time, stops this
    // at the largest value that as many bytes can hold: the worst is an i128, 16 bytes in one.
    match bytes.len() {
        len if len <= TIER_1 => decode_with(bytes, config::standard().with_limit::<{ TIER_1 * GROWTH_MAX }>()),
        len if len <= TIER_2 => decode_with(bytes, config::standard().with_limit::<{ TIER_2 * GROWTH_MAX }>()),
        len if len <= TIER_3 => decode_with(bytes, config::standard().with_limit::<{ TIER_3 * GROWTH_MAX }>()),
        _ => Err(CodecError::TooLong { bytes: bytes.len(), max: TIER_3 }),
    }
}

const GROWTH_MAX: usize = 16;
const TIER_1: usize = 16 << 10;
const TIER_2: usize = 1 << 20;
const TIER_3: usize = 64 << 20;

fn decode_with<T: DeserializeOwned>(bytes: &[u8], config: impl Config) -> Result<T, CodecError> {
    let (value, used) =
        bincode::serde::decode_from_slice(bytes, config).map_err(|e| CodecError::Malformed(told(&e)))?;
    match bytes.len() - used {
        0 => Ok(value),
        left => Err(CodecError::Trailing(left)),
    }
}

/// In words for people where the fault is a common one.
fn told(error: &bincode::error::DecodeError) -> String {
    use bincode::error::DecodeError;
    match error {
        DecodeError::UnexpectedEnd { .. } => "it ends too early".to_owned(),
        DecodeError::LimitExceeded => "it announces more than it can hold".to_owned(),
        DecodeError::Utf8 { .. } => "a text in it is not UTF-8".to_owned(),
        DecodeError::UnexpectedVariant { .. } => "it names a variant that doesn't exist".to_owned(),
        DecodeError::InvalidIntegerType { .. } => "a number in it is malformed".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::{Failure, FailureKind};
    use crate::id::RunId;
    use crate::worker::{Done, Outcome, Report};
    use proptest::prelude::*;

    const MAX: usize = 1 << 20;

    fn report() -> Report {
        Report::Ended { run: RunId { boot: 3, counter: 400 }, outcome: Outcome::Done(Box::default()) }
    }

    #[test]
    fn values_come_back() {
        assert_eq!(decode::<Report>(&encode(&report()), MAX), Ok(report()));
        let failure = Failure::new(FailureKind::Input, "talk.mp4 is empty");
        assert_eq!(decode::<Failure>(&encode(&failure), MAX), Ok(failure));
    }

    #[test]
    fn every_shortening_and_every_addition_is_an_error() {
        let bytes = encode(&report());
        for len in 0..bytes.len() {
            assert!(matches!(decode::<Report>(&bytes[..len], MAX), Err(CodecError::Malformed(_))), "{len}");
        }
        let longer = [bytes.as_slice(), &[0]].concat();
        assert_eq!(decode::<Report>(&longer, MAX), Err(CodecError::Trailing(1)));
    }

    #[test]
    fn the_callers_limit_holds() {
        let bytes = encode(&report());
        assert_eq!(decode::<Report>(&bytes, bytes.len()), Ok(report()));
        let max = bytes.len() - 1;
        assert_eq!(decode::<Report>(&bytes, max), Err(CodecError::TooLong { bytes: bytes.len(), max }));
    }

    #[test]
    fn an_announced_length_is_not_believed() {
        // A text of 2^62 bytes, a list of 2^62 paths.
        let huge = encode(&(1_u64 << 62));
        assert!(matches!(decode::<String>(&huge, MAX), Err(CodecError::Malformed(_))));
        assert!(matches!(decode::<Vec<crate::job::PathBytes>>(&huge, MAX), Err(CodecError::Malformed(_))));
    }

    #[test]
    fn values_that_grow_most_still_fit() {
        let zeros = vec![0_i128; TIER_1 - 3];
        assert_eq!(decode::<Vec<i128>>(&encode(&zeros), MAX), Ok(zeros));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode::<Report>(&bytes, MAX);
            let _ = decode::<Done>(&bytes, MAX);
            let _ = decode::<crate::worker::Order>(&bytes, MAX);
        }
    }
}
