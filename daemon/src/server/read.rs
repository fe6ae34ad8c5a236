//! Answers from the store, with the few things that are open laid over them. Never touches the conductor's turn but for that overlay.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;
use spindle_core::cache;
use spindle_core::effect::{Answer, Command, Peer, RetryItem};
use spindle_shared::batch::BatchView;
use spindle_shared::id::{BatchId, ContentHash, JobId, Owner, Target};
use spindle_shared::job::{Input, JobState, JobView};
use spindle_shared::lane::Lane;
use spindle_shared::limits;
use spindle_shared::snapshot::Snapshot;
use spindle_shared::time::WallMs;
use spindle_shared::wire::codec;
use spindle_shared::wire::request::{BatchFilter, Scope, Selection};
use spindle_shared::wire::response::{
    DeviceView, Explanation, Health, HouseView, Refusal, RefusalKind, Response, WorkerView,
};
use tokio::sync::oneshot;

use super::House;
use super::connection::Broken;
use crate::inbox::Message;
use crate::store::StoreError;
use crate::telemetry;

/// Of the daemon itself; what may be told of the answer, whoever asked for it knows.
const LOOKER: Peer = Peer { owner: Owner(0), admin: true };

/// Runs a read of the store off the runtime's threads.
pub async fn on_store<T: Send + 'static>(
    house: &Arc<House>,
    read: impl FnOnce(&House) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, Broken> {
    let house = Arc::clone(house);
    match tokio::task::spawn_blocking(move || read(&house)).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => {
            tracing::error!("failed to read the queue: {error}");
            Err(Broken::Io(std::io::Error::other(error.to_string())))
        }
        Err(_) => Err(Broken::Stopping),
    }
}

async fn overlay(
    house: &House,
    batches: Option<Vec<BatchId>>,
    jobs: bool,
) -> Result<(HashMap<BatchId, BatchView>, Vec<JobView>), Broken> {
    match house.inbox.ask(LOOKER, Command::Overlay { batches, jobs }).await? {
        Answer::Overlay { batches, jobs } => Ok((batches.into_iter().map(|view| (view.id, view)).collect(), jobs)),
        _ => Ok((HashMap::new(), Vec::new())),
    }
}

fn fits(view: &BatchView, peer: Peer, filter: &BatchFilter) -> bool {
    peer.sees(view.owner)
        && (filter.states.is_empty() || filter.states.contains(&view.state))
        && filter.recipe.as_ref().is_none_or(|recipe| *recipe == view.recipe)
        && filter.owner.is_none_or(|owner| owner == view.owner.0)
        && filter.tags.iter().all(|tag| view.tags.contains(tag))
}

/// Two chunks and what stands around them fit into one frame.
const CHUNK_BYTES: usize = limits::FRAME_BYTES_MAX / 4;

/// Rows in chunks that fit into a frame each, however long their names.
fn chunked<T: Serialize>(rows: impl IntoIterator<Item = T>) -> Vec<Vec<T>> {
    let (mut chunks, mut chunk, mut bytes) = (Vec::new(), Vec::new(), 0);
    for row in rows {
        let more = codec::encode(&row).len();
        if !chunk.is_empty() && (chunk.len() == limits::ROWS_PER_FRAME_MAX || bytes + more > CHUNK_BYTES) {
            chunks.push(std::mem::take(&mut chunk));
            bytes = 0;
        }
        bytes += more;
        chunk.push(row);
    }
    if !chunk.is_empty() {
        chunks.push(chunk);
    }
    chunks
}

pub fn in_frames<T: Serialize>(rows: Vec<T>, frame: impl Fn(Vec<T>) -> Response) -> Vec<Response> {
    chunked(rows).into_iter().map(frame).chain([Response::End]).collect()
}

/// A snapshot in frames: first what fits, then the other batches, then the other jobs.
pub fn snapshot_in_frames(mut snapshot: Snapshot) -> Vec<Response> {
    let mut batches = chunked(std::mem::take(&mut snapshot.batches).into_values()).into_iter();
    let mut jobs = chunked(std::mem::take(&mut snapshot.jobs).into_values()).into_iter();
    snapshot.batches = batches.next().into_iter().flatten().map(|view| (view.id, view)).collect();
    snapshot.jobs = jobs.next().into_iter().flatten().map(|view| (view.id, view)).collect();
    let first = Response::Snapshot(Box::new(snapshot));
    std::iter::once(first).chain(batches.map(Response::Batches)).chain(jobs.map(Response::Jobs)).collect()
}

fn not_found(what: impl std::fmt::Display) -> Vec<Response> {
    vec![Response::Refused(Refusal::new(RefusalKind::NotFound, format!("there is no {what}")))]
}

pub async fn list(house: &Arc<House>, peer: Peer, filter: BatchFilter, limit: u32) -> Result<Vec<Response>, Broken> {
    let (open, _) = overlay(house, None, false).await?;
    let rows = on_store(house, move |house| {
        let live = |view: &BatchView| open.get(&view.id).cloned();
        let rows = house.reader.batches(limit as usize, |view| {
            live(view).map_or_else(|| fits(view, peer, &filter), |view| fits(&view, peer, &filter))
        })?;
        Ok(rows.into_iter().map(|view| live(&view).unwrap_or(view)).collect::<Vec<_>>())
    })
    .await?;
    Ok(in_frames(rows, Response::Batches))
}

pub async fn stores(house: &Arc<House>) -> Result<Vec<Response>, Broken> {
    let views = on_store(house, |house| Ok(house.config.get().store_views(&house.reader.stores()?))).await?;
    Ok(vec![Response::Stores(views), Response::End])
}

pub async fn batches(house: &Arc<House>, ids: Vec<BatchId>) -> Result<Vec<Response>, Broken> {
    let (mut open, _) = overlay(house, Some(ids.clone()), false).await?;
    let rows = on_store(house, move |house| {
        ids.into_iter()
            .map(|id| Ok((id, open.remove(&id).map_or_else(|| house.reader.batch(id), |view| Ok(Some(view)))?)))
            .collect::<Result<Vec<_>, StoreError>>()
    })
    .await?;
    match rows.iter().find(|(_, view)| view.is_none()) {
        Some((id, _)) => Ok(not_found(format_args!("batch {id}"))),
        None => Ok(in_frames(rows.into_iter().filter_map(|(_, view)| view).collect(), Response::Batches)),
    }
}

/// A job as the store has it, under what is known of it while it is open. What has ended in between has ended.
fn laid_over(stored: JobView, open: &BTreeMap<JobId, JobView>) -> JobView {
    if stored.state.is_terminal() {
        return stored;
    }
    match open.get(&stored.id) {
        Some(live) => JobView { input: stored.input, ..live.clone() },
        None => stored,
    }
}

pub async fn jobs(
    house: &Arc<House>,
    batch: BatchId,
    states: Vec<JobState>,
    from: u32,
    limit: u32,
) -> Result<Vec<Response>, Broken> {
    let (open, active) = overlay(house, Some(vec![batch]), true).await?;
    let active: BTreeMap<JobId, JobView> = active.into_iter().map(|view| (view.id, view)).collect();
    let known =
        on_store(house, move |house| Ok(open.contains_key(&batch) || house.reader.batch(batch)?.is_some())).await?;
    if !known {
        return Ok(not_found(format_args!("batch {batch}")));
    }
    let rows = on_store(house, move |house| {
        if states.iter().all(|state| state.is_terminal()) {
            return Ok(house
                .reader
                .jobs(batch, &states, from, limit)?
                .into_iter()
                .map(|view| laid_over(view, &active))
                .collect());
        }
        // Which open state a job shows is known only with the overlay: page through until enough fit.
        let (mut rows, mut next) = (Vec::new(), from);
        loop {
            let page = house.reader.jobs(batch, &[], next, PAGE)?;
            let Some(last) = page.last().map(|view| view.id.index) else { break };
            next = last.saturating_add(1);
            let full = page.len() < PAGE as usize;
            rows.extend(
                page.into_iter()
                    .map(|view| laid_over(view, &active))
                    .filter(|view| states.is_empty() || states.contains(&view.state)),
            );
            if full || rows.len() >= limit as usize {
                break;
            }
        }
        rows.truncate(limit as usize);
        Ok(rows)
    })
    .await?;
    Ok(in_frames(rows, Response::Jobs))
}

const PAGE: u32 = 5_000;

pub async fn job(house: &Arc<House>, job: JobId) -> Result<Vec<Response>, Broken> {
    let (_, active) = overlay(house, Some(vec![job.batch]), true).await?;
    let active: BTreeMap<JobId, JobView> = active.into_iter().map(|view| (view.id, view)).collect();
    let stored = on_store(house, move |house| house.reader.job(job)).await?;
    Ok(match stored {
        Some(stored) => vec![Response::Jobs(vec![laid_over(stored, &active)]), Response::End],
        None => not_found(format_args!("job {job}")),
    })
}

pub async fn failures(house: &Arc<House>, peer: Peer, limit: u32) -> Result<Vec<Response>, Broken> {
    let rows = on_store(house, move |house| house.reader.failures(limit as usize, peer.only())).await?;
    Ok(in_frames(rows, Response::Jobs))
}

pub async fn models(house: &Arc<House>) -> Result<Vec<Response>, Broken> {
    let rows = on_store(house, |house| Ok(crate::models::list(&house.model_dir))).await?;
    Ok(in_frames(rows, Response::Models))
}

pub fn workers(house: &House, peer: Peer) -> Vec<Response> {
    let mut views = worker_views(house);
    if !peer.admin {
        // Whose work they do is nobody else's business.
        views.iter_mut().for_each(|view| view.runs.clear());
    }
    in_frames(views, Response::Workers)
}

fn worker_views(house: &House) -> Vec<WorkerView> {
    (house.workers)()
        .into_iter()
        .map(|view| WorkerView {
            id: view.worker.to_string(),
            role: view.role.name().to_owned(),
            pid: view.pid.unwrap_or(0),
            model: view.model.map(|model| model.to_string()),
            runs: view.runs,
            runs_done: u64::from(view.runs_done),
            resident_bytes: view.resident_bytes.unwrap_or(0),
            device: view.device.map(|number| Lane::Gpu(number).to_string()),
        })
        .collect()
}

/// What the conductor has counted, what it says of the house, and what can be looked at without it.
pub async fn metrics(house: &Arc<House>) -> Result<Vec<Response>, Broken> {
    let (reply, tally) = oneshot::channel();
    house.inbox.send(Message::Tally(reply)).await?;
    let tally = tally.await.map_err(|_| Broken::Stopping)?;
    let (reply, vitals) = oneshot::channel();
    house.inbox.send(Message::Vitals(reply)).await?;
    let vitals = vitals.await.map_err(|_| Broken::Stopping)?;
    let Answer::Frames(frames) = house.inbox.ask(LOOKER, Command::House).await? else {
        return Ok(vec![Response::End]);
    };
    let view = frames.into_iter().find_map(|frame| if let Response::House(view) = frame { Some(view) } else { None });
    let Some(view) = view else { return Ok(vec![Response::End]) };
    let metrics = on_store(house, move |house| {
        let (workers, firing) = (worker_views(house), house.firing.views());
        Ok(telemetry::metrics(&tally, vitals, &view, &workers, &firing, house.reader.disk()))
    })
    .await?;
    Ok(in_frames(metrics, Response::Metrics))
}

pub async fn stats(house: &Arc<House>, peer: Peer, since: WallMs) -> Result<Vec<Response>, Broken> {
    let stats = on_store(house, move |house| house.reader.stats(since, peer.only())).await?;
    Ok(vec![Response::Stats(Box::new(stats)), Response::End])
}

pub async fn health(house: &Arc<House>, peer: Peer) -> Result<Vec<Response>, Broken> {
    let mut checks = Vec::new();
    let conductor =
        tokio::time::timeout(std::time::Duration::from_secs(5), house.inbox.ask(LOOKER, Command::House)).await;
    let mut cards = None;
    checks.push(match conductor {
        Ok(Ok(Answer::Frames(frames))) => {
            cards =
                frames.iter().find_map(|frame| if let Response::House(view) = frame { cards_of(view) } else { None });
            ("scheduler".to_owned(), true, "answers".to_owned())
        }
        _ => ("scheduler".to_owned(), false, "does not answer within 5 s".to_owned()),
    });
    let store = on_store(house, |house| house.reader.batches(1, |_| true).map(|_| ())).await;
    checks.push((
        "store".to_owned(),
        store.is_ok(),
        if store.is_ok() { "readable" } else { "not readable" }.to_owned(),
    ));
    let models = on_store(house, |house| Ok(crate::models::list(&house.model_dir))).await?;
    let installed = models.iter().filter(|model| model.path.is_some()).count();
    // A house without a model of speech is not ill: it serves everything else.
    checks.push(("models".to_owned(), true, format!("{installed} installed")));
    let processes = (house.workers)().len();
    checks.push(("workers".to_owned(), true, format!("{processes} running")));
    // An alert is something a person should look at, so all is not well.
    let firing = house.firing.views().into_iter().map(|alert| {
        // It may speak of anybody's work.
        let text = if peer.admin { alert.text } else { "administrators are told more".to_owned() };
        (format!("alert {}", alert.rule), false, text)
    });
    checks.extend(firing);
    // Without them all is done all the same, only slower.
    checks.extend(cards.map(|cards| ("graphics cards".to_owned(), true, cards)));
    let unwell = house.folders.troubles().into_iter().map(|(id, trouble)| (format!("folder {id}"), false, trouble));
    checks.extend(unwell);
    let healthy = checks.iter().all(|(_, well, _)| *well);
    let version = env!("CARGO_PKG_VERSION").to_owned();
    Ok(vec![Response::Health(Health { healthy, version, checks }), Response::End])
}

/// How the graphics cards stand; `None` = nobody asked for any.
fn cards_of(view: &HouseView) -> Option<String> {
    if let Some(why) = &view.no_device {
        return Some(format!("none, the processor does their work: {why}"));
    }
    let one = |card: &DeviceView| {
        let closed = card.closed.as_ref().map_or(String::new(), |why| format!(", left alone for a while: {why}"));
        format!("{} {} ({}/{} MiB{closed})", card.lane, card.name, card.used_mib, card.memory_mib)
    };
    let told = view.devices.iter().map(one).collect::<Vec<_>>().join("; ");
    Some(told).filter(|told| !told.is_empty())
}

pub async fn explain(house: &Arc<House>, peer: Peer, target: Target) -> Result<Vec<Response>, Broken> {
    if let Answer::Frames(frames) = house.inbox.ask(peer, Command::Explain(target)).await?
        && !matches!(frames.first(), Some(Response::Refused(_)))
    {
        return Ok(frames);
    }
    let explanation = on_store(house, move |house| {
        Ok(match target {
            Target::Batch(id) => house.reader.batch(id)?.map(|view| {
                let counts = view.counts;
                let why = format!(
                    "it has ended: {} completed, {} skipped, {} failed, {} cancelled",
                    counts.completed, counts.skipped, counts.failed, counts.cancelled
                );
                let advice = (counts.failed + counts.cancelled > 0).then(|| {
                    format!(
                        "`spindlectl jobs {id} --state failed` lists them; `spindlectl retry {id}` tries them again"
                    )
                });
                Explanation { target, state: view.state.name().to_owned(), why, advice }
            }),
            Target::Job(id) => house.reader.job(id)?.map(|view| {
                let (why, advice) = match (&view.failure, &view.skipped_reason) {
                    (Some(failure), _) => (failure.to_string(), Some(failure.advice.clone())),
                    (None, Some(reason)) => {
                        (format!("skipped: {reason}"), Some("--force does it all the same".to_owned()))
                    }
                    (None, None) if view.state == JobState::Cancelled => {
                        ("it was cancelled".to_owned(), Some(format!("`spindlectl retry {id}` queues it again")))
                    }
                    (None, None) if view.detail.notes.is_empty() => ("it ended well".to_owned(), None),
                    (None, None) => (format!("it ended well; {}", view.detail.notes.join("; ")), None),
                };
                Explanation { target, state: view.state.name().to_owned(), why, advice }
            }),
        })
    })
    .await?;
    Ok(match explanation {
        Some(explanation) => vec![Response::Explained(vec![explanation]), Response::End],
        None => not_found(match target {
            Target::Batch(id) => format!("batch {id}"),
            Target::Job(id) => format!("job {id}"),
        }),
    })
}

/// The batches a selection means, closed ones included.
async fn selected(
    house: &Arc<House>,
    peer: Peer,
    what: Selection,
    states: fn(&BatchView) -> bool,
) -> Result<Vec<Target>, Broken> {
    match what {
        Selection::House => Ok(Vec::new()),
        Selection::Targets(targets) => Ok(targets),
        Selection::Matching(filter) => {
            let (open, _) = overlay(house, None, false).await?;
            let views = on_store(house, move |house| {
                house.reader.batches(limits::TARGETS_MAX, |view| {
                    let view = open.get(&view.id).unwrap_or(view);
                    states(view) && fits(view, peer, &filter)
                })
            })
            .await?;
            Ok(views.into_iter().map(|view| Target::Batch(view.id)).collect())
        }
    }
}

fn check_targets(targets: &[Target]) -> Result<(), Refusal> {
    if targets.is_empty() {
        return Err(Refusal::new(RefusalKind::NotFound, "no batch fits").hint("`spindlectl list` shows what there is"));
    }
    if targets.len() > limits::TARGETS_MAX {
        return Err(Refusal::new(
            RefusalKind::Limit,
            format!("{} ids are more than {}", targets.len(), limits::TARGETS_MAX),
        ));
    }
    Ok(())
}

pub async fn retry_items(
    house: &Arc<House>,
    peer: Peer,
    what: Selection,
) -> Result<Result<Vec<RetryItem>, Refusal>, Broken> {
    let targets = selected(house, peer, what, |view| {
        view.counts.failed + view.counts.cancelled > 0
            || matches!(view.gather, Some(JobState::Failed | JobState::Cancelled))
    })
    .await?;
    if let Err(refusal) = check_targets(&targets) {
        return Ok(Err(refusal));
    }
    on_store(house, move |house| {
        let mut wanted: BTreeMap<BatchId, Option<Vec<u32>>> = BTreeMap::new();
        for target in targets {
            match target {
                Target::Batch(id) => {
                    wanted.insert(id, None);
                }
                Target::Job(job) => {
                    if let Some(jobs) = wanted.entry(job.batch).or_insert_with(|| Some(Vec::new())) {
                        jobs.push(job.index);
                    }
                }
            }
        }
        let mut items = Vec::new();
        for (id, only) in wanted {
            let Some(batch) = house.reader.recovered(id)? else {
                return Ok(Err(Refusal::new(RefusalKind::NotFound, format!("there is no batch {id}"))));
            };
            let bad = [JobState::Failed, JobState::Cancelled];
            let inputs = house.reader.jobs(id, &bad, 1, u32::MAX)?;
            let gather = house.reader.job(JobId::gather(id))?.filter(|view| bad.contains(&view.state));
            let jobs: Vec<(u32, JobState)> = inputs
                .into_iter()
                .chain(gather)
                .map(|view| (view.id.index, view.state))
                .filter(|(index, _)| only.as_ref().is_none_or(|only| only.contains(index)))
                .collect();
            if let Some(index) = only.iter().flatten().find(|index| !jobs.iter().any(|(job, _)| job == *index)) {
                let job = JobId { batch: id, index: *index };
                let message = format!("job {job} has neither failed nor been cancelled");
                return Ok(Err(Refusal::new(RefusalKind::WrongState, message)));
            }
            if jobs.is_empty() {
                let message = format!("batch {id} has no failed or cancelled job");
                return Ok(Err(Refusal::new(RefusalKind::WrongState, message)));
            }
            items.push(RetryItem { batch, jobs });
        }
        Ok(Ok(items))
    })
    .await
}

pub async fn remove_items(
    house: &Arc<House>,
    peer: Peer,
    what: Selection,
) -> Result<Result<Vec<(BatchId, Option<Owner>)>, Refusal>, Broken> {
    let targets = selected(house, peer, what, |view| view.state.is_terminal()).await?;
    if let Err(refusal) = check_targets(&targets) {
        return Ok(Err(refusal));
    }
    on_store(house, move |house| {
        let mut items = Vec::new();
        for target in targets {
            let Target::Batch(id) = target else {
                return Ok(Err(Refusal::new(RefusalKind::Usage, "remove works on batches, not on single jobs")));
            };
            items.push((id, house.reader.batch(id)?.map(|view| view.owner)));
        }
        Ok(Ok(items))
    })
    .await
}

/// Where everything that was made for these batches lies, as far as their inputs are known by content.
pub async fn addresses_of(house: &Arc<House>, ids: Vec<BatchId>) -> Result<Vec<ContentHash>, Broken> {
    on_store(house, move |house| {
        let mut addresses = Vec::new();
        for id in ids {
            let Some(batch) = house.reader.recovered(id)? else { continue };
            for index in 1..=batch.total {
                let Some(spec) = house.reader.job_spec(JobId { batch: id, index })? else { continue };
                let job = JobId { batch: id, index };
                let content = match &spec.input {
                    Input::File { identity, .. } => house.reader.content_of(identity)?,
                    Input::Url(_) => {
                        let address = cache::fetched(job);
                        addresses.push(address);
                        house.reader.artifact(&address)?.and_then(|found| cache::fetched_content(&found.files))
                    }
                    Input::Name(_) => None,
                };
                let Some(content) = content else { continue };
                let stages = spec.stages.as_deref().unwrap_or(&batch.spec.recipe.map);
                addresses.extend(cache::addresses(job, stages, content).into_iter().flatten());
            }
        }
        Ok(addresses)
    })
    .await
}

/// Where the spool has what belongs to these batches: known only as long as they are.
pub async fn spool_folders(house: &Arc<House>, ids: Vec<BatchId>) -> Result<Vec<(Owner, PathBuf)>, Broken> {
    if house.spool.is_none() {
        return Ok(Vec::new());
    }
    on_store(house, move |house| {
        let mut folders = Vec::new();
        for id in ids {
            let (Some(spool), Some(batch)) = (&house.spool, house.reader.recovered(id)?) else { continue };
            folders.extend(batch.spec.key.map(|key| (batch.owner, spool.folder(batch.owner, &key))));
        }
        Ok(folders)
    })
    .await
}

pub async fn clear_spool(house: &Arc<House>, folders: Vec<(Owner, PathBuf)>) -> Result<(), Broken> {
    on_store(house, move |house| {
        for (owner, folder) in folders {
            house.spool.iter().for_each(|spool| spool.drop_batch(owner, &folder));
        }
        Ok(())
    })
    .await
}

pub async fn first_missing(house: &Arc<House>, ids: &[BatchId]) -> Result<Option<BatchId>, Broken> {
    let ids = ids.to_vec();
    on_store(house, move |house| {
        for id in ids {
            if house.reader.batch(id)?.is_none() {
                return Ok(Some(id));
            }
        }
        Ok(None)
    })
    .await
}

/// Fills a watcher's snapshot with what is not open: ended batches asked for by name, and jobs up to the window.
pub async fn complete_snapshot(
    house: &Arc<House>,
    snapshot: &mut Snapshot,
    active: Vec<JobView>,
    scope: &Scope,
    limit: u32,
) -> Result<(), Broken> {
    let (ids, from, len) = match scope {
        Scope::House | Scope::Overview => (Vec::new(), 1, limit),
        Scope::Batches(ids) => (ids.clone(), 1, limit),
        Scope::Window { batch, from, len } => (vec![*batch], *from, *len),
    };
    let window = matches!(scope, Scope::Window { .. });
    let open: BTreeMap<JobId, JobView> = active.into_iter().map(|view| (view.id, view)).collect();
    let known: Vec<BatchId> = snapshot.batches.keys().copied().collect();
    let (batches, jobs) = on_store(house, move |house| {
        let mut batches = Vec::new();
        let mut jobs: BTreeMap<JobId, JobView> = BTreeMap::new();
        for id in &ids {
            if !known.contains(id) {
                batches.extend(house.reader.batch(*id)?);
            }
            let mut rows = house.reader.jobs(*id, &[], from, len)?;
            if window {
                rows.extend(house.reader.jobs(*id, &[JobState::Failed], 1, len)?);
            }
            jobs.extend(rows.into_iter().map(|view| (view.id, laid_over(view, &open))));
        }
        // Those at work belong to it wherever they stand; of what waits for its next try there may be many.
        let mut room = len;
        for (id, live) in &open {
            let at_work = live.state == JobState::Running;
            if (window && !at_work && room == 0) || len == 0 || jobs.contains_key(id) {
                continue;
            }
            if let Some(stored) = house.reader.job(*id)? {
                room = room.saturating_sub(u32::from(!at_work));
                jobs.insert(*id, JobView { input: stored.input, ..live.clone() });
            }
        }
        Ok((batches, jobs))
    })
    .await?;
    snapshot.batches.extend(batches.into_iter().map(|view| (view.id, view)));
    snapshot.jobs = jobs;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_go_into_frames_that_fit_however_long_they_are() {
        for (count, bytes) in [(2_500, 1), (2_500, 1_000), (20, CHUNK_BYTES / 3), (3, CHUNK_BYTES + 1)] {
            let rows = vec!["x".repeat(bytes); count];
            let chunks = chunked(rows.clone());
            assert!(chunks.iter().all(|chunk| chunk.len() <= limits::ROWS_PER_FRAME_MAX), "{bytes}");
            assert!(chunks.iter().all(|chunk| codec::encode(chunk).len() <= limits::FRAME_BYTES_MAX / 2), "{bytes}");
            assert_eq!(chunks.concat(), rows, "{bytes}");
        }
    }
}
