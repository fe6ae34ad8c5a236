//! Plan: which pieces of which videos make the highlights, chosen from the analyses of all of them.

use serde::{Deserialize, Serialize};

use super::analyze::ANALYSIS_FILE;
use crate::id::AddressHasher;
use crate::rules::Rules;

/// How pieces are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum Strategy {
    /// The best moments, wherever they are
    #[default]
    Highlights,
    /// Something of every video, spread evenly over its time
    Summary,
    /// What the rules of a file ask for (--rules)
    Custom,
}

impl Strategy {
    pub fn name(self) -> &'static str {
        match self {
            Strategy::Highlights => "highlights",
            Strategy::Summary => "summary",
            Strategy::Custom => "custom",
        }
    }
}

// A type written with its whole path is no `Option` to clap's derive, but one value with a parser of its own.
/// What the highlights shall be like.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
pub struct Plan {
    /// Length of the result in seconds, kept within 10 %; 180 if left out, and never more than there is
    #[cfg_attr(feature = "cli", arg(long, value_name = "SECONDS"))]
    pub target_duration: Option<f64>,
    /// How pieces are chosen
    #[cfg_attr(feature = "cli", arg(long, value_enum, value_name = "STRATEGY", default_value = "highlights"))]
    pub strategy: Strategy,
    // Read from a file by whoever offers the option `--rules`.
    #[cfg_attr(feature = "cli", arg(skip))]
    pub rules: Option<Rules>,
}

/// Name of the artifact's file: the plan and what it was made of, as JSON.
pub const PLAN_FILE: &str = "plan.json";

/// Seconds aimed at where nobody says how many.
pub const TARGET_SECONDS: f64 = 180.0;
const TARGET_SECONDS_RANGE: std::ops::RangeInclusive<f64> = 1.0..=86_400.0;

impl Plan {
    /// Which of the inputs' files it reads.
    pub fn reads(name: &str) -> bool {
        name == ANALYSIS_FILE
    }

    pub(crate) fn address_into(&self, hasher: &mut AddressHasher) {
        let target = self.target_duration.map_or(0, f64::to_bits);
        hasher.part(&target.to_le_bytes()).part(self.strategy.name().as_bytes());
        if let Some(rules) = &self.rules {
            rules.address_into(hasher);
        }
    }

    pub(crate) fn validate(&self) -> Result<(), String> {
        if let Some(target) = self.target_duration
            && !TARGET_SECONDS_RANGE.contains(&target)
        {
            let (least, most) = (TARGET_SECONDS_RANGE.start(), TARGET_SECONDS_RANGE.end());
            return Err(format!("--target-duration {target} is outside {least}–{most}"));
        }
        match (self.strategy, &self.rules) {
            (Strategy::Custom, None) => Err("--strategy custom needs --rules FILE".to_owned()),
            (Strategy::Custom, Some(rules)) => rules.validate(),
            (_, Some(_)) => Err(format!("--rules goes with --strategy custom, not {}", self.strategy.name())),
            (_, None) => Ok(()),
        }
    }
}
