//! `export`: a batch's originals and outputs in one archive, with a manifest. Reads the files themselves, with the user's own rights.

use std::fs::File;
use std::io::{self, BufWriter};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use serde::Serialize;
use spindle_shared::archive::{About, Archive, Cause, Entry, ORIGINALS, PROCESSED, Packed, TOGETHER};
use spindle_shared::exit;
use spindle_shared::id::{BatchId, JobId, Target};
use spindle_shared::job::{FileIdentity, Input, JobView, Output};

use crate::Context;
use crate::daemon::Daemon;
use crate::fault::Fault;
use crate::output::human;
use crate::output::json::BatchJson;
use crate::whole::{self, Taken};

/// Puts a finished batch's originals and outputs into a ZIP file, with a manifest that tells which is which
///
/// The folders `originals` and `processed`, `manifest.json` with every file's SHA-256, and `failed.txt` with the inputs that failed. Exits 3
/// where a file that should be in it is gone or has changed; 10 where the batch has not ended yet.
#[derive(Debug, clap::Args)]
pub struct Export {
    /// The batch (`12`)
    #[arg(value_name = "ID")]
    id: String,
    /// The file, which is there whole or not at all
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Replace the file if it is there already
    #[arg(long)]
    force: bool,
}

#[derive(Debug, Serialize)]
struct ExportJson {
    batch_id: u64,
    path: String,
    bytes: u64,
    files: u64,
    /// Inputs that are not there in full.
    failed: u64,
    /// Files that should be there.
    missing: u64,
}

type Zip = Archive<BufWriter<File>>;

/// What has been packed so far.
#[derive(Default)]
struct Tally {
    files: u64,
    failed: u64,
    missing: u64,
}

impl Export {
    pub fn run(self, context: &Context) -> Result<u8, Fault> {
        let (id, tally) = self.packed(context)?;
        self.told(context, id, &tally)
    }

    /// As [`Export::run`], and says what came of it to the caller alone.
    pub fn told_only(self, context: &Context) -> Result<String, Fault> {
        let (id, tally) = self.packed(context)?;
        Ok(self.summary(id, &tally))
    }

    fn packed(&self, context: &Context) -> Result<(BatchId, Tally), Fault> {
        let id =
            match self.id.parse().map_err(|error: spindle_shared::id::BadTarget| Fault::usage(error.to_string()))? {
                Target::Batch(id) => id,
                Target::Job(job) => {
                    return Err(Fault::usage(format!("an export is of a batch, not of the job {job}"))
                        .hint(format!("`spindlectl export {} -o FILE.zip`", job.batch)));
                }
            };
        let taken = if self.force { Taken::Replace } else { Taken::Refuse };
        whole::check(&self.output, taken)?;
        let batch = context.daemon.batch(id)?;
        super::result::check_finished(&batch)?;
        let json = BatchJson::new(&batch, human::now());
        let about = About {
            recipe: batch.recipe.clone(),
            batch_id: Some(id.0),
            name: batch.name.clone(),
            created_at: Some(json.created_at.clone()),
            finished_at: json.finished_at.clone(),
        };
        let gather = batch.gather.map(|_| context.daemon.job(JobId::gather(id))).transpose()?;
        // Their user's own copies may be elsewhere, or other files.
        let daemon = context.daemon.spools()?.then_some(&context.daemon);
        let mut tally = Tally::default();
        let mut fault = None;
        let written = whole::write_with(&self.output, taken, |file| {
            let mut zip = Archive::new(BufWriter::with_capacity(1 << 20, file));
            // The first error stops the writing; the jobs' page is gone through all the same.
            let mut packed = Ok(());
            if let Err(error) = context.daemon.each_job(id, |job| {
                if packed.is_ok() {
                    packed = tally.job(&mut zip, job, daemon);
                }
            }) {
                fault = Some(error);
                return Err(io::Error::other("the daemon did not answer"));
            }
            packed?;
            if let Some(job) = &gather {
                tally.gather(&mut zip, job, daemon)?;
            }
            zip.finish(&about)?.into_inner().map_err(io::IntoInnerError::into_error)
        });
        if let Some(fault) = fault {
            return Err(fault);
        }
        written?;
        Ok((id, tally))
    }

    fn summary(&self, id: BatchId, tally: &Tally) -> String {
        let Tally { files, failed, missing } = *tally;
        let shown = human::escaped(&self.output.to_string_lossy());
        let bytes = std::fs::metadata(&self.output).map_or(0, |meta| meta.len());
        let lacking = if failed > 0 { format!(", {failed} inputs failed") } else { String::new() };
        let gone = if missing > 0 { format!(", {missing} files are missing") } else { String::new() };
        format!("{files} files of batch {id} are in {shown} ({}){lacking}{gone}", human::bytes(bytes))
    }

    fn told(&self, context: &Context, id: BatchId, tally: &Tally) -> Result<u8, Fault> {
        let Tally { files, failed, missing } = *tally;
        let shown = human::escaped(&self.output.to_string_lossy());
        let bytes = std::fs::metadata(&self.output).map_or(0, |meta| meta.len());
        if context.console.json {
            let path = self.output.to_string_lossy().into_owned();
            context.console.document(&ExportJson { batch_id: id.0, path, bytes, files, failed, missing })?;
        }
        let lacking = if failed > 0 { format!(", {failed} inputs failed") } else { String::new() };
        context
            .console
            .talk(format_args!("{files} files of batch {id} are in {shown} ({}){lacking}", human::bytes(bytes)));
        if missing == 0 {
            return Ok(exit::DONE);
        }
        context.console.talk(format_args!("{missing} files are gone or have changed: failed.txt in it says which"));
        Ok(exit::SOME_FAILED)
    }
}

impl Tally {
    fn job(&mut self, zip: &mut Zip, job: &JobView, daemon: Option<&Daemon>) -> io::Result<()> {
        let mut entry = Entry { index: job.id.index, state: job.state.name().to_owned(), ..Entry::default() };
        if let Some(failure) = &job.failure {
            let (message, advice) = (failure.message.clone(), failure.advice.clone());
            entry.failure = Some(Cause { kind: failure.kind.name().to_owned(), message, advice });
        }
        match &job.input {
            Some(Input::File { path, identity }) => {
                entry.input = path.to_string();
                // What failed is told, and left out.
                if entry.failure.is_none() {
                    match self.pack(zip, ORIGINALS, path.as_path(), Some(identity))? {
                        Ok(packed) => entry.original = Some(packed),
                        Err(why) => entry.missing.push(why),
                    }
                }
            }
            Some(Input::Name(name)) => entry.input = name.clone(),
            // What was fetched is kept only for a while; where it came from is told.
            Some(Input::Url(url)) => entry.input = url.to_string(),
            None => {}
        }
        for (nth, output) in (0..).zip(&job.outputs) {
            match self.output(zip, PROCESSED, (job.id, nth), output, daemon)? {
                Ok(packed) => entry.processed.push(packed),
                Err(why) => entry.missing.push(why),
            }
        }
        self.failed += u64::from(entry.failure.is_some());
        self.missing += entry.missing.len() as u64;
        zip.tell(entry);
        Ok(())
    }

    fn gather(&mut self, zip: &mut Zip, job: &JobView, daemon: Option<&Daemon>) -> io::Result<()> {
        // An archive of the batch has no place in another one of it.
        for (nth, output) in (0..).zip(&job.outputs).filter(|(_, output)| output.kind != "zip") {
            match self.output(zip, TOGETHER, (job.id, nth), output, daemon)? {
                Ok(packed) => zip.tell_together(packed),
                Err(_) => self.missing += 1,
            }
        }
        Ok(())
    }

    /// From where it lies, or from the daemon that has it.
    fn output(
        &mut self,
        zip: &mut Zip,
        folder: &str,
        (job, nth): (JobId, u32),
        output: &Output,
        daemon: Option<&Daemon>,
    ) -> io::Result<Result<Packed, String>> {
        let path = output.path.as_path();
        let Some(daemon) = daemon.filter(|_| path.is_absolute()) else {
            return self.pack(zip, folder, path, None);
        };
        let mut file = match daemon.fetch(job, nth) {
            Ok(file) => file,
            Err(fault) => return Ok(Err(format!("{}: {}", output.path, fault.message))),
        };
        let name = path.file_name().unwrap_or_default().as_bytes();
        let packed = zip.pack(folder, name, file.bytes, &mut file, &mut || Ok(()))?;
        self.files += 1;
        Ok(Ok(packed))
    }

    /// `Err` inside: why this file can't be in the archive. Outside: the archive can't be written.
    fn pack(
        &mut self,
        zip: &mut Zip,
        folder: &str,
        path: &Path,
        as_worked_on: Option<&FileIdentity>,
    ) -> io::Result<Result<Packed, String>> {
        let shown = || path.to_string_lossy().into_owned();
        let opened = File::open(path).and_then(|file| file.metadata().map(|meta| (file, meta)));
        let (mut file, meta) = match opened {
            Ok(opened) => opened,
            Err(error) => return Ok(Err(format!("{}: {error}", shown()))),
        };
        if !meta.is_file() {
            return Ok(Err(format!("{}: is not a regular file", shown())));
        }
        let now = FileIdentity::of(&meta);
        if as_worked_on.is_some_and(|then| (then.bytes, then.mtime_ns) != (now.bytes, now.mtime_ns)) {
            return Ok(Err(format!("{}: has changed since it was worked on", shown())));
        }
        let name = path.file_name().unwrap_or_default().as_bytes();
        let packed = zip.pack(folder, name, meta.len(), &mut file, &mut || Ok(()))?;
        self.files += 1;
        Ok(Ok(packed))
    }
}
