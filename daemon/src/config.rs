//! Configuration: one TOML file and the environment, defaults for everything. Errors point at the file, the line and the key.

#[path = "config/changes.rs"]
pub mod changes;
#[path = "config/place.rs"]
mod place;

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, Serialize};
use spindle_core::alert::Thresholds;
use spindle_shared::catalogue::Mirror;
use spindle_shared::lane::Lane;
use spindle_shared::limits::{ALLOWED_HOSTS_MAX, HOOKS_MAX, PROFILES_MAX, PROVIDERS_MAX, SITES_MAX};
use spindle_shared::notify::Notify;
use spindle_shared::object_store::{ObjectStore, Secret, StoreView, names_a_key};
use spindle_shared::paths::{self, Service};
use spindle_shared::stage::compress::{DYNAMIC, Profile};
use spindle_shared::stage::fetch::{Fetch, Pages};
use spindle_shared::url::{self, Url};

use crate::providers::{self, OwnProvider, Provider};

/// Everything that can be set. Each key may also come from the environment as `SPINDLE_<SECTION>__<KEY>`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    pub daemon: Daemon,
    pub spool: Spool,
    pub lanes: Lanes,
    pub workers: Workers,
    pub limits: Limits,
    pub models: Models,
    pub housekeeping: Housekeeping,
    pub remote: Remote,
    pub alerts: AlertRules,
    pub metrics: Metrics,
    pub log: Log,
    pub notifications: Notifications,
    pub folders: WatchedFolders,
    /// Who is told of what, by name.
    pub hooks: BTreeMap<String, Hook>,
    /// Buckets that inputs come from and outputs go to, by name.
    pub stores: BTreeMap<String, Store>,
    /// What videos can be made into besides the built-in profiles, by name.
    pub profiles: BTreeMap<String, OwnProfile>,
    /// Model APIs besides those that Spindle knows, or those otherwise, by name.
    pub providers: BTreeMap<String, OwnProvider>,
}

/// Group of the administrators of the system's service: packages make it, with nobody in it.
pub const ADMINISTRATORS: &str = "spindle-admin";

/// Who may talk to the daemon.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Daemon {
    /// Group of the socket; default: the daemon's own.
    pub socket_group: Option<String>,
    /// Who may connect; default: 0660 for the system's service and where a group is named, else 0600.
    #[serde(deserialize_with = "socket_mode")]
    pub socket_mode: Option<u32>,
    /// Whoever is in it may do what the daemon's user and root may, but name files of this machine; default: [`ADMINISTRATORS`] for the system's
    /// service.
    pub admin_group: Option<String>,
}

/// The three that mean something for a socket, as text (`"0660"`) or, from the environment, as the number with these digits.
fn socket_mode<'de, D: Deserializer<'de>>(value: D) -> Result<Option<u32>, D::Error> {
    let digits = match toml::Value::deserialize(value)? {
        toml::Value::String(text) => text,
        toml::Value::Integer(number) => number.to_string(),
        _ => String::new(),
    };
    match u32::from_str_radix(&digits, 8) {
        Ok(mode @ (0o600 | 0o660 | 0o666)) => Ok(Some(mode)),
        _ => Err(serde::de::Error::custom("a socket's mode is \"0600\", \"0660\" or \"0666\"")),
    }
}

/// What users of a system service have lying in its folder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Spool {
    /// What one user's inputs and outputs may take together.
    pub user_mib: u64,
    /// Largest input that is taken.
    pub input_max_mib: u64,
    /// After a batch's end its outputs, and the inputs of what failed, stay so long.
    pub keep_days: u64,
}

impl Default for Spool {
    fn default() -> Self {
        Spool { user_mib: 51_200, input_max_mib: 20_480, keep_days: 7 }
    }
}

/// Slots of what is scarce.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Lanes {
    /// Processor slots; default: the machine's cores. 1–1024.
    pub cpu: Option<u32>,
    /// Runs that wait for the disk more than they compute. 1–64.
    pub io: u32,
    /// Transfers at once. 1–64.
    pub net: u32,
    /// Runs at once on each graphics card. 1–64.
    pub gpu: u32,
    /// Memory that all runs together may be expected to take; default: three quarters of the machine's. 32–16777216.
    pub memory_mib: Option<u64>,
    /// Of the state folder's disk, so much stays free; default: a twentieth, 8 at least and 1024 at most. 8–16777216.
    pub disk_reserve_mib: Option<u64>,
}

impl Default for Lanes {
    fn default() -> Self {
        Lanes { cpu: None, io: 4, net: 2, gpu: 1, memory_mib: None, disk_reserve_mib: None }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Workers {
    /// An idle worker leaves, and its model with it, after this long.
    pub idle_seconds: u64,
    /// A worker that decodes or listens makes room for a fresh one after this many runs.
    pub recycle_after: u32,
    /// …or after its memory has grown by this much.
    pub memory_growth_mib: u64,
    /// Memory that one worker may take; default: three quarters of the machine's. 32–16777216.
    pub memory_limit_mib: Option<u64>,
    /// Whether workers are walled in: no file, program, process or network but what their role needs.
    pub sandbox: bool,
    /// The worker program's build for graphics cards; default: none, and the processor does all work.
    pub gpu_program: Option<PathBuf>,
}

impl Default for Workers {
    fn default() -> Self {
        Workers {
            idle_seconds: 120,
            recycle_after: 50,
            memory_growth_mib: 1024,
            memory_limit_mib: None,
            sandbox: true,
            gpu_program: None,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Inputs of one batch; default: none but the house's own million.
    pub max_inputs: Option<u32>,
    /// Batches and jobs that one user may have open at the same time; default: any number.
    pub user_batches: Option<u32>,
    pub user_jobs: Option<u32>,
    /// Hours of recordings that are worked through for one user in a day (UTC); default: any number.
    pub user_media_hours: Option<u32>,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Models {
    /// Address that takes the place of the publisher's.
    pub mirror: Option<String>,
}

/// How long things are kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Housekeeping {
    /// Between two cleanings, the first of which comes so long after the start.
    pub every_minutes: u64,
    /// What is quickly made again.
    pub temporary_hours: u64,
    /// Transcripts and their like.
    pub artifacts_days: u64,
    /// Records of batches that have ended.
    pub records_days: u64,
}

impl Default for Housekeeping {
    fn default() -> Self {
        Housekeeping { every_minutes: 30, temporary_hours: 24, artifacts_days: 30, records_days: 30 }
    }
}

/// Inputs that lie elsewhere.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Remote {
    /// Largest input that is fetched.
    pub input_max_mib: u64,
    /// `HOST:PORT` that inputs may come from although they are no public ones.
    pub allow: Vec<String>,
    /// Sites whose addresses are pages around a recording: `HOST`, for all below it, too, or `HOST:PORT`.
    pub ytdlp: Vec<String>,
    /// The program that reads them: a name in PATH, or a path.
    pub ytdlp_program: String,
}

/// Of a script's first line, which names its interpreter.
const SHEBANG_BYTES_MAX: u64 = 256;

/// Sites that many name and whose addresses are no files.
const SITES: [&str; 4] = ["youtube.com", "youtu.be", "vimeo.com", "bilibili.com"];

impl Default for Remote {
    fn default() -> Self {
        Remote {
            input_max_mib: 20_480,
            allow: Vec::new(),
            ytdlp: SITES.map(str::to_owned).into(),
            ytdlp_program: "yt-dlp".to_owned(),
        }
    }
}

impl Remote {
    /// What a run is told that fetches.
    pub fn fetching(&self) -> Fetch {
        let bytes_max = self.input_max_mib.saturating_mul(1 << 20);
        let pages = Pages { program: self.ytdlp_program.clone(), sites: self.ytdlp.clone() };
        Fetch { bytes_max, allow: self.allow.clone(), store: None, pages }
    }

    /// The program that reads pages, where it is on this machine.
    pub fn reader(&self) -> Option<PathBuf> {
        let program = Path::new(&self.ytdlp_program);
        let is_program =
            |path: &PathBuf| rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok() && path.is_file();
        match program.components().count() {
            1 => {
                let path = std::env::var_os("PATH")?;
                std::env::split_paths(&path).map(|folder| folder.join(program)).find(is_program)
            }
            _ => Some(program.to_owned()).filter(is_program),
        }
    }

    /// What workers that fetch may start: that program, and the one that it is a script for.
    pub fn programs(&self) -> Vec<PathBuf> {
        let Some(reader) = self.reader().filter(|_| !self.ytdlp.is_empty()) else { return Vec::new() };
        let mut begin = Vec::new();
        let read = File::open(&reader).and_then(|file| file.take(SHEBANG_BYTES_MAX).read_to_end(&mut begin));
        let line = read.ok().and_then(|_| begin.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next());
        let interpreter = line.and_then(|line| std::str::from_utf8(line).ok()?.split_whitespace().next());
        [reader].into_iter().chain(interpreter.map(PathBuf::from)).collect()
    }
}

/// When a person should look. An alert fires when its rule has held for its time, and is over when it holds no more.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AlertRules {
    /// More failures than this, of the jobs that ended in five minutes.
    pub failures_percent: u64,
    /// …where there were so many jobs at least.
    pub failures_jobs: u64,
    pub failures_seconds: u64,
    /// Work to do, and no worker process.
    pub no_workers_seconds: u64,
    /// More jobs than this wait.
    pub queue_jobs: u64,
    pub queue_seconds: u64,
    /// The queue can't be read or written.
    pub store_seconds: u64,
    /// Work waits for something outside that is out of order.
    pub out_of_order_seconds: u64,
}

impl Default for AlertRules {
    fn default() -> Self {
        AlertRules {
            failures_percent: 10,
            failures_jobs: 10,
            failures_seconds: 300,
            no_workers_seconds: 60,
            queue_jobs: 100,
            queue_seconds: 600,
            store_seconds: 60,
            out_of_order_seconds: 300,
        }
    }
}

impl AlertRules {
    pub fn thresholds(&self) -> Thresholds {
        let small = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        Thresholds {
            failures: self.failures_percent as f64 / 100.0,
            failures_jobs: small(self.failures_jobs),
            failures_ms: self.failures_seconds * 1_000,
            no_workers_ms: self.no_workers_seconds * 1_000,
            queue: small(self.queue_jobs),
            queue_ms: self.queue_seconds * 1_000,
            store_ms: self.store_seconds * 1_000,
            out_of_order_ms: self.out_of_order_seconds * 1_000,
        }
    }
}

/// How watched folders are looked at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WatchedFolders {
    /// A file that has been the same for so long has stopped growing.
    pub stable_seconds: u64,
    /// Between two looks where nobody tells of a change.
    pub rescan_seconds: u64,
}

impl Default for WatchedFolders {
    fn default() -> Self {
        WatchedFolders { stable_seconds: 10, rescan_seconds: 60 }
    }
}

/// How what submissions name is told.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Notifications {
    /// Where what signs them is.
    pub secret: Option<String>,
}

/// Somebody who is told of everything of a kind.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Hook {
    /// `batch`, `failure`, `alert`.
    pub on: Vec<String>,
    /// A program and its arguments; without a shell.
    pub command: Vec<String>,
    pub url: Option<String>,
    /// Where what signs it is; default: `notifications.secret`.
    pub secret: Option<String>,
}

impl Hook {
    fn check(&self) -> Result<(), (&'static str, String)> {
        if self.on.is_empty() {
            return Err(("on", "it names at least one of batch, failure, alert".to_owned()));
        }
        if let Some(odd) = self.on.iter().find(|on| !["batch", "failure", "alert"].contains(&on.as_str())) {
            return Err(("on", format!("`{odd}` is none of batch, failure, alert")));
        }
        if self.url.is_some() != self.command.is_empty() {
            return Err(("command", "a hook has a command or a url, and not both".to_owned()));
        }
        if let Some(secret) = &self.secret {
            check_place(secret).map_err(|why| ("secret", why))?;
        }
        match &self.url {
            Some(url) => Notify::Webhook { url: url.clone(), secret: None }.validate().map_err(|why| ("url", why)),
            None => Notify::Command(self.command.clone()).validate().map_err(|why| ("command", why)),
        }
    }
}

/// Where the daemon's log goes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// As `SPINDLE_LOG`, which outranks it: `info`, `warn,spindled=debug`.
    pub level: String,
    pub to: LogTo,
    /// Of the files; default: `logs` in the state folder.
    pub folder: Option<String>,
    pub keep_days: u64,
    pub file_mib: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogTo {
    /// systemd's journal where that has standard error, else standard error.
    Auto,
    Stderr,
    /// Standard error, an object a line.
    Json,
    Journald,
    Files,
}

impl Default for Log {
    fn default() -> Self {
        Log { level: "info".to_owned(), to: LogTo::Auto, folder: None, keep_days: 14, file_mib: 64 }
    }
}

/// Metrics for who doesn't ask over the socket.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Metrics {
    /// Written again and again, for the node exporter's textfile collector.
    pub file: Option<String>,
    pub every_seconds: u64,
    /// Answers `GET /metrics` there.
    pub listen: Option<String>,
    /// `listen` may be an address that other machines reach.
    pub open_to_network: bool,
}

impl Default for Metrics {
    fn default() -> Self {
        Metrics { file: None, every_seconds: 15, listen: None, open_to_network: false }
    }
}

impl Metrics {
    fn check(&self) -> Result<(), (&'static str, String)> {
        if let Some(file) = &self.file
            && !(file.starts_with('/') && file.ends_with(".prom"))
        {
            return Err(("file", "it is the absolute path of a file whose name ends with .prom".to_owned()));
        }
        if let Some(listen) = &self.listen {
            let Ok(address) = listen.parse::<std::net::SocketAddr>() else {
                return Err(("listen", format!("`{listen}` is no ADDRESS:PORT, 127.0.0.1:9469 say")));
            };
            if !address.ip().is_loopback() && !self.open_to_network {
                let why = "other machines reach that address, and anybody there could read it: take 127.0.0.1, or say open_to_network = true";
                return Err(("listen", why.to_owned()));
            }
        }
        Ok(())
    }
}

/// A bucket of a service that speaks the S3 protocol.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Store {
    /// `https://HOST[:PORT]`.
    pub endpoint: String,
    pub bucket: String,
    #[serde(default = "usual_region")]
    pub region: String,
    /// The bucket is the first part of the path, and not of the host's name.
    #[serde(default)]
    pub path_style: bool,
    /// Where its keys are: `env:NAME`, `file:PATH`, `credential:NAME` (systemd's).
    pub access_key: String,
    pub secret_key: String,
    /// How long links to outputs live; 0 = none are made.
    #[serde(default)]
    pub link_minutes: u64,
}

fn usual_region() -> String {
    "us-east-1".to_owned()
}

/// Longest life of a link, as the protocol has it: a week.
const LINK_MINUTES_MAX: u64 = 7 * 24 * 60;

impl Store {
    /// `Err` = which of its keys is wrong, and why.
    fn check(&self) -> Result<(), (&'static str, String)> {
        match Url::parse(&self.endpoint) {
            Ok(url) if url.in_store().is_none() && url.login().is_none() => {}
            Ok(_) => return Err(("endpoint", "its endpoint is no https://HOST".to_owned())),
            Err(error) => return Err(("endpoint", format!("its endpoint {error}"))),
        }
        if Url::parse(&format!("s3://{}/x", self.bucket)).is_err() || self.bucket.contains(':') {
            return Err(("bucket", format!("`{}` is no bucket", self.bucket)));
        }
        if self.link_minutes > LINK_MINUTES_MAX {
            return Err(("link_minutes", format!("{} is outside 0–{LINK_MINUTES_MAX}", self.link_minutes)));
        }
        for (name, key) in [("access_key", &self.access_key), ("secret_key", &self.secret_key)] {
            check_place(key).map_err(|why| (name, why))?;
        }
        Ok(())
    }

    /// With its keys.
    fn opened(&self, name: &str) -> Result<ObjectStore, String> {
        let key = |source: &str| secret(source).map_err(|why| format!("stores.{name}: {why}"));
        Ok(ObjectStore {
            name: name.to_owned(),
            endpoint: self.endpoint.clone(),
            bucket: self.bucket.clone(),
            region: self.region.clone(),
            path_style: self.path_style,
            access_key: key(&self.access_key)?,
            secret_key: key(&self.secret_key)?,
            link_seconds: self.link_minutes * 60,
        })
    }
}

/// Whether this names a place where a key may be. The key itself in its place's stead must not be told.
fn check_place(key: &str) -> Result<(), String> {
    if !["env:", "file:", "credential:"].iter().any(|source| key.starts_with(source)) {
        return Err("a key is given as env:NAME, file:PATH or credential:NAME, never itself".to_owned());
    }
    // Workers get all of the environment but what is called so.
    match key.strip_prefix("env:") {
        Some(name) if !names_a_key(name) => {
            Err("a variable with a key has a name that ends with _KEY, _SECRET, _TOKEN or _PASSWORD".to_owned())
        }
        _ => Ok(()),
    }
}

/// What stands in an environment variable, a file, or one of systemd's credentials.
pub fn secret(source: &str) -> Result<Secret, String> {
    let read = |path: &Path| {
        std::fs::read_to_string(path).map_err(|error| format!("failed to read {}: {error}", path.display()))
    };
    let text = match source.split_once(':') {
        Some(("env", name)) => std::env::var(name).map_err(|_| format!("the environment has no {name}"))?,
        Some(("file", path)) => read(Path::new(path))?,
        Some(("credential", name)) => {
            let folder = std::env::var_os("CREDENTIALS_DIRECTORY").ok_or("systemd gave no credentials")?;
            read(&Path::new(&folder).join(name))?
        }
        _ => return Err("a key is given as env:NAME, file:PATH or credential:NAME".to_owned()),
    };
    match text.trim() {
        "" => Err(format!("{source} is empty")),
        key => Ok(Secret::new(key)),
    }
}

/// A profile of compression; what is left out is as in `balanced`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OwnProfile {
    pub width: Option<u32>,
    pub height: Option<u32>,
    pub fps: Option<u32>,
    /// 18–28.
    pub crf: Option<u32>,
    pub video_kbps: Option<u32>,
    pub audio_kbps: Option<u32>,
    pub audio_hz: Option<u32>,
    pub preset: Option<String>,
}

impl OwnProfile {
    fn settings(&self, name: &str) -> Profile {
        let [_, usual, _] = Profile::built_in();
        let bits = |kbps: Option<u32>, usual: u32| kbps.map_or(usual, |kbps| kbps.saturating_mul(1_000));
        Profile {
            name: name.to_owned(),
            width: self.width.unwrap_or(usual.width),
            height: self.height.unwrap_or(usual.height),
            rate: self.fps.unwrap_or(usual.rate),
            crf: self.crf.unwrap_or(usual.crf),
            bit_rate: bits(self.video_kbps, usual.bit_rate),
            audio_bit_rate: bits(self.audio_kbps, usual.audio_bit_rate),
            audio_rate: self.audio_hz.unwrap_or(usual.audio_rate),
            preset: self.preset.clone().unwrap_or(usual.preset),
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("failed to read the configuration {}: {error}", .path.display())]
    Read { path: PathBuf, error: std::io::Error },
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Wrong(Vec<Wrong>),
}

/// One thing that is wrong, and where it stands.
#[derive(Debug)]
pub struct Wrong {
    origin: Origin,
    /// `section.key`; empty where there is none.
    key: String,
    message: String,
}

#[derive(Debug)]
enum Origin {
    File { path: PathBuf, line: Option<usize> },
    Environment(String),
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Origin::File { path, line: Some(line) } => write!(f, "{}, line {line}: ", path.display())?,
            Origin::File { path, line: None } => write!(f, "{}: ", path.display())?,
            Origin::Environment(name) => write!(f, "the environment's {name}: ")?,
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)
    }
}

/// A key, and what is wrong with its value.
type Fault = (String, String);

/// What serde says of a key that doesn't exist, said so that it helps.
fn helpful(message: &str) -> String {
    let mut quoted = message.split('`').skip(1).step_by(2);
    let unknown = message.strip_prefix("unknown field").and_then(|_| quoted.next());
    let Some(unknown) = unknown else { return message.trim_end().to_owned() };
    let known: Vec<&str> = quoted.collect();
    match place::nearest(unknown, known.iter().copied()) {
        Some(near) => format!("there is no key `{unknown}`; did you mean `{near}`?"),
        None => format!("there is no key `{unknown}`; there are {}", known.join(", ")),
    }
}

impl Config {
    /// The named file, which must exist; else the default place, where nothing is as good as defaults.
    pub fn load(named: Option<&Path>, service: Service) -> Result<Config, ConfigError> {
        let path = named.map_or_else(|| paths::configuration(service), Path::to_owned);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && named.is_none() => String::new(),
            Err(error) => return Err(ConfigError::Read { path, error }),
        };
        Config::parse(&path, &text, std::env::vars())
    }

    fn parse(
        path: &Path,
        text: &str,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Result<Config, ConfigError> {
        let in_file = |error: &toml::de::Error| {
            let span = error.span();
            let line = span.as_ref().map(|span| place::line_at(text, span.start));
            let key = span.map(|span| place::key_at(text, &span)).unwrap_or_default();
            let origin = Origin::File { path: path.to_owned(), line };
            ConfigError::Wrong(vec![Wrong { origin, key, message: helpful(error.message()) }])
        };
        let mut table: toml::Table = toml::from_str(text).map_err(|error| in_file(&error))?;
        // The file alone first, so that its errors keep their line; the environment is laid over it afterwards.
        let mut config: Config = toml::from_str(text).map_err(|error| in_file(&error))?;
        let mut variables: BTreeMap<String, String> = BTreeMap::new();
        for (name, value) in environment {
            let Some(rest) = name.strip_prefix("SPINDLE_").filter(|rest| rest.contains("__")) else { continue };
            let key = rest.to_lowercase().replace("__", ".");
            let value = match (value.parse::<i64>(), value.as_str()) {
                (Ok(number), _) => toml::Value::Integer(number),
                (_, "true" | "false") => toml::Value::Boolean(value == "true"),
                _ => list(&value).unwrap_or(toml::Value::String(value)),
            };
            let wrong = |message: String| {
                let origin = Origin::Environment(name.clone());
                ConfigError::Wrong(vec![Wrong { origin, key: key.clone(), message }])
            };
            insert(&mut table, &key, value).map_err(wrong)?;
            config = Config::deserialize(toml::Value::Table(table.clone()))
                .map_err(|error| wrong(helpful(error.message())))?;
            variables.insert(key, name);
        }
        let faults = config.check();
        if faults.is_empty() {
            return Ok(config);
        }
        let wrongs = faults.into_iter().map(|(key, message)| {
            let origin = match variables.get(&key) {
                Some(name) => Origin::Environment(name.clone()),
                None => Origin::File { path: path.to_owned(), line: place::line_of(text, &key) },
            };
            Wrong { origin, key, message }
        });
        Err(ConfigError::Wrong(wrongs.collect()))
    }

    /// Everything that is wrong although it has the right shape.
    fn check(&self) -> Vec<Fault> {
        let mut faults: Vec<Fault> = Vec::new();
        let mut wrong = |key: &str, message: String| faults.push((key.to_owned(), message));
        for (key, value, valid) in self.numbers() {
            if let Some(value) = value.filter(|value| !valid.contains(value)) {
                wrong(key, format!("{value} is outside {}–{}", valid.start(), valid.end()));
            }
        }
        if let Some(Err(error)) = self.models.mirror.as_deref().map(Mirror::parse) {
            wrong("models.mirror", error.to_string());
        }
        if self.providers.len() > PROVIDERS_MAX {
            wrong("providers", format!("{} providers are more than {PROVIDERS_MAX}", self.providers.len()));
        }
        for (name, own) in &self.providers {
            let one = BTreeMap::from([(name.clone(), own.clone())]);
            if let Err(why) = providers::all(&one) {
                wrong(&format!("providers.{name}"), why);
            }
        }
        if self.remote.allow.len() > ALLOWED_HOSTS_MAX {
            wrong("remote.allow", format!("it has more than {ALLOWED_HOSTS_MAX} hosts"));
        }
        if let Some(why) = self.remote.allow.iter().find_map(|entry| url::check_allowed(entry).err()) {
            wrong("remote.allow", why);
        }
        if let Some(odd) = self.log.level.split(',').find(|part| !is_level(part)) {
            wrong(
                "log.level",
                format!("`{odd}` is not like info, or spindled=debug: error, warn, info, debug, trace, off"),
            );
        }
        if self.log.folder.as_ref().is_some_and(|folder| !folder.starts_with('/')) {
            wrong("log.folder", "it is an absolute path".to_owned());
        }
        if self.hooks.len() > HOOKS_MAX {
            wrong("hooks", format!("{} hooks are more than {HOOKS_MAX}", self.hooks.len()));
        }
        for (name, hook) in &self.hooks {
            if let Err((key, why)) = hook.check() {
                wrong(&format!("hooks.{name}.{key}"), why);
            }
        }
        if let Some(Err(why)) = self.notifications.secret.as_deref().map(check_place) {
            wrong("notifications.secret", why);
        }
        if let Err((key, why)) = self.metrics.check() {
            wrong(&format!("metrics.{key}"), why);
        }
        if self.remote.ytdlp.len() > SITES_MAX {
            wrong("remote.ytdlp", format!("it has more than {SITES_MAX} sites"));
        }
        if let Some(why) = self.remote.ytdlp.iter().find_map(|entry| url::check_site(entry).err()) {
            wrong("remote.ytdlp", why);
        }
        let program = Path::new(&self.remote.ytdlp_program);
        if program.as_os_str().is_empty() || (program.components().count() > 1 && program.is_relative()) {
            wrong("remote.ytdlp_program", "it is a name in PATH, or a path from /".to_owned());
        }
        for (name, store) in &self.stores {
            if let Err((key, why)) = store.check() {
                wrong(&format!("stores.{name}.{key}"), why);
            }
        }
        if self.profiles.len() > PROFILES_MAX {
            wrong("profiles", format!("{} profiles are more than {PROFILES_MAX}", self.profiles.len()));
        }
        for profile in self.profiles() {
            let key = format!("profiles.{}", profile.name);
            if profile.name == DYNAMIC || Profile::built_in().iter().any(|known| known.name == profile.name) {
                wrong(&key, format!("profile `{}` is built in: take another name", profile.name));
            } else if let Err(why) = profile.validate() {
                wrong(&key, why);
            }
        }
        faults
    }

    /// Numbers with the range that they must be in.
    fn numbers(&self) -> Vec<(&'static str, Option<u64>, std::ops::RangeInclusive<u64>)> {
        let Config { spool, lanes, workers, housekeeping, remote, limits, alerts, metrics, log, folders, .. } = self;
        vec![
            ("spool.user_mib", Some(spool.user_mib), 1..=16_777_216),
            ("spool.input_max_mib", Some(spool.input_max_mib), 1..=16_777_216),
            ("spool.keep_days", Some(spool.keep_days), 1..=365),
            ("lanes.cpu", lanes.cpu.map(u64::from), 1..=1024),
            ("lanes.io", Some(u64::from(lanes.io)), 1..=64),
            ("lanes.net", Some(u64::from(lanes.net)), 1..=64),
            ("lanes.gpu", Some(u64::from(lanes.gpu)), 1..=64),
            ("lanes.memory_mib", lanes.memory_mib, 32..=16_777_216),
            ("lanes.disk_reserve_mib", lanes.disk_reserve_mib, 8..=16_777_216),
            ("workers.idle_seconds", Some(workers.idle_seconds), 1..=86_400),
            ("workers.recycle_after", Some(u64::from(workers.recycle_after)), 1..=1_000_000),
            ("workers.memory_growth_mib", Some(workers.memory_growth_mib), 16..=1_048_576),
            ("workers.memory_limit_mib", workers.memory_limit_mib, 32..=16_777_216),
            ("housekeeping.every_minutes", Some(housekeeping.every_minutes), 1..=1_440),
            ("housekeeping.temporary_hours", Some(housekeeping.temporary_hours), 1..=168),
            ("housekeeping.artifacts_days", Some(housekeeping.artifacts_days), 1..=36_500),
            ("housekeeping.records_days", Some(housekeeping.records_days), 1..=36_500),
            ("remote.input_max_mib", Some(remote.input_max_mib), 1..=16_777_216),
            ("alerts.failures_percent", Some(alerts.failures_percent), 1..=100),
            ("alerts.failures_jobs", Some(alerts.failures_jobs), 1..=1_000_000),
            ("alerts.failures_seconds", Some(alerts.failures_seconds), 0..=86_400),
            ("alerts.no_workers_seconds", Some(alerts.no_workers_seconds), 0..=86_400),
            ("alerts.queue_jobs", Some(alerts.queue_jobs), 1..=100_000_000),
            ("alerts.queue_seconds", Some(alerts.queue_seconds), 0..=86_400),
            ("alerts.store_seconds", Some(alerts.store_seconds), 0..=86_400),
            ("alerts.out_of_order_seconds", Some(alerts.out_of_order_seconds), 0..=86_400),
            ("folders.stable_seconds", Some(folders.stable_seconds), 1..=86_400),
            ("folders.rescan_seconds", Some(folders.rescan_seconds), 1..=86_400),
            ("log.keep_days", Some(log.keep_days), 1..=3_650),
            ("log.file_mib", Some(log.file_mib), 1..=65_536),
            ("metrics.every_seconds", Some(metrics.every_seconds), 1..=86_400),
            ("limits.max_inputs", limits.max_inputs.map(u64::from), 1..=1_000_000),
            ("limits.user_batches", limits.user_batches.map(u64::from), 1..=1_000_000),
            ("limits.user_jobs", limits.user_jobs.map(u64::from), 1..=100_000_000),
            ("limits.user_media_hours", limits.user_media_hours.map(u64::from), 1..=1_000_000),
        ]
    }

    /// Mode of the socket. The system's service is there for those in its group.
    pub fn socket_mode(&self, service: Service) -> u32 {
        let to_a_group = service == Service::System || self.daemon.socket_group.is_some();
        self.daemon.socket_mode.unwrap_or(if to_a_group { 0o660 } else { 0o600 })
    }

    /// The group of administrators. Where the machine has no such group, nobody is in it.
    pub fn admin_group(&self, service: Service) -> Option<String> {
        let usual = (service == Service::System).then(|| ADMINISTRATORS.to_owned());
        self.daemon.admin_group.clone().or(usual)
    }

    /// Whether inputs and outputs go through the spool: always where others than its own user may reach the daemon, because it opens no file that
    /// they name.
    pub fn spools(&self, service: Service) -> bool {
        service == Service::System || self.socket_mode(service) & 0o077 != 0
    }

    /// The buckets with their keys.
    pub fn stores(&self) -> Result<Vec<ObjectStore>, String> {
        self.stores.iter().map(|(name, store)| store.opened(name)).collect()
    }

    /// The buckets as anybody may see them.
    pub fn store_views(&self) -> Vec<StoreView> {
        let view = |(name, store): (&String, &Store)| StoreView {
            name: name.clone(),
            endpoint: store.endpoint.clone(),
            bucket: store.bucket.clone(),
            link_seconds: store.link_minutes * 60,
        };
        self.stores.iter().map(view).collect()
    }

    /// The configuration's own profiles, by name.
    pub fn profiles(&self) -> Vec<Profile> {
        self.profiles.iter().map(|(name, own)| own.settings(name)).collect()
    }

    /// Every model API that can be named.
    pub fn providers(&self) -> Vec<Provider> {
        providers::all(&self.providers).unwrap_or_default()
    }

    /// Runs that may ask model APIs at the same time; each API has its own limit below that.
    pub fn api_slots(&self) -> u32 {
        self.providers().iter().map(|provider| provider.limits.at_once * provider.api().keys).sum()
    }

    /// Slots of each lane, in a house with so many graphics cards.
    pub fn slots(&self, gpus: u8) -> BTreeMap<Lane, u32> {
        let cards = (0..gpus).map(|number| (Lane::Gpu(number), self.gpu_slots()));
        [
            (Lane::Cpu, self.cpu_slots()),
            (Lane::Io, self.io_slots()),
            (Lane::Net, self.net_slots()),
            (Lane::Api, self.api_slots()),
        ]
        .into_iter()
        .chain(cards)
        .collect()
    }

    pub fn gpu_slots(&self) -> u32 {
        self.lanes.gpu
    }

    pub fn io_slots(&self) -> u32 {
        self.lanes.io
    }

    pub fn net_slots(&self) -> u32 {
        self.lanes.net
    }

    pub fn cpu_slots(&self) -> u32 {
        self.lanes.cpu.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32))
    }
}

/// `info`, `spindled=debug`.
fn is_level(part: &str) -> bool {
    let (of, level) = part.rsplit_once('=').unwrap_or(("x", part));
    let named = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    !of.is_empty() && of.chars().all(named) && ["error", "warn", "info", "debug", "trace", "off"].contains(&level)
}

/// Puts a value where its key belongs, in sections that are made as needed.
fn insert(table: &mut toml::Table, key: &str, value: toml::Value) -> Result<(), String> {
    match key.split_once('.') {
        None => drop(table.insert(key.to_owned(), value)),
        Some((section, rest)) => {
            let below = table.entry(section).or_insert_with(|| toml::Value::Table(toml::Table::new()));
            let toml::Value::Table(below) = below else { return Err(format!("`{section}` is no section")) };
            insert(below, rest, value)?;
        }
    }
    Ok(())
}

/// A list, written as in the file: `["a", "b"]`.
fn list(text: &str) -> Option<toml::Value> {
    let text = Some(text).filter(|text| text.trim_start().starts_with('['))?;
    toml::from_str::<toml::Table>(&format!("list = {text}")).ok()?.remove("list")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Config, ConfigError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("spindled.toml");
        std::fs::write(&path, text).unwrap();
        Config::load(Some(&path), Service::User)
    }

    #[test]
    fn nothing_is_as_good_as_defaults() {
        assert_eq!(load("").unwrap(), Config::default());
    }

    #[test]
    fn errors_point_at_line_and_key() {
        let error = load("[lanes]\ncpu = 2\nspeed = 3\n").unwrap_err().to_string();
        assert!(error.contains("line 3: lanes.speed: there is no key `speed`; there are cpu"), "{error}");
        let error = load("[lanes]\ncpus = 2\n").unwrap_err().to_string();
        assert!(error.contains("line 2: lanes.cpus: there is no key `cpus`; did you mean `cpu`?"), "{error}");
        let error = load("[lane]\ncpu = 2\n").unwrap_err().to_string();
        assert!(error.contains("line 1: lane: there is no key `lane`; did you mean `lanes`?"), "{error}");
        let error = load("[lanes]\ncpu 2\n").unwrap_err().to_string();
        assert!(error.contains("line 2: "), "{error}");
        let error = load(
            "[stores.a]\nendpoint = \"https://a.example\"\nbucket = \"a:b\"\naccess_key = \"env:A_KEY\"\nsecret_key = \"env:A_KEY\"\n",
        );
        let error = error.unwrap_err().to_string();
        assert!(error.contains("line 3: stores.a.bucket: "), "{error}");
        let error = load("[lanes]\ncpu = \"two\"\n").unwrap_err().to_string();
        assert!(error.contains("line 2"), "{error}");
        let error = load("[lanes]\ncpu = 0\n").unwrap_err().to_string();
        assert!(error.contains("lanes.cpu") && error.contains("1–1024"), "{error}");
    }

    #[test]
    fn a_socket_that_is_open_to_others_spools() {
        let of = |text: &str, service| load(text).map(|config| (config.socket_mode(service), config.spools(service)));
        let spools = |text: &str| of(text, Service::User);
        assert_eq!(spools("").unwrap(), (0o600, false));
        assert_eq!(spools("[daemon]\nsocket_group = \"media\"\n").unwrap(), (0o660, true));
        assert_eq!(spools("[daemon]\nsocket_mode = \"0666\"\n").unwrap(), (0o666, true));
        // As it comes from the environment.
        assert_eq!(spools("[daemon]\nsocket_mode = 660\n").unwrap(), (0o660, true));
        assert_eq!(spools("[daemon]\nsocket_group = \"media\"\nsocket_mode = \"0600\"\n").unwrap(), (0o600, false));
        let system = |text: &str| of(text, Service::System);
        assert_eq!(system("").unwrap(), (0o660, true), "to those in its group");
        assert_eq!(system("[daemon]\nsocket_mode = \"0600\"\n").unwrap(), (0o600, true));
        let group = |text: &str, service| load(text).unwrap().admin_group(service);
        assert_eq!(group("", Service::User), None);
        assert_eq!(group("", Service::System).as_deref(), Some(ADMINISTRATORS));
        assert_eq!(group("[daemon]\nadmin_group = \"wheel\"\n", Service::System).as_deref(), Some("wheel"));
        for wrong in ["\"0777\"", "\"rw\"", "0o660", "true"] {
            let error = load(&format!("[daemon]\nsocket_mode = {wrong}\n")).unwrap_err().to_string();
            assert!(error.contains("0660") && error.contains("line 2"), "{error}");
        }
    }

    #[test]
    fn own_profiles_are_checked_and_take_the_rest_from_balanced() {
        let config = load("[profiles.archive]\ncrf = 18\nfps = 60\nvideo_kbps = 8000\n").unwrap();
        let [archive] = config.profiles().try_into().unwrap();
        assert_eq!((archive.crf, archive.rate, archive.bit_rate, archive.width), (18, 60, 8_000_000, 1_280));
        for (wrong, told) in [
            ("[profiles.archive]\ncrf = 17\n", "crf = 17 is outside 18–28"),
            ("[profiles.balanced]\ncrf = 20\n", "`balanced` is built in"),
            ("[profiles.dynamic]\n", "`dynamic` is built in"),
            ("[profiles.\"a/b\"]\n", "a name is"),
            ("[profiles.archive]\nquality = 3\n", "quality"),
            ("[profiles.archive]\npreset = \"slowest\"\n", "slowest"),
        ] {
            let error = load(wrong).unwrap_err().to_string();
            assert!(error.contains(told), "{wrong}: {error}");
        }
    }

    #[test]
    fn a_store_names_where_its_keys_are_and_never_the_keys() {
        let store = |endpoint: &str, key: &str| {
            let text = format!(
                "[stores.media]\nendpoint = \"{endpoint}\"\nbucket = \"talks\"\naccess_key = \"{key}\"\nsecret_key = \"{key}\"\n"
            );
            load(&text)
        };
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        std::fs::write(&file, "s3cret\n").unwrap();
        let config = store("https://s3.example", &format!("file:{}", file.display())).unwrap();
        let [opened] = config.stores().unwrap().try_into().unwrap();
        assert_eq!((opened.secret_key.told(), opened.region.as_str()), ("s3cret", "us-east-1"));
        std::fs::remove_file(file).unwrap();
        assert!(config.stores().unwrap_err().contains("stores.media"));
        for (endpoint, key, told) in [
            ("https://s3.example", "AKIAREALKEY", "never itself"),
            ("https://s3.example", "env:MEDIA", "_KEY, _SECRET"),
            ("ftp://s3.example", "env:A_KEY", "endpoint"),
            ("https://me:pw@s3.example", "env:A_KEY", "endpoint"),
        ] {
            let error = store(endpoint, key).unwrap_err().to_string();
            assert!(error.contains(told) && !error.contains("REALKEY"), "{error}");
        }
    }

    #[test]
    fn hosts_that_are_allowed_are_named_with_their_port() {
        assert_eq!(load("[remote]\nallow = [\"localhost:80\"]\n").unwrap().remote.allow, ["localhost:80"]);
        for wrong in ["localhost", "http://localhost:80", "Host:80", "a:b", ""] {
            let error = load(&format!("[remote]\nallow = [\"{wrong}\"]\n")).unwrap_err().to_string();
            assert!(error.contains("remote.allow"), "{wrong}: {error}");
        }
        assert_eq!(list("[\"a:1\"]"), Some(toml::Value::Array(vec![toml::Value::String("a:1".to_owned())])));
        assert_eq!((list("a"), list("[a")), (None, None));
    }

    #[test]
    fn a_named_file_must_exist() {
        assert!(matches!(
            Config::load(Some(Path::new("/nonexistent/x.toml")), Service::User),
            Err(ConfigError::Read { .. })
        ));
    }

    #[test]
    fn the_samples_provider_is_as_its_preset() {
        let shown = SAMPLE.lines().skip_while(|line| *line != "#   [providers.dashscope]");
        let shown: Vec<&str> =
            shown.take_while(|line| !line.is_empty()).map(|line| line.trim_start_matches('#')).collect();
        let config = load(&shown.join("\n")).unwrap();
        let [dashscope] =
            config.providers().into_iter().filter(|known| known.configured).collect::<Vec<_>>().try_into().unwrap();
        let plain = Config::default().providers().into_iter().find(|known| known.name == "dashscope").unwrap();
        assert_eq!(
            (&dashscope.endpoint, &dashscope.model, &dashscope.text_model),
            (&plain.endpoint, &plain.model, &plain.text_model)
        );
        assert_eq!(
            (&dashscope.keys, dashscope.timeout_ms, dashscope.structured),
            (&plain.keys, plain.timeout_ms, plain.structured)
        );
        assert_eq!(dashscope.limits.calls_per_day, plain.limits.calls_per_day);
        let said = shown.join("\n");
        for key in known("[providers.x]\nwrong = 1\n") {
            assert!(said.contains(&format!("{key} = ")), "the sample does not show {key}");
        }
    }

    const SAMPLE: &str = include_str!("../../packaging/spindled.toml");

    /// `# key = value` in the sample: a key without a default of its own.
    fn without_marks(sample: &str) -> String {
        let is_key = |line: &str| {
            line.split_once(" = ").is_some_and(|(key, _)| key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'))
        };
        let lines = sample.lines().map(|line| line.strip_prefix("# ").filter(|rest| is_key(rest)).unwrap_or(line));
        lines.collect::<Vec<_>>().join("\n")
    }

    /// The names that may stand in a place of the file, as the error for a wrong one tells them.
    fn known(text: &str) -> Vec<String> {
        let error = load(text).unwrap_err().to_string();
        let (_, expected) = error.split_once("; there are ").unwrap_or_else(|| panic!("{error}"));
        expected.split(", ").map(str::to_owned).collect()
    }

    #[test]
    fn the_sample_shows_the_defaults() {
        assert_eq!(load(SAMPLE).unwrap(), Config::default());
        // Nothing else is as the sample has it: each default of the code stands there, and what is commented out has none.
        let shown: toml::Table = toml::from_str(SAMPLE).unwrap();
        let all: toml::Table = toml::from_str(&without_marks(SAMPLE)).unwrap();
        let defaults = toml::Table::try_from(Config::default()).unwrap();
        for section in known("wrong = 1\n") {
            let of =
                |table: &toml::Table| table.get(&section).and_then(toml::Value::as_table).cloned().unwrap_or_default();
            assert_eq!(of(&shown), of(&defaults), "[{section}] of the sample and of the code");
            let mut silent = of(&all);
            silent.retain(|key, _| !of(&shown).contains_key(key));
            for key in silent.keys() {
                assert!(comment_of(&section, key).contains("default: "), "what counts without {section}.{key}?");
            }
        }
        assert_eq!(Config::default().cpu_slots() as usize, std::thread::available_parallelism().unwrap().get());
    }

    /// The sample's words above a key.
    fn comment_of(section: &str, key: &str) -> String {
        let (section, key) = (format!("[{section}]"), format!("{key} = "));
        let above: Vec<_> = SAMPLE
            .lines()
            .skip_while(|line| *line != section)
            .take_while(|line| !line.trim_start_matches("# ").starts_with(&key))
            .collect();
        let words = above.iter().rev().take_while(|line| line.starts_with('#'));
        words.copied().collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn the_sample_shows_every_key_with_its_range() {
        let shown: toml::Table = toml::from_str(&without_marks(SAMPLE)).unwrap();
        load(&without_marks(SAMPLE)).unwrap();
        let mut ranges: BTreeMap<_, _> =
            Config::default().numbers().into_iter().map(|(key, _, range)| (key.to_owned(), range)).collect();
        for section in known("wrong = 1\n").into_iter().filter(|section| !NAMED.contains(&section.as_str())) {
            for key in known(&format!("[{section}]\nwrong = 1\n")) {
                let value = &shown[&section][&key];
                let Some(range) = ranges.remove(&format!("{section}.{key}")) else {
                    assert!(value.is_str() || value.is_array() || value.is_bool(), "{section}.{key} has no range");
                    continue;
                };
                for outside in range.start().checked_sub(1).into_iter().chain([range.end() + 1]) {
                    assert!(load(&format!("[{section}]\n{key} = {outside}\n")).is_err(), "{section}.{key} = {outside}");
                }
                let told = format!("{}–{}", range.start(), range.end());
                assert!(
                    comment_of(&section, &key).contains(&told),
                    "the sample does not say above {section}.{key} that it is {told}"
                );
            }
        }
        assert!(ranges.is_empty(), "ranges of keys that don't exist: {ranges:?}");
    }

    /// Sections whose own sections are named by whoever writes the file.
    const NAMED: &[&str] = &["stores", "profiles", "providers", "hooks"];

    #[test]
    fn the_samples_examples_show_every_key_and_are_right() {
        for section in NAMED {
            let start = format!("#   [{section}.");
            let shown = SAMPLE.lines().skip_while(|line| !line.starts_with(&start));
            let shown: Vec<&str> =
                shown.take_while(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#')).collect();
            let said = shown.join("\n");
            load(&said).unwrap_or_else(|error| panic!("{error}\n{said}"));
            let keys = match *section {
                // What must be there is told before what must not.
                "stores" => ["endpoint", "bucket", "region", "path_style", "access_key", "secret_key", "link_minutes"]
                    .map(str::to_owned)
                    .to_vec(),
                section => known(&format!("[{section}.x]\nwrong = 1\n")),
            };
            for key in keys {
                assert!(said.contains(&format!("{key} = ")), "the sample does not show {section}.NAME.{key}");
            }
        }
    }

    #[test]
    fn what_is_read_at_the_start_only_are_keys() {
        let all: toml::Table = toml::from_str(&without_marks(SAMPLE)).unwrap();
        for key in changes::AT_START {
            let (section, key) = key.split_once('.').unwrap();
            assert!(all[section].as_table().unwrap().contains_key(key), "{section}.{key}");
        }
    }

    #[test]
    fn metrics_are_for_this_machine_unless_somebody_says_otherwise() {
        for listen in ["127.0.0.1:9469", "[::1]:9469"] {
            load(&format!("[metrics]\nlisten = \"{listen}\"\n")).unwrap();
        }
        for (listen, told) in
            [("0.0.0.0:9469", "open_to_network"), ("[::]:1", "open_to_network"), ("localhost", "no ADDRESS:PORT")]
        {
            let error = load(&format!("[metrics]\nlisten = \"{listen}\"\n")).unwrap_err().to_string();
            assert!(error.contains("line 2: metrics.listen: ") && error.contains(told), "{error}");
        }
        load("[metrics]\nlisten = \"0.0.0.0:9469\"\nopen_to_network = true\n").unwrap();
        load("[metrics]\nfile = \"spindle.prom\"\n").unwrap_err();
    }

    #[test]
    fn every_key_may_come_from_the_environment() {
        let parse = |text: &str, variables: &[(&str, &str)]| {
            let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            Config::parse(Path::new("/x.toml"), text, variables)
        };
        let config = parse(
            "[lanes]\ncpu = 2\nio = 3\n",
            &[
                ("SPINDLE_LANES__CPU", "7"),
                ("SPINDLE_REMOTE__ALLOW", "[\"a:1\"]"),
                ("SPINDLE_PROVIDERS__OPENAI__TRUSTED", "true"),
                ("SPINDLE_SOCKET", "/nothing/of/ours"),
            ],
        )
        .unwrap();
        assert_eq!((config.lanes.cpu, config.lanes.io, config.remote.allow.len()), (Some(7), 3, 1));
        assert!(config.providers["openai"].trusted);
        for (name, value, told) in [
            ("SPINDLE_LANES__CPU", "0", "SPINDLE_LANES__CPU: lanes.cpu: 0 is outside 1–1024"),
            ("SPINDLE_LANES__CPUS", "1", "did you mean `cpu`?"),
            ("SPINDLE_LANES__CPU", "two", "SPINDLE_LANES__CPU: lanes.cpu: "),
            ("SPINDLE_LANES__CPU__MORE", "2", "`cpu` is no section"),
        ] {
            let error = parse("[lanes]\ncpu = 2\n", &[(name, value)]).unwrap_err().to_string();
            assert!(error.contains(told), "{name}: {error}");
        }
    }

    #[test]
    fn everything_that_is_out_of_range_is_told_at_once() {
        let error = load("[lanes]\ncpu = 0\n\n[housekeeping]\ntemporary_hours = 169\n").unwrap_err().to_string();
        let lines: Vec<_> = error.lines().collect();
        assert_eq!(lines.len(), 2, "{error}");
        assert!(lines[0].contains("spindled.toml, line 2: lanes.cpu: 0 is outside 1–1024"), "{error}");
        assert!(lines[1].contains("line 5: housekeeping.temporary_hours: 169 is outside 1–168"), "{error}");
    }
}
