//! Pack: the results of all inputs in one archive, and on one sheet. Knows jobs; archives are shared's, pictures `picture`'s.

use std::fs::File;
use std::io::{self, BufWriter, Write};

use spindle_shared::archive::{About, Archive, Cause, Entry, ORIGINALS, PROCESSED};
use spindle_shared::failure::{Failure, FailureKind};
use spindle_shared::job::Detail;
use spindle_shared::recipe::IMAGES;
use spindle_shared::stage::image::PictureFormat;
use spindle_shared::stage::pack::{ARCHIVE_FILE, Pack, SHEET_FILE};
use spindle_shared::worker::{ArtifactFile, Done, InputFile};

use crate::context::{Context, Gathering, Halt, disk_failure};
use crate::picture::metadata::Metadata;
use crate::picture::sheet::{PICTURES_MAX, Sheet};
use crate::picture::write::{self, Target};

const SHEET_QUALITY: u32 = 85;

pub fn run(context: &Context, stage: &Pack) -> Result<Done, Halt> {
    let results = context.results()?;
    let mut detail = Detail::default();
    let mut files = Vec::new();
    let lost = results.iter().filter(|result| result.row.lost.is_some()).count();
    detail.figure("inputs", results.len() as f64);
    detail.figure("inputs_failed", lost as f64);
    if stage.zip {
        files.push(archive(context, &results, if stage.sheet { 0.8 } else { 1.0 })?);
    }
    if stage.sheet {
        files.push(sheet(context, &results, &mut detail)?);
    }
    let work = files.iter().map(|file| file.bytes as f64).sum();
    Ok(Done { files, detail, work, ..Done::default() })
}

fn archive(context: &Context, results: &[Gathering<'_>], share: f32) -> Result<ArtifactFile, Halt> {
    let path = context.scratch().join(ARCHIVE_FILE);
    let disk = |error: io::Error| -> Halt {
        if context.cancelled() { Halt::Stopped } else { disk_failure(&error, &path).into() }
    };
    let file = File::create(&path).map_err(disk)?;
    let mut zip = Archive::new(BufWriter::with_capacity(1 << 20, file));
    let mut go_on = || if context.cancelled() { Err(io::Error::other("told to stop")) } else { Ok(()) };
    // Behind the rows and all of their files.
    let before = 1 + results.iter().map(|result| result.files.len()).sum::<usize>();
    let mut originals = context.inputs().skip(before);
    for (at, Gathering { row, files }) in results.iter().enumerate() {
        let name = row.input.as_path().file_name().unwrap_or_default().as_encoded_bytes().to_vec();
        let input = row.input.to_string();
        let mut entry = Entry { index: row.index, input, state: "completed".to_owned(), ..Entry::default() };
        if let Some(failure) = &row.lost {
            let state = if failure.kind == FailureKind::Cancelled { "cancelled" } else { "failed" };
            entry.state = state.to_owned();
            let (message, advice) = (failure.message.clone(), failure.advice.clone());
            entry.failure = Some(Cause { kind: failure.kind.name().to_owned(), message, advice });
            zip.tell(entry);
            continue;
        }
        let missing = || Failure::new(FailureKind::Internal, "the run came without all of the originals");
        let (InputFile { bytes, absent, .. }, original) = originals.next().ok_or_else(missing)?;
        match absent {
            Some(why) => entry.missing.push(why.clone()),
            None => {
                entry.original = Some(zip.pack(ORIGINALS, &name, *bytes, &mut &*original, &mut go_on).map_err(disk)?);
            }
        }
        for (file, about) in files.iter().zip(&row.files) {
            let name = named_after(&name, &about.name);
            let packed = zip.pack(PROCESSED, &name, about.bytes, &mut &**file, &mut go_on).map_err(disk)?;
            entry.processed.push(packed);
        }
        zip.tell(entry);
        context.progress(share * (at + 1) as f32 / results.len() as f32);
    }
    let about = About { recipe: IMAGES.to_owned(), ..About::default() };
    let file = zip.finish(&about).map_err(disk)?;
    drop(file.into_inner().map_err(|error| disk(error.into_error()))?);
    context.adopt_artifact(ARCHIVE_FILE)
}

/// As it is published: the input's stem, and the artifact's name from its first dot on.
fn named_after(input: &[u8], artifact: &str) -> Vec<u8> {
    let stem = match input.iter().rposition(|byte| *byte == b'.') {
        Some(dot) if dot > 0 => &input[..dot],
        _ => input,
    };
    let ending = artifact.split_once('.').map_or("", |(_, ending)| ending);
    [stem, b".", ending.as_bytes()].concat()
}

fn sheet(context: &Context, results: &[Gathering<'_>], detail: &mut Detail) -> Result<ArtifactFile, Halt> {
    let pictures: Vec<(u32, &File)> =
        results.iter().filter_map(|result| Some((result.row.index, *result.files.first()?))).collect();
    let shown = &pictures[..pictures.len().min(PICTURES_MAX)];
    let mut sheet = Sheet::new(shown.len());
    let mut unread = 0_u32;
    for (at, (number, file)) in shown.iter().enumerate() {
        context.go_on()?;
        unread += u32::from(sheet.add(*number, file).is_err());
        context.progress(0.8 + 0.2 * (at + 1) as f32 / shown.len() as f32);
    }
    if shown.len() < pictures.len() {
        detail.notes.push(format!("the sheet shows the first {PICTURES_MAX} of {} pictures", pictures.len()));
    }
    if unread > 0 {
        detail.notes.push(format!("{unread} results are no pictures that can be shown: their places are empty"));
    }
    let target = Target { format: PictureFormat::Jpeg, quality: Some(SHEET_QUALITY), lossless: false };
    let internal = |error: crate::picture::PictureError| Failure::new(FailureKind::Internal, error.to_string());
    let (bytes, _) = write::write(sheet.finish(), target, &Metadata::default()).map_err(internal)?;
    context.write_artifact(SHEET_FILE, |to| {
        Ok(to.write_all(&bytes).map_err(|e| disk_failure(&e, &context.scratch().join(SHEET_FILE)))?)
    })
}
