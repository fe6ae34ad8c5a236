//! H.264 as bytes: its parameter sets, and the two ways in which its units are strung together. Knows no libav and no file.
//!
//! MP4 and Matroska put a length before each unit and the parameter sets into a record of their own (`avcC`, ISO/IEC 14496-15); other
//! containers, and x264, begin each unit with a start code (ITU-T H.264, annex B).

/// How units are strung together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strung {
    /// A length of so many bytes before each.
    Lengths(usize),
    /// 00 00 01 before each.
    StartCodes,
}

const IDR: u8 = 5;
const SPS: u8 = 7;
const PPS: u8 = 8;
/// Ids of sequence parameter sets, and those of picture parameter sets that x264 gives.
const IDS: u32 = 32;
/// Of each kind in an `avcC`.
const SETS_MAX: usize = 31;

/// How a stream with this extra data is strung; `None` where it isn't H.264's.
pub fn strung(extra: &[u8]) -> Option<Strung> {
    match extra {
        [1, _, _, _, lengths, _, ..] => Some(Strung::Lengths(usize::from(lengths & 3) + 1)),
        [0, 0, 1, ..] | [0, 0, 0, 1, ..] => Some(Strung::StartCodes),
        _ => None,
    }
}

/// A packet's units, without what strings them together; what makes no sense ends it.
pub fn units(bytes: &[u8], strung: Strung) -> Vec<&[u8]> {
    let mut units = Vec::new();
    match strung {
        Strung::Lengths(size) => {
            let mut rest = bytes;
            while rest.len() > size {
                let length = rest[..size].iter().fold(0_usize, |length, byte| length << 8 | usize::from(*byte));
                let Some(unit) = rest.get(size..size.saturating_add(length)) else { break };
                units.push(unit);
                rest = &rest[size + length..];
            }
        }
        Strung::StartCodes => {
            let codes: Vec<usize> =
                (0..bytes.len().saturating_sub(2)).filter(|at| bytes[*at..*at + 3] == [0, 0, 1]).collect();
            for (number, at) in codes.iter().enumerate() {
                let end = codes.get(number + 1).copied().unwrap_or(bytes.len());
                let unit = &bytes[at + 3..end];
                // The zero of a longer start code, and padding.
                let length = unit.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
                units.push(&unit[..length]);
            }
        }
    }
    units.retain(|unit| !unit.is_empty());
    units
}

/// Whether decoding can begin with this packet, whatever came before.
pub fn begins_anew(bytes: &[u8], strung: Strung) -> bool {
    units(bytes, strung).iter().any(|unit| unit[0] & 31 == IDR)
}

/// Units with start codes, strung as another stream's are.
pub fn restrung(bytes: &[u8], to: Strung) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + 16);
    for unit in units(bytes, Strung::StartCodes) {
        match to {
            Strung::Lengths(size) => out.extend_from_slice(&(unit.len() as u64).to_be_bytes()[8 - size..]),
            Strung::StartCodes => out.extend_from_slice(&[0, 0, 0, 1]),
        }
        out.extend_from_slice(unit);
    }
    out
}

/// An id that neither kind of parameter set has in this extra data: for pictures that are encoded beside these.
pub fn free_id(extra: &[u8]) -> Option<u32> {
    let taken: Vec<u32> = sets(extra)?.iter().filter_map(|unit| id(unit)).collect();
    (0..IDS).rev().find(|id| !taken.contains(id))
}

/// The extra data with another encoder's parameter sets beside its own; `more` has start codes.
pub fn joined(extra: &[u8], more: &[u8]) -> Option<Vec<u8>> {
    let more: Vec<&[u8]> = units(more, Strung::StartCodes).into_iter().filter(|unit| is_set(unit)).collect();
    if strung(extra)? == Strung::StartCodes {
        let added = more.iter().flat_map(|unit| [&[0, 0, 0, 1][..], *unit].concat());
        return Some(extra.iter().copied().chain(added).collect());
    }
    let own = sets(extra)?;
    let rest = record(extra)?.1;
    let mut out = extra[..5].to_vec();
    for (kind, count_bits) in [(SPS, 0xe0), (PPS, 0)] {
        let of_kind: Vec<&[u8]> = own.iter().chain(&more).copied().filter(|unit| unit[0] & 31 == kind).collect();
        if of_kind.len() > SETS_MAX || of_kind.iter().any(|unit| unit.len() > usize::from(u16::MAX)) {
            return None;
        }
        out.push(count_bits | of_kind.len() as u8);
        for unit in of_kind {
            out.extend_from_slice(&(unit.len() as u16).to_be_bytes());
            out.extend_from_slice(unit);
        }
    }
    out.extend_from_slice(rest);
    Some(out)
}

fn is_set(unit: &[u8]) -> bool {
    unit.first().is_some_and(|first| matches!(first & 31, SPS | PPS))
}

fn sets(extra: &[u8]) -> Option<Vec<&[u8]>> {
    match strung(extra)? {
        Strung::Lengths(_) => Some(record(extra)?.0),
        Strung::StartCodes => Some(units(extra, Strung::StartCodes).into_iter().filter(|unit| is_set(unit)).collect()),
    }
}

/// The parameter sets of an `avcC`, and what follows them.
fn record(extra: &[u8]) -> Option<(Vec<&[u8]>, &[u8])> {
    let mut units = Vec::new();
    let mut rest = extra.get(5..)?;
    for mask in [31, 255] {
        let (count, after) = rest.split_first()?;
        rest = after;
        for _ in 0..count & mask {
            let length = usize::from(u16::from_be_bytes([*rest.first()?, *rest.get(1)?]));
            units.push(rest.get(2..2 + length).filter(|unit| !unit.is_empty())?);
            rest = &rest[2 + length..];
        }
    }
    Some((units, rest))
}

/// The id of a parameter set.
fn id(unit: &[u8]) -> Option<u32> {
    let (kind, body) = unit.split_first()?;
    // Profile, constraints and level come before a sequence's id.
    let body = if kind & 31 == SPS { body.get(3..)? } else { body };
    exp_golomb(body)
}

/// An unsigned Exp-Golomb code (H.264, 9.1) at the beginning of these bytes.
fn exp_golomb(bytes: &[u8]) -> Option<u32> {
    let bit = |at: usize| Some(bytes.get(at / 8)? >> (7 - at % 8) & 1);
    let mut zeros = 0;
    while bit(zeros)? == 0 {
        zeros += 1;
        if zeros > 16 {
            return None;
        }
    }
    let mut value = 0_u32;
    for at in zeros..=2 * zeros {
        value = value << 1 | u32::from(bit(at)?);
    }
    Some(value - 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Of id 0 each: `1` is the code for 0.
    const SEQUENCE: [u8; 6] = [0x67, 100, 0, 30, 0x80, 1];
    const PICTURE: [u8; 3] = [0x68, 0x80, 1];

    fn avcc() -> Vec<u8> {
        let mut bytes = vec![1, 100, 0, 30, 0xff, 0xe1, 0, 6];
        bytes.extend(SEQUENCE);
        bytes.extend([1, 0, 3]);
        bytes.extend(PICTURE);
        bytes.extend([0xfd, 0xf8, 0xf8, 0]);
        bytes
    }

    #[test]
    fn units_are_found_either_way() {
        let coded = [0, 0, 0, 1, 0x65, 1, 2, 0, 0, 1, 0x41, 9];
        assert_eq!(units(&coded, Strung::StartCodes), [&[0x65, 1, 2][..], &[0x41, 9]]);
        let lengths = restrung(&coded, Strung::Lengths(4));
        assert_eq!(lengths, [0, 0, 0, 3, 0x65, 1, 2, 0, 0, 0, 2, 0x41, 9]);
        assert_eq!(units(&lengths, Strung::Lengths(4)), units(&coded, Strung::StartCodes));
        assert_eq!(restrung(&coded, Strung::Lengths(2))[..2], [0, 3]);
        assert!(begins_anew(&coded, Strung::StartCodes));
        assert!(!begins_anew(&[0, 0, 1, 0x41, 9], Strung::StartCodes));
        assert_eq!(units(&[0, 0, 0, 9, 1], Strung::Lengths(4)), [&[] as &[u8]; 0], "longer than there is");
    }

    #[test]
    fn parameter_sets_join_under_ids_of_their_own() {
        let avcc = avcc();
        assert_eq!((strung(&avcc), free_id(&avcc)), (Some(Strung::Lengths(4)), Some(31)));
        let more = [&[0, 0, 0, 1][..], &SEQUENCE, &[0, 0, 1], &PICTURE, &[0, 0, 1, 6, 5]].concat();
        let both = joined(&avcc, &more).unwrap();
        let (sets, rest) = record(&both).unwrap();
        assert_eq!(sets, [&SEQUENCE[..], &SEQUENCE, &PICTURE, &PICTURE]);
        assert_eq!(rest, [0xfd, 0xf8, 0xf8, 0]);
        let coded = joined(&more, &more).unwrap();
        assert_eq!(units(&coded, Strung::StartCodes).len(), 5, "without what is no parameter set");
        assert_eq!(free_id(&more), Some(31));
        // 000010000 0 is the code for 15, 00000100000 that for 31.
        assert_eq!((exp_golomb(&[0b0000_1000, 0]), exp_golomb(&[0b0000_0100, 0])), (Some(15), Some(31)));
    }

    proptest! {
        #[test]
        fn no_bytes_bring_it_down(bytes in proptest::collection::vec(0..4_u8, 0..60), more in any::<Vec<u8>>(), size in 1..5_usize) {
            for bytes in [&bytes, &more, &[avcc(), bytes.clone()].concat(), &[vec![1, 0, 0, 0, 0], more.clone()].concat()] {
                let _ = (free_id(bytes), joined(bytes, &more), begins_anew(bytes, Strung::Lengths(size)));
                let _ = restrung(bytes, Strung::Lengths(size));
            }
        }
    }
}
