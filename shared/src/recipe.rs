//! Recipes: which stages each input goes through, in order, and which then work on the results of all.

use serde::{Deserialize, Serialize};

use crate::lane::Lane;
use crate::provider::ProviderRef;
use crate::stage::Stage;
use crate::stage::analyze::Analyze;
use crate::stage::ask::Ask;
use crate::stage::assemble::Assemble;
use crate::stage::check::Check;
use crate::stage::compress::Compress;
use crate::stage::convert::Convert;
use crate::stage::decode::Decode;
use crate::stage::identify::Identify;
use crate::stage::image::Image;
use crate::stage::listen::Listen;
use crate::stage::pack::Pack;
use crate::stage::plan::Plan;
use crate::stage::preview::Preview;
use crate::stage::propose::Propose;
use crate::stage::publish::Publish;
use crate::stage::pull::Pull;
use crate::stage::sight::Sight;
use crate::stage::subtitle::{Format, Subtitle};
use crate::stage::transcribe::Transcribe;
use crate::stage::write::Write;

/// A built-in recipe's name.
pub const SUBTITLES: &str = "subtitles";
/// Videos made smaller.
pub const COMPRESS: &str = "compress";
/// Recordings, videos and subtitles in another format.
pub const CONVERT: &str = "convert";
/// A small copy, and a sheet of pictures.
pub const PREVIEW: &str = "preview";
/// The best pieces of many videos, joined to one.
pub const HIGHLIGHTS: &str = "highlights";
/// A document on each recording.
pub const REPORT: &str = "report";
/// Pictures through a list of operations.
pub const IMAGES: &str = "images";
/// Fetches models; submitted by `models pull`.
pub const PULL: &str = "pull";
/// Tries object stores out; submitted by `stores check`.
pub const CHECK: &str = "check";
/// Stages of the user's own choice, from a file.
pub const CUSTOM: &str = "custom";

/// Name and one line of use, as `recipes list` shows them.
pub const BUILT_IN: [(&str, &str); 10] = [
    (SUBTITLES, "speech of recordings and videos to subtitles and transcripts"),
    (COMPRESS, "videos made smaller by a profile: H.264 and AAC in MP4"),
    (CONVERT, "recordings, videos and subtitles in another format"),
    (PREVIEW, "a small copy of a video, and a sheet of pictures from all over it"),
    (HIGHLIGHTS, "the best pieces of many videos, cut and joined to one"),
    (REPORT, "a document on each recording: outline, key sentences and pictures, or a lesson by a model"),
    (IMAGES, "pictures resized, cropped, turned and converted, with a score of their quality"),
    (CUSTOM, "stages of your own choice, from a file"),
    (PULL, "a model into the model folder"),
    (CHECK, "an object store tried out with one small object"),
];

/// Stages that each input goes through (map), and those that then work once on the results of all that succeeded (gather).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recipe {
    pub name: String,
    pub map: Vec<Stage>,
    pub gather: Vec<Stage>,
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
            gather: Vec::new(),
        }
    }

    pub fn compress(compress: Compress, publish: Publish) -> Self {
        Recipe {
            name: COMPRESS.to_owned(),
            map: vec![Stage::Identify(Identify {}), Stage::Compress(compress), Stage::Publish(publish)],
            gather: Vec::new(),
        }
    }

    pub fn convert(convert: Convert, publish: Publish) -> Self {
        Recipe {
            name: CONVERT.to_owned(),
            map: vec![Stage::Identify(Identify {}), Stage::Convert(convert), Stage::Publish(publish)],
            gather: Vec::new(),
        }
    }

    pub fn preview(preview: Preview, publish: Publish) -> Self {
        Recipe {
            name: PREVIEW.to_owned(),
            map: vec![Stage::Identify(Identify {}), Stage::Preview(preview), Stage::Publish(publish)],
            gather: Vec::new(),
        }
    }

    pub fn highlights(analyze: Analyze, plan: Plan, assemble: Assemble, publish: Publish) -> Self {
        Recipe {
            name: HIGHLIGHTS.to_owned(),
            map: vec![Stage::Identify(Identify {}), Stage::Analyze(analyze)],
            // What is made of many videos is in no one language.
            gather: vec![
                Stage::Plan(plan),
                Stage::Assemble(assemble),
                Stage::Publish(Publish { language_suffix: false, ..publish }),
            ],
        }
    }

    /// With what is said in each input, for the stages that can use it: those that look come after those that listen.
    pub fn heard(mut self, transcribe: Transcribe) -> Self {
        self.map.splice(1..1, [Stage::Listen(Listen::default()), Stage::Transcribe(transcribe)]);
        self
    }

    /// As `highlights`, with a model that looks at each video and proposes what to cut; what it can't say is measured.
    pub fn highlights_by(
        provider: ProviderRef,
        analyze: Analyze,
        plan: Plan,
        assemble: Assemble,
        publish: Publish,
    ) -> Self {
        let mut recipe = Recipe::highlights(analyze, plan, assemble, publish);
        recipe.map.push(Stage::Sight(Sight { pictures: 16, side: 512 }));
        recipe.map.push(Stage::Ask(Ask { provider: provider.clone() }));
        // Rules are the user's own plan.
        if !matches!(recipe.gather.first(), Some(Stage::Plan(Plan { rules: Some(_), .. }))) {
            recipe.gather.insert(1, Stage::Propose(Propose { provider }));
        }
        recipe
    }

    /// `transcribe`: `None` = nobody listens.
    pub fn report(
        listen: Listen,
        transcribe: Option<Transcribe>,
        sight: Sight,
        write: Write,
        publish: Publish,
    ) -> Self {
        let mut map = vec![Stage::Identify(Identify {})];
        if let Some(transcribe) = transcribe {
            map.extend([Stage::Listen(listen), Stage::Transcribe(transcribe)]);
        }
        let publish = Publish { language_suffix: false, ..publish };
        map.extend([Stage::Sight(sight), Stage::Write(Box::new(write)), Stage::Publish(publish)]);
        Recipe { name: REPORT.to_owned(), map, gather: Vec::new() }
    }

    /// Its inputs are names of stores.
    pub fn check() -> Self {
        Recipe { name: CHECK.to_owned(), map: vec![Stage::Check(Check::default())], gather: Vec::new() }
    }

    /// `pack`: what is made of all of them together, if anything.
    pub fn images(image: Image, pack: Option<Pack>, publish: Publish) -> Self {
        let together = |pack| vec![Stage::Pack(pack), Stage::Publish(publish.clone())];
        Recipe {
            name: IMAGES.to_owned(),
            gather: pack.map(together).unwrap_or_default(),
            map: vec![Stage::Identify(Identify {}), Stage::Image(image), Stage::Publish(publish)],
        }
    }

    pub fn pull(pull: Pull) -> Self {
        Recipe { name: PULL.to_owned(), map: vec![Stage::Pull(pull)], gather: Vec::new() }
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
        if self.gather.len() > crate::limits::STAGES_MAX {
            return Err(format!("{} gather stages are more than {}", self.gather.len(), crate::limits::STAGES_MAX));
        }
        self.map.iter().chain(&self.gather).try_for_each(Stage::validate)?;
        chained("map", &self.map)?;
        chained("gather", &self.gather)?;
        match self.gather.first() {
            Some(Stage::Collect(_)) => self.makes_texts(),
            Some(Stage::Plan(plan))
                if !self.map.iter().any(|stage| matches!(stage, Stage::Transcribe(_)))
                    && let Some(clip) =
                        plan.rules.iter().flat_map(|rules| &rules.clips).find(|clip| clip.asks_texts()) =>
            {
                // It could never hold: better told now than found out from an empty film.
                let name = &clip.name;
                Err(format!(
                    "the rules' clip `{name}` asks what is said, and nobody listens: name a whisper model (--model)"
                ))
            }
            Some(Stage::Plan(_)) if !self.map.iter().any(|stage| matches!(stage, Stage::Analyze(_))) => {
                Err("`plan` needs the analysis of every input: end the map with `analyze`".to_owned())
            }
            _ => Ok(()),
        }
    }

    fn makes_texts(&self) -> Result<(), String> {
        match self.map.iter().rev().find(|stage| stage.facts().artifact) {
            Some(Stage::Subtitle(subtitle)) if subtitle.formats.contains(&Format::Txt) => Ok(()),
            _ => {
                Err("`collect` needs the text of every input: let the map's `subtitle` make the format `txt`"
                    .to_owned())
            }
        }
    }
}

/// Each stage has what it works on before it: a mistake of an own recipe is told before anything runs.
fn chained(part: &str, stages: &[Stage]) -> Result<(), String> {
    let mut before: Option<&Stage> = None;
    for (at, stage) in stages.iter().enumerate() {
        let name = stage.name();
        let gathers = stage.gathers().is_some();
        if gathers != (part == "gather" && at == 0) {
            return Err(match gathers {
                true => format!("`{name}` works on the results of all inputs: it comes first in the gather"),
                false => format!(
                    "`{name}` can't begin a gather: it works on one result; `collect`, `pack` and `plan` make one of all"
                ),
            });
        }
        let fits = matches!(
            (stage, before),
            (
                Stage::Identify(_)
                    | Stage::Fetch(_)
                    | Stage::Pull(_)
                    | Stage::Check(_)
                    | Stage::Collect(_)
                    | Stage::Pack(_),
                None
            ) | (
                Stage::Decode(_)
                    | Stage::Listen(_)
                    | Stage::Compress(_)
                    | Stage::Convert(_)
                    | Stage::Preview(_)
                    | Stage::Image(_),
                None | Some(Stage::Identify(_) | Stage::Fetch(_))
            ) | (Stage::Transcribe(_), Some(Stage::Decode(_) | Stage::Listen(_)))
                | (
                    Stage::Sight(_),
                    None | Some(Stage::Identify(_) | Stage::Fetch(_) | Stage::Transcribe(_) | Stage::Analyze(_))
                )
                | (Stage::Write(_) | Stage::Ask(_), Some(Stage::Sight(_)))
                | (Stage::Propose(_), Some(Stage::Plan(_)))
                | (Stage::Subtitle(_), Some(Stage::Transcribe(_)))
                | (
                    Stage::Publish(_) | Stage::Upload(_),
                    Some(
                        Stage::Subtitle(_)
                            | Stage::Collect(_)
                            | Stage::Compress(_)
                            | Stage::Convert(_)
                            | Stage::Preview(_)
                            | Stage::Assemble(_)
                            | Stage::Image(_)
                            | Stage::Pack(_)
                            | Stage::Write(_)
                    )
                )
                | (Stage::Analyze(_), None | Some(Stage::Identify(_) | Stage::Fetch(_) | Stage::Transcribe(_)))
                | (Stage::Plan(_), None)
                | (Stage::Assemble(_), Some(Stage::Plan(_) | Stage::Propose(_)))
        );
        if !fits {
            let after = before.map_or("at the beginning".to_owned(), |before| format!("after `{}`", before.name()));
            return Err(format!("`{name}` can't come {after} in the {part}: it has nothing to work on"));
        }
        before = Some(stage);
    }
    Ok(())
}
