//! Models on this machine, of speech and of pictures: names to files. Reads headers, never loads a model.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use spindle_shared::catalogue::{self, Mirror, Purpose};
use spindle_shared::id::AddressHasher;
use spindle_shared::job::FileIdentity;
use spindle_shared::stage::Stage;
use spindle_shared::stage::image::Needed;
use spindle_shared::stage::transcribe::ModelRef;
use spindle_shared::wire::response::{ModelView, Refusal, RefusalKind};

/// Enough of a file to tell what it is.
const HEADER_BYTES: usize = 64;

/// Fills in where each stage's model lies and which one it is; or where a model to fetch comes from.
/// `pictures`: those that are laid over others are looked for, too.
pub fn resolve(stages: &mut [Stage], model_dir: &Path, mirror: Option<&Mirror>, pictures: bool) -> Result<(), Refusal> {
    for stage in stages {
        match stage {
            Stage::Transcribe(transcribe) => transcribe.model = find(&transcribe.model.name, model_dir)?,
            Stage::Image(image) => {
                for (needed, is_model) in image.needs_mut().filter(|(_, is_model)| *is_model || pictures) {
                    *needed = if is_model {
                        find_picture_model(&needed.name, model_dir)?
                    } else {
                        find_picture(&needed.name)?
                    };
                }
            }
            Stage::Pull(pull) => {
                if let (Some(model), Some(mirror)) = (catalogue::find(&pull.name), mirror) {
                    pull.url = model.url(Some(mirror));
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn find(name: &str, model_dir: &Path) -> Result<ModelRef, Refusal> {
    if catalogue::find(name).is_some_and(|model| model.purpose() == Purpose::Segmentation) {
        let message = format!("the model `{}` is one of pictures, not of speech", spindle_shared::text::escaped(name));
        return Err(Refusal::new(RefusalKind::Usage, message));
    }
    let candidates: Vec<PathBuf> = if name.contains('/') {
        vec![PathBuf::from(name)]
    } else {
        let canonical = catalogue::canonical(name);
        [format!("ggml-{canonical}.bin"), name.to_owned(), format!("{name}.bin")]
            .iter()
            .map(|file| model_dir.join(file))
            .collect()
    };
    let found = candidates.into_iter().find_map(|path| {
        let meta = fs::metadata(&path).ok().filter(fs::Metadata::is_file)?;
        Some((path, meta))
    });
    let Some((path, meta)) = found else { return Err(missing(name, model_dir)) };
    let mut hasher = AddressHasher::default();
    identify(&meta, &mut hasher);
    // The detector of speech beside it decides what the model gets to hear.
    if let Some(meta) = path.parent().and_then(voice_detector).and_then(|detector| fs::metadata(detector).ok()) {
        identify(&meta, &mut hasher);
    }
    let english_only = header(&path).is_some_and(|header| header.english_only());
    Ok(ModelRef { name: name.to_owned(), path: path.into(), hash: Some(hasher.finish()), english_only })
}

/// A model of pictures: one of the model folder by its name, or any ONNX file by its path. What lies beside it says what goes in and comes out.
fn find_picture_model(name: &str, model_dir: &Path) -> Result<Needed, Refusal> {
    if catalogue::find(name).is_some_and(|model| model.purpose() != Purpose::Segmentation) {
        let shown = spindle_shared::text::escaped(name);
        return Err(Refusal::new(RefusalKind::Usage, format!("the model `{shown}` is not one of pictures")));
    }
    let path = if name.contains('/') { PathBuf::from(name) } else { model_dir.join(format!("{name}.onnx")) };
    let Some(meta) = fs::metadata(&path).ok().filter(fs::Metadata::is_file) else {
        return Err(missing(name, model_dir));
    };
    let mut hasher = AddressHasher::default();
    identify(&meta, &mut hasher);
    let description = path.with_extension("toml");
    match fs::metadata(&description) {
        Ok(meta) => identify(&meta, &mut hasher),
        Err(_) if catalogue::find(name).is_some() => {}
        Err(_) => {
            let shown = spindle_shared::text::escaped(&description.to_string_lossy());
            return Err(Refusal::new(
                RefusalKind::ModelMissing,
                format!("the model has no description: there is no {shown}"),
            )
            .hint("it says what goes in and what comes out: docs/image-models.md explains how it is written"));
        }
    }
    Ok(Needed { name: name.to_owned(), path: path.into(), hash: Some(hasher.finish()) })
}

fn find_picture(path: &str) -> Result<Needed, Refusal> {
    let shown = spindle_shared::text::escaped(path);
    let Some(meta) = fs::metadata(path).ok().filter(fs::Metadata::is_file) else {
        return Err(Refusal::new(RefusalKind::Usage, format!("there is no picture {shown}")));
    };
    let mut hasher = AddressHasher::default();
    identify(&meta, &mut hasher);
    Ok(Needed { name: path.to_owned(), path: PathBuf::from(path).into(), hash: Some(hasher.finish()) })
}

/// The last by name of the detectors in a folder, as the worker chooses it.
fn voice_detector(folder: &Path) -> Option<PathBuf> {
    let names = fs::read_dir(folder).ok()?.filter_map(Result::ok).map(|entry| entry.path());
    names.filter(|path| is_voice_detector(path)).max()
}

fn is_voice_detector(path: &Path) -> bool {
    path.file_name()
        .and_then(|name| name.to_str())
        .is_some_and(|name| name.starts_with("ggml-silero") && name.ends_with(".bin"))
}

/// Identity instead of content: hashing gigabytes for every submission would cost more than a cache missed now and then.
fn identify(meta: &fs::Metadata, hasher: &mut AddressHasher) {
    let identity = FileIdentity::of(meta);
    for number in [identity.dev, identity.inode, identity.bytes] {
        hasher.part(&number.to_le_bytes());
    }
    hasher.part(&identity.mtime_ns.to_le_bytes()).part(&identity.ctime_ns.to_le_bytes());
}

fn header(path: &Path) -> Option<catalogue::ModelHeader> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES);
    File::open(path).ok()?.take(HEADER_BYTES as u64).read_to_end(&mut bytes).ok()?;
    catalogue::header(&bytes).ok()
}

fn missing(name: &str, model_dir: &Path) -> Refusal {
    let shown = spindle_shared::text::escaped(name);
    let refusal = Refusal::new(RefusalKind::ModelMissing, format!("the model `{shown}` is not installed"));
    if name.contains('/') {
        return Refusal::new(RefusalKind::ModelMissing, format!("there is no model file {shown}"));
    }
    if catalogue::find(name).is_some() {
        return refusal.hint(format!("`spindlectl models pull {shown}` fetches it"));
    }
    let installed: Vec<String> =
        list(model_dir).into_iter().filter(|model| model.path.is_some()).map(|model| model.name).collect();
    let known = if installed.is_empty() {
        "none is installed".to_owned()
    } else {
        format!("installed: {}", installed.join(", "))
    };
    refusal.hint(format!(
        "{known}; `spindlectl models list` shows those that can be fetched; a model file is taken by its path"
    ))
}

/// The catalogue, and what else lies in the model folder.
pub fn list(model_dir: &Path) -> Vec<ModelView> {
    let mut views: Vec<ModelView> = catalogue::MODELS
        .iter()
        .map(|model| {
            let path = model_dir.join(model.file());
            let installed = fs::metadata(&path).ok().filter(fs::Metadata::is_file);
            ModelView {
                name: model.name.to_owned(),
                path: installed.is_some().then(|| path.into()),
                bytes: installed.map_or(model.bytes, |meta| meta.len()),
                sha256: Some(model.sha256.to_owned()),
                english_only: model.english_only(),
                about: model.good_for.to_owned(),
                purpose: model.purpose().name().to_owned(),
                licence: Some(model.licence().to_owned()),
            }
        })
        .collect();
    let mut own: Vec<ModelView> = fs::read_dir(model_dir)
        .into_iter()
        .flatten()
        .filter_map(Result::ok)
        .filter_map(|entry| {
            let file = entry.file_name().into_string().ok()?;
            if let Some(name) = file.strip_suffix(".onnx") {
                return (!views.iter().any(|known| known.name == name)).then(|| ModelView {
                    name: name.to_owned(),
                    bytes: entry.metadata().map_or(0, |meta| meta.len()),
                    path: Some(entry.path().into()),
                    sha256: None,
                    english_only: false,
                    about: "not of the catalogue".to_owned(),
                    purpose: "pictures".to_owned(),
                    licence: None,
                });
            }
            let name = file.strip_suffix(".bin")?.strip_prefix("ggml-")?.to_owned();
            let header = header(&entry.path())?;
            (!views.iter().any(|known| known.name == name)).then(|| ModelView {
                name,
                bytes: entry.metadata().map_or(0, |meta| meta.len()),
                path: Some(entry.path().into()),
                sha256: None,
                english_only: header.english_only(),
                about: "not of the catalogue".to_owned(),
                purpose: Purpose::Speech.name().to_owned(),
                licence: None,
            })
        })
        .collect();
    own.sort_by(|a, b| a.name.cmp(&b.name));
    views.extend(own);
    views
}
