//! What model APIs were asked, and what that cost, as far as jobs tell. Knows no daemon and no screen.

use spindle_shared::job::JobView;

use crate::look::Look;

/// Only where something was asked.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Spent {
    pub calls: f64,
    pub tokens: f64,
    /// In whatever the configuration's prices are; `None` = no price is known.
    pub cost: Option<f64>,
}

impl Spent {
    pub fn of<'j>(jobs: impl IntoIterator<Item = &'j JobView>) -> Option<Spent> {
        let mut all: Option<Spent> = None;
        for job in jobs {
            let number = |name| job.detail.number(name);
            let (calls, tokens, cost) = (number("api_calls"), number("tokens"), number("cost"));
            if calls.or(tokens).or(cost).is_none() {
                continue;
            }
            let sum = all.get_or_insert_default();
            sum.calls += calls.unwrap_or(0.0);
            sum.tokens += tokens.unwrap_or(0.0);
            sum.cost = cost.map_or(sum.cost, |cost| Some(sum.cost.unwrap_or(0.0) + cost));
        }
        all
    }

    pub fn told(&self, look: Look) -> String {
        let text = look.fill("{} calls, {} tokens", &[&(self.calls as u64), &count(self.tokens)]);
        match self.cost {
            Some(cost) => format!("{text}, {}", look.fill("cost {}", &[&price(cost)])),
            None => text,
        }
    }
}

/// `980`, `12.3 k`, `4.1 M`.
pub fn count(number: f64) -> String {
    match number {
        number if number < 9_999.5 => format!("{number:.0}"),
        number if number < 999_950.0 => format!("{:.1} k", number / 1e3),
        number => format!("{:.1} M", number / 1e6),
    }
}

/// A single call costs a fraction of the smallest coin.
pub fn price(cost: f64) -> String {
    if cost >= 1.0 { format!("{cost:.2}") } else { format!("{cost:.4}") }
}

#[cfg(test)]
mod tests {
    use spindle_shared::job::{Figure, JobState};

    use super::*;
    use crate::model::tests::job;

    #[test]
    fn what_was_spent_is_a_sum_and_nothing_where_nothing_was_asked() {
        let asked = |figures: &[(&str, f64)]| {
            let mut job = job(12, 1, JobState::Completed, "x");
            job.detail.figures =
                figures.iter().map(|(name, number)| ((*name).to_owned(), Figure::Number(*number))).collect();
            job
        };
        assert_eq!(Spent::of(&[asked(&[("quality", 1.0)])]), None);
        let jobs = [
            asked(&[("api_calls", 2.0), ("tokens", 12_000.0), ("cost", 0.003)]),
            asked(&[]),
            asked(&[("api_calls", 1.0), ("tokens", 345.0)]),
        ];
        let spent = Spent::of(&jobs).unwrap();
        assert_eq!(spent.told(Look::default()), "3 calls, 12.3 k tokens, cost 0.0030");
        assert_eq!(Spent::of(&jobs[2..]).unwrap().told(Look::default()), "1 calls, 345 tokens");
        assert_eq!([0.0, 9_999.0, 10_000.0, 1_234_567.0].map(count), ["0", "9999", "10.0 k", "1.2 M"]);
    }
}
