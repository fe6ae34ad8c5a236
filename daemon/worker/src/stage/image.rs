//! Image: a picture through its operations: read once, changed, written once. Knows jobs and failures; pictures are `picture`'s, and what is seen
//! in them is `vision`'s (`sight`).

mod sight;

use std::io::Write;

use spindle_shared::failure::{Failure, FailureKind};
use spindle_shared::job::Detail;
use spindle_shared::stage::image::{Image, PICTURE_STEM, written_as};
use spindle_shared::worker::Done;

use self::sight::Sight;
use crate::context::{Context, Halt, disk_failure};
use crate::picture::quality::Quality;
use crate::picture::write::Target;
use crate::picture::{self, PictureError, chain, similarity, write};

pub fn run(context: &Context, stage: &Image) -> Result<Done, Halt> {
    let (file, name) = context.input()?;
    let halt = |error: PictureError| halt_for(error, &name);
    let mut sight = Sight::new(context, &name, stage)?;
    // To be compared with, all of it is needed.
    let needed = |size| if stage.similarity { 1.0 } else { chain::scale_needed(size, stage.all()) };
    let mut read = picture::read(file, &needed).map_err(halt)?;
    context.go_on()?;
    context.progress(0.4);
    let before = stage.similarity.then(|| read.canvas.copy());
    let original = file.metadata().map_err(|e| halt(PictureError::Read(e)))?.len();
    for operation in stage.all() {
        context.go_on()?;
        match operation.sees() {
            true => sight.look(&mut read.canvas, operation)?,
            false => chain::step(&mut read.canvas, operation).map_err(halt)?,
        }
    }
    let (seen, mut files) = sight.finish(&stage.text_formats())?;
    let mut notes = read.notes;
    if !stage.makes_picture() {
        // Only what is written in it was asked for.
        let mut detail = Detail { notes, ..seen };
        detail.figure("original_format", read.kind.name());
        detail.figure("original_resolution", format!("{}x{}", read.size.0, read.size.1));
        detail.figure("original_bytes", original as f64);
        return Ok(Done { files, detail, work: original as f64, ..Done::default() });
    }
    let made = read.canvas.finish().map_err(halt)?;
    let size = (made.width(), made.height());
    context.go_on()?;
    context.progress(0.6);
    let quality = Quality::of(&made);

    let target = match stage.target() {
        Some((format, quality, lossless)) => Target { format, quality, lossless },
        // As it came, where that is written here.
        None => {
            let format = written_as(read.kind.name());
            let format = format.unwrap_or(spindle_shared::stage::image::PictureFormat::Png);
            Target { format, quality: None, lossless: false }
        }
    };
    let metadata = read.metadata.kept(stage.metadata, size);
    let (bytes, lost) = write::write(made, target, &metadata).map_err(halt)?;
    notes.extend(lost);
    context.go_on()?;
    let artifact_name = format!("{PICTURE_STEM}.{}.{}", stage.kind(), target.format.extension());
    let artifact = context.write_artifact(&artifact_name, |to| {
        Ok(to.write_all(&bytes).map_err(|e| disk_failure(&e, &context.scratch().join(&artifact_name)))?)
    })?;

    let bytes_written = artifact.bytes;
    files.insert(0, artifact);
    let mut detail = Detail { notes, ..seen };
    detail.figure("original_format", read.kind.name());
    detail.figure("original_resolution", format!("{}x{}", read.size.0, read.size.1));
    detail.figure("original_bytes", original as f64);
    detail.figure("format", target.format.name());
    detail.figure("resolution", format!("{}x{}", size.0, size.1));
    detail.figure("bytes", bytes_written as f64);
    detail.figure("quality", rounded(quality.score()));
    for (name, part) in [
        ("quality_sharpness", quality.sharpness),
        ("quality_exposure", quality.exposure),
        ("quality_contrast", quality.contrast),
        ("quality_noise", quality.noise),
        ("quality_resolution", quality.resolution),
    ] {
        detail.figure(name, rounded(100.0 * part));
    }
    if let Some(before) = before {
        if similarity::can_be_told(read.size, size, stage.all()) {
            let after = picture::from_bytes(bytes).and_then(|picture| picture.canvas.finish()).map_err(halt)?;
            let like = similarity::of(before.finish().map_err(halt)?, after).map_err(halt)?;
            detail.figure("similarity", rounded(like));
        } else {
            detail
                .notes
                .push("--similarity: the operations leave something else to see, so nothing is compared".to_owned());
        }
    }
    Ok(Done { files, detail, work: original as f64, ..Done::default() })
}

/// As many digits as mean something.
fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

fn halt_for(error: PictureError, name: &str) -> Halt {
    let message = match &error {
        PictureError::Write { .. } => format!("failed to write {name}: {error}"),
        _ => format!("failed to read {name}: {error}"),
    };
    let failure = |kind| Failure::new(kind, message.clone());
    Halt::Failed(match error {
        PictureError::Empty => failure(FailureKind::Input).advise("the file has nothing in it; get it again"),
        PictureError::Read(_) => failure(FailureKind::Input).advise("check the disk that the file is on"),
        PictureError::NotRead(_) => failure(FailureKind::Input)
            .advise("leave it out of the batch, or convert it elsewhere to JPEG, PNG, WebP, TIFF or AVIF first"),
        PictureError::TooLarge(_) => failure(FailureKind::Input)
            .advise("make it smaller elsewhere first; where it should not be so large, the file is damaged"),
        PictureError::Damaged { .. } => failure(FailureKind::Input)
            .advise("check that the picture opens; where it was cut off or damaged, get it again"),
        PictureError::Write { .. } => failure(FailureKind::Internal).advise("take another format (--op convert=…)"),
        PictureError::OutOfMemory(_) => failure(FailureKind::OutOfMemory),
    })
}
