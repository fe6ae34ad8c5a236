//! Files over the socket: into the spool before a submission, and out of it when they are fetched. Pieces are bounded, and few wait.

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use spindle_core::effect::Peer;
use spindle_shared::id::{JobId, Owner};
use spindle_shared::limits::{NAME_BYTES_MAX, PATH_BYTES_MAX, PIECE_BYTES};
use spindle_shared::wire::piece::Piece;
use spindle_shared::wire::request::{Request, Upload};
use spindle_shared::wire::response::{Refusal, RefusalKind, Response, Sending};
use tokio::sync::mpsc;

use super::House;
use super::connection::{Broken, Connection, frame_of};
use super::read::on_store;
use crate::spool::{Receiving, Spool};

/// Between two pieces, and between two files.
const PATIENCE: Duration = Duration::from_secs(60);
/// Pieces between the socket and the disk.
const WAITING_MAX: usize = 4;

/// Takes files one after another, until the client hangs up or one is refused.
pub async fn receive(connection: &mut Connection, house: &House, peer: Peer, first: Upload) -> Result<(), Broken> {
    let mut upload = first;
    loop {
        let taken = match &house.spool {
            Some(spool) => one(connection, spool, peer.owner, upload).await?,
            None => {
                let refusal = Refusal::new(RefusalKind::Usage, "this daemon opens files where they lie");
                Err(refusal)
            }
        };
        let answer = taken.map_or_else(Response::Refused, |()| Response::Arrived);
        connection.send(&answer).await?;
        if answer != Response::Arrived {
            return Ok(());
        }
        upload = match connection.receive(Some(PATIENCE)).await {
            Ok(Request::Upload(next)) => next,
            Ok(_) => return Err(Broken::Garbage("something else than another file".to_owned())),
            Err(Broken::Closed) => return Ok(()),
            Err(broken) => return Err(broken),
        };
    }
}

async fn one(
    connection: &mut Connection,
    spool: &Arc<Spool>,
    owner: Owner,
    upload: Upload,
) -> Result<Result<(), Refusal>, Broken> {
    if upload.key.len() > NAME_BYTES_MAX || upload.key.is_empty() || upload.path.0.len() > PATH_BYTES_MAX {
        return Ok(Err(Refusal::new(RefusalKind::Usage, "a key or a path has no length that there is")));
    }
    let bytes = upload.bytes;
    let begun = {
        let spool = Arc::clone(spool);
        on_disk(move || spool.receive(owner, &upload)).await?
    };
    let receiving = match begun {
        Ok(receiving) => receiving,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let have = receiving.have();
    connection.send(&Response::Sending(Sending { bytes: have, content: None })).await?;
    let receiving = match pieces(connection, receiving, bytes - have).await? {
        Ok(receiving) => receiving,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let Request::Sent(content) = connection.receive(Some(PATIENCE)).await? else {
        return Err(Broken::Garbage("a file without its end".to_owned()));
    };
    on_disk(move || receiving.finish(content)).await
}

/// What is left of a file, from the socket to the disk.
async fn pieces(
    connection: &mut Connection,
    mut receiving: Receiving,
    mut left: u64,
) -> Result<Result<Receiving, Refusal>, Broken> {
    let (sender, mut waiting) = mpsc::channel::<Piece>(WAITING_MAX);
    let writer = tokio::task::spawn_blocking(move || {
        while let Some(piece) = waiting.blocking_recv() {
            receiving.take(&piece.0)?;
        }
        Ok(receiving)
    });
    while left > 0 {
        let Request::Piece(piece) = connection.receive(Some(PATIENCE)).await? else {
            return Err(Broken::Garbage("something else than a piece of a file".to_owned()));
        };
        left = left.saturating_sub(piece.0.len() as u64);
        if sender.send(piece).await.is_err() {
            // It was refused: why, the writer says.
            break;
        }
    }
    drop(sender);
    writer.await.map_err(|_| Broken::Stopping)
}

/// Sends one output of a job of the peer's, or of anybody's to an administrator.
pub async fn send(connection: &mut Connection, house: &Arc<House>, job: JobId, output: u32) -> Result<(), Broken> {
    let found = match on_store(house, move |house| find(house, job, output)).await? {
        Ok(found) => found,
        Err(refusal) => return connection.send(&Response::Refused(refusal)).await,
    };
    let (mut file, sending) = found;
    connection.send(&Response::Sending(sending)).await?;
    let (sender, mut waiting) = mpsc::channel::<std::io::Result<Piece>>(WAITING_MAX);
    tokio::task::spawn_blocking(move || {
        let mut left = sending.bytes;
        while left > 0 {
            let mut piece = vec![0; left.min(PIECE_BYTES as u64) as usize];
            let read = file.read_exact(&mut piece).map(|()| Piece(piece));
            left = left.saturating_sub(PIECE_BYTES as u64);
            let broken = read.is_err();
            // Nobody waits for it any more when the client has gone.
            if sender.blocking_send(read).is_err() || broken {
                return;
            }
        }
    });
    while let Some(piece) = waiting.recv().await {
        connection.put(&frame_of(&Response::Piece(piece?))).await?;
    }
    connection.flush().await?;
    connection.send(&Response::End).await
}

type Found = (std::fs::File, Sending);

fn find(house: &House, job: JobId, output: u32) -> Result<Result<Found, Refusal>, crate::store::StoreError> {
    let missing = |message: String| Ok(Err(Refusal::new(RefusalKind::NotFound, message)));
    let Some(spool) = &house.spool else {
        return Ok(Err(Refusal::new(RefusalKind::Usage, "this daemon's outputs are where they belong already")));
    };
    let (Some(batch), Some(view)) = (house.reader.batch(job.batch)?, house.reader.job(job)?) else {
        return missing(format!("there is no job {job}"));
    };
    let Some(output) = view.outputs.get(output as usize) else {
        return missing(format!("job {job} has {} outputs", view.outputs.len()));
    };
    match spool.open_output(batch.owner, output.path.as_path()) {
        Ok((file, bytes)) => {
            let content = house.reader.published(&output.path)?.map(|published| published.content);
            Ok(Ok((file, Sending { bytes, content })))
        }
        Err(error) => {
            let shown = spool.shown(&output.path);
            missing(format!("{shown} is not in the spool any more: {error}"))
        }
    }
}

async fn on_disk<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Broken> {
    tokio::task::spawn_blocking(work).await.map_err(|_| Broken::Stopping)
}
