//! Transcribe: samples to a transcript, window by window, several at once where the run holds several slots; a finished window is never
//! heard again. Knows no codec and no subtitle.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use spindle_shared::catalogue::{is_voice_model, newest_voice_model};
use spindle_shared::failure::{Failure, FailureKind};
use spindle_shared::id::{AddressHasher, ContentHash};
use spindle_shared::job::{Detail, FileIdentity};
use spindle_shared::language::{LANGUAGES, UNDETERMINED};
use spindle_shared::stage::Stage;
use spindle_shared::stage::decode::AUDIO_FILE;
use spindle_shared::stage::transcribe::{TRANSCRIPT_FILE, Transcribe};
use spindle_shared::worker::{ArtifactFile, Done};

use crate::checkpoint::Checkpoint;
use crate::context::{Context, Halt, disk_failure_kind};
use crate::language::transcript::{Segment, Transcript};
use crate::speech::header::HeaderError;
use crate::speech::model::{Lease, ListenError, Listener, Manner, Model, ModelError, VoiceModel};
use crate::speech::recording::Recording;
use crate::speech::spread::spread;
use crate::speech::voice::{self, SurveyError};
use crate::speech::window::{self, Window};
use crate::speech::{belief, hear};

/// Share of the progress that finding the speech takes.
const SURVEY_SHARE: f64 = 0.03;
/// Raised when windows of one version must not be mixed with another's.
const PLAN_VERSION: u32 = 2;
/// Below this the language is called unknown.
const LANGUAGE_SURE: f32 = 0.5;

pub fn run(context: &Context, stage: &Transcribe) -> Result<Done, Halt> {
    let audio = context.artifact(AUDIO_FILE)?;
    let recording = Recording::open(audio).map_err(audio_failure)?;
    if recording.samples() == 0 {
        return nothing(context);
    }
    let fingerprint = fingerprint(stage, audio)?;
    let mut ledger = Ledger::open(context.checkpoint()?, fingerprint);
    let begun = ledger.begun();
    if begun > 0.0 {
        context.goes_on_from(begun as f32);
    }

    let lease = Lease::take(stage.model.path.as_path(), &|path| context.open(path), &context.cancel_flag())
        .map_err(|e| model_halt(e, stage))?;
    check_language(lease.model(), stage)?;
    let mut listener = Listener::new(lease).map_err(|e| model_halt(e, stage))?;

    let plan = match ledger.plan.take() {
        Some(plan) => plan,
        None => {
            let (windows, mut notes) = windows(context, stage, &recording)?;
            let tongue = tongue(context, stage, &recording, &windows, &mut listener, &mut notes)?;
            let plan = Plan { fingerprint, windows, tongue, notes };
            ledger.append(&Piece::Plan(plan.clone()))?;
            plan
        }
    };
    let mut notes = plan.notes.clone();
    let (prompt, cut) = match &stage.prompt {
        Some(prompt) => listener.model().tokens(prompt, listener.model().prompt_tokens_max()),
        None => (Vec::new(), false),
    };
    if cut {
        notes.push("the prompt is longer than whisper takes: only its end was used".to_owned());
    }
    let manner = Manner {
        language: plan.tongue.guess.clone(),
        translate: stage.translate,
        prompt,
        beam_size: stage.beam_size,
        best_of: stage.best_of,
        temperature: stage.temperature,
        threads: 1,
    };
    let segments = listen(context, stage, &recording, &plan, &mut ledger, listener, manner)?;

    let transcript = Transcript {
        language: plan.tongue.shown(stage.translate),
        language_probability: if stage.translate { 1.0 } else { plan.tongue.probability },
        duration: recording.seconds(),
        segments: belief::in_order(segments, recording.seconds()),
    };
    let words = transcript.segments.iter().map(word_count).sum::<usize>();
    let file = write(context, &transcript)?;
    Ok(Done {
        files: vec![file],
        detail: Detail {
            media_seconds: Some(recording.seconds()),
            language: Some(transcript.language.clone()),
            language_probability: Some(f64::from(transcript.language_probability)),
            words: Some(u32::try_from(words).unwrap_or(u32::MAX)),
            notes,
            ..Detail::default()
        },
        work: recording.seconds() * (1.0 - begun),
        peak_memory_bytes: peak_memory_bytes(),
        ..Done::default()
    })
}

/// Of no samples there is no need to load a model.
fn nothing(context: &Context) -> Result<Done, Halt> {
    let transcript = Transcript { language: UNDETERMINED.to_owned(), ..Transcript::default() };
    Ok(Done { files: vec![write(context, &transcript)?], ..Done::default() })
}

fn write(context: &Context, transcript: &Transcript) -> Result<ArtifactFile, Halt> {
    context.write_artifact(TRANSCRIPT_FILE, |writer| {
        let failed = |e: &dyn std::fmt::Display| {
            Failure::new(FailureKind::Internal, format!("failed to write the transcript: {e}"))
        };
        serde_json::to_writer(&mut *writer, transcript).map_err(|e| failed(&e))?;
        writer.flush().map_err(|e| failed(&e))?;
        Ok(())
    })
}

/// Hears the windows that no earlier run has finished, one by each listener there is a slot for.
fn listen(
    context: &Context,
    stage: &Transcribe,
    recording: &Recording<'_>,
    plan: &Plan,
    ledger: &mut Ledger,
    listener: Listener,
    mut manner: Manner,
) -> Result<Vec<Segment>, Halt> {
    let length = |index: usize| plan.windows[index].samples();
    let mut left: Vec<usize> = (0..plan.windows.len()).filter(|index| !ledger.finished.contains_key(index)).collect();
    let mut done = ledger.samples_done(plan);

    let slots = context.assignment.threads.max(1) as usize;
    let mut listeners = vec![listener];
    while listeners.len() < slots.min(left.len()) {
        listeners.push(listeners[0].another().map_err(|e| model_halt(e, stage))?);
    }
    manner.threads = (slots / listeners.len()) as u32;
    if listeners.len() > 1 {
        // So that they come to an end together.
        left.sort_by_key(|index| std::cmp::Reverse(length(*index)));
    }
    let stop = context.cancel_flag();
    let hear = |listener: &mut Listener, at: usize| -> Result<Vec<Segment>, Ended> {
        context.go_on()?;
        let window = &plan.windows[left[at]];
        let samples = recording.read(window.start..window.end).map_err(SurveyError::Io)?;
        // A run that goes on must end with the very transcript of one that was never stopped.
        listener.renew().map_err(|e| model_halt(e, stage))?;
        Ok(hear::window(listener, &samples, window, &manner, &stop).map_err(listen_halt)?)
    };
    spread(&mut listeners, left.len(), hear, |at, segments| {
        let index = left[at];
        ledger.append(&Piece::Window { fingerprint: plan.fingerprint, index, segments: segments.clone() })?;
        ledger.finished.insert(index, segments);
        done += length(index);
        context.progress(share_of(done, plan) as f32);
        Ok(())
    })?;
    Ok(std::mem::take(&mut ledger.finished).into_values().flatten().collect())
}

/// Share of the stage that is done when so many samples of its windows are heard.
fn share_of(done: u64, plan: &Plan) -> f64 {
    let all = plan.windows.iter().map(Window::samples).sum::<u64>();
    SURVEY_SHARE + (1.0 - SURVEY_SHARE) * (if all == 0 { 1.0 } else { done as f64 / all as f64 })
}

/// Finds the speech and cuts it into windows.
fn windows(
    context: &Context,
    stage: &Transcribe,
    recording: &Recording<'_>,
) -> Result<(Vec<Window>, Vec<String>), Halt> {
    let mut notes = Vec::new();
    let hands = (context.assignment.threads as usize).min(voice::blocks(recording)).max(1);
    let detectors = stage.vad.then(|| voice_model(context, stage)).flatten().and_then(|path| {
        let load = || VoiceModel::load(context.open(&path).map_err(HeaderError::Io)?).map(Some);
        let loaded: Result<Vec<_>, ModelError> = (0..hands).map(|_| load()).collect();
        loaded
            .inspect_err(|e| {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                let name = spindle_shared::text::escaped(&name);
                notes.push(format!("`{name}` could not be used ({e}); speech was found by its loudness"));
            })
            .ok()
    });
    let mut detectors = detectors.unwrap_or_else(|| std::iter::repeat_with(|| None).take(hands).collect());
    let survey = voice::survey(recording, &mut detectors, |done| {
        context.progress((SURVEY_SHARE * done) as f32);
        context.go_on().map_err(Ended::from)
    })?;
    let regions = if stage.vad { survey.regions() } else { window::everything(&survey) };
    Ok((window::plan(&survey, &regions, recording.samples()), notes))
}

/// The detector's file beside the model, handed over with it.
fn voice_model(context: &Context, stage: &Transcribe) -> Option<PathBuf> {
    let handed = context.assignment.named.iter().map(|named| named.as_path()).find(|path| is_voice_model(path));
    handed.map(Path::to_owned).or_else(|| newest_voice_model(stage.model.path.as_path().parent()?))
}

/// Which language is spoken, and how sure that is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Tongue {
    /// whisper's code of the likeliest language; the model listens for it even when unsure.
    guess: String,
    probability: f32,
}

impl Tongue {
    fn shown(&self, translated: bool) -> String {
        match () {
            () if translated => "en".to_owned(),
            () if self.probability < LANGUAGE_SURE => "und".to_owned(),
            () => self.guess.clone(),
        }
    }
}

fn tongue(
    context: &Context,
    stage: &Transcribe,
    recording: &Recording<'_>,
    windows: &[Window],
    listener: &mut Listener,
    notes: &mut Vec<String>,
) -> Result<Tongue, Halt> {
    let given = |code: &str| Tongue { guess: code.to_owned(), probability: 1.0 };
    if !listener.model().header.multilingual() {
        return Ok(given("en"));
    }
    if let Some(code) = &stage.language {
        return Ok(given(code));
    }
    let mut sums = vec![0.0; listener.model().header.languages()];
    let mut asked = 0.0;
    for window in witnesses(windows) {
        context.go_on()?;
        let samples = recording.read(window.start..window.end).map_err(audio_failure)?;
        let probabilities = listener.languages(&samples, context.assignment.threads).map_err(listen_halt)?;
        sums.iter_mut().zip(probabilities).for_each(|(sum, p)| *sum += p);
        asked += 1.0;
        // Two that agree are enough; more are asked where they don't.
        if asked >= 2.0 && sums.iter().any(|sum| *sum / asked > 0.9) {
            break;
        }
    }
    let allowed: Vec<(&str, f32)> = LANGUAGES
        .iter()
        .zip(&sums)
        .filter(|((code, _), _)| stage.languages.is_empty() || stage.languages.iter().any(|wanted| wanted == code))
        .map(|((code, _), sum)| (*code, *sum))
        .collect();
    let total: f32 = allowed.iter().map(|(_, sum)| sum).sum();
    let best = allowed.iter().max_by(|a, b| a.1.total_cmp(&b.1));
    let tongue = match best {
        Some((code, sum)) if total > 0.0 => Tongue { guess: (*code).to_owned(), probability: sum / total },
        _ => Tongue { guess: stage.languages.first().map_or("en", String::as_str).to_owned(), probability: 0.0 },
    };
    match () {
        () if windows.is_empty() => {}
        () if stage.translate => {
            notes.push(format!("translated from `{}` ({:.0} % sure)", tongue.guess, tongue.probability * 100.0))
        }
        () if tongue.probability < LANGUAGE_SURE => notes.push(format!(
            "the language is uncertain: heard as `{}` ({:.0} % sure); give it with --language",
            tongue.guess,
            tongue.probability * 100.0
        )),
        () => {}
    }
    Ok(tongue)
}

/// Up to five windows that are asked for the language: spread over the recording, those with more speech preferred, and where there are
/// many, none from its beginning, where music and greetings are.
fn witnesses(windows: &[Window]) -> Vec<&Window> {
    const WITNESSES_MAX: usize = 5;
    let skipped = if windows.len() > 2 * WITNESSES_MAX { windows.len() / 20 + 1 } else { 0 };
    let windows = &windows[skipped..];
    let parts = windows.len().min(WITNESSES_MAX);
    let part = |at: usize| &windows[at * windows.len() / parts..(at + 1) * windows.len() / parts];
    let fullest = |part: &'_ [Window]| part.iter().map(Window::speech_seconds).fold(0.0, f64::max);
    let mut chosen: Vec<&Window> = (0..parts)
        .filter_map(|at| {
            let most = fullest(part(at));
            part(at).iter().find(|window| window.speech_seconds() >= most)
        })
        .collect();
    // The fullest first: a short clip is judged by its best window, and two clear answers end the asking.
    chosen.sort_by(|a, b| b.speech_seconds().total_cmp(&a.speech_seconds()));
    chosen
}

/// Everything a later run must know not to do work twice.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Plan {
    fingerprint: ContentHash,
    windows: Vec<Window>,
    tongue: Tongue,
    notes: Vec<String>,
}

#[derive(Serialize, Deserialize)]
enum Piece {
    Plan(Plan),
    Window { fingerprint: ContentHash, index: usize, segments: Vec<Segment> },
}

/// The checkpoint as this stage reads it: the last plan that is ours, and the windows finished under it.
struct Ledger {
    checkpoint: Option<Checkpoint>,
    plan: Option<Plan>,
    /// By the window's place in the plan; in the file they come as they were finished.
    finished: BTreeMap<usize, Vec<Segment>>,
}

impl Ledger {
    fn open(checkpoint: Option<Checkpoint>, ours: ContentHash) -> Self {
        let mut ledger = Ledger { checkpoint: None, plan: None, finished: BTreeMap::new() };
        for piece in checkpoint.iter().flat_map(Checkpoint::pieces) {
            match serde_json::from_slice(piece) {
                Ok(Piece::Plan(plan)) => {
                    ledger.finished.clear();
                    ledger.plan = (plan.fingerprint == ours).then_some(plan);
                }
                Ok(Piece::Window { fingerprint, index, segments }) => {
                    let known = ledger.plan.as_ref().is_some_and(|plan| index < plan.windows.len());
                    if fingerprint == ours && known {
                        ledger.finished.insert(index, segments);
                    }
                }
                // Written by another version: as good as not there.
                Err(_) => {
                    ledger.plan = None;
                    ledger.finished.clear();
                }
            }
        }
        ledger.checkpoint = checkpoint;
        ledger
    }

    /// Share of the stage that earlier runs have done.
    fn begun(&self) -> f64 {
        self.plan.as_ref().map_or(0.0, |plan| share_of(self.samples_done(plan), plan))
    }

    /// Samples of the windows that are heard already.
    fn samples_done(&self, plan: &Plan) -> u64 {
        self.finished.keys().filter_map(|index| plan.windows.get(*index)).map(Window::samples).sum()
    }

    fn append(&mut self, piece: &Piece) -> Result<(), Failure> {
        let Some(checkpoint) = &mut self.checkpoint else { return Ok(()) };
        let failed = |kind, e: &dyn std::fmt::Display| {
            Failure::new(kind, format!("failed to write the transcription's checkpoint: {e}"))
        };
        let bytes = serde_json::to_vec(piece).map_err(|e| failed(FailureKind::Internal, &e))?;
        checkpoint.append(&bytes).map_err(|e| failed(disk_failure_kind(&e), &e))
    }
}

/// Of all that decides what the windows hold.
fn fingerprint(stage: &Transcribe, audio: &File) -> Result<ContentHash, Halt> {
    let bytes = audio.metadata().map_err(audio_failure)?.len();
    let mut hasher = AddressHasher::default();
    hasher.part(&PLAN_VERSION.to_le_bytes()).part(&bytes.to_le_bytes());
    if stage.model.hash.is_none()
        && let Ok(meta) = fs::metadata(stage.model.path.as_path())
    {
        let FileIdentity { bytes, mtime_ns, .. } = FileIdentity::of(&meta);
        hasher.part(&stage.model.path.0).part(&bytes.to_le_bytes()).part(&mtime_ns.to_le_bytes());
    }
    Stage::Transcribe(stage.clone()).address_into(&mut hasher);
    Ok(hasher.finish())
}

/// Languages that this very model has no token for.
fn check_language(model: &Model, stage: &Transcribe) -> Result<(), Failure> {
    let Some(code) = &stage.language else { return Ok(()) };
    let known = &LANGUAGES[..model.header.languages().min(LANGUAGES.len())];
    if model.header.multilingual() && !known.iter().any(|(known, _)| known == code) {
        let message = format!("model `{}` knows no `{code}`", stage.model.name);
        return Err(Failure::new(FailureKind::Input, message).advise("take a newer model, such as large-v3"));
    }
    if !model.header.multilingual() && code != "en" {
        let message = format!("model `{}` knows English only, not `{code}`", stage.model.name);
        return Err(Failure::new(FailureKind::Input, message).advise("take the model without `.en`"));
    }
    Ok(())
}

/// Whitespace parts words; in scripts without spaces the model's pieces do.
fn word_count(segment: &Segment) -> usize {
    segment.words.len().max(segment.text.split_whitespace().count())
}

fn model_halt(error: ModelError, stage: &Transcribe) -> Halt {
    let kind = match &error {
        ModelError::Stopped => return Halt::Stopped,
        ModelError::Memory | ModelError::CardRefused(..) => FailureKind::OutOfMemory,
        ModelError::CardLost(_) => FailureKind::Internal,
        ModelError::Permission => FailureKind::Permission,
        ModelError::Missing | ModelError::Header(_) | ModelError::Refused(_) => FailureKind::ModelMissing,
    };
    let failure =
        Failure::new(kind, format!("model `{}` at {} can't be used: {error}", stage.model.name, stage.model.path));
    match error {
        ModelError::Header(HeaderError::Magic(_) | HeaderError::Truncated | HeaderError::Damaged(_)) => failure
            .advise(format!("delete the file and fetch it again with `spindlectl models pull {}`", stage.model.name)),
        ModelError::Permission => failure.advise("give Spindle the right to read the model's file"),
        _ => failure,
    }
    .into()
}

fn listen_halt(error: ListenError) -> Halt {
    match error {
        ListenError::Stopped => Halt::Stopped,
        ListenError::Failed { .. } => {
            Failure::new(FailureKind::Internal, format!("failed to transcribe: {error}")).into()
        }
    }
}

fn audio_failure(error: std::io::Error) -> Failure {
    Failure::new(FailureKind::Internal, format!("failed to read the decoded audio: {error}"))
}

/// How work on several threads ended early; orphan rules keep `Halt` from being its error itself.
enum Ended {
    Halt(Halt),
    Survey(SurveyError),
    Thread(io::Error),
}

impl From<io::Error> for Ended {
    fn from(error: io::Error) -> Self {
        Ended::Thread(error)
    }
}

impl From<Failure> for Ended {
    fn from(failure: Failure) -> Self {
        Ended::Halt(failure.into())
    }
}

impl From<Halt> for Ended {
    fn from(halt: Halt) -> Self {
        Ended::Halt(halt)
    }
}

impl From<SurveyError> for Ended {
    fn from(error: SurveyError) -> Self {
        Ended::Survey(error)
    }
}

impl From<Ended> for Halt {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::Halt(halt) => halt,
            Ended::Survey(SurveyError::Io(e)) => audio_failure(e).into(),
            Ended::Survey(SurveyError::Detector(e)) => listen_halt(e),
            Ended::Thread(e) => {
                Failure::new(FailureKind::Internal, format!("failed to start a thread for the run: {e}")).into()
            }
        }
    }
}

/// The kernel's own high-water mark; 0 where it has none.
fn peak_memory_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).map_or(0, |kib| kib * 1_024)
}

#[cfg(test)]
#[path = "../../../../tests/src/parrot.rs"]
pub mod parrot;
#[cfg(test)]
mod tests;
