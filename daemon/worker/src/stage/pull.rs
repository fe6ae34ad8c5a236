//! Pull: a model from its publisher into the model folder. Knows no queue and trusts nothing but the hash.
//!
//! What has arrived lies in `.FILE.spindle-TAG.part` beside the target and is the checkpoint: a later run of the same job
//! hashes it and asks for the rest. The final name appears once, with the whole content behind it, and replaces nothing.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, OFlags, RenameFlags};
use rustix::io::Errno;
use sha2::{Digest, Sha256};
use spindle_shared::catalogue;
use spindle_shared::failure::{Failure, FailureKind};
use spindle_shared::id::ContentHash;
use spindle_shared::job::Output;
use spindle_shared::stage::pull::Pull;
use spindle_shared::text::escaped;
use spindle_shared::worker::{Done, Published};

use crate::context::{Context, Halt, disk_failure};
use crate::remote::download::{End, asked_wait_ms, kind_of_refusal};
use crate::remote::http::{self, Answer, Ask, Pace, Trouble};

/// Connections that may break within one run, once something has come.
const CUTS_MAX: u32 = 5;

pub fn run(context: &Context, stage: &Pull) -> Result<Done, Halt> {
    pull(context, stage, &Pace::default())
}

fn pull(context: &Context, stage: &Pull, pace: &Pace) -> Result<Done, Halt> {
    let place = Place::of(context, stage)?;
    std::fs::create_dir_all(&place.folder).map_err(|e| disk_failure(&e, &place.folder))?;
    if let Some(done) = place.already_there(context, stage)? {
        return Ok(done);
    }
    let mut part = Part::open(&place)?;
    let fetched = complete(context, stage, &mut part, pace).inspect_err(|_| part.remove_if_empty())?;
    let content = part.finish(stage)?;
    place.publish(context, stage, content, fetched)
}

/// Goes on where an earlier run stopped; gives the bytes that came.
fn complete(context: &Context, stage: &Pull, part: &mut Part, pace: &Pace) -> Result<u64, Halt> {
    part.has_room(stage)?;
    part.take_over(context, stage)?;
    let resumed = part.bytes() > 0;
    if resumed {
        context.goes_on_from(share(part.bytes(), stage.bytes));
    }
    let mut fetched = fetch(context, stage, part, pace)?;
    if resumed && part.digest.sha256() != stage.sha256 {
        // What an earlier run left may have been torn by a power cut; once more, all of it.
        part.start_over()?;
        fetched += fetch(context, stage, part, pace)?;
    }
    Ok(fetched)
}

/// Where it all goes.
struct Place {
    folder: PathBuf,
    target: PathBuf,
    part: PathBuf,
}

impl Place {
    fn of(context: &Context, stage: &Pull) -> Result<Place, Failure> {
        catalogue::check_url(&stage.url).map_err(|e| Failure::new(FailureKind::Input, e.to_string()))?;
        let tag = &context.assignment.part_tag;
        let folder = context.assignment.output.directory.as_path().to_owned();
        let one_name = |name: &str| !name.is_empty() && !name.contains(['/', '\0']) && !matches!(name, "." | "..");
        if !one_name(&stage.file) || !one_name(tag) || !folder.is_absolute() || stage.sha256.len() != 64 {
            return Err(Failure::new(FailureKind::Internal, format!("the order for `{}` is not sound", stage.name)));
        }
        Ok(Place {
            target: folder.join(&stage.file),
            part: folder.join(format!(".{}.spindle-{tag}.part", stage.file)),
            folder,
        })
    }

    /// The file under the final name: the model itself is the result, anything else is somebody's.
    fn already_there(&self, context: &Context, stage: &Pull) -> Result<Option<Done>, Halt> {
        let mut file = match File::open(&self.target) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(disk_failure(&e, &self.target).into()),
        };
        let meta = file.metadata().map_err(|e| disk_failure(&e, &self.target))?;
        if meta.is_file() && meta.len() == stage.bytes {
            let mut digest = Both::default();
            digest.read(context, &mut file, stage.bytes, &self.target)?;
            if digest.sha256() == stage.sha256 {
                return Ok(Some(self.done(stage, digest.content(), 0)));
            }
        }
        Err(self.taken(stage).into())
    }

    fn taken(&self, stage: &Pull) -> Failure {
        Failure::new(
            FailureKind::Exists,
            format!("{} is there and is not the model `{}`", shown(&self.target), stage.name),
        )
        .advise(format!(
            "move it away, or `spindlectl models remove {}`, then `spindlectl models pull {}`",
            stage.name, stage.name
        ))
    }

    /// Gives the finished part its name; somebody else may have been quicker.
    fn publish(&self, context: &Context, stage: &Pull, content: ContentHash, fetched: u64) -> Result<Done, Halt> {
        match rename_without_replacing(&self.part, &self.target) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                let done = self.already_there(context, stage)?.ok_or_else(|| self.taken(stage))?;
                std::fs::remove_file(&self.part).map_err(|e| disk_failure(&e, &self.part))?;
                return Ok(done);
            }
            Err(e) => return Err(disk_failure(&e, &self.target).into()),
        }
        let synced = File::open(&self.folder).and_then(|folder| folder.sync_all());
        synced.map_err(|e| disk_failure(&e, &self.folder))?;
        Ok(self.done(stage, content, fetched))
    }

    fn done(&self, stage: &Pull, content: ContentHash, fetched: u64) -> Done {
        let output = Output { path: self.target.clone().into(), kind: "model".to_owned(), bytes: stage.bytes };
        // Models are found by their names and hashes; whether one is as published is never asked.
        let outputs = vec![Published { output, content, identity: None }];
        Done { outputs, work: fetched as f64, ..Done::default() }
    }
}

fn rename_without_replacing(from: &Path, to: &Path) -> io::Result<()> {
    match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // File systems without this flag have hard links, which don't replace either, or neither.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
            std::fs::hard_link(from, to)?;
            std::fs::remove_file(from)
        }
        other => Ok(other?),
    }
}

/// Both hashes of what has passed: the publisher's and Spindle's own.
#[derive(Default)]
struct Both {
    sha256: Sha256,
    blake3: blake3::Hasher,
    bytes: u64,
}

impl Both {
    fn update(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        self.blake3.update(bytes);
        self.bytes += bytes.len() as u64;
    }

    /// Takes in a file from its present position to its end.
    fn read(&mut self, context: &Context, file: &mut File, whole: u64, path: &Path) -> Result<(), Halt> {
        let mut buffer = vec![0; 1 << 20];
        loop {
            context.go_on()?;
            match file.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(len) => self.update(&buffer[..len]),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => {
                    return Err(
                        Failure::new(FailureKind::Internal, format!("failed to read {}: {e}", shown(path))).into()
                    );
                }
            }
            context.progress(share(self.bytes, whole));
        }
    }

    fn sha256(&self) -> String {
        self.sha256.clone().finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn content(&self) -> ContentHash {
        ContentHash(*self.blake3.finalize().as_bytes())
    }
}

/// The partial file, hashed as far as it goes.
struct Part {
    file: File,
    path: PathBuf,
    digest: Both,
}

impl Part {
    fn open(place: &Place) -> Result<Part, Failure> {
        let path = place.part.clone();
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            // The name can be guessed; a link put there must not lead elsewhere.
            .custom_flags(OFlags::NOFOLLOW.bits() as i32)
            .open(&path)
            .map_err(|e| disk_failure(&e, &path))?;
        Ok(Part { file, path, digest: Both::default() })
    }

    /// Gigabytes that don't fit are better told before than after.
    fn has_room(&self, stage: &Pull) -> Result<(), Failure> {
        let there = self.file.metadata().map_err(|e| disk_failure(&e, &self.path))?.len();
        match rustix::fs::fstatvfs(&self.file) {
            Ok(disk) if disk.f_bavail.saturating_mul(disk.f_frsize) < stage.bytes.saturating_sub(there) => {
                Err(disk_failure(&io::Error::from(io::ErrorKind::StorageFull), &self.path))
            }
            _ => Ok(()),
        }
    }

    /// Nothing worth keeping is left behind a failure.
    fn remove_if_empty(&self) {
        if self.file.metadata().is_ok_and(|meta| meta.len() == 0) {
            let _ = std::fs::remove_file(&self.path);
        }
    }

    /// Hashes what an earlier run left.
    fn take_over(&mut self, context: &Context, stage: &Pull) -> Result<(), Halt> {
        self.digest.read(context, &mut self.file, stage.bytes, &self.path)?;
        if self.digest.bytes > stage.bytes {
            self.start_over()?;
        }
        Ok(())
    }

    fn bytes(&self) -> u64 {
        self.digest.bytes
    }

    fn start_over(&mut self) -> Result<(), Failure> {
        self.digest = Both::default();
        self.file
            .set_len(0)
            .and_then(|()| self.file.seek(SeekFrom::Start(0)))
            .map_err(|e| disk_failure(&e, &self.path))?;
        Ok(())
    }

    fn append(&mut self, piece: &[u8]) -> Result<(), Failure> {
        self.file.write_all(piece).map_err(|e| disk_failure(&e, &self.path))?;
        self.digest.update(piece);
        Ok(())
    }

    /// Flushes the whole file and compares; a wrong one is removed, so that the next try begins anew.
    fn finish(self, stage: &Pull) -> Result<ContentHash, Failure> {
        let sha256 = self.digest.sha256();
        if sha256 == stage.sha256 {
            self.file.sync_all().map_err(|e| disk_failure(&e, &self.path))?;
            return Ok(self.digest.content());
        }
        std::fs::remove_file(&self.path).map_err(|e| disk_failure(&e, &self.path))?;
        Err(not_the_model(stage, &format!("its SHA-256 is {sha256}, not {}", stage.sha256)))
    }
}

/// Brings the part to its full length over as many connections as it takes; gives the bytes that came.
fn fetch(context: &Context, stage: &Pull, part: &mut Part, pace: &Pace) -> Result<u64, Halt> {
    let mut fetched = 0;
    let mut cuts = 0;
    while part.bytes() < stage.bytes {
        match one_connection(context, stage, part, pace, &mut fetched) {
            Ok(()) => {}
            Err(End::Halt(halt)) => return Err(halt),
            // Nothing has come yet: the queue's own tries, further apart, serve better than ours.
            Err(End::Cut(cause)) if fetched == 0 || cuts == CUTS_MAX => {
                return Err(network(stage, &cause, part.bytes()).into());
            }
            Err(End::Cut(_)) => {
                context.wait(pace.backoff * 2u32.pow(cuts))?;
                cuts += 1;
            }
        }
    }
    Ok(fetched)
}

fn one_connection(context: &Context, stage: &Pull, part: &mut Part, pace: &Pace, fetched: &mut u64) -> Result<(), End> {
    let stop = || context.cancelled();
    let in_words = |trouble: Trouble, kept: u64| match trouble {
        Trouble::Stopped => End::Halt(Halt::Stopped),
        Trouble::Network(cause) => End::Cut(cause),
        slow @ Trouble::TooSlow(..) => network(stage, &slow.to_string(), kept).into(),
        other => unusable(stage, FailureKind::Server, &other.to_string()).into(),
    };
    let mut answer = http::get(&Ask::publisher(&stage.url, part.bytes()), &pace.patience, &stop)
        .map_err(|t| in_words(t, part.bytes()))?;
    if !accept(stage, part, &answer)? {
        return Ok(());
    }
    while let Some(piece) = answer.next(&stop).map_err(|t| in_words(t, part.bytes()))? {
        if part.bytes() == 0 && catalogue::is_web_page(&piece) {
            return Err(web_page(stage).into());
        }
        if piece.len() as u64 > stage.bytes - part.bytes() {
            part.start_over()?;
            return Err(not_the_model(stage, &format!("the server sends more than {} bytes", stage.bytes)).into());
        }
        part.append(&piece)?;
        *fetched += piece.len() as u64;
        context.progress(share(part.bytes(), stage.bytes));
    }
    if part.bytes() < stage.bytes {
        return Err(End::Cut(format!("the answer ended after {} of {} bytes", part.bytes(), stage.bytes)));
    }
    Ok(())
}

/// Whether the body is the rest of the model; `false` = ask again, from the beginning.
fn accept(stage: &Pull, part: &mut Part, answer: &Answer) -> Result<bool, Failure> {
    let head = &answer.head;
    match head.status.as_u16() {
        200 => {
            if head.header("content-type").is_some_and(|kind| kind.trim_start().starts_with("text/html")) {
                return Err(web_page(stage));
            }
            if let Some(length) = head.content_length().filter(|length| *length != stage.bytes) {
                return Err(not_the_model(stage, &format!("the server has {length} bytes of it, not {}", stage.bytes)));
            }
            if part.bytes() > 0 {
                // A server that knows no ranges sends it all again.
                part.start_over()?;
            }
            Ok(true)
        }
        206 => match head.content_range() {
            Some((from, whole)) if from == part.bytes() && whole.is_none_or(|whole| whole == stage.bytes) => Ok(true),
            Some((_, Some(whole))) if whole != stage.bytes => {
                Err(not_the_model(stage, &format!("the server has {whole} bytes of it, not {}", stage.bytes)))
            }
            _ => Err(unusable(stage, FailureKind::Server, "the server sent another part than the one asked for")),
        },
        // It has less than is here already, so what is here is not of this file.
        416 if part.bytes() > 0 => {
            part.start_over()?;
            Ok(false)
        }
        status => Err(refused(stage, status, head.header("retry-after"))),
    }
}

fn refused(stage: &Pull, status: u16, retry_after: Option<&str>) -> Failure {
    let kind = kind_of_refusal(status);
    let after = match retry_after {
        Some(after) if kind == FailureKind::RateLimited => format!(", to be asked again after {} s", escaped(after)),
        _ => String::new(),
    };
    let failure =
        unusable(stage, kind, &format!("the server answered {status}{after}")).retry_after(asked_wait_ms(retry_after));
    match kind {
        FailureKind::Auth => failure.advise("this address wants a login, which models never need: check the mirror"),
        FailureKind::Input => failure.advise("the file is not at this address: check the mirror"),
        _ => failure,
    }
}

fn unusable(stage: &Pull, kind: FailureKind, cause: &str) -> Failure {
    Failure::new(kind, format!("failed to fetch {}: {}", escaped(&stage.url), escaped(cause)))
}

fn network(stage: &Pull, cause: &str, kept: u64) -> Failure {
    let kept = if kept > 0 { format!("; {kept} of {} bytes are kept", stage.bytes) } else { String::new() };
    unusable(stage, FailureKind::Network, &format!("{cause}{kept}")).advise(format!(
        "check the connection or name a mirror ({}), then `spindlectl models pull {}`",
        catalogue::MIRROR_VARIABLE,
        stage.name
    ))
}

fn web_page(stage: &Pull) -> Failure {
    not_the_model(stage, "the server sent a web page")
}

fn not_the_model(stage: &Pull, cause: &str) -> Failure {
    let failure = format!("what lies at {} is not the model `{}`: {cause}", escaped(&stage.url), stage.name);
    Failure::new(FailureKind::ModelMissing, failure).advise(format!(
        "if a mirror is set ({}) it may be wrong; a login page of the network may stand between, too",
        catalogue::MIRROR_VARIABLE
    ))
}

fn shown(path: &Path) -> String {
    escaped(&path.to_string_lossy())
}

fn share(done: u64, whole: u64) -> f32 {
    if whole == 0 { 1.0 } else { (done as f64 / whole as f64) as f32 }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    use spindle_shared::id::RunId;
    use spindle_shared::job::OutputPlan;
    use spindle_shared::stage::Stage;
    use spindle_shared::worker::Assignment;
    use tempfile::TempDir;

    use super::*;
    use crate::remote::scripted::{Server, Step, WHOLE};

    /// A run with its folder, against one server.
    struct Scene {
        folder: TempDir,
        stop: Arc<AtomicBool>,
        stage: Pull,
    }

    const FILE: &str = "ggml-test.bin";

    fn body() -> Vec<u8> {
        (0..300_000u32).flat_map(|i| (i.wrapping_mul(2_654_435_761) >> 8).to_le_bytes()).take(300_000).collect()
    }

    fn sha256(bytes: &[u8]) -> String {
        let mut both = Both::default();
        both.update(bytes);
        both.sha256()
    }

    impl Scene {
        fn new(server: &Server) -> Scene {
            let body = body();
            let stage = Pull {
                name: "test".to_owned(),
                url: server.url.clone(),
                file: FILE.to_owned(),
                bytes: body.len() as u64,
                sha256: sha256(&body),
            };
            Scene { folder: tempfile::tempdir().unwrap(), stop: Arc::new(AtomicBool::new(false)), stage }
        }

        fn run(&self) -> Result<Done, Halt> {
            let patience = http::Patience {
                connect: Duration::from_secs(5),
                answer: Duration::from_secs(5),
                drip_window: Duration::from_millis(300),
                drip_bytes: 1_000,
            };
            let pace = Pace { patience, backoff: Duration::from_millis(1) };
            let assignment = Assignment {
                scratch: self.folder.path().into(),
                output: OutputPlan { directory: self.folder.path().into(), ..OutputPlan::default() },
                part_tag: "tag".to_owned(),
                ..Assignment::of(RunId { boot: 1, counter: 1 }, Stage::Pull(self.stage.clone()))
            };
            let context = Context::new(assignment, Vec::new(), Arc::clone(&self.stop), Arc::new(|_| {}));
            pull(&context, &self.stage, &pace)
        }

        fn fails(&self) -> Failure {
            match self.run() {
                Err(Halt::Failed(failure)) => failure,
                other => panic!("no failure: {other:?}"),
            }
        }

        fn target(&self) -> PathBuf {
            self.folder.path().join(FILE)
        }

        fn part(&self) -> PathBuf {
            self.folder.path().join(format!(".{FILE}.spindle-tag.part"))
        }

        /// The model is there under its name, alone, and the report says so.
        fn is_pulled(&self) {
            let done = self.run().unwrap();
            assert_eq!(std::fs::read(self.target()).unwrap(), body());
            let Published { output, content, .. } = &done.outputs[0];
            assert_eq!((output.path.as_path(), output.bytes), (self.target().as_path(), self.stage.bytes));
            assert_eq!(content.0, *blake3::hash(&body()).as_bytes());
            assert_eq!(self.files(), [FILE]);
        }

        fn files(&self) -> Vec<String> {
            let entries = std::fs::read_dir(self.folder.path()).unwrap();
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
        }
    }

    /// It says that it closes, as it does: a client that came again on the same connection would find it dead, or not yet.
    fn status(line: &str, headers: &str) -> Step {
        Step::Raw(format!("HTTP/1.1 {line}\r\n{headers}Connection: close\r\nContent-Length: 0\r\n\r\n"))
    }

    #[test]
    fn a_whole_answer_becomes_the_model() {
        let server = Server::start(&body(), [WHOLE]);
        Scene::new(&server).is_pulled();
        assert_eq!(server.asked(), [None]);
    }

    #[test]
    fn three_cuts_cost_nothing_that_came() {
        let cut = || Step::Serve { cut_after: 70_000 };
        let server = Server::start(&body(), [cut(), cut(), cut(), WHOLE]);
        Scene::new(&server).is_pulled();
        let from = |n: u32| Some(format!("bytes={n}-"));
        assert_eq!(server.asked(), [None, from(70_000), from(140_000), from(210_000)]);
    }

    #[test]
    fn a_sixth_cut_is_a_failure_that_keeps_what_came() {
        let server = Server::start(&body(), (0..6).map(|_| Step::Serve { cut_after: 10_000 }));
        let scene = Scene::new(&server);
        let failure = scene.fails();
        assert_eq!(failure.kind, FailureKind::Network, "{failure}");
        assert_eq!(server.asked().len(), 6);
        assert_eq!(std::fs::read(scene.part()).unwrap(), body()[..60_000]);
        assert!(!scene.target().exists());
    }

    #[test]
    fn a_server_without_ranges_sends_it_all_again() {
        let server = Server::start(&body(), [Step::Serve { cut_after: 100_000 }, Step::Chunked(body())]);
        Scene::new(&server).is_pulled();
        assert_eq!(server.asked().len(), 2);
    }

    #[test]
    fn what_a_killed_run_left_is_taken_up() {
        let server = Server::start(&body(), [WHOLE]);
        let scene = Scene::new(&server);
        std::fs::write(scene.part(), &body()[..123_456]).unwrap();
        scene.is_pulled();
        assert_eq!(server.asked(), [Some("bytes=123456-".to_owned())]);
    }

    #[test]
    fn a_whole_part_needs_no_server() {
        let server = Server::start(&body(), []);
        let scene = Scene::new(&server);
        std::fs::write(scene.part(), body()).unwrap();
        scene.is_pulled();
    }

    #[test]
    fn a_torn_or_foreign_part_is_fetched_anew() {
        let mut torn = body()[..100_000].to_vec();
        torn[50_000] ^= 1;
        let server = Server::start(&body(), [WHOLE, WHOLE]);
        let scene = Scene::new(&server);
        std::fs::write(scene.part(), torn).unwrap();
        scene.is_pulled();
        assert_eq!(server.asked(), [Some("bytes=100000-".to_owned()), None]);

        let server = Server::start(&body(), [WHOLE]);
        let scene = Scene::new(&server);
        std::fs::write(scene.part(), vec![7; 300_001]).unwrap();
        scene.is_pulled();
        assert_eq!(server.asked(), [None]);
    }

    #[test]
    fn a_model_that_is_there_already_is_the_result() {
        let server = Server::start(&body(), []);
        let scene = Scene::new(&server);
        std::fs::write(scene.target(), body()).unwrap();
        scene.is_pulled();
    }

    #[test]
    fn another_file_of_that_name_stays_as_it_is() {
        let mut other = body();
        other[0] ^= 1;
        for content in [b"mine".to_vec(), other] {
            let server = Server::start(&body(), []);
            let scene = Scene::new(&server);
            std::fs::write(scene.target(), &content).unwrap();
            assert_eq!(scene.fails().kind, FailureKind::Exists);
            assert_eq!(std::fs::read(scene.target()).unwrap(), content);
            assert_eq!(scene.files(), [FILE]);
        }
    }

    #[test]
    fn what_is_not_the_model_never_gets_its_name() {
        let mut wrong = body();
        wrong[299_999] ^= 1;
        let mut long = body();
        long.push(0);
        let page = "<!doctype html><title>Log in</title>";
        let typed = format!("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\n\r\n", page.len());
        for (step, says) in [
            (Step::Chunked(wrong), "SHA-256"),
            (Step::Chunked(long), "more than 300000 bytes"),
            (Step::Raw("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nggml".to_owned()), "4 bytes"),
            (Step::Chunked(format!("\n  {page}").into_bytes()), "web page"),
            (Step::Raw(format!("{typed}{page}")), "web page"),
        ] {
            let server = Server::start(&body(), [step]);
            let scene = Scene::new(&server);
            let failure = scene.fails();
            assert_eq!(failure.kind, FailureKind::ModelMissing, "{failure}");
            assert!(failure.message.contains(says), "{says}: {failure}");
            assert!(failure.advice.contains("mirror"));
            assert!(scene.files().is_empty(), "{says}: {:?}", scene.files());
        }
    }

    #[test]
    fn a_web_page_in_between_costs_nothing_that_came() {
        let page = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>".to_owned();
        let server = Server::start(&body(), [Step::Serve { cut_after: 100_000 }, Step::Raw(page)]);
        let scene = Scene::new(&server);
        assert_eq!(scene.fails().kind, FailureKind::ModelMissing);
        assert_eq!(std::fs::read(scene.part()).unwrap(), body()[..100_000]);
    }

    #[test]
    fn what_the_server_says_decides_the_kind() {
        for (line, kind) in [
            ("401 Unauthorized", FailureKind::Auth),
            ("403 Forbidden", FailureKind::Auth),
            ("404 Not Found", FailureKind::Input),
            ("410 Gone", FailureKind::Input),
            ("429 Too Many Requests", FailureKind::RateLimited),
            ("500 Internal Server Error", FailureKind::Server),
            ("503 Service Unavailable", FailureKind::Server),
        ] {
            let server = Server::start(&body(), [status(line, "Retry-After: 7\r\n")]);
            let scene = Scene::new(&server);
            let failure = scene.fails();
            assert_eq!(failure.kind, kind, "{line}: {failure}");
            assert!(failure.message.contains(&line[..3]), "{failure}");
            assert_eq!(failure.message.contains("7 s"), kind == FailureKind::RateLimited, "{failure}");
            assert_eq!(failure.retry_after_ms, Some(7_000));
            assert!(scene.files().is_empty());
        }
    }

    #[test]
    fn redirects_are_followed_but_not_for_ever() {
        let to = |location: &str| status("302 Found", &format!("Location: {location}\r\n"));
        let server = Server::start(&body(), [to("/elsewhere?signed=1"), to("again"), WHOLE]);
        Scene::new(&server).is_pulled();

        let server = Server::start(&body(), (0..6).map(|_| to("/round")));
        let failure = Scene::new(&server).fails();
        assert_eq!(failure.kind, FailureKind::Server);
        assert!(failure.message.contains("redirects"), "{failure}");
        assert_eq!(server.asked().len(), 6);

        let server = Server::start(&body(), [to("http://example.org/model")]);
        let failure = Scene::new(&server).fails();
        assert!(failure.message.contains("not encrypted"), "{failure}");
    }

    #[test]
    fn nobody_there_and_nobody_answering_are_network_failures() {
        let server = Server::start(&body(), []);
        let mut scene = Scene::new(&server);
        let failure = scene.fails();
        assert_eq!(failure.kind, FailureKind::Network, "{failure}");
        assert!(failure.advice.contains("spindlectl models pull test"));
        assert!(scene.files().is_empty());
        scene.stage.url = "http://model.example.invalid/".to_owned();
        assert_eq!(scene.fails().kind, FailureKind::Input);
        scene.stage.url = "https://model.example.invalid/".to_owned();
        assert_eq!(scene.fails().kind, FailureKind::Network);
    }

    #[test]
    fn a_drip_and_a_silence_end_in_time() {
        for step in [Step::Drip, Step::HalfThenSilence] {
            let server = Server::start(&body(), [step]);
            let scene = Scene::new(&server);
            let failure = scene.fails();
            assert_eq!(failure.kind, FailureKind::Network, "{failure}");
            assert!(failure.message.contains("too slowly"), "{failure}");
            assert!(!scene.target().exists());
        }
    }

    #[test]
    fn a_wish_to_stop_is_heard_while_the_server_is_silent() {
        for step in [Step::HalfThenSilence, Step::Silence] {
            let server = Server::start(&body(), [step]);
            let mut scene = Scene::new(&server);
            scene.stage.name = "stopped".to_owned();
            std::thread::scope(|scope| {
                let run = scope.spawn(|| scene.run());
                server.half_sent.recv().unwrap();
                scene.stop.store(true, Ordering::Relaxed);
                // Not heard, the silence would end it as too slow.
                assert!(matches!(run.join().unwrap(), Err(Halt::Stopped)));
            });
            assert!(!scene.target().exists());
        }
    }

    #[test]
    fn a_folder_that_can_not_be_written_leaves_nothing() {
        let server = Server::start(&body(), []);
        let scene = Scene::new(&server);
        std::fs::create_dir(scene.part()).unwrap();
        let failure = scene.fails();
        assert_eq!(failure.kind, FailureKind::Internal, "{failure}");
        assert!(!scene.target().exists());
    }

    #[test]
    fn more_than_the_disk_holds_is_told_before_the_first_byte() {
        let server = Server::start(&body(), []);
        let mut scene = Scene::new(&server);
        scene.stage.bytes = u64::MAX / 2;
        let failure = scene.fails();
        assert!(failure.advice.contains("make room"), "{failure}");
        assert!(scene.files().is_empty());
    }

    #[test]
    fn a_link_in_the_parts_place_leads_nowhere() {
        let server = Server::start(&body(), []);
        let scene = Scene::new(&server);
        let elsewhere = tempfile::tempdir().unwrap();
        let precious = elsewhere.path().join("precious");
        std::fs::write(&precious, "mine").unwrap();
        std::os::unix::fs::symlink(&precious, scene.part()).unwrap();
        scene.fails();
        assert_eq!(std::fs::read(precious).unwrap(), b"mine");
    }
}
