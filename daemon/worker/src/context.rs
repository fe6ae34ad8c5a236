//! All a stage may touch: its inputs' descriptors, its scratch folder, progress, checkpoint and the wish to stop.

use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use spindle_shared::failure::{Failure, FailureKind};
use spindle_shared::id::ContentHash;
use spindle_shared::limits::{MEDIA_SECONDS_MAX, RESULTS_BYTES_MAX};
use spindle_shared::provider::Usage;
use spindle_shared::wire::codec;
use spindle_shared::worker::{ArtifactFile, Assignment, Gathered, PIECES_ENDING, RESULTS_FILE, Report};

use crate::checkpoint::Checkpoint;

/// Why a stage ends without a result.
#[derive(Debug)]
pub enum Halt {
    /// It was told to stop.
    Stopped,
    Failed(Failure),
}

impl From<Failure> for Halt {
    fn from(failure: Failure) -> Self {
        Halt::Failed(failure)
    }
}

/// Sends a report to the daemon; a closed channel is noticed by the reading side, so errors end here.
pub type Reporter = Arc<dyn Fn(Report) + Send + Sync>;

/// One run's surroundings.
pub struct Context {
    pub assignment: Assignment,
    files: Vec<File>,
    /// What the stage names, opened by the daemon.
    named: Vec<File>,
    cancel: Arc<AtomicBool>,
    report: Reporter,
    progress: Mutex<Told>,
}

/// One input's result.
pub struct Gathering<'c> {
    pub row: Gathered,
    /// In the order of the row's own.
    pub files: Vec<&'c File>,
}

/// What the daemon was told of a run's progress.
#[derive(Default)]
struct Told {
    last: Option<Instant>,
    /// Share that an earlier run has left behind.
    begun: f32,
}

/// At most four progress reports a second.
const PROGRESS_EVERY: Duration = Duration::from_millis(250);
/// How often a run that waits looks whether it is to stop.
pub const LOOK_EVERY: Duration = Duration::from_millis(50);

impl Context {
    /// `descriptors` as they came: those of files that the stage names, then in the order of the assignment's inputs.
    pub fn new(assignment: Assignment, descriptors: Vec<OwnedFd>, cancel: Arc<AtomicBool>, report: Reporter) -> Self {
        let mut named: Vec<File> = descriptors.into_iter().map(File::from).collect();
        let files = named.split_off(assignment.named.len().min(named.len()));
        Context { assignment, files, named, cancel, report, progress: Mutex::default() }
    }

    /// The descriptor of the job's own input, which comes first, and its name for messages.
    pub fn input(&self) -> Result<(&File, String), Failure> {
        match (self.files.first(), self.assignment.inputs.first()) {
            (Some(file), Some(input)) => Ok((file, input.name.to_string())),
            _ => Err(Failure::new(FailureKind::Internal, "the run came without its input")),
        }
    }

    /// The input itself, for a stage that works on it beside what earlier ones left, and its name: it comes behind that.
    pub fn original(&self) -> Result<(&File, String), Failure> {
        let last = self.inputs().last().map(|(input, file)| (file, input.name.to_string()));
        last.ok_or_else(|| Failure::new(FailureKind::Internal, "the run came without its input"))
    }

    /// An earlier stage's file, by the name it has in the artifact.
    pub fn artifact(&self, name: &str) -> Result<&File, Failure> {
        self.assignment
            .inputs
            .iter()
            .position(|input| input.name.0 == name.as_bytes())
            .and_then(|at| self.files.get(at))
            .ok_or_else(|| Failure::new(FailureKind::Internal, format!("the run came without its `{name}`")))
    }

    /// All inputs with their descriptors.
    pub fn inputs(&self) -> impl Iterator<Item = (&spindle_shared::worker::InputFile, &File)> {
        self.assignment.inputs.iter().zip(&self.files)
    }

    /// The results that a gathering stage works on, in input order, with those of their files that it asked for.
    pub fn results(&self) -> Result<Vec<Gathering<'_>>, Failure> {
        let internal = |what: String| Failure::new(FailureKind::Internal, format!("the run's results {what}"));
        let mut bytes = Vec::new();
        let mut file = self.artifact(RESULTS_FILE)?;
        file.seek(SeekFrom::Start(0)).map_err(|e| internal(format!("can't be read: {e}")))?;
        let limit = RESULTS_BYTES_MAX as u64;
        file.take(limit + 1).read_to_end(&mut bytes).map_err(|e| internal(format!("can't be read: {e}")))?;
        let rows: Vec<Gathered> =
            codec::decode(&bytes, RESULTS_BYTES_MAX).map_err(|e| internal(format!("make no sense: {e}")))?;
        let mut files = self.inputs().skip(1);
        rows.into_iter()
            .map(|row| {
                let of_row: Vec<_> = row.files.iter().filter_map(|_| files.next().map(|(_, file)| file)).collect();
                match of_row.len() == row.files.len() {
                    true => Ok(Gathering { row, files: of_row }),
                    false => Err(internal("came without all of their files".to_owned())),
                }
            })
            .collect()
    }

    /// What its artifact will be found by: the same for every try of the same work, and for no other. Its checkpoint is called so.
    pub fn artifact_address(&self) -> Option<String> {
        let path = self.assignment.checkpoint.as_ref()?.as_path();
        Some(path.file_stem()?.to_str()?.to_owned())
    }

    /// A file that the stage names: the daemon has opened it, since the walls around this process let nobody through to it.
    pub fn open(&self, path: &Path) -> io::Result<File> {
        match self.assignment.named.iter().position(|named| named.as_path() == path) {
            Some(at) => {
                let mut file = self.named.get(at).ok_or(io::ErrorKind::NotFound)?.try_clone()?;
                file.seek(SeekFrom::Start(0))?;
                Ok(file)
            }
            // Models of the house may be read; for others this tells why they were not handed over.
            None => File::open(path),
        }
    }

    pub fn scratch(&self) -> &Path {
        self.assignment.scratch.as_path()
    }

    /// Tells how much is done, 0–1; cheap to call often.
    pub fn progress(&self, done: f32) {
        let mut told = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        if told.last.is_none_or(|at| at.elapsed() >= PROGRESS_EVERY) {
            told.last = Some(Instant::now());
            self.tell(done, told.begun);
        }
    }

    /// Tells that an earlier run has done this share already: no credit of this one's.
    pub fn goes_on_from(&self, begun: f32) {
        let mut told = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        *told = Told { last: Some(Instant::now()), begun };
        self.tell(begun, begun);
    }

    fn tell(&self, done: f32, begun: f32) {
        let share = |value: f32| value.clamp(0.0, 1.0);
        (self.report)(Report::Progress { run: self.assignment.run, done: share(done), begun: share(begun) });
    }

    /// Tells how long the recording is, as far as its file says; what comes out in the end counts more.
    pub fn lasts(&self, seconds: Option<f64>) {
        if let Some(seconds) = seconds.filter(|seconds| (0.0..MEDIA_SECONDS_MAX).contains(seconds)) {
            (self.report)(Report::Length { run: self.assignment.run, seconds });
        }
    }

    /// Tells what has been asked of a model API so far.
    pub fn asked(&self, usage: Usage) {
        (self.report)(Report::Asked { run: self.assignment.run, usage });
    }

    pub fn cancelled(&self) -> bool {
        self.cancel.load(Ordering::Relaxed)
    }

    /// For C callbacks that outlive a borrow.
    pub fn cancel_flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.cancel)
    }

    /// `Err(Halt::Stopped)` where the run was told to stop; for loops with `?`.
    pub fn go_on(&self) -> Result<(), Halt> {
        if self.cancelled() { Err(Halt::Stopped) } else { Ok(()) }
    }

    /// Lets this time pass; the wish to stop is heard all the while.
    pub fn wait(&self, long: Duration) -> Result<(), Halt> {
        let until = Instant::now() + long;
        loop {
            self.go_on()?;
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            std::thread::sleep(left.min(LOOK_EVERY));
        }
    }

    /// The pieces that earlier runs of this same work finished, ready to append more.
    pub fn checkpoint(&self) -> Result<Option<Checkpoint>, Failure> {
        match &self.assignment.checkpoint {
            None => Ok(None),
            Some(path) => Checkpoint::open(path.as_path())
                .map(Some)
                .map_err(|e| Failure::new(FailureKind::Internal, format!("failed to open the checkpoint {path}: {e}"))),
        }
    }

    /// Where finished pieces too large for a checkpoint's rows are kept beside it; they go with it.
    pub fn pieces_folder(&self) -> Option<PathBuf> {
        let checkpoint = self.assignment.checkpoint.as_ref()?;
        let mut folder = checkpoint.as_path().as_os_str().to_owned();
        folder.push(PIECES_ENDING);
        Some(folder.into())
    }

    /// A file that lies in scratch already, as one of the artifact: hashed, and flushed to the disk.
    pub fn adopt_artifact(&self, name: &str) -> Result<ArtifactFile, Halt> {
        let path = self.scratch().join(name);
        let failed = |e: io::Error| disk_failure(&e, &path);
        let mut file = File::open(&path).map_err(failed)?;
        let mut hasher = blake3::Hasher::new();
        let mut buffer = vec![0; 256 << 10];
        let mut bytes = 0;
        loop {
            self.go_on()?;
            match file.read(&mut buffer).map_err(failed)? {
                0 => break,
                read => {
                    hasher.update(&buffer[..read]);
                    bytes += read as u64;
                }
            }
        }
        file.sync_data().map_err(failed)?;
        Ok(ArtifactFile { name: name.to_owned(), bytes, content: ContentHash(*hasher.finalize().as_bytes()) })
    }

    /// Writes one file of the artifact into scratch, hashing as it goes, and flushes it to the disk.
    pub fn write_artifact(
        &self,
        name: &str,
        write: impl FnOnce(&mut ArtifactWriter) -> Result<(), Halt>,
    ) -> Result<ArtifactFile, Halt> {
        let path = self.scratch().join(name);
        let failed = |e: io::Error| disk_failure(&e, &path);
        let file = File::create(&path).map_err(failed)?;
        let mut writer = ArtifactWriter {
            inner: BufWriter::with_capacity(256 << 10, file),
            hasher: blake3::Hasher::new(),
            bytes: 0,
        };
        write(&mut writer)?;
        let ArtifactWriter { inner, hasher, bytes } = writer;
        let file = inner.into_inner().map_err(|e| failed(e.into_error()))?;
        file.sync_data().map_err(failed)?;
        Ok(ArtifactFile { name: name.to_owned(), bytes, content: ContentHash(*hasher.finalize().as_bytes()) })
    }
}

/// Counts and hashes what passes through.
pub struct ArtifactWriter {
    inner: BufWriter<File>,
    hasher: blake3::Hasher,
    bytes: u64,
}

impl Write for ArtifactWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// An I/O error on Spindle's own files or on an output, by what a person can do about it.
pub fn disk_failure(error: &io::Error, path: &Path) -> Failure {
    let shown = spindle_shared::text::escaped(&path.to_string_lossy());
    let kind = disk_failure_kind(error);
    Failure::new(kind, format!("failed to write {shown}: {error}")).on_device(device_of(path))
}

/// What kind of failure an error in writing is; a full disk is waited for.
pub fn disk_failure_kind(error: &io::Error) -> FailureKind {
    match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => FailureKind::Permission,
        io::ErrorKind::AlreadyExists => FailureKind::Exists,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => FailureKind::DiskFull,
        _ => FailureKind::Internal,
    }
}

/// Of what is there, or of the folder that it would be in.
fn device_of(path: &Path) -> Option<u64> {
    use std::os::unix::fs::MetadataExt;
    path.ancestors().find_map(|there| there.metadata().ok()).map(|meta| meta.dev())
}
