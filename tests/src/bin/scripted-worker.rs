//! A stand-in for `spindle-worker` that does what its script says: small real results, or one chosen misfortune. Decodes nothing.
//!
//! The script is the run's output stem, so an end-to-end test writes it as the name of an input: `MODE[-ARGUMENT][-once][@STAGE]`.
//! `segfault@transcribe.wav` goes well until its transcription; `crash-once` needs `SPINDLE_SCRIPT_MARKS`, a folder where it
//! remembers that it has happened, and where a script with a stage leaves `STEM.begun`. A stem that is no script goes well. Modes:
//! `ok`, `slow[-MS]` (obeys cancel), `hang` (doesn't), `segfault`, `abort`, `exit-CODE`, `silent` (exit 0 without report),
//! `garbage`, `liar` (reports another run), `twice` (reports its end twice), `hog-MIB` (keeps that much memory), `share-MIB` (keeps that much of it
//! shared, where no limit of the kernel's counts it, and waits), `fail-KIND`,
//! `deaf` (closes its channel and lives on), `child` (leaves a process of its own behind).
//!
//! With `SPINDLE_SCRIPT_LOG`, a file, every run leaves a line there when it begins, and every published file one (`RUN STAGE STEM begun`,
//! `RUN STAGE STEM published HASH`); subtitles then name the run that made them, so that no two runs make the same bytes.
//!
//! A script with the word `card` is played on graphics cards alone: `segfault-card@transcribe` goes well on the processor. Which cards there are
//! `SPINDLE_SCRIPT_DEVICES` says, as JSON; without it there are none.
//!
//! What happens before any run follows the program's own file name: `…-mute` says no hello, `…-stranger` a wrong protocol.

#[path = "../../../daemon/worker/src/channel.rs"]
mod channel;
#[path = "../../../daemon/worker/src/memory.rs"]
mod memory;

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;
use std::process;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::SendFlags;
use spindle_shared::failure::{Failure, FailureKind};
use spindle_shared::id::{ContentHash, RunId};
use spindle_shared::job::{Detail, FileIdentity, Output, PathBytes};
use spindle_shared::lane::Role;
use spindle_shared::stage::Stage;
use spindle_shared::stage::analyze::ANALYSIS_FILE;
use spindle_shared::stage::assemble::HIGHLIGHTS_STEM;
use spindle_shared::stage::collect::DOCUMENT_STEM;
use spindle_shared::stage::compress::VIDEO_STEM;
use spindle_shared::stage::decode::AUDIO_FILE;
use spindle_shared::stage::plan::PLAN_FILE;
use spindle_shared::stage::sight::SIGHT_FILE;
use spindle_shared::stage::subtitle::SUBTITLE_STEM;
use spindle_shared::stage::transcribe::TRANSCRIPT_FILE;
use spindle_shared::stage::write::Write as WriteStage;
use spindle_shared::worker::{ArtifactFile, Assignment, Done, Order, Outcome, Published, Report, WORKER_PROTOCOL};

use channel::Channel;

type Cancels = Arc<Mutex<HashMap<RunId, Arc<AtomicBool>>>>;

#[global_allocator]
static ALLOCATOR: memory::Remembering = memory::Remembering;

fn main() {
    if std::env::args().nth(1).is_some_and(|asked| asked == "--devices") {
        println!("{}", std::env::var("SPINDLE_SCRIPT_DEVICES").unwrap_or_else(|_| "[]".to_owned()));
        return;
    }
    memory::tell_its_end().expect("a handler for aborts");
    let role = std::env::args().nth(2).and_then(|name| Role::from_name(&name)).expect("started with --role NAME");
    let channel = Arc::new(Channel::inherited().expect("a channel at descriptor 3"));
    let program = std::env::current_exe().map(|path| path.to_string_lossy().into_owned()).unwrap_or_default();
    if program.ends_with("-mute") {
        wait_for_ever();
    }
    let protocol = WORKER_PROTOCOL + u32::from(program.ends_with("-stranger"));
    tell(&channel, &Report::Hello { protocol, role, lacks: Vec::new() });
    let cancels = Cancels::default();
    let mut runs = Vec::new();
    // Waits for the rest of its inputs.
    let mut waiting: Option<(Box<Assignment>, Vec<OwnedFd>)> = None;
    while let Ok(Some((order, files))) = channel.receive() {
        let (order, files) = match order {
            Order::Assign(assignment) if assignment.more_inputs > 0 => {
                waiting = Some((assignment, files));
                continue;
            }
            Order::Inputs { inputs, .. } => {
                let Some((mut assignment, mut known)) = waiting.take() else { continue };
                assignment.more_inputs -= inputs.len() as u32;
                assignment.inputs.extend(inputs);
                known.extend(files);
                if assignment.more_inputs > 0 {
                    waiting = Some((assignment, known));
                    continue;
                }
                (Order::Assign(assignment), known)
            }
            order => (order, files),
        };
        match order {
            Order::Inputs { .. } => {}
            Order::Assign(assignment) => {
                let cancel = Arc::new(AtomicBool::new(false));
                locked(&cancels).insert(assignment.run, Arc::clone(&cancel));
                let (channel, cancels) = (Arc::clone(&channel), Arc::clone(&cancels));
                runs.retain(|run: &thread::JoinHandle<()>| !run.is_finished());
                runs.push(thread::spawn(move || {
                    let run = assignment.run;
                    let outcome = perform(&channel, &assignment, files, &cancel);
                    locked(&cancels).remove(&run);
                    tell(&channel, &Report::Ended { run, outcome });
                }));
            }
            Order::Cancel(run) => {
                if let Some(cancel) = locked(&cancels).get(&run) {
                    cancel.store(true, Ordering::Relaxed);
                }
            }
            Order::Leave => {
                for run in runs {
                    let _ = run.join();
                }
                process::exit(0);
            }
        }
    }
    if DEAF.load(Ordering::Relaxed) {
        wait_for_ever();
    }
    process::exit(1);
}

/// The channel was closed by a script, not by the daemon.
static DEAF: AtomicBool = AtomicBool::new(false);

fn locked(cancels: &Cancels) -> std::sync::MutexGuard<'_, HashMap<RunId, Arc<AtomicBool>>> {
    cancels.lock().unwrap_or_else(PoisonError::into_inner)
}

fn tell(channel: &Channel, report: &Report) {
    if let Err(e) = channel.send(report) {
        eprintln!("failed to report: {e}");
    }
}

fn wait_for_ever() -> ! {
    loop {
        thread::park();
    }
}

/// One run by its script.
fn perform(channel: &Channel, assignment: &Assignment, files: Vec<OwnedFd>, cancel: &AtomicBool) -> Outcome {
    let stem = String::from_utf8_lossy(&assignment.output.stem.0).into_owned();
    log(assignment, "begun");
    let (script, at) = stem.split_once('@').unwrap_or((&stem, ""));
    let mut words = script.split('-');
    let mode = words.next().unwrap_or_default();
    let words: Vec<&str> = words.collect();
    let number = |otherwise: u64| words.iter().find_map(|word| word.parse().ok()).unwrap_or(otherwise);
    let on_a_card = std::env::args().nth(3).is_some_and(|option| option == "--device");
    let elsewhere = (!at.is_empty() && at != assignment.stage.name()) || (words.contains(&"card") && !on_a_card);
    if elsewhere || (words.contains(&"once") && happened_already(&stem, assignment)) {
        return work(assignment, files);
    }
    if !at.is_empty() {
        mark(&format!("{stem}.begun"));
    }
    match mode {
        "slow" => {
            let until = Instant::now() + Duration::from_millis(number(60_000));
            let whole = until - Instant::now();
            while Instant::now() < until {
                if cancel.load(Ordering::Relaxed) {
                    return Outcome::Stopped;
                }
                let done = 1.0 - (until - Instant::now()).as_secs_f32() / whole.as_secs_f32();
                tell(channel, &Report::Progress { run: assignment.run, done, begun: 0.0 });
                // A run that takes time is what this mode is for.
                thread::sleep(Duration::from_millis(20));
            }
        }
        "hang" => {
            tell(channel, &Report::Progress { run: assignment.run, done: 0.5, begun: 0.0 });
            wait_for_ever();
        }
        "segfault" => {
            eprintln!("about to touch what isn't there");
            // SAFETY: none: this is the crash that the test wants.
            unsafe { (16 as *mut u8).write_volatile(1) };
        }
        "abort" => process::abort(),
        "exit" => process::exit(i32::try_from(number(1)).unwrap_or(1)),
        "silent" => process::exit(0),
        "garbage" => {
            let _ = channel.send_bytes(&[0xff; 40], SendFlags::NOSIGNAL);
            wait_for_ever();
        }
        "liar" => {
            let run = RunId { boot: u64::MAX, counter: 1 };
            tell(channel, &Report::Ended { run, outcome: Outcome::Stopped });
            wait_for_ever();
        }
        "twice" => {
            tell(channel, &Report::Ended { run: assignment.run, outcome: work(assignment, files) });
            return Outcome::Stopped;
        }
        "share" => {
            share(usize::try_from(number(64)).unwrap_or(64) << 20);
            wait_for_ever();
        }
        "hog" => std::mem::forget(vec![1_u8; usize::try_from(number(64)).unwrap_or(64) << 20]),
        "fail" => {
            let named = |kind: &&FailureKind| words.contains(&kind.name());
            let kind = FailureKind::ALL.iter().find(named).copied().unwrap_or(FailureKind::Internal);
            return Outcome::Failed(Failure::new(kind, "failed as the script says"));
        }
        "deaf" => {
            DEAF.store(true, Ordering::Relaxed);
            // SAFETY: the channel lives as long as the process.
            let channel = unsafe { BorrowedFd::borrow_raw(3) };
            let _ = rustix::net::shutdown(channel, rustix::net::Shutdown::Both);
            wait_for_ever();
        }
        "child" => {
            let mut child = process::Command::new("sleep").arg("600").spawn().expect("sleep is there");
            mark(&format!("{stem}.child"));
            tell(channel, &Report::Progress { run: assignment.run, done: 0.5, begun: 0.0 });
            let _ = child.wait();
        }
        _ => {}
    }
    work(assignment, files)
}

/// Notes that this script has played at this stage, and tells whether it had before.
fn happened_already(stem: &str, assignment: &Assignment) -> bool {
    !mark(&format!("{stem}.{}", assignment.stage.name()))
}

/// Leaves a mark where the test has a folder for them; `false`: it was there.
fn mark(name: &str) -> bool {
    let Some(marks) = std::env::var_os("SPINDLE_SCRIPT_MARKS") else { return true };
    File::create_new(Path::new(&marks).join(name)).is_ok()
}

fn logs() -> bool {
    std::env::var_os("SPINDLE_SCRIPT_LOG").is_some()
}

/// Leaves a line where the test keeps its log: whole, whoever else writes there.
fn log(assignment: &Assignment, what: &str) {
    let Some(path) = std::env::var_os("SPINDLE_SCRIPT_LOG") else { return };
    let stem = String::from_utf8_lossy(&assignment.output.stem.0);
    let line = format!("{} {} {stem} {what}\n", assignment.run, assignment.stage.name());
    let written =
        File::options().create(true).append(true).open(path).and_then(|mut file| file.write_all(line.as_bytes()));
    if let Err(e) = written {
        eprintln!("failed to write the log: {e}");
    }
}

/// What the real worker would hand over, in small.
fn work(assignment: &Assignment, files: Vec<OwnedFd>) -> Outcome {
    match result(assignment, files) {
        Ok(done) => Outcome::Done(Box::new(done)),
        Err(e) => Outcome::Failed(Failure::new(FailureKind::Internal, format!("the scripted worker failed: {e}"))),
    }
}

fn result(assignment: &Assignment, files: Vec<OwnedFd>) -> io::Result<Done> {
    let mut inputs = Vec::new();
    for file in files {
        let mut file = File::from(file);
        let mut bytes = Vec::new();
        file.rewind()?;
        file.read_to_end(&mut bytes)?;
        inputs.push((bytes, FileIdentity::of(&file.metadata()?)));
    }
    let first = inputs.first().map(|(bytes, _)| bytes.as_slice()).unwrap_or_default();
    let mut done = Done { work: 1.0, ..Done::default() };
    match &assignment.stage {
        Stage::Identify(_) => {
            done.content = Some(ContentHash::of(first));
            done.identity = inputs.first().map(|(_, identity)| *identity);
        }
        Stage::Decode(_) => {
            done.detail = Detail { media_seconds: Some(first.len() as f64 / 32_000.0), ..Detail::default() };
            done.files.push(artifact(assignment, AUDIO_FILE, first)?);
        }
        Stage::Transcribe(_) => {
            done.detail = Detail { language: Some("en".to_owned()), words: Some(2), ..Detail::default() };
            done.files.push(artifact(assignment, TRANSCRIPT_FILE, b"{\"scripted\":true}\n")?);
        }
        Stage::Subtitle(stage) => {
            done.detail = Detail { cues: Some(1), ..Detail::default() };
            let by = if logs() { format!(" {}", assignment.run) } else { String::new() };
            let cue = format!("1\n00:00:00,000 --> 00:00:01,000\nscripted run{by}\n");
            for format in &stage.formats {
                let name = format!("{SUBTITLE_STEM}.{}", format.name());
                done.files.push(artifact(assignment, &name, cue.as_bytes())?);
            }
        }
        Stage::Publish(_) => {
            for (input, (bytes, _)) in assignment.inputs.iter().zip(&inputs) {
                done.outputs.push(publish(assignment, &input.name, bytes)?);
            }
        }
        Stage::Collect(stage) => {
            // The first is the rows, the rest are texts.
            let texts: Vec<u8> = inputs.iter().skip(1).flat_map(|(bytes, _)| bytes.clone()).collect();
            let name = format!("{DOCUMENT_STEM}.{}", stage.format.name());
            done.files.push(artifact(assignment, &name, &texts)?);
        }
        Stage::Compress(_) | Stage::Convert(_) | Stage::Preview(_) | Stage::Image(_) => {
            let input = assignment.inputs.first().map_or(Path::new(""), |input| input.name.as_path());
            for ending in assignment.stage.endings(input) {
                done.files.push(artifact(assignment, &format!("{VIDEO_STEM}.{ending}"), first)?);
            }
        }
        Stage::Analyze(_) => done.files.push(artifact(assignment, ANALYSIS_FILE, b"{}")?),
        Stage::Plan(_) => {
            // The first is the rows, the rest are analyses.
            done.files.push(artifact(assignment, PLAN_FILE, inputs.len().to_string().as_bytes())?);
        }
        Stage::Assemble(_) => {
            // The first is the plan, the rest are the inputs themselves.
            let parts = assignment.inputs.iter().zip(&inputs).map(|(input, (bytes, _))| match &input.absent {
                Some(why) => format!("absent: {why}\n").into_bytes(),
                None => bytes.clone(),
            });
            let bytes = parts.collect::<Vec<_>>().concat();
            done.files.push(artifact(assignment, &format!("{HIGHLIGHTS_STEM}.mp4"), &bytes)?);
        }
        Stage::Pack(_) => {
            let bytes: Vec<u8> = inputs.iter().skip(1).flat_map(|(bytes, _)| bytes.clone()).collect();
            for ending in assignment.stage.endings(Path::new("")) {
                done.files.push(artifact(assignment, &format!("images.{ending}"), &bytes)?);
            }
        }
        Stage::Listen(_) => done.files.push(artifact(assignment, AUDIO_FILE, first)?),
        Stage::Sight(_) => done.files.push(artifact(assignment, SIGHT_FILE, first)?),
        Stage::Write(stage) => {
            for format in &stage.formats {
                done.files.push(artifact(assignment, &WriteStage::file(*format), first)?);
            }
        }
        Stage::Ask(_) => done.files.push(artifact(assignment, ANALYSIS_FILE, b"{}")?),
        Stage::Propose(_) => done.files.push(artifact(assignment, PLAN_FILE, first)?),
        Stage::Pull(_) | Stage::Upload(_) | Stage::Check(_) | Stage::Deliver(_) => {}
        Stage::Fetch(_) => {
            // What lies at an address is its own name, here.
            let url = assignment.inputs.first().map_or_else(Vec::new, |input| input.name.0.clone());
            done.files.push(artifact(assignment, "fetched.mp4", &url)?);
        }
    }
    Ok(done)
}

/// Keeps this much of a file in memory.
fn share(bytes: usize) {
    let file = rustix::fs::memfd_create("shared", rustix::fs::MemfdFlags::CLOEXEC).expect("a file in memory");
    rustix::fs::ftruncate(&file, bytes as u64).expect("room in it");
    let (read, shared) = (rustix::mm::ProtFlags::READ, rustix::mm::MapFlags::SHARED);
    // SAFETY: a new mapping of a file that nobody else has; it is never unmapped.
    let at = unsafe { rustix::mm::mmap(std::ptr::null_mut(), bytes, read, shared, &file, 0) }.expect("a mapping");
    for page in (0..bytes).step_by(4096) {
        // SAFETY: within the mapping.
        unsafe { at.cast::<u8>().add(page).read_volatile() };
    }
}

fn artifact(assignment: &Assignment, name: &str, bytes: &[u8]) -> io::Result<ArtifactFile> {
    fs::write(assignment.scratch.as_path().join(name), bytes)?;
    Ok(ArtifactFile { name: name.to_owned(), bytes: bytes.len() as u64, content: ContentHash::of(bytes) })
}

fn publish(assignment: &Assignment, name: &PathBytes, bytes: &[u8]) -> io::Result<Published> {
    let kind = name.as_path().extension().unwrap_or_default().to_string_lossy().into_owned();
    let stem = String::from_utf8_lossy(&assignment.output.stem.0).into_owned();
    fs::create_dir_all(assignment.output.directory.as_path())?;
    let path = assignment.output.directory.as_path().join(format!("{stem}.{kind}"));
    let part = path.with_file_name(format!(".{stem}.{kind}.spindle-{}.part", assignment.part_tag));
    let mut file = File::create(&part)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&part, &path)?;
    log(assignment, &format!("published {}", ContentHash::of(bytes)));
    let identity = Some(FileIdentity::of(&file.metadata()?));
    let output = Output { path: path.into(), kind, bytes: bytes.len() as u64 };
    Ok(Published { output, content: ContentHash::of(bytes), identity })
}
