//! How good the estimates are: batches go through a made-up machine whose true end is known afterwards. Each mix is lived through under several
//! seeds, and what was told on the way is held against what came.

use std::collections::BTreeMap;

use spindle_shared::batch::{BatchSpec, Eta, OnExisting, Priority};
use spindle_shared::event::Fact;
use spindle_shared::failure::{Failure, FailureKind};
use spindle_shared::id::{BatchId, ContentHash, JobId, Owner, RunId, Target, WorkerId};
use spindle_shared::job::{Detail, FileIdentity, Input as JobInput, JobSpec, OutputPlan, PathBytes};
use spindle_shared::lane::Lane;
use spindle_shared::recipe::Recipe;
use spindle_shared::stage::Stage;
use spindle_shared::time::{MonoMs, Now, WallMs};
use spindle_shared::wire::request::Selection;
use spindle_shared::wire::response::{HouseView, Response};
use spindle_shared::worker::{Done, Outcome};

use super::super::{Config, Scheduler};
use crate::change::{Change, Recovered, StoredArtifact};
use crate::effect::{Answer, ClientId, Command, Effect, FoundInput, Input, Peer, Start};
use crate::rates::{Rate, RateKey};

const ADMIN: Peer = Peer { owner: Owner(0), admin: true };
const STEP_MS: u64 = 100;
/// A window of speech is heard as a whole; progress comes in such steps.
const WINDOW: f64 = 30.0;

/// A small generator (SplitMix64): tests go the same way every time.
struct Random(u64);

impl Random {
    fn share(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.share()
    }
}

/// A recording as it really is.
#[derive(Debug, Clone, Copy)]
struct Recording {
    seconds: f64,
    /// How much harder than others it is to hear.
    hardness: f64,
    broken: bool,
    cached: bool,
}

struct Live {
    start: Start,
    /// Seconds of a slot at full speed: as such, then for all of its work; and how many are behind it.
    base: f64,
    work: f64,
    behind: f64,
}

/// The machine: how fast it is, and what a run costs on it.
struct Machine {
    slots: u32,
    base: f64,
    slope: f64,
    speed: fn(f64) -> f64,
}

const STEADY: Machine = Machine { slots: 2, base: 0.5, slope: 0.1, speed: |_| 1.0 };

struct World {
    machine: Machine,
    scheduler: Scheduler,
    ms: u64,
    live: Vec<Live>,
    recordings: BTreeMap<JobId, Recording>,
    artifacts: BTreeMap<ContentHash, StoredArtifact>,
    rates: BTreeMap<RateKey, Rate>,
    /// As a watcher sees it.
    etas: BTreeMap<BatchId, Option<Eta>>,
    events: u32,
    ended: BTreeMap<BatchId, f64>,
    asked: u64,
    answers: BTreeMap<u64, Vec<Response>>,
    submitted: u64,
}

impl World {
    fn new(machine: Machine, rates: BTreeMap<RateKey, Rate>) -> Self {
        let slots = [(Lane::Cpu, machine.slots), (Lane::Io, 4), (Lane::Net, 2)];
        let config = Config {
            quota: super::super::Quota::default(),
            providers: Default::default(),
            memory_mib: 1 << 20,
            gpus: Default::default(),
            disk_reserve_bytes: 0,
            slots: slots.into(),
            version: "0".to_owned(),
            pid: 1,
            started_at: WallMs(0),
            state_dir: PathBytes::default(),
            model_dir: PathBytes::default(),
        };
        let recovered =
            Recovered { boot: 1, next_batch: 1, rates: rates.clone().into_iter().collect(), ..Recovered::default() };
        let (scheduler, _) = Scheduler::recover(config, recovered, Now { wall: WallMs(1), mono: MonoMs(1) });
        World {
            machine,
            scheduler,
            ms: 1,
            live: Vec::new(),
            recordings: BTreeMap::new(),
            artifacts: BTreeMap::new(),
            rates,
            etas: BTreeMap::new(),
            events: 0,
            ended: BTreeMap::new(),
            asked: 0,
            answers: BTreeMap::new(),
            submitted: 0,
        }
    }

    fn seconds(&self) -> f64 {
        self.ms as f64 / 1_000.0
    }

    fn tell(&mut self, input: Input) {
        let now = Now { wall: WallMs(self.ms), mono: MonoMs(self.ms) };
        let effects = self.scheduler.step(now, input);
        assert_eq!(self.scheduler.check(), Ok(()));
        let mut answers = Vec::new();
        for effect in effects {
            match effect {
                Effect::Commit(changes) => changes.into_iter().for_each(|change| match change {
                    Change::ArtifactStored(address, artifact) => drop(self.artifacts.insert(address, artifact)),
                    Change::ArtifactDropped(address) => drop(self.artifacts.remove(&address)),
                    Change::RateLearned(key, Some(rate)) => drop(self.rates.insert(key, rate)),
                    _ => {}
                }),
                Effect::Publish(event) => {
                    self.events += 1;
                    if let Fact::Batch(view) = event.fact {
                        self.etas.insert(view.id, view.eta);
                        if view.state.is_terminal() {
                            self.ended.insert(view.id, self.seconds());
                        }
                    }
                }
                Effect::LookupInput { job, .. } => {
                    let recording = self.recordings[&job];
                    let content = recording.cached.then(|| self.content(job));
                    let found = FoundInput { is_file: true, bytes: bytes(recording), content, stages: None };
                    answers.push(Input::InputFound { job, found });
                }
                Effect::LookupArtifacts { job, addresses } => {
                    let cached = self.recordings[&job].cached;
                    let found = (0..)
                        .zip(&addresses)
                        .map(|(nth, address)| match nth {
                            // The transcript is there already.
                            1 if cached => Some(transcript(self.recordings[&job])),
                            _ => self.artifacts.get(address).cloned(),
                        })
                        .collect();
                    answers.push(Input::ArtifactsFound { job, found });
                }
                Effect::Start(start) => match start.stage {
                    Stage::Decode(_) | Stage::Transcribe(_) | Stage::Compress(_) => self.begin(*start),
                    // Milliseconds.
                    _ => answers.push(Input::Ended { run: start.run, outcome: outcome(&start, &self.recordings) }),
                },
                Effect::Stop(run) => answers.push(Input::Ended { run, outcome: Outcome::Stopped }),
                Effect::Answer { client, answer: Answer::Frames(frames) } => {
                    self.answers.insert(client.0, frames);
                }
                _ => {}
            }
        }
        for answer in answers {
            if let Input::Ended { run, .. } = answer {
                self.live.retain(|live| live.start.run != run);
            }
            self.tell(answer);
        }
    }

    fn content(&self, job: JobId) -> ContentHash {
        ContentHash::of(format!("{job}").as_bytes())
    }

    fn begin(&mut self, start: Start) {
        let Recording { seconds, hardness, .. } = self.recordings[&start.job];
        let (base, work) = match start.stage {
            Stage::Decode(_) => (0.02, seconds * 0.002),
            _ => (self.machine.base, seconds * self.machine.slope * hardness),
        };
        self.live.push(Live { start, base, work, behind: 0.0 });
    }

    fn ask(&mut self, command: Command) -> Vec<Response> {
        self.asked += 1;
        self.tell(Input::Command { client: ClientId(self.asked), peer: ADMIN, command });
        self.answers.remove(&self.asked).unwrap_or_default()
    }

    fn house(&mut self) -> HouseView {
        match self.ask(Command::House).into_iter().next() {
            Some(Response::House(house)) => house,
            other => panic!("{other:?}"),
        }
    }

    /// Gives the batch and what was estimated of it.
    fn submit(&mut self, parallel: u32, priority: u8, recordings: &[Recording]) -> (BatchId, f64) {
        let recipe = Recipe::subtitles(Default::default(), Default::default(), Default::default(), Default::default());
        let (id, estimated) = self.submit_for(recipe, parallel, priority, recordings);
        (id, estimated.unwrap())
    }

    fn submit_for(
        &mut self,
        recipe: Recipe,
        parallel: u32,
        priority: u8,
        recordings: &[Recording],
    ) -> (BatchId, Option<f64>) {
        self.submitted += 1;
        let id = BatchId(self.submitted);
        for (index, recording) in (1..).zip(recordings) {
            self.recordings.insert(JobId { batch: id, index }, *recording);
        }
        let jobs = recordings.iter().map(|recording| JobSpec {
            input: JobInput::File {
                path: PathBytes(b"/in".to_vec()),
                identity: FileIdentity { dev: 1, inode: 1, bytes: bytes(*recording), mtime_ns: 0, ctime_ns: 0 },
            },
            output: OutputPlan::default(),
            stages: None,
            skip: None,
            replace: Vec::new(),
        });
        let jobs = jobs.collect();
        let spec = BatchSpec {
            recipe,
            name: None,
            tags: Vec::new(),
            priority: Priority(priority),
            parallel,
            retries: None,
            timeout: None,
            key: None,
            on_existing: OnExisting::Refuse,
            terms: Default::default(),
            gather_to: None,
        };
        match self
            .ask(Command::Submit { spec: Box::new(spec), jobs, repeats: None, after: Vec::new() })
            .into_iter()
            .next()
        {
            Some(Response::Submitted(submitted)) => {
                assert_eq!(submitted.batch.id, id);
                (id, submitted.estimated_seconds)
            }
            other => panic!("{other:?}"),
        }
    }

    fn advance(&mut self) {
        let before = self.seconds();
        self.ms += STEP_MS;
        let step = STEP_MS as f64 / 1_000.0 * (self.machine.speed)(before);
        let mut news = Vec::new();
        for live in &mut self.live {
            let (base, window) = (live.base, live.work / live.windows(&self.recordings));
            let windows = |behind: f64| ((behind - base) / window).floor().max(0.0);
            let told = windows(live.behind);
            live.behind += step * f64::from(live.start.slots);
            if live.behind >= live.base + live.work {
                news.push(Input::Ended { run: live.start.run, outcome: outcome(&live.start, &self.recordings) });
            } else if live.work > 0.0 && windows(live.behind) > told {
                let done = (0.03 + 0.97 * windows(live.behind) / live.windows(&self.recordings)) as f32;
                news.push(Input::Progress { run: live.start.run, worker: WorkerId(1), done, begun: 0.0 });
            }
        }
        let over: Vec<RunId> = news
            .iter()
            .filter_map(|input| if let Input::Ended { run, .. } = input { Some(*run) } else { None })
            .collect();
        self.live.retain(|live| !over.contains(&live.start.run));
        news.into_iter().for_each(|input| self.tell(input));
        if self.scheduler.next_wakeup().is_some_and(|at| at.0 <= self.ms) {
            self.tell(Input::Tick);
        }
    }

    /// Lives on until all batches have ended, looking at each once a second; `meddle` may do something in between.
    fn live_through(&mut self, mut meddle: impl FnMut(&mut World)) -> Vec<Look> {
        let mut looks = Vec::new();
        let mut next = self.ms;
        while (self.ended.len() as u64) < self.submitted {
            assert!(self.ms < 50_000_000, "no end");
            meddle(self);
            self.advance();
            if self.ms >= next {
                next += 1_000;
                let open = self.etas.iter().filter(|(id, _)| !self.ended.contains_key(id));
                looks.extend(open.map(|(batch, eta)| Look { batch: *batch, at: self.ms as f64 / 1e3, eta: *eta }));
            }
        }
        looks
    }
}

impl Live {
    fn windows(&self, recordings: &BTreeMap<JobId, Recording>) -> f64 {
        (recordings[&self.start.job].seconds / WINDOW).ceil()
    }
}

fn bytes(recording: Recording) -> u64 {
    (recording.seconds * 32_000.0) as u64 + 44
}

fn transcript(recording: Recording) -> StoredArtifact {
    let detail = Detail { media_seconds: Some(recording.seconds), ..Detail::default() };
    StoredArtifact { stage: "transcribe".to_owned(), files: Vec::new(), detail, created_at: WallMs(0) }
}

fn outcome(start: &Start, recordings: &BTreeMap<JobId, Recording>) -> Outcome {
    let recording = recordings[&start.job];
    let mut done = Done { work: recording.seconds, ..Done::default() };
    match start.stage {
        Stage::Identify(_) => {
            done.content = Some(ContentHash::of(format!("{}", start.job).as_bytes()));
            done.work = bytes(recording) as f64;
        }
        Stage::Decode(_) if recording.broken => {
            return Outcome::Failed(Failure::new(FailureKind::Input, "it is broken"));
        }
        Stage::Decode(_) => done.detail.media_seconds = Some(recording.seconds),
        _ => {}
    }
    Outcome::Done(Box::new(done))
}

/// What was told at a time.
#[derive(Debug, Clone, Copy)]
struct Look {
    batch: BatchId,
    at: f64,
    eta: Option<Eta>,
}

/// How good it was: between a fifth and four fifths of the time.
#[derive(Debug, Default)]
struct Score {
    errors: Vec<f64>,
    widths: Vec<f64>,
    inside: u32,
    unknown: u32,
}

impl Score {
    fn add(&mut self, looks: &[Look], began: &BTreeMap<BatchId, f64>, ended: &BTreeMap<BatchId, f64>) {
        for look in looks {
            let (began, end) = (began.get(&look.batch).copied().unwrap_or(0.0), ended[&look.batch]);
            let behind = (look.at - began) / (end - began);
            if !(0.2..=0.8).contains(&behind) {
                continue;
            }
            let left = end - look.at;
            let Some(eta) = look.eta else {
                self.unknown += 1;
                continue;
            };
            self.errors.push((eta.seconds - left).abs() / left);
            self.widths.push((eta.high - eta.low) / eta.seconds.max(0.1));
            self.inside += u32::from((eta.low..=eta.high).contains(&left));
        }
    }

    fn told(&mut self) -> (f64, f64, f64, f64) {
        let median = |values: &mut Vec<f64>| {
            values.sort_by(f64::total_cmp);
            values.get(values.len() / 2).copied().unwrap_or(f64::INFINITY)
        };
        let known = self.errors.len() as f64;
        (
            median(&mut self.errors),
            f64::from(self.inside) / known.max(1.0),
            median(&mut self.widths),
            f64::from(self.unknown) / (known + f64::from(self.unknown)),
        )
    }
}

fn recordings(random: &mut Random, count: usize, low: f64, high: f64) -> Vec<Recording> {
    (0..count)
        .map(|_| Recording {
            seconds: random.between(low, high),
            // One in twenty is silent.
            hardness: match random.share() {
                share if share < 0.05 => 0.03,
                _ => (0.5 * (random.share() + random.share() + random.share() - 1.5)).exp(),
            },
            broken: false,
            cached: false,
        })
        .collect()
}

struct Mix {
    name: &'static str,
    /// Error, share inside, width that must be kept.
    bounds: (f64, f64, f64),
    live: fn(u64, &mut Score),
}

fn alone(seed: u64, score: &mut Score, machine: Machine, parallel: u32, make: impl Fn(&mut Random) -> Vec<Recording>) {
    let mut world = World::new(machine, BTreeMap::new());
    world.submit(parallel, 50, &make(&mut Random(seed)));
    let looks = world.live_through(|_| {});
    score.add(&looks, &BTreeMap::new(), &world.ended);
}

/// Rates as a house has them that has worked before, at this speed.
fn history(seed: u64, slope: f64) -> BTreeMap<RateKey, Rate> {
    let mut world = World::new(Machine { slope, ..STEADY }, BTreeMap::new());
    world.submit(3, 50, &recordings(&mut Random(seed ^ 0xabc), 30, 5.0, 300.0));
    world.live_through(|_| {});
    world.rates
}

const MIXES: [Mix; 16] = [
    Mix {
        name: "40 recordings of 5–300 s",
        bounds: (0.13, 0.85, 0.6),
        live: |seed, score| alone(seed, score, STEADY, 3, |random| recordings(random, 40, 5.0, 300.0)),
    },
    Mix {
        name: "the short ones first",
        bounds: (0.18, 0.75, 0.65),
        live: |seed, score| {
            alone(seed, score, STEADY, 3, |random| {
                let mut all = recordings(random, 40, 5.0, 300.0);
                all.sort_by(|one, other| one.seconds.total_cmp(&other.seconds));
                all
            });
        },
    },
    Mix {
        name: "the long ones first",
        bounds: (0.15, 0.8, 0.6),
        live: |seed, score| {
            alone(seed, score, STEADY, 3, |random| {
                let mut all = recordings(random, 40, 5.0, 300.0);
                all.sort_by(|one, other| other.seconds.total_cmp(&one.seconds));
                all
            });
        },
    },
    Mix {
        name: "clips, then talks",
        bounds: (0.16, 0.8, 0.65),
        live: |seed, score| {
            alone(seed, score, STEADY, 3, |random| {
                let mut all = recordings(random, 20, 5.0, 12.0);
                all.extend(recordings(random, 20, 200.0, 300.0));
                all
            });
        },
    },
    Mix {
        name: "one after the other",
        bounds: (0.15, 0.8, 0.65),
        live: |seed, score| alone(seed, score, STEADY, 1, |random| recordings(random, 30, 5.0, 300.0)),
    },
    Mix {
        name: "200 clips of 2–6 s",
        bounds: (0.06, 0.95, 0.45),
        live: |seed, score| alone(seed, score, STEADY, 3, |random| recordings(random, 200, 2.0, 6.0)),
    },
    Mix {
        name: "8 recordings of half an hour",
        bounds: (0.25, 0.8, 1.1),
        live: |seed, score| alone(seed, score, STEADY, 3, |random| recordings(random, 8, 1_500.0, 2_100.0)),
    },
    Mix {
        name: "a monster comes last",
        bounds: (0.12, 0.8, 1.4),
        live: |seed, score| {
            alone(seed, score, STEADY, 3, |random| {
                let mut all = recordings(random, 20, 5.0, 100.0);
                all.extend(recordings(random, 1, 2_500.0, 3_000.0));
                all
            });
        },
    },
    Mix {
        name: "a machine that is busy by turns",
        bounds: (0.18, 0.8, 0.65),
        live: |seed, score| {
            let machine = Machine { speed: |at| if at % 120.0 < 60.0 { 1.0 } else { 0.6 }, ..STEADY };
            alone(seed, score, machine, 3, |random| recordings(random, 40, 5.0, 300.0));
        },
    },
    Mix {
        name: "after a restart",
        bounds: (0.12, 0.85, 0.6),
        live: |seed, score| {
            let mut world = World::new(STEADY, history(seed, 0.1));
            world.submit(3, 50, &recordings(&mut Random(seed), 40, 5.0, 300.0));
            let looks = world.live_through(|_| {});
            assert!(looks.iter().take(3).all(|look| look.eta.is_some()), "known from the start");
            score.add(&looks, &BTreeMap::new(), &world.ended);
        },
    },
    Mix {
        name: "after a restart, twice as fast",
        bounds: (0.12, 0.85, 0.6),
        live: |seed, score| {
            let mut world = World::new(STEADY, history(seed, 0.2));
            world.submit(3, 50, &recordings(&mut Random(seed), 40, 5.0, 300.0));
            let looks = world.live_through(|_| {});
            score.add(&looks, &BTreeMap::new(), &world.ended);
        },
    },
    Mix {
        name: "half of it done before",
        bounds: (0.3, 0.7, 1.2),
        live: |seed, score| {
            let mut world = World::new(STEADY, history(seed, 0.1));
            let mut random = Random(seed);
            let mut all = recordings(&mut random, 40, 5.0, 300.0);
            all.iter_mut().for_each(|one| one.cached = random.share() < 0.5);
            world.submit(3, 50, &all);
            let looks = world.live_through(|_| {});
            score.add(&looks, &BTreeMap::new(), &world.ended);
        },
    },
    Mix {
        name: "a third is broken",
        bounds: (0.25, 0.75, 1.1),
        live: |seed, score| {
            alone(seed, score, STEADY, 3, |random| {
                let mut all = recordings(random, 40, 5.0, 300.0);
                all.iter_mut().for_each(|one| one.broken = random.share() < 0.33);
                all
            });
        },
    },
    Mix {
        name: "two batches beside each other",
        bounds: (0.13, 0.85, 0.7),
        live: |seed, score| {
            let mut world = World::new(STEADY, history(seed, 0.1));
            let mut random = Random(seed);
            world.submit(3, 50, &recordings(&mut random, 20, 5.0, 300.0));
            world.submit(3, 50, &recordings(&mut random, 40, 5.0, 100.0));
            let looks = world.live_through(|_| {});
            score.add(&looks, &BTreeMap::new(), &world.ended);
        },
    },
    Mix {
        name: "ten batches of one recording",
        bounds: (0.22, 0.8, 1.6),
        live: |seed, score| {
            let mut world = World::new(STEADY, history(seed, 0.1));
            let mut random = Random(seed);
            for _ in 0..10 {
                world.submit(3, 50, &recordings(&mut random, 1, 50.0, 300.0));
            }
            let looks = world.live_through(|_| {});
            score.add(&looks, &BTreeMap::new(), &world.ended);
        },
    },
    Mix {
        name: "behind a more urgent one",
        bounds: (0.15, 0.85, 1.05),
        live: |seed, score| {
            let mut world = World::new(STEADY, history(seed, 0.1));
            let mut random = Random(seed);
            world.submit(3, 50, &recordings(&mut random, 10, 5.0, 300.0));
            world.submit(3, 0, &recordings(&mut random, 20, 5.0, 300.0));
            let looks = world.live_through(|_| {});
            score.add(&looks, &BTreeMap::new(), &world.ended);
        },
    },
];

/// Prints a row for each mix: seen with `--no-capture`.
#[test]
fn estimates_are_near_what_comes() {
    const SEEDS: u64 = 4;
    let mut bad = Vec::new();
    println!("{:<34} {:>7} {:>7} {:>7} {:>8}", "mix", "error", "inside", "width", "unknown");
    for mix in MIXES {
        let mut score = Score::default();
        (1..=SEEDS).for_each(|seed| (mix.live)(seed, &mut score));
        let (error, inside, width, unknown) = score.told();
        println!(
            "{:<34} {:>6.1}% {:>6.1}% {:>6.1}% {:>7.1}%",
            mix.name,
            error * 100.0,
            inside * 100.0,
            width * 100.0,
            unknown * 100.0
        );
        let (error_max, inside_min, width_max) = mix.bounds;
        if error > error_max || inside < inside_min || width > width_max || unknown > 0.2 {
            bad.push(mix.name);
        }
    }
    assert!(bad.is_empty(), "{bad:?}");
}

#[test]
fn a_pause_is_no_work_and_is_not_estimated() {
    let mut world = World::new(STEADY, BTreeMap::new());
    let all = recordings(&mut Random(7), 30, 5.0, 300.0);
    let (id, _) = world.submit(3, 50, &all);
    let what = || Selection::Targets(vec![Target::Batch(id)]);
    let (mut before, mut after, mut unknown) = (None, None, 0);
    world.live_through(|world| match world.ms {
        100_001 => {
            before = world.etas[&id];
            world.ask(Command::Pause { what: what(), now: true });
            assert_eq!(world.etas[&id], None);
            assert_eq!(world.house().eta, None);
        }
        100_101..=200_000 => {
            assert_eq!((world.etas[&id], world.live.len()), (None, 0));
            unknown += 1;
        }
        200_001 => drop(world.ask(Command::Resume(what()))),
        210_001 => after = world.etas[&id],
        _ => {}
    });
    let (before, after): (Eta, Eta) = (before.unwrap(), after.unwrap());
    assert!(unknown > 100);
    // What ran when it was paused began anew here: this machine keeps no checkpoints.
    assert!((after.seconds / before.seconds - 1.0).abs() < 0.3, "{before:?} {after:?}");
}

#[test]
fn a_house_at_work_tells_a_few_times_a_second_and_one_that_rests_nothing() {
    let mut world = World::new(STEADY, history(3, 0.1));
    for _ in 0..50 {
        world.submit(3, 50, &recordings(&mut Random(3), 4, 100.0, 300.0));
    }
    (0..200).for_each(|_| world.advance());
    let before = world.events;
    (0..400).for_each(|_| world.advance());
    let events = f64::from(world.events - before) / 20.0;
    assert!(events < 60.0, "{events} events a second of fifty batches");
    world.ask(Command::Pause { what: Selection::House, now: true });
    assert!(world.etas.values().all(Option::is_none));
    assert_eq!(world.scheduler.next_wakeup(), None);
}

#[test]
fn the_estimate_at_submission_is_by_this_machines_history() {
    let all = vec![Recording { seconds: 100.0, hardness: 1.0, broken: false, cached: false }; 8];
    let (_, table) = World::new(STEADY, BTreeMap::new()).submit(4, 50, &all);
    assert_eq!(table, 120.0);
    let (_, measured) = World::new(STEADY, history(1, 0.1)).submit(2, 50, &all);
    assert!((measured / 42.0 - 1.0).abs() < 0.15, "{measured}");
}

#[test]
fn work_that_an_earlier_run_did_is_credited_to_nobody() {
    let mut world = World::new(STEADY, BTreeMap::new());
    world.submit(1, 50, &[Recording { seconds: 300.0, hardness: 1.0, broken: false, cached: false }]);
    while !world.live.iter().any(|live| matches!(live.start.stage, Stage::Transcribe(_))) {
        world.advance();
    }
    let run = world.live[0].start.run;
    for (done, credited) in [(0.6, 0.0), (0.7, 30.0), (0.65, 30.0), (0.9, 90.0)] {
        world.tell(Input::Progress { run, worker: WorkerId(1), done, begun: 0.6 });
        assert!((world.house().done.media_seconds - credited).abs() < 0.01, "{done}");
    }
    let detail = Detail { media_seconds: Some(300.0), ..Detail::default() };
    let done = Done { work: 120.0, detail, ..Done::default() };
    world.live.clear();
    world.tell(Input::Ended { run, outcome: Outcome::Done(Box::new(done)) });
    assert!((world.house().done.media_seconds - 120.0).abs() < 0.01);
}

/// A run measured by bytes tells seconds of its own accord; where it doesn't, they count when it has ended.
#[test]
fn recordings_count_as_they_go_whatever_their_stage_is_measured_by() {
    for told in [true, false] {
        let mut world = World::new(STEADY, BTreeMap::new());
        let recipe = Recipe::compress(Default::default(), Default::default());
        let recording = Recording { seconds: 300.0, hardness: 1.0, broken: false, cached: false };
        let (batch, _) = world.submit_for(recipe, 1, 50, &[recording]);
        while !world.live.iter().any(|live| matches!(live.start.stage, Stage::Compress(_))) {
            world.advance();
        }
        let run = world.live[0].start.run;
        let length = |world: &World| world.scheduler.batches[&batch].job(1).unwrap().open.detail.media_seconds;
        for seconds in [f64::NAN, -1.0, 0.0] {
            world.tell(Input::Length { run, seconds });
            assert_eq!(length(&world), None);
        }
        if told {
            world.tell(Input::Length { run, seconds: 301.0 });
            assert_eq!(length(&world), Some(301.0));
        }
        world.tell(Input::Progress { run, worker: WorkerId(1), done: 0.5, begun: 0.1 });
        let credited = if told { 0.4 * 301.0 } else { 0.0 };
        assert!((world.house().done.media_seconds - credited).abs() < 0.01, "{told}");
        world.live.clear();
        let detail = Detail { media_seconds: Some(300.0), ..Detail::default() };
        let done = Done { work: bytes(recording) as f64, detail, ..Done::default() };
        world.tell(Input::Ended { run, outcome: Outcome::Done(Box::new(done)) });
        assert!((world.house().done.media_seconds - 0.9 * 300.0).abs() < 0.01, "{told}");
    }
}

#[test]
fn the_first_recording_ever_is_estimated_from_how_it_goes() {
    let mut world = World::new(STEADY, BTreeMap::new());
    let (id, _) = world.submit(3, 50, &[Recording { seconds: 3_600.0, hardness: 1.0, broken: false, cached: false }]);
    let looks = world.live_through(|_| {});
    let known: Vec<&Look> = looks.iter().filter(|look| look.eta.is_some()).collect();
    // Nothing is told before half a minute of it was heard, and then it is near.
    assert!((3.0..20.0).contains(&known[0].at), "{:?}", known[0]);
    for look in known.iter().filter(|look| look.at > 40.0) {
        let (eta, left) = (look.eta.unwrap(), world.ended[&id] - look.at);
        assert!((eta.seconds - left).abs() < 0.15 * left + 5.0, "{look:?}, {left} left");
    }
}
