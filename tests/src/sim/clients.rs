//! Scripted clients: what they ask, and what they were told. They know batches by number only, like people at a terminal.

use std::collections::{BTreeMap, BTreeSet};

use spindle_core::effect::{ClientId, Peer};
use spindle_shared::batch::{After, BatchSpec, Halt, HaltAt, OnExisting, Priority, Terms, TimeLimit};
use spindle_shared::id::{BatchId, ContentHash, JobId, Owner, RunId, Target};
use spindle_shared::job::{FileIdentity, Input, JobSpec, OutputPlan, PathBytes};
use spindle_shared::provider::ProviderRef;
use spindle_shared::recipe::Recipe;
use spindle_shared::stage::Stage;
use spindle_shared::stage::fetch::Fetch;
use spindle_shared::stage::pull::Pull;
use spindle_shared::stage::subtitle::{Format, Subtitle};
use spindle_shared::stage::transcribe::Transcribe;
use spindle_shared::stage::write::{DocumentFormat, Write};
use spindle_shared::template::Template;
use spindle_shared::time::WallMs;
use spindle_shared::url::Url;
use spindle_shared::wire::request::Selection;

use super::random::Random;
use super::world::EPOCH_MS;

/// A request as it comes over the socket: what needs the store is not looked up yet.
#[derive(Debug, Clone)]
pub enum Request {
    Submit(Box<BatchSpec>, Vec<JobSpec>),
    Cancel(Selection),
    Pause(Selection, bool),
    Resume(Selection),
    Prioritize(Selection, Priority),
    Retry(Target),
    Remove(BatchId),
    Explain(Target),
    House,
    Overlay,
    Drain,
    Shutdown,
}

/// A question that waits for its answer.
#[derive(Debug)]
pub struct Question {
    pub request: Request,
    /// Runs that must be over when the answer comes.
    pub runs: BTreeSet<RunId>,
}

/// Everybody who asks.
#[derive(Debug, Default)]
pub struct Clients {
    last: u64,
    pub waiting: BTreeMap<ClientId, Question>,
    submissions: u64,
}

/// A file that clients submit.
#[derive(Debug, Clone, Copy)]
pub struct File {
    pub identity: FileIdentity,
    pub content: ContentHash,
}

pub const OWNERS: u64 = 3;
/// The one model API of the world.
pub const PROVIDER: &str = "oracle";

pub fn identity(number: u64) -> FileIdentity {
    FileIdentity { dev: 1, inode: number, bytes: 1_000, mtime_ns: i128::from(number), ctime_ns: i128::from(number) }
}

impl Clients {
    pub fn next_id(&mut self) -> ClientId {
        self.last += 1;
        ClientId(self.last)
    }

    pub fn peer(random: &mut Random) -> Peer {
        Peer { owner: Owner(random.between(1, OWNERS) as u32), admin: random.permille(500) }
    }

    /// Anything a client may ask of a house with batches up to `newest`.
    pub fn request(&mut self, random: &mut Random, newest: u64, files: &[File], submissions_max: u64) -> Request {
        if newest == 0 || (self.submissions < submissions_max && random.permille(350)) {
            self.submissions += 1;
            return submission(random, files, self.submissions);
        }
        let batch = BatchId(random.between(1, newest));
        let job = JobId { batch, index: random.between(0, 8) as u32 };
        let target = if random.permille(700) { Target::Batch(batch) } else { Target::Job(job) };
        let what = match random.below(20) {
            0 => Selection::Matching(Default::default()),
            1 => Selection::House,
            2 => Selection::Targets(vec![target, Target::Batch(BatchId(random.between(1, newest)))]),
            3..8 => Selection::Targets(vec![target]),
            _ => Selection::Targets(vec![Target::Batch(batch)]),
        };
        match random.below(100) {
            0..20 => Request::Cancel(what),
            20..38 => Request::Pause(what, random.permille(500)),
            38..60 => Request::Resume(what),
            60..68 => Request::Prioritize(what, Priority(*random.pick(&[0, 25, 50, 75]))),
            68..84 => Request::Retry(target),
            84..88 => Request::Remove(batch),
            88..92 => Request::Explain(target),
            92..94 => Request::House,
            94..96 => Request::Overlay,
            96..98 => Request::Drain,
            98 => Request::Resume(Selection::House),
            _ => Request::Shutdown,
        }
    }
}

fn submission(random: &mut Random, files: &[File], number: u64) -> Request {
    let pull = random.permille(150);
    let recipe = if !pull && random.permille(250) {
        asking(random)
    } else if pull {
        Recipe::pull(Pull {
            name: "base".to_owned(),
            url: "https://models.invalid/base".to_owned(),
            file: "base.bin".to_owned(),
            bytes: 1,
            sha256: String::new(),
        })
    } else {
        let language = random.permille(300).then(|| "de".to_owned());
        let transcribe = Transcribe { language, ..Transcribe::default() };
        let subtitle = Subtitle { formats: vec![Format::Srt, Format::Txt], ..Subtitle::default() };
        let recipe = Recipe::subtitles(Default::default(), transcribe, subtitle, Default::default());
        let gather = vec![Stage::Collect(Default::default()), Stage::Publish(Default::default())];
        Recipe { gather: if random.permille(300) { gather } else { Vec::new() }, ..recipe }
    };
    let place = OutputPlan { directory: PathBytes(b"/out".to_vec()), stem: PathBytes(b"gathered".to_vec()) };
    let gather_to = (!recipe.gather.is_empty()).then_some(place);
    let jobs = (0..random.between(1, 8)).map(|at| job(random, files, &recipe, pull, number, at)).collect();
    let spec = BatchSpec {
        recipe,
        name: None,
        tags: Vec::new(),
        priority: Priority(*random.pick(&[0, 25, 50, 50, 50, 75])),
        parallel: random.between(1, 4) as u32,
        retries: random.permille(300).then(|| random.below(3) as u32),
        timeout: random.permille(800).then(|| TimeLimit::Milliseconds(random.between(3_000, 20_000))),
        key: random.permille(500).then(|| format!("key {}", random.below(4))),
        on_existing: OnExisting::Refuse,
        terms: terms(random, number),
        gather_to,
    };
    Request::Submit(Box::new(spec), jobs)
}

/// A recipe that asks the model API of this world.
fn asking(random: &mut Random) -> Recipe {
    let template = Template {
        name: "own".to_owned(),
        version: "1".to_owned(),
        description: String::new(),
        language: "en".to_owned(),
        parameters: Vec::new(),
        model: Default::default(),
        prompt: String::new(),
        layout: String::new(),
    };
    let write = Write {
        template,
        parameters: Vec::new(),
        provider: Some(ProviderRef::named(PROVIDER)),
        formats: vec![DocumentFormat::Md],
        title: random.permille(500).then(|| format!("title {}", random.below(1_000))),
        link: None,
        tags: Vec::new(),
        stem: String::new(),
    };
    Recipe::report(Default::default(), None, Default::default(), write, Default::default())
}

fn terms(random: &mut Random, number: u64) -> Terms {
    let after = random.permille(200).then(|| After {
        batch: BatchId(random.between(number.saturating_sub(3).max(1), number.max(1))),
        any_end: random.permille(500),
    });
    // Of a wall clock that leaps: it may have been long ago, or never come before the calm.
    let at = random.permille(100).then(|| WallMs(EPOCH_MS + random.below(60_000)));
    let halt = random.permille(150).then(|| Halt {
        now: random.permille(500),
        failed: if random.permille(500) { HaltAt::Jobs(1) } else { HaltAt::Percent(40) },
    });
    Terms {
        after: after.into_iter().collect(),
        at,
        halt,
        auto_priority: random.permille(100),
        max_cost: None,
        notify: Vec::new(),
    }
}

fn job(random: &mut Random, files: &[File], recipe: &Recipe, pull: bool, number: u64, at: u64) -> JobSpec {
    let inode = random.below(files.len() as u64);
    let input = if pull {
        Input::Name("base".to_owned())
    } else if random.permille(150) {
        Input::Url(Url::stored(format!("https://host.example/{inode}.mp4")))
    } else {
        let identity = files[inode as usize].identity;
        Input::File { path: PathBytes(format!("/in/{inode}").into_bytes()), identity }
    };
    let own_stages = (!pull && random.permille(100)).then(|| {
        let mut stages = recipe.map.clone();
        for stage in &mut stages {
            if let Stage::Transcribe(transcribe) = stage {
                transcribe.language = Some("fr".to_owned());
            }
        }
        stages
    });
    let own_stages = match input {
        // As the daemon makes them at submission.
        Input::Url(_) => {
            let mut stages = own_stages.unwrap_or_else(|| recipe.map.clone());
            stages[0] = Stage::Fetch(Fetch::default());
            Some(stages)
        }
        _ => own_stages,
    };
    JobSpec {
        input,
        output: OutputPlan {
            directory: PathBytes(b"/out".to_vec()),
            stem: PathBytes(format!("{number}-{at}").into_bytes()),
        },
        stages: own_stages,
        skip: random.permille(100).then(|| "its outputs are there".to_owned()),
        replace: Vec::new(),
    }
}
