//! Which pictures of a piece are copied as they are, and which have to be encoded anew. Pure: knows times and key pictures, no packet.
//!
//! What is copied begins with a picture that needs none before it, and is a beginning of what follows in the order of decoding: then all
//! that it needs is there, and nothing else. So only the pictures before the first such picture, and the few at the end whose
//! forerunners are beyond it, are encoded.

/// A packet, in the order of decoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// When it is shown.
    pub stamp: i64,
    /// Decoding can begin here, whatever came before.
    pub anew: bool,
}

/// A piece, taken apart; the stamps of each part in the order they are shown in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Runs {
    pub head: Vec<i64>,
    /// Places of the packets that are copied, in the order of decoding.
    pub copied: Vec<usize>,
    pub tail: Vec<i64>,
}

/// Fewer are not worth a seam.
const COPIED_MIN: usize = 4;

/// `start..end`: what is shown; `keep`: what of it may be copied, the rest is changed on its way.
pub fn cut(entries: &[Entry], wanted: std::ops::Range<i64>, keep: std::ops::Range<i64>) -> Runs {
    let mut stamps: Vec<i64> = entries.iter().map(|entry| entry.stamp).filter(|stamp| wanted.contains(stamp)).collect();
    stamps.sort_unstable();
    stamps.dedup();
    let all_anew = |stamps| Runs { head: stamps, ..Runs::default() };
    let first =
        entries.iter().position(|entry| entry.anew && wanted.contains(&entry.stamp) && keep.contains(&entry.stamp));
    let Some(first) = first else { return all_anew(stamps) };
    let from = entries[first].stamp;
    let inside = |entry: &Entry| entry.stamp < wanted.end.min(keep.end);
    let last = entries[first..].iter().position(|entry| !inside(entry)).map_or(entries.len(), |at| first + at);
    // What is shown before the first one needs what came before it.
    let mut copied: Vec<usize> = (first..last).filter(|at| entries[*at].stamp >= from).collect();
    // Nothing that is left to the tail may be shown between what is copied.
    loop {
        let latest = copied.iter().map(|at| entries[*at].stamp).max();
        let Some(latest) = latest.filter(|_| copied.len() >= COPIED_MIN) else { return all_anew(stamps) };
        let shown = stamps.iter().filter(|stamp| (from..=latest).contains(*stamp)).count();
        if shown == copied.len() {
            let head = stamps.iter().copied().filter(|stamp| *stamp < from).collect();
            let tail = stamps.iter().copied().filter(|stamp| *stamp > latest).collect();
            return Runs { head, copied, tail };
        }
        copied.pop();
    }
}

/// How many packets have to be decoded before the first is shown, so that all are in time.
pub fn delay(stamps: &[i64]) -> usize {
    // No codec holds more pictures.
    const LOOK_BACK: usize = 32;
    let later =
        |at: usize| stamps[at.saturating_sub(LOOK_BACK)..at].iter().filter(|earlier| **earlier > stamps[at]).count();
    (0..stamps.len()).map(later).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Groups of twelve in the order I P B B P B B …; `open`: the first B pictures of a group are shown before its I.
    fn stream(groups: usize, open: bool) -> Vec<Entry> {
        let mut entries = Vec::new();
        for group in 0..groups as i64 {
            let base = group * 12;
            let order: &[i64] = match open && group > 0 {
                false => &[0, 3, 1, 2, 6, 4, 5, 9, 7, 8, 11, 10],
                true => &[2, 0, 1, 5, 3, 4, 8, 6, 7, 11, 9, 10],
            };
            entries.extend(order.iter().map(|at| Entry { stamp: base + at, anew: *at == order[0] }));
        }
        entries
    }

    fn stamps(entries: &[Entry], runs: &Runs) -> Vec<i64> {
        let mut copied: Vec<i64> = runs.copied.iter().map(|at| entries[*at].stamp).collect();
        copied.sort_unstable();
        [runs.head.clone(), copied, runs.tail.clone()].concat()
    }

    #[test]
    fn whole_groups_are_copied_and_edges_are_not() {
        let entries = stream(4, false);
        let runs = cut(&entries, 5..40, 5..40);
        assert_eq!(runs.head, (5..12).collect::<Vec<_>>());
        assert_eq!(runs.copied, (12..40).collect::<Vec<_>>(), "up to 39: the beginning of the last group, too");
        assert!(runs.tail.is_empty());
        let runs = cut(&entries, 12..41, 12..41);
        assert_eq!((runs.head.len(), runs.copied.len(), runs.tail), (0, 28, vec![40]), "40 needs 42");
        assert_eq!(cut(&entries, 13..23, 13..23).head, (13..23).collect::<Vec<_>>(), "no group begins there");
        assert_eq!(
            cut(&entries, 5..40, 15..30).copied,
            (24..28).collect::<Vec<_>>(),
            "what fades is not copied, and 28 needs 30"
        );
        assert_eq!(cut(&[], 0..9, 0..9), Runs::default());
    }

    #[test]
    fn what_leans_on_the_group_before_is_not_copied_first() {
        let entries = stream(3, true);
        let runs = cut(&entries, 5..36, 5..36);
        assert_eq!((runs.head, runs.copied.first(), runs.copied.len()), ((5..14).collect(), Some(&12), 22));
    }

    #[test]
    fn the_delay_is_what_has_to_be_decoded_first() {
        for (order, wanted) in [(&[0, 1, 2][..], 0), (&[0, 3, 1, 2], 1), (&[0, 4, 2, 1, 3], 2), (&[], 0)] {
            assert_eq!(delay(order), wanted, "{order:?}");
        }
    }

    proptest! {
        #[test]
        fn every_picture_is_shown_once_and_in_order(open in any::<bool>(), start in 0..60_i64, length in 0..60_i64, fade in 0..10_i64) {
            let entries = stream(5, open);
            let (wanted, keep) = (start..start + length, start + fade..start + length - fade);
            let runs = cut(&entries, wanted.clone(), keep.clone());
            let shown: Vec<i64> = wanted.filter(|stamp| *stamp < 60).collect();
            prop_assert_eq!(stamps(&entries, &runs), shown);
            prop_assert!(runs.copied.iter().all(|at| keep.contains(&entries[*at].stamp)));
        }
    }
}
