//! A recording out of the page around it, by a program that knows how sites hide them (yt-dlp). It gets a fixed list of options and no shell, an empty
//! folder, an environment of its own, and no way out but the gate; what it is called on the page is of no matter here.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, kill_process_group, set_parent_process_death_signal, waitid,
};
use spindle_shared::failure::{Failure, FailureKind};
use spindle_shared::text::escaped;
use spindle_shared::url::Url;

use super::gate::Gate;
use crate::context::{Context, Halt, LOOK_EVERY, disk_failure};

const MEASURE_EVERY: Duration = Duration::from_millis(250);
/// Of what it says is wrong.
const SAID_BYTES_MAX: usize = 16 << 10;
const TOLD_CHARS_MAX: usize = 300;
/// What the recording is called while it comes.
const FILE: &str = "recording";

/// What is wanted of a page.
pub struct Page<'p> {
    /// A name that is looked for in PATH, or a path.
    pub program: &'p str,
    pub url: &'p Url,
    pub bytes_max: u64,
    /// `HOST:PORT` that may be connected to although they are not public.
    pub allow: &'p [String],
}

/// Leaves the recording in a folder of its own below `folder`, and gives its path.
pub fn fetch(context: &Context, page: &Page<'_>, folder: &Path) -> Result<PathBuf, Halt> {
    let room = folder.join(".page");
    // What an earlier try left may be of another version of it.
    let _ = std::fs::remove_dir_all(&room);
    std::fs::create_dir(&room).map_err(|error| disk_failure(&error, &room))?;
    let gate = Gate::open(page.allow.to_vec())
        .map_err(|error| Failure::new(FailureKind::Internal, format!("no way out for {}: {error}", page.program)))?;
    let mut running = Running::start(page, &room, &gate)?;
    let ended = running.wait(context, page, &room);
    // Whatever it has started goes with it.
    running.kill();
    let went_well = ended?;
    let said = running.said.recv_timeout(Duration::from_secs(2)).unwrap_or_default();
    let file = room.join(FILE);
    let is_there = std::fs::symlink_metadata(&file).is_ok_and(|found| found.is_file() && found.len() > 0);
    match went_well && is_there {
        true => Ok(file),
        false => Err(page.failure(&said, &gate).into()),
    }
}

/// Its options: nothing of the machine's or the user's own settings, one recording, in one file, with no other program's help.
fn arguments(page: &Page<'_>, proxy: &str) -> Vec<String> {
    let mut arguments: Vec<String> = [
        "--ignore-config",
        "--no-cache-dir",
        "--no-cookies",
        "--no-playlist",
        "--playlist-items=1",
        "--no-exec",
        "--no-mtime",
        "--no-continue",
        "--no-simulate",
        "--fixup=never",
        "--downloader=native",
        "--hls-prefer-native",
        "--match-filters=!is_live",
        // Sound and pictures in one file: joining two is another program's work.
        "--format=b/ba/bv",
        "--retries=5",
        "--fragment-retries=5",
        "--socket-timeout=30",
        "--quiet",
        "--progress",
        "--newline",
        "--progress-template=download:%(progress.downloaded_bytes)s %(progress.total_bytes)s %(progress.total_bytes_estimate)s",
    ]
    .map(str::to_owned)
    .into();
    arguments.push(format!("--max-filesize={}", page.bytes_max));
    arguments.push(format!("--proxy={proxy}"));
    arguments.push(format!("--output={FILE}"));
    // Nothing behind this is an option, whatever it looks like.
    arguments.push("--".to_owned());
    arguments.push(page.url.as_str().to_owned());
    arguments
}

struct Running {
    child: Child,
    said: Receiver<String>,
    progress: Receiver<f32>,
}

impl Running {
    fn start(page: &Page<'_>, room: &Path, gate: &Gate) -> Result<Running, Failure> {
        let proxy = gate.url();
        let mut command = Command::new(page.program);
        command.args(arguments(page, &proxy)).current_dir(room).process_group(0);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.env_clear().env("LANG", "C.UTF-8").env("PYTHONDONTWRITEBYTECODE", "1");
        command.envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
        for name in ["HOME", "TMPDIR", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME"] {
            command.env(name, room);
        }
        for name in ["http_proxy", "https_proxy", "all_proxy"] {
            command.env(name, &proxy);
        }
        // SAFETY: between fork and exec one system call is made: no allocation, no lock.
        unsafe {
            command.pre_exec(|| Ok(set_parent_process_death_signal(Some(Signal::KILL))?));
        }
        let mut child = command.spawn().map_err(|error| missing(page.program, &error.to_string()))?;
        let (out, err) = (child.stdout.take(), child.stderr.take());
        let ((say, said), (tell, progress)) = (channel(), channel());
        let mut running = Running { child, said, progress };
        let thread = || thread::Builder::new().name("page".to_owned());
        let spawned = thread().spawn(move || drop(say.send(err.map(last_words).unwrap_or_default()))).and_then(|_| {
            thread().spawn(move || {
                let Some(mut lines) = out.map(BufReader::new) else { return };
                let mut line = Vec::new();
                while lines.by_ref().take(4_096).read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
                    if let Some(share) = share(&String::from_utf8_lossy(&line)) {
                        let _ = tell.send(share);
                    }
                    line.clear();
                }
            })
        });
        match spawned {
            Ok(_) => Ok(running),
            Err(error) => {
                running.kill();
                Err(Failure::new(FailureKind::Internal, format!("no thread for {}: {error}", page.program)))
            }
        }
    }

    /// Until it ends by itself, is told to stop, or has brought too much; gives whether it went well.
    fn wait(&mut self, context: &Context, page: &Page<'_>, room: &Path) -> Result<bool, Halt> {
        let mut measured = Instant::now();
        loop {
            context.go_on()?;
            if let Some(share) = self.progress.try_iter().last() {
                context.progress(share);
            }
            if measured.elapsed() >= MEASURE_EVERY {
                measured = Instant::now();
                let bytes = size_of(room);
                if bytes > page.bytes_max {
                    return Err(page.too_large().into());
                }
            }
            // It is not reaped before its group is gone: until then nobody else gets its number.
            let (of, how) = (WaitId::Pid(Pid::from_child(&self.child)), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT);
            match waitid(of, how | WaitIdOptions::NOHANG) {
                Ok(Some(status)) => return Ok(status.exit_status() == Some(0)),
                Ok(None) => thread::sleep(LOOK_EVERY),
                Err(error) => {
                    let message = format!("failed to wait for {}: {error}", page.program);
                    return Err(Failure::new(FailureKind::Internal, message).into());
                }
            }
        }
    }

    /// The whole group: whoever it has started, too.
    fn kill(&mut self) {
        let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        let _ = self.child.wait();
    }
}

impl Page<'_> {
    fn too_large(&self) -> Failure {
        let max = self.bytes_max >> 20;
        let message = format!("failed to fetch {}: it is larger than the {max} MiB that are allowed", self.url);
        Failure::new(FailureKind::Input, message)
            .advise("raise `input_max_mib` in the configuration's [remote], or take a smaller recording")
    }

    fn failure(&self, said: &str, gate: &Gate) -> Failure {
        if let Some(forbidden) = gate.refused() {
            let host = escaped(&forbidden.host);
            let message = format!("failed to fetch {}: it leads to {forbidden}", self.url);
            return Failure::new(FailureKind::Permission, message).advise(format!(
                "if it is meant, whoever runs spindled writes allow = [\"{host}\"] into the configuration's [remote]"
            ));
        }
        if said.contains("No space left on device") {
            return disk_failure(&std::io::Error::from(std::io::ErrorKind::StorageFull), Path::new(FILE));
        }
        if said.contains("larger than max-filesize") {
            return self.too_large();
        }
        let told = words(said).replace(self.url.as_str(), &self.url.to_string());
        let told = if told.is_empty() { "it left no recording".to_owned() } else { escaped(&told).to_string() };
        let has = |words: &[&str]| words.iter().any(|word| said.contains(word));
        let kind = if has(&["HTTP Error 429"]) {
            FailureKind::RateLimited
        } else if has(&["HTTP Error 401", "HTTP Error 403", "Sign in", "login required", "--cookies"]) {
            FailureKind::Auth
        } else if has(&["HTTP Error 5"]) {
            FailureKind::Server
        } else if has(&["timed out", "Connection", "Temporary failure", "Unable to connect", "IncompleteRead"]) {
            FailureKind::Network
        } else {
            FailureKind::Input
        };
        Failure::new(kind, format!("failed to fetch {} by {}: {told}", self.url, self.program)).advise(format!(
            "open the address in a browser; if a recording plays there, a newer {} may find it",
            self.program
        ))
    }
}

/// Of a machine without the program.
fn missing(program: &str, why: &str) -> Failure {
    let program = escaped(program);
    Failure::new(FailureKind::ModelMissing, format!("{program}, which reads pages, can't be started: {why}")).advise(
        "install yt-dlp where the daemon's PATH finds it, or set `ytdlp_program` in the configuration's [remote]; then start the daemon anew, \
         as its workers may start only what was there when it began",
    )
}

/// The end of what it says, as far as that is worth anything; read to the end, so that it never waits for us.
fn last_words(from: impl Read) -> String {
    let (mut from, mut last, mut piece) = (from, Vec::new(), [0; 4_096]);
    while let Ok(read) = from.read(&mut piece) {
        if read == 0 {
            break;
        }
        last.extend_from_slice(&piece[..read]);
        let over = last.len().saturating_sub(SAID_BYTES_MAX);
        last.drain(..over);
    }
    String::from_utf8_lossy(&last).into_owned()
}

/// The last error among what it said.
fn words(said: &str) -> String {
    let errors = said.lines().rev().find_map(|line| line.trim().strip_prefix("ERROR:"));
    let line = errors.or_else(|| said.lines().rev().find(|line| !line.trim().is_empty())).unwrap_or_default();
    let line = line.split("; please report").next().unwrap_or_default().trim();
    line.chars().take(TOLD_CHARS_MAX).collect()
}

/// `DOWNLOADED TOTAL ESTIMATE`, with NA for what is not known.
fn share(line: &str) -> Option<f32> {
    let mut numbers = line.split_whitespace().map(|word| word.parse::<f64>().ok().filter(|number| number.is_finite()));
    let came = numbers.next()??;
    let whole = numbers.flatten().find(|whole| *whole > 0.0)?;
    Some((came / whole).clamp(0.0, 1.0) as f32)
}

/// Of all files in it.
fn size_of(folder: &Path) -> u64 {
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    files.filter_map(|file| file.metadata().ok()).filter(std::fs::Metadata::is_file).map(|file| file.len()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_an_argument_and_never_an_option() {
        for text in [
            "https://youtu.be/--exec=touch%20x",
            "https://youtu.be/;touch$IFS/tmp/x",
            "https://youtu.be/$(touch)`x`'\"",
            "https://youtu.be/watch?v=-o/etc/passwd",
        ] {
            let url = Url::parse(text).unwrap();
            let page = Page { program: "yt-dlp", url: &url, bytes_max: 7, allow: &[] };
            let arguments = arguments(&page, "http://127.0.0.1:1");
            let end = arguments.iter().position(|argument| argument == "--").unwrap();
            assert_eq!(arguments[end + 1..], [url.as_str().to_owned()]);
            assert!(arguments[..end].iter().all(|argument| argument.starts_with("--")), "{arguments:?}");
            assert!(arguments.contains(&"--output=recording".to_owned()) && arguments[0] == "--ignore-config");
        }
    }

    #[test]
    fn what_it_says_is_understood() {
        assert_eq!(share("50 200 NA\n"), Some(0.25));
        assert_eq!(share("50 NA 100.0"), Some(0.5));
        assert_eq!((share("50 NA NA"), share("nonsense"), share("")), (None, None, None));
        let said = "WARNING: x\nERROR: [generic] Unsupported URL: u; please report this issue\n";
        assert_eq!(words(said), "[generic] Unsupported URL: u");
        let long = "x".repeat(100_000);
        assert_eq!(last_words(long.as_bytes()).len(), SAID_BYTES_MAX);
    }
}
