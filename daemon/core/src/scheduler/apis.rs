//! Model APIs: whose turn it is to ask one, with which of its keys, and what that has cost. Waiting for one is scheduling, never a failure.

use std::collections::{BTreeMap, BTreeSet};

use spindle_shared::failure::{Failure, FailureKind};
use spindle_shared::id::{BatchId, JobId, RunId};
use spindle_shared::job::Detail;
use spindle_shared::lane::Lane;
use spindle_shared::provider::Usage;
use spindle_shared::stage::Stage;
use spindle_shared::time::{MonoMs, Now};

use super::{ApiConfig, Scheduler};
use crate::api::{Api, Call, Permit, Used, Wait};
use crate::batch::Place;
use crate::breaker::Resource;
use crate::change::{Change, Recovered};
use crate::job::{State, Step};

/// Whoever has to wait longer is parked, with the reason and the time; a minute's limits come back sooner.
const PARKS_MS: u64 = 65_000;
/// How long a key is left alone whose quota its service calls spent, where it doesn't say for how long.
const SPENT_MS: u64 = 30 * 60_000;
/// A wait for a day's end is looked at anew this often: clocks leap.
const DAY_LOOK_MS: u64 = 15 * 60_000;
/// Of a call whose tokens nobody has counted yet.
const TOKENS_GUESS: u64 = 4_000;

/// One model API with all of its keys.
#[derive(Debug)]
pub(super) struct Service {
    keys: Vec<Api>,
    /// So many of them are the configuration's; the others were, and runs may still ask with them.
    usable: usize,
    /// Who is asked first the next time.
    next: usize,
    price_in: Option<f64>,
    price_out: Option<f64>,
    /// Of the largest run so far; what the next is expected to be.
    tokens: u64,
    cost: Option<f64>,
    /// Jobs that wait for their turn, in the order they came.
    asking: Vec<JobId>,
    /// When the first of them may ask; `None` = nobody waits, or for the end of another call.
    due: Option<MonoMs>,
}

/// A run's permit.
#[derive(Debug)]
pub(super) struct Asked {
    provider: String,
    key: usize,
    permit: Permit,
    /// How it went, as far as is known.
    call: Option<Call>,
}

impl Asked {
    /// Number of the key.
    pub(super) fn key(&self) -> u32 {
        self.key as u32
    }
}

/// Why a job can't ask now.
enum Hold {
    /// At the earliest then, or when another call is over.
    Wait(Option<MonoMs>),
    /// So long that it gives its place up.
    Park { until: MonoMs, failure: Failure },
    /// The batch has no money left.
    Spent(Failure),
}

impl Service {
    pub(super) fn new(config: &ApiConfig) -> Self {
        Service {
            keys: Vec::new(),
            usable: config.keys.max(1) as usize,
            next: 0,
            price_in: config.price_in,
            price_out: config.price_out,
            tokens: 0,
            cost: None,
            asking: Vec::new(),
            due: None,
        }
    }

    fn at_once(&self) -> u32 {
        self.keys.iter().take(self.usable).map(Api::at_once).sum()
    }

    fn under_way(&self) -> u32 {
        self.keys.iter().map(Api::under_way).sum()
    }

    fn expected(&self) -> u64 {
        if self.tokens == 0 { TOKENS_GUESS } else { self.tokens }
    }

    /// The first key in turn that may be used, or the least wait of all.
    fn may(&mut self, calls: u32, now: Now) -> Result<usize, Wait> {
        let tokens = self.expected();
        let mut least: Option<Wait> = None;
        let count = self.usable;
        for key in (0..count).map(|step| (self.next + step) % count.max(1)) {
            match self.keys[key].may(tokens, calls, now) {
                Ok(()) => return Ok(key),
                Err(wait) => {
                    least = Some(match (least, wait) {
                        (None, wait) | (Some(Wait::Tomorrow { .. }), wait) | (Some(wait), Wait::Tomorrow { .. }) => {
                            wait
                        }
                        (Some(Wait::Until(a)), Wait::Until(b)) => Wait::Until(a.min(b)),
                        // Either may come first: the time is looked at, the end of a call wakes anyhow.
                        (Some(Wait::Until(until)), Wait::ForAnother) | (Some(Wait::ForAnother), Wait::Until(until)) => {
                            Wait::Until(until)
                        }
                        (Some(Wait::ForAnother), Wait::ForAnother) => Wait::ForAnother,
                    });
                }
            }
        }
        Err(least.unwrap_or(Wait::ForAnother))
    }

    fn price(&self, usage: Usage) -> Option<f64> {
        let (price_in, price_out) = (self.price_in?, self.price_out?);
        Some((usage.tokens_in as f64 * price_in + usage.tokens_out as f64 * price_out) / 1e6)
    }
}

impl Scheduler {
    /// All model APIs of the configuration, as far used up as the last daemon has left them.
    pub(super) fn services(
        providers: &BTreeMap<String, ApiConfig>,
        recovered: &Recovered,
        now: Now,
    ) -> BTreeMap<String, Service> {
        let service = |(name, config): (&String, &ApiConfig)| {
            let mut service = Service::new(config);
            service.keys = (0..config.keys.max(1))
                .map(|key| {
                    let used = recovered.apis.iter().find(|(known, number, _)| (known, *number) == (name, key));
                    Api::new(config.limits, &used.map(|(.., used)| used.clone()).unwrap_or_default(), now)
                })
                .collect();
            (name.clone(), service)
        };
        providers.iter().map(service).collect()
    }

    /// The configuration's model APIs have changed. One that is gone from it stays as it was for the batches that name it.
    pub(super) fn configure_apis(&mut self, providers: &BTreeMap<String, ApiConfig>) {
        let now = self.now;
        for (name, config) in providers {
            let service = self.services.entry(name.clone()).or_insert_with(|| Service::new(config));
            service.usable = config.keys.max(1) as usize;
            (service.price_in, service.price_out) = (config.price_in, config.price_out);
            for api in &mut service.keys {
                api.limit(config.limits);
            }
            while service.keys.len() < service.usable {
                service.keys.push(Api::new(config.limits, &Used::default(), now));
            }
        }
    }

    /// Takes a permit for a run of this stage, or lets the job wait for one. `Ok(None)` = it asks nobody; `Err` = it waits, or has ended.
    pub(super) fn take_permit(&mut self, id: JobId, stage: &Stage) -> Result<Option<Asked>, ()> {
        let Some((provider, calls)) = stage.api() else { return Ok(None) };
        let name = provider.name.clone();
        let key = match self.may_ask(id, &name, calls) {
            Ok(key) => key,
            Err(hold) => {
                self.wait_for_api(id, &name, hold);
                return Err(());
            }
        };
        let now = self.now;
        let Some(service) = self.services.get_mut(&name) else { return Err(()) };
        let tokens = service.expected();
        let Ok(permit) = service.keys[key].take(tokens, calls, now) else { return Err(()) };
        service.next = (key + 1) % service.usable;
        self.write_used(&name, key);
        self.warn(&name, key);
        Ok(Some(Asked { provider: name, key, permit, call: None }))
    }

    fn may_ask(&mut self, id: JobId, name: &str, calls: u32) -> Result<usize, Hold> {
        self.may_cost(id.batch, name)?;
        let now = self.now;
        let Some(service) = self.services.get_mut(name) else {
            let message = format!("the model API {name} is no longer in the daemon's configuration");
            return Err(Hold::Spent(
                Failure::new(FailureKind::Auth, message).advise("submit it with another --provider"),
            ));
        };
        let wait = match service.may(calls, now) {
            Ok(key) => return Ok(key),
            Err(wait) => wait,
        };
        Err(match wait {
            Wait::ForAnother => Hold::Wait(None),
            Wait::Until(until) if until.since(now.mono) <= PARKS_MS => Hold::Wait(Some(until)),
            Wait::Until(until) => {
                let message = format!("it asks to be left alone for {} min", until.since(now.mono).div_ceil(60_000));
                let failure = Failure::new(FailureKind::RateLimited, message)
                    .advise("nothing to do: it goes on then; `spindlectl resume` tries at once");
                Hold::Park { until, failure }
            }
            Wait::Tomorrow { in_ms } => {
                let made: u32 = service.keys.iter().map(|key| key.today().0).sum();
                let message = format!("its {made} calls of today are made; it goes on at 00:00 UTC");
                let failure = Failure::new(FailureKind::Quota, message)
                    .advise(format!("raise per_day in [providers.{name}] if the service allows more"));
                Hold::Park { until: now.mono.plus(in_ms.clamp(1, DAY_LOOK_MS)), failure }
            }
        })
    }

    /// Whether a batch has the money for one run more, those on their way counted as dear as the dearest so far.
    fn may_cost(&self, id: BatchId, name: &str) -> Result<(), Hold> {
        let Some(batch) = self.batches.get(&id) else { return Ok(()) };
        let (Some(most), Some(service)) = (batch.spec.terms.max_cost, self.services.get(name)) else { return Ok(()) };
        let asking = self.runs.values().filter(|run| run.job.batch == id && run.asked.is_some()).count();
        match service.cost {
            // What one costs is found out with one.
            None if asking > 0 => Err(Hold::Wait(None)),
            None if batch.cost < most => Ok(()),
            Some(each) if batch.cost + each * (asking + 1) as f64 <= most => Ok(()),
            Some(_) if asking > 0 => Err(Hold::Wait(None)),
            _ => {
                let message = format!(
                    "the batch may cost {most} (--max-cost): {:.4} are spent, and one run more could pass that",
                    batch.cost
                );
                let advice = "submit what is left with a higher --max-cost; what is done already isn't asked again";
                Err(Hold::Spent(Failure::new(FailureKind::Quota, message).advise(advice)))
            }
        }
    }

    fn wait_for_api(&mut self, id: JobId, name: &str, hold: Hold) {
        match hold {
            Hold::Wait(until) => {
                if let Some(service) = self.services.get_mut(name) {
                    if !service.asking.contains(&id) {
                        service.asking.push(id);
                    }
                    service.due = until;
                }
                if let Some(batch) = self.batches.get_mut(&id.batch) {
                    batch.change(id.index, |job| job.place = Place::Asking);
                }
                self.touch(id.batch);
            }
            Hold::Park { until, failure } => {
                let number = self.close_api(name, until, failure);
                self.park(id, number, None);
            }
            Hold::Spent(failure) => self.end_job(id, Step::Fail, Some(failure)),
        }
    }

    fn close_api(&mut self, name: &str, until: MonoMs, failure: Failure) -> u32 {
        let resource = Resource::Api(name.to_owned());
        let text = format!("what needs {resource} waits: {}; {}", failure.message, failure.advice);
        let (number, new) = self.breaker.close_until(resource, failure, until);
        if new {
            self.alert(text);
        }
        number
    }

    /// One of those that wait for an API whose turn it now is goes for it. Gives whether there was one.
    pub(super) fn wake_asking(&mut self) -> bool {
        let names: Vec<String> = self
            .services
            .iter()
            .filter(|(_, service)| !service.asking.is_empty())
            .map(|(name, _)| name.clone())
            .collect();
        names.into_iter().any(|name| self.wake_one(&name))
    }

    fn wake_one(&mut self, name: &str) -> bool {
        let batches = &self.batches;
        let asks = |id: &JobId| {
            batches.get(&id.batch).and_then(|batch| batch.job(id.index)).is_some_and(|job| job.place == Place::Asking)
        };
        let Some(service) = self.services.get_mut(name) else { return false };
        service.asking.retain(asks);
        let mut waiting = service.asking.clone();
        // As the queue has it: the more urgent first.
        waiting.sort_by_key(|id| batches.get(&id.batch).map(|batch| batch.priority));
        let mut due: Option<MonoMs> = None;
        for id in waiting {
            let calls = self.stage_of(id).and_then(|stage| stage.api().map(|(_, calls)| calls)).unwrap_or(1);
            match self.may_ask(id, name, calls) {
                Ok(_) => {
                    self.leave_asking(id, name);
                    if let Some(batch) = self.batches.get_mut(&id.batch) {
                        batch.change(id.index, |job| job.place = Place::Ready(Lane::Api));
                    }
                    self.touch(id.batch);
                    return true;
                }
                Err(Hold::Wait(until)) => due = due.into_iter().chain(until).min(),
                Err(hold) => {
                    self.leave_asking(id, name);
                    self.wait_for_api(id, name, hold);
                    return true;
                }
            }
        }
        if let Some(service) = self.services.get_mut(name) {
            service.due = due;
        }
        false
    }

    fn leave_asking(&mut self, id: JobId, name: &str) {
        if let Some(service) = self.services.get_mut(name) {
            service.asking.retain(|other| *other != id);
            if service.asking.is_empty() {
                service.due = None;
            }
        }
    }

    pub(super) fn stage_of(&self, id: JobId) -> Option<Stage> {
        let batch = self.batches.get(&id.batch)?;
        let job = batch.job(id.index)?;
        batch.stages_of(job).get(job.stage).cloned()
    }

    /// When somebody who waits for an API may ask.
    pub(super) fn next_ask(&self) -> Option<MonoMs> {
        if self.paused || self.draining || self.stopping || self.is_looking() {
            return None;
        }
        self.services.values().filter(|service| !service.asking.is_empty()).filter_map(|service| service.due).min()
    }

    /// A run's permit comes back, however it ended.
    pub(super) fn give_permit_back(&mut self, asked: Asked) {
        let Asked { provider, key, permit, call } = asked;
        let now = self.now;
        if let Some(api) = self.services.get_mut(&provider).and_then(|service| service.keys.get_mut(key)) {
            api.give_back(permit, call, now);
            self.write_used(&provider, key);
        }
    }

    fn write_used(&mut self, name: &str, key: usize) {
        if let Some(api) = self.services.get(name).and_then(|service| service.keys.get(key)) {
            self.changes.push(Change::ApiUsed(name.to_owned(), key as u32, api.used()));
        }
    }

    fn warn(&mut self, name: &str, key: usize) {
        let warning = self.services.get_mut(name).and_then(|service| service.keys.get_mut(key)).and_then(Api::warning);
        if let Some((made, most)) = warning {
            let which = if key > 0 { format!(" with key {}", key + 1) } else { String::new() };
            self.alert(format!(
                "the model API {name} was asked {made} of today's {most} times{which}; beyond that its work waits until 00:00 UTC"
            ));
        }
    }

    /// What a run says of its end, before its permit comes back. Gives what that adds to its job's figures.
    pub(super) fn note_call(&mut self, run: RunId, succeeded: bool, usage: Option<Usage>) -> Detail {
        let mut detail = Detail::default();
        let Some(known) = self.runs.get_mut(&run) else { return detail };
        let (job, took_ms) = (known.job, self.now.mono.since(known.since));
        let Some(asked) = &mut known.asked else { return detail };
        // Of one that failed nobody knows how often it asked.
        let calls = usage.map_or(u32::MAX, |usage| usage.calls);
        asked.call = Some(Call { succeeded, calls, took_ms, tokens: usage.map(Usage::tokens) });
        let Some(service) = self.services.get_mut(&asked.provider) else { return detail };
        let Some(usage) = usage else { return detail };
        service.tokens = service.tokens.max(usage.tokens()).min(u64::from(u32::MAX));
        let cost = service.price(usage);
        if let Some(cost) = cost {
            service.cost = Some(service.cost.unwrap_or(0.0).max(cost));
        }
        if let Some(batch) = self.batches.get_mut(&job.batch) {
            batch.cost += cost.unwrap_or(0.0);
            let before = batch.job(job.index).map(|job| job.open.detail.clone()).unwrap_or_default();
            let figures =
                [("api_calls", Some(f64::from(usage.calls))), ("tokens", Some(usage.tokens() as f64)), ("cost", cost)];
            for (name, more) in figures.into_iter().filter_map(|(name, more)| Some((name, more?))) {
                detail.figure(name, before.number(name).unwrap_or(0.0) + more);
            }
            self.dirty.insert(job.batch);
        }
        detail
    }

    /// A run's service has had enough of it: the key it was asked with is left alone. Gives whether the job waits for that instead of failing.
    pub(super) fn refused_by_api(&mut self, id: JobId, asked_key: Option<(String, usize)>, failure: &Failure) -> bool {
        let Some((name, key)) = asked_key else { return false };
        let now = self.now;
        let stopping = |id: JobId| {
            let job = self.batches.get(&id.batch).and_then(|batch| batch.job(id.index));
            job.is_none_or(|job| matches!(job.state, State::Stopping { .. }))
        };
        let stopping = stopping(id);
        let wait_ms = match failure.kind {
            FailureKind::Quota => failure.retry_after_ms.unwrap_or(SPENT_MS),
            FailureKind::RateLimited => failure.retry_after_ms.unwrap_or(0),
            _ => return false,
        };
        if let Some(api) = self.services.get_mut(&name).and_then(|service| service.keys.get_mut(key)) {
            api.be_silent(wait_ms, now);
        }
        if failure.kind != FailureKind::Quota || stopping {
            return false;
        }
        let Some(Ok(state)) = self
            .batches
            .get(&id.batch)
            .and_then(|batch| batch.job(id.index))
            .map(|job| job.state.after(Step::TryAgain))
        else {
            return false;
        };
        if let Some(batch) = self.batches.get_mut(&id.batch) {
            batch.change(id.index, |job| {
                job.state = state;
                job.worker = None;
            });
        }
        // With all keys spent its next try is parked; until then its reason stands with it.
        let left = self.services.get_mut(&name).map(|service| service.may(1, now));
        let until = match left {
            Some(Err(Wait::Until(until))) if until.since(now.mono) > PARKS_MS => until,
            Some(Err(Wait::Tomorrow { in_ms })) => now.mono.plus(in_ms.clamp(1, DAY_LOOK_MS)),
            _ => {
                if let Some(batch) = self.batches.get_mut(&id.batch) {
                    batch.change(id.index, |job| {
                        job.place = Place::Waiting;
                        job.open.attempts = job.open.attempts.saturating_sub(1);
                    });
                }
                self.dirty.insert(id.batch);
                self.touch(id.batch);
                return true;
            }
        };
        let number = self.close_api(&name, until, failure.clone());
        self.park(id, number, Some(failure.clone()));
        true
    }

    /// Which key a run asks with.
    pub(super) fn key_of(&self, run: RunId) -> Option<(String, usize)> {
        let asked = self.runs.get(&run)?.asked.as_ref()?;
        Some((asked.provider.clone(), asked.key))
    }

    /// Somebody wishes that an API is tried, whatever it has asked for.
    pub(super) fn ask_anyway(&mut self, name: &str) {
        if let Some(service) = self.services.get_mut(name) {
            service.keys.iter_mut().for_each(Api::try_anyway);
        }
    }

    /// What a job waits for that waits for an API.
    pub(super) fn asks(&self, id: JobId) -> Option<String> {
        let stage = self.stage_of(id)?;
        let (provider, _) = stage.api()?;
        let service = self.services.get(&provider.name)?;
        let when = match service.due.filter(|due| *due > self.now.mono) {
            Some(due) => format!("the next may go out in {:.0} s", due.since(self.now.mono) as f64 / 1e3),
            None => "the next goes out when one is over".to_owned(),
        };
        Some(format!(
            "it waits for its turn at the model API {}: {} of {} calls are under way, {when}",
            provider.name,
            service.under_way(),
            service.at_once()
        ))
    }

    /// Model APIs that are in use or have work waiting, as lanes.
    pub(super) fn api_lanes(&self) -> Vec<(String, u32, u32)> {
        let named: BTreeSet<&str> = self
            .batches
            .values()
            .flat_map(|batch| batch.spec.recipe.map.iter().chain(&batch.spec.recipe.gather))
            .filter_map(|stage| stage.api().map(|(provider, _)| provider.name.as_str()))
            .collect();
        let here = self.services.iter().filter(|(name, service)| {
            service.under_way() > 0 || service.keys.iter().any(|key| key.today().0 > 0) || named.contains(name.as_str())
        });
        here.map(|(name, service)| (format!("api:{name}"), service.under_way(), service.at_once())).collect()
    }

    /// Permits and runs are the same number, nobody waits who may go, and no limit is passed.
    pub(super) fn check_apis(&self) -> Result<(), String> {
        for (name, service) in &self.services {
            for (number, key) in service.keys.iter().enumerate() {
                let asked = |run: &&super::Run| {
                    run.asked
                        .as_ref()
                        .is_some_and(|asked| (asked.provider.as_str(), asked.key) == (name.as_str(), number))
                };
                let (runs, kept) = (self.runs.values().filter(asked).count() as u32, key.under_way());
                let at_once = key.at_once_most();
                if runs != kept || runs > at_once {
                    return Err(format!(
                        "API {name}: {runs} runs ask with key {number}, {kept} permits are out of {at_once}"
                    ));
                }
            }
            let halted = self.paused || self.draining || self.stopping || self.is_looking();
            if !halted && service.due.is_some_and(|due| due <= self.now.mono) && !service.asking.is_empty() {
                return Err(format!("API {name}: somebody waits whose time has come"));
            }
        }
        let asking = self.batches.values().flat_map(|batch| {
            batch
                .active
                .iter()
                .filter(|index| batch.job(**index).is_some_and(|job| job.place == Place::Asking))
                .map(|index| batch.job_id(*index))
        });
        for id in asking {
            if !self.services.values().any(|service| service.asking.contains(&id)) {
                return Err(format!("job {id} waits for an API that doesn't know of it"));
            }
        }
        Ok(())
    }
}
