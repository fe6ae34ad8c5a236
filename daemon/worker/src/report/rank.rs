//! Sentences by how much the others speak of the same: TextRank (Mihalcea and Tarau, 2004). Knows no recording.

use std::collections::HashSet;

use unicode_segmentation::UnicodeSegmentation;

use crate::language::script::Class;

/// Share of a sentence's weight that it gets from the others.
const DAMPING: f64 = 0.85;
const ROUNDS_MAX: usize = 60;
const SETTLED: f64 = 1e-5;
/// Every sentence is held against every other. Of more than an hour of speech so many are, from all over it.
pub const SENTENCES_MAX: usize = 600;

/// What a sentence is about: its words, without those that are in any; signs of scripts without spaces two at a time.
pub fn words(sentence: &str) -> HashSet<String> {
    let mut found = HashSet::new();
    let mut before: Option<&str> = None;
    for word in sentence.unicode_words() {
        if Class::of(word).is_unbroken_by_spaces() {
            if let Some(before) = before {
                found.insert(format!("{before}{word}"));
            }
            before = Some(word);
            continue;
        }
        before = None;
        let word = word.to_lowercase();
        if word.chars().count() > 2 && !STOP_WORDS.contains(&word.as_str()) {
            found.insert(word);
        }
    }
    found
}

/// A weight for each sentence, the most telling ones heaviest; 1 in the mean.
pub fn rank(sentences: &[HashSet<String>]) -> Vec<f64> {
    if sentences.len() > SENTENCES_MAX {
        let picked: Vec<usize> = (0..SENTENCES_MAX).map(|nth| nth * sentences.len() / SENTENCES_MAX).collect();
        let some: Vec<HashSet<String>> = picked.iter().map(|at| sentences[*at].clone()).collect();
        // What was not looked at is not chosen.
        let mut ranks = vec![0.0; sentences.len()];
        picked.into_iter().zip(rank(&some)).for_each(|(at, rank)| ranks[at] = rank);
        return ranks;
    }
    let count = sentences.len();
    let mut ranks = vec![1.0; count];
    let alike = |a: &HashSet<String>, b: &HashSet<String>| -> f64 {
        let both = a.intersection(b).count() as f64;
        // Two sentences of a word each that share it are no more alike than two long ones.
        let norm = (1.0 + a.len() as f64).ln() + (1.0 + b.len() as f64).ln();
        if both == 0.0 { 0.0 } else { both / norm }
    };
    let mut edges: Vec<Vec<(usize, f64)>> = vec![Vec::new(); count];
    for a in 0..count {
        for b in a + 1..count {
            let weight = alike(&sentences[a], &sentences[b]);
            if weight > 0.0 {
                edges[a].push((b, weight));
                edges[b].push((a, weight));
            }
        }
    }
    let sums: Vec<f64> = edges.iter().map(|edges| edges.iter().map(|(_, weight)| weight).sum()).collect();
    for _ in 0..ROUNDS_MAX {
        let mut change = 0.0_f64;
        let next: Vec<f64> = (0..count)
            .map(|at| {
                let given: f64 = edges[at].iter().map(|(other, weight)| weight / sums[*other] * ranks[*other]).sum();
                1.0 - DAMPING + DAMPING * given
            })
            .collect();
        for (at, rank) in next.into_iter().enumerate() {
            change = change.max((rank - ranks[at]).abs());
            ranks[at] = rank;
        }
        if change < SETTLED {
            break;
        }
    }
    ranks
}

/// Words that are in any text and tell nothing of it.
const STOP_WORDS: [&str; 72] = [
    "the", "and", "for", "are", "but", "not", "you", "all", "any", "can", "her", "was", "one", "our", "out", "his",
    "has", "had", "how", "its", "who", "did", "yes", "she", "him", "that", "this", "with", "have", "from", "they",
    "will", "what", "your", "when", "them", "then", "than", "there", "their", "these", "those", "were", "been",
    "being", "would", "could", "should", "which", "about", "into", "just", "like", "very", "some", "also", "more",
    "und", "der", "die", "das", "ist", "nicht", "ein", "eine", "les", "des", "est", "que", "una", "los", "por",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn best(sentences: &[&str]) -> usize {
        let ranks = rank(&sentences.iter().map(|sentence| words(sentence)).collect::<Vec<_>>());
        (0..ranks.len()).max_by(|a, b| ranks[*a].total_cmp(&ranks[*b])).unwrap()
    }

    #[test]
    fn the_sentence_that_the_others_speak_of_comes_first() {
        let english = [
            "Yesterday it rained.",
            "A glacier carries stones.",
            "Rivers and a glacier carry stones down the mountain valley.",
            "The valley of the mountain was made by rivers.",
            "Coffee is expensive.",
        ];
        assert_eq!(best(&english), 2);
        let chinese = ["今天天气很好", "冰川搬运石头", "河流和冰川搬运石头穿过山谷", "山谷由河流形成", "咖啡很贵"];
        assert_eq!(best(&chinese), 2);
    }

    #[test]
    fn nothing_and_the_same_over_and_over_do_no_harm() {
        assert!(rank(&[]).is_empty());
        assert!(rank(&[HashSet::new()])[0].is_finite());
        let same = vec![words("the same glacier again"); SENTENCES_MAX + 5];
        let ranks = rank(&same);
        assert!(ranks.iter().all(|rank| rank.is_finite()));
        assert_eq!(ranks.iter().filter(|rank| **rank == 0.0).count(), 5, "five of them were not looked at");
        assert!(ranks.last().is_some_and(|last| *last > 0.0) || ranks[SENTENCES_MAX] > 0.0, "the end counts, too");
        assert!((ranks[0] - 1.0).abs() < 1e-3, "{}", ranks[0]);
    }
}
