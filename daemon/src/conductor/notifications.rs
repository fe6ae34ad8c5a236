//! Notifications: who is to be told of what a turn makes durable, and what is due. Waits for nobody who is told; the order is the outbox's.

use std::sync::Arc;

use spindle_core::change::Change;
use spindle_core::outbox::{Tried, Verdict};
use spindle_shared::id::{BatchId, ContentHash, RunId};
use spindle_shared::job::JobState;
use spindle_shared::notify::Notify;
use spindle_shared::stage::Stage;
use spindle_shared::stage::deliver::Deliver;
use spindle_shared::worker::Assignment;

use super::Conductor;
use crate::hooks;
use crate::inbox::Message;
use crate::workers::StartOrder;

impl Conductor {
    /// A notification, ready to be written. What there is no room for is lost, and the log says so.
    pub(super) fn compose(
        &mut self,
        batch: Option<BatchId>,
        target: Notify,
        event: hooks::Event,
        about: &serde_json::Value,
    ) -> Option<Change> {
        let now = self.clock.now().wall;
        let house = self.house_tag();
        let text = |id: u64| hooks::body(&format!("{house}-{id}"), event, now, about);
        let composed = self.outbox.compose(now, batch, target, event.name(), text);
        if composed.is_none() {
            tracing::error!("too many notifications wait: one is lost");
        }
        composed.map(|delivery| Change::DeliveryAdded(Box::new(delivery)))
    }

    /// Who is to be told of what these changes mean; written with them, so that it is told whatever happens.
    pub(super) fn notifications(&mut self, changes: &[Change]) -> Vec<Change> {
        let mut found = Vec::new();
        for change in changes {
            match change {
                Change::JobEnded(job, ended) if ended.state == JobState::Failed => {
                    let targets: Vec<Notify> = self.hooks.of_event(hooks::Event::Failure).cloned().collect();
                    if targets.is_empty() {
                        continue;
                    }
                    let about = hooks::failure(*job, ended);
                    for target in targets {
                        found.extend(self.compose(Some(job.batch), target, hooks::Event::Failure, &about));
                    }
                }
                Change::BatchChanged(id, status) if status.finished_at.is_some() && status.counts.all_ended() => {
                    let known = self.reader.batch(*id).ok().flatten();
                    if known.as_ref().is_some_and(|known| known.state.is_terminal()) {
                        continue;
                    }
                    let mut targets: Vec<Notify> = self.hooks.of_event(hooks::Event::Batch).cloned().collect();
                    let added = changes.iter().find_map(|change| match change {
                        Change::BatchAdded(batch) if batch.id == *id => Some(batch),
                        _ => None,
                    });
                    let own = match added {
                        Some(batch) => batch.spec.terms.notify.clone(),
                        None => self.reader.notify_of(*id).unwrap_or_default(),
                    };
                    targets.extend(own.iter().map(|target| self.hooks.signed(target)));
                    targets.dedup();
                    let Some(about) = known
                        .map(|view| hooks::batch(&(&view).into(), status))
                        .or_else(|| added.map(|batch| hooks::batch(&(&**batch).into(), status)))
                    else {
                        continue;
                    };
                    for target in targets {
                        found.extend(self.compose(Some(*id), target, hooks::Event::Batch, &about));
                    }
                }
                _ => {}
            }
        }
        found
    }

    /// What is due goes out; nobody waits for it here.
    pub(super) fn tell_due(&mut self) {
        let now = self.clock.now().wall;
        for delivery in self.outbox.take_due(now) {
            let inbox = self.own_inbox.clone();
            let id = delivery.id;
            match delivery.target {
                Notify::Command(words) => {
                    // A thread of its own: it may take a minute.
                    let run = move || {
                        let tried = hooks::run(&words, &delivery.body);
                        // The conductor has ended when nobody takes this.
                        drop(inbox.send_blocking(Message::Told { delivery: id, tried }));
                    };
                    self.runtime.spawn_blocking(run);
                }
                Notify::Webhook { url, secret } => {
                    let (supervisor, allow) = (Arc::clone(&self.supervisor), self.fetching.allow.clone());
                    let tag = self.house_tag();
                    let run = move || {
                        let secret = match secret.as_deref().map(crate::config::secret).transpose() {
                            Ok(secret) => secret,
                            Err(why) => {
                                let tried = Tried::Failed { why, wait_ms: None };
                                drop(inbox.send_blocking(Message::Told { delivery: id, tried }));
                                return;
                            }
                        };
                        let (body, event) = (delivery.body, delivery.event);
                        let deliver = Deliver { url, body, id: format!("{tag}-{id}"), event, secret, allow };
                        supervisor.start(telling(id, Stage::Deliver(deliver)));
                    };
                    self.runtime.spawn_blocking(run);
                }
            }
        }
    }

    pub(super) fn told(&mut self, delivery: u64, tried: &Tried) {
        let now = self.clock.now().wall;
        let Some((verdict, change)) = self.outbox.ended(now, delivery, tried) else { return };
        let why = if let Tried::Failed { why, .. } = tried { why.as_str() } else { "" };
        match verdict {
            Verdict::Delivered => tracing::debug!(delivery, "somebody was told"),
            Verdict::Again { in_ms } => tracing::warn!(delivery, in_ms, "a notification was not delivered: {why}"),
            Verdict::GivenUp => tracing::error!(delivery, "a notification is given up: {why}"),
        }
        self.noted.push(change);
    }

    /// Tells this daemon's notifications from others'.
    fn house_tag(&self) -> String {
        ContentHash::of(&self.house.0).to_string()[..8].to_owned()
    }
}

/// Stands for the boot of runs that tell somebody: no daemon starts so often.
pub(super) const TELLING: u64 = u64::MAX;

/// One try to tell an address, as a run of no job.
fn telling(id: u64, stage: Stage) -> StartOrder {
    let assignment = Assignment::of(RunId { boot: TELLING, counter: id }, stage);
    StartOrder {
        assignment,
        open: Vec::new(),
        role: spindle_shared::lane::Role::Net,
        model: None,
        alone: false,
        device: None,
        timeout_ms: TELLING_MS,
    }
}

/// Longest time for that; the exchange itself ends sooner.
const TELLING_MS: u64 = 60_000;
