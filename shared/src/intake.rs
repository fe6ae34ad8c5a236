//! Intake: what a person names (files, folders, lists) to inputs with their facts, and which output names are taken. Knows no
//! recipe; opens no media.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use crate::job::{FileIdentity, Input, OutputPlan, PathBytes};
use crate::limits::{INPUTS_MAX, LIST_BYTES_MAX, PATH_BYTES_MAX};
use crate::output::{self, Candidates};
use crate::url::{self, Url};
use crate::wire::request::TakenName;

/// Extensions taken from folders where sound is wanted; compared without regard to case.
pub const MEDIA_EXTENSIONS: [&str; 57] = [
    "3g2", "3gp", "aac", "ac3", "aif", "aifc", "aiff", "alac", "amr", "ape", "asf", "au", "avi", "caf", "dts", "dv",
    "eac3", "f4v", "flac", "flv", "m2ts", "m4a", "m4b", "m4v", "mka", "mkv", "mov", "mp2", "mp3", "mp4", "mpa", "mpeg",
    "mpg", "mts", "mxf", "nut", "oga", "ogg", "ogm", "ogv", "opus", "qt", "ra", "rm", "rmvb", "spx", "tak", "tta",
    "ts", "vob", "w64", "wav", "webm", "weba", "wma", "wmv", "wv",
];

/// How to look.
#[derive(Debug, Clone, Copy, Default)]
pub struct Intake<'a> {
    /// Take what lies in folders.
    pub recurse: bool,
    /// What is taken from folders, in lower case; a file that is named is taken whatever its name is.
    pub extensions: &'a [&'a str],
    /// Columns that lists may have beside the input's.
    pub columns: &'a [String],
}

/// One input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Absolute; links in it are not resolved, so outputs land where the person sees the input. Of an address: as if it lay in the current
    /// folder under its own name.
    pub path: PathBuf,
    /// The folder that was named and in which it was found.
    pub root: Option<PathBuf>,
    pub input: Input,
    /// Column and value, from a list; columns as in [`Intake::columns`].
    pub overrides: Vec<(String, String)>,
    pub origin: Origin,
}

/// Who named an input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    Argument,
    /// A list (`None` = standard input) and the line, from 1.
    List {
        list: Option<PathBytes>,
        line: u64,
    },
}

/// Everything found, in the order it was named.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Inputs {
    pub found: Vec<Found>,
    /// What was left out although it was named or has a known extension, and why.
    pub dropped: Vec<Problem>,
}

/// Something wrong with what was named.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Problem {
    pub origin: Origin,
    /// `None` = it is about the line or the list itself.
    pub path: Option<PathBytes>,
    pub why: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Origin::Argument => {}
            Origin::List { list: Some(list), line: 0 } => write!(f, "{list}: ")?,
            Origin::List { list: Some(list), line } => write!(f, "{list}:{line}: ")?,
            Origin::List { list: None, line: 0 } => f.write_str("standard input: ")?,
            Origin::List { list: None, line } => write!(f, "standard input:{line}: ")?,
        }
        if let Some(path) = &self.path {
            write!(f, "{path}: ")?;
        }
        f.write_str(&self.why)
    }
}

/// A list as it was given to `--from`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListFile {
    Standard,
    File(PathBuf),
}

impl Intake<'_> {
    /// Finds everything named, arguments first. All that is wrong is told at once.
    pub fn take(&self, arguments: &[PathBuf], lists: &[ListFile]) -> Result<Inputs, Vec<Problem>> {
        let mut gathering = Gathering {
            intake: self,
            inputs: Inputs::default(),
            problems: Vec::new(),
            known: HashMap::new(),
            resolved: HashMap::new(),
            urls: HashMap::new(),
        };
        for argument in arguments {
            gathering.named(argument, Vec::new(), Origin::Argument);
        }
        for list in lists {
            match self.rows(list) {
                Ok(rows) => {
                    for row in rows {
                        gathering.named(&row.path, row.overrides, row.origin);
                    }
                }
                Err(problems) => gathering.problems.extend(problems),
            }
        }
        if gathering.problems.is_empty() { Ok(gathering.inputs) } else { Err(gathering.problems) }
    }

    fn rows(&self, list: &ListFile) -> Result<Vec<Row>, Vec<Problem>> {
        let (name, extension) = match list {
            ListFile::Standard => (None, None),
            ListFile::File(path) => {
                let extension = path.extension().map(|extension| extension.to_string_lossy().to_lowercase());
                (Some(PathBytes::from(path.as_path())), extension)
            }
        };
        let about_list =
            |why: String| vec![Problem { origin: Origin::List { list: name.clone(), line: 0 }, path: None, why }];
        let mut bytes = Vec::new();
        let limit = LIST_BYTES_MAX as u64 + 1;
        let read = match list {
            ListFile::Standard => io::stdin().lock().take(limit).read_to_end(&mut bytes),
            ListFile::File(path) => File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes)),
        };
        if let Err(error) = read {
            return Err(about_list(told(&error)));
        }
        if bytes.len() > LIST_BYTES_MAX {
            return Err(about_list(format!("the list has more than {LIST_BYTES_MAX} bytes")));
        }
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
        let reader = Reader { list: name, columns: self.columns };
        match extension.as_deref() {
            Some("csv") => reader.csv(bytes),
            Some("jsonl" | "ndjson" | "json") => reader.json_lines(bytes),
            _ if bytes.contains(&0) => Ok(reader.nul_separated(bytes)),
            None if bytes.trim_ascii_start().starts_with(b"{") => reader.json_lines(bytes),
            _ => Ok(reader.text(bytes)),
        }
    }
}

/// A row of a list: something named, not looked at yet.
struct Row {
    path: PathBuf,
    overrides: Vec<(String, String)>,
    origin: Origin,
}

/// Columns that name the input itself.
const INPUT_COLUMNS: [&str; 3] = ["input", "path", "file"];

struct Reader<'a> {
    list: Option<PathBytes>,
    columns: &'a [String],
}

impl Reader<'_> {
    fn origin(&self, line: u64) -> Origin {
        Origin::List { list: self.list.clone(), line }
    }

    fn problem(&self, line: u64, why: impl Into<String>) -> Problem {
        Problem { origin: self.origin(line), path: None, why: why.into() }
    }

    fn plain(&self, bytes: &[u8], line: u64) -> Row {
        Row { path: path_of(bytes), overrides: Vec::new(), origin: self.origin(line) }
    }

    /// One name a line; `#` begins a comment line.
    fn text(&self, bytes: &[u8]) -> Vec<Row> {
        (1..)
            .zip(bytes.split(|byte| *byte == b'\n'))
            .map(|(line, text)| (line, text.strip_suffix(b"\r").unwrap_or(text)))
            .filter(|(_, text)| !matches!(text.trim_ascii_start().first(), None | Some(b'#')))
            .map(|(line, text)| self.plain(text, line))
            .collect()
    }

    /// As `find -print0` writes it: every byte but NUL is part of a name.
    fn nul_separated(&self, bytes: &[u8]) -> Vec<Row> {
        (1..)
            .zip(bytes.split(|byte| *byte == 0))
            .filter(|(_, name)| !name.is_empty())
            .map(|(entry, name)| self.plain(name, entry))
            .collect()
    }

    fn csv(&self, bytes: &[u8]) -> Result<Vec<Row>, Vec<Problem>> {
        let mut reader = csv::ReaderBuilder::new().from_reader(bytes);
        let header: Vec<String> = match reader.byte_headers() {
            Ok(header) => header.iter().map(|name| column_name(&String::from_utf8_lossy(name))).collect(),
            Err(error) => return Err(vec![self.problem(1, told_csv(&error))]),
        };
        let Some(input_at) = header.iter().position(|name| INPUT_COLUMNS.contains(&name.as_str())) else {
            return Err(vec![self.problem(1, "the header has no column `input`, `path` or `file`")]);
        };
        let mut known = Vec::with_capacity(header.len());
        for (at, name) in header.iter().enumerate() {
            if at == input_at {
                known.push(String::new());
            } else if header[..at].contains(name) {
                return Err(vec![self.problem(1, format!("the column `{}` comes twice", crate::text::escaped(name)))]);
            } else {
                known.push(self.column(name).map_err(|why| vec![self.problem(1, why)])?);
            }
        }
        let mut rows = Vec::new();
        let mut problems = Vec::new();
        for record in reader.byte_records() {
            let record = match record {
                Ok(record) => record,
                Err(error) => {
                    let line = error.position().map_or(0, |position| line_of(bytes, position));
                    problems.push(self.problem(line, told_csv(&error)));
                    continue;
                }
            };
            let line = record.position().map_or(0, |position| line_of(bytes, position));
            let mut row = Row { path: PathBuf::new(), overrides: Vec::new(), origin: self.origin(line) };
            for (at, (cell, column)) in record.iter().zip(&known).enumerate() {
                if at == input_at {
                    row.path = path_of(cell);
                } else if !cell.trim_ascii().is_empty() {
                    match std::str::from_utf8(cell) {
                        Ok(text) => row.overrides.push((column.clone(), text.trim().to_owned())),
                        Err(_) => problems.push(self.problem(line, format!("the column `{column}` is not UTF-8"))),
                    }
                }
            }
            match row.path.as_os_str().is_empty() {
                true => problems.push(self.problem(line, "names no input")),
                false => rows.push(row),
            }
        }
        if problems.is_empty() { Ok(rows) } else { Err(problems) }
    }

    fn json_lines(&self, bytes: &[u8]) -> Result<Vec<Row>, Vec<Problem>> {
        let mut rows = Vec::new();
        let mut problems = Vec::new();
        for (line, text) in (1..).zip(bytes.split(|byte| *byte == b'\n')) {
            if text.trim_ascii().is_empty() {
                continue;
            }
            match self.json_row(text, line) {
                Ok(row) => rows.push(row),
                Err(why) => problems.push(self.problem(line, why)),
            }
        }
        if problems.is_empty() { Ok(rows) } else { Err(problems) }
    }

    fn json_row(&self, text: &[u8], line: u64) -> Result<Row, String> {
        use serde_json::Value;
        let object: serde_json::Map<String, Value> =
            serde_json::from_slice(text).map_err(|error| format!("no JSON object: {error}"))?;
        let mut row = Row { path: PathBuf::new(), overrides: Vec::new(), origin: self.origin(line) };
        for (name, value) in object {
            let name = column_name(&name);
            if INPUT_COLUMNS.contains(&name.as_str()) {
                match value {
                    Value::String(path) if row.path.as_os_str().is_empty() => row.path = PathBuf::from(path),
                    Value::String(_) => return Err("names two inputs".to_owned()),
                    _ => return Err(format!("`{name}` is no text")),
                }
                continue;
            }
            let column = self.column(&name)?;
            let text = match value {
                Value::Null => continue,
                Value::String(text) => text,
                Value::Bool(_) | Value::Number(_) => value.to_string(),
                Value::Array(values) => values
                    .into_iter()
                    .map(|value| value.as_str().map(str::to_owned))
                    .collect::<Option<Vec<_>>>()
                    .ok_or_else(|| format!("`{column}` is a list of something else than texts"))?
                    .join(","),
                Value::Object(_) => return Err(format!("`{column}` is an object")),
            };
            row.overrides.push((column, text));
        }
        match row.path.as_os_str().is_empty() {
            true => Err("names no input (`input`, `path` or `file`)".to_owned()),
            false => Ok(row),
        }
    }

    fn column(&self, name: &str) -> Result<String, String> {
        if self.columns.iter().any(|known| known == name) {
            return Ok(name.to_owned());
        }
        let known = INPUT_COLUMNS.into_iter().chain(self.columns.iter().map(String::as_str)).collect::<Vec<_>>();
        Err(format!("unknown column `{}`; known are {}", crate::text::escaped(name), known.join(", ")))
    }
}

/// Columns are named as options are: `beam_size` and `Beam-Size` mean `beam-size`.
fn column_name(name: &str) -> String {
    name.trim().to_lowercase().replace(['_', ' '], "-")
}

fn path_of(bytes: &[u8]) -> PathBuf {
    PathBuf::from(OsString::from_vec(bytes.to_vec()))
}

/// The line a record begins at; its position is before the blank lines that precede it.
fn line_of(bytes: &[u8], position: &csv::Position) -> u64 {
    let from = usize::try_from(position.byte()).unwrap_or(usize::MAX);
    let blank = bytes.get(from..).unwrap_or_default().iter().take_while(|byte| matches!(byte, b'\r' | b'\n'));
    position.line() + blank.filter(|byte| **byte == b'\n').count() as u64
}

fn told_csv(error: &csv::Error) -> String {
    match error.kind() {
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("has {len} cells where the header has {expected_len}")
        }
        _ => error.to_string(),
    }
}

/// What has been found so far.
struct Gathering<'a> {
    intake: &'a Intake<'a>,
    inputs: Inputs,
    problems: Vec<Problem>,
    /// Device and inode to what was found first with them; others are hard links of one file, or one file with other parameters.
    known: HashMap<(u64, u64), usize>,
    /// Of those that have more than one: by where their names lead to. Looked up, because a file may have a hundred thousand links.
    resolved: HashMap<PathBuf, Vec<usize>>,
    urls: HashMap<Url, Vec<usize>>,
}

impl Gathering<'_> {
    fn named(&mut self, named: &Path, overrides: Vec<(String, String)>, origin: Origin) {
        if url::is_url(named.as_os_str().as_bytes()) && named.symlink_metadata().is_err() {
            return self.elsewhere(named, overrides, origin);
        }
        match self.look(named) {
            Ok((path, meta)) if meta.is_dir() => self.folder(path, named, &overrides, &origin),
            Ok((path, meta)) => self.found(Found { input: file(&path, &meta), path, root: None, overrides, origin }),
            Err(why) => self.wrong(origin, named, why),
        }
    }

    /// The absolute path with its facts, or why it can be no input.
    fn look(&self, named: &Path) -> Result<(PathBuf, Metadata), String> {
        if named.as_os_str().as_bytes().len() > PATH_BYTES_MAX {
            return Err(format!("the path has more than {PATH_BYTES_MAX} bytes"));
        }
        let path = std::path::absolute(named).map_err(|error| told(&error))?;
        let meta = std::fs::metadata(&path).map_err(|error| told(&error))?;
        if meta.is_dir() {
            return match self.intake.recurse {
                true => Ok((path, meta)),
                false => Err("is a folder; -r takes what is in it".to_owned()),
            };
        }
        if !meta.is_file() {
            return Err("is not a regular file".to_owned());
        }
        readable(&path).map_err(|error| told(&error))?;
        Ok((path, meta))
    }

    /// Files below a folder, sorted by name, each once; hidden ones, partial ones and unknown extensions are passed over.
    fn folder(&mut self, root: PathBuf, named: &Path, overrides: &[(String, String)], origin: &Origin) {
        let mut visited = HashSet::new();
        let before = self.inputs.found.len();
        let walk = WalkDir::new(&root).follow_links(true).sort_by_file_name().into_iter().filter_entry(|entry| {
            if entry.depth() > 0 && entry.file_name().as_bytes().starts_with(b".") {
                return false;
            }
            // A folder that is reached twice, by a link, is walked once; that ends loops too.
            !entry.file_type().is_dir()
                || entry.metadata().map_or(true, |meta| visited.insert((meta.dev(), meta.ino())))
        });
        for entry in walk {
            if self.inputs.found.len() > INPUTS_MAX {
                return;
            }
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) if error.loop_ancestor().is_some() => continue,
                Err(error) => {
                    let path = error.path().unwrap_or(&root).to_owned();
                    let why = error.io_error().map_or_else(|| error.to_string(), told);
                    // A link to nowhere among thousands of files is worth a word, no more.
                    match path.is_symlink() {
                        true if !self.wanted(&path) => {}
                        true => self.drop_it(origin.clone(), &path, why),
                        false => self.wrong(origin.clone(), &path, why),
                    }
                    continue;
                }
            };
            if !entry.file_type().is_file() || !self.wanted(entry.path()) {
                continue;
            }
            let path = entry.path();
            match entry.metadata().map_err(io::Error::from).and_then(|meta| readable(path).map(|()| meta)) {
                Ok(meta) => self.found(Found {
                    path: path.to_owned(),
                    root: Some(root.clone()),
                    input: file(path, &meta),
                    overrides: overrides.to_vec(),
                    origin: origin.clone(),
                }),
                Err(error) => self.wrong(origin.clone(), path, told(&error)),
            }
        }
        if self.inputs.found.len() == before {
            self.drop_it(origin.clone(), named, "nothing new of a known kind is in it".to_owned());
        }
    }

    fn wanted(&self, path: &Path) -> bool {
        let Some(extension) = path.extension().and_then(|extension| extension.to_str()) else { return false };
        self.intake.extensions.iter().any(|known| known.eq_ignore_ascii_case(extension))
    }

    /// An address is taken as it is written: what is there, only fetching tells.
    fn elsewhere(&mut self, named: &Path, overrides: Vec<(String, String)>, origin: Origin) {
        let text = named.to_str().ok_or_else(|| "is no UTF-8".to_owned());
        let url = text.and_then(|text| Url::parse(text).map_err(|error| error.to_string()));
        let placed = url.and_then(|url| {
            let path = std::path::absolute(url.file_name()).map_err(|error| told(&error))?;
            Ok((url, path))
        });
        match placed {
            Ok((url, path)) => self.found(Found { input: Input::Url(url), path, root: None, overrides, origin }),
            // It may hold secrets, and what can't be read can't be shown without them.
            Err(why) => {
                let start: String = named.to_string_lossy().chars().take_while(|c| *c != ':').collect();
                self.wrong(origin, Path::new(&format!("{start}://…")), why);
            }
        }
    }

    fn found(&mut self, found: Found) {
        let at = self.inputs.found.len();
        let alike = match &found.input {
            Input::File { identity, .. } => match self.known.entry((identity.dev, identity.inode)) {
                Entry::Vacant(place) => {
                    place.insert(at);
                    None
                }
                Entry::Occupied(first) => {
                    let first = *first.get();
                    let one = leads_to(&self.inputs.found[first].path);
                    self.resolved.entry(one).or_insert_with(|| vec![first]);
                    Some(self.resolved.entry(leads_to(&found.path)).or_default())
                }
            },
            Input::Url(url) => Some(self.urls.entry(url.clone()).or_default()),
            Input::Name(_) => return,
        };
        let inputs = &mut self.inputs.found;
        let twin = alike.as_ref().is_some_and(|alike| alike.iter().any(|at| inputs[*at].overrides == found.overrides));
        if twin {
            let Found { path, input, origin, .. } = found;
            let shown = if matches!(input, Input::Url(_)) { PathBuf::from(input.to_string()) } else { path };
            return self.drop_it(origin, &shown, "is named twice".to_owned());
        }
        if inputs.len() == INPUTS_MAX {
            let why = format!("more than {INPUTS_MAX} inputs; split them over several batches");
            self.problems.push(Problem { origin: Origin::Argument, path: None, why });
        }
        if let Some(alike) = alike {
            alike.push(at);
        }
        inputs.push(found);
    }

    fn wrong(&mut self, origin: Origin, path: &Path, why: String) {
        self.problems.push(Problem { origin, path: Some(path.into()), why });
    }

    fn drop_it(&mut self, origin: Origin, path: &Path, why: String) {
        self.inputs.dropped.push(Problem { origin, path: Some(path.into()), why });
    }
}

/// Files that have a name which a job may publish under, for each job in order. Folders are read once, however many jobs
/// publish there; exact names are looked up.
pub fn taken(jobs: &[(&OutputPlan, Candidates)]) -> Vec<Vec<TakenName>> {
    let mut taken: Vec<Vec<TakenName>> = vec![Vec::new(); jobs.len()];
    #[derive(Default)]
    struct Search<'a> {
        jobs_of_stem: HashMap<&'a [u8], Vec<usize>>,
        extensions: HashSet<&'a str>,
    }
    let mut searches: HashMap<&PathBytes, Search<'_>> = HashMap::new();
    for (at, (plan, candidates)) in jobs.iter().enumerate() {
        match candidates {
            Candidates::Exact(names) => {
                taken[at]
                    .extend(names.iter().filter_map(|name| taken_name(&plan.directory, name.as_path().as_os_str())));
            }
            Candidates::AnyLanguage { stem, extensions } => {
                let search = searches.entry(&plan.directory).or_default();
                search.jobs_of_stem.entry(&stem.0).or_default().push(at);
                search.extensions.extend(extensions.iter().map(String::as_str));
            }
        }
    }
    for (folder, search) in searches {
        // A folder that can't be read yields no names here; publishing there will say why.
        for entry in std::fs::read_dir(folder.as_path()).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let jobs_of = |extension: &&str| {
                output::parts_of(name.as_bytes(), extension).and_then(|(stem, _)| search.jobs_of_stem.get(stem))
            };
            let fitting: Vec<usize> = search.extensions.iter().filter_map(jobs_of).flatten().copied().collect();
            for at in fitting {
                if jobs[at].1.covers(name.as_bytes()) {
                    taken[at].extend(taken_name(folder, &name));
                }
            }
        }
    }
    for names in &mut taken {
        names.sort_by(|one, other| one.path.cmp(&other.path));
    }
    taken
}

/// A link to nowhere has its name too.
fn taken_name(folder: &PathBytes, name: &OsStr) -> Option<TakenName> {
    let path = folder.as_path().join(name);
    let meta = std::fs::symlink_metadata(&path).ok()?;
    Some(TakenName { path: path.into(), identity: FileIdentity::of(&meta) })
}

/// Whether outputs can be written into a folder that is there, or be put into one that can be made: why not.
pub fn writable(folder: &Path) -> Result<(), String> {
    use rustix::fs::{Access, AtFlags, CWD, accessat};
    let existing = folder.ancestors().find(|ancestor| ancestor.symlink_metadata().is_ok()).unwrap_or(Path::new("/"));
    if !existing.is_dir() {
        return Err("is not a folder".to_owned());
    }
    accessat(CWD, existing, Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS).map_err(|error| match error {
        rustix::io::Errno::ACCESS => "no permission to write there".to_owned(),
        rustix::io::Errno::ROFS => "is on a file system that can't be written".to_owned(),
        other => io::Error::from(other).to_string(),
    })
}

fn file(path: &Path, meta: &Metadata) -> Input {
    Input::File { path: path.into(), identity: FileIdentity::of(meta) }
}

/// The name behind all links. Two names may lead to one file through links; two hard links don't: each has its own place for outputs.
fn leads_to(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

fn readable(path: &Path) -> io::Result<()> {
    use rustix::fs::{Access, AtFlags, CWD, accessat};
    Ok(accessat(CWD, path, Access::READ_OK, AtFlags::EACCESS)?)
}

/// In words for people where the fault is a common one.
fn told(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "no such file".to_owned(),
        io::ErrorKind::PermissionDenied => "no permission to read it".to_owned(),
        io::ErrorKind::IsADirectory => "is a folder".to_owned(),
        io::ErrorKind::NotADirectory => "a part of the path is not a folder".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    struct Folder(tempfile::TempDir);

    impl Folder {
        fn with(names: &[&str]) -> Folder {
            let folder = Folder(tempfile::tempdir().unwrap());
            for name in names {
                folder.file(name, "x");
            }
            folder
        }

        fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
            let path = self.path(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, content).unwrap();
            path
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        /// What was found, without this folder's own name.
        fn shown(&self, inputs: &Inputs) -> Vec<String> {
            let below = |found: &Found| found.path.strip_prefix(self.0.path()).unwrap().to_string_lossy().into_owned();
            inputs.found.iter().map(below).collect()
        }
    }

    const INTAKE: Intake<'static> = Intake { recurse: true, extensions: &MEDIA_EXTENSIONS, columns: &[] };

    #[test]
    fn extensions_are_sorted_lower_case_and_single() {
        assert!(MEDIA_EXTENSIONS.iter().all(|extension| *extension == extension.to_lowercase()));
        assert_eq!(MEDIA_EXTENSIONS.iter().collect::<HashSet<_>>().len(), MEDIA_EXTENSIONS.len());
    }

    #[test]
    fn folders_give_known_extensions_in_order() {
        let folder =
            Folder::with(&["b.MKV", "a.mp4", "c/d.ogg", "c/.x.mp4", ".git/e.mp4", "f.mp4.part", "g.txt", "mp4"]);
        let inputs = INTAKE.take(&[folder.0.path().to_owned()], &[]).unwrap();
        assert_eq!(folder.shown(&inputs), ["a.mp4", "b.MKV", "c/d.ogg"]);
        assert!(inputs.found.iter().all(|found| found.root.as_deref() == Some(folder.0.path())));
        assert_eq!(inputs.dropped, []);
    }

    #[test]
    fn a_named_file_is_taken_whatever_its_name_and_has_its_facts() {
        let folder = Folder::with(&[".talk.bin"]);
        let path = folder.path(".talk.bin");
        let inputs = INTAKE.take(std::slice::from_ref(&path), &[]).unwrap();
        let identity = FileIdentity::of(&path.metadata().unwrap());
        let input = Input::File { path: path.into(), identity };
        assert_eq!((inputs.found[0].input.clone(), inputs.found[0].root.clone()), (input, None));
    }

    #[test]
    fn loops_and_links_give_each_file_once_and_nothing_twice() {
        let folder = Folder::with(&["a/one.mp4", "b/two.mp4"]);
        symlink("..", folder.path("a/up")).unwrap();
        symlink("../b", folder.path("a/b")).unwrap();
        symlink("one.mp4", folder.path("a/link.mp4")).unwrap();
        symlink("nowhere", folder.path("a/gone.mp4")).unwrap();
        symlink("nowhere", folder.path("a/gone.txt")).unwrap();
        let inputs = INTAKE.take(&[folder.0.path().to_owned()], &[]).unwrap();
        assert_eq!(folder.shown(&inputs), ["a/b/two.mp4", "a/link.mp4"]);
        let dropped: Vec<String> = inputs.dropped.iter().map(ToString::to_string).collect();
        let root = folder.0.path().display();
        assert_eq!(dropped, [format!("{root}/a/gone.mp4: no such file"), format!("{root}/a/one.mp4: is named twice")]);
    }

    #[test]
    fn a_file_named_twice_is_told_and_dropped_but_hard_links_are_two() {
        let folder = Folder::with(&["a.mp4"]);
        std::fs::hard_link(folder.path("a.mp4"), folder.path("b.mp4")).unwrap();
        let named = ["a.mp4", "b.mp4", "./a.mp4"].map(|name| folder.path(name));
        let inputs = INTAKE.take(&named, &[]).unwrap();
        assert_eq!(folder.shown(&inputs), ["a.mp4", "b.mp4"]);
        assert_eq!(inputs.dropped.len(), 1);
    }

    #[test]
    fn all_that_is_wrong_is_told_at_once() {
        let folder = Folder::with(&["a.mp4", "dir/b.mp4"]);
        rustix::fs::mkfifoat(rustix::fs::CWD, folder.path("pipe.mp4"), rustix::fs::Mode::RUSR).unwrap();
        let named = ["a.mp4", "gone.mp4", "a.mp4/x", "dir", "pipe.mp4"].map(|name| folder.path(name));
        let problems = Intake { recurse: false, ..INTAKE }.take(&named, &[]).unwrap_err();
        let why: Vec<&str> = problems.iter().map(|problem| problem.why.as_str()).collect();
        let expected = [
            "no such file",
            "a part of the path is not a folder",
            "is a folder; -r takes what is in it",
            "is not a regular file",
        ];
        assert_eq!(why, expected);
        let long = PathBuf::from("x".repeat(PATH_BYTES_MAX + 1));
        assert!(INTAKE.take(&[long], &[]).unwrap_err()[0].why.contains("4096 bytes"));
    }

    #[test]
    fn a_pipe_in_a_folder_is_passed_over() {
        let folder = Folder::with(&["a.mp4"]);
        rustix::fs::mkfifoat(rustix::fs::CWD, folder.path("pipe.mp4"), rustix::fs::Mode::RUSR).unwrap();
        let inputs = INTAKE.take(&[folder.0.path().to_owned()], &[]).unwrap();
        assert_eq!(folder.shown(&inputs), ["a.mp4"]);
    }

    #[test]
    fn an_empty_folder_is_told() {
        let folder = Folder::with(&["x/notes.txt"]);
        let inputs = INTAKE.take(&[folder.path("x")], &[]).unwrap();
        assert_eq!((inputs.found.len(), inputs.dropped.len()), (0, 1));
    }

    /// Reads a list that names its inputs by `@` for this folder.
    fn listed(folder: &Folder, name: &str, content: &[u8], columns: &[&str]) -> Result<Inputs, Vec<String>> {
        let at = folder.0.path().as_os_str().as_bytes();
        let content: Vec<u8> = content
            .iter()
            .flat_map(|byte| if *byte == b'@' { at } else { std::slice::from_ref(byte) }.to_vec())
            .collect();
        let list = folder.file(name, content);
        let columns: Vec<String> = columns.iter().map(|column| (*column).to_owned()).collect();
        let intake = Intake { columns: &columns, ..INTAKE };
        let told = |problem: &Problem| problem.to_string().replace(&format!("{}/", folder.0.path().display()), "");
        intake.take(&[], &[ListFile::File(list)]).map_err(|problems| problems.iter().map(told).collect())
    }

    #[test]
    fn text_lists_have_comments_blank_lines_and_any_line_end() {
        let folder = Folder::with(&["a.mp4", "b c.mp4", "#d.mp4"]);
        let list = b"\xef\xbb\xbf# first\n@/a.mp4\r\n\n   \n@/b c.mp4\n  # last\n@/#d.mp4";
        assert_eq!(folder.shown(&listed(&folder, "l.txt", list, &[]).unwrap()), ["a.mp4", "b c.mp4", "#d.mp4"]);
        let problems = listed(&folder, "l.txt", b"# x\n@/a.mp4\n@/gone\n", &[]).unwrap_err();
        assert_eq!(problems, ["l.txt:3: gone: no such file"]);
    }

    #[test]
    fn nul_separated_lists_hold_any_name() {
        let folder = Folder::with(&[]);
        let odd = folder.0.path().join(OsStr::from_bytes(b"#a\n\xff.mp4"));
        std::fs::write(&odd, "x").unwrap();
        let inputs = listed(&folder, "l", b"@/#a\n\xff.mp4\0", &[]).unwrap();
        assert_eq!(inputs.found[0].path, odd);
    }

    #[test]
    fn csv_columns_are_overrides() {
        let folder = Folder::with(&["a,b.mp4", "c.mp4"]);
        let list = b"language,File, Beam Size\nde,\"@/a,b.mp4\",3\n,@/c.mp4,\n";
        let inputs = listed(&folder, "l.CSV", list, &["language", "beam-size"]).unwrap();
        assert_eq!(folder.shown(&inputs), ["a,b.mp4", "c.mp4"]);
        let pairs =
            [("language", "de"), ("beam-size", "3")].map(|(column, value)| (column.to_owned(), value.to_owned()));
        assert_eq!(inputs.found[0].overrides, pairs);
        assert_eq!(inputs.found[1].overrides, []);
    }

    #[test]
    fn csv_mistakes_name_their_line() {
        let folder = Folder::with(&["a.mp4"]);
        for (list, problem) in [
            (&b"name\n@/a.mp4\n"[..], "l.csv:1: the header has no column `input`, `path` or `file`"),
            (b"input,lang\n@/a.mp4,de\n", "l.csv:1: unknown column `lang`; known are input, path, file, language"),
            (b"input,language,Language\n@/a.mp4,de,en\n", "l.csv:1: the column `language` comes twice"),
            (b"input,language\n@/a.mp4,de\n@/a.mp4\n", "l.csv:3: has 1 cells where the header has 2"),
            (b"input,language\n,de\n", "l.csv:2: names no input"),
            (b"input,language\n@/a.mp4,\xff\n", "l.csv:2: the column `language` is not UTF-8"),
            (b"input,language\n\n@/gone,de\n", "l.csv:3: gone: no such file"),
            (b"", "l.csv:1: the header has no column `input`, `path` or `file`"),
        ] {
            assert_eq!(listed(&folder, "l.csv", list, &["language"]).unwrap_err(), [problem]);
        }
    }

    #[test]
    fn json_lines_take_texts_numbers_flags_and_lists() {
        let folder = Folder::with(&["a.mp4", "b.mp4"]);
        let list = b"{\"input\": \"@/a.mp4\", \"language\": null, \"beam_size\": 3, \"translate\": true, \"format\": [\"srt\", \"vtt\"]}\n\n{\"file\": \"@/b.mp4\"}";
        let inputs = listed(&folder, "l.jsonl", list, &["language", "beam-size", "translate", "format"]).unwrap();
        let mut overrides = inputs.found[0].overrides.clone();
        overrides.sort();
        let expected = [("beam-size", "3"), ("format", "srt,vtt"), ("translate", "true")];
        assert_eq!(overrides, expected.map(|(column, value)| (column.to_owned(), value.to_owned())));
        assert_eq!(inputs.found[1].overrides, []);
    }

    #[test]
    fn json_mistakes_name_their_line() {
        let folder = Folder::with(&["a.mp4"]);
        for (line, problem) in [
            (&b"[1]"[..], "no JSON object"),
            (b"{\"input\": 3}", "`input` is no text"),
            (b"{\"language\": \"de\"}", "names no input"),
            (b"{\"input\": \"@/a.mp4\", \"path\": \"@/a.mp4\"}", "names two inputs"),
            (b"{\"input\": \"@/a.mp4\", \"language\": {}}", "`language` is an object"),
            (b"{\"input\": \"@/a.mp4\", \"language\": [1]}", "`language` is a list of something else than texts"),
            (b"{\"input\": \"@/a.mp4\", \"x\": 1}", "unknown column `x`"),
        ] {
            let problems = listed(&folder, "l.jsonl", &[b"\n", line].concat(), &["language"]).unwrap_err();
            assert!(problems[0].starts_with("l.jsonl:2: ") && problems[0].contains(problem), "{problems:?}");
        }
    }

    #[test]
    fn one_input_with_other_parameters_is_another_job() {
        let folder = Folder::with(&["a.mp4"]);
        let inputs =
            listed(&folder, "l.csv", b"input,language\n@/a.mp4,de\n@/a.mp4,en\n@/a.mp4,de\n", &["language"]).unwrap();
        assert_eq!((inputs.found.len(), inputs.dropped.len()), (2, 1));
        assert!(inputs.dropped[0].to_string().contains("l.csv:4: "));
    }

    #[test]
    fn a_list_that_is_not_there_is_told() {
        let problems = INTAKE.take(&[], &[ListFile::File(PathBuf::from("/no/such.txt"))]).unwrap_err();
        assert_eq!(problems[0].to_string(), "/no/such.txt: no such file");
    }

    #[test]
    fn ten_thousand_inputs_and_their_outputs_are_looked_up_quickly() {
        let folder = Folder::with(&[]);
        let names: Vec<PathBuf> = (0..10_000).map(|number| folder.file(&format!("{number}.mp4"), "")).collect();
        for number in 0..1_000 {
            folder.file(&format!("{number}.en.srt"), "");
        }
        let began = std::time::Instant::now();
        let inputs = INTAKE.take(&names, &[]).unwrap();
        let placed: Vec<_> =
            inputs.found.iter().map(|found| output::Placed { path: &found.path, root: None }).collect();
        let plans = output::plan(&placed, None);
        let any: Vec<_> =
            plans.iter().map(|plan| (plan, output::candidates(plan, None, true, &["srt", "vtt"]))).collect();
        let exact: Vec<_> =
            plans.iter().map(|plan| (plan, output::candidates(plan, Some("en"), true, &["srt", "vtt"]))).collect();
        assert_eq!(taken(&any), taken(&exact));
        assert_eq!(taken(&any).iter().flatten().count(), 1_000);
        // Half a second is usual; one look per pair of names would take minutes.
        assert!(began.elapsed() < std::time::Duration::from_secs(30), "{:?}", began.elapsed());
    }

    #[test]
    fn output_folders_are_checked_up_to_where_they_exist() {
        let folder = Folder::with(&["file"]);
        assert_eq!(writable(&folder.path("new/below")), Ok(()));
        assert_eq!(writable(&folder.path("file")), Err("is not a folder".to_owned()));
        assert_eq!(writable(&folder.path("file/below")), Err("is not a folder".to_owned()));
        assert!(writable(Path::new("/proc/self/new")).is_err() || rustix::process::geteuid().is_root());
    }
}
