//! Fetch: an input that lies elsewhere, brought into the artifact folder. Knows no queue, trusts no server, and never says what is secret in an
//! address.
//!
//! What has arrived lies beside the checkpoint, whose rows say how much of it is on the disk for sure, with its hash, and of which version it is.
//! A later run asks for the rest of that version; where the server has another by now, it gets all of it.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use spindle_shared::failure::{Failure, FailureKind};
use spindle_shared::id::ContentHash;
use spindle_shared::object_store::{self, ObjectStore};
use spindle_shared::stage::fetch::Fetch;
use spindle_shared::text::escaped;
use spindle_shared::url::{self, Url};
use spindle_shared::wire::codec;
use spindle_shared::worker::{ArtifactFile, Done};

use crate::checkpoint::Checkpoint;
use crate::context::{Context, Halt, disk_failure};
use crate::remote::download::{End, asked_wait_ms, kind_of_refusal};
use crate::remote::http::{self, Answer, Ask, Head, Pace, Reach, Trouble};
use crate::remote::page::{self, Page};
use crate::remote::s3::Bucket;

/// Connections in a row that may break having brought less than [`WORTH_BYTES`]; one that brought more costs nothing.
const CUTS_MAX: u32 = 5;
const WORTH_BYTES: u64 = 1 << 20;
/// So much may be lost when a process or the machine dies.
const NOTE_EVERY_BYTES: u64 = 16 << 20;
const NOTE_BYTES_MAX: usize = 64 << 10;
/// How long a request for an object may be on its way before it begins.
const SIGNED: Duration = Duration::from_secs(15 * 60);

pub fn run(context: &Context, stage: &Fetch) -> Result<Done, Halt> {
    fetch(context, stage, &Pace::default())
}

fn fetch(context: &Context, stage: &Fetch, pace: &Pace) -> Result<Done, Halt> {
    let source = Source::of(context, stage)?;
    if stage.pages.have(&source.url) {
        return from_page(context, stage, &source);
    }
    let mut part = Part::open(context)?;
    part.take_over(context)?;
    if part.bytes > 0 {
        context.goes_on_from(part.share());
    }
    let before = part.bytes;
    // Whatever ends the run, what has come is noted for the next.
    let complete = complete(context, &source, &mut part, pace);
    if complete.is_err() {
        part.note()?;
    }
    complete?;
    let fetched = part.bytes.saturating_sub(before);
    let file = part.finish(context, &source.url)?;
    Ok(Done { files: vec![file], work: fetched as f64, ..Done::default() })
}

/// What plays on a page, found there by another's program.
fn from_page(context: &Context, stage: &Fetch, source: &Source) -> Result<Done, Halt> {
    let page =
        Page { program: &stage.pages.program, url: &source.url, bytes_max: source.bytes_max, allow: &source.allow };
    let found = page::fetch(context, &page, context.scratch())?;
    let mut begin = Vec::new();
    let read = File::open(&found).and_then(|file| file.take(1_024).read_to_end(&mut begin));
    read.map_err(|e| disk_failure(&e, &found))?;
    if is_web_page(&begin) {
        return Err(source.web_page().into());
    }
    let name = source.url.file_name();
    let target = context.scratch().join(&name);
    std::fs::rename(&found, &target).map_err(|e| disk_failure(&e, &target))?;
    if let Some(room) = found.parent() {
        std::fs::remove_dir_all(room).map_err(|e| disk_failure(&e, room))?;
    }
    let file = context.adopt_artifact(&name)?;
    Ok(Done { work: file.bytes as f64, files: vec![file], ..Done::default() })
}

/// Where it comes from, and within which bounds.
struct Source {
    url: Url,
    bytes_max: u64,
    allow: Arc<[String]>,
    /// Where it lies in an object store: the store and the key there.
    stored: Option<(ObjectStore, String)>,
}

impl Source {
    fn of(context: &Context, stage: &Fetch) -> Result<Source, Failure> {
        let text = context.assignment.inputs.first().and_then(|input| std::str::from_utf8(&input.name.0).ok());
        let text = text.ok_or_else(|| Failure::new(FailureKind::Internal, "the run came without an address"))?;
        let url = Url::parse(text).map_err(|e| Failure::new(FailureKind::Input, format!("the input's address {e}")))?;
        let mut allow = stage.allow.clone();
        let mut stored = None;
        if let Some((bucket, key)) = url.in_store() {
            let unknown = || {
                Failure::new(FailureKind::Auth, format!("the configuration has no store with the bucket `{bucket}`"))
            };
            let store = stage.store.clone().ok_or_else(unknown)?;
            object_store::check_key(&key).map_err(|why| Failure::new(FailureKind::Input, why))?;
            // It is trusted for its own host and port.
            allow.extend(Bucket::new(&store)?.host());
            stored = Some((store, key));
        }
        Ok(Source { url, bytes_max: stage.bytes_max, allow: allow.into(), stored })
    }

    /// The address that is asked: of an object, one that is signed for now.
    fn address(&self) -> Result<String, Failure> {
        match &self.stored {
            Some((store, key)) => Ok(Bucket::new(store)?.link(key, SIGNED)),
            None => Ok(self.url.without_login()),
        }
    }

    fn failure(&self, kind: FailureKind, cause: &str) -> Failure {
        // Libraries like to name the address they were asked for.
        let cause = cause.replace(self.url.as_str(), &self.url.to_string()).replace(&self.url.without_login(), "…");
        Failure::new(kind, format!("failed to fetch {}: {}", self.url, escaped(&cause)))
    }

    fn network(&self, cause: &str, part: &Part) -> Failure {
        let of_whole = part.of.whole.map(|whole| format!(" of {whole}")).unwrap_or_default();
        let kept = match part.bytes {
            0 => String::new(),
            bytes => format!("; {bytes}{of_whole} bytes are kept"),
        };
        self.failure(FailureKind::Network, &format!("{cause}{kept}"))
            .advise("check the connection, then `spindlectl retry` the job: it goes on with what has come")
    }

    fn too_large(&self, bytes: u64) -> Failure {
        let max = self.bytes_max >> 20;
        self.failure(FailureKind::Input, &format!("it has {bytes} bytes or more, and {max} MiB are allowed"))
            .advise("raise `input_max_mib` in the configuration's [remote], or take a smaller file")
    }

    fn web_page(&self) -> Failure {
        self.failure(FailureKind::Input, "what the server sent is a web page, no recording").advise(
            "open the address in a browser: it may want a login, be gone, or be the page around the file; submit the address of the file itself",
        )
    }

    fn in_words(&self, trouble: Trouble, part: &Part) -> End {
        let failure = match trouble {
            Trouble::Stopped => return End::Halt(Halt::Stopped),
            Trouble::Network(cause) => return End::Cut(cause),
            slow @ Trouble::TooSlow(..) => self.network(&slow.to_string(), part),
            Trouble::Forbidden(forbidden) => {
                let host = escaped(&forbidden.host);
                self.failure(FailureKind::Permission, &forbidden.to_string()).advise(format!(
                    "if it is meant, whoever runs spindled writes allow = [\"{host}\"] into the configuration's [remote]"
                ))
            }
            other @ (Trouble::Address(_) | Trouble::RedirectLoop | Trouble::Redirect(_)) => self
                .failure(FailureKind::Input, &other.to_string())
                .advise("open the address in a browser, and submit the one where the file itself lies"),
        };
        End::Halt(failure.into())
    }
}

/// Of which version of what the part is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
struct Of {
    /// As the server tells its versions apart.
    version: Option<String>,
    whole: Option<u64>,
    /// Its file name, where the server gives one.
    name: Option<String>,
}

/// A row of the checkpoint: so much is on the disk.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    bytes: u64,
    hash: [u8; 32],
    of: Of,
}

/// What has come, hashed as far as it goes.
struct Part {
    file: File,
    path: PathBuf,
    checkpoint: Option<Checkpoint>,
    hasher: blake3::Hasher,
    bytes: u64,
    noted: u64,
    of: Of,
    /// It is of one answer and those that went on with it in this run; of what an earlier run left, only a version can tell that.
    of_this_run: bool,
}

impl Part {
    fn open(context: &Context) -> Result<Part, Failure> {
        let folder = context.pieces_folder().unwrap_or_else(|| context.scratch().to_owned());
        std::fs::create_dir_all(&folder).map_err(|e| disk_failure(&e, &folder))?;
        let path = folder.join(".part");
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let file = file.map_err(|e| disk_failure(&e, &path))?;
        Ok(Part {
            file,
            path,
            checkpoint: context.checkpoint()?,
            hasher: blake3::Hasher::new(),
            bytes: 0,
            noted: 0,
            of: Of::default(),
            of_this_run: false,
        })
    }

    /// What an earlier run has noted and is there as noted; without a version nobody knows whether it goes on with what comes now, unless it is
    /// whole.
    fn take_over(&mut self, context: &Context) -> Result<(), Halt> {
        let notes = self.checkpoint.iter().flat_map(|checkpoint| checkpoint.pieces().last());
        let note: Option<Note> = notes.filter_map(|row| codec::decode(row, NOTE_BYTES_MAX).ok()).next();
        let usable = |note: &Note| note.of.version.is_some() || note.of.whole == Some(note.bytes);
        let Some(note) = note.filter(usable) else { return Ok(self.start_over()?) };
        let mut buffer = vec![0; 256 << 10];
        while self.bytes < note.bytes {
            context.go_on()?;
            let wanted = (note.bytes - self.bytes).min(buffer.len() as u64) as usize;
            match self.file.read(&mut buffer[..wanted]) {
                Ok(0) => break,
                Ok(read) => {
                    self.hasher.update(&buffer[..read]);
                    self.bytes += read as u64;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(disk_failure(&e, &self.path).into()),
            }
        }
        if self.bytes != note.bytes || *self.hasher.finalize().as_bytes() != note.hash {
            return Ok(self.start_over()?);
        }
        // What lies behind it came without a word that it is on the disk.
        self.file.set_len(note.bytes).map_err(|e| disk_failure(&e, &self.path))?;
        self.noted = note.bytes;
        self.of = note.of;
        Ok(())
    }

    fn start_over(&mut self) -> Result<(), Failure> {
        self.hasher = blake3::Hasher::new();
        (self.bytes, self.noted) = (0, 0);
        self.of = Of::default();
        let emptied = self.file.set_len(0).and_then(|()| self.file.seek(SeekFrom::Start(0)));
        emptied.map(|_| ()).map_err(|e| disk_failure(&e, &self.path))
    }

    fn is_whole(&self) -> bool {
        self.of.whole == Some(self.bytes) && self.bytes > 0
    }

    fn share(&self) -> f32 {
        self.of.whole.filter(|whole| *whole > 0).map_or(0.0, |whole| (self.bytes as f64 / whole as f64) as f32)
    }

    fn append(&mut self, piece: &[u8]) -> Result<(), Failure> {
        self.file.write_all(piece).map_err(|e| disk_failure(&e, &self.path))?;
        self.hasher.update(piece);
        self.bytes += piece.len() as u64;
        if self.bytes - self.noted >= NOTE_EVERY_BYTES {
            self.note()?;
        }
        Ok(())
    }

    /// Flushes what has come, and only then says so.
    fn note(&mut self) -> Result<(), Failure> {
        let Some(checkpoint) = self.checkpoint.as_mut().filter(|_| self.bytes > self.noted) else { return Ok(()) };
        self.file.sync_data().map_err(|e| disk_failure(&e, &self.path))?;
        let note = Note { bytes: self.bytes, hash: *self.hasher.finalize().as_bytes(), of: self.of.clone() };
        checkpoint.append(&codec::encode(&note)).map_err(|e| disk_failure(&e, &self.path))?;
        self.noted = self.bytes;
        Ok(())
    }

    /// Bytes that don't fit are better told before than after.
    fn has_room(&self) -> Result<(), Failure> {
        let missing = self.of.whole.unwrap_or(0).saturating_sub(self.bytes);
        match rustix::fs::fstatvfs(&self.file) {
            Ok(disk) if disk.f_bavail.saturating_mul(disk.f_frsize) < missing => {
                Err(disk_failure(&io::Error::from(io::ErrorKind::StorageFull), &self.path))
            }
            _ => Ok(()),
        }
    }

    /// The whole as the run's artifact. The part keeps its name, too, until the daemon has the artifact: a kill in between costs nothing.
    fn finish(mut self, context: &Context, url: &Url) -> Result<ArtifactFile, Failure> {
        self.of.whole = Some(self.bytes);
        self.note()?;
        self.file.sync_data().map_err(|e| disk_failure(&e, &self.path))?;
        let name = self.of.name.take().unwrap_or_else(|| url.file_name());
        let target = context.scratch().join(&name);
        named_too(&self.path, &target).map_err(|e| disk_failure(&e, &target))?;
        let content = ContentHash(*self.hasher.finalize().as_bytes());
        Ok(ArtifactFile { name, bytes: self.bytes, content })
    }
}

fn named_too(path: &Path, target: &Path) -> io::Result<()> {
    match std::fs::hard_link(path, target) {
        // Not every file system has them.
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => std::fs::rename(path, target),
        other => other,
    }
}

/// Brings the part to its full length over as many connections as it takes.
fn complete(context: &Context, source: &Source, part: &mut Part, pace: &Pace) -> Result<(), Halt> {
    let mut cuts = 0;
    while !part.is_whole() {
        let before = part.bytes;
        match one_connection(context, source, part, pace) {
            Ok(()) => return Ok(()),
            Err(End::Halt(halt)) => return Err(halt),
            Err(End::Cut(cause)) => {
                let came = part.bytes.saturating_sub(before);
                cuts = if came >= WORTH_BYTES { 0 } else { cuts + 1 };
                // Nothing has come at all: the queue's own tries, further apart, serve better than ours.
                if (before == 0 && part.bytes == 0) || cuts > CUTS_MAX {
                    return Err(source.network(&cause, part).into());
                }
                context.wait(pace.backoff * 2u32.pow(cuts))?;
            }
        }
    }
    Ok(())
}

fn one_connection(context: &Context, source: &Source, part: &mut Part, pace: &Pace) -> Result<(), End> {
    let stop = || context.cancelled();
    let ask = Ask {
        url: source.address()?,
        from: part.bytes,
        if_range: part.of.version.clone(),
        login: source.url.login().map(str::to_owned),
        reach: Reach::Public { allow: Arc::clone(&source.allow) },
    };
    let mut answer = http::get(&ask, &pace.patience, &stop).map_err(|trouble| source.in_words(trouble, part))?;
    accept(source, part, &answer)?;
    part.has_room()?;
    while let Some(piece) = answer.next(&stop).map_err(|trouble| source.in_words(trouble, part))? {
        if part.bytes == 0 && is_web_page(&piece) {
            return Err(source.web_page().into());
        }
        let bytes = part.bytes + piece.len() as u64;
        if bytes > source.bytes_max {
            part.start_over()?;
            return Err(source.too_large(bytes).into());
        }
        if part.of.whole.is_some_and(|whole| bytes > whole) {
            part.start_over()?;
            let cause = "the server sends more than it said it would";
            return Err(source.failure(FailureKind::Server, cause).into());
        }
        part.append(&piece)?;
        context.progress(part.share());
    }
    match part.of.whole {
        Some(whole) if part.bytes < whole => {
            Err(End::Cut(format!("the answer ended after {} of {whole} bytes", part.bytes)))
        }
        _ if part.bytes == 0 => {
            let failure = source.failure(FailureKind::Input, "the server sent an empty file");
            Err(failure.advise("open the address in a browser: what lies there is empty").into())
        }
        _ => Ok(()),
    }
}

/// Makes the part ready for the body that follows: it goes on with it, or replaces it.
fn accept(source: &Source, part: &mut Part, answer: &Answer) -> Result<(), End> {
    let head = &answer.head;
    let status = head.status.as_u16();
    match status {
        200 | 206 if head.header("content-encoding").is_some_and(|encoding| encoding.trim() != "identity") => {
            // Its length and its ranges would be those of another form of it.
            Err(source.failure(FailureKind::Server, "the server sent it compressed, unasked").into())
        }
        200 => {
            part.start_over()?;
            if head.header("content-type").is_some_and(|kind| kind.trim_start().starts_with("text/html")) {
                return Err(source.web_page().into());
            }
            part.of = of(head, head.content_length());
            part.of_this_run = true;
            fits(source, part)
        }
        206 => match head.content_range() {
            Some((from, whole)) if from == part.bytes && goes_on(part, head, whole) => {
                if part.of.whole.is_none() {
                    part.of.whole = whole;
                }
                fits(source, part)
            }
            _ if part.bytes > 0 => {
                // Another version, or another part, than was asked for: from the beginning.
                part.start_over()?;
                Err(End::Cut("what lies there has changed meanwhile".to_owned()))
            }
            _ => {
                let cause = "the server sent another part than the one asked for";
                Err(source.failure(FailureKind::Server, cause).into())
            }
        },
        // It has less than is here already, so what is here is not of this file.
        416 if part.bytes > 0 => {
            part.start_over()?;
            Err(End::Cut("what lies there has become shorter meanwhile".to_owned()))
        }
        status => Err(refused(source, status, head.header("retry-after")).into()),
    }
}

/// What an answer with all of it is of.
fn of(head: &Head, whole: Option<u64>) -> Of {
    let name = head.header("content-disposition").and_then(url::name_in_disposition);
    Of { version: head.version(), whole, name }
}

/// Whether an answer with the rest is of the same file as what is here.
fn goes_on(part: &Part, head: &Head, whole: Option<u64>) -> bool {
    let same = |known: Option<u64>| known.is_none() || whole.is_none() || known == whole;
    let version = head.version();
    let same_version = match (&part.of.version, &version) {
        (Some(known), Some(told)) => known == told,
        // It was asked for by its version, and a server that gave another would have given all of it.
        (Some(_), None) => true,
        (None, _) => part.of_this_run,
    };
    same_version && same(part.of.whole)
}

fn fits(source: &Source, part: &Part) -> Result<(), End> {
    match part.of.whole.filter(|whole| *whole > source.bytes_max) {
        Some(whole) => Err(source.too_large(whole).into()),
        None => Ok(()),
    }
}

/// Whether a file begins like HTML: what portals and error pages send in a recording's place.
fn is_web_page(bytes: &[u8]) -> bool {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).trim_ascii_start();
    let start: Vec<u8> = bytes.iter().take(16).map(u8::to_ascii_lowercase).collect();
    [b"<!doctype html".as_slice(), b"<html", b"<head", b"<body"].iter().any(|tag| start.starts_with(tag))
}

fn refused(source: &Source, status: u16, retry_after: Option<&str>) -> Failure {
    let kind = kind_of_refusal(status);
    let failure =
        source.failure(kind, &format!("the server answered {status}")).retry_after(asked_wait_ms(retry_after));
    match kind {
        FailureKind::Auth => failure.advise(
            "the address wants a login, or its signature has expired: write https://USER:PASSWORD@HOST/…, or get a new link",
        ),
        FailureKind::Input => failure.advise("there is nothing at this address: check it in a browser"),
        _ => failure,
    }
}

#[cfg(test)]
#[path = "fetch/tests.rs"]
mod tests;
