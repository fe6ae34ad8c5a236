//! Everything that can wake the dashboard, as one closed enum. Knows nothing of what is made of it.

use std::path::PathBuf;
use std::time::Instant;

use crossterm::event::KeyEvent;
use spindle_shared::batch::BatchView;
use spindle_shared::event::Event;
use spindle_shared::job::JobView;
use spindle_shared::snapshot::Snapshot;
use spindle_shared::wire::request::Request;
use spindle_shared::wire::response::{HouseView, Response};

#[derive(Debug)]
pub enum Message {
    /// A watch has begun: how things stand, and the newest batches that have ended before.
    Watching {
        socket: PathBuf,
        build: String,
        snapshot: Box<Snapshot>,
        ended: Vec<BatchView>,
        at: Instant,
    },
    /// More of the snapshot's jobs.
    Jobs(Vec<JobView>),
    Event(Box<Event>),
    /// The watch can't be had or has broken; the feed goes on trying.
    Lost(String),
    /// The daemon itself, asked for once a second.
    House(Box<HouseView>, Instant),
    /// What came of a request, or why it wasn't done.
    Answered(Box<Request>, Result<Vec<Response>, String>),
    Key(KeyEvent),
    /// The terminal has another size.
    Resized,
    /// Nothing happened for a while.
    Tick(Instant),
    /// Somebody asked the program to end.
    Quit,
    /// The keyboard can't be read any more.
    Deaf(String),
    /// A thread of this program ended in a panic.
    Died(String),
}
