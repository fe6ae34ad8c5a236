//! Hooks: who is told of what, what is told, and the commands among them. Addresses are told by workers; nobody waits for any of it here.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};
use rustix::process::{Pid, PidfdFlags, Signal};
use serde_json::{Map, Value, json};
use spindle_core::alert::Turn;
use spindle_core::change::{BatchStatus, EndedJob, NewBatch};
use spindle_core::outbox::Tried;
use spindle_shared::batch::{BatchView, state_of};
use spindle_shared::id::{BatchId, JobId, Owner};
use spindle_shared::notify::Notify;
use spindle_shared::time::WallMs;

use crate::config::Config;
use crate::logs::shown;

/// A command that takes longer is killed, with what it has started.
const COMMAND_TIME: Duration = Duration::from_secs(60);
/// Of the daemon's environment a command sees this, and what it is told of.
const INHERITED: [&str; 12] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "LANG",
    "LC_ALL",
    "TZ",
    "XDG_RUNTIME_DIR",
    "DBUS_SESSION_BUS_ADDRESS",
    "DISPLAY",
    "WAYLAND_DISPLAY",
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    Batch,
    Failure,
    Alert,
}

impl Event {
    pub fn name(self) -> &'static str {
        match self {
            Event::Batch => "batch",
            Event::Failure => "failure",
            Event::Alert => "alert",
        }
    }
}

/// The configuration's hooks, as targets.
#[derive(Debug, Default)]
pub struct Hooks {
    hooks: Vec<(Vec<String>, Notify)>,
    /// Place of what signs what submissions name.
    secret: Option<String>,
}

impl Hooks {
    pub fn of(config: &Config) -> Self {
        let secret = config.notifications.secret.clone();
        let hooks = config.hooks.values().map(|hook| {
            let target = match (&hook.url, &hook.command) {
                (Some(url), _) => {
                    Notify::Webhook { url: url.clone(), secret: hook.secret.clone().or_else(|| secret.clone()) }
                }
                (None, command) => Notify::Command(command.clone()),
            };
            (hook.on.clone(), target)
        });
        Hooks { hooks: hooks.collect(), secret }
    }

    /// Who of the house's is told of this.
    pub fn of_event(&self, event: Event) -> impl Iterator<Item = &Notify> {
        self.hooks.iter().filter(move |(on, _)| on.iter().any(|on| on == event.name())).map(|(_, target)| target)
    }

    /// A target of a submission, signed as the house signs.
    pub fn signed(&self, target: &Notify) -> Notify {
        match target {
            Notify::Webhook { url, .. } => Notify::Webhook { url: url.clone(), secret: self.secret.clone() },
            command => command.clone(),
        }
    }
}

fn time(time: WallMs) -> Value {
    jiff::Timestamp::from_millisecond(time.0 as i64).map_or(Value::Null, |time| shown(time).into())
}

/// What every notification says; `about` is named after its event.
pub fn body(id: &str, event: Event, now: WallMs, about: &Value) -> String {
    json!({ "id": id, "event": event.name(), "time": time(now), event.name(): about }).to_string()
}

/// What a batch was submitted as.
pub struct About<'b> {
    id: BatchId,
    name: Option<&'b str>,
    recipe: &'b str,
    owner: Owner,
    created_at: WallMs,
    tags: &'b [(String, String)],
}

impl<'b> From<&'b BatchView> for About<'b> {
    fn from(view: &'b BatchView) -> Self {
        let BatchView { id, name, recipe, owner, created_at, tags, .. } = view;
        About { id: *id, name: name.as_deref(), recipe, owner: *owner, created_at: *created_at, tags }
    }
}

impl<'b> From<&'b NewBatch> for About<'b> {
    fn from(added: &'b NewBatch) -> Self {
        let NewBatch { id, owner, spec, created_at, .. } = added;
        let (name, recipe) = (spec.name.as_deref(), spec.recipe.name.as_str());
        About { id: *id, name, recipe, owner: *owner, created_at: *created_at, tags: &spec.tags }
    }
}

/// A batch that has ended just now.
pub fn batch(view: &About<'_>, status: &BatchStatus) -> Value {
    let counts = status.counts;
    let state = state_of(&counts, status.gather, status.paused, status.cancelling);
    let seconds = status.started_at.zip(status.finished_at).map(|(from, to)| to.0.saturating_sub(from.0) as f64 / 1e3);
    let tags: Map<String, Value> = view.tags.iter().map(|(key, value)| (key.clone(), value.clone().into())).collect();
    json!({
        "batch_id": view.id.0, "name": view.name, "recipe": view.recipe, "owner": view.owner.0, "state": state.name(),
        "total": counts.total(), "completed": counts.completed, "failed": counts.failed, "skipped": counts.skipped,
        "cancelled": counts.cancelled, "created_at": time(view.created_at),
        "started_at": status.started_at.map(time), "finished_at": status.finished_at.map(time),
        "elapsed_seconds": seconds, "tags": tags,
    })
}

pub fn failure(job: JobId, ended: &EndedJob) -> Value {
    let failure = ended.failure.as_ref();
    json!({
        "batch_id": job.batch.0, "job_id": job.to_string(), "stage": ended.stage, "attempts": ended.attempts,
        "kind": failure.map(|failure| failure.kind.name()), "message": failure.map(|failure| &failure.message),
        "advice": failure.map(|failure| &failure.advice),
    })
}

pub fn alert(turn: &Turn) -> Value {
    json!({ "rule": turn.rule.name(), "firing": turn.fires, "message": turn.text })
}

/// What a command finds in its environment: the event, and each plain value of what it is about.
fn variables(body: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let Ok(Value::Object(body)) = serde_json::from_str::<Value>(body) else { return found };
    let mut put = |name: &str, value: &Value| {
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            Value::Bool(yes) => yes.to_string(),
            Value::Null => String::new(),
            Value::Array(_) | Value::Object(_) => return,
        };
        found.insert(format!("SPINDLE_{}", name.to_uppercase()), text);
    };
    for (name, value) in &body {
        match (name.as_str(), value) {
            ("id", value) => put("notification_id", value),
            (name @ ("event" | "time"), value) => put(name, value),
            (_, Value::Object(about)) => about.iter().for_each(|(name, value)| put(name, value)),
            _ => {}
        }
    }
    found
}

/// Runs a command to its end; the caller's thread waits.
pub fn run(words: &[String], body: &str) -> Tried {
    let failed = |why: String| Tried::Failed { why, wait_ms: None };
    let Some((program, arguments)) = words.split_first() else { return failed("there is no command".to_owned()) };
    let mut command = Command::new(program);
    command.args(arguments).env_clear().current_dir("/").process_group(0);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    command.envs(INHERITED.iter().filter_map(|name| Some((*name, std::env::var_os(name)?))));
    command.envs(variables(body));
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => return failed(format!("failed to start {program}: {error}")),
    };
    let pid = Pid::from_child(&child);
    if let Some(mut stdin) = child.stdin.take() {
        let body = body.to_owned();
        // One that never reads is not waited for; what it leaves unread ends with it.
        drop(std::thread::Builder::new().name("hook-input".to_owned()).spawn(move || stdin.write_all(body.as_bytes())));
    }
    let over = rustix::process::pidfd_open(pid, PidfdFlags::empty()).is_ok_and(|pidfd| {
        let time = rustix::event::Timespec::try_from(COMMAND_TIME).ok();
        let polled =
            rustix::io::retry_on_intr(|| rustix::event::poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], time.as_ref()));
        matches!(polled, Ok(1..))
    });
    if !over {
        let _ = rustix::process::kill_process_group(pid, Signal::KILL);
    }
    match child.wait() {
        _ if !over => failed(format!("{program} did not end within {} s, and was killed", COMMAND_TIME.as_secs())),
        Ok(status) if status.success() => Tried::Delivered,
        Ok(status) => failed(format!("{program} ended with {status}")),
        Err(error) => failed(format!("{program} was lost: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_gets_environment_and_json_and_no_shell() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out");
        let text = body("x-7", Event::Failure, WallMs(0), &json!({ "job_id": "1/2", "attempts": 3, "kind": "input" }));
        let script =
            format!("cat >{0}; echo \"$SPINDLE_EVENT $SPINDLE_JOB_ID $SPINDLE_ATTEMPTS $1\" >>{0}", out.display());
        let words = ["/bin/sh", "-c", &script, "sh", "$HOME; `ls`"].map(str::to_owned);
        assert_eq!(run(&words, &text), Tried::Delivered);
        let got = std::fs::read_to_string(out).unwrap();
        assert_eq!(got, format!("{text}failure 1/2 3 $HOME; `ls`\n"));
        let read: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&read["id"], &read["failure"]["kind"]), (&"x-7".into(), &"input".into()));
        assert!(std::env::var_os("CARGO_PKG_NAME").is_some(), "this test has it, and the command doesn't:");
        let words = ["/bin/sh", "-c", "test -z \"$CARGO_PKG_NAME\""].map(str::to_owned);
        assert_eq!(run(&words, "{}"), Tried::Delivered);
    }

    #[test]
    fn a_command_that_is_broken_is_told_of_and_harms_nobody() {
        for (words, told) in [
            (vec!["/bin/false"], "exit status: 1"),
            (vec!["/no/such/program"], "failed to start"),
            (vec!["/bin/sh", "-c", "kill -9 $$"], "signal: 9"),
            (vec![], "no command"),
        ] {
            let words: Vec<String> = words.into_iter().map(str::to_owned).collect();
            let Tried::Failed { why, .. } = run(&words, "{}") else { panic!("{words:?}") };
            assert!(why.contains(told), "{why}");
        }
    }
}
