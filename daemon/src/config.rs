//! Configuration: one TOML file and the environment, defaults for everything. Errors point at the line and the key.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use spindle_shared::lane::Lane;
use spindle_shared::limits::{ALLOWED_HOSTS_MAX, PROFILES_MAX, PROVIDERS_MAX, SITES_MAX};
use spindle_shared::object_store::{ObjectStore, Secret, StoreView, names_a_key};
use spindle_shared::paths::{self, Service};
use spindle_shared::stage::compress::{DYNAMIC, Profile};
use spindle_shared::stage::fetch::{Fetch, Pages};
use spindle_shared::url::{self, Url};

use crate::providers::{self, OwnProvider, Provider};

/// Everything that can be set. Each key may also come from the environment as `SPINDLE_<SECTION>__<KEY>`.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    pub lanes: Lanes,
    pub workers: Workers,
    pub limits: Limits,
    pub models: Models,
    pub housekeeping: Housekeeping,
    pub remote: Remote,
    /// Buckets that inputs come from and outputs go to, by name.
    pub stores: BTreeMap<String, Store>,
    /// What videos can be made into besides the built-in profiles, by name.
    pub profiles: BTreeMap<String, OwnProfile>,
    /// Model APIs besides those that Spindle knows, or those otherwise, by name.
    pub providers: BTreeMap<String, OwnProvider>,
}

/// Slots of what is scarce.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Lanes {
    /// Processor slots; default: the machine's cores. 1–1024.
    pub cpu: Option<u32>,
    /// Runs that wait for the disk more than they compute; default 4. 1–64.
    pub io: Option<u32>,
    /// Transfers at once; default 2. 1–64.
    pub net: Option<u32>,
    /// Memory that all runs together may be expected to take; default: three quarters of the machine's. 32–16777216.
    pub memory_mib: Option<u64>,
    /// Of the state folder's disk, so much stays free; default: a twentieth, 8 at least and 1024 at most. 8–16777216.
    pub disk_reserve_mib: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
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
}

impl Default for Workers {
    fn default() -> Self {
        Workers { idle_seconds: 120, recycle_after: 50, memory_growth_mib: 1024, memory_limit_mib: None }
    }
}

#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
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

#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Models {
    /// Address that takes the place of the publisher's.
    pub mirror: Option<String>,
}

/// How long things are kept.
#[derive(Debug, Clone, PartialEq, Deserialize)]
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
#[derive(Debug, Clone, PartialEq, Deserialize)]
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

    /// Whether the program that reads pages is on this machine.
    pub fn reads_pages(&self) -> bool {
        let program = Path::new(&self.ytdlp_program);
        let is_program = |path: &Path| rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok() && path.is_file();
        match program.components().count() {
            1 => std::env::var_os("PATH")
                .is_some_and(|path| std::env::split_paths(&path).any(|folder| is_program(&folder.join(program)))),
            _ => is_program(program),
        }
    }
}

/// A bucket of a service that speaks the S3 protocol.
#[derive(Debug, Clone, PartialEq, Deserialize)]
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
    fn check(&self, name: &str) -> Result<(), String> {
        let wrong = |why: String| Err(format!("stores.{name}: {why}"));
        match Url::parse(&self.endpoint) {
            Ok(url) if url.in_store().is_none() && url.login().is_none() => {}
            Ok(_) => return wrong("its endpoint is no https://HOST".to_owned()),
            Err(error) => return wrong(format!("its endpoint {error}")),
        }
        if Url::parse(&format!("s3://{}/x", self.bucket)).is_err() || self.bucket.contains(':') {
            return wrong(format!("`{}` is no bucket", self.bucket));
        }
        if self.link_minutes > LINK_MINUTES_MAX {
            return wrong(format!("link_minutes = {} is outside 0–{LINK_MINUTES_MAX}", self.link_minutes));
        }
        for key in [&self.access_key, &self.secret_key] {
            // The key itself in its source's place must not be told.
            if !["env:", "file:", "credential:"].iter().any(|source| key.starts_with(source)) {
                return wrong("a key is given as env:NAME, file:PATH or credential:NAME, never itself".to_owned());
            }
            // Workers get all of the environment but what is called so.
            if key.strip_prefix("env:").is_some_and(|name| !names_a_key(name)) {
                return wrong(
                    "a variable with a key has a name that ends with _KEY, _SECRET, _TOKEN or _PASSWORD".to_owned(),
                );
            }
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

/// What stands in an environment variable, a file, or one of systemd's credentials.
fn secret(source: &str) -> Result<Secret, String> {
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
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
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
    #[error("the configuration {} is wrong: {error}", .path.display())]
    Parse { path: PathBuf, error: Box<toml::de::Error> },
    #[error("the environment variable {name} is wrong: {message}")]
    Environment { name: String, message: String },
    #[error("the configuration's {0}")]
    Profile(String),
    #[error("{key} = {value} is outside {range}")]
    Range { key: &'static str, value: u64, range: &'static str },
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
        let mut table: toml::Table =
            toml::from_str(&text).map_err(|error| ConfigError::Parse { path: path.clone(), error: Box::new(error) })?;
        // The file alone first, so that its errors keep their line; the environment is laid over it afterwards.
        let _: Config =
            toml::from_str(&text).map_err(|error| ConfigError::Parse { path: path.clone(), error: Box::new(error) })?;
        for (name, value) in std::env::vars() {
            let Some((section, key)) = name.strip_prefix("SPINDLE_").and_then(|rest| rest.split_once("__")) else {
                continue;
            };
            let value = match value.parse::<i64>() {
                Ok(number) => toml::Value::Integer(number),
                Err(_) => list(&value).unwrap_or(toml::Value::String(value)),
            };
            let section = table.entry(section.to_lowercase()).or_insert_with(|| toml::Value::Table(toml::Table::new()));
            let toml::Value::Table(section) = section else { continue };
            section.insert(key.to_lowercase(), value);
            Config::deserialize(toml::Value::Table(table.clone()))
                .map_err(|error| ConfigError::Environment { name, message: error.to_string() })?;
        }
        let config = Config::deserialize(toml::Value::Table(table))
            .map_err(|error| ConfigError::Parse { path, error: Box::new(error) })?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), ConfigError> {
        let cases = [
            ("lanes.cpu", self.lanes.cpu.map(u64::from), 1..=1024, "1–1024"),
            ("lanes.io", self.lanes.io.map(u64::from), 1..=64, "1–64"),
            ("lanes.net", self.lanes.net.map(u64::from), 1..=64, "1–64"),
            ("lanes.memory_mib", self.lanes.memory_mib, 32..=16_777_216, "32–16777216"),
            ("lanes.disk_reserve_mib", self.lanes.disk_reserve_mib, 8..=16_777_216, "8–16777216"),
            ("workers.idle_seconds", Some(self.workers.idle_seconds), 1..=86_400, "1–86400"),
            ("workers.recycle_after", Some(u64::from(self.workers.recycle_after)), 1..=1_000_000, "1–1000000"),
            ("workers.memory_growth_mib", Some(self.workers.memory_growth_mib), 16..=1_048_576, "16–1048576"),
            ("workers.memory_limit_mib", self.workers.memory_limit_mib, 32..=16_777_216, "32–16777216"),
            ("housekeeping.every_minutes", Some(self.housekeeping.every_minutes), 1..=1_440, "1–1440"),
            ("housekeeping.temporary_hours", Some(self.housekeeping.temporary_hours), 1..=168, "1–168"),
            ("housekeeping.artifacts_days", Some(self.housekeeping.artifacts_days), 1..=36_500, "1–36500"),
            ("housekeeping.records_days", Some(self.housekeeping.records_days), 1..=36_500, "1–36500"),
            ("remote.input_max_mib", Some(self.remote.input_max_mib), 1..=16_777_216, "1–16777216"),
            ("limits.max_inputs", self.limits.max_inputs.map(u64::from), 1..=1_000_000, "1–1000000"),
            ("limits.user_batches", self.limits.user_batches.map(u64::from), 1..=1_000_000, "1–1000000"),
            ("limits.user_jobs", self.limits.user_jobs.map(u64::from), 1..=100_000_000, "1–100000000"),
            ("limits.user_media_hours", self.limits.user_media_hours.map(u64::from), 1..=1_000_000, "1–1000000"),
        ];
        for (key, value, valid, range) in cases {
            if let Some(value) = value.filter(|value| !valid.contains(value)) {
                return Err(ConfigError::Range { key, value, range });
            }
        }
        if self.providers.len() > PROVIDERS_MAX {
            let count = self.providers.len();
            return Err(ConfigError::Profile(format!("{count} providers are more than {PROVIDERS_MAX}")));
        }
        providers::all(&self.providers).map_err(ConfigError::Profile)?;
        if self.remote.allow.len() > ALLOWED_HOSTS_MAX {
            return Err(ConfigError::Profile(format!("remote.allow has more than {ALLOWED_HOSTS_MAX} hosts")));
        }
        if let Some(why) = self.remote.allow.iter().find_map(|entry| url::check_allowed(entry).err()) {
            return Err(ConfigError::Profile(format!("remote.allow: {why}")));
        }
        if self.remote.ytdlp.len() > SITES_MAX {
            return Err(ConfigError::Profile(format!("remote.ytdlp has more than {SITES_MAX} sites")));
        }
        if let Some(why) = self.remote.ytdlp.iter().find_map(|entry| url::check_site(entry).err()) {
            return Err(ConfigError::Profile(format!("remote.ytdlp: {why}")));
        }
        let program = Path::new(&self.remote.ytdlp_program);
        if program.as_os_str().is_empty() || (program.components().count() > 1 && program.is_relative()) {
            return Err(ConfigError::Profile("remote.ytdlp_program is a name, or a path from /".to_owned()));
        }
        for (name, store) in &self.stores {
            store.check(name).map_err(ConfigError::Profile)?;
        }
        if self.profiles.len() > PROFILES_MAX {
            return Err(ConfigError::Profile(format!("{} profiles are more than {PROFILES_MAX}", self.profiles.len())));
        }
        for profile in self.profiles() {
            if profile.name == DYNAMIC || Profile::built_in().iter().any(|known| known.name == profile.name) {
                return Err(ConfigError::Profile(format!("profile `{}` is built in: take another name", profile.name)));
            }
            profile.validate().map_err(ConfigError::Profile)?;
        }
        Ok(())
    }

    /// The buckets with their keys.
    pub fn stores(&self) -> Result<Vec<ObjectStore>, ConfigError> {
        let opened = self.stores.iter().map(|(name, store)| store.opened(name));
        opened.collect::<Result<_, _>>().map_err(ConfigError::Profile)
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

    /// Slots of each lane.
    pub fn slots(&self) -> BTreeMap<Lane, u32> {
        [
            (Lane::Cpu, self.cpu_slots()),
            (Lane::Io, self.io_slots()),
            (Lane::Net, self.net_slots()),
            (Lane::Api, self.api_slots()),
        ]
        .into()
    }

    pub fn io_slots(&self) -> u32 {
        self.lanes.io.unwrap_or(4)
    }

    pub fn net_slots(&self) -> u32 {
        self.lanes.net.unwrap_or(2)
    }

    pub fn cpu_slots(&self) -> u32 {
        self.lanes.cpu.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32))
    }
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
        assert!(error.contains("line 3") && error.contains("speed"), "{error}");
        let error = load("[lanes]\ncpu = \"two\"\n").unwrap_err().to_string();
        assert!(error.contains("line 2"), "{error}");
        let error = load("[lanes]\ncpu = 0\n").unwrap_err().to_string();
        assert!(error.contains("lanes.cpu") && error.contains("1–1024"), "{error}");
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
        assert!(config.stores().unwrap_err().to_string().contains("stores.media"));
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
        let (_, expected) = error.split_once("expected ").unwrap_or_else(|| panic!("{error}"));
        expected.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    }

    #[test]
    fn the_sample_shows_the_defaults() {
        assert_eq!(load(SAMPLE).unwrap(), Config::default());
    }

    #[test]
    fn the_sample_shows_every_key_with_its_range() {
        let shown: toml::Table = toml::from_str(&without_marks(SAMPLE)).unwrap();
        load(&without_marks(SAMPLE)).unwrap();
        for section in known("wrong = 1\n") {
            for key in known(&format!("[{section}]\nwrong = 1\n")) {
                let value = &shown[&section][&key];
                let Err(error) = load(&format!("[{section}]\n{key} = 0\n")) else { panic!("{section}.{key} takes 0") };
                let ConfigError::Range { range, .. } = error else {
                    assert!(value.is_str() || value.is_array(), "{section}.{key}: {error}");
                    continue;
                };
                let comment =
                    SAMPLE.lines().take_while(|line| !line.trim_start_matches("# ").starts_with(&format!("{key} = ")));
                let comment: Vec<_> = comment.collect();
                let above =
                    comment.iter().rev().take_while(|line| line.starts_with('#')).any(|line| line.contains(range));
                assert!(above, "the sample does not say above {section}.{key} that it is {range}");
            }
        }
    }
}
