//! Graphics cards as runs see them: who goes to one, and what becomes of a run that one has failed.

use spindle_shared::failure::FailureKind;
use spindle_shared::id::{BatchId, JobId};
use spindle_shared::job::Detail;
use spindle_shared::lane::Lane;
use spindle_shared::stage::Stage;

use super::Scheduler;
use crate::batch::{Batch, Place};
use crate::job::{State, Step};

/// In a job's result: what did its heaviest work, and why it was not a graphics card.
const DEVICE: &str = "device";
const FALLBACK: &str = "fallback_reason";

/// What may be a card's doing. The processor then says whether it was.
fn is_the_cards(kind: FailureKind) -> bool {
    matches!(kind, FailureKind::OutOfMemory | FailureKind::Crash | FailureKind::Internal)
}

impl Scheduler {
    /// The lane that a job waits for with this stage; what a card has failed the processor does.
    pub(super) fn lane_for(&self, stage: &Stage, fell_back: bool) -> Lane {
        if fell_back { stage.facts().lane } else { self.gpus.lane_for(stage) }
    }

    /// Whether most of what this batch does is done in this lane.
    pub(super) fn is_mostly_in(&self, batch: &Batch, lane: Lane) -> bool {
        batch.heaviest_stage().is_some_and(|stage| self.gpus.serves(lane, self.gpus.lane_for(stage)))
    }

    /// A run in this lane has failed. What may be a card's doing costs no try: its job goes on on the processor. Gives whether it does.
    pub(super) fn falls_back(&mut self, id: JobId, lane: Lane, kind: FailureKind, message: &str) -> bool {
        if lane.gpu().is_none() || !is_the_cards(kind) {
            return false;
        }
        let Some(job) = self.batches.get(&id.batch).and_then(|batch| batch.job(id.index)) else { return false };
        if matches!(job.state, State::Stopping { .. }) {
            return false;
        }
        let model = self.stage_of(id).and_then(|stage| stage.model().map(str::to_owned));
        let fits = kind != FailureKind::OutOfMemory;
        let left_alone = self.gpus.fails(lane, model.as_deref(), fits, message, self.now.mono);
        let reason = format!("{}: {message}", self.gpus.name(lane));
        let more = if left_alone { "; it is left alone for a while" } else { "" };
        self.alert(format!("job {id} goes on on the processor: {reason}{more}"));
        if let Some(batch) = self.batches.get_mut(&id.batch) {
            batch.change(id.index, |job| job.fallback = Some(reason));
        }
        self.give_back(id, Step::TryAgain, false);
        if left_alone {
            self.choose_again();
        }
        true
    }

    /// A run in this lane has ended well: what its result tells of that.
    pub(super) fn note_device(&mut self, id: JobId, lane: Lane, stage: &Stage, detail: &mut Detail) {
        if !stage.facts().gpu || !self.gpus.is_asked_for() {
            return;
        }
        self.gpus.works(lane, stage.model());
        detail.figure(DEVICE, self.gpus.name(lane));
        if lane.gpu().is_none() {
            let own = self.batches.get(&id.batch).and_then(|batch| batch.job(id.index)?.fallback.clone());
            if let Some(reason) = own.or_else(|| self.gpus.why_not(stage)) {
                detail.figure(FALLBACK, reason);
            }
        }
    }

    /// Cards whose time has come are tried again by whoever waits.
    pub(super) fn try_cards(&mut self) {
        if self.gpus.reopen(self.now.mono) {
            self.choose_again();
        }
    }

    /// Other cards are in order than before: whoever waits for a slot waits where it belongs now.
    fn choose_again(&mut self) {
        let ids: Vec<BatchId> = self.at_work.iter().copied().collect();
        for id in ids {
            let Some(batch) = self.batches.get(&id) else { continue };
            let moves = batch.active.iter().filter_map(|index| {
                let job = batch.job(*index)?;
                let Place::Ready(lane) = job.place else { return None };
                let wish = self.lane_for(batch.stages_of(job).get(job.stage)?, job.fallback.is_some());
                (wish != lane).then_some((*index, wish))
            });
            let moves: Vec<(u32, Lane)> = moves.collect();
            let Some(batch) = self.batches.get_mut(&id).filter(|_| !moves.is_empty()) else { continue };
            for (index, lane) in moves {
                batch.change(index, |job| job.place = Place::Ready(lane));
            }
            self.touch(id);
        }
        self.look_ahead_soon();
    }

    /// What a job's run is done on, as `explain` tells it; `None` = nobody cares.
    pub(super) fn done_on(&self, id: JobId) -> Option<String> {
        let job = self.batches.get(&id.batch)?.job(id.index)?;
        let lane = self.runs.get(&job.state.run()?)?.lane;
        let stage = self.stage_of(id).filter(|stage| stage.facts().gpu && self.gpus.is_asked_for())?;
        let why = job.fallback.clone().or_else(|| self.gpus.why_not(&stage)).filter(|_| lane.gpu().is_none());
        let why = why.map_or(String::new(), |why| format!(", not on a graphics card ({why})"));
        Some(format!(" on {}{why}", self.gpus.name(lane)))
    }

    /// What runs hold of the cards' memory is what is counted, and no more than there is.
    pub(super) fn check_cards(&self) -> Result<(), String> {
        for lane in self.lanes().filter(|lane| lane.gpu().is_some()) {
            let here = || self.runs.values().filter(|run| run.lane == lane && run.card_mib > 0);
            let held = here().map(|run| run.card_mib).sum::<u32>();
            let (used, limit) = self.gpus.memory_mib(lane);
            if held != used || (held > limit && here().count() > 1) {
                return Err(format!("runs hold {held} MiB of {lane}'s {limit}, and {used} are counted"));
            }
        }
        Ok(())
    }
}
