//! A watcher's queue: facts in order, progress only the latest; for a screen only the latest of everything. One that lags too far
//! is cut, and harms nobody.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use spindle_shared::event::{Event, Fact};
use spindle_shared::id::{BatchId, JobId, Owner};
use spindle_shared::job::JobState;
use spindle_shared::limits::{PARALLEL_MAX, WATCHER_EVENTS_MAX};
use spindle_shared::snapshot::Snapshot;
use spindle_shared::wire::request::Scope;
use spindle_shared::wire::response::Response;
use tokio::sync::Notify;

use super::connection::frame_of;

/// An event on its way to all that watch: put into bytes once, whoever needs them first.
pub struct Told {
    pub event: Event,
    /// Of the batch it is about; `None` = it is about the house, or the batch is nobody's that is known.
    owner: Option<Owner>,
    frame: OnceLock<Vec<u8>>,
}

impl Told {
    pub fn new(event: Event, owner: Option<Owner>) -> Self {
        Told { event, owner, frame: OnceLock::new() }
    }

    pub fn frame(&self) -> &[u8] {
        self.frame.get_or_init(|| frame_of(&Response::Event(Box::new(self.event.clone()))))
    }
}

/// Between the conductor, who never waits, and one session.
pub struct Watcher {
    scope: Scope,
    /// Whose batches it hears of; `None` = everybody's.
    only: Option<Owner>,
    waiting: Mutex<Waiting>,
    changed: Notify,
}

#[derive(Default)]
struct Waiting {
    events: HashMap<Key, Arc<Told>>,
    lagged: bool,
    gone: bool,
}

/// Of events with the same key only the latest waits: it tells all that the earlier ones did.
#[derive(Debug, PartialEq, Eq, Hash)]
enum Key {
    /// Like no other: its own number.
    Each(u64),
    Batch(BatchId),
    Job(JobId),
    Progress(JobId),
    BatchProgress(BatchId),
}

impl Watcher {
    pub fn new(scope: Scope, only: Option<Owner>) -> Self {
        Watcher { scope, only, waiting: Mutex::default(), changed: Notify::new() }
    }

    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    pub fn only(&self) -> Option<Owner> {
        self.only
    }

    /// Takes an event of its scope. `false` = there is nobody to tell any more.
    pub fn push(&self, told: &Arc<Told>) -> bool {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.gone || waiting.lagged {
            return false;
        }
        let Some(key) = self.key(&told.event).filter(|_| self.may_hear(told)) else { return true };
        waiting.events.insert(key, Arc::clone(told));
        if waiting.events.len() > WATCHER_EVENTS_MAX {
            waiting.events.clear();
            waiting.lagged = true;
        }
        self.changed.notify_one();
        true
    }

    /// **Invariant:** nobody hears of another's batch, nor what is told to those who look after the house.
    fn may_hear(&self, told: &Told) -> bool {
        let Some(me) = self.only else { return true };
        match told.event.fact.batch() {
            Some(_) => told.owner == Some(me),
            None => !matches!(told.event.fact, Fact::Alert(_)),
        }
    }

    /// Where an event waits; `None` = it isn't for this watcher.
    fn key(&self, event: &Event) -> Option<Key> {
        let batch = event.fact.batch();
        let wanted = match (&self.scope, batch) {
            (Scope::House | Scope::Overview, _) | (_, None) => true,
            (Scope::Batches(batches), Some(batch)) => batches.contains(&batch),
            (Scope::Window { batch: wanted, .. }, Some(batch)) => *wanted == batch,
        };
        let screen = matches!(self.scope, Scope::Overview | Scope::Window { .. });
        match (&event.fact, &self.scope) {
            _ if !wanted => None,
            (Fact::Job(_), Scope::Overview) => None,
            (Fact::Progress { job, .. }, Scope::Overview) => Some(Key::BatchProgress(job.batch)),
            (Fact::Progress { job, .. }, _) => Some(Key::Progress(*job)),
            (Fact::Batch(batch), _) if screen => Some(Key::Batch(batch.id)),
            (Fact::Job(job), _) if screen => Some(Key::Job(job.id)),
            _ => Some(Key::Each(event.seq)),
        }
    }

    /// The session is over.
    pub fn close(&self) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).gone = true;
    }

    /// What has come since the last call, in order; waits for something. `None` = this watcher lagged and is cut.
    pub async fn next(&self) -> Option<Vec<Arc<Told>>> {
        loop {
            {
                let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
                if waiting.lagged {
                    return None;
                }
                let mut events: Vec<Arc<Told>> = waiting.events.drain().map(|(_, told)| told).collect();
                if !events.is_empty() {
                    events.sort_unstable_by_key(|told| told.event.seq);
                    return Some(events);
                }
            }
            self.changed.notified().await;
        }
    }
}

/// Which of a batch's jobs a window shows. What happens to the others is kept from its watcher: a batch may have a million.
pub struct Window {
    from: u32,
    len: u32,
    /// Jobs that the watcher knows although they stand elsewhere: at work, or failed.
    elsewhere: HashSet<JobId>,
}

impl Window {
    /// `None` = the scope is no window, and everything of it is told.
    pub fn of(scope: &Scope, snapshot: &Snapshot) -> Option<Window> {
        let Scope::Window { from, len, .. } = *scope else { return None };
        let mut window = Window { from, len, elsewhere: HashSet::new() };
        window.elsewhere = snapshot.jobs.keys().copied().filter(|job| !window.holds(*job)).collect();
        Some(window)
    }

    fn holds(&self, job: JobId) -> bool {
        job.index.checked_sub(self.from).is_some_and(|at| at < self.len)
    }

    fn elsewhere_max(&self) -> usize {
        self.len.saturating_add(PARALLEL_MAX) as usize
    }

    /// Whether the watcher is to hear of it.
    pub fn shows(&mut self, fact: &Fact) -> bool {
        match fact {
            Fact::Job(job) if self.holds(job.id) => true,
            Fact::Job(job) => {
                let stays = match job.state {
                    JobState::Running => true,
                    JobState::Retrying | JobState::Failed => self.elsewhere.len() < self.elsewhere_max(),
                    JobState::Pending | JobState::Completed | JobState::Skipped | JobState::Cancelled => false,
                };
                if stays {
                    self.elsewhere.insert(job.id);
                    true
                } else {
                    // What left the screen's sight is told once more, as what it became.
                    self.elsewhere.remove(&job.id)
                }
            }
            Fact::Progress { job, .. } => self.holds(*job) || self.elsewhere.contains(job),
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use spindle_shared::made_up;
    use spindle_shared::time::WallMs;

    fn event(seq: u64, fact: Fact) -> Arc<Told> {
        Arc::new(Told::new(Event { seq, time: WallMs(0), fact }, None))
    }

    fn id(batch: u64, index: u32) -> JobId {
        JobId { batch: BatchId(batch), index }
    }

    fn progress(seq: u64, batch: u64, done: f32) -> Arc<Told> {
        event(seq, Fact::Progress { job: id(batch, 1), stage: "decode".to_owned(), done, batch_done: done })
    }

    fn job(batch: u64, index: u32, state: JobState) -> Fact {
        Fact::Job(Box::new(made_up::job(batch, index, state)))
    }

    async fn heard(watcher: &Watcher) -> Vec<u64> {
        watcher.next().await.unwrap().iter().map(|told| told.event.seq).collect()
    }

    #[tokio::test]
    async fn progress_is_coalesced_and_order_kept() {
        let watcher = Watcher::new(Scope::Batches(vec![BatchId(1)]), None);
        for event in
            [progress(1, 1, 0.1), progress(2, 2, 0.5), event(3, Fact::Alert("x".to_owned())), progress(4, 1, 0.2)]
        {
            assert!(watcher.push(&event));
        }
        assert_eq!(heard(&watcher).await, [3, 4]);
    }

    #[tokio::test]
    async fn a_screen_hears_the_latest_and_whoever_follows_hears_all() {
        let events = [
            event(1, job(1, 1, JobState::Running)),
            progress(2, 1, 0.1),
            event(3, job(2, 1, JobState::Running)),
            event(4, job(1, 1, JobState::Completed)),
            progress(5, 1, 0.3),
            event(6, Fact::Paused(true)),
            event(7, Fact::Paused(false)),
        ];
        for (scope, told) in [
            (Scope::House, &[1, 3, 4, 5, 6, 7][..]),
            (Scope::Overview, &[5, 6, 7]),
            (Scope::Window { batch: BatchId(1), from: 1, len: 9 }, &[4, 5, 6, 7]),
        ] {
            let watcher = Watcher::new(scope, None);
            assert!(events.iter().all(|event| watcher.push(event)));
            assert_eq!(heard(&watcher).await, told, "{:?}", watcher.scope());
        }
    }

    #[tokio::test]
    async fn nobody_hears_of_anothers_batches() {
        let told =
            |seq, fact, owner: Option<u32>| Arc::new(Told::new(Event { seq, time: WallMs(0), fact }, owner.map(Owner)));
        let events = [
            told(1, job(1, 1, JobState::Running), Some(5)),
            told(2, job(2, 1, JobState::Running), Some(6)),
            told(3, Fact::Removed(BatchId(2)), Some(6)),
            told(4, Fact::Removed(BatchId(3)), None),
            told(5, Fact::Alert("/home/six/x.mp4 is missing".to_owned()), None),
            told(6, Fact::Paused(true), None),
        ];
        for (only, heard_of) in [(None, &[1, 2, 3, 4, 5, 6][..]), (Some(5), &[1, 6]), (Some(6), &[2, 3, 6])] {
            for scope in [Scope::House, Scope::Batches(vec![BatchId(1), BatchId(2), BatchId(3)])] {
                let watcher = Watcher::new(scope, only.map(Owner));
                assert!(events.iter().all(|event| watcher.push(event)), "it goes on");
                assert_eq!(heard(&watcher).await, heard_of, "{only:?}");
            }
        }
    }

    #[test]
    fn a_window_tells_of_its_jobs_and_of_those_at_work_and_failed() {
        let scope = Scope::Window { batch: BatchId(1), from: 11, len: 2 };
        let mut window = Window::of(&scope, &Snapshot::default()).unwrap();
        let mut shows = |index, state| window.shows(&job(1, index, state));
        assert_eq!([10, 11, 12, 13].map(|index| shows(index, JobState::Completed)), [false, true, true, false]);
        assert!(shows(500, JobState::Running));
        assert!(shows(500, JobState::Completed), "it must not stay on the screen as running");
        assert!(!shows(500, JobState::Completed));
        assert!(shows(600, JobState::Failed));
        assert!(shows(600, JobState::Pending), "it was tried again");
        for failed in 0..10_000 {
            shows(1_000 + failed, JobState::Failed);
        }
        let progress = Fact::Progress { job: id(1, 11), stage: String::new(), done: 0.5, batch_done: 0.5 };
        assert!(window.shows(&progress));
        assert_eq!(window.elsewhere.len(), 2 + PARALLEL_MAX as usize, "of many failures the counts tell");
    }

    #[tokio::test]
    async fn one_that_lags_is_cut() {
        let watcher = Watcher::new(Scope::House, None);
        let mut seq = 0;
        while watcher.push(&event(seq, Fact::Paused(true))) {
            seq += 1;
            assert!(seq as usize <= WATCHER_EVENTS_MAX + 1);
        }
        assert!(watcher.next().await.is_none());
    }
}
