//! Errands: what takes a while or touches files is done on threads of its own, and comes back as a message. Knows no model and no screen.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, SyncSender};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ratatui::layout::Size;
use ratatui_image::Resize;
use ratatui_image::picker::Picker;
use ratatui_image::protocol::Protocol;
use spindle_shared::batch::BatchSpec;
use spindle_shared::client::ClientError;
use spindle_shared::job::PathBytes;
use spindle_shared::wire::request::{Request, Submission};
use spindle_shared::wire::response::{PlannedJob, Response, Submitted};

use crate::feed::{Feed, refused};
use crate::message::Message;
use crate::terminal::spawn;

/// What the loop has done for the model.
#[derive(Debug, Clone, PartialEq)]
pub enum Errand {
    Ask(Request),
    /// What would this command line of `spindlectl submit` do?
    Plan(Vec<OsString>),
    Submit(Vec<OsString>),
    /// A command line of `spindlectl export`.
    Export(Vec<OsString>),
    Picture(PictureKey),
    Text(PathBytes),
    Files(PathBuf),
    /// Into the clipboard of the terminal.
    Copy(String),
    /// A new file.
    Save(PathBuf, String),
}

/// A file as a picture for so many cells.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PictureKey {
    pub path: PathBytes,
    pub width: u16,
    pub height: u16,
}

/// A picture ready to be drawn.
pub struct Picture(pub Protocol);

impl std::fmt::Debug for Picture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "a picture of {:?} cells", self.0.size())
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileEntry {
    pub name: OsString,
    pub folder: bool,
    pub bytes: u64,
}

/// The folder itself, in its own list: all that is in it can be taken without going out of it.
pub const HERE: &str = ".";
/// Of a text so much is shown.
const TEXT_BYTES_MAX: u64 = 256 * 1_024;
/// A folder with more is shown as far as this.
const FILES_MAX: usize = 10_000;
/// Larger pictures aren't opened for a look.
const PICTURE_BYTES_MAX: u64 = 256 * 1_024 * 1_024;
/// Of a picture that is opened, and what decoding may take.
const PICTURE_SIDE_MAX: u32 = 30_000;
const PICTURE_MEMORY_MAX: u64 = 512 * 1_024 * 1_024;
/// Terminals take no more at once.
pub const COPY_BYTES_MAX: usize = 50_000;

/// Who does errands.
pub struct Errands {
    feed: Feed,
    messages: SyncSender<Message>,
    pictures: mpsc::Sender<PictureKey>,
}

impl Errands {
    pub fn start(feed: Feed, messages: SyncSender<Message>, picker: Picker) -> std::io::Result<Errands> {
        let (pictures, wanted) = mpsc::channel::<PictureKey>();
        // One after another: decoding is the processors' work, and they have other.
        spawn("pictures", messages.clone(), move |messages| {
            for key in wanted {
                let picture = picture(&picker, &key);
                if messages.send(Message::Picture(key, picture)).is_err() {
                    return;
                }
            }
        })?;
        Ok(Errands { feed, messages, pictures })
    }

    /// Never waits.
    pub fn run(&self, errand: Errand) {
        match errand {
            Errand::Ask(request) => self.feed.ask(request),
            // The thread is gone only when the program ends.
            Errand::Picture(key) => drop(self.pictures.send(key)),
            Errand::Copy(text) => copy(&text),
            other => {
                let found = self.feed.found();
                let failed = match &other {
                    Errand::Submit(_) => |why| Message::Submitted(Err(why)),
                    Errand::Plan(_) => |why| Message::Planned(Err(why)),
                    _ => |why| Message::Done(Err(why)),
                };
                if let Err(error) = spawn("errand", self.messages.clone(), move |messages| {
                    let told = match other {
                        Errand::Plan(line) => Message::Planned(plan(&found, &line)),
                        Errand::Submit(line) => Message::Submitted(submit(&found, &line).map(Box::new)),
                        Errand::Export(line) => Message::Done(spindle_ctl::exported(&line)),
                        Errand::Text(path) => {
                            let text = text(path.as_path());
                            Message::Text(path, text)
                        }
                        Errand::Files(folder) => {
                            let files = files(&folder);
                            Message::Files(folder, files)
                        }
                        Errand::Save(path, text) => Message::Done(save(&path, &text)),
                        Errand::Ask(_) | Errand::Picture(_) | Errand::Copy(_) => return,
                    };
                    // The loop may be over already.
                    let _ = messages.send(told);
                }) {
                    let _ = self.messages.try_send(failed(format!("no thread could start: {error}")));
                }
            }
        }
    }
}

fn plan(found: &crate::feed::Found, line: &[OsString]) -> Result<Vec<PlannedJob>, String> {
    let (spec, inputs) = spindle_ctl::prepared(line)?;
    let responses = send(found, spec, &inputs).map_err(refused)?;
    let planned = responses.into_iter().filter_map(|response| match response {
        Response::Planned(planned) => Some(planned),
        _ => None,
    });
    Ok(planned.flatten().collect())
}

fn submit(found: &crate::feed::Found, line: &[OsString]) -> Result<Submitted, String> {
    spindle_ctl::submitted(line, &|| found.connect().map(|(_, client)| client))
}

fn send(found: &crate::feed::Found, spec: BatchSpec, inputs: &[Submission]) -> Result<Vec<Response>, ClientError> {
    let total = u32::try_from(inputs.len()).unwrap_or(u32::MAX);
    found.connect()?.1.submit(spec, total, true, inputs.iter().cloned())
}

fn picture(picker: &Picker, key: &PictureKey) -> Result<Picture, String> {
    let path = key.path.as_path();
    let file = regular(path)?;
    let bytes = file.metadata().map_or(0, |meta| meta.len());
    if bytes > PICTURE_BYTES_MAX {
        return Err("too large to be shown".to_owned());
    }
    let reader = image::ImageReader::new(std::io::BufReader::new(file)).with_guessed_format();
    let mut reader = reader.map_err(|error| error.to_string())?;
    let mut limits = image::Limits::default();
    limits.max_image_width = Some(PICTURE_SIDE_MAX);
    limits.max_image_height = Some(PICTURE_SIDE_MAX);
    limits.max_alloc = Some(PICTURE_MEMORY_MAX);
    reader.limits(limits);
    let decoded = reader.decode().map_err(|error| error.to_string())?;
    let size = Size::new(key.width, key.height);
    let protocol = picker.new_protocol(decoded, size, Resize::Scale(None)).map_err(|error| error.to_string())?;
    Ok(Picture(protocol))
}

/// Nobody waits for a pipe, or is sent into a device.
fn regular(path: &Path) -> Result<File, String> {
    let meta = fs::metadata(path).map_err(|error| error.to_string())?;
    if !meta.is_file() {
        return Err("is no file".to_owned());
    }
    File::open(path).map_err(|error| error.to_string())
}

fn text(path: &Path) -> Result<String, String> {
    let file = regular(path)?;
    let whole = file.metadata().map_or(0, |meta| meta.len());
    let mut bytes = Vec::new();
    file.take(TEXT_BYTES_MAX).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.contains(&0) {
        return Err("is no text".to_owned());
    }
    let mut text = String::from_utf8_lossy(&bytes).into_owned();
    if whole > TEXT_BYTES_MAX {
        text.push_str("\n…");
    }
    Ok(text)
}

fn files(folder: &Path) -> Result<Vec<FileEntry>, String> {
    let entries = fs::read_dir(folder).map_err(|error| error.to_string())?;
    let mut files: Vec<FileEntry> = entries
        .filter_map(Result::ok)
        .filter(|entry| !entry.file_name().as_encoded_bytes().starts_with(b"."))
        .take(FILES_MAX)
        .filter_map(|entry| {
            let meta = fs::metadata(entry.path()).ok()?;
            let kept = meta.is_dir() || meta.is_file();
            kept.then(|| FileEntry { name: entry.file_name(), folder: meta.is_dir(), bytes: meta.len() })
        })
        .collect();
    files.sort_by(|one, other| other.folder.cmp(&one.folder).then_with(|| one.name.cmp(&other.name)));
    files.insert(0, FileEntry { name: HERE.into(), folder: true, bytes: 0 });
    Ok(files)
}

fn save(path: &Path, text: &str) -> Result<String, String> {
    let shown = PathBytes::from(path);
    let written = OpenOptions::new().write(true).create_new(true).open(path).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    written.map(|()| format!("written: {shown}")).map_err(|error| format!("{shown}: {error}"))
}

/// The sequence that terminals know for it (OSC 52); one that doesn't leaves it out.
fn copy(text: &str) {
    let mut out = std::io::stdout().lock();
    // Where the terminal is gone the next frame tells.
    let _ = write!(out, "\u{1b}]52;c;{}\u{7}", BASE64_STANDARD.encode(text)).and_then(|()| out.flush());
}

#[cfg(test)]
#[path = "picture_tests.rs"]
mod picture_tests;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_come_first_and_hidden_things_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.wav", ".hidden", "a.wav"] {
            fs::write(folder.path().join(name), "12345").unwrap();
        }
        fs::create_dir(folder.path().join("z")).unwrap();
        let files = files(folder.path()).unwrap();
        let told: Vec<_> = files.iter().map(|file| (file.name.to_str().unwrap(), file.folder)).collect();
        assert_eq!(told, [(".", true), ("z", true), ("a.wav", false), ("b.wav", false)]);
        assert!(super::files(&folder.path().join("none")).is_err());
    }

    #[test]
    fn pictures_and_texts_are_what_they_say() {
        let folder = tempfile::tempdir().unwrap();
        let (good, bad) = (folder.path().join("good.png"), folder.path().join("bad.png"));
        image::RgbImage::from_pixel(64, 32, image::Rgb([255, 0, 0])).save(&good).unwrap();
        fs::write(&bad, b"no\0picture").unwrap();
        let picker = Picker::halfblocks();
        let key = |path: &Path| PictureKey { path: path.into(), width: 10, height: 4 };
        let picture = super::picture(&picker, &key(&good)).unwrap();
        assert!(picture.0.size().width <= 10 && picture.0.size().height <= 4);
        assert!(super::picture(&picker, &key(&bad)).is_err());
        assert!(super::picture(&picker, &key(folder.path())).is_err());
        assert_eq!(text(&bad), Err("is no text".to_owned()));
        let saved = folder.path().join("report.txt");
        assert!(save(&saved, "一\n").is_ok());
        assert_eq!(text(&saved), Ok("一\n".to_owned()));
        assert!(save(&saved, "again").is_err(), "nothing is overwritten");
    }
}
