//! Archives of a batch: originals, what was made of them, and a manifest that says which is which, written as a stream. Knows no queue; opens no
//! file.

use std::collections::HashSet;
use std::io::{self, Read, Seek, Write};

use serde::Serialize;
use sha2::{Digest, Sha256};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use crate::limits::NAME_BYTES_MAX;

/// Folders of the archive.
pub const ORIGINALS: &str = "originals";
pub const PROCESSED: &str = "processed";
/// Of all batch: what the gather made.
pub const TOGETHER: &str = "together";

pub const MANIFEST: &str = "manifest.json";
/// Names, for people, of inputs that are not there in full.
pub const FAILED: &str = "failed.txt";

/// What compresses to nothing worth the time is stored as it is.
const PACKED_ALREADY: [&str; 26] = [
    "7z", "aac", "avi", "avif", "flac", "gif", "gz", "heic", "jpeg", "jpg", "m4a", "m4v", "mkv", "mov", "mp3", "mp4",
    "ogg", "opus", "png", "rar", "webm", "webp", "wma", "wmv", "xz", "zip",
];
/// A zip file says so beforehand when an entry may be larger than this.
const LARGE_BYTES: u64 = 0xf000_0000;

/// One file in the archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Packed {
    /// With its folder.
    pub name: String,
    pub bytes: u64,
    /// As `sha256sum` prints it.
    pub sha256: String,
}

/// One input in the manifest.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Entry {
    /// From 1, as in the batch.
    pub index: u32,
    pub input: String,
    pub state: String,
    pub original: Option<Packed>,
    pub processed: Vec<Packed>,
    /// Why the original, or something that was made of it, is not in the archive.
    pub missing: Vec<String>,
    pub failure: Option<Cause>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cause {
    pub kind: String,
    pub message: String,
    pub advice: String,
}

/// What stands above the entries.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct About {
    pub recipe: String,
    /// Where it is known.
    pub batch_id: Option<u64>,
    pub name: Option<String>,
    pub created_at: Option<String>,
    pub finished_at: Option<String>,
}

#[derive(Serialize)]
struct Manifest<'m> {
    format: u32,
    made_by: String,
    #[serde(flatten)]
    about: &'m About,
    total: usize,
    failed: usize,
    inputs: &'m [Entry],
    together: &'m [Packed],
}

/// An archive that is being written. What it holds in memory is its list of contents.
pub struct Archive<W: Write + Seek> {
    zip: ZipWriter<W>,
    /// In lower case: a disk that doesn't tell cases apart must have room for all.
    taken: HashSet<String>,
    entries: Vec<Entry>,
    together: Vec<Packed>,
}

impl<W: Write + Seek> Archive<W> {
    pub fn new(to: W) -> Self {
        Archive { zip: ZipWriter::new(to), taken: HashSet::new(), entries: Vec::new(), together: Vec::new() }
    }

    /// Puts a file into a folder, under its own name, or one like it where that is taken. `bytes` as far as is known beforehand; `go_on` is asked
    /// between pieces.
    pub fn pack(
        &mut self,
        folder: &str,
        name: &[u8],
        bytes: u64,
        from: &mut impl Read,
        go_on: &mut dyn FnMut() -> io::Result<()>,
    ) -> io::Result<Packed> {
        let name = self.name(folder, name);
        let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension).to_lowercase();
        let method = match PACKED_ALREADY.contains(&extension.as_str()) {
            true => CompressionMethod::Stored,
            false => CompressionMethod::Deflated,
        };
        let options = SimpleFileOptions::default()
            .compression_method(method)
            .large_file(bytes >= LARGE_BYTES)
            .unix_permissions(0o644);
        self.zip.start_file(&name, options)?;
        let mut hasher = Sha256::new();
        let mut buffer = vec![0; 256 << 10];
        let mut packed = 0;
        loop {
            go_on()?;
            match from.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => {
                    hasher.update(&buffer[..read]);
                    self.zip.write_all(&buffer[..read])?;
                    packed += read as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    // Half a file is none.
                    self.zip.abort_file()?;
                    return Err(error);
                }
            }
        }
        let sha256 = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Packed { name, bytes: packed, sha256 })
    }

    /// What is to be said of the next input; its files are in the archive by then.
    pub fn tell(&mut self, entry: Entry) {
        self.entries.push(entry);
    }

    /// What was made of all inputs together.
    pub fn tell_together(&mut self, packed: Packed) {
        self.together.push(packed);
    }

    /// Writes the manifest and the list of contents; the archive is whole then.
    pub fn finish(mut self, about: &About) -> io::Result<W> {
        let options =
            SimpleFileOptions::default().compression_method(CompressionMethod::Deflated).unix_permissions(0o644);
        let lacking = |entry: &&Entry| entry.failure.is_some() || !entry.missing.is_empty();
        let failed: Vec<&Entry> = self.entries.iter().filter(lacking).collect();
        if !failed.is_empty() {
            self.zip.start_file(FAILED, options)?;
            for entry in &failed {
                let failure = entry.failure.iter().map(|cause| format!("{}: {}", cause.kind, cause.message));
                let why = failure.chain(entry.missing.iter().cloned()).collect::<Vec<_>>().join("; ");
                writeln!(self.zip, "{} {}: {why}", entry.index, crate::text::escaped(&entry.input))?;
            }
        }
        let manifest = Manifest {
            format: 1,
            made_by: format!("spindle {}", env!("CARGO_PKG_VERSION")),
            about,
            total: self.entries.len(),
            failed: failed.len(),
            inputs: &self.entries,
            together: &self.together,
        };
        self.zip.start_file(MANIFEST, options)?;
        serde_json::to_writer_pretty(&mut self.zip, &manifest)?;
        self.zip.write_all(b"\n")?;
        Ok(self.zip.finish()?)
    }

    /// A name that nobody has, which every system can unpack.
    fn name(&mut self, folder: &str, name: &[u8]) -> String {
        let text = String::from_utf8_lossy(name);
        let own: String =
            text.chars().map(|c| if c.is_control() || "/\\:*?\"<>|".contains(c) { '_' } else { c }).collect();
        let own = own.trim_end_matches([' ', '.']);
        let own = if own.trim_start_matches('.').is_empty() { "file" } else { own };
        let (stem, extension) = match own.rsplit_once('.') {
            Some((stem, extension)) if !stem.is_empty() => (stem, format!(".{extension}")),
            _ => (own, String::new()),
        };
        let mut most = NAME_BYTES_MAX.min(stem.len());
        while !stem.is_char_boundary(most) {
            most -= 1;
        }
        let stem = &stem[..most];
        let mut number = 1_u64;
        loop {
            let ending = if number == 1 { String::new() } else { format!("-{number}") };
            let name = format!("{folder}/{stem}{ending}{extension}");
            if self.taken.insert(name.to_lowercase()) {
                return name;
            }
            number += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn packed(archive: &mut Archive<Cursor<Vec<u8>>>, name: &[u8], text: &[u8]) -> Packed {
        archive.pack(ORIGINALS, name, text.len() as u64, &mut &text[..], &mut || Ok(())).unwrap()
    }

    #[test]
    fn names_are_unique_and_harmless_and_contents_are_as_they_were() {
        let mut archive = Archive::new(Cursor::new(Vec::new()));
        let mut names = Vec::new();
        let wished: [&[u8]; 9] =
            [b"a.jpg", b"A.jpg", b"a.jpg", b"a-2.jpg", b"../../etc/passwd", b"", b"..", b"\xff\n.txt", b".hidden"];
        for (at, name) in wished.iter().enumerate() {
            names.push(packed(&mut archive, name, format!("text {at} ").repeat(99).as_bytes()).name);
        }
        let expected = [
            "a.jpg",
            "A-2.jpg",
            "a-3.jpg",
            "a-2-2.jpg",
            ".._.._etc_passwd",
            "file",
            "file-2",
            "\u{fffd}_.txt",
            ".hidden",
        ];
        assert_eq!(names, expected.map(|name| format!("{ORIGINALS}/{name}")));
        let failure = Cause { kind: "input".to_owned(), message: "it is damaged".to_owned(), advice: String::new() };
        archive.tell(Entry { index: 7, input: "bad.jpg".to_owned(), failure: Some(failure), ..Entry::default() });
        let bytes = archive.finish(&About::default()).unwrap().into_inner();
        let mut read = zip::ZipArchive::new(Cursor::new(bytes)).unwrap();
        for (at, name) in names.iter().enumerate() {
            let mut text = String::new();
            read.by_name(name).unwrap().read_to_string(&mut text).unwrap();
            assert_eq!(text, format!("text {at} ").repeat(99));
        }
        let mut text = String::new();
        read.by_name(FAILED).unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "7 bad.jpg: input: it is damaged\n");
        let manifest: serde_json::Value = serde_json::from_reader(read.by_name(MANIFEST).unwrap()).unwrap();
        assert_eq!((&manifest["failed"], &manifest["inputs"][0]["index"]), (&1.into(), &7.into()));
    }

    #[test]
    fn a_file_that_breaks_off_is_left_out() {
        struct Breaks(bool);
        impl Read for Breaks {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                if std::mem::replace(&mut self.0, true) {
                    return Err(io::Error::other("the disk is gone"));
                }
                buffer[0] = b'x';
                Ok(1)
            }
        }
        let mut archive = Archive::new(Cursor::new(Vec::new()));
        let error = archive.pack(ORIGINALS, b"a.jpg", 9, &mut Breaks(false), &mut || Ok(())).unwrap_err();
        assert_eq!(error.to_string(), "the disk is gone");
        packed(&mut archive, b"b.jpg", b"b");
        let bytes = archive.finish(&About::default()).unwrap().into_inner();
        let read = zip::ZipArchive::new(Cursor::new(bytes)).unwrap();
        let names: Vec<String> = read.file_names().map(|name| name.unwrap().into_owned()).collect();
        assert_eq!(names, ["originals/b.jpg", MANIFEST]);
    }
}
