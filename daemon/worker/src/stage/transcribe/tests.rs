//! Transcribe against real recordings with known texts, and against models that are none.

use std::collections::BTreeMap;
use std::io::Seek;
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use spindle_shared::id::RunId;
use spindle_shared::job::{OutputPlan, PathBytes};
use spindle_shared::stage::transcribe::ModelRef;
use spindle_shared::worker::{Assignment, InputFile, Report};

use super::*;

/// The folder of test media, where the environment names one.
fn assets() -> Option<PathBuf> {
    let assets = std::env::var_os("SPINDLE_TEST_ASSETS").map(PathBuf::from);
    if assets.is_none() {
        eprintln!("skipped: SPINDLE_TEST_ASSETS is not set");
    }
    assets
}

/// A folder with a model in it, its stage, and a place for scratch and checkpoint.
struct Bench {
    dir: tempfile::TempDir,
    stage: Transcribe,
    cancel: Arc<AtomicBool>,
    /// Cancels when progress passes this.
    cancel_at: Option<f32>,
    progress: Arc<Mutex<Vec<f32>>>,
}

impl Bench {
    fn new(model: &Path, detector: Option<&Path>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model.bin");
        symlink(model, &path).unwrap();
        if let Some(detector) = detector {
            symlink(detector, dir.path().join(detector.file_name().unwrap())).unwrap();
        }
        let model = ModelRef { name: "test".into(), path: path.into(), hash: None, english_only: false };
        let stage = Transcribe { model, ..Transcribe::default() };
        Bench { dir, stage, cancel: Arc::default(), cancel_at: None, progress: Arc::default() }
    }

    fn run(&self, audio: &File) -> Result<(Transcript, Done), Halt> {
        let scratch = self.dir.path().join("scratch");
        fs::create_dir_all(&scratch).unwrap();
        let assignment = Assignment {
            run: RunId { boot: 1, counter: 1 },
            stage: Stage::Transcribe(self.stage.clone()),
            inputs: vec![InputFile { name: Path::new(AUDIO_FILE).into(), bytes: audio.metadata().unwrap().len() }],
            scratch: scratch.clone().into(),
            checkpoint: Some(self.dir.path().join("checkpoint").into()),
            output: OutputPlan::default(),
            part_tag: "test".into(),
            detail: Detail::default(),
            replaceable: Vec::new(),
            threads: 1,
        };
        let (cancel, cancel_at) = (Arc::clone(&self.cancel), self.cancel_at);
        let progress = Arc::clone(&self.progress);
        let reporter = Arc::new(move |report| {
            if let Report::Progress { done, .. } = report {
                progress.lock().unwrap().push(done);
                if cancel_at.is_some_and(|at| done >= at) {
                    cancel.store(true, Ordering::Relaxed);
                }
            }
        });
        let descriptor = OwnedFd::from(audio.try_clone().unwrap());
        let context = Context::new(assignment, vec![descriptor], Arc::clone(&self.cancel), reporter);
        let done = super::run(&context, &self.stage)?;
        let json = fs::read(scratch.join(TRANSCRIPT_FILE)).unwrap();
        assert_eq!(done.files[0].content, ContentHash::of(&json));
        Ok((serde_json::from_slice(&json).unwrap(), done))
    }

    fn failure(&self, audio: &File) -> Failure {
        match self.run(audio) {
            Err(Halt::Failed(failure)) => failure,
            other => panic!("{other:?}"),
        }
    }
}

/// The samples of a WAV file whose header has 44 bytes, `copies` times.
fn samples_of(wavs: &[PathBuf], copies: usize) -> File {
    let mut file = tempfile::tempfile().unwrap();
    for _ in 0..copies {
        for wav in wavs {
            let bytes = fs::read(wav).unwrap();
            let data = bytes.windows(4).position(|four| four == b"data").unwrap() + 8;
            file.write_all(&bytes[data..]).unwrap();
        }
    }
    file.rewind().unwrap();
    file
}

/// A phrase of a reference: start, end, words.
type Phrase = (f64, f64, Vec<String>);

fn reference(wav: &Path) -> Vec<Phrase> {
    let text = fs::read_to_string(wav.with_extension("txt")).unwrap();
    let phrase = |line: &str| {
        let mut fields = line.split('\t');
        let mut next = || fields.next().unwrap();
        (next().parse().unwrap(), next().parse().unwrap(), words_of(next()))
    };
    text.lines().filter(|line| !line.trim().is_empty()).map(phrase).collect()
}

fn words_of(text: &str) -> Vec<String> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_lowercase).collect()
}

/// Levenshtein's distance in words.
fn distance(wanted: &[String], got: &[String]) -> usize {
    let mut row: Vec<usize> = (0..=got.len()).collect();
    for (i, a) in wanted.iter().enumerate() {
        let mut previous = std::mem::replace(&mut row[0], i + 1);
        for (j, b) in got.iter().enumerate() {
            let cost = (row[j + 1] + 1).min(row[j] + 1).min(previous + usize::from(a != b));
            previous = std::mem::replace(&mut row[j + 1], cost);
        }
    }
    row[got.len()]
}

#[derive(Default)]
struct Score {
    words: usize,
    errors: usize,
    phrases: usize,
    starts: usize,
    ends: usize,
}

fn check_shape(transcript: &Transcript) {
    let mut at = 0.0;
    for segment in &transcript.segments {
        assert!(
            at <= segment.start && segment.start <= segment.end && segment.end <= transcript.duration,
            "{segment:?}"
        );
        assert!(!segment.text.is_empty() && segment.text == segment.text.trim());
        let joined: String = segment.words.iter().map(|word| word.text.as_str()).collect();
        assert_eq!(joined.trim(), segment.text);
        let mut from = segment.start;
        for word in &segment.words {
            assert!(from <= word.start && word.start <= word.end && word.end <= segment.end, "{segment:?}");
            from = word.end;
        }
        at = segment.end;
    }
}

fn dev_wavs(assets: &Path) -> Vec<PathBuf> {
    let folder = fs::read_dir(assets.join("speech-models/eval/dev")).unwrap();
    let mut wavs: Vec<PathBuf> = folder.map(|entry| entry.unwrap().path()).collect();
    wavs.retain(|path| path.extension().is_some_and(|extension| extension == "wav"));
    wavs.sort();
    wavs
}

/// Errors in per cent that whisper-cli made on the same recordings, and two more.
const GROUPS: [(&str, f64); 5] =
    [("seen", 5.9), ("unseenespeak", 8.7), ("unseenrms", 23.7), ("long5min", 9.1), ("fsdd", 33.0)];

fn scores(assets: &Path, detector: bool) -> BTreeMap<&'static str, Score> {
    let model = assets.join("speech-models/ggml-mini-tts.en.bin");
    let detector = detector.then(|| assets.join("models/ggml-silero-v6.2.0.bin"));
    let mut scores: BTreeMap<&str, Score> = BTreeMap::new();
    for wav in dev_wavs(assets) {
        let bench = Bench::new(&model, detector.as_deref());
        let (transcript, done) = bench.run(&samples_of(std::slice::from_ref(&wav), 1)).unwrap();
        check_shape(&transcript);
        assert_eq!(done.detail.notes, [""; 0]);
        let name = wav.file_stem().unwrap().to_str().unwrap();
        let text: Vec<String> = transcript.segments.iter().flat_map(|segment| words_of(&segment.text)).collect();
        let Some((group, _)) = GROUPS.iter().find(|(group, _)| name.starts_with(group)) else {
            assert_eq!(text, [""; 0], "{name} holds no speech");
            continue;
        };
        let score = scores.entry(group).or_default();
        let phrases = reference(&wav);
        let wanted: Vec<String> = phrases.iter().flat_map(|phrase| phrase.2.clone()).collect();
        score.words += wanted.len();
        score.errors += distance(&wanted, &text);
        score.phrases += phrases.len();
        if std::env::var_os("SHOW").is_some() {
            for p in &phrases {
                let b = transcript
                    .segments
                    .iter()
                    .min_by(|a, b| {
                        ((a.start - p.0).abs() + (a.end - p.1).abs())
                            .total_cmp(&((b.start - p.0).abs() + (b.end - p.1).abs()))
                    })
                    .unwrap();
                println!(
                    "{name} ref {:.2}-{:.2} {:?} got {:.2}-{:.2} {} d {:+.2} {:+.2}",
                    p.0,
                    p.1,
                    p.2.join(" "),
                    b.start,
                    b.end,
                    b.text,
                    b.start - p.0,
                    b.end - p.1
                );
            }
        }
        let near = |a: f64, b: f64| (a - b).abs() <= 0.2;
        score.starts += phrases.iter().filter(|p| transcript.segments.iter().any(|s| near(s.start, p.0))).count();
        score.ends += phrases.iter().filter(|p| transcript.segments.iter().any(|s| near(s.end, p.1))).count();
    }
    for (group, score) in &scores {
        println!(
            "{group:14} {:4} words {:3} errors {:5.1} %  starts {:3} ends {:3} of {:3}",
            score.words,
            score.errors,
            100.0 * score.errors as f64 / score.words as f64,
            score.starts,
            score.ends,
            score.phrases
        );
    }
    scores
}

fn check_scores(scores: &BTreeMap<&str, Score>) {
    for (group, most) in GROUPS {
        let score = &scores[group];
        let rate = 100.0 * score.errors as f64 / score.words as f64;
        assert!(rate <= most, "{group}: {rate:.1} % of the words are wrong, more than {most}");
    }
}

#[test]
fn hears_as_well_as_whispers_own_program_by_loudness() {
    let Some(assets) = assets() else { return };
    check_scores(&scores(&assets, false));
}

#[test]
fn hears_as_well_as_whispers_own_program_by_the_detector() {
    let Some(assets) = assets() else { return };
    check_scores(&scores(&assets, true));
}
