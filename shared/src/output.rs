//! Names of outputs: which folder and stem each input's outputs get, told apart from the rest of the batch. Knows names only; never looks at a disk.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use crate::job::{OutputPlan, PathBytes};
use crate::language::{LANGUAGES, UNDETERMINED, file_code, is_known};
use crate::stage::publish::Publish;

/// Longest file name that Linux file systems take.
pub const FILE_NAME_BYTES_MAX: usize = 255;

/// Longest stem: what an input's name leaves for the longest ending, a profile's name (32 bytes) between two dots, and `mp4`.
pub const STEM_BYTES_MAX: usize = FILE_NAME_BYTES_MAX - 37;

/// What stands for the stem of a path that has no file name.
const NAMELESS: &[u8] = b"output";

/// The pattern that gives outputs their inputs' names.
pub const STEM: &str = "{stem}";

/// Of a title, as much goes into a name.
const TITLE_CHARS_MAX: usize = 50;

/// What names of outputs are made of, where they are made of more than their input's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    pub pattern: String,
    pub title: Option<String>,
    pub template: String,
}

/// A pattern as it is given, or what is wrong with it.
pub fn check_pattern(text: &str) -> Result<String, String> {
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        let word = rest[at..].split_inclusive('}').next().unwrap_or_default();
        if !["{stem}", "{title}", "{template}"].contains(&word) {
            return Err(format!(
                "`{}` stands for nothing: {{stem}}, {{title}} and {{template}} do",
                crate::text::escaped(word)
            ));
        }
        rest = &rest[at + word.len()..];
    }
    match text.contains('{') {
        true => Ok(text.to_owned()),
        false => Err("a pattern has {stem} or {title} in it: one name can't be that of every output".to_owned()),
    }
}

impl Names {
    /// The stem of an input's outputs, of its own: one name, with no way out of its folder.
    pub fn stem(&self, own: &[u8]) -> Vec<u8> {
        if self.pattern == STEM {
            return own.to_vec();
        }
        let own = String::from_utf8_lossy(own);
        let title = self.title.as_deref().unwrap_or(&own);
        let words = title.split_whitespace().collect::<Vec<_>>().join(" ");
        let title: String = words.chars().take(TITLE_CHARS_MAX).collect();
        // Whatever stands in a title is no placeholder.
        let mut name = String::new();
        let mut rest = self.pattern.as_str();
        while let Some(at) = rest.find('{') {
            let word = rest[at..].split_inclusive('}').next().unwrap_or_default();
            name.push_str(&rest[..at]);
            name.push_str(match word {
                "{title}" => title.trim(),
                "{template}" => &self.template,
                _ => &own,
            });
            rest = &rest[at + word.len()..];
        }
        name.push_str(rest);
        let safe = crate::url::safe_name(&name).unwrap_or_else(|| own.into_owned());
        fitting(safe.as_bytes(), STEM_BYTES_MAX).to_vec()
    }

    /// Renames what was planned; two of one name in one folder are told apart by a number.
    pub fn rename(&self, plans: &mut [OutputPlan]) {
        let mut taken: HashSet<(PathBytes, Vec<u8>)> = HashSet::new();
        for plan in plans {
            let stem = self.stem(&plan.stem.0);
            let tries = std::iter::once(stem.clone())
                .chain((2_u32..).map(|number| [stem.as_slice(), format!("-{number}").as_bytes()].concat()));
            let free = tries.into_iter().find(|stem| taken.insert((plan.directory.clone(), stem.clone())));
            plan.stem = PathBytes(free.unwrap_or(stem));
        }
    }
}

/// An input, and the directory argument it was found through (`None` = named singly).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placed<'a> {
    pub path: &'a Path,
    pub root: Option<&'a Path>,
}

/// `talk.en.srt`, or `talk.srt` without a language.
pub fn file_name(stem: &PathBytes, language: Option<&str>, extension: &str) -> PathBytes {
    let mut name = stem.0.clone();
    for part in language.into_iter().chain([extension]) {
        name.push(b'.');
        name.extend_from_slice(part.as_bytes());
    }
    PathBytes(name)
}

/// Path and kind of what each of an artifact's files is published as: the extension is the kind, and what stands between the file's first dot
/// and it (`video.balanced.mp4`) goes along. `language` is the code that was found; `None` where a file's name has no extension, which no
/// stage's has.
pub fn published_as<'a>(
    plan: &OutputPlan,
    stage: &Publish,
    language: Option<&str>,
    files: impl IntoIterator<Item = &'a Path>,
) -> Option<Vec<(PathBytes, &'a str)>> {
    // Names are made of this text, so it is one of ours or none.
    let language = language.filter(|code| is_known(code)).unwrap_or(UNDETERMINED);
    let language = stage.language_suffix.then_some(file_code(language));
    let directory = plan.directory.as_path();
    files
        .into_iter()
        .map(|file| {
            let kind = file.extension()?.to_str()?;
            let (_, ending) = file.file_name()?.to_str()?.split_once('.')?;
            Some((directory.join(file_name(&plan.stem, language, ending).as_path()).into(), kind))
        })
        .collect()
}

/// Folder and stem for every input, in the inputs' order; no two inputs get the same pair.
///
/// Outputs land beside the input, or in `directory`: flat where the input was named singly, mirrored where it was found below
/// a directory argument. The first input with a stem keeps it; a later one keeps its extension (`talk.mp3`), then gets `-2`,
/// `-3` … Names that differ in case alone are different names.
pub fn plan(inputs: &[Placed<'_>], directory: Option<&Path>) -> Vec<OutputPlan> {
    let mut folders: HashMap<Cow<'_, Path>, usize> = HashMap::new();
    let mut taken: HashSet<(usize, Cow<'_, [u8]>)> = HashSet::with_capacity(inputs.len());
    // Every stem's first owner is settled before anybody is given a made-up name: `talk.mp3.wav` keeps `talk.mp3`.
    let claims: Vec<(usize, bool)> = inputs
        .iter()
        .map(|input| {
            let place = folder_of(*input, directory);
            let next = folders.len();
            let folder = *folders.entry(place).or_insert(next);
            (folder, taken.insert((folder, Cow::Borrowed(fitting(stem_of(input.path), STEM_BYTES_MAX)))))
        })
        .collect();
    let mut paths = vec![PathBytes::default(); folders.len()];
    for (path, folder) in folders {
        paths[folder] = PathBytes::from(path.as_ref());
    }
    let mut numbers: HashMap<(usize, &[u8]), u64> = HashMap::new();
    inputs
        .iter()
        .zip(claims)
        .map(|(input, (folder, first))| {
            let stem = if first {
                fitting(stem_of(input.path), STEM_BYTES_MAX).to_vec()
            } else {
                told_apart(folder, name_of(input.path), &mut taken, &mut numbers)
            };
            OutputPlan { directory: paths[folder].clone(), stem: PathBytes(stem) }
        })
        .collect()
}

/// The names that a job's outputs may take, as far as is known before it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Candidates {
    /// These files and no others.
    Exact(Vec<PathBytes>),
    /// One file for each extension, with a language code that only listening tells; see [`Candidates::covers`].
    AnyLanguage { stem: PathBytes, extensions: Vec<String> },
}

impl Candidates {
    /// Whether a file of this name in the job's folder would be in the way of its outputs.
    pub fn covers(&self, file_name: &[u8]) -> bool {
        match self {
            Candidates::Exact(names) => names.iter().any(|name| name.0 == file_name),
            Candidates::AnyLanguage { stem, extensions } => {
                extensions.iter().any(|extension| is_output_of(file_name, &stem.0, extension))
            }
        }
    }
}

/// File names (without the folder) that a job with this plan may publish. `language` is the code where it is known;
/// `suffix` says whether names carry it at all.
pub fn candidates(plan: &OutputPlan, language: Option<&str>, suffix: bool, extensions: &[&str]) -> Candidates {
    match (suffix, language) {
        (true, None) => Candidates::AnyLanguage {
            stem: plan.stem.clone(),
            extensions: extensions.iter().map(|&extension| extension.to_owned()).collect(),
        },
        (suffix, language) => {
            let code = language.map(file_code).filter(|_| suffix);
            Candidates::Exact(extensions.iter().map(|extension| file_name(&plan.stem, code, extension)).collect())
        }
    }
}

/// Whether `file_name` is `{stem}.{code}.{extension}` with a language code that names of outputs carry.
pub fn is_output_of(file_name: &[u8], stem: &[u8], extension: &str) -> bool {
    parts_of(file_name, extension).is_some_and(|(found, _)| found == stem)
}

/// Takes `{stem}.{code}.{extension}` apart: for looking up a folder's files among many stems at once.
pub fn parts_of<'a>(file_name: &'a [u8], extension: &str) -> Option<(&'a [u8], &'static str)> {
    let named = file_name.strip_suffix(extension.as_bytes())?.strip_suffix(b".")?;
    let dot = named.iter().rposition(|&byte| byte == b'.')?;
    let code = LANGUAGES
        .iter()
        .map(|(code, _)| file_code(code))
        .chain([UNDETERMINED])
        .find(|code| code.as_bytes() == &named[dot + 1..])?;
    Some((&named[..dot], code))
}

fn folder_of<'a>(input: Placed<'a>, directory: Option<&Path>) -> Cow<'a, Path> {
    let beside = input.path.parent().unwrap_or(Path::new(""));
    let Some(directory) = directory else { return Cow::Borrowed(beside) };
    let below = input
        .root
        .and_then(|root| beside.strip_prefix(root).ok())
        // What climbs out of the directory argument isn't below it, and would climb out of the output folder as well.
        .filter(|below| below.components().all(|part| matches!(part, Component::Normal(_))));
    Cow::Owned(match below {
        Some(below) if !below.as_os_str().is_empty() => directory.join(below),
        _ => PathBuf::from(directory),
    })
}

fn name_of(path: &Path) -> &[u8] {
    path.file_name().map_or(NAMELESS, OsStrExt::as_bytes)
}

fn stem_of(path: &Path) -> &[u8] {
    path.file_stem().map_or(NAMELESS, OsStrExt::as_bytes)
}

/// As much of the name as fits, not cutting through a character.
fn fitting(name: &[u8], max: usize) -> &[u8] {
    if name.len() <= max {
        return name;
    }
    let is_continuation = |at: usize| name[at] & 0b1100_0000 == 0b1000_0000;
    // A character has at most three bytes after its first; what goes on longer is no UTF-8 and may be cut anywhere.
    let cut = (max - 3..=max).rev().find(|&at| !is_continuation(at)).unwrap_or(max);
    &name[..cut]
}

/// The name with its extension, then numbered, until nobody has it. Numbers only go up, so a million equal names cost a million steps.
fn told_apart<'a>(
    folder: usize,
    name: &'a [u8],
    taken: &mut HashSet<(usize, Cow<'a, [u8]>)>,
    numbers: &mut HashMap<(usize, &'a [u8]), u64>,
) -> Vec<u8> {
    let number = numbers.entry((folder, fitting(name, STEM_BYTES_MAX))).or_insert(1);
    loop {
        let ending = if *number == 1 { String::new() } else { format!("-{number}") };
        *number += 1;
        let mut stem = fitting(name, STEM_BYTES_MAX - ending.len()).to_vec();
        stem.extend_from_slice(ending.as_bytes());
        if taken.insert((folder, Cow::Owned(stem.clone()))) {
            return stem;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::ffi::OsStr;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn patterns_make_one_safe_name_each() {
        let names = |pattern: &str, title: Option<&str>| Names {
            pattern: check_pattern(pattern).unwrap(),
            title: title.map(str::to_owned),
            template: "summary_report".to_owned(),
        };
        let stem = |pattern: &str, title: Option<&str>| {
            String::from_utf8(names(pattern, title).stem("a.v1".as_bytes())).unwrap()
        };
        assert_eq!(stem("{stem}", Some("x")), "a.v1");
        assert_eq!(
            stem("{title} ({stem}, {template})", Some("It's: one\ntwo")),
            "It's: one two (a.v1, summary_report)"
        );
        assert_eq!(stem("{title}", None), "a.v1");
        // No way out, nothing hidden, no option, no placeholder that a title brings along.
        assert_eq!(stem("{title}", Some("../../x")), "_.._x");
        assert_eq!(stem("../{stem}/x", None), "_a.v1_x");
        assert_eq!(stem("{title}", Some("--exec {stem}")), "exec {stem}");
        assert_eq!(stem("{title}", Some("...")), "a.v1");
        let long = "讲".repeat(80);
        assert_eq!(stem("{title}", Some(&long)).chars().count(), 50);
        assert!(stem("{title}{title}{title}{title}{title}", Some(&long)).len() <= STEM_BYTES_MAX);
        for wrong in ["talk", "", "{titel}", "{", "}", "{stem", "{{stem}}"] {
            assert!(check_pattern(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn names_that_a_pattern_makes_alike_are_told_apart() {
        let plan = |folder: &str, stem: &str| OutputPlan {
            directory: PathBytes(folder.as_bytes().to_vec()),
            stem: PathBytes(stem.as_bytes().to_vec()),
        };
        let mut plans = [plan("/a", "1"), plan("/a", "2"), plan("/b", "1"), plan("/a", "3")];
        let names = Names { pattern: "{title}".to_owned(), title: Some("T".to_owned()), template: String::new() };
        names.rename(&mut plans);
        assert_eq!(plans, [plan("/a", "T"), plan("/a", "T-2"), plan("/b", "T"), plan("/a", "T-3")]);
    }

    fn planned(inputs: &[(&str, Option<&str>)], directory: Option<&str>) -> Vec<String> {
        let inputs: Vec<_> =
            inputs.iter().map(|(path, root)| Placed { path: Path::new(path), root: root.map(Path::new) }).collect();
        plan(&inputs, directory.map(Path::new)).iter().map(|plan| format!("{}|{}", plan.directory, plan.stem)).collect()
    }

    #[test]
    fn outputs_land_beside_the_input_unless_a_folder_is_named() {
        let inputs = [("/v/talk.mp4", None), ("/v/deep/er/clip.mkv", Some("/v")), ("/w/x/own.mp3", Some("/w/x"))];
        assert_eq!(planned(&inputs, None), ["/v|talk", "/v/deep/er|clip", "/w/x|own"]);
        assert_eq!(planned(&inputs, Some("/out")), ["/out|talk", "/out/deep/er|clip", "/out|own"]);
        assert_eq!(planned(&[("/v/../x/a.mp4", Some("/v"))], Some("/out")), ["/out|a"]);
        assert_eq!(planned(&[("/elsewhere/a.mp4", Some("/v"))], Some("/out")), ["/out|a"]);
    }

    #[test]
    fn equal_stems_are_told_apart_in_input_order() {
        let inputs = ["/v/talk.mp4", "/v/talk.mp3", "/w/talk.mp3", "/x/talk.mp3", "/v/Talk.mp4"];
        let inputs = inputs.map(|path| (path, None));
        assert_eq!(
            planned(&inputs, Some("/o")),
            ["/o|talk", "/o|talk.mp3", "/o|talk.mp3-2", "/o|talk.mp3-3", "/o|Talk"]
        );
        assert_eq!(planned(&inputs, None), ["/v|talk", "/v|talk.mp3", "/w|talk", "/x|talk", "/v|Talk"]);
    }

    #[test]
    fn a_made_up_name_never_takes_another_inputs_own() {
        let inputs = [("/v/talk.mp4", None), ("/v/talk.mp3", None), ("/v/talk.mp3.wav", None)];
        assert_eq!(planned(&inputs, None), ["/v|talk", "/v|talk.mp3-2", "/v|talk.mp3"]);
        let inputs = [("/v/talk", None), ("/w/talk", None), ("/x/talk", None), ("/v/talk-2.mp4", None)];
        assert_eq!(planned(&inputs, Some("/o")), ["/o|talk", "/o|talk-3", "/o|talk-4", "/o|talk-2"]);
    }

    #[test]
    fn names_keep_their_bytes_dots_and_oddities() {
        let path = Path::new(OsStr::from_bytes(b"/v/caf\xe9 \n.tar.mp4"));
        let plans = plan(&[Placed { path, root: None }], None);
        assert_eq!(plans[0].stem.0, b"caf\xe9 \n.tar");
        assert_eq!(file_name(&plans[0].stem, Some("fr"), "srt").0, b"caf\xe9 \n.tar.fr.srt");
        assert_eq!(file_name(&plans[0].stem, None, "srt").0, b"caf\xe9 \n.tar.srt");
        assert_eq!(
            planned(&[("/v/.hidden", None), ("/v/end.", None), ("/", None)], None)[..2],
            ["/v|.hidden", "/v|end"]
        );
    }

    #[test]
    fn a_stem_leaves_room_for_the_longest_ending_and_is_cut_between_characters() {
        let long = "é".repeat(125);
        let inputs = [format!("/v/{long}.mp4"), format!("/v/{long}.mp3"), format!("/v/{long}.ogg")];
        let placed: Vec<_> = inputs.iter().map(|path| Placed { path: Path::new(path), root: None }).collect();
        let plans = plan(&placed, None);
        assert_eq!(plans[0].stem.0, "é".repeat(STEM_BYTES_MAX / 2).as_bytes());
        let stems: BTreeSet<_> = plans.iter().map(|plan| &plan.stem).collect();
        assert_eq!(stems.len(), 3);
        assert!(plans.iter().all(|plan| file_name(&plan.stem, Some("yue"), "json").0.len() <= FILE_NAME_BYTES_MAX));
        assert!(plans.iter().all(|plan| std::str::from_utf8(&plan.stem.0).is_ok()));
    }

    #[test]
    fn a_million_equal_names_are_told_apart_quickly() {
        let paths: Vec<_> = (0..1_000_000).map(|number| PathBuf::from(format!("/v/{number}/talk.mp4"))).collect();
        let inputs: Vec<_> = paths.iter().map(|path| Placed { path, root: None }).collect();
        let plans = plan(&inputs, Some(Path::new("/o")));
        assert_eq!(plans[999_999].stem.0, b"talk.mp4-999999");
        assert_eq!(plans.iter().map(|plan| &plan.stem).collect::<HashSet<_>>().len(), 1_000_000);
    }

    #[test]
    fn the_names_a_job_may_take_are_known_beforehand() {
        let plan = OutputPlan { directory: Path::new("/v").into(), stem: PathBytes(b"talk".to_vec()) };
        let names = |known, suffix| candidates(&plan, known, suffix, &["srt", "vtt"]);
        let exact = |names: [&str; 2]| Candidates::Exact(names.map(|name| PathBytes(name.into())).to_vec());
        assert_eq!(names(Some("de"), true), exact(["talk.de.srt", "talk.de.vtt"]));
        assert_eq!(names(Some("jw"), true), exact(["talk.jv.srt", "talk.jv.vtt"]));
        assert_eq!(names(Some("de"), false), exact(["talk.srt", "talk.vtt"]));
        assert_eq!(names(None, false), exact(["talk.srt", "talk.vtt"]));
        let any = names(None, true);
        for name in ["talk.en.srt", "talk.yue.vtt", "talk.und.srt", "talk.jv.srt"] {
            assert!(any.covers(name.as_bytes()), "{name}");
        }
        for name in ["talk.srt", "talk.xx.srt", "talk.en.txt", "Talk.en.srt", "talk.de.en.srt", "talk.ensrt", "en.srt"]
        {
            assert!(!any.covers(name.as_bytes()), "{name}");
        }
        assert_eq!(parts_of(b"a.b.de.srt", "srt"), Some((&b"a.b"[..], "de")));
    }

    proptest! {
        #[test]
        fn no_two_inputs_share_folder_and_stem(
            names in proptest::collection::vec((0..3u8, "[ab](\\.(mp3|mp4|mp3-2))?(-[23])?(\\.mp4)?"), 0..40),
            flat in any::<bool>(),
            rooted in any::<bool>(),
        ) {
            let paths: Vec<_> = names.iter().map(|(dir, name)| PathBuf::from(format!("/in/{dir}/{name}"))).collect();
            let root = rooted.then_some(Path::new("/in"));
            let inputs: Vec<_> = paths.iter().map(|path| Placed { path, root }).collect();
            let plans = plan(&inputs, flat.then_some(Path::new("/out")));
            prop_assert_eq!(plans.len(), inputs.len());
            let pairs: BTreeSet<_> = plans.iter().map(|plan| (&plan.directory, &plan.stem)).collect();
            prop_assert_eq!(pairs.len(), plans.len());
            // Each stem begins with the input's own.
            for (path, plan) in paths.iter().zip(&plans) {
                prop_assert!(plan.stem.0.starts_with(stem_of(path)));
            }
        }
    }
}
