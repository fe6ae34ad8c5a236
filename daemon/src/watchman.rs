//! Alerts evaluated inside: looks once a second at how the house stands, and tells what turns. It needs no conductor that answers: one that
//! doesn't is something to tell of. The rules are [`spindle_core::alert`]'s.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use spindle_core::alert::{Alerts, Facts, Rule, Turn, Vitals};
use spindle_shared::time::{MonoMs, WallMs};
use spindle_shared::wire::response::AlertView;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::inbox::{Inbox, Message};
use crate::reload::Live;
use crate::store::Reader;

/// How often is looked.
pub const EVERY: Duration = Duration::from_secs(1);
/// A conductor that takes so many looks for an answer waits for its disk.
const PATIENCE: u32 = 5;

/// What fires now; read by whoever is asked for health or metrics.
#[derive(Debug, Default)]
pub struct Firing(Mutex<BTreeMap<Rule, (WallMs, String)>>);

impl Firing {
    pub fn views(&self) -> Vec<AlertView> {
        let firing = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let view = |(rule, (since, text)): (&Rule, &(WallMs, String))| AlertView {
            rule: rule.name().to_owned(),
            since: *since,
            text: text.clone(),
        };
        firing.iter().map(view).collect()
    }

    fn turn(&self, turn: &Turn, now: WallMs) {
        let mut firing = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match turn.fires {
            true => drop(firing.insert(turn.rule, (now, turn.text.clone()))),
            false => drop(firing.remove(&turn.rule)),
        }
    }
}

/// What is looked at.
pub struct Watchman {
    pub inbox: Inbox,
    pub reader: Reader,
    pub live: Arc<Live>,
    pub workers: Arc<dyn Fn() -> usize + Send + Sync>,
    pub firing: Arc<Firing>,
    pub every: Duration,
}

/// A question on its way to the conductor. There is never more than one: a conductor that hangs is not asked again and again.
struct Asked {
    answer: oneshot::Receiver<Vitals>,
    at: Instant,
}

impl Watchman {
    pub async fn watch(self) {
        let mut alerts = Alerts::new(self.live.get().alerts.thresholds());
        let mut changes = self.live.changes();
        let mut ticks = tokio::time::interval(self.every);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let start = Instant::now();
        let mut asked: Option<Asked> = None;
        let mut known: Option<Vitals> = None;
        loop {
            ticks.tick().await;
            if changes.has_changed().unwrap_or(false) {
                alerts.set(changes.borrow_and_update().alerts.thresholds());
            }
            if asked.is_none() {
                let (reply, answer) = oneshot::channel();
                if self.inbox.try_send(Message::Vitals(reply)) {
                    asked = Some(Asked { answer, at: Instant::now() });
                }
            }
            if let Some(mut question) = asked.take() {
                match tokio::time::timeout(self.every / 2, &mut question.answer).await {
                    Ok(Ok(vitals)) => known = Some(vitals),
                    // The daemon ends.
                    Ok(Err(_)) => return,
                    Err(_) => {
                        if question.at.elapsed() > self.every * PATIENCE {
                            known = None;
                        }
                        asked = Some(question);
                    }
                }
            }
            let reader = self.reader.clone();
            let reads = tokio::task::spawn_blocking(move || reader.batches(1, |_| true).is_ok());
            let store_is_usable = reads.await.unwrap_or(false);
            let workers = u32::try_from((self.workers)()).unwrap_or(u32::MAX);
            let now = MonoMs(start.elapsed().as_millis() as u64);
            for turn in alerts.look(now, &Facts { vitals: known, workers, store_is_usable }) {
                self.tell(turn);
            }
        }
    }

    fn tell(&self, turn: Turn) {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
        self.firing.turn(&turn, WallMs(wall));
        let rule = turn.rule.name();
        match turn.fires {
            true => tracing::error!(alert = rule, "{}", turn.text),
            false => tracing::info!(alert = rule, "the alert is over"),
        }
        let inbox = self.inbox.clone();
        // A conductor that hangs hears of it when it goes on; nobody waits for that.
        tokio::spawn(async move { inbox.send(Message::Alert(turn)).await });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::store::Store;

    fn config(alerts: &str) -> Config {
        toml::from_str(alerts).unwrap()
    }

    #[tokio::test]
    async fn a_conductor_that_does_not_answer_is_told_of_without_it() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let (inbox, mut receiver) = Inbox::new();
        let firing = Arc::new(Firing::default());
        let watchman = Watchman {
            inbox: inbox.clone(),
            reader: store.reader(),
            live: Arc::new(Live::new(config("[alerts]\nstore_seconds = 0\n"))),
            workers: Arc::new(|| 1),
            firing: Arc::clone(&firing),
            every: Duration::from_millis(10),
        };
        let watching = tokio::spawn(watchman.watch());
        // One question waits for the conductor however long it hangs, and then the alert.
        let Some(Message::Vitals(reply)) = receiver.recv().await else { panic!("it is asked first") };
        let Some(Message::Alert(turn)) = receiver.recv().await else { panic!("nothing else is asked") };
        assert!(turn.fires && turn.rule == Rule::Store, "{turn:?}");
        assert_eq!(firing.views()[0].rule, "store");
        let mut reply = Some(reply);
        loop {
            if let Some(reply) = reply.take() {
                let _ = reply.send(Vitals::default());
            }
            match receiver.recv().await {
                Some(Message::Vitals(asked)) => reply = Some(asked),
                Some(Message::Alert(turn)) => {
                    assert!(!turn.fires, "{turn:?}");
                    break;
                }
                _ => panic!("nothing else is asked"),
            }
        }
        assert_eq!(firing.views(), []);
        watching.abort();
    }
}
