//! Everything that can wake the dashboard, as one closed enum. Knows nothing of what is made of it.

use std::path::PathBuf;
use std::time::Instant;

use crossterm::event::{KeyEvent, MouseEvent};
use spindle_shared::batch::BatchView;
use spindle_shared::event::Event;
use spindle_shared::job::{JobView, PathBytes};
use spindle_shared::snapshot::Snapshot;
use spindle_shared::time::WallMs;
use spindle_shared::wire::request::{Request, Scope};
use spindle_shared::wire::response::{HouseView, PlannedJob, Response, Submitted};

use crate::errand::{FileEntry, Picture, PictureKey};
use crate::machine::Machine;

#[derive(Debug)]
pub enum Message {
    /// The house is watched from here on: how it stands, and the newest batches that have ended before.
    Watching {
        socket: PathBuf,
        build: String,
        snapshot: Box<Snapshot>,
        ended: Vec<BatchView>,
        at: Instant,
    },
    /// More of that snapshot's batches.
    Batches(Vec<BatchView>),
    /// What happened in the house.
    Event(Box<Event>),
    /// The house can't be watched, or not any more; the feed goes on trying.
    Lost(String),
    /// Of the jobs in the window that was asked for.
    Window(Scope, News),
    /// The daemon itself, asked for once a second.
    House(Box<HouseView>, Instant),
    /// What came of a request, or why it wasn't done.
    Answered(Box<Request>, Result<Vec<Response>, String>),
    /// The machine itself, felt once a second.
    Machine(Machine),
    /// Bytes of outputs since the daemon began.
    OutputBytes(f64, Instant),
    /// A picture for the results, or why there is none.
    Picture(PictureKey, Result<Picture, String>),
    /// A text for the results.
    Text(PathBytes, Result<String, String>),
    /// What is in a folder.
    Files(PathBuf, Result<Vec<FileEntry>, String>),
    /// What a submission would do.
    Planned(Result<Vec<PlannedJob>, String>),
    Submitted(Result<Box<Submitted>, String>),
    /// Something is done that asked for no more than a word.
    Done(Result<String, String>),
    Key(KeyEvent),
    Mouse(MouseEvent),
    /// The terminal has another size.
    Resized,
    /// Time has passed.
    Tick(Instant, WallMs),
    /// Somebody asked the program to end.
    Quit,
    /// The keyboard can't be read any more.
    Deaf(String),
    /// A thread of this program ended in a panic: which, and what it said.
    Died(String),
}

/// What is heard of a window.
#[derive(Debug)]
pub enum News {
    /// It begins, or begins anew.
    Snapshot(Box<Snapshot>),
    /// More of the snapshot's jobs.
    Jobs(Vec<JobView>),
    Event(Box<Event>),
    /// The daemon won't show it.
    Refused(String),
}
