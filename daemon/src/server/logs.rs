//! `logs`: the end of the daemon's log or of a batch's, and what comes behind it while somebody listens.

use std::sync::Arc;
use std::time::Duration;

use spindle_core::effect::{Command, Peer};
use spindle_shared::id::{JobId, Owner, Target};
use spindle_shared::limits::{FRAME_BYTES_MAX, LOG_LINES_MAX};
use spindle_shared::wire::response::{Refusal, RefusalKind, Response};
use tokio::sync::watch;

use super::House;
use super::connection::{Broken, Connection, frame_of};
use super::read::on_store;

/// Between two looks whether a batch has ended, while nothing is said of it.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Asks for nothing but its turn.
const LOOKER: Peer = Peer { owner: Owner(0), admin: true };

/// What was asked for.
pub struct Logs {
    pub of: Option<Target>,
    pub lines: u32,
    pub follow: bool,
}

pub async fn show(connection: &mut Connection, house: &Arc<House>, peer: Peer, asked: Logs) -> Result<(), Broken> {
    let refused = match asked.of {
        None => peer.must_be_admin("read the daemon's log").err(),
        Some(target) => may_read(house, peer, target).await?,
    };
    if let Some(refusal) = refused {
        return connection.send(&Response::Refused(refusal)).await;
    }
    let most = (asked.lines as usize).min(LOG_LINES_MAX);
    let mut changes: watch::Receiver<u64> = match asked.of {
        None => house.log.changes(),
        Some(_) => house.job_logs.changes(),
    };
    let (mut place, mut most) = (0, most);
    loop {
        // Whether it is over is asked before the last look, so that nothing said in between is missed.
        let over = !asked.follow || is_over(house, asked.of).await?;
        if over && asked.of.is_some() {
            // What the conductor had to say of it is said, and written.
            house.inbox.ask(LOOKER, Command::House).await?;
            house.job_logs.flush().await;
        }
        changes.mark_unchanged();
        let (lines, next) = match asked.of {
            None => house.log.after(place, most),
            Some(target) => {
                let (batch, job) = match target {
                    Target::Batch(batch) => (batch, None),
                    Target::Job(job) => (job.batch, Some(job)),
                };
                on_store(house, move |house| Ok(house.job_logs.read(batch, job, place, most))).await?
            }
        };
        place = next;
        most = LOG_LINES_MAX;
        for frame in in_frames(lines) {
            connection.put(&frame_of(&frame)).await?;
        }
        connection.flush().await?;
        if over {
            return connection.send(&Response::End).await;
        }
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return Err(Broken::Stopping) },
            // A batch's end may come behind the last line that is said of it, and is none itself.
            () = tokio::time::sleep(LOOK_EVERY), if asked.of.is_some() => {}
            () = connection.closed() => return Err(Broken::Closed),
        }
    }
}

/// Lines in frames that fit, however long they are.
fn in_frames(lines: Vec<String>) -> Vec<Response> {
    let (mut frames, mut frame, mut bytes) = (Vec::new(), Vec::new(), 0);
    for line in lines {
        if bytes + line.len() > FRAME_BYTES_MAX / 4 && !frame.is_empty() {
            frames.push(Response::Log(std::mem::take(&mut frame)));
            bytes = 0;
        }
        bytes += line.len() + 16;
        frame.push(line);
    }
    if !frame.is_empty() {
        frames.push(Response::Log(frame));
    }
    frames
}

async fn may_read(house: &Arc<House>, peer: Peer, target: Target) -> Result<Option<Refusal>, Broken> {
    let batch = match target {
        Target::Batch(batch) | Target::Job(JobId { batch, .. }) => batch,
    };
    let view = on_store(house, move |house| house.reader.batch(batch)).await?;
    Ok(match view {
        None => Some(Refusal::new(RefusalKind::NotFound, format!("there is no batch {batch}"))),
        Some(view) if peer.admin || view.owner == peer.owner => None,
        Some(_) => Some(Refusal::new(RefusalKind::NotPermitted, format!("batch {batch} is another user's"))),
    })
}

/// Nothing more is said of a batch that has ended, or is gone.
async fn is_over(house: &Arc<House>, of: Option<Target>) -> Result<bool, Broken> {
    let batch = match of {
        None => return Ok(false),
        Some(Target::Batch(batch) | Target::Job(JobId { batch, .. })) => batch,
    };
    on_store(house, move |house| Ok(house.reader.batch(batch)?.is_none_or(|view| view.state.is_terminal()))).await
}
