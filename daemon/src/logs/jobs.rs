//! A log for each batch, a line for each thing that happened to one of its jobs: tries, stages, what workers printed. Written by a thread of its
//! own, so that nobody waits for it; what comes faster than it can write is left out, and counted. Decides nothing.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use serde_json::{Map, Value};
use spindle_shared::id::{BatchId, JobId};
use spindle_shared::limits::{BATCH_LOG_BYTES_MAX, BATCH_LOGS_OPEN_MAX, JOB_LOG_WAITING_MAX, LOG_LINES_MAX};
use spindle_shared::text;
use tokio::sync::{oneshot, watch};

use super::{cut, shown};

enum Entry {
    Line(BatchId, String),
    Forget(BatchId),
    /// Answered when all before it is written.
    Flush(oneshot::Sender<()>),
}

/// Where jobs' lines are said.
pub struct JobLog {
    sender: SyncSender<Entry>,
    lost: AtomicU64,
}

/// Where they are read again.
#[derive(Clone)]
pub struct JobLogs {
    folder: PathBuf,
    written: watch::Sender<u64>,
    sender: SyncSender<Entry>,
}

/// Opens the folder. Logs of batches that are `known` no more go: a daemon died between a batch's end in the records and here.
pub fn open(folder: &Path, known: impl Fn(BatchId) -> bool + Send + 'static) -> io::Result<(JobLog, JobLogs)> {
    fs::create_dir_all(folder)?;
    let (sender, receiver) = sync_channel(JOB_LOG_WAITING_MAX);
    let logs = JobLogs { folder: folder.to_owned(), written: watch::Sender::new(0), sender: sender.clone() };
    let writer = Writer { logs: logs.clone(), open: BTreeMap::new() };
    std::thread::Builder::new().name("job-log".to_owned()).spawn(move || {
        writer.logs.sweep(known);
        writer.write(&receiver);
    })?;
    Ok((JobLog { sender, lost: AtomicU64::new(0) }, logs))
}

impl JobLog {
    /// One thing that happened to a job.
    pub fn say(&self, job: JobId, event: &str, fields: &[(&str, Value)]) {
        let mut line = Map::new();
        line.insert("time".to_owned(), shown(jiff::Timestamp::now()).into());
        line.insert("job".to_owned(), job.to_string().into());
        line.insert("event".to_owned(), event.into());
        for (name, value) in fields {
            let value = match value {
                Value::String(said) => cut(text::redacted(said)).into(),
                other => other.clone(),
            };
            line.insert((*name).to_owned(), value);
        }
        let lost = self.lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            line.insert("lines_left_out_before".to_owned(), lost.into());
        }
        if self.sender.try_send(Entry::Line(job.batch, Value::Object(line).to_string())).is_err() {
            self.lost.fetch_add(lost + 1, Ordering::Relaxed);
        }
    }

    /// The batch's record is gone, and its log goes too. Where that finds no room, the next start does it.
    pub fn forget(&self, batch: BatchId) {
        drop(self.sender.try_send(Entry::Forget(batch)));
    }
}

struct Writer {
    logs: JobLogs,
    /// With their lengths.
    open: BTreeMap<BatchId, (File, u64)>,
}

impl Writer {
    fn write(mut self, receiver: &Receiver<Entry>) {
        while let Ok(first) = receiver.recv() {
            let mut turn: BTreeMap<BatchId, String> = BTreeMap::new();
            let mut waiting = Vec::new();
            for entry in std::iter::once(first).chain(receiver.try_iter().take(JOB_LOG_WAITING_MAX)) {
                match entry {
                    Entry::Line(batch, line) => {
                        let text = turn.entry(batch).or_default();
                        text.push_str(&line);
                        text.push('\n');
                    }
                    Entry::Flush(reply) => waiting.push(reply),
                    Entry::Forget(batch) => {
                        turn.remove(&batch);
                        self.open.remove(&batch);
                        drop(fs::remove_file(self.logs.path(batch)));
                    }
                }
            }
            for (batch, text) in turn {
                self.append(batch, &text);
            }
            for reply in waiting {
                // Whoever asked and has gone needs no answer.
                let _ = reply.send(());
            }
            self.logs.written.send_modify(|turns| *turns += 1);
        }
    }

    /// What can't be written is lost: a log stops nobody.
    fn append(&mut self, batch: BatchId, text: &str) {
        if !self.open.contains_key(&batch) {
            if self.open.len() >= BATCH_LOGS_OPEN_MAX {
                self.open.clear();
            }
            let opened = OpenOptions::new().append(true).create(true).mode(0o600).open(self.logs.path(batch));
            let Ok(file) = opened else { return };
            let bytes = file.metadata().map_or(0, |meta| meta.len());
            self.open.insert(batch, (file, bytes));
        }
        let Some((file, bytes)) = self.open.get_mut(&batch) else { return };
        if *bytes >= BATCH_LOG_BYTES_MAX {
            return;
        }
        if file.write_all(text.as_bytes()).is_ok() {
            *bytes += text.len() as u64;
            if *bytes >= BATCH_LOG_BYTES_MAX {
                drop(file.write_all(
                    b"{\"event\":\"full\",\"message\":\"this log has reached its limit: nothing more is written\"}\n",
                ));
            }
        }
    }
}

impl JobLogs {
    fn path(&self, batch: BatchId) -> PathBuf {
        self.folder.join(format!("{batch}.jsonl"))
    }

    fn sweep(&self, known: impl Fn(BatchId) -> bool) {
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let number =
                name.to_str().and_then(|name| name.strip_suffix(".jsonl")).and_then(|number| number.parse().ok());
            if let Some(batch) = number.map(BatchId)
                && self.path(batch) == entry.path()
                && !known(batch)
            {
                drop(fs::remove_file(entry.path()));
            }
        }
    }

    /// Waits until what was said so far is written; not where too much waits already.
    pub async fn flush(&self) {
        let (reply, written) = oneshot::channel();
        if self.sender.try_send(Entry::Flush(reply)).is_ok() {
            drop(written.await);
        }
    }

    /// Wakes when something was written.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.written.subscribe()
    }

    /// The lines behind this place in a batch's log, of one job or of all, and where to go on; the last `most` of them.
    pub fn read(&self, batch: BatchId, job: Option<JobId>, from: u64, most: usize) -> (Vec<String>, u64) {
        let mut lines = std::collections::VecDeque::new();
        let mut at = from;
        let Ok(mut file) = File::open(self.path(batch)) else { return (Vec::new(), from) };
        if file.seek(SeekFrom::Start(from)).is_err() {
            return (Vec::new(), from);
        }
        let wanted = job.map(|job| format!("\"job\":\"{job}\""));
        let mut reader = BufReader::new(file.take(2 * BATCH_LOG_BYTES_MAX));
        let mut line = Vec::new();
        while let Ok(length) = reader.read_until(b'\n', &mut line) {
            // A line without its end is being written.
            if length == 0 || line.last() != Some(&b'\n') {
                break;
            }
            at += length as u64;
            let text = String::from_utf8_lossy(&line[..length - 1]).into_owned();
            if wanted.as_ref().is_none_or(|wanted| text.contains(wanted.as_str())) {
                lines.push_back(text);
                if lines.len() > most.min(LOG_LINES_MAX * 10) {
                    lines.pop_front();
                }
            }
            line.clear();
        }
        (lines.into(), at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(batch: u64, index: u32) -> JobId {
        JobId { batch: BatchId(batch), index }
    }

    /// Waits until the writer has written so many lines of a batch.
    fn lines(logs: &JobLogs, batch: u64, count: usize) -> Vec<String> {
        let mut changes = logs.changes();
        let waiting = async {
            loop {
                let (lines, _) = logs.read(BatchId(batch), None, 0, usize::MAX);
                if lines.len() >= count {
                    return lines;
                }
                changes.changed().await.unwrap();
            }
        };
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(waiting)
    }

    #[test]
    fn each_job_has_its_lines_and_nobody_elses() {
        let folder = tempfile::tempdir().unwrap();
        let (log, logs) = open(folder.path(), |_| true).unwrap();
        log.say(job(1, 1), "started", &[("stage", "decode".into()), ("attempt", 1.into())]);
        log.say(job(1, 11), "started", &[("stage", "decode".into())]);
        log.say(job(2, 1), "ended", &[("message", "https://a.example/x?token=SECRET".into())]);
        log.say(job(1, 1), "ended", &[("message", "two\nlines".into())]);
        assert_eq!(lines(&logs, 1, 3).len(), 3);
        assert!(!lines(&logs, 2, 1)[0].contains("SECRET"));
        let (own, at) = logs.read(BatchId(1), Some(job(1, 1)), 0, usize::MAX);
        assert_eq!(own.len(), 2, "{own:?}");
        let first: Value = serde_json::from_str(&own[0]).unwrap();
        assert_eq!((&first["job"], &first["stage"], &first["attempt"]), (&"1/1".into(), &"decode".into(), &1.into()));
        assert_eq!(logs.read(BatchId(1), None, at, usize::MAX), (Vec::new(), at));
        assert_eq!(logs.read(BatchId(1), None, 0, 1).0.len(), 1);
        assert_eq!(logs.read(BatchId(9), None, 0, 1), (Vec::new(), 0));
    }

    #[test]
    fn logs_of_forgotten_batches_go_and_other_files_stay() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["7.jsonl", "8.jsonl", "08.jsonl", "notes.jsonl", "9.txt"] {
            fs::write(folder.path().join(name), "{}\n").unwrap();
        }
        let (log, logs) = open(folder.path(), |batch| batch == BatchId(8)).unwrap();
        log.say(job(1, 1), "started", &[]);
        lines(&logs, 1, 1);
        log.forget(BatchId(1));
        log.say(job(2, 1), "started", &[]);
        lines(&logs, 2, 1);
        let mut names: Vec<_> = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, ["08.jsonl", "2.jsonl", "8.jsonl", "9.txt", "notes.jsonl"]);
    }
}
