//! THE REGISTRY: every kind of work there is. One variant here, one file beside this one for its parameters, one in the worker for its doing.

pub mod analyze;
pub mod ask;
pub mod assemble;
pub mod check;
pub mod collect;
pub mod compress;
pub mod convert;
pub mod decode;
pub mod deliver;
pub mod fetch;
pub mod identify;
pub mod image;
pub mod listen;
pub mod pack;
pub mod plan;
pub mod preview;
pub mod propose;
pub mod publish;
pub mod pull;
pub mod sight;
pub mod subtitle;
pub mod transcribe;
pub mod upload;
pub mod write;

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::id::AddressHasher;
use crate::job::PathBytes;
use crate::lane::{Lane, Role};
use crate::provider::ProviderRef;

/// One stage of a recipe with its parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Stage {
    Identify(identify::Identify),
    Decode(decode::Decode),
    Transcribe(transcribe::Transcribe),
    Subtitle(subtitle::Subtitle),
    Publish(publish::Publish),
    Pull(pull::Pull),
    Collect(collect::Collect),
    Compress(compress::Compress),
    Convert(convert::Convert),
    Preview(preview::Preview),
    Analyze(analyze::Analyze),
    Plan(plan::Plan),
    Assemble(assemble::Assemble),
    Image(image::Image),
    Pack(pack::Pack),
    Listen(listen::Listen),
    Sight(sight::Sight),
    Write(Box<write::Write>),
    Ask(ask::Ask),
    Propose(propose::Propose),
    Fetch(fetch::Fetch),
    Upload(upload::Upload),
    Check(check::Check),
    Deliver(deliver::Deliver),
}

/// What a kind of work is measured in: the unit of [`crate::worker::Done::work`], and what its rate is learned in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Seconds of the recording.
    MediaSeconds,
    /// Bytes of the input; their number is known beforehand.
    InputBytes,
    /// Bytes written; how many is known only afterwards.
    OutputBytes,
}

/// What the scheduler and the supervisor need to know of a kind of work; constant per kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StageFacts {
    pub name: &'static str,
    /// Which process does it.
    pub role: Role,
    /// What it occupies while it runs, unless a graphics card does it.
    pub lane: Lane,
    /// Whether a graphics card can do it.
    pub gpu: bool,
    /// Whether one run of it can make use of more than one slot of its lane.
    pub spreads: bool,
    /// Raised when the same parameters give another result than before: old artifacts are then not found any more.
    pub version: u32,
    /// Whether its result is an artifact worth keeping; what publishes or fetches leaves none.
    pub artifact: bool,
    /// Whether its artifact may be large enough to fill a disk: it begins only where there is room.
    pub fills: bool,
    /// Whether its artifact is dropped when its job ends: quickly made again, and large.
    pub transient: bool,
    /// Longest time for one run, in milliseconds, unless the batch says otherwise.
    pub timeout_ms: u64,
    /// Its share of a job's progress, relative to the other stages' weights.
    pub weight: u32,
    /// What its work is measured in.
    pub unit: Unit,
}

/// Kinds whose artifacts are large and quickly made again: they go with the last job that wants them, and what is left live no longer than what is
/// temporary.
pub const TRANSIENT: [&str; 3] = ["decode", "listen", "fetch"];

/// Kinds whose artifacts are made for somebody to take away: they live no longer than what is temporary.
pub const EXPORTS: [&str; 1] = ["pack"];

const HOUR_MS: u64 = 3_600_000;

impl Stage {
    pub fn facts(&self) -> StageFacts {
        let (name, role, lane, weight) = match self {
            Stage::Identify(_) => ("identify", Role::Files, Lane::Io, 1),
            Stage::Decode(_) => ("decode", Role::Media, Lane::Cpu, 4),
            Stage::Transcribe(_) => ("transcribe", Role::Speech, Lane::Cpu, 93),
            Stage::Subtitle(_) => ("subtitle", Role::Files, Lane::Io, 1),
            Stage::Publish(_) => ("publish", Role::Files, Lane::Io, 1),
            Stage::Pull(_) => ("pull", Role::Net, Lane::Net, 100),
            Stage::Collect(_) => ("collect", Role::Files, Lane::Io, 10),
            Stage::Compress(_) => ("compress", Role::Media, Lane::Cpu, 97),
            Stage::Convert(_) => ("convert", Role::Media, Lane::Cpu, 90),
            Stage::Preview(_) => ("preview", Role::Media, Lane::Cpu, 97),
            Stage::Analyze(_) => ("analyze", Role::Media, Lane::Cpu, 50),
            Stage::Plan(_) => ("plan", Role::Files, Lane::Io, 1),
            Stage::Assemble(_) => ("assemble", Role::Media, Lane::Cpu, 50),
            // Whose models take pictures together shares a process; decoders alone crash alone.
            Stage::Image(image) => match image.model() {
                Some(_) => ("image", Role::Vision, Lane::Cpu, 90),
                None => ("image", Role::Media, Lane::Cpu, 90),
            },
            Stage::Pack(_) => ("pack", Role::Media, Lane::Cpu, 10),
            Stage::Listen(_) => ("listen", Role::Media, Lane::Cpu, 4),
            Stage::Sight(_) => ("sight", Role::Media, Lane::Cpu, 20),
            // Who is asked is elsewhere; without anybody it is our own text.
            Stage::Write(write) => match write.provider {
                Some(_) => ("write", Role::Net, Lane::Api, 15),
                None => ("write", Role::Files, Lane::Io, 2),
            },
            Stage::Ask(_) => ("ask", Role::Net, Lane::Api, 15),
            Stage::Propose(_) => ("propose", Role::Net, Lane::Api, 15),
            Stage::Fetch(_) => ("fetch", Role::Net, Lane::Net, 10),
            Stage::Upload(_) => ("upload", Role::Net, Lane::Net, 5),
            Stage::Check(_) => ("check", Role::Net, Lane::Net, 100),
            Stage::Deliver(_) => ("deliver", Role::Net, Lane::Net, 1),
        };
        StageFacts {
            name,
            role,
            lane,
            gpu: matches!(role, Role::Speech | Role::Vision),
            spreads: matches!(
                self,
                Stage::Transcribe(_) | Stage::Compress(_) | Stage::Convert(_) | Stage::Preview(_) | Stage::Assemble(_)
            ),
            version: if matches!(self, Stage::Transcribe(_)) { 2 } else { 1 },
            artifact: !matches!(
                self,
                Stage::Identify(_)
                    | Stage::Publish(_)
                    | Stage::Pull(_)
                    | Stage::Upload(_)
                    | Stage::Check(_)
                    | Stage::Deliver(_)
            ),
            fills: matches!(role, Role::Media | Role::Vision) || matches!(self, Stage::Fetch(_)),
            transient: TRANSIENT.contains(&name),
            timeout_ms: match self {
                Stage::Compress(_) | Stage::Convert(_) | Stage::Preview(_) => 12 * HOUR_MS,
                // 20 GiB at a tenth of a gigabit take half an hour; a server that never ends is not waited for all day.
                Stage::Fetch(_) | Stage::Upload(_) => 4 * HOUR_MS,
                Stage::Check(_) => HOUR_MS / 12,
                // As long as its calls may take, and some.
                _ if self.api().is_some() => HOUR_MS / 2,
                _ => HOUR_MS,
            },
            weight,
            unit: match self {
                Stage::Identify(_)
                | Stage::Pull(_)
                | Stage::Compress(_)
                | Stage::Convert(_)
                | Stage::Preview(_)
                | Stage::Image(_) => Unit::InputBytes,
                Stage::Decode(_)
                | Stage::Transcribe(_)
                | Stage::Subtitle(_)
                | Stage::Analyze(_)
                | Stage::Plan(_)
                | Stage::Assemble(_)
                | Stage::Listen(_)
                | Stage::Sight(_)
                | Stage::Write(_)
                | Stage::Ask(_)
                | Stage::Propose(_) => Unit::MediaSeconds,
                Stage::Publish(_)
                | Stage::Collect(_)
                | Stage::Pack(_)
                | Stage::Fetch(_)
                | Stage::Upload(_)
                | Stage::Check(_)
                | Stage::Deliver(_) => Unit::OutputBytes,
            },
        }
    }

    /// The model it runs, or the profile it follows, by name; its work goes as fast as that does.
    pub fn model(&self) -> Option<&str> {
        match self {
            Stage::Transcribe(transcribe) => Some(&transcribe.model.name),
            // Not a model, but what its pace depends on as much.
            Stage::Compress(compress) => Some(&compress.profile),
            Stage::Convert(convert) => Some(convert.to.name()),
            Stage::Image(image) => image.model().map(|model| model.name.as_str()),
            _ => None,
        }
    }

    /// Files beside its inputs that it reads: models, and pictures laid over others. A worker has no way to them but an open descriptor.
    pub fn named_files(&self) -> Vec<&PathBytes> {
        match self {
            Stage::Transcribe(transcribe) => vec![&transcribe.model.path],
            Stage::Image(image) => {
                image.all().filter_map(image::Operation::needed).map(|needed| &needed.path).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Memory that a run of it takes as far as anybody knows beforehand, in MiB; 0 = not worth counting.
    pub fn memory_mib(&self) -> u32 {
        /// The decoder's own and its buffers', and what whisper.cpp takes for one of the smallest models.
        const DECODE: u32 = 64;
        /// Pictures on their way through decoder, filter and encoder.
        const ENCODE: u32 = 300;
        /// A photo of 24 megapixels and what is made of it.
        const PICTURE: u32 = 160;
        const LISTEN: u64 = 256 << 20;
        match self {
            Stage::Decode(_) | Stage::Listen(_) => DECODE,
            Stage::Sight(_) => ENCODE,
            Stage::Compress(_) | Stage::Convert(_) | Stage::Preview(_) | Stage::Analyze(_) | Stage::Assemble(_) => {
                ENCODE
            }
            Stage::Pack(_) => PICTURE,
            Stage::Image(image) => {
                let model = image
                    .model()
                    .map(|model| crate::catalogue::find(&model.name).map(crate::catalogue::Model::memory_bytes));
                PICTURE + model.map_or(0, |known| (known.unwrap_or(LISTEN) >> 20) as u32)
            }
            Stage::Transcribe(transcribe) => {
                let known = crate::catalogue::find(&transcribe.model.name).map(crate::catalogue::Model::memory_bytes);
                (known.unwrap_or(LISTEN) >> 20) as u32
            }
            Stage::Identify(_)
            | Stage::Subtitle(_)
            | Stage::Publish(_)
            | Stage::Pull(_)
            | Stage::Collect(_)
            | Stage::Plan(_)
            | Stage::Fetch(_)
            | Stage::Upload(_)
            | Stage::Check(_)
            | Stage::Deliver(_)
            | Stage::Write(_)
            | Stage::Ask(_)
            | Stage::Propose(_) => 0,
        }
    }

    /// The model API that a run of it asks, and how many calls it may make.
    pub fn api(&self) -> Option<(&ProviderRef, u32)> {
        match self {
            // Asked once more where the first answer can't be read.
            Stage::Write(write) => write.provider.as_ref().map(|provider| (provider, 2)),
            Stage::Ask(ask) => Some((&ask.provider, 1)),
            Stage::Propose(propose) => Some((&propose.provider, 1)),
            _ => None,
        }
    }

    /// The provider it names, for the daemon to fill in.
    pub fn provider_mut(&mut self) -> Option<&mut ProviderRef> {
        match self {
            Stage::Write(write) => write.provider.as_mut(),
            Stage::Ask(ask) => Some(&mut ask.provider),
            Stage::Propose(propose) => Some(&mut propose.provider),
            _ => None,
        }
    }

    /// Which of a result's files it works on, where it works on the results of all inputs; `None` = it works on one.
    pub fn gathers(&self) -> Option<fn(&str) -> bool> {
        match self {
            Stage::Collect(_) => Some(collect::Collect::reads),
            Stage::Plan(_) => Some(plan::Plan::reads),
            Stage::Pack(_) => Some(pack::Pack::reads),
            _ => None,
        }
    }

    /// Whether it works on the inputs themselves, too, beside what earlier stages left; in a gather, those of all jobs that succeeded.
    pub fn rereads_inputs(&self) -> bool {
        matches!(
            self,
            Stage::Assemble(_) | Stage::Analyze(_) | Stage::Sight(_) | Stage::Pack(pack::Pack { zip: true, .. })
        )
    }

    /// Whether, where it works on all results, it is told of the inputs that have none.
    pub fn tells_lost(&self) -> bool {
        matches!(self, Stage::Pack(_))
    }

    pub fn name(&self) -> &'static str {
        self.facts().name
    }

    /// What its outputs' names end with, where it makes any of an input of this name; for a stage that decides when it has seen the input, all
    /// that may come of it.
    pub fn endings(&self, input: &Path) -> Vec<String> {
        match self {
            Stage::Subtitle(subtitle) => subtitle.formats.iter().map(|format| format.name().to_owned()).collect(),
            Stage::Compress(compress) => compress.endings(),
            Stage::Collect(collect) => vec![collect.format.name().to_owned()],
            Stage::Convert(convert) => vec![convert.ending(input)],
            Stage::Preview(_) => [preview::PREVIEW_FILE, preview::SHEET_FILE]
                .iter()
                .filter_map(|name| name.split_once('.').map(|(_, ending)| ending.to_owned()))
                .collect(),
            Stage::Assemble(_) => vec!["mp4".to_owned(), "json".to_owned()],
            Stage::Image(image) => image.endings(input),
            Stage::Pack(pack) => pack.endings(),
            Stage::Write(write) => write.endings(),
            Stage::Identify(_)
            | Stage::Decode(_)
            | Stage::Transcribe(_)
            | Stage::Publish(_)
            | Stage::Pull(_)
            | Stage::Analyze(_)
            | Stage::Plan(_)
            | Stage::Fetch(_)
            | Stage::Upload(_)
            | Stage::Check(_)
            | Stage::Deliver(_)
            | Stage::Listen(_)
            | Stage::Sight(_)
            | Stage::Ask(_)
            | Stage::Propose(_) => Vec::new(),
        }
    }

    /// Feeds the address of this stage's artifact with what changes its result, and nothing else.
    pub fn address_into(&self, hasher: &mut AddressHasher) {
        let facts = self.facts();
        hasher.part(facts.name.as_bytes()).part(&facts.version.to_le_bytes());
        match self {
            // What lies at an address differs from day to day: where it is kept, the job says (`spindle_core::cache`).
            Stage::Identify(_)
            | Stage::Publish(_)
            | Stage::Pull(_)
            | Stage::Fetch(_)
            | Stage::Upload(_)
            | Stage::Check(_) => {}
            // Of no recipe, and without a result.
            Stage::Deliver(_) => {}
            Stage::Decode(stage) => stage.address_into(hasher),
            Stage::Transcribe(stage) => stage.address_into(hasher),
            Stage::Subtitle(stage) => stage.address_into(hasher),
            Stage::Collect(stage) => stage.address_into(hasher),
            Stage::Compress(stage) => stage.address_into(hasher),
            Stage::Convert(stage) => stage.address_into(hasher),
            Stage::Preview(stage) => stage.address_into(hasher),
            Stage::Analyze(stage) => stage.address_into(hasher),
            Stage::Plan(stage) => stage.address_into(hasher),
            Stage::Assemble(stage) => stage.address_into(hasher),
            Stage::Image(stage) => stage.address_into(hasher),
            Stage::Pack(stage) => stage.address_into(hasher),
            Stage::Listen(stage) => stage.address_into(hasher),
            Stage::Sight(stage) => stage.address_into(hasher),
            Stage::Write(stage) => stage.address_into(hasher),
            Stage::Ask(stage) => stage.address_into(hasher),
            Stage::Propose(stage) => stage.address_into(hasher),
        }
    }

    /// What the types can't say: ranges and combinations. The message names the parameter and the range.
    pub fn validate(&self) -> Result<(), String> {
        match self {
            Stage::Identify(_)
            | Stage::Publish(_)
            | Stage::Decode(_)
            | Stage::Fetch(_)
            | Stage::Upload(_)
            | Stage::Check(_)
            | Stage::Listen(_)
            | Stage::Ask(_)
            | Stage::Propose(_) => Ok(()),
            Stage::Deliver(_) => Err("`deliver` is no stage of a recipe".to_owned()),
            Stage::Transcribe(stage) => stage.validate(),
            Stage::Subtitle(stage) => stage.validate(),
            Stage::Pull(stage) => stage.validate(),
            Stage::Collect(stage) => stage.validate(),
            Stage::Compress(stage) => stage.validate(),
            Stage::Convert(stage) => stage.validate(),
            Stage::Preview(stage) => stage.validate(),
            Stage::Analyze(stage) => stage.validate(),
            Stage::Plan(stage) => stage.validate(),
            Stage::Assemble(stage) => stage.validate(),
            Stage::Image(stage) => stage.validate(),
            Stage::Pack(stage) => stage.validate(),
            Stage::Sight(stage) => stage.validate(),
            Stage::Write(stage) => stage.validate(),
        }
    }
}
