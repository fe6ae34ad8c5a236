//! The stage over real and generated files: what comes out, and what is said where nothing does.

use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use spindle_shared::id::RunId;
use spindle_shared::job::PathBytes;
use spindle_shared::stage::Stage;
use spindle_shared::worker::{Assignment, InputFile, Report};

use super::*;

/// What a run left.
struct Outcome {
    done: Done,
    samples: Vec<i16>,
    progress: Vec<f32>,
}

impl std::fmt::Debug for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} s, notes {:?}", self.seconds(), self.done.detail.notes)
    }
}

impl Outcome {
    fn seconds(&self) -> f64 {
        self.done.detail.media_seconds.unwrap()
    }

    /// Where sound begins.
    fn onset(&self) -> f64 {
        let at = self.samples.iter().position(|sample| sample.unsigned_abs() > 300).expect("there is sound");
        at as f64 / 16_000.0
    }

    /// How often the signal rises through zero, per second, in a part of it: the pitch of a sine.
    fn pitch(&self, from: f64, to: f64) -> f64 {
        let part = &self.samples[(from * 16_000.0) as usize..(to * 16_000.0) as usize];
        part.windows(2).filter(|pair| pair[0] < 0 && pair[1] >= 0).count() as f64 / (to - from)
    }
}

fn context(
    file: &Path,
    track: Option<&str>,
    scratch: &Path,
    cancel: Arc<AtomicBool>,
) -> (Context, Arc<Mutex<Vec<f32>>>) {
    let stage = Stage::Decode(Decode { track: track.map(str::to_owned) });
    let opened = File::open(file).unwrap();
    let bytes = opened.metadata().unwrap().len();
    let assignment = Assignment {
        inputs: vec![InputFile::new(PathBytes::from(file), bytes)],
        scratch: PathBytes::from(scratch),
        ..Assignment::of(RunId { boot: 1, counter: 1 }, stage)
    };
    let progress = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&progress);
    let report = Arc::new(move |report: Report| {
        if let Report::Progress { done, .. } = report {
            heard.lock().unwrap().push(done);
        }
    });
    (Context::new(assignment, vec![OwnedFd::from(opened)], cancel, report), progress)
}

fn decode_track(file: &Path, track: Option<&str>) -> Result<Outcome, Halt> {
    let scratch = tempfile::tempdir().unwrap();
    let (context, progress) = context(file, track, scratch.path(), Arc::default());
    let done = crate::stage::run(&context)?;
    let bytes = fs::read(scratch.path().join(AUDIO_FILE)).unwrap();
    assert_eq!(done.files.len(), 1);
    assert_eq!(done.files[0].bytes, bytes.len() as u64);
    assert_eq!(done.files[0].content.0, *blake3::hash(&bytes).as_bytes());
    let samples: Vec<i16> = bytes.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect();
    assert_eq!(done.detail.media_seconds, Some(samples.len() as f64 / 16_000.0));
    let progress = progress.lock().unwrap().clone();
    Ok(Outcome { done, samples, progress })
}

fn decode(file: &Path) -> Outcome {
    decode_track(file, None).unwrap_or_else(|halt| panic!("{}: {halt:?}", file.display()))
}

fn failure(file: &Path, track: Option<&str>) -> Failure {
    match decode_track(file, track) {
        Err(Halt::Failed(failure)) => failure,
        other => panic!("{}: {other:?}", file.display()),
    }
}

fn input_failure(file: &Path) -> String {
    let failure = failure(file, None);
    assert_eq!(failure.kind, FailureKind::Input, "{failure}");
    failure.message
}

/// A folder for generated files, or `None` (said loudly) where there is no `ffmpeg` program to generate them.
fn workshop() -> Option<Workshop> {
    match Command::new("ffmpeg").arg("-version").output() {
        Ok(_) => Some(Workshop(tempfile::tempdir().unwrap())),
        Err(_) => {
            eprintln!("skipped: there is no ffmpeg program to make the test's media with");
            None
        }
    }
}

struct Workshop(tempfile::TempDir);

impl Workshop {
    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Runs ffmpeg with these words; the last one is the file's name.
    fn make(&self, words: &str) -> PathBuf {
        let output = Command::new("ffmpeg")
            .current_dir(self.0.path())
            .args(["-nostdin", "-loglevel", "error", "-y"])
            .args(words.split_whitespace())
            .output()
            .unwrap();
        assert!(output.status.success(), "{words}: {}", String::from_utf8_lossy(&output.stderr));
        self.path(words.split_whitespace().last().unwrap())
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    /// The first part of a file, as a broken download leaves it.
    fn cut(&self, file: &Path, share: f64) -> PathBuf {
        let bytes = fs::read(file).unwrap();
        let name = format!("cut-{}", file.file_name().unwrap().to_string_lossy());
        self.write(&name, &bytes[..(bytes.len() as f64 * share) as usize])
    }
}

const SINE: &str = "-f lavfi -i sine=frequency=440:sample_rate=48000";
const VIDEO: &str = "-f lavfi -i testsrc=size=64x48:rate=25";

#[track_caller]
fn close(actual: f64, expected: f64, within: f64) {
    assert!((actual - expected).abs() <= within, "{actual} is not within {within} of {expected}");
}

#[test]
fn an_empty_file_says_so() {
    let file = tempfile::NamedTempFile::new().unwrap();
    assert!(input_failure(file.path()).ends_with(": the file is empty"));
}

#[test]
fn a_file_that_is_no_media_says_so() {
    let dir = tempfile::tempdir().unwrap();
    for (name, bytes) in [
        ("text.txt", b"Dear diary, today nothing happened.\n".repeat(50)),
        ("page.mp3", b"<!DOCTYPE html><html><body>404</body></html>".to_vec()),
        ("zeros.mp4", vec![0; 100_000]),
        ("one.wav", vec![b'R']),
        ("\u{1b}[31mred.bin", (0..5_000u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect()),
    ] {
        let path = dir.path().join(name);
        fs::write(&path, bytes).unwrap();
        let message = input_failure(&path);
        assert!(message.contains("not a media file libav can read"), "{message}");
        assert!(!message.contains('\u{1b}'), "{message:?}");
    }
}

#[test]
fn a_folder_is_no_recording() {
    let dir = tempfile::tempdir().unwrap();
    assert!(input_failure(dir.path()).contains("not a regular file"));
}

#[test]
fn a_name_that_is_not_utf_8_is_no_trouble() {
    use std::os::unix::ffi::OsStrExt;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(std::ffi::OsStr::from_bytes(b"caf\xe9.m\xff"));
    fs::write(&path, b"x").unwrap();
    assert!(input_failure(&path).contains("caf"));
}

#[test]
fn a_recording_without_samples_is_an_empty_success() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("nothing.wav");
    fs::write(&path, wav_header(1, 1, 16_000, 16, 0)).unwrap();
    let outcome = decode(&path);
    assert_eq!((outcome.seconds(), outcome.samples.len()), (0.0, 0));
}

/// A WAV's 44 bytes of header, whatever they claim.
fn wav_header(format: u16, channels: u16, rate: u32, bits: u16, data: u32) -> Vec<u8> {
    let block = (u32::from(channels) * u32::from(bits) / 8) as u16;
    let mut header = b"RIFF".to_vec();
    header.extend(data.wrapping_add(36).to_le_bytes());
    header.extend(b"WAVEfmt ");
    header.extend(16u32.to_le_bytes());
    header.extend(format.to_le_bytes());
    header.extend(channels.to_le_bytes());
    header.extend(rate.to_le_bytes());
    header.extend(rate.wrapping_mul(u32::from(block)).to_le_bytes());
    header.extend(block.to_le_bytes());
    header.extend(bits.to_le_bytes());
    header.extend(b"data");
    header.extend(data.to_le_bytes());
    header
}

/// The whole of a small file is in libav's buffer when its end is found, and is read from there.
#[test]
fn a_small_file_comes_out_sample_by_sample() {
    let dir = tempfile::tempdir().unwrap();
    for samples in [1u32, 100, 16_000, 31_000, 32_700, 32_746, 32_747, 40_000] {
        let body: Vec<i16> = (0..samples).map(|n| (n * 37 % 20_000) as i16 - 9_000).collect();
        let mut bytes = wav_header(1, 1, 16_000, 16, samples * 2);
        bytes.extend(body.iter().flat_map(|sample| sample.to_le_bytes()));
        let path = dir.path().join("small.wav");
        fs::write(&path, bytes).unwrap();
        assert!(decode(&path).samples == body, "{samples} samples");
    }
}

#[test]
fn lying_headers_end_in_words() {
    let dir = tempfile::tempdir().unwrap();
    let body: Vec<u8> = (0..64_000u32).map(|n| n as u8).collect();
    for channels in [0, 1, 3, 9, 64, 65, 65_535] {
        for rate in [0, 1, 44_100, 3_100_000, 2_147_483_647, 4_294_967_295] {
            for (format, bits) in
                [(1, 0), (1, 8), (1, 16), (1, 24), (3, 32), (3, 64), (2, 4), (17, 4), (7, 8), (0, 65_535)]
            {
                for claimed in [0, 64_000, u32::MAX] {
                    let path = dir.path().join("lie.wav");
                    let mut bytes = wav_header(format, channels, rate, bits, claimed);
                    bytes.extend(&body);
                    fs::write(&path, bytes).unwrap();
                    let began = Instant::now();
                    match decode_track(&path, None) {
                        Ok(outcome) => assert!(outcome.seconds() < 200.0, "{channels} {rate} {format} {bits}"),
                        Err(Halt::Failed(failure)) => assert_eq!(failure.kind, FailureKind::Input, "{failure}"),
                        Err(Halt::Stopped) => panic!("nobody stopped it"),
                    }
                    assert!(began.elapsed() < Duration::from_secs(10), "{channels} {rate} {format} {bits}");
                }
            }
        }
    }
}

#[test]
fn a_descriptor_that_can_t_be_read_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.wav");
    fs::write(&path, wav_header(1, 1, 16_000, 16, 0)).unwrap();
    let unreadable = File::options().write(true).open(&path).unwrap();
    let Err(error) = Recording::open(&unreadable, "a.wav", None, FORM, Arc::default()) else { panic!("it opened") };
    let Halt::Failed(failure) = halt_for(error, "a.wav", &Decode::default()) else { panic!("nobody stopped it") };
    assert_eq!(failure.kind, FailureKind::Input);
    assert!(failure.message.contains("the file could not be read: Bad file descriptor"), "{failure}");
    assert!(failure.advice.contains("check the disk"), "{}", failure.advice);
}

#[test]
fn neither_success_nor_failure_leaves_memory_behind() {
    let dir = tempfile::tempdir().unwrap();
    let mut sound = wav_header(1, 1, 44_100, 16, 64_000);
    sound.extend((0..64_000u32).map(|n| (n * n) as u8));
    let files = [("sound.wav", sound.clone()), ("head.wav", sound[..20].to_vec()), ("text.txt", b"nothing".repeat(99))]
        .map(|(name, bytes)| {
            let path = dir.path().join(name);
            fs::write(&path, bytes).unwrap();
            path
        });
    let resident = || {
        let pages = fs::read_to_string("/proc/self/statm").unwrap();
        pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4_096
    };
    let rounds = |count| {
        for _ in 0..count {
            for file in &files {
                let _ = decode_track(file, None);
            }
        }
    };
    rounds(100);
    let before = resident();
    rounds(300);
    // One buffer of a source lost in each round would be three times as much.
    let grown = resident().saturating_sub(before);
    assert!(grown < 6 << 20, "{grown}");
}

#[test]
fn audio_that_starts_late_is_preceded_by_silence() {
    let Some(workshop) = workshop() else { return };
    for name in ["late.mkv", "late.mp4", "late.mov", "late.ts", "late.webm"] {
        let (audio, video) = match name {
            "late.webm" => ("libopus", "libvpx -deadline realtime"),
            _ => ("aac", "libx264 -preset ultrafast"),
        };
        let file = workshop
            .make(&format!("{VIDEO} -itsoffset 1.5 {SINE} -map 0:v -map 1:a -t 5 -c:v {video} -c:a {audio} {name}"));
        let outcome = decode(&file);
        close(outcome.onset(), 1.5, 0.03);
        close(outcome.seconds(), 5.0, 0.1);
    }
}

#[test]
fn audio_whose_first_packet_comes_late_in_the_file_is_found() {
    let Some(workshop) = workshop() else { return };
    for (video, audio, name) in [("flv1", "libmp3lame -ar 44100", "late.flv"), ("mpeg2video", "mp2", "late.mpg")] {
        let file = workshop.make(&format!(
            "{VIDEO} -itsoffset 20 {SINE} -map 0:v -map 1:a -t 24 -b:v 3M -c:v {video} -c:a {audio} {name}"
        ));
        let outcome = decode(&file);
        close(outcome.onset(), 20.0, 0.1);
        close(outcome.seconds(), 24.0, 0.3);
    }
}

#[test]
fn audio_before_the_video_s_start_is_cut() {
    let Some(workshop) = workshop() else { return };
    // A second of silence and then sound; the edit list of the copy starts half a second in.
    let tone = workshop.make(&format!("{SINE} -af adelay=1000:all=1 -t 4 -c:a aac tone.m4a"));
    close(decode(&tone).onset(), 1.0, 0.03);
    let cut = workshop.make("-ss 0.5 -i tone.m4a -c copy cut.m4a");
    close(decode(&cut).onset(), 0.5, 0.03);
}

#[test]
fn a_gap_in_the_middle_is_silence_and_what_follows_keeps_its_place() {
    let Some(workshop) = workshop() else { return };
    for (audio, name) in [("flac", "gap.mkv"), ("mp2", "gap.ts"), ("aac", "gap.mp4"), ("libopus", "gap.webm")] {
        let video = if name == "gap.webm" { "libvpx -deadline realtime" } else { "mpeg4" };
        let copied = workshop
            .make(&format!("{SINE} {VIDEO} -t 32 -af aselect=lt(t\\,2)+gte(t\\,30) -c:a {audio} -c:v {video} {name}"));
        let outcome = decode(&copied);
        close(outcome.seconds(), 32.0, 0.2);
        assert!(outcome.samples[16_000 * 4..16_000 * 29].iter().all(|sample| sample.unsigned_abs() < 50), "{name}");
        close(outcome.pitch(30.5, 31.5), 440.0, 3.0);
        assert_eq!(outcome.done.detail.notes, Vec::<String>::new(), "{name}");
    }
}

#[test]
fn the_track_is_chosen_by_number_language_or_the_file_s_default() {
    let Some(workshop) = workshop() else { return };
    let file = workshop.make(
        "-f lavfi -i sine=frequency=300 -f lavfi -i sine=frequency=600 -t 2 -map 0:a -map 1:a -c:a flac \
         -metadata:s:a:0 language=eng -metadata:s:a:1 language=ger -disposition:a:0 0 -disposition:a:1 default two.mkv",
    );
    for (track, pitch) in [
        (None, 600.0),
        (Some("1"), 300.0),
        (Some("2"), 600.0),
        (Some("de"), 600.0),
        (Some("deu"), 600.0),
        (Some("ger"), 600.0),
        (Some("German"), 600.0),
        (Some("en"), 300.0),
    ] {
        let outcome = decode_track(&file, track).unwrap_or_else(|halt| panic!("{track:?}: {halt:?}"));
        close(outcome.pitch(0.5, 1.5), pitch, 3.0);
    }
    for track in ["3", "fr"] {
        let failure = failure(&file, Some(track));
        assert_eq!(failure.kind, FailureKind::Input);
        let tracks = "the file has 1 (eng, flac, mono), 2 (ger, flac, mono, default)";
        assert!(failure.message.ends_with(&format!("no audio track `{track}`; {tracks}")), "{failure}");
        assert!(failure.advice.contains(&format!("--track {track}")), "{}", failure.advice);
    }
}

#[test]
fn a_file_without_audio_is_that_input_s_failure() {
    let Some(workshop) = workshop() else { return };
    let file = workshop.make(&format!("{VIDEO} -t 1 -c:v libx264 -preset ultrafast mute.mp4"));
    assert!(input_failure(&file).ends_with("no audio track; the file has 1 video stream only"));
    let picture = workshop.make(&format!("{VIDEO} -frames:v 1 picture.png"));
    assert!(input_failure(&picture).contains("no audio track"));
}

#[test]
fn every_shape_of_samples_becomes_the_same_sound() {
    let Some(workshop) = workshop() else { return };
    for (words, name) in [
        ("-c:a pcm_u8", "u8.wav"),
        ("-c:a pcm_s24le", "s24.wav"),
        ("-c:a pcm_f32le", "f32.wav"),
        ("-c:a pcm_f64le", "f64.wav"),
        ("-c:a pcm_s16be", "be.aiff"),
        ("-ar 96000 -c:a pcm_s24le", "96k.wav"),
        ("-ar 8000 -c:a pcm_alaw", "8k.wav"),
        ("-ar 11025 -c:a adpcm_ima_wav", "adpcm.wav"),
        ("-ac 6 -c:a ac3", "51.ac3"),
        ("-ac 6 -c:a aac", "51.m4a"),
        ("-ac 8 -c:a flac", "71.flac"),
        ("-ac 16 -c:a pcm_s16le", "16.wav"),
        ("-c:a libmp3lame", "a.mp3"),
        ("-c:a libopus", "a.opus"),
        ("-c:a libvorbis", "a.ogg"),
        ("-c:a alac", "alac.m4a"),
        ("-c:a wmav2", "a.wma"),
        ("-c:a aac", "a.aac"),
        ("-c:a tta", "a.tta"),
        ("-c:a mp2", "a.mpg"),
        ("-c:a g722 -ar 16000", "a.g722"),
    ] {
        let words = words.replace("-ac 16", "-af pan=hexadecagonal|c0=c0|c1=c0|c2=c0|c3=c0|c4=c0|c5=c0|c6=c0|c7=c0");
        let file = workshop.make(&format!("{SINE} -t 3 {words} {name}"));
        let outcome = decode(&file);
        // A codec's last block may be filled up.
        close(outcome.seconds(), 3.0, 0.15);
        close(outcome.pitch(0.5, 2.5), 440.0, 3.0);
        assert_eq!(outcome.done.detail.notes, Vec::<String>::new(), "{name}");
    }
}

#[test]
fn a_change_of_shape_in_the_middle_is_followed() {
    let Some(workshop) = workshop() else { return };
    let first = workshop.make(&format!("{SINE} -t 2 -ac 2 -ar 48000 -c:a mp2 -f mpegts first.ts"));
    let second =
        workshop.make(&format!("{SINE} -t 2 -ac 1 -ar 32000 -c:a mp2 -output_ts_offset 2 -f mpegts second.ts"));
    let mut bytes = fs::read(first).unwrap();
    bytes.extend(fs::read(second).unwrap());
    let outcome = decode(&workshop.write("both.ts", bytes));
    close(outcome.seconds(), 4.0, 0.1);
    close(outcome.pitch(0.5, 1.5), 440.0, 3.0);
    close(outcome.pitch(2.5, 3.5), 440.0, 3.0);
}

#[test]
fn a_clock_that_begins_anew_is_joined_and_noted() {
    let Some(workshop) = workshop() else { return };
    let first =
        fs::read(workshop.make(&format!("{SINE} -t 20 -c:a mp2 -f mpegts -output_ts_offset 5000 first.ts"))).unwrap();
    let second = fs::read(workshop.make(&format!("{SINE} -t 20 -c:a mp2 -f mpegts second.ts"))).unwrap();
    let outcome = decode(&workshop.write("both.ts", [first, second].concat()));
    close(outcome.seconds(), 40.0, 0.2);
    assert!(outcome.done.detail.notes[0].contains("clock leaps"), "{:?}", outcome.done.detail.notes);
}

#[test]
fn a_cut_file_gives_what_is_there() {
    let Some(workshop) = workshop() else { return };
    for (words, name, noted) in [
        ("-c:a aac -movflags +faststart", "a.m4a", true),
        ("-c:a libopus", "a.mkv", true),
        ("-c:a flac", "a.flac", true),
        // libav corrects the length by the file's size.
        ("-c:a pcm_s16le", "a.wav", false),
        ("-c:a libmp3lame", "a.mp3", true),
        // Nothing in it tells how long it was.
        ("-c:a libvorbis", "a.ogg", false),
    ] {
        let file = workshop.make(&format!("-f lavfi -i anoisesrc=sample_rate=44100:seed=1 -t 20 {words} {name}"));
        let outcome = decode(&workshop.cut(&file, 0.5));
        close(outcome.seconds(), 10.0, 1.5);
        let notes = outcome.done.detail.notes;
        assert_eq!(notes.iter().any(|note| note.contains("the file says 20.0 s")), noted, "{name} {notes:?}");
    }
    let file = workshop.make(&format!("{SINE} -t 20 -c:a aac index-at-end.m4a"));
    assert!(input_failure(&workshop.cut(&file, 0.5)).contains("moov atom not found"));
    let whole = fs::read(workshop.path("a.m4a")).unwrap();
    let samples = whole.windows(4).position(|four| four == b"mdat").unwrap();
    let message = input_failure(&workshop.write("head.m4a", &whole[..samples + 4]));
    assert!(message.contains("promises 20.0 s of audio, but there is none"), "{message}");
}

#[test]
fn damaged_packets_are_counted_and_skipped() {
    let Some(workshop) = workshop() else { return };
    workshop.make(&format!("{SINE} -t 20 -c:a aac a.mp4"));
    let outcome = decode(&workshop.make("-i a.mp4 -c copy -bsf:a noise=amount=1500 damaged.mkv"));
    close(outcome.seconds(), 20.0, 0.2);
    let notes = &outcome.done.detail.notes;
    assert!(notes.iter().any(|note| note.ends_with(" damaged packets skipped")), "{notes:?}");
}

#[test]
fn no_list_and_no_reference_opens_another_file() {
    let Some(workshop) = workshop() else { return };
    let secret = workshop.make(&format!("{SINE} -t 1 -c:a pcm_s16le secret.wav"));
    let segment = workshop.make(&format!("{SINE} -t 1 -c:a aac segment.ts"));
    let (secret, segment) = (secret.display(), segment.display());
    for (name, text) in [
        ("a.m3u8", format!("#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:1,\nfile://{segment}\n#EXT-X-ENDLIST\n")),
        ("b.m3u8", format!("#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:1,\n{segment}\n#EXT-X-ENDLIST\n")),
        ("passwd.m3u8", "#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:0\n#EXTINF:10,\n/etc/passwd\n#EXT-X-ENDLIST\n".to_owned()),
        ("a.mp4", format!("#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:1,\n{segment}\n#EXT-X-ENDLIST\n")),
        ("a.txt", format!("ffconcat version 1.0\nfile '{secret}'\n")),
        ("a.ffconcat", format!("ffconcat version 1.0\nfile '{secret}'\n")),
        ("a.sdp", "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 5004 RTP/AVP 0\n".to_owned()),
        (
            "a.mpd",
            format!(
                "<?xml version=\"1.0\"?><MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\" type=\"static\" \
                 mediaPresentationDuration=\"PT1S\"><Period><AdaptationSet mimeType=\"audio/mp4\">\
                 <Representation id=\"1\" bandwidth=\"1\"><BaseURL>{secret}</BaseURL></Representation>\
                 </AdaptationSet></Period></MPD>"
            ),
        ),
        ("a.vobsub.idx", "# VobSub index file, v7\nid: en, index: 0\n".to_owned()),
    ] {
        let message = input_failure(&workshop.write(name, text));
        assert!(message.contains("names other files") || message.contains("not a media file"), "{name}: {message}");
    }
}

#[test]
fn an_mp4_whose_samples_lie_elsewhere_stays_closed() {
    let Some(workshop) = workshop() else { return };
    let secret = workshop.make(&format!("{SINE} -t 1 -c:a pcm_s16le secret.wav"));
    let inside = fs::read(workshop.make(&format!("{SINE} -t 1 -c:a pcm_s16le inside.mov"))).unwrap();
    // The data reference says "in this file" by a flag; without it, and as an alias with a path, the samples are elsewhere.
    let at = inside.windows(4).rposition(|four| four == b"dref").expect("a data reference");
    let mut outside = inside.clone();
    let target = secret.to_string_lossy().into_owned();
    let entry = at + 12;
    let mut alias = Vec::new();
    alias.extend(b"alis");
    alias.extend([0; 4]);
    let mut record = vec![0; 150];
    // The absolute path's entry.
    record.extend([0, 2]);
    record.extend((target.len() as u16).to_be_bytes());
    record.extend(target.as_bytes());
    if target.len() % 2 == 1 {
        record.push(0);
    }
    record.extend([0xff, 0xff, 0, 0]);
    let length = (record.len() as u16).to_be_bytes();
    record[4..6].copy_from_slice(&length);
    alias.extend(&record);
    let old = u32::from_be_bytes(outside[entry..entry + 4].try_into().unwrap()) as usize;
    let new = alias.len() + 4;
    outside.splice(entry..entry + old, (new as u32).to_be_bytes().into_iter().chain(alias));
    // Every box around it grows by as much.
    for name in [b"moov", b"trak", b"mdia", b"minf", b"dinf", b"dref"] {
        let positions: Vec<usize> =
            outside.windows(4).enumerate().filter(|(_, four)| four == name).map(|(at, _)| at).collect();
        for position in positions {
            let size = u32::from_be_bytes(outside[position - 4..position].try_into().unwrap()) as usize;
            if position <= at && position - 4 + size >= at {
                let grown = (size + new - old) as u32;
                outside[position - 4..position].copy_from_slice(&grown.to_be_bytes());
            }
        }
    }
    let file = workshop.write("outside.mov", outside);
    let before = decode(&workshop.path("inside.mov"));
    close(before.seconds(), 1.0, 0.01);
    let message = input_failure(&file);
    assert!(message.contains("there is none in the file") || message.contains("none of its audio"), "{message}");
}

#[test]
fn a_run_that_is_told_to_stop_stops_at_once() {
    let Some(workshop) = workshop() else { return };
    let file = workshop.make(&format!("{SINE} -t 1800 -c:a pcm_s16le long.wav"));
    let scratch = tempfile::tempdir().unwrap();
    let cancel = Arc::new(AtomicBool::new(true));
    let (stopped, _) = context(&file, None, scratch.path(), Arc::clone(&cancel));
    assert!(matches!(crate::stage::run(&stopped), Err(Halt::Stopped)));

    // Told so in the middle: by the first report of progress, from whose moment on the time counts.
    cancel.store(false, Ordering::Relaxed);
    let (running, progress) = context(&file, None, scratch.path(), Arc::clone(&cancel));
    let told = std::thread::spawn(move || {
        while progress.lock().unwrap().is_empty() {
            std::thread::yield_now();
        }
        cancel.store(true, Ordering::Relaxed);
        Instant::now()
    });
    assert!(matches!(crate::stage::run(&running), Err(Halt::Stopped)));
    let ended = Instant::now();
    let delay = ended.saturating_duration_since(told.join().unwrap());
    assert!(delay < Duration::from_millis(100), "{delay:?}");
}

#[test]
fn progress_rises_to_the_end() {
    let Some(workshop) = workshop() else { return };
    let file = workshop.make(&format!("{SINE} -t 1200 -c:a flac long.mkv"));
    let outcome = decode(&file);
    assert!(outcome.progress.is_sorted() && outcome.progress.iter().all(|done| (0.0..=1.0).contains(done)));
    assert!(!outcome.progress.is_empty());
}

#[test]
fn an_hour_takes_no_more_memory_than_a_minute() {
    let Some(workshop) = workshop() else { return };
    let mut peaks = Vec::new();
    for seconds in [60, 3_600] {
        let file = workshop.make(&format!(
            "{SINE} {VIDEO} -t {seconds} -map 0:a -map 1:v -c:a aac -b:a 48k -c:v mpeg4 -r 5 {seconds}.mp4"
        ));
        let scratch = tempfile::tempdir().unwrap();
        let (context, _) = context(&file, None, scratch.path(), Arc::default());
        let began = Instant::now();
        let done = crate::stage::run(&context).unwrap();
        close(done.work, f64::from(seconds), 0.1);
        eprintln!("{seconds} s: {:?}, {} MiB at most", began.elapsed(), done.peak_memory_bytes >> 20);
        peaks.push(done.peak_memory_bytes);
    }
    assert!(peaks[0] > 0 && peaks[1] - peaks[0] < 150 << 20, "{peaks:?}");
}

/// Files whose failure is right, and words of its message; all others must decode.
const FAILING: [(&str, &str); 16] = [
    ("speech/broken/bad.wav", "not a media file libav can read"),
    ("speech/broken/evil.wav", "no 'data' tag found"),
    ("speech/pyannote_sample_2spk.rttm", "not a media file libav can read"),
    ("video/androidx/invalid_ogg_header", "not a media file libav can read"),
    ("video/androidx/sample_ac4.mp4", "the audio is `ac-4`, which the installed libav can't decode"),
    ("video/androidx/sample_h264.ts", "no audio track; the file has 1 video stream only"),
    ("video/moviepy/-video-with-dash-.mp4", "no audio track"),
    ("video/moviepy/result.webm", "the file is empty"),
    ("video/mp4parse/bbb_sunflower_QCIF_30fps_mp4v_noaudio_1f.mp4", "no audio track"),
    ("video/mp4parse/bipbop-cenc-audioinit.mp4", "the audio is encrypted (common encryption, cenc)"),
    ("video/mp4parse/h264_white_frame_sar_16_9.mp4", "no audio track"),
    ("video/mp4parse/hevc_white_frame.mp4", "no audio track"),
    ("video/mp4parse/invalid_userdata.mp4", "promises 0:03:51 of audio, but there is none in the file"),
    ("video/mp4parse/sine-3s-xhe-aac-44khz-mono.mp4", "the audio is aac, which the installed libav can't decode"),
    ("video/mp4parse/test_case_1185230.mp4", "none of its audio could be decoded (aac, packets tried: 1)"),
    ("video/mp4parse/tiny_av1.mp4", "no audio track"),
];

/// Files that are longer than the sum of their samples, and by how many seconds: their clock has places without audio,
/// which a player passes in silence and which plain decoding leaves out.
const SILENT_PLACES: [(&str, f64); 5] = [
    // Its audio starts so long after its video.
    ("video/androidx/sample.flv", 0.068),
    ("video/androidx/sample.mp4", 0.067),
    ("video/androidx/sample_2_byte_NAL_length.mp4", 0.067),
    ("video/androidx/sample_with_htc_rotation_track_name.mkv", 0.062),
    // Its first packet is said to last 0.176 s and has 0.021 s.
    ("video/moviepy/fire2.mp4", 0.156),
];

#[test]
fn every_asset_ends_in_sound_or_in_the_right_words() {
    let Some(assets) = std::env::var_os("SPINDLE_TEST_ASSETS").map(PathBuf::from) else {
        eprintln!("skipped: SPINDLE_TEST_ASSETS is not set");
        return;
    };
    let compare = Command::new("ffmpeg").arg("-version").output().is_ok();
    if !compare {
        eprintln!("skipped: there is no ffmpeg program to compare lengths with");
    }
    let mut wrong = Vec::new();
    for folder in ["speech", "video"] {
        for file in files_under(&assets.join(folder)) {
            let name = file.strip_prefix(&assets).unwrap().to_string_lossy().into_owned();
            let began = Instant::now();
            let outcome = decode_track(&file, None);
            let took = began.elapsed();
            if took > Duration::from_secs(10) {
                wrong.push(format!("{name} took {took:?}"));
            }
            let expected = FAILING.iter().find(|(failing, _)| *failing == name).map(|(_, words)| *words);
            let reference = if compare { reference_seconds(&file) } else { None };
            let (shown, right) = match &outcome {
                Ok(outcome) => {
                    let silent =
                        SILENT_PLACES.iter().find(|(file, _)| *file == name).map_or(0.0, |(_, seconds)| *seconds);
                    let near = reference.is_none_or(|seconds| (seconds + silent - outcome.seconds()).abs() <= 0.05);
                    let notes = outcome.done.detail.notes.join("; ");
                    (format!("{:.3} s | {notes}", outcome.seconds()), expected.is_none() && near)
                }
                Err(Halt::Failed(failure)) => {
                    let message = failure.message.replace(&assets.display().to_string(), "");
                    let right = expected.is_some_and(|words| failure.message.contains(words));
                    (format!("{}: {message} |", failure.kind), right && failure.kind == FailureKind::Input)
                }
                Err(Halt::Stopped) => ("stopped |".to_owned(), false),
            };
            let reference = reference.map_or_else(|| "–".to_owned(), |seconds| format!("{seconds:.3} s"));
            println!("| {name} | {shown} | {reference} | {} ms |", took.as_millis());
            if !right {
                wrong.push(format!("{name}: {shown} (ffmpeg: {reference})"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn files_under(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_under(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// What the ffmpeg program makes of it; `None` where it makes nothing.
fn reference_seconds(file: &Path) -> Option<f64> {
    let output = Command::new("ffmpeg")
        .args(["-nostdin", "-loglevel", "error", "-i"])
        .arg(file)
        .args(["-map", "0:a:0", "-ac", "1", "-ar", "16000", "-f", "s16le", "-"])
        .output()
        .ok()?;
    (!output.stdout.is_empty()).then_some(output.stdout.len() as f64 / 32_000.0)
}
