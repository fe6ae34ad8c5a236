//! Words to find: what is shown has all of them somewhere in its texts. Knows no batch and no job.

/// Letters of a search; more are not taken.
const LETTERS_MAX: usize = 100;

/// Empty = everything is shown.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    text: String,
}

impl Filter {
    pub fn text(&self) -> &str {
        &self.text
    }

    pub fn is_empty(&self) -> bool {
        self.text.trim().is_empty()
    }

    pub fn push(&mut self, letter: char) {
        if self.text.chars().count() < LETTERS_MAX && !letter.is_control() {
            self.text.push(letter);
        }
    }

    pub fn pop(&mut self) {
        self.text.pop();
    }

    pub fn clear(&mut self) {
        self.text.clear();
    }

    /// The words, ready to be looked for in many things.
    pub fn words(&self) -> Words {
        Words(self.text.split_whitespace().map(str::to_lowercase).collect())
    }
}

pub struct Words(Vec<String>);

impl Words {
    /// Each word stands in one of the texts, whatever its case.
    pub fn fit<'t>(&self, texts: impl FnOnce() -> Vec<std::borrow::Cow<'t, str>>) -> bool {
        if self.0.is_empty() {
            return true;
        }
        let texts: Vec<String> = texts().iter().map(|text| text.to_lowercase()).collect();
        self.0.iter().all(|word| texts.iter().any(|text| text.contains(word.as_str())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_must_stand_somewhere() {
        let fits = |text: &str| {
            let mut filter = Filter::default();
            text.chars().for_each(|letter| filter.push(letter));
            filter.words().fit(|| vec!["会议录音 Q3".into(), "failed".into()])
        };
        for (text, expected) in
            [("", true), ("  ", true), ("会议", true), ("q3 FAIL", true), ("会议 running", false), ("q4", false)]
        {
            assert_eq!(fits(text), expected, "{text}");
        }
    }

    #[test]
    fn it_has_an_end() {
        let mut filter = Filter::default();
        "\u{1b}".chars().chain("字".repeat(1_000).chars()).for_each(|letter| filter.push(letter));
        assert_eq!(filter.text().chars().count(), LETTERS_MAX);
        filter.pop();
        assert_eq!(filter.text(), "字".repeat(LETTERS_MAX - 1));
    }
}
