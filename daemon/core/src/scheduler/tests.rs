//! The scheduler's rules one by one, in a house whose store answers lookups within the turn.

mod cards;

use std::collections::{BTreeMap, BTreeSet};

use spindle_shared::batch::{After, BatchSpec, BatchState, Counts, Halt, HaltAt, OnExisting, Priority, Terms};
use spindle_shared::event::Fact;
use spindle_shared::failure::{Failure, FailureKind};
use spindle_shared::id::{BatchId, ContentHash, JobId, Owner, RunId, Target};
use spindle_shared::job::{Detail, FileIdentity, Input as JobInput, JobSpec, JobState, Output, OutputPlan, PathBytes};
use spindle_shared::lane::Lane;
use spindle_shared::recipe::Recipe;
use spindle_shared::stage::Stage;
use spindle_shared::stage::collect::Collect;
use spindle_shared::stage::pull::Pull;
use spindle_shared::stage::subtitle::{Format, Subtitle};
use spindle_shared::time::{MonoMs, Now, WallMs};
use spindle_shared::wire::request::Selection;
use spindle_shared::wire::response::{RefusalKind, Response};
use spindle_shared::worker::{ArtifactFile, Done, Outcome, Published};

use super::{Config, Quota, Scheduler};
use crate::api::Used;
use crate::change::{BatchStatus, Change, OpenJob, PublishedFile, Recovered, RecoveredBatch, StoredArtifact};
use crate::effect::{
    Answer, ClientId, Command, Death, Effect, FoundInput, Input, LookupOutputs, Peer, RetryItem, Start,
};

mod apis;

const ADMIN: Peer = Peer { owner: Owner(0), admin: true };

struct House {
    scheduler: Scheduler,
    now: Now,
    artifacts: BTreeMap<ContentHash, StoredArtifact>,
    /// Contents of jobs' inputs that are known already.
    contents: BTreeMap<JobId, ContentHash>,
    /// What of model APIs is used up.
    apis: BTreeMap<(String, u32), Used>,
    /// What runs, in the order of starts.
    running: Vec<Start>,
    ended: BTreeMap<JobId, (JobState, Option<FailureKind>)>,
    batches: BTreeMap<BatchId, BatchState>,
    answers: BTreeMap<u64, Vec<Response>>,
    open: BTreeMap<JobId, OpenJob>,
    published: BTreeMap<PathBytes, PublishedFile>,
    stopped: Vec<RunId>,
    alerts: Vec<String>,
    asked: u64,
    /// Answered at once with what is there, unless the disk is slow.
    looks: Vec<LookupOutputs>,
    there: Option<Vec<Published>>,
    slow_disk: bool,
    /// What completed inputs have left to be gathered, and how often that was asked for.
    left: BTreeMap<JobId, ContentHash>,
    results_asked: u32,
    results_gone: bool,
}

fn config(slots: u32) -> Config {
    Config {
        slots: Lane::ALWAYS.into_iter().map(|lane| (lane, slots)).collect(),
        quota: Quota::default(),
        providers: Default::default(),
        memory_mib: 1 << 20,
        gpus: Default::default(),
        disk_reserve_bytes: 0,
        version: "0".to_owned(),
        pid: 1,
        started_at: WallMs(0),
        state_dir: PathBytes::default(),
        model_dir: PathBytes::default(),
    }
}

impl House {
    fn new(slots: u32) -> Self {
        House::recovered(slots, Recovered { boot: 1, next_batch: 1, ..Recovered::default() })
    }

    fn recovered(slots: u32, recovered: Recovered) -> Self {
        House::of(config(slots), recovered)
    }

    fn of(config: Config, recovered: Recovered) -> Self {
        House::at(config, recovered, Now { wall: WallMs(1_000_000), mono: MonoMs(1_000) }, BTreeMap::new())
    }

    fn at(config: Config, recovered: Recovered, now: Now, contents: BTreeMap<JobId, ContentHash>) -> Self {
        let (scheduler, effects) = Scheduler::recover(config, recovered, now);
        let mut house = House {
            scheduler,
            now,
            artifacts: BTreeMap::new(),
            contents,
            apis: BTreeMap::new(),
            running: Vec::new(),
            ended: BTreeMap::new(),
            batches: BTreeMap::new(),
            answers: BTreeMap::new(),
            open: BTreeMap::new(),
            published: BTreeMap::new(),
            stopped: Vec::new(),
            alerts: Vec::new(),
            asked: 0,
            looks: Vec::new(),
            there: None,
            slow_disk: false,
            left: BTreeMap::new(),
            results_asked: 0,
            results_gone: false,
        };
        house.perform(effects);
        house
    }

    fn tell(&mut self, input: Input) {
        let effects = self.scheduler.step(self.now, input);
        assert_eq!(self.scheduler.check(), Ok(()));
        self.perform(effects);
    }

    fn perform(&mut self, effects: Vec<Effect>) {
        let mut lookups = Vec::new();
        for effect in effects {
            match effect {
                Effect::Commit(changes) => changes.into_iter().for_each(|change| self.write(change)),
                Effect::Answer { client, answer: Answer::Frames(frames) } => {
                    assert!(self.answers.insert(client.0, frames).is_none(), "answered twice");
                }
                Effect::Publish(event) => match event.fact {
                    Fact::Batch(view) => drop(self.batches.insert(view.id, view.state)),
                    Fact::Alert(text) => self.alerts.push(text),
                    _ => {}
                },
                Effect::LookupInput { job, .. } => {
                    let content = self.contents.get(&job).copied();
                    let found = FoundInput { is_file: true, bytes: 1, content, stages: None };
                    lookups.push(Input::InputFound { job, found });
                }
                Effect::LookupArtifacts { job, addresses } => {
                    let found = addresses.iter().map(|address| self.artifacts.get(address).cloned()).collect();
                    lookups.push(Input::ArtifactsFound { job, found });
                }
                Effect::LookupOutputs(asked) => {
                    if !self.slow_disk {
                        let (look, job, outputs) = (asked.look, asked.job, self.there.clone());
                        lookups.push(Input::OutputsFound { look, job, outputs });
                    }
                    self.looks.push(*asked);
                }
                Effect::LookupResults { look, job } => {
                    self.results_asked += 1;
                    let results = match self.results_gone {
                        true => Err(super::gather::result_is_gone(1, job.batch)),
                        false => Ok(ContentHash::of(format!("{:?}", self.left).as_bytes())),
                    };
                    lookups.push(Input::ResultsFound { look, job, results });
                }
                Effect::Start(start) => self.running.push(*start),
                Effect::Stop(run) => self.stopped.push(run),
                _ => {}
            }
        }
        lookups.into_iter().for_each(|lookup| self.tell(lookup));
    }

    fn write(&mut self, change: Change) {
        match change {
            Change::JobEnded(job, ended) => {
                self.left.extend(ended.artifact.map(|artifact| (job, artifact)));
                self.ended.insert(job, (ended.state, ended.failure.map(|failure| failure.kind)));
            }
            Change::JobOpen(job, open) => {
                self.ended.remove(&job);
                self.open.insert(job, *open);
            }
            Change::ArtifactStored(address, artifact) => drop(self.artifacts.insert(address, artifact)),
            Change::ArtifactDropped(address) => drop(self.artifacts.remove(&address)),
            Change::ApiUsed(name, key, used) => drop(self.apis.insert((name, key), used)),
            Change::Published(path, file) => drop(self.published.insert(path, file)),
            _ => {}
        }
    }

    fn ask(&mut self, peer: Peer, command: Command) -> u64 {
        self.asked += 1;
        self.tell(Input::Command { client: ClientId(self.asked), peer, command });
        self.asked
    }

    fn submit(&mut self, owner: u32, priority: u8, parallel: u32, jobs: u32) -> BatchId {
        self.submit_with(owner, pull(), priority, parallel, &vec![false; jobs as usize])
    }

    fn submit_with(&mut self, owner: u32, recipe: Recipe, priority: u8, parallel: u32, skipped: &[bool]) -> BatchId {
        let gather_to = (!recipe.gather.is_empty()).then(OutputPlan::default);
        let spec = Box::new(BatchSpec { gather_to, ..spec(recipe, priority, parallel) });
        let jobs = skipped.iter().map(|skip| job_spec(*skip)).collect();
        let peer = Peer { owner: Owner(owner), admin: false };
        let asked = self.ask(peer, Command::Submit { spec, jobs, repeats: None, after: Vec::new() });
        match &self.answers[&asked][0] {
            Response::Submitted(submitted) => submitted.batch.id,
            other => panic!("{other:?}"),
        }
    }

    fn refused(&self, asked: u64) -> Option<RefusalKind> {
        match self.answers.get(&asked)?.last()? {
            Response::Refused(refusal) => Some(refusal.kind),
            _ => None,
        }
    }

    /// Ends the oldest run of this job.
    fn end(&mut self, job: JobId, outcome: Outcome) {
        let run = self.take(job).run;
        self.tell(Input::Ended { run, outcome });
    }

    fn take(&mut self, job: JobId) -> Start {
        let at = self.running.iter().position(|start| start.job == job).expect("the job runs");
        self.running.remove(at)
    }

    fn done(&mut self, job: JobId) {
        let files = vec![ArtifactFile { name: "a".to_owned(), bytes: 1, content: ContentHash::of(b"a") }];
        let content = self.contents.get(&job).copied();
        self.end(job, Outcome::Done(Box::new(Done { files, content, ..Done::default() })));
    }

    fn fail(&mut self, job: JobId, kind: FailureKind) {
        self.end(job, Outcome::Failed(Failure::new(kind, "as told")));
    }

    fn die(&mut self, job: JobId) {
        let run = self.take(job).run;
        let death = Death::Fault { kind: FailureKind::Crash, message: "signal 11".to_owned() };
        self.tell(Input::Lost { runs: vec![run], cause: None, death });
    }

    fn jobs_running(&self) -> Vec<JobId> {
        self.running.iter().map(|start| start.job).collect()
    }

    fn wait(&mut self, ms: u64) {
        self.now.mono = self.now.mono.plus(ms);
        self.now.wall.0 += ms;
        self.tell(Input::Tick);
    }

    /// Until the next job may go on.
    fn wait_until_due(&mut self) {
        let (due, _) = *self.scheduler.delayed.first().expect("something is due");
        assert!(self.scheduler.next_wakeup() <= Some(due));
        self.wait(due.since(self.now.mono));
    }
}

fn pull() -> Recipe {
    Recipe::pull(Pull {
        name: "base".to_owned(),
        url: "https://models.invalid/base".to_owned(),
        file: "base.bin".to_owned(),
        bytes: 1,
        sha256: String::new(),
    })
}

fn subtitles() -> Recipe {
    Recipe::subtitles(Default::default(), Default::default(), Default::default(), Default::default())
}

fn spec(recipe: Recipe, priority: u8, parallel: u32) -> BatchSpec {
    BatchSpec {
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
    }
}

fn identity() -> FileIdentity {
    FileIdentity { dev: 1, inode: 1, bytes: 1, mtime_ns: 0, ctime_ns: 0 }
}

fn job_spec(skip: bool) -> JobSpec {
    JobSpec {
        input: JobInput::File { path: PathBytes(b"/in/a".to_vec()), identity: identity() },
        output: OutputPlan::default(),
        stages: None,
        skip: skip.then(|| "its outputs are there".to_owned()),
        replace: Vec::new(),
    }
}

fn job(batch: BatchId, index: u32) -> JobId {
    JobId { batch, index }
}

fn one(batch: BatchId) -> Selection {
    Selection::Targets(vec![Target::Batch(batch)])
}

#[test]
fn priority_then_owner_then_batch_then_input_order() {
    let mut house = House::new(1);
    let running = house.submit(9, 100, 1, 1);
    let low = house.submit(1, 75, 4, 1);
    let first = house.submit(1, 50, 4, 3);
    let second = house.submit(1, 50, 4, 1);
    let other_owner = house.submit(2, 50, 4, 2);
    let urgent = house.submit(1, 0, 4, 1);
    let mut order = Vec::new();
    while let Some(running) = house.jobs_running().first().copied() {
        assert_eq!(house.running.len(), 1, "one slot, one run");
        order.push(running);
        house.done(running);
    }
    // Three jobs of `first` were prepared before the other owner came; from then on the owners take turns, and so do the batches of one.
    let expected = [
        job(running, 1),
        job(urgent, 1),
        job(first, 1),
        job(other_owner, 1),
        job(first, 2),
        job(other_owner, 2),
        job(second, 1),
        job(first, 3),
        job(low, 1),
    ];
    assert_eq!(order, expected);
}

#[test]
fn no_batch_has_more_jobs_at_work_than_it_may() {
    let mut house = House::new(8);
    let batch = house.submit(1, 50, 3, 10);
    assert_eq!(house.jobs_running(), [job(batch, 1), job(batch, 2), job(batch, 3)]);
    house.done(job(batch, 2));
    assert_eq!(house.jobs_running(), [job(batch, 1), job(batch, 3), job(batch, 4)]);
}

#[test]
fn a_small_batch_beside_a_large_one_starts_when_the_first_run_ends() {
    let mut house = House::new(1);
    let large = house.submit(1, 50, 64, 300);
    let small = house.submit(1, 50, 3, 3);
    let mut ends = 0;
    while !house.jobs_running().iter().any(|running| running.batch == small) {
        let oldest = house.jobs_running()[0];
        assert_eq!(oldest.batch, large);
        house.done(oldest);
        ends += 1;
    }
    assert_eq!(ends, 1);
}

#[test]
fn owners_share_what_is_prepared_ahead() {
    let mut house = House::new(2);
    house.ask(ADMIN, Command::Pause { what: Selection::House, now: false });
    house.submit(1, 50, 64, 100);
    house.submit(2, 50, 64, 100);
    house.ask(ADMIN, Command::Resume(Selection::House));
    let owners: BTreeSet<u64> = house.jobs_running().iter().map(|running| running.batch.0).collect();
    assert_eq!(owners, BTreeSet::from([1, 2]));
}

#[test]
fn downloads_do_not_keep_the_cores_idle() {
    let mut house = House::new(1);
    house.submit(1, 50, 64, 100);
    let batch = house.submit_with(1, subtitles(), 50, 1, &[false]);
    assert!(house.jobs_running().contains(&job(batch, 1)), "{:?}", house.jobs_running());
}

/// Ends runs, the oldest first, until only transcriptions run; gives the slots that each got, by job.
fn slots_to_transcribe(house: &mut House) -> Vec<(JobId, u32)> {
    while let Some(at) = house.running.iter().position(|start| !matches!(start.stage, Stage::Transcribe(_))) {
        house.done(house.running[at].job);
    }
    house.running.iter().map(|start| (start.job, start.slots)).collect()
}

/// A batch of recordings with known contents, each another.
fn recordings(house: &mut House, parallel: u32, count: u32) -> BatchId {
    let batch = BatchId(house.batches.keys().last().map_or(1, |last| last.0 + 1));
    for index in 1..=count {
        house.contents.insert(job(batch, index), ContentHash::of(&[batch.0 as u8, index as u8]));
    }
    assert_eq!(house.submit_with(1, subtitles(), 50, parallel, &vec![false; count as usize]), batch);
    batch
}

#[test]
fn a_recording_that_is_alone_takes_every_slot_and_keeps_them_to_its_end() {
    let mut house = House::new(4);
    let alone = recordings(&mut house, 4, 1);
    assert_eq!(slots_to_transcribe(&mut house), [(job(alone, 1), 4)]);
    let late = recordings(&mut house, 4, 1);
    assert_eq!(slots_to_transcribe(&mut house), [(job(alone, 1), 4)], "what comes later waits");
    house.done(job(alone, 1));
    assert_eq!(slots_to_transcribe(&mut house), [(job(late, 1), 4)]);
}

#[test]
fn recordings_that_come_together_share_the_slots() {
    for (slots, count, expected) in [(2, 2, vec![1, 1]), (7, 3, vec![2, 2, 3]), (2, 5, vec![1, 1])] {
        let mut house = House::new(slots);
        let batch = recordings(&mut house, 64, count);
        let got: Vec<u32> = slots_to_transcribe(&mut house).into_iter().map(|(_, slots)| slots).collect();
        assert_eq!(got, expected, "{count} in {slots} slots of batch {batch}");
    }
}

#[test]
fn the_longest_of_a_batch_comes_first_once_all_are_decoded() {
    let mut house = House::new(1);
    let batch = recordings(&mut house, 64, 3);
    for (index, seconds) in [(1, 20.0), (2, 90.0), (3, 60.0)] {
        assert_eq!(house.jobs_running(), [job(batch, index)], "in input order while no length is known");
        let detail = Detail { media_seconds: Some(seconds), ..Detail::default() };
        house.end(job(batch, index), Outcome::Done(Box::new(Done { detail, ..Done::default() })));
    }
    for index in [2, 3, 1] {
        assert_eq!(slots_to_transcribe(&mut house), [(job(batch, index), 1)]);
        house.done(job(batch, index));
    }
}

#[test]
fn jobs_that_may_not_run_yet_are_no_reason_to_leave_slots_free() {
    let mut house = House::new(4);
    let one_by_one = recordings(&mut house, 1, 3);
    assert_eq!(slots_to_transcribe(&mut house), [(job(one_by_one, 1), 4)], "its `parallel` is one");
    let mut house = House::new(4);
    let paused = recordings(&mut house, 4, 2);
    house.ask(ADMIN, Command::Pause { what: one(paused), now: false });
    let other = recordings(&mut house, 4, 1);
    house.done(job(paused, 1));
    house.done(job(paused, 2));
    assert_eq!(slots_to_transcribe(&mut house), [(job(other, 1), 4)]);
}

#[test]
fn a_short_wait_keeps_the_place_and_a_long_one_gives_it_up() {
    let mut house = House::new(4);
    let batch = house.submit(1, 50, 1, 2);
    house.fail(job(batch, 1), FailureKind::Server);
    assert_eq!(house.jobs_running(), [], "5.5–6.5 s: the place is kept");
    house.wait_until_due();
    assert_eq!(house.jobs_running(), [job(batch, 1)]);
    house.fail(job(batch, 1), FailureKind::Server);
    assert_eq!(house.jobs_running(), [job(batch, 2)], "11–13 s: another has it meanwhile");
    house.wait_until_due();
    assert_eq!(house.jobs_running(), [job(batch, 2)], "still one at a time");
    house.done(job(batch, 2));
    assert_eq!(house.jobs_running(), [job(batch, 1)]);
}

#[test]
fn equal_work_is_done_once() {
    let mut house = House::new(4);
    let content = ContentHash::of(b"the same recording");
    let batch = BatchId(1);
    house.contents.extend([(job(batch, 1), content), (job(batch, 2), content)]);
    house.submit_with(1, subtitles(), 50, 4, &[false, false]);
    assert_eq!(house.jobs_running(), [job(batch, 1)], "the other waits for the artifact");
    assert_eq!(house.running[0].stage.name(), "decode");
    house.done(job(batch, 1));
    assert_eq!(house.running.len(), 1);
    assert_eq!(house.running[0].stage.name(), "transcribe");
    let transcriber = house.running[0].job;
    house.done(transcriber);
    house.done(house.running[0].job);
    // Publishing leaves no artifact: each does its own.
    assert_eq!(house.running.iter().map(|start| start.stage.name()).collect::<Vec<_>>(), ["publish", "publish"]);
    assert_eq!(house.artifacts.values().filter(|artifact| artifact.stage == "decode").count(), 1);
    house.done(job(batch, 1));
    assert_eq!(house.artifacts.values().filter(|artifact| artifact.stage == "decode").count(), 1, "one still wants it");
    house.done(job(batch, 2));
    assert_eq!(house.artifacts.values().filter(|artifact| artifact.stage == "decode").count(), 0);
    assert_eq!(house.artifacts.len(), 2, "what is worth keeping is kept");
}

#[test]
fn what_a_job_on_its_way_makes_or_reads_is_not_removed_as_old() {
    let mut house = House::new(4);
    let batch = recordings(&mut house, 1, 1);
    house.done(job(batch, 1));
    let [start] = house.running.as_slice() else { panic!("{:?}", house.running) };
    let (feed, makes) = (start.feed.as_ref().expect("it reads sound").0, start.address.expect("it makes a transcript"));
    let other = ContentHash::of(b"nobody's");
    let artifact = house.artifacts[&feed].clone();
    house.artifacts.insert(other, artifact);
    house.ask(ADMIN, Command::Purge(vec![feed, makes, other]));
    assert_eq!(house.artifacts.keys().collect::<Vec<_>>(), [&feed]);
    house.done(job(batch, 1));
    assert!(house.artifacts.contains_key(&makes));
}

fn with_terms(house: &mut House, terms: Terms, jobs: usize) -> Result<BatchId, RefusalKind> {
    let spec = Box::new(BatchSpec { terms, ..spec(pull(), 50, 3) });
    let jobs = (0..jobs).map(|_| job_spec(false)).collect();
    let peer = Peer { owner: Owner(1), admin: false };
    let asked = house.ask(peer, Command::Submit { spec, jobs, repeats: None, after: Vec::new() });
    match &house.answers[&asked][0] {
        Response::Submitted(submitted) => Ok(submitted.batch.id),
        Response::Refused(refusal) => Err(refusal.kind),
        other => panic!("{other:?}"),
    }
}

fn after(batch: BatchId, any_end: bool) -> Terms {
    Terms { after: vec![After { batch, any_end }], ..Terms::default() }
}

#[test]
fn a_batch_waits_for_the_success_of_another() {
    let mut house = House::new(4);
    let first = house.submit(1, 50, 1, 1);
    let second = with_terms(&mut house, after(first, false), 1).unwrap();
    let third = with_terms(&mut house, after(second, false), 2).unwrap();
    assert_eq!(house.jobs_running(), [job(first, 1)]);
    house.done(job(first, 1));
    assert_eq!(house.jobs_running(), [job(second, 1)]);
    house.fail(job(second, 1), FailureKind::Auth);
    assert_eq!(house.batches[&third], BatchState::Failed, "what it waited for will not come");
    assert_eq!(house.ended[&job(third, 2)], (JobState::Failed, Some(FailureKind::Cancelled)));
    assert_eq!(with_terms(&mut house, after(BatchId(99), true), 1), Err(RefusalKind::NotFound));
}

#[test]
fn a_batch_that_waits_for_any_end_begins_after_a_failure() {
    let mut house = House::new(4);
    let first = house.submit(1, 50, 1, 1);
    let second = with_terms(&mut house, after(first, true), 1).unwrap();
    house.fail(job(first, 1), FailureKind::Auth);
    assert_eq!(house.jobs_running(), [job(second, 1)]);
}

#[test]
fn a_batch_begins_at_its_time_and_not_before() {
    let mut house = House::new(4);
    let at = WallMs(house.now.wall.0 + 100_000);
    let batch = with_terms(&mut house, Terms { at: Some(at), ..Terms::default() }, 1).unwrap();
    house.wait(99_999);
    assert!(house.running.is_empty());
    house.wait(1);
    assert_eq!(house.jobs_running(), [job(batch, 1)]);
}

#[test]
fn a_batch_is_given_up_when_enough_of_it_has_failed() {
    for now in [false, true] {
        let mut house = House::new(4);
        let halt = Some(Halt { now, failed: HaltAt::Percent(40) });
        let batch = with_terms(&mut house, Terms { halt, ..Terms::default() }, 5).unwrap();
        house.fail(job(batch, 1), FailureKind::Auth);
        assert_eq!(house.running.len(), 3, "one of five is not enough");
        house.fail(job(batch, 2), FailureKind::Auth);
        // The fifth had not begun; the others run.
        assert_eq!(house.ended[&job(batch, 5)].0, JobState::Cancelled);
        assert_eq!(house.stopped.len(), if now { 2 } else { 0 });
        for index in [3, 4] {
            let outcome = if now { Outcome::Stopped } else { Outcome::Done(Box::default()) };
            house.end(job(batch, index), outcome);
        }
        assert_eq!(house.batches[&batch], if now { BatchState::Failed } else { BatchState::Partial });
    }
}

fn output(path: &str) -> Published {
    let output = Output { path: PathBytes(path.into()), kind: "srt".to_owned(), bytes: 1 };
    Published { output, content: ContentHash::of(path.as_bytes()), identity: Some(identity()) }
}

/// A batch of one recording whose work is all done already, and which waits for a word about its outputs.
fn a_batch_done_before(house: &mut House) -> BatchId {
    let content = ContentHash::of(b"the same recording");
    house.contents.extend((1..4).map(|batch| (job(BatchId(batch), 1), content)));
    let first = house.submit_with(1, subtitles(), 50, 1, &[false]);
    for _ in 0..4 {
        house.done(job(first, 1));
    }
    assert_eq!(house.batches[&first], BatchState::Completed);
    house.submit_with(1, subtitles(), 50, 1, &[false])
}

#[test]
fn what_is_published_already_needs_no_run() {
    let mut house = House::new(4);
    house.there = Some(vec![output("/out/a.srt")]);
    let again = a_batch_done_before(&mut house);
    assert_eq!(house.running.len(), 0);
    assert_eq!(house.ended[&job(again, 1)], (JobState::Completed, None));
    assert_eq!(house.published.get(&PathBytes(b"/out/a.srt".to_vec())).map(|file| file.job), Some(job(again, 1)));
    // What is not there any more, or was edited, is published anew, and nothing before it is done again.
    house.there = None;
    let third = house.submit_with(1, subtitles(), 50, 1, &[false]);
    assert_eq!(house.running.iter().map(|start| start.stage.name()).collect::<Vec<_>>(), ["publish"]);
    house.done(job(third, 1));
    assert_eq!(house.batches[&third], BatchState::Completed);
}

#[test]
fn a_look_at_outputs_that_comes_too_late_changes_nothing() {
    let mut house = House::new(4);
    house.slow_disk = true;
    let batch = a_batch_done_before(&mut house);
    let look = house.looks.last().map(|asked| asked.look).unwrap();
    house.ask(ADMIN, Command::Pause { what: Selection::Targets(vec![Target::Batch(batch)]), now: false });
    let there = Some(vec![output("/out/a.srt")]);
    house.tell(Input::OutputsFound { look, job: job(batch, 1), outputs: there.clone() });
    assert!(!house.ended.contains_key(&job(batch, 1)), "it is paused");
    house.ask(ADMIN, Command::Resume(Selection::Targets(vec![Target::Batch(batch)])));
    house.tell(Input::OutputsFound { look, job: job(batch, 1), outputs: there.clone() });
    assert!(!house.ended.contains_key(&job(batch, 1)), "that was another look");
    let look = house.looks.last().map(|asked| asked.look).unwrap();
    house.ask(ADMIN, Command::Cancel(Selection::Targets(vec![Target::Batch(batch)])));
    house.tell(Input::OutputsFound { look, job: job(batch, 1), outputs: there });
    assert_eq!(house.ended[&job(batch, 1)].0, JobState::Cancelled);
}

#[test]
fn when_the_maker_fails_who_waited_for_it_makes_it() {
    let mut house = House::new(4);
    let content = ContentHash::of(b"the same recording");
    let batch = BatchId(1);
    house.contents.extend([(job(batch, 1), content), (job(batch, 2), content)]);
    house.submit_with(1, subtitles(), 50, 4, &[false, false]);
    house.fail(job(batch, 1), FailureKind::Permission);
    assert_eq!(house.jobs_running(), [job(batch, 2)]);
}

#[test]
fn a_service_that_asks_to_wait_takes_no_try() {
    let mut house = House::new(1);
    let batch = house.submit(1, 50, 1, 1);
    for _ in 0..9 {
        let failure = Failure::new(FailureKind::RateLimited, "429").retry_after(Some(5_000));
        house.end(job(batch, 1), Outcome::Failed(failure));
        house.wait(4_999);
        assert!(house.running.is_empty(), "it waits as long as it was asked to");
        house.wait(1_001);
        assert_eq!(house.jobs_running(), [job(batch, 1)]);
    }
    assert_eq!(house.open[&job(batch, 1)].attempts, 0);
    house.done(job(batch, 1));
    assert_eq!(house.batches[&batch], BatchState::Completed);
}

#[test]
fn a_batch_whose_tries_all_fail_stops_trying_soon() {
    let mut house = House::new(64);
    let batch = house.submit(1, 50, 64, 110);
    while !house.running.is_empty() {
        for start in std::mem::take(&mut house.running) {
            let failure = Failure::new(FailureKind::Network, "the cable is cut");
            house.tell(Input::Ended { run: start.run, outcome: Outcome::Failed(failure) });
        }
        house.wait(60_000);
    }
    assert_eq!(house.batches[&batch], BatchState::Failed);
    let runs = house.scheduler.run_counter;
    // 110 first tries, a hundred more at once, and those that come back while it lasts.
    assert!((210..220).contains(&runs), "{runs} runs");
}

#[test]
fn an_identification_without_a_hash_is_the_workers_fault() {
    let mut house = House::new(1);
    let batch = house.submit_with(1, subtitles(), 50, 1, &[false]);
    assert_eq!(house.running[0].stage.name(), "identify");
    house.done(job(batch, 1));
    assert_eq!(house.open[&job(batch, 1)].failure.as_ref().map(|failure| failure.kind), Some(FailureKind::Crash));
}

#[test]
fn an_input_that_kills_its_own_worker_twice_is_poison() {
    let mut house = House::new(1);
    let batch = house.submit(1, 50, 1, 1);
    house.die(job(batch, 1));
    house.wait_until_due();
    house.die(job(batch, 1));
    assert_eq!(house.ended[&job(batch, 1)], (JobState::Failed, Some(FailureKind::Poison)));
}

#[test]
fn a_shared_death_costs_nobody_a_try_and_each_then_runs_alone() {
    let mut house = House::new(2);
    let batch = house.submit(1, 50, 2, 2);
    for _ in 0..5 {
        let runs = house.running.drain(..).map(|start| start.run).collect();
        let death = Death::Fault { kind: FailureKind::Crash, message: "signal 11".to_owned() };
        house.tell(Input::Lost { runs, cause: None, death });
        assert_eq!(house.running.len(), 2, "at once");
        assert!(house.running.iter().all(|start| start.alone));
    }
    assert!(house.ended.is_empty());
    house.die(job(batch, 1));
    assert_eq!(house.open[&job(batch, 1)].deaths, 1);
    assert_eq!(house.open[&job(batch, 2)].deaths, 0);
}

#[test]
fn a_pause_lets_the_stage_end_and_starts_nothing_more() {
    let mut house = House::new(4);
    let batch = BatchId(1);
    house.contents.insert(job(batch, 1), ContentHash::of(b"x"));
    house.submit_with(1, subtitles(), 50, 4, &[false]);
    let asked = house.ask(ADMIN, Command::Pause { what: one(batch), now: false });
    assert!(house.answers.contains_key(&asked), "answered at once");
    assert_eq!(house.stopped, []);
    house.done(job(batch, 1));
    assert_eq!(house.jobs_running(), []);
    assert_eq!(house.batches[&batch], BatchState::Paused);
    house.ask(ADMIN, Command::Resume(one(batch)));
    assert_eq!(house.running[0].stage.name(), "transcribe");
}

#[test]
fn a_pause_now_is_answered_when_nothing_runs_and_costs_no_try() {
    let mut house = House::new(4);
    let batch = house.submit(1, 50, 2, 2);
    let asked = house.ask(ADMIN, Command::Pause { what: one(batch), now: true });
    assert_eq!(house.stopped.len(), 2);
    house.end(job(batch, 1), Outcome::Stopped);
    assert!(!house.answers.contains_key(&asked));
    house.end(job(batch, 2), Outcome::Failed(Failure::new(FailureKind::Network, "the stop broke the download")));
    assert!(house.answers.contains_key(&asked));
    house.ask(ADMIN, Command::Resume(one(batch)));
    assert_eq!(house.jobs_running(), [job(batch, 1), job(batch, 2)]);
    // Five tries are still ahead.
    for _ in 0..4 {
        house.fail(job(batch, 1), FailureKind::Network);
        house.wait_until_due();
    }
    house.fail(job(batch, 1), FailureKind::Network);
    assert_eq!(house.ended[&job(batch, 1)], (JobState::Failed, Some(FailureKind::Network)));
}

#[test]
fn a_stop_that_nobody_wished_is_a_timeout() {
    for outcome in [Outcome::Stopped, Outcome::Failed(Failure::new(FailureKind::Cancelled, "stopped"))] {
        let mut house = House::new(1);
        let batch = house.submit(1, 50, 1, 1);
        house.end(job(batch, 1), outcome);
        let open = &house.open[&job(batch, 1)];
        assert_eq!((open.attempts, open.failure.as_ref().map(|f| f.kind)), (1, Some(FailureKind::Timeout)));
    }
}

fn stored(batch: BatchId, total: u32, status: BatchStatus) -> RecoveredBatch {
    RecoveredBatch {
        id: batch,
        owner: Owner(1),
        spec: spec(pull(), 50, 4),
        created_at: WallMs(1),
        status,
        total,
        open: Vec::new(),
        sizes: Vec::new(),
        after: Vec::new(),
    }
}

fn status(counts: spindle_shared::batch::Counts) -> BatchStatus {
    BatchStatus {
        cost: 0.0,
        gather: None,
        priority: Priority(50),
        paused: false,
        cancelling: false,
        started_at: Some(WallMs(1)),
        finished_at: Some(WallMs(2)),
        counts,
    }
}

fn counts(completed: u32, failed: u32, cancelled: u32) -> spindle_shared::batch::Counts {
    spindle_shared::batch::Counts { completed, failed, cancelled, ..Default::default() }
}

#[test]
fn a_retry_of_a_closed_batch_takes_what_failed_and_nothing_else() {
    let mut house = House::recovered(4, Recovered { boot: 2, next_batch: 8, ..Recovered::default() });
    let batch = BatchId(7);
    let closed = stored(batch, 3, BatchStatus { cancelling: true, paused: true, ..status(counts(1, 1, 1)) });
    let jobs = vec![(1, JobState::Completed), (2, JobState::Failed), (3, JobState::Cancelled)];
    house.ask(ADMIN, Command::Retry(vec![RetryItem { batch: closed, jobs }]));
    assert_eq!(house.jobs_running(), [job(batch, 2), job(batch, 3)]);
    house.done(job(batch, 2));
    house.done(job(batch, 3));
    assert_eq!(house.batches[&batch], BatchState::Completed, "neither cancelled nor paused any more");
}

#[test]
fn a_retry_that_finds_nothing_changes_nothing() {
    let mut house = House::recovered(4, Recovered { boot: 2, next_batch: 8, ..Recovered::default() });
    let closed = stored(BatchId(7), 1, BatchStatus { cancelling: true, ..status(counts(1, 0, 0)) });
    let item = RetryItem { batch: closed, jobs: vec![(1, JobState::Completed)] };
    house.ask(ADMIN, Command::Retry(vec![item]));
    assert!(house.batches.is_empty() && house.running.is_empty());
}

#[test]
fn what_was_read_of_a_batch_before_it_ended_brings_nothing_back() {
    let mut house = House::recovered(4, Recovered { boot: 2, next_batch: 8, ..Recovered::default() });
    let mut ending = stored(BatchId(7), 2, BatchStatus { finished_at: None, ..status(counts(0, 1, 0)) });
    ending.open = vec![(2, None)];
    let asked = house.ask(ADMIN, Command::Retry(vec![RetryItem { batch: ending, jobs: vec![(1, JobState::Failed)] }]));
    assert_eq!(house.refused(asked), Some(RefusalKind::WrongState));
    assert!(house.running.is_empty());
}

#[test]
fn what_was_read_of_a_job_before_it_was_tried_again_is_not_believed() {
    let mut house = House::new(4);
    let batch = house.submit(1, 50, 4, 2);
    house.fail(job(batch, 1), FailureKind::Permission);
    let item = || {
        let mut open = stored(batch, 2, BatchStatus { finished_at: None, ..status(counts(0, 1, 0)) });
        open.open = vec![(2, None)];
        RetryItem { batch: open, jobs: vec![(1, JobState::Failed)] }
    };
    house.ask(ADMIN, Command::Retry(vec![item()]));
    house.done(job(batch, 1));
    assert_eq!(house.ended[&job(batch, 1)].0, JobState::Completed);
    house.ask(ADMIN, Command::Retry(vec![item()]));
    assert_eq!(house.jobs_running(), [job(batch, 2)]);
}

fn recovered_job(open: OpenJob) -> Recovered {
    let counts = spindle_shared::batch::Counts { retrying: 1, ..Default::default() };
    let mut batch = stored(BatchId(1), 1, BatchStatus { finished_at: None, ..status(counts) });
    batch.open = vec![(1, Some(Box::new(open)))];
    Recovered { boot: 2, next_batch: 2, paused: false, batches: vec![batch], ..Recovered::default() }
}

#[test]
fn after_a_restart_a_wait_goes_on_by_the_wall_clock_and_tries_count_on() {
    let open = OpenJob {
        attempts: 4,
        ready_at: Some(WallMs(1_005_000)),
        failure: Some(Failure::new(FailureKind::Network, "no route")),
        ..OpenJob::default()
    };
    let mut house = House::recovered(1, recovered_job(open.clone()));
    assert_eq!(house.jobs_running(), []);
    assert_eq!(house.scheduler.next_wakeup(), Some(MonoMs(6_000)));
    house.wait(5_000);
    house.fail(job(BatchId(1), 1), FailureKind::Network);
    assert_eq!(house.ended[&job(BatchId(1), 1)], (JobState::Failed, Some(FailureKind::Network)), "the fifth try");

    let leapt = OpenJob { ready_at: Some(WallMs(u64::MAX)), ..open };
    let mut house = House::recovered(1, recovered_job(leapt));
    house.wait(3_600_000);
    assert_eq!(house.jobs_running().len(), 1, "whatever the clock says, an hour is the longest");
}

/// A row each: what the jobs come to, whether the batch itself is cancelled, and what the batch then is.
#[test]
fn how_a_batch_ends() {
    use JobState::{Cancelled, Completed, Failed, Skipped};
    for (ends, cancel, expected) in [
        (&[Completed, Completed][..], false, BatchState::Completed),
        (&[Completed, Skipped], false, BatchState::Completed),
        (&[Skipped, Skipped], false, BatchState::Completed),
        (&[Failed, Failed], false, BatchState::Failed),
        (&[Cancelled, Cancelled], false, BatchState::Failed),
        (&[Failed, Cancelled], false, BatchState::Failed),
        (&[Completed, Failed], false, BatchState::Partial),
        (&[Skipped, Failed], false, BatchState::Partial),
        (&[Completed, Cancelled], false, BatchState::Partial),
        (&[Completed, Cancelled], true, BatchState::Cancelled),
        (&[Failed, Cancelled], true, BatchState::Cancelled),
    ] {
        let mut house = House::new(4);
        let skipped: Vec<bool> = ends.iter().map(|end| *end == Skipped).collect();
        let batch = house.submit_with(1, pull(), 50, 4, &skipped);
        let mut cancelled = Vec::new();
        for (index, end) in (1..).zip(ends) {
            match end {
                Completed => house.done(job(batch, index)),
                Failed => house.fail(job(batch, index), FailureKind::Permission),
                _ if *end == Cancelled => cancelled.push(job(batch, index)),
                _ => {}
            }
        }
        for job in cancelled {
            let target = if cancel { Target::Batch(batch) } else { Target::Job(job) };
            house.ask(ADMIN, Command::Cancel(Selection::Targets(vec![target])));
            house.end(job, Outcome::Stopped);
        }
        assert_eq!(house.batches[&batch], expected, "{ends:?}, cancelled itself: {cancel}");
        let asked = house.ask(ADMIN, Command::Cancel(one(batch)));
        assert_eq!(house.refused(asked), Some(RefusalKind::WrongState), "a finished batch can't be cancelled");
    }
}

#[test]
fn a_cancel_is_answered_when_its_runs_are_over_and_keeps_what_was_finished() {
    let mut house = House::new(4);
    let batch = house.submit(1, 50, 2, 4);
    let asked = house.ask(ADMIN, Command::Cancel(one(batch)));
    assert_eq!(house.ended.len(), 2, "those that wait end at once");
    assert_eq!(house.batches[&batch], BatchState::Cancelling);
    house.done(job(batch, 1));
    assert!(!house.answers.contains_key(&asked));
    let run = house.take(job(batch, 2)).run;
    house.tell(Input::Lost { runs: vec![run], cause: Some(run), death: Death::Killed { timeout: false } });
    assert!(house.answers.contains_key(&asked));
    assert_eq!(house.ended[&job(batch, 1)].0, JobState::Completed);
    assert_eq!(house.ended[&job(batch, 2)].0, JobState::Cancelled);
}

#[test]
fn a_run_of_an_earlier_boot_is_ignored() {
    let mut house = House::recovered(1, Recovered { boot: 2, next_batch: 1, ..Recovered::default() });
    let batch = house.submit(1, 50, 1, 1);
    let current = house.running[0].run;
    let stale = RunId { boot: 1, ..current };
    house.tell(Input::Ended { run: stale, outcome: Outcome::Done(Box::default()) });
    assert!(house.ended.is_empty() && house.scheduler.is_current(current));
    house.done(job(batch, 1));
    assert_eq!(house.ended[&job(batch, 1)].0, JobState::Completed);
}

#[test]
fn an_input_with_its_own_stages_is_checked_like_the_batch() {
    let mut house = House::new(1);
    let jobs = vec![JobSpec { stages: Some(Vec::new()), ..job_spec(false) }].into();
    let asked = house
        .ask(ADMIN, Command::Submit { spec: Box::new(spec(pull(), 50, 1)), jobs, repeats: None, after: Vec::new() });
    assert_eq!(house.refused(asked), Some(RefusalKind::Usage));
}

fn collecting() -> Recipe {
    let subtitle = Subtitle { formats: vec![Format::Txt], ..Subtitle::default() };
    let map = Recipe::subtitles(Default::default(), Default::default(), subtitle, Default::default()).map;
    Recipe { name: "lectures".to_owned(), map, gather: vec![Stage::Collect(Collect::default())] }
}

/// A house with a batch that gathers over these many inputs, each with a content of its own.
fn gathering(jobs: u32) -> (House, BatchId) {
    let mut house = House::new(4);
    for index in 1..=jobs {
        house.contents.insert(job(BatchId(1), index), ContentHash::of(&index.to_le_bytes()));
    }
    let batch = house.submit_with(1, collecting(), 50, 4, &vec![false; jobs as usize]);
    (house, batch)
}

impl House {
    /// These jobs of a batch that gathers, as a retry names them.
    fn item(&self, batch: BatchId, jobs: &[(u32, JobState)]) -> RetryItem {
        let inputs = self.ended.iter().filter(|(job, _)| job.batch == batch && !job.is_gather());
        let mut counts = Counts::default();
        inputs.clone().for_each(|(_, (state, _))| *counts.slot(*state) += 1);
        let gather = self.ended.get(&JobId::gather(batch)).map_or(JobState::Pending, |(state, _)| *state);
        let spec = BatchSpec { gather_to: Some(OutputPlan::default()), ..spec(collecting(), 50, 4) };
        let status = BatchStatus { gather: Some(gather), ..status(counts) };
        let batch = RecoveredBatch { spec, ..stored(batch, inputs.count() as u32, status) };
        RetryItem { batch, jobs: jobs.to_vec() }
    }

    /// Ends what the job runs until it runs no more.
    fn through(&mut self, job: JobId) {
        while self.jobs_running().contains(&job) {
            self.done(job);
        }
    }
}

#[test]
fn a_gather_begins_when_every_input_has_ended_and_works_on_those_that_succeeded() {
    let (mut house, batch) = gathering(3);
    let gather = JobId::gather(batch);
    house.through(job(batch, 1));
    house.fail(job(batch, 2), FailureKind::Input);
    assert_eq!((house.batches[&batch], house.results_asked), (BatchState::Running, 0));
    house.through(job(batch, 3));
    assert_eq!(house.jobs_running(), [gather]);
    assert_eq!((house.batches[&batch], house.results_asked), (BatchState::Running, 1), "it is not over yet");
    assert_eq!(house.left.keys().copied().collect::<Vec<_>>(), [job(batch, 1), job(batch, 3)]);
    house.through(gather);
    assert_eq!(house.ended[&gather], (JobState::Completed, None));
    assert_eq!(house.batches[&batch], BatchState::Partial, "an input failed; the gather counts among no inputs");
}

#[test]
fn a_failed_gather_makes_the_batch_failed_and_a_retry_gathers_again() {
    let (mut house, batch) = gathering(1);
    let gather = JobId::gather(batch);
    house.through(job(batch, 1));
    house.fail(gather, FailureKind::Internal);
    assert_eq!(house.batches[&batch], BatchState::Failed);
    let item = house.item(batch, &[(0, JobState::Failed)]);
    house.ask(ADMIN, Command::Retry(vec![item]));
    assert_eq!(house.jobs_running(), [gather]);
    house.through(gather);
    assert_eq!(house.batches[&batch], BatchState::Completed);
}

#[test]
fn with_a_retried_input_the_gather_is_done_again() {
    let (mut house, batch) = gathering(2);
    let gather = JobId::gather(batch);
    house.through(job(batch, 1));
    house.fail(job(batch, 2), FailureKind::Input);
    // Not while its results are being gathered.
    let item = house.item(batch, &[(2, JobState::Failed)]);
    let asked = house.ask(ADMIN, Command::Retry(vec![item]));
    assert_eq!(house.refused(asked), Some(RefusalKind::WrongState));
    house.through(gather);
    let item = house.item(batch, &[(2, JobState::Failed)]);
    house.ask(ADMIN, Command::Retry(vec![item]));
    assert!(!house.ended.contains_key(&gather), "it is open again");
    assert_eq!(house.jobs_running(), [job(batch, 2)]);
    house.through(job(batch, 2));
    house.through(gather);
    assert_eq!(house.batches[&batch], BatchState::Completed);
    assert_eq!(house.results_asked, 2);
}

#[test]
fn where_nothing_succeeded_nothing_is_gathered() {
    let (mut house, batch) = gathering(1);
    house.fail(job(batch, 1), FailureKind::Input);
    assert_eq!(house.ended[&JobId::gather(batch)], (JobState::Skipped, None));
    assert_eq!((house.batches[&batch], house.results_asked), (BatchState::Failed, 0));
}

#[test]
fn a_cancelled_batch_gathers_nothing() {
    let (mut house, batch) = gathering(2);
    house.through(job(batch, 1));
    house.ask(ADMIN, Command::Cancel(one(batch)));
    house.end(job(batch, 2), Outcome::Stopped);
    assert_eq!(house.ended[&JobId::gather(batch)], (JobState::Cancelled, None));
    assert_eq!((house.batches[&batch], house.running.len()), (BatchState::Cancelled, 0));
}

#[test]
fn a_result_that_is_gone_fails_the_gather() {
    let (mut house, batch) = gathering(1);
    house.results_gone = true;
    house.through(job(batch, 1));
    assert_eq!(house.ended[&JobId::gather(batch)], (JobState::Failed, Some(FailureKind::Internal)));
    assert_eq!(house.batches[&batch], BatchState::Failed);
}

#[test]
fn a_restart_goes_on_gathering() {
    let (mut house, batch) = gathering(1);
    house.through(job(batch, 1));
    let counts = Counts { completed: 1, ..Counts::default() };
    let status = BatchStatus { finished_at: None, gather: Some(JobState::Pending), ..status(counts) };
    let spec = BatchSpec { gather_to: Some(OutputPlan::default()), ..spec(collecting(), 50, 4) };
    let stored = RecoveredBatch { spec, open: vec![(0, None)], ..stored(batch, 1, status) };
    let mut next =
        House::recovered(4, Recovered { boot: 2, next_batch: 2, batches: vec![stored], ..Recovered::default() });
    assert_eq!(next.jobs_running(), [JobId::gather(batch)]);
    next.through(JobId::gather(batch));
    assert_eq!(next.batches[&batch], BatchState::Completed);
}

#[test]
fn what_waited_for_another_that_failed_meanwhile_ends_at_the_restart() {
    let counts = Counts { pending: 2, ..Counts::default() };
    let spec = BatchSpec { terms: after(BatchId(1), false), ..spec(pull(), 50, 4) };
    let status = BatchStatus { started_at: None, finished_at: None, ..status(counts) };
    let waits = RecoveredBatch {
        spec,
        open: vec![(1, None), (2, None)],
        after: vec![(BatchId(1), Some(BatchState::Failed))],
        ..stored(BatchId(2), 2, status)
    };
    let house = House::recovered(1, Recovered { boot: 2, next_batch: 3, batches: vec![waits], ..Recovered::default() });
    assert_eq!(house.batches[&BatchId(2)], BatchState::Failed);
    assert_eq!(house.ended[&job(BatchId(2), 1)], (JobState::Failed, Some(FailureKind::Cancelled)));
}

#[test]
fn an_owner_has_no_more_open_than_the_quota() {
    let mut house = House::new(1);
    house.scheduler.config.quota = Quota { batches: Some(2), jobs: Some(10), ..Quota::default() };
    let refused = |house: &mut House, owner: u32, jobs: usize| {
        let command = Command::Submit {
            spec: Box::new(spec(pull(), 50, 4)),
            jobs: (0..jobs).map(|_| job_spec(false)).collect(),
            repeats: None,
            after: Vec::new(),
        };
        let asked = house.ask(Peer { owner: Owner(owner), admin: false }, command);
        house.refused(asked)
    };
    assert_eq!(refused(&mut house, 1, 11), Some(RefusalKind::Limit));
    assert_eq!(refused(&mut house, 1, 8), None);
    assert_eq!(refused(&mut house, 1, 3), Some(RefusalKind::Limit));
    assert_eq!(refused(&mut house, 1, 2), None);
    assert_eq!(refused(&mut house, 1, 1), Some(RefusalKind::Limit), "two batches are open");
    assert_eq!(refused(&mut house, 2, 10), None, "others have their own");
    house.ask(ADMIN, Command::Cancel(one(BatchId(1))));
    house.end(job(BatchId(1), 1), Outcome::Stopped);
    assert_eq!(refused(&mut house, 1, 8), None);
}

#[test]
fn a_computed_priority_follows_the_sizes_and_falls_with_each_retry() {
    let mut house = House::new(1);
    let terms = Terms { auto_priority: true, ..Terms::default() };
    let batch = with_terms(&mut house, terms.clone(), 1).unwrap();
    assert_eq!(house.scheduler.batches[&batch].priority, Priority(40), "small inputs come earlier");
    house.fail(job(batch, 1), FailureKind::Auth);
    let spec = BatchSpec { terms, ..spec(pull(), 40, 4) };
    let status = BatchStatus { priority: Priority(40), ..status(counts(0, 1, 0)) };
    let closed = RecoveredBatch { spec, ..stored(batch, 1, status) };
    house.ask(ADMIN, Command::Retry(vec![RetryItem { batch: closed, jobs: vec![(1, JobState::Failed)] }]));
    assert_eq!(house.scheduler.batches[&batch].priority, Priority(60));
    assert_eq!(Priority::of_size(100_000_000), Priority(50));
    assert_eq!(Priority::of_size(500_000_001), Priority(60));
}

fn denied() -> Failure {
    Failure::new(FailureKind::Permission, "read-only file system").on_device(Some(7))
}

#[test]
fn five_equal_failures_of_a_file_system_park_the_rest_and_one_job_tries_it_after_a_minute() {
    let mut house = House::new(1);
    let batch = house.submit(1, 50, 2, 9);
    for index in 1..=5 {
        house.end(job(batch, index), Outcome::Failed(denied()));
    }
    assert_eq!(house.ended.len(), 4, "the fifth waits");
    // What was prepared finds out for itself; nothing more is.
    while let Some(running) = house.jobs_running().first().copied() {
        house.end(running, Outcome::Failed(denied()));
    }
    assert_eq!(house.ended.len(), 4);
    let closed = house.scheduler.house(ADMIN).closed;
    assert_eq!((closed.len(), closed[0].tries_in_ms), (1, Some(60_000)));
    house.wait(59_999);
    assert_eq!(house.jobs_running(), []);
    house.wait(1);
    assert_eq!(house.jobs_running(), [job(batch, 5)]);
    house.end(job(batch, 5), Outcome::Failed(denied()));
    house.wait(119_999);
    assert_eq!(house.jobs_running(), []);
    house.wait(1);
    let again = house.jobs_running()[0];
    let output = Published {
        output: Output { path: PathBytes(b"/out/a".to_vec()), kind: "model".to_owned(), bytes: 1 },
        content: ContentHash::of(b"a"),
        identity: Some(FileIdentity { dev: 7, ..identity() }),
    };
    house.end(again, Outcome::Done(Box::new(Done { outputs: vec![output], ..Done::default() })));
    assert_eq!(house.scheduler.house(ADMIN).closed, []);
    while let Some(running) = house.jobs_running().first().copied() {
        house.done(running);
    }
    assert_eq!(house.batches[&batch], BatchState::Partial);
    assert_eq!(house.ended.values().filter(|(state, _)| *state == JobState::Failed).count(), 4);
}

#[test]
fn resume_lets_everybody_try_what_is_out_of_order() {
    let mut house = House::new(1);
    let batch = house.submit(1, 50, 1, 6);
    for index in 1..=5 {
        house.end(job(batch, index), Outcome::Failed(denied()));
    }
    assert_eq!(house.jobs_running(), []);
    let asked = house.ask(ADMIN, Command::Resume(one(batch)));
    assert_eq!(house.refused(asked), None);
    assert_eq!(house.jobs_running(), [job(batch, 5)]);
}

#[test]
fn a_full_disk_fails_nothing_and_what_would_fill_it_waits_for_room() {
    let mut house = House::new(4);
    house.scheduler.config.disk_reserve_bytes = 1_000;
    house.tell(Input::Room(999));
    let batch = house.submit_with(1, subtitles(), 50, 4, &[false, false]);
    for index in 1..=2 {
        let content = ContentHash::of(&[index as u8]);
        house.contents.insert(job(batch, index), content);
        house.done(job(batch, index));
    }
    assert_eq!(house.jobs_running(), [], "decoding waits");
    house.tell(Input::Room(1_000));
    assert_eq!(house.jobs_running(), [], "the largest result so far has one byte");
    house.tell(Input::Room(1_001));
    assert_eq!(house.jobs_running(), [job(batch, 1), job(batch, 2)]);
    let full = Failure::new(FailureKind::DiskFull, "no space left").on_device(Some(7));
    house.end(job(batch, 1), Outcome::Failed(full));
    assert_eq!(house.ended.len(), 0);
    house.wait(10_000);
    assert!(house.jobs_running().contains(&job(batch, 1)));
}

#[test]
fn runs_that_would_pass_the_memory_limit_together_go_one_after_the_other() {
    let mut house = House::new(8);
    let decode = Stage::Decode(Default::default()).memory_mib();
    house.scheduler.config.memory_mib = 2 * decode + decode / 2;
    let mut decoding = subtitles();
    decoding.map.truncate(2);
    let batch = house.submit_with(1, decoding, 50, 8, &[false; 5]);
    for index in 1..=5 {
        house.contents.insert(job(batch, index), ContentHash::of(&[index as u8]));
        house.done(job(batch, index));
    }
    assert_eq!(house.running.len(), 2);
    // What they really take is less: more fit from now on.
    let bytes = u64::from(decode / 4) << 20;
    for index in 1..=2 {
        let content = house.contents.get(&job(batch, index)).copied();
        let files = vec![ArtifactFile { name: "a".to_owned(), bytes: 1, content: ContentHash::of(&[index as u8]) }];
        house.end(
            job(batch, index),
            Outcome::Done(Box::new(Done { memory_bytes: bytes, files, content, ..Done::default() })),
        );
    }
    let decoding = house.running.iter().filter(|start| matches!(start.stage, Stage::Decode(_)));
    assert!(decoding.clone().count() >= 2, "{:?}", house.running);
    assert!(decoding.clone().all(|start| start.memory_mib < decode));
}

#[test]
fn a_run_larger_than_the_limit_runs_alone() {
    let mut house = House::new(8);
    house.scheduler.config.memory_mib = 1;
    let batch = house.submit_with(1, subtitles(), 50, 8, &[false; 3]);
    for index in 1..=3 {
        house.contents.insert(job(batch, index), ContentHash::of(&[index as u8]));
        house.done(job(batch, index));
    }
    assert_eq!(house.running.len(), 1);
}

#[test]
fn whoever_has_had_the_days_hours_goes_on_at_midnight() {
    let mut house = House::new(1);
    house.scheduler.config.quota = Quota { media_hours: Some(1), ..Quota::default() };
    let batch = house.submit(1, 50, 1, 3);
    let other = house.submit(2, 75, 1, 1);
    let detail = Detail { media_seconds: Some(3_600.0), ..Detail::default() };
    house.end(job(batch, 1), Outcome::Done(Box::new(Done { detail, ..Done::default() })));
    assert_eq!(house.jobs_running(), [job(other, 1)]);
    house.done(job(other, 1));
    assert_eq!(house.jobs_running(), []);
    let midnight = 86_400_000 - house.now.wall.0 % 86_400_000;
    house.wait(midnight - 1);
    assert_eq!(house.jobs_running(), []);
    house.wait(1);
    assert_eq!(house.jobs_running(), [job(batch, 2)]);
}

#[test]
fn other_slots_and_quotas_count_at_once_and_take_nothing_from_what_runs() {
    let mut house = House::new(4);
    let batch = house.submit(1, 50, 64, 10);
    assert_eq!(house.running.len(), 4);
    // `tell` checks all laws: what runs holds more than there is now.
    house.tell(Input::Configured(Box::new(Config { memory_mib: 1, ..config(2) })));
    assert_eq!(house.running.len(), 4);
    house.done(job(batch, 1));
    house.done(job(batch, 2));
    assert_eq!(house.running.len(), 2, "nothing begins in the place of those that were too many");
    house.done(job(batch, 3));
    assert_eq!(house.running.len(), 2);
    let quota = Quota { batches: Some(1), ..Quota::default() };
    house.tell(Input::Configured(Box::new(Config { quota, ..config(6) })));
    assert_eq!(house.running.len(), 6);
    let spec = Box::new(spec(pull(), 50, 1));
    let peer = Peer { owner: Owner(1), admin: false };
    let jobs = [job_spec(false)].into_iter().collect();
    let asked = house.ask(peer, Command::Submit { spec, jobs, repeats: None, after: Vec::new() });
    assert_eq!(house.refused(asked), Some(RefusalKind::Limit));
}

#[test]
fn a_stranger_sees_counts_and_steers_nothing_of_anothers() {
    let mut house = House::new(1);
    let theirs = house.submit(1, 50, 2, 9);
    let own = house.submit(2, 50, 2, 3);
    let stranger = Peer { owner: Owner(2), admin: false };
    let targets = || Selection::Targets(vec![Target::Batch(theirs)]);
    for command in [
        Command::Cancel(targets()),
        Command::Pause { what: targets(), now: true },
        Command::Resume(targets()),
        Command::Prioritize { what: targets(), priority: Priority(0) },
        Command::Explain(Target::Batch(theirs)),
        Command::Explain(Target::Job(job(theirs, 1))),
        Command::Pause { what: Selection::House, now: false },
        Command::Drain,
        Command::Shutdown,
    ] {
        let asked = house.ask(stranger, command.clone());
        assert_eq!(house.refused(asked), Some(RefusalKind::NotPermitted), "{command:?}");
    }
    let asked = house.ask(stranger, Command::Explain(Target::Batch(own)));
    let Response::Explained(why) = &house.answers[&asked][0] else { panic!("{:?}", house.answers[&asked]) };
    assert!(!why[0].why.contains("1 batches"), "{why:?}");
    let seen = house.scheduler.house(stranger);
    assert_eq!((seen.batches_open, seen.counts.total(), seen.eta), (1, 3, None));
    assert_eq!(house.scheduler.house(ADMIN).batches_open, 2);
    // What fits a filter is one's own.
    let everything = Selection::Matching(Default::default());
    house.ask(stranger, Command::Cancel(everything));
    assert_eq!(house.batches[&own], BatchState::Cancelled);
    assert!(!house.batches[&theirs].is_terminal());
}
