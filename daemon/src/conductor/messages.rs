//! Messages: what came into the inbox becomes the scheduler's inputs. What follows from them the scheduler decides.

use std::collections::HashMap;
use std::sync::Arc;

use spindle_core::alert::Vitals;
use spindle_core::effect::{Answer, ClientId, Command, Death, Input, Peer, RetryItem};
use spindle_core::outbox::Tried;
use spindle_shared::batch::{BatchSpec, BatchState, BatchView};
use spindle_shared::failure::FailureKind;
use spindle_shared::id::{BatchId, JobId, Owner};
use spindle_shared::job::JobState;
use spindle_shared::notify::Notify;
use spindle_shared::worker::Outcome;
use tokio::sync::oneshot;

use super::notifications::TELLING;
use super::{Client, Conductor};
use crate::hooks;
use crate::inbox::{Configured, Message};
use crate::providers::Provider;
use crate::server::watch::Watcher;
use crate::store::StoreError;
use crate::workers::{self, Note};

impl Conductor {
    /// Reads again what a command says of the store; the session read it some turns ago.
    pub(super) fn refresh(&mut self, peer: Peer, command: &mut Command) {
        let refreshed = match command {
            Command::Submit { spec, repeats, after, .. } => self.refresh_submit(peer, spec, repeats, after),
            Command::Retry(items) => self.refresh_retry(items),
            Command::Remove(batches) => batches.iter_mut().try_for_each(|(id, owner)| {
                *owner = self.reader.batch(*id)?.map(|view| view.owner);
                // Once it is removed nobody else knows.
                self.owners.extend(owner.map(|owner| (*id, owner)));
                Ok(())
            }),
            _ => Ok(()),
        };
        if let Err::<(), StoreError>(error) = refreshed {
            tracing::error!("failed to read the queue: {error}");
        }
    }

    fn refresh_submit(
        &self,
        peer: Peer,
        spec: &BatchSpec,
        repeats: &mut Option<Box<BatchView>>,
        after: &mut Vec<(BatchId, BatchState)>,
    ) -> Result<(), StoreError> {
        if let Some(key) = &spec.key {
            let known = self.reader.batch_of_key(peer.owner, key)?;
            *repeats = known.map(|id| self.reader.batch(id)).transpose()?.flatten().map(Box::new);
        }
        for awaited in &spec.terms.after {
            after.extend(self.reader.batch(awaited.batch)?.map(|view| (view.id, view.state)));
        }
        Ok(())
    }

    fn refresh_retry(&self, items: &mut Vec<RetryItem>) -> Result<(), StoreError> {
        for item in items.iter_mut() {
            let id = item.batch.id;
            let Some(batch) = self.reader.recovered(id)? else {
                item.jobs.clear();
                continue;
            };
            item.batch = batch;
            let bad = self.reader.jobs(id, &[JobState::Failed, JobState::Cancelled], 1, u32::MAX)?;
            let gather = self.reader.job(JobId::gather(id))?;
            let bad = bad.into_iter().chain(gather).map(|view| (view.id.index, view.state));
            let bad: HashMap<u32, JobState> = bad.filter(|(_, state)| state.is_terminal()).collect();
            item.jobs.retain_mut(|(index, state)| bad.get(index).map(|now| *state = *now).is_some());
        }
        items.retain(|item| !item.jobs.is_empty());
        Ok(())
    }

    pub(super) fn input_of(&mut self, message: Message) -> Option<Input> {
        match message {
            Message::Command { peer, command, reply } => {
                let client = self.client(reply, None);
                Some(Input::Command { client, peer, command })
            }
            Message::Watch { peer, watcher, reply } => {
                let command = Command::Watch(watcher.scope().clone());
                let client = self.client(reply, Some(watcher));
                Some(Input::Command { client, peer, command })
            }
            Message::Stop => {
                let (reply, _) = oneshot::channel();
                let client = self.client(reply, None);
                let peer = Peer { owner: Owner(0), admin: true };
                Some(Input::Command { client, peer, command: Command::Shutdown })
            }
            Message::Tally(reply) => {
                // Whoever asked and has gone needs no answer.
                drop(reply.send(self.tally.clone()));
                None
            }
            Message::OutputsFound { look, job, outputs } => Some(Input::OutputsFound { look, job, outputs }),
            Message::ResultsFound { look, job, results } => {
                let results = results.map(|(content, gathered)| {
                    self.gathered.insert(job, gathered);
                    content
                });
                Some(Input::ResultsFound { look, job, results })
            }
            Message::Vitals(reply) => {
                let (ended, failed) = self.tally.ended_and_failed();
                // Whoever asked and has gone needs no answer.
                let _ = reply.send(Vitals { ended, failed, ..self.scheduler.vitals() });
                None
            }
            Message::Write { changes, reply } => {
                self.noted.extend(changes);
                self.noting.push(reply);
                None
            }
            Message::Told { delivery, tried } => {
                self.told(delivery, &tried);
                None
            }
            Message::Alert(turn) => {
                let targets: Vec<Notify> = self.hooks.of_event(hooks::Event::Alert).cloned().collect();
                let about = hooks::alert(&turn);
                for target in targets {
                    let composed = self.compose(None, target, hooks::Event::Alert, &about);
                    self.noted.extend(composed);
                }
                Some(Input::Alert(turn))
            }
            Message::Configured(configured) => {
                let Configured { core, providers, fetching, stores, balance, hooks } = *configured;
                self.hooks = hooks;
                // One that is gone is still asked for the batches that name it.
                let gone = |old: &Provider| providers.iter().all(|new| new.name != old.name);
                self.providers.retain(gone);
                self.providers.extend(providers);
                self.fetching = fetching;
                self.stores.configure(stores, balance);
                Some(Input::Configured(Box::new(core)))
            }
            Message::Room(free) => Some(Input::Room(free)),
            Message::Memory { short } => Some(Input::Memory { short }),
            Message::Note(note) => self.input_of_note(note),
        }
    }

    fn client(&mut self, reply: oneshot::Sender<Answer>, watcher: Option<Arc<Watcher>>) -> ClientId {
        self.last_client += 1;
        let client = ClientId(self.last_client);
        self.clients.insert(client, Client { reply, watcher });
        client
    }

    fn input_of_note(&mut self, note: Note) -> Option<Input> {
        match note {
            Note::Progress { run, worker, done, begun } => Some(Input::Progress { run, worker, done, begun }),
            Note::Length { run, seconds } => Some(Input::Length { run, seconds }),
            Note::Asked { run, usage } => Some(Input::Asked { run, usage }),
            Note::Said { runs, text } => {
                let jobs: std::collections::BTreeSet<JobId> =
                    runs.iter().filter_map(|run| self.logged.get(run).copied()).collect();
                for job in jobs {
                    self.log.say(job, "printed", &[("printed", text.clone().into())]);
                }
                None
            }
            Note::Ended { run, outcome, .. } if run.boot == TELLING => {
                let tried = match outcome {
                    Outcome::Done(_) => Tried::Delivered,
                    Outcome::Stopped => Tried::Stopped,
                    Outcome::Failed(failure) => Tried::Failed { why: failure.message, wait_ms: failure.retry_after_ms },
                };
                self.told(run.counter, &tried);
                None
            }
            Note::Ended { run, outcome, worker } => {
                self.log_end(run, &outcome, worker);
                let outcome = self.keep_files(run, outcome);
                Some(Input::Ended { run, outcome })
            }
            Note::Changed { run, identity } => {
                if let Some(job) = self.logged.remove(&run) {
                    self.log.say(job, "changed", &[("message", "the input is another file than was submitted".into())]);
                }
                self.end_run(run);
                Some(Input::InputChanged { run, identity })
            }
            Note::Lost { worker, runs, how, cause_run, stderr_tail } => {
                tracing::warn!(%worker, runs = runs.len(), "a worker {how}");
                for run in runs.iter().filter(|run| run.boot == TELLING) {
                    self.told(run.counter, &Tried::Failed { why: format!("the worker {how}"), wait_ms: None });
                }
                for run in &runs {
                    if let Some(job) = self.logged.remove(run) {
                        let fields = [
                            ("worker", worker.to_string().into()),
                            ("message", format!("the worker {how}").into()),
                            ("printed", stderr_tail.clone().into()),
                        ];
                        self.log.say(job, "lost", &fields);
                    }
                    self.end_run(*run);
                }
                Some(Input::Lost { runs, cause: cause_run, death: death_of(&how, &stderr_tail) })
            }
            Note::Up { worker, role, pid, .. } => {
                tracing::debug!(%worker, role = role.name(), pid, "a worker is up");
                None
            }
            Note::Down { worker, role, pid, how, .. } => {
                match how {
                    Some(how) => tracing::warn!(%worker, role = role.name(), pid, "a worker {how}"),
                    None => tracing::debug!(%worker, role = role.name(), pid, "a worker left"),
                }
                None
            }
        }
    }
}

pub(super) fn reads_the_store(command: &Command) -> bool {
    match command {
        Command::Submit { spec, .. } => spec.key.is_some() || !spec.terms.after.is_empty(),
        Command::Retry(_) | Command::Remove(_) => true,
        _ => false,
    }
}

/// What a death means to the core.
fn death_of(how: &workers::Death, stderr_tail: &str) -> Death {
    let message = |text: String| {
        let last = stderr_tail.lines().rev().find(|line| !line.trim().is_empty());
        match last {
            Some(line) => format!("{text}; it last said: {line}"),
            None => text,
        }
    };
    match how {
        workers::Death::Killed(why) => Death::Killed { timeout: *why == workers::Why::Timeout },
        workers::Death::Memory { .. } => {
            Death::Fault { kind: FailureKind::OutOfMemory, message: message(format!("the worker {how}")) }
        }
        workers::Death::Signal(9) => Death::Fault {
            kind: FailureKind::OutOfMemory,
            message: message("the worker was killed from outside, most often for want of memory".to_owned()),
        },
        other => Death::Fault { kind: FailureKind::Crash, message: message(format!("the worker {other}")) },
    }
}
