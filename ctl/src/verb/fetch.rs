//! `fetch`: outputs from a system service's spool to where they belong, written with the user's own rights.

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

use serde::Serialize;
use spindle_shared::exit;
use spindle_shared::id::{ContentHasher, JobId, Target};
use spindle_shared::job::{JobView, Output};

use crate::Context;
use crate::fault::Fault;
use crate::named;
use crate::output::human;
use crate::whole::{self, Taken};

/// Writes the outputs of batches that a system service has done
///
/// Where they were to go at submission: beside the inputs, or into its `-o`. Nothing is overwritten unless --force is given; what is there already
/// with the same content stays. They wait in the service until the batch is removed, or for the days that its configuration keeps them.
#[derive(Debug, clap::Args)]
pub struct Fetch {
    /// Batches (`12`, `5-8`) that have ended, or jobs (`12/3`)
    #[arg(value_name = "ID", required = true)]
    ids: Vec<String>,
    /// Write them into this folder: side by side, or mirroring the folders they were to go to
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Replace whatever has an output's name
    #[arg(long)]
    force: bool,
}

#[derive(Debug, Serialize)]
struct FetchJson {
    files: Vec<FileJson>,
    bytes: u64,
}

#[derive(Debug, Serialize)]
struct FileJson {
    job_id: String,
    path: String,
    kind: String,
    bytes: u64,
    /// It was there already, with the same content.
    unchanged: bool,
}

/// An output on its way.
struct Item {
    job: JobId,
    nth: u32,
    output: Output,
    target: PathBuf,
    unchanged: bool,
}

/// Names that are told of where they are in the way.
const LISTED_MAX: usize = 20;

impl Fetch {
    pub fn run(self, context: &Context) -> Result<u8, Fault> {
        let targets = named::targets(&self.ids)?;
        if targets.is_empty() {
            return Err(Fault::usage("no batch or job is named"));
        }
        if !context.daemon.spools()? {
            return Err(Fault::usage("this daemon's outputs are where they belong already")
                .hint("`spindlectl result ID` tells where; --system names the system's daemon"));
        }
        let fetched = fetch(context, &targets, self.output.as_deref(), self.force)?;
        context.console.either(
            || FetchJson {
                bytes: fetched.iter().map(|item| item.output.bytes).sum(),
                files: fetched
                    .iter()
                    .map(|item| FileJson {
                        job_id: item.job.to_string(),
                        path: item.target.to_string_lossy().into_owned(),
                        kind: item.output.kind.clone(),
                        bytes: item.output.bytes,
                        unchanged: item.unchanged,
                    })
                    .collect(),
            },
            || fetched.iter().map(|item| format!("{}\n", human::escaped(&item.target.to_string_lossy()))).collect(),
        )?;
        Ok(exit::DONE)
    }
}

/// Writes the outputs of a batch that has just ended, and says how many.
pub fn fetch_ended(context: &Context, target: Target, force: bool) -> Result<(), Fault> {
    let fetched = fetch(context, &[target], None, force)?;
    let new = fetched.iter().filter(|item| !item.unchanged).count();
    context.console.talk(format_args!("{new} outputs written"));
    Ok(())
}

/// Nothing is written before it is clear that everything can be.
fn fetch(context: &Context, targets: &[Target], into: Option<&Path>, force: bool) -> Result<Vec<Item>, Fault> {
    let mut items = Vec::new();
    for target in targets {
        let batch = context.daemon.batch(target.batch())?;
        if batch.owner.0 != rustix::process::geteuid().as_raw() && into.is_none() {
            // Where another wants files written, links may lead anywhere that we may write.
            return Err(Fault::usage(format!(
                "batch {} is somebody else's, and so are the folders it names",
                batch.id
            ))
            .hint("name a folder for its outputs with -o"));
        }
        match target {
            Target::Batch(id) => {
                super::result::check_finished(&batch)?;
                context.daemon.each_job(*id, |job| add(&mut items, job))?;
                if batch.gather.is_some() {
                    add(&mut items, &context.daemon.job(JobId::gather(*id))?);
                }
            }
            Target::Job(job) => add(&mut items, &context.daemon.job(*job)?),
        }
    }
    if let Some(folder) = into {
        mirror(&mut items, folder)?;
    }
    let mut names = BTreeSet::new();
    if let Some(twice) = items.iter().find(|item| !names.insert(item.target.clone())) {
        return Err(Fault::usage(format!("two outputs would be {}", human::escaped(&twice.target.to_string_lossy())))
            .hint("fetch one batch at a time, each into a folder of its own"));
    }
    let mut in_the_way = Vec::new();
    for item in &mut items {
        let Ok(meta) = std::fs::symlink_metadata(&item.target) else { continue };
        item.unchanged = meta.is_file() && meta.len() == item.output.bytes && is_same(context, item)?;
        if !item.unchanged && !force {
            in_the_way.push(human::escaped(&item.target.to_string_lossy()));
        }
    }
    if !in_the_way.is_empty() {
        let more = in_the_way.len().saturating_sub(LISTED_MAX);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        in_the_way.truncate(LISTED_MAX);
        let message = format!("these exist already: {}{more}", in_the_way.join(", "));
        return Err(Fault::new(exit::USAGE, "exists", message)
            .hint("--force replaces them; -o writes the outputs into another folder"));
    }
    let taken = if force { Taken::Replace } else { Taken::Refuse };
    for item in items.iter().filter(|item| !item.unchanged) {
        write(context, item, taken)?;
    }
    Ok(items)
}

/// What went to an object store is there and nowhere else.
fn add(items: &mut Vec<Item>, job: &JobView) {
    for (nth, output) in (0..).zip(&job.outputs) {
        let target = output.path.as_path().to_owned();
        if target.is_absolute() {
            items.push(Item { job: job.id, nth, output: output.clone(), target, unchanged: false });
        }
    }
}

/// Targets in `folder`, as they lie below the last folder that they have in common.
fn mirror(items: &mut [Item], folder: &Path) -> Result<(), Fault> {
    let folder = std::path::absolute(folder).map_err(|error| Fault::usage(format!("-o: {error}")))?;
    let mut common: Option<PathBuf> = None;
    for item in items.iter() {
        let own = item.target.parent().unwrap_or(Path::new("/"));
        common = Some(match common {
            None => own.to_owned(),
            Some(common) => common
                .components()
                .zip(own.components())
                .take_while(|(one, other)| one == other)
                .map(|(one, _)| one)
                .collect(),
        });
    }
    let common = common.unwrap_or_default();
    for item in items {
        let below: PathBuf = item
            .target
            .strip_prefix(&common)
            .unwrap_or(&item.target)
            .components()
            // What a daemon says must not lead out of the folder.
            .filter(|part| matches!(part, Component::Normal(_)))
            .collect();
        item.target = folder.join(below);
    }
    Ok(())
}

/// Whether what is there is what would be fetched.
fn is_same(context: &Context, item: &Item) -> Result<bool, Fault> {
    let Some(content) = context.daemon.fetch(item.job, item.nth)?.content else { return Ok(false) };
    let mut hasher = ContentHasher::default();
    let read = std::fs::File::open(&item.target).and_then(|mut file| io::copy(&mut file, &mut hasher));
    Ok(read.is_ok() && hasher.finish() == content)
}

fn write(context: &Context, item: &Item, taken: Taken) -> Result<(), Fault> {
    if let Some(folder) = item.target.parent() {
        std::fs::create_dir_all(folder).map_err(|error| {
            Fault::error(format!("failed to make {}: {error}", human::escaped(&folder.to_string_lossy())))
        })?;
    }
    let mut output = context.daemon.fetch(item.job, item.nth)?;
    whole::write_with(&item.target, taken, |mut file| {
        // It ends with an error where it is not what was published.
        io::copy(&mut output.by_ref(), &mut file)?;
        Ok(file)
    })
}

#[cfg(test)]
mod tests {
    use spindle_shared::id::BatchId;
    use spindle_shared::job::PathBytes;

    use super::*;

    fn mirrored(paths: &[&str]) -> Vec<String> {
        let mut items: Vec<Item> = paths
            .iter()
            .map(|path| Item {
                job: JobId { batch: BatchId(1), index: 1 },
                nth: 0,
                output: Output { path: PathBytes((*path).into()), kind: "srt".to_owned(), bytes: 1 },
                target: PathBuf::from(path),
                unchanged: false,
            })
            .collect();
        mirror(&mut items, Path::new("/to")).unwrap();
        items.iter().map(|item| item.target.to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn a_folder_gets_files_side_by_side_or_as_they_lie_below_what_they_share() {
        assert_eq!(mirrored(&["/home/ann/a.srt"]), ["/to/a.srt"]);
        assert_eq!(mirrored(&["/home/ann/a.srt", "/home/ann/b.srt"]), ["/to/a.srt", "/to/b.srt"]);
        assert_eq!(mirrored(&["/home/ann/x/a.srt", "/home/ann/y/a.srt"]), ["/to/x/a.srt", "/to/y/a.srt"]);
        assert_eq!(mirrored(&["/a/../../etc/passwd", "/a/b"]), ["/to/etc/passwd", "/to/b"]);
    }
}
