//! Transcribe against real recordings with known texts, and against models that are none.

use std::collections::BTreeMap;
use std::io::Seek;
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use spindle_shared::id::RunId;
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
    slots: u32,
    cancel: Arc<AtomicBool>,
    /// Stops itself when this share is done.
    stops_at: f32,
    progress: Arc<Mutex<Vec<f32>>>,
    /// What was done before the last run, as it told.
    begun: Arc<Mutex<f32>>,
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
        Bench {
            dir,
            stage,
            slots: 1,
            cancel: Arc::default(),
            stops_at: 2.0,
            progress: Arc::default(),
            begun: Arc::default(),
        }
    }

    fn run(&self, audio: &File) -> Result<(Transcript, Done), Halt> {
        let scratch = self.dir.path().join("scratch");
        fs::create_dir_all(&scratch).unwrap();
        let assignment = Assignment {
            inputs: vec![InputFile::new(Path::new(AUDIO_FILE), audio.metadata().unwrap().len())],
            scratch: scratch.clone().into(),
            checkpoint: Some(self.dir.path().join("checkpoint").into()),
            part_tag: "test".into(),
            threads: self.slots,
            ..Assignment::of(RunId { boot: 1, counter: 1 }, Stage::Transcribe(self.stage.clone()))
        };
        let (progress, told) = (Arc::clone(&self.progress), Arc::clone(&self.begun));
        let (cancel, stops_at) = (Arc::clone(&self.cancel), self.stops_at);
        let reporter = Arc::new(move |report| {
            if let Report::Progress { done, begun, .. } = report {
                cancel.fetch_or(done >= stops_at, Ordering::Relaxed);
                progress.lock().unwrap().push(done);
                *told.lock().unwrap() = begun;
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

/// Words that whisper-cli got wrong in the same recordings.
const GROUPS: [(&str, usize); 5] =
    [("seen", 4), ("unseenespeak", 3), ("unseenrms", 10), ("long5min", 32), ("fsdd", 15)];

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
    for (group, theirs) in GROUPS {
        let score = &scores[group];
        // Two points more, and in the small groups, where a word is more than that, two words.
        let most = theirs + (score.words / 50).max(2);
        assert!(score.errors <= most, "{group}: {} words are wrong, more than {most}", score.errors);
    }
    let (ours, theirs) =
        (scores.values().map(|score| score.errors).sum::<usize>(), GROUPS.iter().map(|(_, errors)| errors).sum());
    assert!(ours <= theirs, "{ours} words are wrong in all, and {theirs} by whisper's own program");
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

/// The demonstration model and one recording of a dozen seconds.
fn model_and_clip(assets: &Path) -> (PathBuf, PathBuf) {
    (assets.join("speech-models/ggml-mini-tts.en.bin"), assets.join("speech-models/eval/dev/seen_0.wav"))
}

/// Fails with the first difference only.
fn same(got: &Transcript, wanted: &Transcript) {
    for (got, wanted) in got.segments.iter().zip(&wanted.segments) {
        assert_eq!(got, wanted);
    }
    assert!(got == wanted);
}

#[test]
fn a_run_goes_on_at_its_first_unfinished_window() {
    let Some(assets) = assets() else { return };
    let (model, _) = model_and_clip(&assets);
    let wavs =
        ["seen_0", "seen_1", "seen_2", "seen_3"].map(|name| assets.join(format!("speech-models/eval/dev/{name}.wav")));
    let audio = samples_of(&wavs, 2);
    let bench = Bench::new(&model, None);
    let path = bench.dir.path().join("checkpoint");
    let (whole, done) = bench.run(&audio).unwrap();
    assert_eq!((done.work, *bench.begun.lock().unwrap()), (whole.duration, 0.0), "all of it is its own work");
    let progress = std::mem::take(&mut *bench.progress.lock().unwrap());
    assert!(progress.windows(2).all(|pair| pair[0] <= pair[1]), "{progress:?}");
    let pieces = Checkpoint::open(&path).unwrap().pieces().to_vec();
    assert!(pieces.len() >= 4, "{}", pieces.len());

    // As a run leaves it that ended after two windows; the first was heard otherwise, to see that it is not heard again.
    fs::remove_file(&path).unwrap();
    let mut checkpoint = Checkpoint::open(&path).unwrap();
    let mut first: Piece = serde_json::from_slice(&pieces[1]).unwrap();
    if let Piece::Window { segments, .. } = &mut first {
        segments[0].text = "once".into();
    }
    for piece in [&pieces[0], &serde_json::to_vec(&first).unwrap(), &pieces[2]] {
        checkpoint.append(piece).unwrap();
    }
    let (mut resumed, done) = bench.run(&audio).unwrap();
    // The work of a run that goes on is what was left, and its progress begins there.
    let begun = f64::from(*bench.begun.lock().unwrap());
    assert!((0.2..0.8).contains(&begun), "{begun}");
    assert!((done.work - whole.duration * (1.0 - begun)).abs() < 0.01, "{} of {}", done.work, whole.duration);
    assert!(bench.progress.lock().unwrap().iter().all(|done| f64::from(*done) >= begun - 1e-6));
    assert_eq!(std::mem::replace(&mut resumed.segments[0].text, whole.segments[0].text.clone()), "once");
    same(&resumed, &whole);
    assert_eq!(Checkpoint::open(&path).unwrap().pieces().len(), pieces.len());
}

/// The four recordings of known voices, `copies` times: two windows for each.
fn long_audio(assets: &Path, copies: usize) -> File {
    let wavs =
        ["seen_0", "seen_1", "seen_2", "seen_3"].map(|name| assets.join(format!("speech-models/eval/dev/{name}.wav")));
    samples_of(&wavs, copies)
}

#[test]
fn however_many_slots_it_has_the_transcript_is_the_same() {
    let Some(assets) = assets() else { return };
    let detector = assets.join("models/ggml-silero-v6.2.0.bin");
    let audio = long_audio(&assets, 3);
    let mut transcripts = [1, 2, 3, 40].map(|slots| {
        let bench = Bench { slots, ..Bench::new(&model_and_clip(&assets).0, Some(&detector)) };
        let transcript = bench.run(&audio).unwrap().0;
        let progress = bench.progress.lock().unwrap();
        assert!(progress.windows(2).all(|pair| pair[0] <= pair[1]), "{progress:?}");
        transcript
    });
    let first = std::mem::take(&mut transcripts[0]);
    assert!(first.segments.len() > 20);
    transcripts[1..].iter().for_each(|transcript| same(transcript, &first));
}

#[test]
fn a_stop_reaches_all_who_listen_and_what_they_finished_counts() {
    let Some(assets) = assets() else { return };
    let model = model_and_clip(&assets).0;
    let audio = long_audio(&assets, 8);
    let pieces = |bench: &Bench| Checkpoint::open(&bench.dir.path().join("checkpoint")).unwrap().pieces().len();
    let unbroken = Bench::new(&model, None);
    let whole = unbroken.run(&audio).unwrap().0;
    let mut bench = Bench { slots: 3, stops_at: 0.1, ..Bench::new(&model, None) };
    assert!(matches!(bench.run(&audio), Err(Halt::Stopped)));
    assert!((2..pieces(&unbroken)).contains(&pieces(&bench)), "the plan and some windows, not all of them");
    bench.stops_at = 2.0;
    bench.cancel.store(false, Ordering::Relaxed);
    same(&bench.run(&audio).unwrap().0, &whole);
}

#[test]
fn windows_are_found_again_in_any_order() {
    let Some(assets) = assets() else { return };
    let audio = long_audio(&assets, 3);
    let bench = Bench::new(&model_and_clip(&assets).0, None);
    let path = bench.dir.path().join("checkpoint");
    let whole = bench.run(&audio).unwrap().0;
    let pieces = Checkpoint::open(&path).unwrap().pieces().to_vec();
    fs::remove_file(&path).unwrap();
    let mut checkpoint = Checkpoint::open(&path).unwrap();
    for piece in [0, 5, 2, 4] {
        checkpoint.append(&pieces[piece]).unwrap();
    }
    same(&bench.run(&audio).unwrap().0, &whole);
    let kept = Checkpoint::open(&path).unwrap().pieces().to_vec();
    assert_eq!(kept.len(), pieces.len(), "none is heard twice");
    assert_eq!(kept[1..4], [5, 2, 4].map(|piece| pieces[piece].clone()));
}

#[test]
fn a_run_that_is_told_to_stop_stops() {
    let Some(assets) = assets() else { return };
    let (model, clip) = model_and_clip(&assets);
    let bench = Bench::new(&model, None);
    bench.cancel.store(true, Ordering::Relaxed);
    assert!(matches!(bench.run(&samples_of(&[clip], 1)), Err(Halt::Stopped)));
}

#[test]
fn a_checkpoint_of_other_work_is_not_believed() {
    let Some(assets) = assets() else { return };
    let (model, clip) = model_and_clip(&assets);
    let mut bench = Bench::new(&model, None);
    let audio = samples_of(std::slice::from_ref(&clip), 1);
    let wanted = bench.run(&audio).unwrap().0;
    // Other parameters, another recording, and bytes that are no piece.
    bench.stage.beam_size = 1;
    bench.run(&audio).unwrap();
    let other = samples_of(&[clip], 2);
    let twice = bench.run(&other).unwrap().0;
    assert!(twice.segments.len() > wanted.segments.len());
    Checkpoint::open(&bench.dir.path().join("checkpoint")).unwrap().append(b"{}").unwrap();
    bench.stage.beam_size = 5;
    assert!(bench.run(&audio).unwrap().0 == wanted);
}

#[test]
fn a_stop_during_a_pass_ends_it() {
    let Some(assets) = assets() else { return };
    let (model, clip) = model_and_clip(&assets);
    let stop = AtomicBool::new(false);
    let mut listener = Listener::new(Lease::take(&model, &|path| std::fs::File::open(path), &stop).unwrap()).unwrap();
    let manner = Manner {
        language: "en".into(),
        translate: false,
        prompt: Vec::new(),
        beam_size: 5,
        best_of: 5,
        temperature: 0.0,
        threads: 1,
    };
    let audio = samples_of(&[clip], 1);
    let recording = Recording::open(&audio).unwrap();
    let samples = recording.read(0..recording.samples()).unwrap();
    stop.store(true, Ordering::Relaxed);
    assert!(matches!(listener.listen(&samples, 0, 900, &manner, &stop), Err(ListenError::Stopped)));
    // And the listener is none the worse for it.
    stop.store(false, Ordering::Relaxed);
    assert!(!listener.listen(&samples, 0, 900, &manner, &stop).unwrap().is_empty());
}

#[test]
fn recordings_of_nothing_give_empty_transcripts() {
    let Some(assets) = assets() else { return };
    let (model, _) = model_and_clip(&assets);
    for bytes in [&[][..], &[1], &[0; 2], &[0; 10_000], &[0x10, 0x00, 0xf0, 0xff].repeat(100)] {
        let mut audio = tempfile::tempfile().unwrap();
        audio.write_all(bytes).unwrap();
        let (transcript, done) = Bench::new(&model, None).run(&audio).unwrap();
        assert_eq!(transcript.segments, []);
        // Of no sound at all nobody asks which language it is.
        let expected = if bytes.len() < 2 { ("und", None) } else { ("en", Some(0)) };
        assert_eq!((transcript.language.as_str(), done.detail.words), expected);
    }
}

#[test]
fn without_cutting_at_silences_all_is_heard() {
    let Some(assets) = assets() else { return };
    let (model, clip) = model_and_clip(&assets);
    let mut bench = Bench::new(&model, None);
    bench.stage.vad = false;
    let (transcript, _) = bench.run(&samples_of(std::slice::from_ref(&clip), 4)).unwrap();
    check_shape(&transcript);
    let wanted: Vec<String> = [(); 4].iter().flat_map(|()| reference(&clip)).flat_map(|phrase| phrase.2).collect();
    let text: Vec<String> = transcript.segments.iter().flat_map(|segment| words_of(&segment.text)).collect();
    assert!(distance(&wanted, &text) * 10 <= wanted.len(), "{text:?}");
}

#[test]
fn a_prompt_may_be_longer_than_whisper_takes() {
    let Some(assets) = assets() else { return };
    let (model, clip) = model_and_clip(&assets);
    let mut bench = Bench::new(&model, None);
    bench.stage.prompt = Some("numbers and names ".repeat(200));
    let (_, done) = bench.run(&samples_of(&[clip], 1)).unwrap();
    assert_eq!(done.detail.notes, ["the prompt is longer than whisper takes: only its end was used"]);
}

#[test]
fn an_unusable_detector_is_said_and_replaced() {
    let Some(assets) = assets() else { return };
    let (model, clip) = model_and_clip(&assets);
    let bench = Bench::new(&model, None);
    fs::write(bench.dir.path().join("ggml-silero-v9.bin"), b"lmgg and then nothing").unwrap();
    let (transcript, done) = bench.run(&samples_of(&[clip], 1)).unwrap();
    assert!(!transcript.segments.is_empty());
    assert!(done.detail.notes[0].contains("`ggml-silero-v9.bin` could not be used"), "{:?}", done.detail.notes);
}

#[test]
fn what_is_no_model_is_refused_in_words() {
    let Some(assets) = assets() else { return };
    let dir = tempfile::tempdir().unwrap();
    let audio = samples_of(&[model_and_clip(&assets).1], 1);
    let real = fs::read(model_and_clip(&assets).0).unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    let noise: Vec<u8> = (0..200_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let mut taller = real.clone();
    taller[4 + 4 * 4..][..4].copy_from_slice(&5i32.to_le_bytes());
    for (path, wanted) in [
        (assets.join("models/bad/html-page-named-ggml-tiny.bin"), "no model in whisper.cpp's format"),
        (file("empty", b""), "no model in whisper.cpp's format"),
        (file("cut-off", &real[..real.len() * 2 / 3]), "ends too early"),
        (file("cut-in-vocabulary", &real[..100_000]), "ends too early"),
        (file("noise", &[b"lmgg", &noise[..]].concat()), "the numbers in its header"),
        (file("other-shape", &taller), "ends too early"),
        (file("trailing", &[&real[..], &noise[..]].concat()), "damaged"),
        (assets.join("models/for-tests-ggml-tiny.bin"), "hears nothing"),
        (assets.join("models/for-tests-ggml-tiny.en.bin"), "hears nothing"),
        (dir.path().join("not-there"), "there is no file"),
    ] {
        let failure = Bench::new(&path, None).failure(&audio);
        assert_eq!(failure.kind, FailureKind::ModelMissing, "{failure}");
        assert!(failure.message.contains(wanted), "{failure}");
    }
}

#[test]
fn a_language_the_model_lacks_is_refused() {
    let Some(assets) = assets() else { return };
    let (model, clip) = model_and_clip(&assets);
    let mut bench = Bench::new(&model, None);
    bench.stage.language = Some("de".into());
    let failure = bench.failure(&samples_of(&[clip], 1));
    assert_eq!(failure.kind, FailureKind::Input);
}

#[test]
fn an_hour_takes_no_more_memory_than_a_minute() {
    let Some(assets) = assets() else { return };
    let (model, clip) = model_and_clip(&assets);
    let clip = fs::read(clip).unwrap();
    let recording = |minutes: u64| {
        let mut audio = tempfile::tempfile().unwrap();
        for minute in (0..minutes).step_by(6) {
            audio.seek(std::io::SeekFrom::Start(minute * 60 * 32_000)).unwrap();
            audio.write_all(&clip[44..]).unwrap();
        }
        audio.set_len(minutes * 60 * 32_000).unwrap();
        audio
    };
    let minute = Bench::new(&model, None).run(&recording(1)).unwrap().1;
    let (transcript, hour) = Bench::new(&model, None).run(&recording(60)).unwrap();
    assert!(transcript.segments.last().unwrap().start > 54.0 * 60.0);
    let more = hour.peak_memory_bytes - minute.peak_memory_bytes;
    assert!(more < 20 << 20, "{more} bytes more");
}

#[test]
fn runs_share_one_model_and_another_waits_for_it() {
    let Some(assets) = assets() else { return };
    let (model, clip) = model_and_clip(&assets);
    let audio = samples_of(&[clip], 1);
    let bench = Bench::new(&model, None);
    let transcripts: Vec<Transcript> = std::thread::scope(|scope| {
        let runs = [(); 2].map(|()| scope.spawn(|| Bench::new(&model, None).run(&audio).unwrap().0));
        runs.into_iter().map(|run| run.join().unwrap()).collect()
    });
    assert!(transcripts[0] == transcripts[1]);

    let held = Lease::take(&model, &|path| std::fs::File::open(path), &AtomicBool::new(false)).unwrap();
    let again = Lease::take(&model, &|path| std::fs::File::open(path), &AtomicBool::new(false)).unwrap();
    assert!(std::ptr::eq(held.model(), again.model()));
    // The same file under another name is another model; it is not loaded beside the first.
    bench.cancel.store(true, Ordering::Relaxed);
    assert!(matches!(bench.run(&audio), Err(Halt::Stopped)));
    drop((held, again));
    bench.cancel.store(false, Ordering::Relaxed);
    assert!(bench.run(&audio).unwrap().0 == transcripts[0]);
}

/// A bench with a model that says `tokens` in a language, whatever it hears.
fn parrot_bench(language: &str, tokens: &[&[u8]]) -> Bench {
    let number = LANGUAGES.iter().position(|(code, _)| *code == language).unwrap();
    let bench = Bench::new(Path::new("/dev/null"), None);
    let path = bench.dir.path().join("model.bin");
    fs::remove_file(&path).unwrap();
    parrot::write(&mut File::create(path).unwrap(), number, tokens, 2.0).unwrap();
    bench
}

/// Two seconds of silence, two of something loud that comes and goes, two of silence.
fn sound() -> File {
    let mut audio = tempfile::tempfile().unwrap();
    let sample = |i: i64| match i {
        32_000..64_000 => ((i * i / 97) % 8_000 - 4_000) as i16 * i16::from(i / 3_200 % 4 != 3),
        _ => 0,
    };
    audio.write_all(&(0..96_000).map(sample).flat_map(i16::to_le_bytes).collect::<Vec<u8>>()).unwrap();
    audio
}

#[test]
fn text_in_any_script_comes_through_whole() {
    let text = "你好，世界。";
    let bytes: Vec<&[u8]> = text.as_bytes().chunks(2).collect();
    let (transcript, done) = parrot_bench("zh", &bytes).run(&sound()).unwrap();
    check_shape(&transcript);
    assert_eq!(transcript.segments.len(), 1);
    assert_eq!(transcript.segments[0].text, text);
    let words: Vec<&str> = transcript.segments[0].words.iter().map(|word| word.text.as_str()).collect();
    assert_eq!(words, ["你", "好，", "世", "界。"]);
    assert_eq!(done.detail.language.as_deref(), Some("zh"));
    assert!(transcript.language_probability > 0.99);
    assert!((transcript.segments[0].start - 2.0).abs() < 0.2 && (transcript.segments[0].end - 3.7).abs() < 0.5);
}

#[test]
fn a_language_outside_the_allowed_ones_is_unknown() {
    let mut bench = parrot_bench("de", &[b" Guten", b" Tag"]);
    bench.stage.languages = vec!["fr".into(), "en".into(), "es".into()];
    let (transcript, done) = bench.run(&sound()).unwrap();
    assert_eq!(transcript.language, "und");
    assert!(done.detail.notes[0].contains("uncertain"), "{:?}", done.detail.notes);
    bench.stage.languages.push("de".into());
    assert_eq!(bench.run(&sound()).unwrap().0.language, "de");
}

#[test]
fn a_translation_is_english() {
    let mut bench = parrot_bench("de", &[b" Good", b" day"]);
    bench.stage.translate = true;
    let (transcript, done) = bench.run(&sound()).unwrap();
    assert_eq!((transcript.language.as_str(), transcript.segments[0].text.as_str()), ("en", "Good day"));
    assert_eq!(done.detail.notes, ["translated from `de` (100 % sure)"]);
}

#[test]
fn invented_loops_do_not_get_through() {
    let (transcript, _) = parrot_bench("en", &[&b" you"[..]; 40]).run(&sound()).unwrap();
    assert_eq!(transcript.segments[0].text, "you");
}

#[test]
fn a_language_newer_than_the_model_is_refused() {
    let mut bench = parrot_bench("en", &[b" hello"]);
    bench.stage.language = Some("yue".into());
    assert_eq!(bench.failure(&sound()).kind, FailureKind::Input);
}
