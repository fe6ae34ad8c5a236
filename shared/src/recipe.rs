//! Recipes: which stages each input goes through, in order.

use serde::{Deserialize, Serialize};

use crate::lane::Lane;
use crate::stage::Stage;
use crate::stage::decode::Decode;
use crate::stage::identify::Identify;
use crate::stage::publish::Publish;
use crate::stage::pull::Pull;
use crate::stage::subtitle::Subtitle;
use crate::stage::transcribe::Transcribe;

/// A built-in recipe's name.
pub const SUBTITLES: &str = "subtitles";
/// Fetches models; submitted by `models pull`.
pub const PULL: &str = "pull";

/// Name and one line of use, as `recipes list` shows them.
pub const BUILT_IN: [(&str, &str); 2] = [
    (SUBTITLES, "speech of recordings and videos to subtitles and transcripts"),
    (PULL, "a model into the model folder"),
];

/// Stages that each input goes through (map).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recipe {
    pub name: String,
    pub map: Vec<Stage>,
}

impl Recipe {
    pub fn subtitles(decode: Decode, transcribe: Transcribe, subtitle: Subtitle, publish: Publish) -> Self {
        Recipe {
            name: SUBTITLES.to_owned(),
            map: vec![
                Stage::Identify(Identify {}),
                Stage::Decode(decode),
                Stage::Transcribe(transcribe),
                Stage::Subtitle(subtitle),
                Stage::Publish(publish),
            ],
        }
    }

    pub fn pull(pull: Pull) -> Self {
        Recipe { name: PULL.to_owned(), map: vec![Stage::Pull(pull)] }
    }

    /// Where most of a job's work is done.
    pub fn lane(&self) -> Lane {
        let heaviest = self.map.iter().map(Stage::facts).max_by_key(|facts| facts.weight);
        heaviest.map_or(Lane::Io, |facts| facts.lane)
    }

    /// Every stage's parameters in range; the message names the parameter.
    pub fn validate(&self) -> Result<(), String> {
        if self.map.is_empty() || self.map.len() > crate::limits::STAGES_MAX {
            return Err(format!("a recipe has 1–{} stages, this one {}", crate::limits::STAGES_MAX, self.map.len()));
        }
        self.map.iter().try_for_each(Stage::validate)
    }
}
