//! One client's session: hello, one request, its answer. A session waits as long as it must; the conductor never waits for it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use interprocess::local_socket::tokio::{Stream, prelude::*};
use spindle_core::effect::{Answer, Command, Peer};
use spindle_shared::event::{Event, Fact};
use spindle_shared::id::{BatchId, Owner};
use spindle_shared::limits;
use spindle_shared::snapshot::Snapshot;
use spindle_shared::wire::hello::{BadHello, Hello};
use spindle_shared::wire::request::{Request, Scope, Selection};
use spindle_shared::wire::response::{Refusal, RefusalKind, Response};
use tokio::sync::oneshot;

use super::connection::{Broken, Connection, frame_of};
use super::watch::{Watcher, Window};
use super::{House, chores, folders, logs, read, rights, submit, transfer};
use crate::inbox::Message;
use crate::profiles;
use crate::providers::Provider;

pub async fn run(stream: Stream, house: &Arc<House>) -> Result<(), Broken> {
    let user = stream.peer_creds()?.euid().ok_or_else(|| Broken::Garbage("it has no credentials".to_owned()))?;
    let Some(_guest) = house.users.enter(user) else { return Err(Broken::Crowd) };
    let peer = house.users.peer(user).await;
    let mut connection = Connection::new(stream);
    let patience = Duration::from_millis(limits::HELLO_TIMEOUT_MS);
    let hello: Hello = connection.receive(Some(patience)).await?;
    connection.send(&Hello::ours()).await?;
    let stranger = match hello.check("client") {
        Err(bad @ BadHello::NotSpindle) => return Err(Broken::Garbage(bad.to_string())),
        other => other.err(),
    };
    let request: Request = connection.receive(Some(patience)).await?;
    if let Some(bad) = stranger.filter(|_| !is_frozen(&request)) {
        // The client reads our hello and says the same to its user.
        return Err(Broken::Garbage(bad.to_string()));
    }
    if let Some(refusal) = rights::refusal(house, peer, &request).await? {
        return send_all(&mut connection, house, vec![Response::Refused(refusal)]).await;
    }
    match request {
        Request::Watch { scope, jobs } => watch(&mut connection, house, peer, scope, jobs).await,
        Request::Logs { of, lines, follow } => {
            logs::show(&mut connection, house, peer, logs::Logs { of, lines, follow }).await
        }
        Request::Submit { spec, total, dry_run } => {
            let frames = match submit::receive(&mut connection, total).await? {
                Ok(inputs) => submit::submit(house, peer, *spec, inputs, dry_run).await?,
                Err(refusal) => vec![Response::Refused(refusal)],
            };
            send_all(&mut connection, house, frames).await
        }
        Request::Upload(upload) => transfer::receive(&mut connection, house, peer, upload).await,
        Request::Fetch { job, output } => transfer::send(&mut connection, house, job, output).await,
        other => {
            let frames = tokio::select! {
                frames = answer(house, peer, other) => frames?,
                // Nobody is left to be answered; what was asked for is done all the same.
                () = connection.closed() => return Err(Broken::Closed),
            };
            send_all(&mut connection, house, frames).await
        }
    }
}

/// What a client of any protocol number may ask.
fn is_frozen(request: &Request) -> bool {
    matches!(request, Request::Health | Request::Drain | Request::Shutdown)
}

async fn send_all(connection: &mut Connection, house: &House, mut frames: Vec<Response>) -> Result<(), Broken> {
    for frame in &mut frames {
        if let Some(spool) = &house.spool {
            spool.show(frame);
        }
        connection.put(&frame_of(frame)).await?;
    }
    connection.flush().await?;
    match frames.last() {
        Some(Response::End | Response::Refused(_)) => Ok(()),
        _ => connection.send(&Response::End).await,
    }
}

async fn answer(house: &Arc<House>, peer: Peer, request: Request) -> Result<Vec<Response>, Broken> {
    let command = match request {
        Request::Health => return read::health(house, peer).await,
        Request::List { filter, limit } => return read::list(house, peer, filter, limit).await,
        Request::Batches(ids) => return read::batches(house, ids).await,
        Request::Jobs { batch, states, from, limit } => return read::jobs(house, batch, states, from, limit).await,
        Request::Job(job) => return read::job(house, job).await,
        Request::Failures { limit } => return read::failures(house, peer, limit).await,
        Request::Models => return read::models(house).await,
        Request::Providers => {
            let views = house.config.get().providers().iter().map(Provider::view).collect();
            return Ok(vec![Response::Providers(views), Response::End]);
        }
        Request::Stores => return read::stores(house).await,
        Request::Profiles => {
            return Ok(vec![Response::Profiles(profiles::all(&house.config.get().profiles())), Response::End]);
        }
        Request::Workers => return Ok(read::workers(house, peer)),
        Request::Metrics => return read::metrics(house).await,
        Request::Backup(path) => return chores::back_up(house, path).await,
        Request::Collect { dry_run } => return chores::collect(house, dry_run).await,
        Request::Reload => return chores::reload(house).await,
        Request::Folders => return folders::list(house, peer).await,
        Request::FolderAdd { path, working, arguments, extensions, recursive } => {
            let wanted = folders::Wanted { path, working, arguments, extensions, recursive };
            return folders::add(house, peer, wanted).await;
        }
        Request::FolderRemove(ids) => return folders::remove(house, peer, ids).await,
        Request::Stats { since } => return read::stats(house, peer, since).await,
        Request::Explain(target) => return read::explain(house, peer, target).await,
        Request::Retry(what) => match read::retry_items(house, peer, what).await? {
            Ok(items) => Command::Retry(items),
            Err(refusal) => return Ok(vec![Response::Refused(refusal)]),
        },
        Request::Remove { what, purge } => match read::remove_items(house, peer, what).await? {
            Ok(items) => return remove(house, peer, items, purge).await,
            Err(refusal) => return Ok(vec![Response::Refused(refusal)]),
        },
        Request::House => Command::House,
        Request::Drain => Command::Drain,
        Request::Shutdown => Command::Shutdown,
        Request::Cancel(what) => Command::Cancel(what),
        Request::Pause { what, now } => Command::Pause { what, now },
        Request::Resume(what) => Command::Resume(what),
        Request::Prioritize { what, priority } => Command::Prioritize { what, priority },
        Request::Spool => {
            let view = house.spool.as_ref().map(|spool| spool.view(peer));
            return Ok(vec![Response::Spool(view), Response::End]);
        }
        Request::Submit { .. } | Request::Inputs(_) | Request::Watch { .. } | Request::Logs { .. } => {
            return Err(Broken::Garbage("inputs without a submission".to_owned()));
        }
        Request::Upload(_) | Request::Piece(_) | Request::Sent(_) | Request::Fetch { .. } => {
            return Err(Broken::Garbage("a piece without a file".to_owned()));
        }
    };
    if let Some(refusal) = too_many(&command) {
        return Ok(vec![Response::Refused(refusal)]);
    }
    match house.inbox.ask(peer, command).await? {
        Answer::Frames(frames) => Ok(frames),
        Answer::Overlay { .. } | Answer::Watching { .. } => Ok(vec![Response::End]),
    }
}

/// Forgets batches, and then what was made for them; the addresses are known only as long as the batches are.
async fn remove(
    house: &Arc<House>,
    peer: Peer,
    items: Vec<(BatchId, Option<Owner>)>,
    purge: bool,
) -> Result<Vec<Response>, Broken> {
    let folders = read::spool_folders(house, items.iter().map(|(id, _)| *id).collect()).await?;
    let addresses =
        if purge { read::addresses_of(house, items.iter().map(|(id, _)| *id).collect()).await? } else { Vec::new() };
    let answer = house.inbox.ask(peer, Command::Remove(items)).await?;
    let Answer::Frames(frames) = answer else { return Ok(vec![Response::End]) };
    if matches!(frames.first(), Some(Response::Refused(_))) {
        return Ok(frames);
    }
    if purge {
        house.inbox.ask(peer, Command::Purge(addresses)).await?;
    }
    read::clear_spool(house, folders).await?;
    Ok(frames)
}

fn too_many(command: &Command) -> Option<Refusal> {
    let (Command::Cancel(what)
    | Command::Pause { what, .. }
    | Command::Resume(what)
    | Command::Prioritize { what, .. }) = command
    else {
        return None;
    };
    let Selection::Targets(targets) = what else { return None };
    (targets.len() > limits::TARGETS_MAX).then(|| {
        Refusal::new(RefusalKind::Limit, format!("{} ids are more than {}", targets.len(), limits::TARGETS_MAX))
    })
}

/// A snapshot, then every event of the scope until somebody hangs up.
async fn watch(
    connection: &mut Connection,
    house: &Arc<House>,
    peer: Peer,
    scope: Scope,
    jobs: u32,
) -> Result<(), Broken> {
    if let Scope::Window { len, .. } = scope
        && len > limits::WINDOW_JOBS_MAX
    {
        let message = format!("a window of {len} jobs is longer than {}", limits::WINDOW_JOBS_MAX);
        return send_all(connection, house, vec![Response::Refused(Refusal::new(RefusalKind::Limit, message))]).await;
    }
    let named = match &scope {
        Scope::House | Scope::Overview => Vec::new(),
        Scope::Batches(ids) => ids.clone(),
        Scope::Window { batch, .. } => vec![*batch],
    };
    if let Some(missing) = read::first_missing(house, &named).await? {
        let refusal = Refusal::new(RefusalKind::NotFound, format!("there is no batch {missing}"));
        return send_all(connection, house, vec![Response::Refused(refusal)]).await;
    }
    let watcher = Arc::new(Watcher::new(scope.clone(), peer.only()));
    let (reply, answer) = oneshot::channel();
    house.inbox.send(Message::Watch { peer, watcher: Arc::clone(&watcher), reply }).await?;
    let result = watched(connection, house, &watcher, answer, &scope, jobs).await;
    watcher.close();
    result
}

async fn watched(
    connection: &mut Connection,
    house: &Arc<House>,
    watcher: &Watcher,
    answer: oneshot::Receiver<Answer>,
    scope: &Scope,
    jobs: u32,
) -> Result<(), Broken> {
    let Ok(Answer::Watching { seq, paused, batches, jobs: active, alerts }) = answer.await else {
        return Err(Broken::Stopping);
    };
    let mut snapshot = Snapshot {
        seq,
        paused,
        batches: batches.into_iter().map(|view| (view.id, view)).collect(),
        jobs: BTreeMap::new(),
        alerts,
    };
    read::complete_snapshot(house, &mut snapshot, active, scope, jobs).await?;
    tracing::debug!(batches = snapshot.batches.len(), "a watcher came");
    let mut window = Window::of(scope, &snapshot);
    let pace = matches!(scope, Scope::Overview | Scope::Window { .. });
    for mut frame in read::snapshot_in_frames(snapshot) {
        if let Some(spool) = &house.spool {
            spool.show(&mut frame);
        }
        connection.put(&frame_of(&frame)).await?;
    }
    connection.flush().await?;
    loop {
        let events = tokio::select! {
            events = watcher.next() => events,
            () = connection.closed() => return Err(Broken::Closed),
        };
        let Some(mut events) = events else {
            let lagged = Event { seq: u64::MAX, time: spindle_shared::time::WallMs(0), fact: Fact::Lagged };
            return connection.send(&Response::Event(Box::new(lagged))).await;
        };
        if let Some(window) = &mut window {
            events.retain(|told| window.shows(&told.event.fact));
        }
        for told in events {
            connection.put(told.frame()).await?;
        }
        connection.flush().await?;
        if pace {
            // What comes meanwhile goes together: no screen shows more, and a burst of ends costs no burst of frames.
            tokio::select! {
                () = tokio::time::sleep(Duration::from_millis(limits::SCREEN_PACE_MS)) => {}
                () = connection.closed() => return Err(Broken::Closed),
            }
        }
    }
}
