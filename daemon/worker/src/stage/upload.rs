//! Upload: an artifact's files as objects of a store. Nothing of an object is to be seen before all of it is there.
//!
//! A large file goes in parts; the checkpoint's rows say which the store has. A later run goes on behind them, or begins anew where the store knows
//! the upload no more. What is there already with the same content counts as done.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use spindle_shared::failure::{Failure, FailureKind};
use spindle_shared::id::ContentHash;
use spindle_shared::job::{Detail, Output, PathBytes};
use spindle_shared::object_store::{self, SENT_BYTES, SENT_SECONDS};
use spindle_shared::output;
use spindle_shared::stage::upload::Upload;
use spindle_shared::wire::codec;
use spindle_shared::worker::{Done, Published};

use crate::checkpoint::Checkpoint;
use crate::context::{Context, Halt, disk_failure};
use crate::files::hash::{ReadError, hash_pieces};
use crate::remote::s3::{Bucket, Refused};

/// Of one part; the protocol wants 5 MiB or more, and 10,000 parts at most.
const PART_BYTES: u64 = 8 << 20;
const PARTS_MAX: u64 = 9_000;
const ROW_BYTES_MAX: usize = 64 << 10;

pub fn run(context: &Context, stage: &Upload) -> Result<Done, Halt> {
    let internal = |what: &str| Failure::new(FailureKind::Internal, format!("the run came without {what}"));
    let store = stage.store.as_ref().ok_or_else(|| internal("its store"))?;
    let plan = &context.assignment.output;
    let (_, prefix) = object_store::folder(&plan.directory.0).ok_or_else(|| internal("a place in a store"))?;
    let bucket = Bucket::new(store)?;
    let files = context.inputs().map(|(input, _)| input.name.as_path());
    let names = output::published_as(plan, &stage.publish, context.assignment.detail.language.as_deref(), files)
        .ok_or_else(|| internal("kinds of its files"))?;
    let bytes: u64 = context.inputs().map(|(input, _)| input.bytes).sum();
    let mut work = Work {
        context,
        bucket: &bucket,
        notes: context.checkpoint()?,
        all: bytes.max(1),
        done: 0,
        sent: 0,
        sending: Duration::ZERO,
    };
    let (mut outputs, mut detail) = (Vec::new(), Detail::default());
    for ((input, file), (path, kind)) in context.inputs().zip(names) {
        let name = path.as_path().file_name().unwrap_or_default();
        let name = name.to_str().ok_or_else(|| {
            Failure::new(FailureKind::Input, format!("{path} is no UTF-8, which names in a store are"))
                .advise("rename the input, and submit it again")
        })?;
        let key = if prefix.is_empty() { name.to_owned() } else { format!("{prefix}/{name}") };
        object_store::check_key(&key).map_err(|why| Failure::new(FailureKind::Input, why))?;
        let content = work.upload(stage, &key, &path, file, input.bytes)?;
        if store.link_seconds > 0 {
            let link = bucket.link(&key, Duration::from_secs(store.link_seconds));
            detail.figure(&format!("link {name}"), link);
            detail.figure("link_seconds", store.link_seconds as f64);
        }
        let output = Output { path, kind: kind.to_owned(), bytes: input.bytes };
        outputs.push(Published { output, content, identity: None });
    }
    if work.sent > 0 {
        detail.figure(SENT_BYTES, work.sent as f64);
        detail.figure(SENT_SECONDS, work.sending.as_secs_f64());
    }
    Ok(Done { outputs, detail, work: work.sent as f64, ..Done::default() })
}

/// A row of the checkpoint.
#[derive(Debug, Serialize, Deserialize)]
struct Row {
    key: String,
    content: [u8; 32],
    upload: String,
    /// Of one part that the store has, and what it calls it; `None` = the upload has begun.
    part: Option<(u16, String)>,
}

struct Work<'c> {
    context: &'c Context,
    bucket: &'c Bucket<'c>,
    notes: Option<Checkpoint>,
    all: u64,
    done: u64,
    /// By this run, and how long that took: the sending, without what is looked up around it.
    sent: u64,
    sending: Duration,
}

impl Work<'_> {
    fn upload(
        &mut self,
        stage: &Upload,
        key: &str,
        path: &PathBytes,
        file: &File,
        bytes: u64,
    ) -> Result<ContentHash, Halt> {
        let context = self.context;
        context.go_on()?;
        let hashed = hash_pieces(file, bytes, |_| context.go_on()).map_err(|error| match error {
            ReadError::Io(error) => unreadable(&error).into(),
            ReadError::Halted(halt) => halt,
        })?;
        let content = hashed.content;
        let name = content.to_string();
        if let Some(there) = self.bucket.look(key)? {
            if there.content.as_deref() == Some(&name) && there.bytes.is_none_or(|there| there == bytes) {
                self.advance(bytes);
                return Ok(content);
            }
            let ours = |replaceable: &&(PathBytes, ContentHash)| {
                replaceable.0 == *path && there.content.as_deref() == Some(&replaceable.1.to_string())
            };
            if !stage.publish.force && !context.assignment.replaceable.iter().any(|it| ours(&it)) {
                let message = format!("{path} is in the store already, with another content");
                let failure = Failure::new(FailureKind::Exists, message);
                return Err(failure.advise("name another place with -o, or submit with --force").into());
            }
        }
        if bytes <= PART_BYTES {
            let piece = read(file, 0, bytes)?;
            let begun = Instant::now();
            self.bucket.put(key, &name, &piece)?;
            self.sending += begun.elapsed();
            self.sent += bytes;
            self.advance(bytes);
        } else {
            self.in_parts(key, content, file, bytes)?;
        }
        match self.bucket.look(key)? {
            Some(there) if there.bytes.is_none_or(|there| there == bytes) => Ok(content),
            _ => {
                let message = format!("{path} is not in the store as it was sent");
                Err(Failure::new(FailureKind::Server, message).into())
            }
        }
    }

    fn in_parts(&mut self, key: &str, content: ContentHash, file: &File, bytes: u64) -> Result<(), Halt> {
        let (mut upload, mut etags) = self.begun(key, content);
        let began_here = upload.is_none();
        loop {
            match self.parts(key, content, file, bytes, upload.take(), std::mem::take(&mut etags)) {
                // It has been cleared away meanwhile: once more, all of it.
                Err(End::Gone(_)) if !began_here && self.sent < bytes => {}
                Err(End::Gone(failure)) => return Err(failure.into()),
                Err(End::Halt(halt)) => return Err(halt),
                Ok(()) => return Ok(()),
            }
        }
    }

    fn parts(
        &mut self,
        key: &str,
        content: ContentHash,
        file: &File,
        bytes: u64,
        begun: Option<String>,
        mut etags: Vec<String>,
    ) -> Result<(), End> {
        let part_bytes = PART_BYTES.max(bytes.div_ceil(PARTS_MAX));
        let upload = match begun {
            Some(upload) => upload,
            None => {
                let upload = self.bucket.begin(key, &content.to_string())?;
                self.note(key, content, &upload, None)?;
                upload
            }
        };
        let before = self.done;
        if !etags.is_empty() {
            self.done = before + (etags.len() as u64 * part_bytes).min(bytes);
            self.context.goes_on_from((self.done as f64 / self.all as f64) as f32);
        }
        let mut at = etags.len() as u64 * part_bytes;
        while at < bytes {
            self.context.go_on()?;
            let number = u16::try_from(etags.len() + 1).unwrap_or(u16::MAX);
            let piece = read(file, at, part_bytes.min(bytes - at))?;
            let begun = Instant::now();
            let etag = self.bucket.part(key, &upload, number, &piece).inspect_err(|_| self.done = before)?;
            self.sending += begun.elapsed();
            self.note(key, content, &upload, Some((number, etag.clone())))?;
            etags.push(etag);
            at += piece.len() as u64;
            self.sent += piece.len() as u64;
            self.advance(piece.len() as u64);
        }
        self.context.go_on()?;
        self.bucket.complete(key, &upload, &etags).inspect_err(|_| self.done = before)?;
        Ok(())
    }

    /// The upload that an earlier run has begun for these very bytes, and what the store has of it.
    fn begun(&self, key: &str, content: ContentHash) -> (Option<String>, Vec<String>) {
        let rows = self.notes.iter().flat_map(Checkpoint::pieces);
        let rows = rows.filter_map(|row| codec::decode::<Row>(row, ROW_BYTES_MAX).ok());
        let (mut upload, mut etags): (Option<String>, Vec<String>) = (None, Vec::new());
        for row in rows.filter(|row| row.key == key) {
            if upload.as_ref() != Some(&row.upload) {
                if let Some(stale) = upload.take_if(|_| row.content != content.0) {
                    self.bucket.abort(key, &stale);
                }
                (upload, etags) = (Some(row.upload), Vec::new());
            }
            match row.part {
                Some((number, etag)) if usize::from(number) == etags.len() + 1 && row.content == content.0 => {
                    etags.push(etag);
                }
                _ => {}
            }
        }
        (upload, etags)
    }

    fn note(
        &mut self,
        key: &str,
        content: ContentHash,
        upload: &str,
        part: Option<(u16, String)>,
    ) -> Result<(), Failure> {
        let row = Row { key: key.to_owned(), content: content.0, upload: upload.to_owned(), part };
        let Some(notes) = &mut self.notes else { return Ok(()) };
        notes.append(&codec::encode(&row)).map_err(|e| disk_failure(&e, self.context.scratch()))
    }

    fn advance(&mut self, bytes: u64) {
        self.done += bytes;
        self.context.progress((self.done as f64 / self.all as f64) as f32);
    }
}

enum End {
    /// The store knows the upload no more.
    Gone(Failure),
    Halt(Halt),
}

impl From<Halt> for End {
    fn from(halt: Halt) -> End {
        End::Halt(halt)
    }
}

impl From<Failure> for End {
    fn from(failure: Failure) -> End {
        End::Halt(failure.into())
    }
}

impl From<Refused> for End {
    fn from(refused: Refused) -> End {
        match refused {
            Refused::NotThere(failure) => End::Gone(failure),
            Refused::Failed(failure) => End::Halt(failure.into()),
        }
    }
}

fn read(file: &File, at: u64, bytes: u64) -> Result<Vec<u8>, Failure> {
    let mut piece = vec![0; bytes as usize];
    file.read_exact_at(&mut piece, at).map_err(|error| unreadable(&error))?;
    Ok(piece)
}

fn unreadable(error: &std::io::Error) -> Failure {
    Failure::new(FailureKind::Internal, format!("failed to read what is to be uploaded: {error}"))
}
