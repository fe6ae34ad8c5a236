//! A watcher's queue: facts in order, progress only the latest. One that lags too far is cut, and harms nobody.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use spindle_shared::event::{Event, Fact};
use spindle_shared::id::JobId;
use spindle_shared::limits::WATCHER_EVENTS_MAX;
use spindle_shared::wire::request::Scope;
use tokio::sync::Notify;

/// Between the conductor, who never waits, and one session.
pub struct Watcher {
    scope: Scope,
    waiting: Mutex<Waiting>,
    changed: Notify,
}

#[derive(Default)]
struct Waiting {
    facts: VecDeque<Arc<Event>>,
    progress: HashMap<JobId, Arc<Event>>,
    lagged: bool,
    gone: bool,
}

impl Watcher {
    pub fn new(scope: Scope) -> Self {
        Watcher { scope, waiting: Mutex::default(), changed: Notify::new() }
    }

    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// Takes an event of its scope. `false` = there is nobody to tell any more.
    pub fn push(&self, event: &Arc<Event>) -> bool {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.gone || waiting.lagged {
            return false;
        }
        let wanted = match (&self.scope, event.fact.batch()) {
            (Scope::House, _) | (_, None) => true,
            (Scope::Batches(batches), Some(batch)) => batches.contains(&batch),
        };
        if !wanted {
            return true;
        }
        match &event.fact {
            Fact::Progress { job, .. } => {
                waiting.progress.insert(*job, Arc::clone(event));
            }
            _ => waiting.facts.push_back(Arc::clone(event)),
        }
        if waiting.facts.len() > WATCHER_EVENTS_MAX {
            waiting.facts.clear();
            waiting.progress.clear();
            waiting.lagged = true;
        }
        self.changed.notify_one();
        true
    }

    /// The session is over.
    pub fn close(&self) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).gone = true;
    }

    /// What has come since the last call, in order; waits for something. `None` = this watcher lagged and is cut.
    pub async fn next(&self) -> Option<Vec<Arc<Event>>> {
        loop {
            {
                let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
                if waiting.lagged {
                    return None;
                }
                let mut events: Vec<Arc<Event>> = waiting.facts.drain(..).collect();
                events.extend(waiting.progress.drain().map(|(_, event)| event));
                if !events.is_empty() {
                    events.sort_by_key(|event| event.seq);
                    return Some(events);
                }
            }
            self.changed.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use spindle_shared::id::BatchId;
    use spindle_shared::time::WallMs;

    fn event(seq: u64, fact: Fact) -> Arc<Event> {
        Arc::new(Event { seq, time: WallMs(0), fact })
    }

    fn progress(seq: u64, batch: u64, done: f32) -> Arc<Event> {
        let job = JobId { batch: BatchId(batch), index: 1 };
        event(seq, Fact::Progress { job, stage: "decode".to_owned(), done, batch_done: done })
    }

    #[tokio::test]
    async fn progress_is_coalesced_and_order_kept() {
        let watcher = Watcher::new(Scope::Batches(vec![BatchId(1)]));
        for (seq, event) in
            [progress(1, 1, 0.1), progress(2, 2, 0.5), event(3, Fact::Alert("x".to_owned())), progress(4, 1, 0.2)]
                .iter()
                .enumerate()
        {
            assert!(watcher.push(event), "{seq}");
        }
        let seqs: Vec<u64> = watcher.next().await.unwrap().iter().map(|event| event.seq).collect();
        assert_eq!(seqs, [3, 4]);
    }

    #[tokio::test]
    async fn one_that_lags_is_cut() {
        let watcher = Watcher::new(Scope::House);
        let mut seq = 0;
        while watcher.push(&event(seq, Fact::Paused(true))) {
            seq += 1;
            assert!(seq as usize <= WATCHER_EVENTS_MAX + 1);
        }
        assert!(watcher.next().await.is_none());
    }
}
