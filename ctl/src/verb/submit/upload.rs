//! Files to a daemon that opens none itself: read here, with the user's own rights, and sent one after another before the batch that is about them.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Write};

use rustix::fs::{Mode, OFlags};
use spindle_shared::client::{Answer, Client, ClientError};
use spindle_shared::id::ContentHasher;
use spindle_shared::job::{FileIdentity, Input, PathBytes};
use spindle_shared::limits::PIECE_BYTES;
use spindle_shared::wire::piece::Piece;
use spindle_shared::wire::request::{Request, Submission, Upload};
use spindle_shared::wire::response::{RefusalKind, Response};

use crate::fault::Fault;

/// A connection that breaks, or a file that arrives otherwise than it was sent, is tried again: it goes on where it was.
const TRIES: u32 = 3;

/// What has gone over the line so far.
pub trait Meter {
    fn sent(&mut self, bytes: u64);
}

/// Sends these files for the batch with this key. What is there already is not sent again.
pub fn upload(
    connect: &dyn Fn() -> Result<Client, ClientError>,
    key: &str,
    wanted: &[PathBytes],
    inputs: &[Submission],
    meter: &mut dyn Meter,
) -> Result<(), Fault> {
    let known: HashMap<&PathBytes, FileIdentity> = inputs
        .iter()
        .filter_map(|submission| match &submission.input {
            Input::File { path, identity } => Some((path, *identity)),
            Input::Name(_) | Input::Url(_) => None,
        })
        .collect();
    let mut line = None;
    for path in wanted {
        let mut tried = 1;
        loop {
            let (mut file, identity) = open(path, known.get(path))?;
            let request =
                Upload { key: key.to_owned(), path: path.clone(), bytes: identity.bytes, mtime_ns: identity.mtime_ns };
            let sent = send(connect, &mut line, request, &mut file, meter);
            if sent.is_err() {
                line = None;
            }
            match sent {
                Ok(()) => break,
                Err(Failed::Client(ClientError::Broken(_))) if tried < TRIES => tried += 1,
                Err(Failed::Client(ClientError::Refused(refusal)))
                    if refusal.kind == RefusalKind::WrongState && tried < TRIES =>
                {
                    tried += 1;
                }
                Err(Failed::Client(error)) => return Err(error.into()),
                Err(Failed::File(error)) => return Err(Fault::error(format!("failed to read {path}: {error}"))),
            }
        }
    }
    Ok(())
}

enum Failed {
    Client(ClientError),
    File(io::Error),
}

impl From<ClientError> for Failed {
    fn from(error: ClientError) -> Self {
        Failed::Client(error)
    }
}

/// The file as it was looked at, and no pipe or device that has taken its place.
fn open(path: &PathBytes, looked_at: Option<&FileIdentity>) -> Result<(File, FileIdentity), Fault> {
    let failed = |why: String| Fault::usage(format!("{path}: {why}"));
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let opened = rustix::fs::open(path.as_path(), flags, Mode::empty()).map_err(|error| failed(error.to_string()))?;
    let file = File::from(opened);
    let meta = file.metadata().map_err(|error| failed(error.to_string()))?;
    if !meta.is_file() {
        return Err(failed("is not a regular file".to_owned()));
    }
    let identity = FileIdentity::of(&meta);
    if looked_at.is_some_and(|then| *then != identity) {
        return Err(failed("has changed since it was looked at".to_owned()));
    }
    Ok((file, identity))
}

fn send(
    connect: &dyn Fn() -> Result<Client, ClientError>,
    line: &mut Option<Answer>,
    upload: Upload,
    file: &mut File,
    meter: &mut dyn Meter,
) -> Result<(), Failed> {
    let bytes = upload.bytes;
    let request = Request::Upload(upload);
    let line = match line {
        Some(line) => {
            line.say(&request);
            line
        }
        None => line.insert(connect()?.ask(&request)?),
    };
    let Response::Sending(there) = hear(line)? else { return Err(out_of_turn()) };
    let mut hasher = ContentHasher::default();
    let have = there.bytes.min(bytes);
    let read = io::copy(&mut Read::by_ref(file).take(have), &mut hasher).map_err(Failed::File)?;
    meter.sent(read);
    let mut left = bytes - read;
    while left > 0 {
        let mut piece = vec![0; left.min(PIECE_BYTES as u64) as usize];
        file.read_exact(&mut piece).map_err(Failed::File)?;
        // To memory, never fails.
        let _ = hasher.write_all(&piece);
        left -= piece.len() as u64;
        meter.sent(piece.len() as u64);
        if !line.say(&Request::Piece(Piece(piece))) {
            // It was refused, or the line is broken: what is heard next tells which.
            break;
        }
    }
    let now = file.metadata().map_err(Failed::File)?;
    if now.len() != bytes {
        return Err(Failed::File(io::Error::other("it has changed while it was sent")));
    }
    line.say(&Request::Sent(hasher.finish()));
    match hear(line)? {
        Response::Arrived => Ok(()),
        _ => Err(out_of_turn()),
    }
}

fn hear(line: &mut Answer) -> Result<Response, Failed> {
    match line.next() {
        Some(response) => Ok(response?),
        None => Err(out_of_turn()),
    }
}

fn out_of_turn() -> Failed {
    Failed::Client(ClientError::Protocol("the daemon answers out of turn".to_owned()))
}

/// Of all files that are to be sent.
pub fn bytes_of(wanted: &[PathBytes]) -> u64 {
    wanted.iter().filter_map(|path| std::fs::metadata(path.as_path()).ok()).map(|meta| meta.len()).sum()
}
