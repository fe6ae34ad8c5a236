//! Intake: what a person names (files, folders, lists) to inputs with their facts, and which output names are taken. Knows no
//! recipe; opens no media.

use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use crate::job::{FileIdentity, OutputPlan, PathBytes};
use crate::limits::{INPUTS_MAX, LIST_BYTES_MAX, PATH_BYTES_MAX};
use crate::output::{self, Candidates};
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
    /// Absolute; links in it are not resolved, so outputs land where the person sees the input.
    pub path: PathBuf,
    /// The folder that was named and in which it was found.
    pub root: Option<PathBuf>,
    pub identity: FileIdentity,
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
        let mut gathering =
            Gathering { intake: self, inputs: Inputs::default(), problems: Vec::new(), known: HashMap::new() };
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
                    problems.push(self.problem(error.position().map_or(0, csv::Position::line), told_csv(&error)));
                    continue;
                }
            };
            let line = record.position().map_or(0, csv::Position::line);
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
    /// Device and inode to what was found with them; more than one are hard links of one file, or one file with other parameters.
    known: HashMap<(u64, u64), Vec<usize>>,
}

impl Gathering<'_> {
    fn named(&mut self, named: &Path, overrides: Vec<(String, String)>, origin: Origin) {
        match self.look(named) {
            Ok((path, meta)) if meta.is_dir() => self.folder(path, named, &overrides, &origin),
            Ok((path, meta)) => {
                self.found(Found { path, root: None, identity: FileIdentity::of(&meta), overrides, origin })
            }
            Err(why) => self.wrong(origin, named, why),
        }
    }

    /// The absolute path with its facts, or why it can be no input.
    fn look(&self, named: &Path) -> Result<(PathBuf, Metadata), String> {
        if named.as_os_str().as_bytes().len() > PATH_BYTES_MAX {
            return Err(format!("the path has more than {PATH_BYTES_MAX} bytes"));
        }
        let path = std::path::absolute(named).map_err(|error| told(&error))?;
        let meta = std::fs::metadata(&path).map_err(|error| {
            let text = named.as_os_str().as_bytes();
            let scheme = text.windows(3).position(|window| window == b"://");
            match scheme.is_some_and(|at| at > 0 && text[..at].iter().all(u8::is_ascii_alphanumeric)) {
                true => "is an address, not a file; fetch it first".to_owned(),
                false => told(&error),
            }
        })?;
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
                    identity: FileIdentity::of(&meta),
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

    fn found(&mut self, found: Found) {
        let inputs = &mut self.inputs.found;
        let known = self.known.entry((found.identity.dev, found.identity.inode)).or_default();
        let twin = known.iter().any(|at| {
            let other = &inputs[*at];
            other.overrides == found.overrides && (other.path == found.path || resolve_alike(&other.path, &found.path))
        });
        if twin {
            let Found { path, origin, .. } = found;
            return self.drop_it(origin, &path, "is named twice".to_owned());
        }
        if inputs.len() == INPUTS_MAX {
            let why = format!("more than {INPUTS_MAX} inputs; split them over several batches");
            self.problems.push(Problem { origin: Origin::Argument, path: None, why });
        }
        known.push(inputs.len());
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

/// Two names lead to one file through links; two hard links don't: each has its own place for outputs.
fn resolve_alike(one: &Path, other: &Path) -> bool {
    matches!((one.canonicalize(), other.canonicalize()), (Ok(one), Ok(other)) if one == other)
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
