//! What the service manager (systemd's `Type=notify`, sd_notify(3)) is told: that the daemon is ready, how things stand, that its conductor still
//! answers, and that it stops. Without a manager nothing is said. Knows no queue.

use std::sync::OnceLock;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use sd_notify::NotifyState;
use spindle_core::effect::{Answer, Command, Peer};
use spindle_shared::id::Owner;
use spindle_shared::wire::response::{HouseView, Response};

use crate::inbox::{Closed, Inbox};

/// How often the status is told anew where no watchdog asks for more.
const STATUS_EVERY: Duration = Duration::from_secs(10);

/// So many things wait to be said.
const WAITING_MAX: usize = 16;
const STOPPING: &str = "stopping: running work goes to its checkpoint";

enum Said {
    Ready,
    /// With how things stand.
    Alive(String),
    Stopping,
}

pub fn ready() {
    tell(Said::Ready);
}

pub fn stopping() {
    tell(Said::Stopping);
}

/// For whoever waits on purpose, and so can't answer: it is no reason to be killed.
pub fn waits(why: &str) {
    tell(Said::Alive(why.to_owned()));
}

/// Asks the conductor again and again, and tells what it answers. While it does not, nothing is told, and the watchdog's time runs out.
pub async fn keep_told(inbox: Inbox) {
    if std::env::var_os("NOTIFY_SOCKET").is_none() {
        return;
    }
    // Three tries within the watchdog's time.
    let every = sd_notify::watchdog_enabled().map_or(STATUS_EVERY, |time| (time / 3).min(STATUS_EVERY));
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match status(&inbox).await {
            Ok(status) => waits(&status),
            Err(Closed) => return,
        }
    }
}

async fn status(inbox: &Inbox) -> Result<String, Closed> {
    const ASKER: Peer = Peer { owner: Owner(0), admin: true };
    let Answer::Frames(frames) = inbox.ask(ASKER, Command::House).await? else { return Ok(String::new()) };
    Ok(frames
        .iter()
        .find_map(|frame| if let Response::House(view) = frame { Some(line(view)) } else { None })
        .unwrap_or_default())
}

/// One line, as `systemctl status` shows it.
fn line(view: &HouseView) -> String {
    let counts = &view.counts;
    let mut line = match view.batches_open {
        0 => "nothing to do".to_owned(),
        1 => "1 batch open".to_owned(),
        many => format!("{many} batches open"),
    };
    if view.batches_open > 0 {
        line += &format!(
            ": {} running, {} waiting, {} failed",
            counts.running,
            counts.pending + counts.retrying,
            counts.failed
        );
    }
    if view.paused {
        line += "; paused";
    }
    if view.draining {
        line += "; draining";
    }
    if let Some(closed) = view.closed.first() {
        line += &format!("; out of order: {}", closed.what);
    }
    line
}

/// Said by a thread of its own: a manager that doesn't listen must make nobody wait. What it can't take is left out.
fn tell(state: Said) {
    static LINE: OnceLock<Option<SyncSender<Said>>> = OnceLock::new();
    let line = LINE.get_or_init(|| {
        std::env::var_os("NOTIFY_SOCKET")?;
        let (sender, receiver) = std::sync::mpsc::sync_channel::<Said>(WAITING_MAX);
        let say = move || {
            for said in receiver {
                let told = match &said {
                    Said::Ready => sd_notify::notify(&[NotifyState::Ready]),
                    Said::Alive(status) => sd_notify::notify(&[NotifyState::Watchdog, NotifyState::Status(status)]),
                    Said::Stopping => sd_notify::notify(&[NotifyState::Stopping, NotifyState::Status(STOPPING)]),
                };
                if let Err(error) = told {
                    tracing::debug!("failed to tell the service manager: {error}");
                }
            }
        };
        std::thread::Builder::new().name("manager".to_owned()).spawn(say).ok().map(|_| sender)
    });
    if let Some(line) = line {
        // A full line is that of a manager which doesn't listen.
        drop(line.try_send(state));
    }
}
