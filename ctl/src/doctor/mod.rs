//! What `doctor` looks at and tries. Finds things and says what to do; prints nothing, and leaves nothing behind.

mod jobs;
mod samples;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use spindle_shared::wire::request::Request;
use spindle_shared::wire::response::{DeviceView, HouseView, ModelView, Response};

use crate::daemon::Daemon;
use crate::fault::Fault;
use crate::output::human;

/// How a thing stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Well,
    /// Something that not everybody needs is not there.
    Limited,
    Wrong,
}

impl Verdict {
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Well => "well",
            Verdict::Limited => "limited",
            Verdict::Wrong => "wrong",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub part: &'static str,
    pub what: String,
    pub verdict: Verdict,
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Finding {
    fn new(part: &'static str, what: impl Into<String>, verdict: Verdict, message: impl Into<String>) -> Self {
        Finding { part, what: what.into(), verdict, message: message.into(), hint: None }
    }

    fn well(part: &'static str, what: impl Into<String>, message: impl Into<String>) -> Self {
        Finding::new(part, what, Verdict::Well, message)
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// Whether there is a daemon to talk to.
pub const ANSWERS: &str = "answers";

/// What is told of graphics cards.
const CARDS: &str = "cards";

/// Checks of the daemon's health that are looked at here, and more closely.
const TOLD_APART: [&str; 2] = ["graphics cards", "models"];

/// Roles of workers, each of which has walls of its own.
const ROLES: [&str; 5] = ["media", "speech", "vision", "files", "net"];

/// Looks at everything. `try_jobs`: gives the daemon a tiny job of each recipe, too. `tell` hears what takes a while.
pub fn examine(daemon: &Daemon, try_jobs: bool, tell: &dyn Fn(&str)) -> Result<Vec<Finding>, Fault> {
    let mut findings = machine();
    let program = worker_program();
    findings.extend(worker(program.as_deref()));
    if let Some(program) = &program {
        tell("trying the walls around workers …");
        findings.extend(ROLES.iter().map(|role| walls(program, role)));
    }
    findings.push(tool("yt-dlp", "videos from sites that play them", "https://github.com/yt-dlp/yt-dlp"));
    match daemon.house() {
        Ok(house) => {
            let socket = daemon.socket().unwrap_or_default();
            let message = format!("version {}, process {}, at {}", house.version, house.pid, socket.display());
            findings.push(match house.version == env!("CARGO_PKG_VERSION") {
                true => Finding::well("daemon", ANSWERS, message),
                false => Finding::new("daemon", ANSWERS, Verdict::Wrong, message).hint(format!(
                    "this spindlectl is {}: restart the daemon after an upgrade",
                    env!("CARGO_PKG_VERSION")
                )),
            });
            findings.extend(health(daemon)?);
            findings.extend(cards(&house));
            let models = models(daemon)?;
            findings.extend(speech_model(&models));
            if try_jobs {
                findings.extend(jobs::try_all(&socket, &models, tell));
            }
        }
        Err(fault) => findings.push(
            Finding::new("daemon", ANSWERS, Verdict::Wrong, fault.message)
                .hint("start it: `systemctl --user start spindled`, or `spindled &`; without it no job can be tried"),
        ),
    }
    Ok(findings)
}

fn machine() -> Vec<Finding> {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let kernel = read("/proc/sys/kernel/osrelease").trim().to_owned();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let memory = read("/proc/meminfo")
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix("kB")?.trim().parse::<u64>().ok())
        .unwrap_or(0)
        << 10;
    let mut findings = vec![Finding::well("machine", "kernel", format!("Linux {kernel}"))];
    let size = format!("{cores} cores, {} of memory", human::bytes(memory));
    findings.push(match memory < 2 << 30 {
        true => Finding::new("machine", "size", Verdict::Limited, size)
            .hint("less than 2 GiB: use models up to `base`, and one cpu slot"),
        false => Finding::well("machine", "size", size),
    });
    findings.extend(processor());
    findings
}

#[cfg(target_arch = "x86_64")]
fn processor() -> Option<Finding> {
    let has = [
        ("avx2", std::arch::is_x86_feature_detected!("avx2")),
        ("fma", std::arch::is_x86_feature_detected!("fma")),
        ("f16c", std::arch::is_x86_feature_detected!("f16c")),
    ];
    let lacks: Vec<&str> = has.iter().filter(|(_, has)| !has).map(|(name, _)| *name).collect();
    Some(match lacks.is_empty() {
        true => Finding::well("machine", "processor", "AVX2, FMA and F16C"),
        false => Finding::new("machine", "processor", Verdict::Wrong, format!("it has no {}", lacks.join(", "))).hint(
            "packages are built for processors since 2013 (Haswell, Excavator): build from source on this machine",
        ),
    })
}

#[cfg(not(target_arch = "x86_64"))]
fn processor() -> Option<Finding> {
    None
}

/// As the daemon finds it: beside the programs, or where packages put it.
fn worker_program() -> Option<PathBuf> {
    let told = std::env::var_os("SPINDLE_WORKER").filter(|path| !path.is_empty()).map(PathBuf::from);
    let beside = std::env::current_exe().ok().map(|own| own.with_file_name("spindle-worker"));
    let packaged = Some(PathBuf::from("/usr/lib/spindle/spindle-worker"));
    [told, beside, packaged].into_iter().flatten().find(|path| path.is_file())
}

fn worker(program: Option<&Path>) -> Vec<Finding> {
    let Some(program) = program else {
        return vec![
            Finding::new("worker", "program", Verdict::Wrong, "spindle-worker is not beside spindlectl")
                .hint("install it beside the other programs, or name it in $SPINDLE_WORKER"),
        ];
    };
    let shown = program.display();
    let told = match answer(Command::new(program).arg("--features")) {
        Ok(told) => told,
        Err(why) => {
            return vec![
                Finding::new("worker", "program", Verdict::Wrong, format!("{shown} doesn't run: {why}"))
                    .hint("`ldd` shows whether a library is missing; install the packages that it names"),
            ];
        }
    };
    let mut findings = Vec::new();
    let version = told["version"].as_str().unwrap_or_default();
    let message = format!("{shown}, version {version}, libavcodec {}", told["libavcodec"].as_str().unwrap_or_default());
    findings.push(match version == env!("CARGO_PKG_VERSION") {
        true => Finding::well("worker", "program", message),
        false => Finding::new("worker", "program", Verdict::Wrong, message)
            .hint(format!("this spindlectl is {}: install all programs of one build", env!("CARGO_PKG_VERSION"))),
    });
    let list = |key: &str| told[key].as_array().cloned().unwrap_or_default();
    for encoder in list("encoders") {
        let name = encoder["name"].as_str().unwrap_or_default();
        let what = encoder["needed_for"].as_str().unwrap_or_default();
        findings.push(match encoder["there"].as_bool() {
            Some(true) => Finding::well("codecs", name, what),
            _ => Finding::new("codecs", name, Verdict::Limited, format!("not there; needed for {what}"))
                .hint("install libav with it"),
        });
    }
    let missing: Vec<String> = list("decoders")
        .iter()
        .filter(|decoder| decoder["there"] != true)
        .filter_map(|decoder| Some(decoder["name"].as_str()?.to_owned()))
        .collect();
    findings.push(match missing.is_empty() {
        true => Finding::well("codecs", "decoders", "the common ones are there"),
        false => Finding::new("codecs", "decoders", Verdict::Limited, format!("there is no {}", missing.join(", ")))
            .hint("install libav with them, if you have such recordings"),
    });
    for text in list("text") {
        let language = text["language"].as_str().unwrap_or_default();
        findings.push(match text["problem"].as_str() {
            None => Finding::well("text", language, "text in pictures can be read"),
            Some(problem) => Finding::new("text", language, Verdict::Limited, problem).hint(format!(
                "install tesseract (Debian: tesseract-ocr tesseract-ocr-{})",
                language.replace('_', "-")
            )),
        });
    }
    findings
}

/// What a program says in JSON on its standard output.
fn answer(command: &mut Command) -> Result<Value, String> {
    let output = command.stdin(Stdio::null()).output().map_err(|e| e.to_string())?;
    let said = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(said.trim()).map_err(|_| {
        let why = String::from_utf8_lossy(&output.stderr);
        format!("{} ({})", why.lines().last().unwrap_or("it says nothing"), output.status)
    })
}

/// Has a process of this role try what one that was taken over would.
fn walls(program: &Path, role: &str) -> Finding {
    let tried = tempfile::tempdir().map_err(|e| e.to_string()).and_then(|root| {
        let folder = |name: &str| {
            let path = root.path().join(name);
            std::fs::create_dir_all(&path).map(|()| path).map_err(|e| e.to_string())
        };
        let (state, models, outside) = (folder("state")?, folder("models")?, folder("outside")?);
        folder("state/scratch").and(folder("state/checkpoints"))?;
        std::fs::write(outside.join("theirs"), "theirs").map_err(|e| e.to_string())?;
        let mut command = Command::new(program);
        command.arg("--probe").arg(&outside).args(["--role", role]);
        answer(command.arg("--state").arg(&state).arg("--models").arg(&models))
    });
    let told = match tried {
        Ok(told) => told,
        Err(why) => return Finding::new("walls", role, Verdict::Wrong, format!("they can't be tried: {why}")),
    };
    let attempts = told["attempts"].as_array().cloned().unwrap_or_default();
    let open: Vec<&str> = attempts
        .iter()
        .filter(|attempt| attempt["allowed"] == false && attempt["refused"].is_null())
        .filter_map(|attempt| attempt["what"].as_str())
        .collect();
    let shut: Vec<&str> = attempts
        .iter()
        .filter(|attempt| attempt["allowed"] == true && !attempt["refused"].is_null())
        .filter_map(|attempt| attempt["what"].as_str())
        .collect();
    let lacks: Vec<&str> = told["lacks"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if !shut.is_empty() {
        return Finding::new("walls", role, Verdict::Wrong, format!("it can't {}, which it must", shut.join(", ")))
            .hint("`workers.sandbox = false` in the configuration goes without walls, until this is mended");
    }
    if open.is_empty() && lacks.is_empty() {
        let refused = attempts.iter().filter(|attempt| attempt["allowed"] == false).count();
        return Finding::well("walls", role, format!("{refused} attempts to get out, all refused"));
    }
    let mut message = format!("this machine can't put all walls up ({})", lacks.join("; "));
    if !open.is_empty() {
        message.push_str(&format!("; a worker that was taken over could {}", open.join(", ")));
    }
    Finding::new("walls", role, Verdict::Limited, message)
        .hint("a kernel since 6.12 with Landlock switched on (`lsm=landlock,…`) has them all")
}

fn tool(name: &'static str, what: &str, from: &str) -> Finding {
    let found = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
        .map(|folder| folder.join(name))
        .find(|path| path.is_file());
    match found {
        Some(path) => Finding::well("tools", name, path.display().to_string()),
        None => Finding::new("tools", name, Verdict::Limited, format!("not there; needed for {what}"))
            .hint(format!("install it, if you want that: {from}")),
    }
}

fn health(daemon: &Daemon) -> Result<Vec<Finding>, Fault> {
    let responses = daemon.ask(&Request::Health)?;
    let health = responses.into_iter().find_map(|response| match response {
        Response::Health(health) => Some(health),
        _ => None,
    });
    let checks = health.ok_or_else(|| Fault::unexpected("its health"))?.checks;
    let checks = checks.into_iter().filter(|(name, ..)| !TOLD_APART.contains(&name.as_str()));
    let finding = |(name, well, message): (String, bool, String)| {
        Finding::new("daemon", name, if well { Verdict::Well } else { Verdict::Wrong }, message)
    };
    Ok(checks.map(finding).collect())
}

/// The lanes of graphics cards that the daemon has found, or why there are none.
fn cards(house: &HouseView) -> Vec<Finding> {
    let of = |card: &DeviceView| {
        let told =
            format!("{} ({}), {} MiB of memory, for: {}", card.name, card.api, card.memory_mib, card.roles.join(", "));
        match &card.closed {
            None => Finding::well(CARDS, card.lane.as_str(), told),
            Some(why) => {
                let told = format!("{told}; left alone for a while, and the processor does its work: {why}");
                Finding::new(CARDS, card.lane.as_str(), Verdict::Limited, told)
                    .hint("it is tried again by itself; `spindlectl logs` tells more of what has failed")
            }
        }
    };
    match &house.no_device {
        Some(why) => vec![
            Finding::new(CARDS, "gpu", Verdict::Limited, format!("none, the processor does their work: {why}")).hint(
                "look after the card's driver and restart the daemon, which looks for cards once; or leave \
                 `workers.gpu_program` out of the configuration",
            ),
        ],
        None if house.devices.is_empty() => vec![
            Finding::well(CARDS, "gpu", "none, and none is asked for: the processor does all work")
                .hint("to use one, name a worker program built for it in `workers.gpu_program`"),
        ],
        None => house.devices.iter().map(of).collect(),
    }
}

fn models(daemon: &Daemon) -> Result<Vec<ModelView>, Fault> {
    let of = |response| match response {
        Response::Models(models) => models,
        _ => Vec::new(),
    };
    Ok(daemon.ask(&Request::Models)?.into_iter().flat_map(of).collect())
}

fn speech_model(models: &[ModelView]) -> Vec<Finding> {
    let installed = |purpose: &str| -> Vec<&str> {
        let there = models.iter().filter(|model| model.path.is_some() && model.purpose == purpose);
        there.map(|model| model.name.as_str()).collect()
    };
    [("speech", "spindlectl models pull base"), ("voice activity", "spindlectl models pull silero-v6.2.0")]
        .into_iter()
        .map(|(purpose, pull)| match installed(purpose).as_slice() {
            [] => Finding::new("models", purpose, Verdict::Limited, "none is installed").hint(format!("`{pull}`")),
            names => Finding::well("models", purpose, names.join(", ")),
        })
        .collect()
}
