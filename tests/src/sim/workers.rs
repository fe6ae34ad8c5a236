//! Scripted workers: processes by role with several runs at once, which do what their script says and know nothing of the queue.

use std::collections::{BTreeMap, BTreeSet};

use spindle_core::effect::Start;
use spindle_shared::failure::FailureKind;
use spindle_shared::id::{ContentHash, RunId};
use spindle_shared::job::{FileIdentity, Output, PathBytes};
use spindle_shared::lane::{Lane, Role};
use spindle_shared::provider::Usage;
use spindle_shared::stage::Stage;
use spindle_shared::worker::{ArtifactFile, Done, Published};

use super::clients::identity;
use super::random::Random;

/// How a run goes if nobody interferes; where it fails, on which device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plan {
    Done,
    Fail(FailureKind, Option<u64>),
    /// Goes on until it is stopped.
    Hang,
    /// Takes its process down, with everything that runs in it.
    Crash(FailureKind),
}

/// A run as its process has it.
#[derive(Debug)]
pub struct LiveRun {
    pub start: Start,
    pub process: u64,
    pub plan: Plan,
}

#[derive(Debug)]
struct Process {
    role: Role,
    gpu: Option<u8>,
    alone: bool,
    runs: BTreeSet<RunId>,
}

/// All processes that live.
#[derive(Debug, Default)]
pub struct Workers {
    processes: BTreeMap<u64, Process>,
    pub runs: BTreeMap<RunId, LiveRun>,
    last_process: u64,
}

impl Workers {
    /// Gives the run to a process with room, or to a new one.
    pub fn start(&mut self, start: Start, plan: Plan) -> Result<(), String> {
        let role = start.stage.facts().role;
        let capacity = match role {
            Role::Media | Role::Net => 2,
            Role::Speech | Role::Vision => 3,
            Role::Files => 4,
        };
        let gpu = start.lane.gpu();
        let fits = |process: &Process| {
            let same = process.role == role && process.gpu == gpu;
            same && !process.alone && !start.alone && process.runs.len() < capacity
        };
        let found = self.processes.iter().find(|(_, process)| fits(process)).map(|(number, _)| *number);
        let number = found.unwrap_or_else(|| {
            self.last_process += 1;
            self.processes.insert(self.last_process, Process { role, gpu, alone: start.alone, runs: BTreeSet::new() });
            self.last_process
        });
        let run = start.run;
        if let Some(process) = self.processes.get_mut(&number) {
            process.runs.insert(run);
        }
        match self.runs.insert(run, LiveRun { start, process: number, plan }) {
            Some(_) => Err(format!("run {run} is started twice")),
            None => Ok(()),
        }
    }

    /// A run is over and its process goes on.
    pub fn end(&mut self, run: RunId) -> Option<LiveRun> {
        let live = self.runs.remove(&run)?;
        if let Some(process) = self.processes.get_mut(&live.process) {
            process.runs.remove(&run);
            if process.runs.is_empty() && process.alone {
                self.processes.remove(&live.process);
            }
        }
        Some(live)
    }

    /// The process of this run is gone, with these runs.
    pub fn take_down(&mut self, run: RunId) -> Vec<RunId> {
        let Some(process) = self.runs.get(&run).and_then(|live| self.processes.remove(&live.process)) else {
            return Vec::new();
        };
        for run in &process.runs {
            self.runs.remove(run);
        }
        process.runs.into_iter().collect()
    }

    pub fn slots_held(&self, lane: Lane) -> u32 {
        let here = self.runs.values().filter(|live| live.start.lane == lane);
        here.map(|live| live.start.slots).sum()
    }
}

/// What a run would take, in milliseconds of simulated time.
pub fn length_of(stage: &Stage, random: &mut Random) -> u64 {
    match stage {
        Stage::Identify(_) | Stage::Subtitle(_) | Stage::Publish(_) | Stage::Collect(_) | Stage::Plan(_) => {
            random.between(1, 60)
        }
        Stage::Decode(_) | Stage::Listen(_) => random.between(50, 1_500),
        Stage::Write(_) | Stage::Ask(_) | Stage::Propose(_) => random.between(100, 20_000),
        Stage::Transcribe(_)
        | Stage::Compress(_)
        | Stage::Convert(_)
        | Stage::Preview(_)
        | Stage::Analyze(_)
        | Stage::Assemble(_)
        | Stage::Image(_)
        | Stage::Pack(_)
        | Stage::Sight(_) => random.between(200, 8_000),
        Stage::Pull(_) | Stage::Fetch(_) | Stage::Upload(_) | Stage::Check(_) | Stage::Deliver(_) => {
            random.between(100, 5_000)
        }
    }
}

/// The result of a run that went well; equal work has equal results.
pub fn result_of(start: &Start, source: Option<(FileIdentity, ContentHash)>, output_at: &PathBytes) -> Done {
    // What a worker says of its work is not always so.
    let odd = [60.0, 60.0, 60.0, 1.0, 0.0, -1.0, f64::NAN, f64::INFINITY, 1e-9, 1e30];
    let work = odd[start.run.counter as usize % odd.len()];
    let mut done = Done { work, peak_memory_bytes: 1 << 20, ..Done::default() };
    let odd = [60 << 20, 60 << 20, 300 << 20, 1, 0, u64::MAX];
    done.memory_bytes = odd[start.run.counter as usize % odd.len()];
    match &start.stage {
        Stage::Identify(_) => {
            done.content = source.map(|(_, content)| content);
            done.identity = source.map(|(identity, _)| identity);
        }
        Stage::Decode(_)
        | Stage::Transcribe(_)
        | Stage::Subtitle(_)
        | Stage::Collect(_)
        | Stage::Compress(_)
        | Stage::Convert(_)
        | Stage::Preview(_)
        | Stage::Analyze(_)
        | Stage::Plan(_)
        | Stage::Assemble(_)
        | Stage::Image(_)
        | Stage::Pack(_)
        | Stage::Listen(_)
        | Stage::Sight(_)
        | Stage::Write(_)
        | Stage::Ask(_)
        | Stage::Propose(_) => {
            if let Some((_, most)) = start.stage.api() {
                let calls = 1 + (start.run.counter % u64::from(most)) as u32;
                done.usage = Usage { calls, tokens_in: 900 * start.run.counter, tokens_out: 100 };
            }
            let content = ContentHash::of(&start.address.map_or([0; 32], |address| address.0));
            done.files = vec![ArtifactFile { name: start.stage.name().to_owned(), bytes: 100, content }];
            done.detail.media_seconds = Some(if start.run.counter.is_multiple_of(7) { 1e9 } else { 60.0 });
        }
        Stage::Fetch(_) => {
            // What lies at one address differs from day to day, now and then.
            let content = ContentHash::of(&[start.job.index as u8 % 3, u8::from(start.run.counter.is_multiple_of(5))]);
            done.files = vec![ArtifactFile { name: "talk.mp4".to_owned(), bytes: 100, content }];
        }
        Stage::Check(_) => {}
        Stage::Publish(_) | Stage::Upload(_) | Stage::Pull(_) | Stage::Deliver(_) => {
            let content = ContentHash::of(&output_at.0);
            let output = Output { path: output_at.clone(), kind: "srt".to_owned(), bytes: 100 };
            let identity = Some(identity(content.0[0].into()));
            done.outputs = vec![Published { output, content, identity }];
        }
    }
    done
}
