//! The stage over generated videos: what comes out, in which pieces, and what is said where nothing does.

use std::fs;
use std::os::fd::OwnedFd;
use std::process::Command;
use std::sync::Arc;

use spindle_shared::id::RunId;
use spindle_shared::job::{Figure, PathBytes};
use spindle_shared::stage::Stage;
use spindle_shared::worker::{Assignment, InputFile};

use super::*;
use crate::media;

const SINE: &str = "-f lavfi -i sine=frequency=440:sample_rate=48000";
const X264: &str = "-c:v libx264 -preset ultrafast";

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
    /// Runs ffmpeg with these words; the last one is the file's name.
    fn make(&self, words: &str) -> PathBuf {
        let output = Command::new("ffmpeg")
            .current_dir(self.0.path())
            .args(["-nostdin", "-loglevel", "error", "-y"])
            .args(words.split_whitespace())
            .output()
            .unwrap();
        assert!(output.status.success(), "{words}: {}", String::from_utf8_lossy(&output.stderr));
        self.0.path().join(words.split_whitespace().last().unwrap())
    }

    /// What comes of a file; the artifact lies in a folder of its own.
    fn compress(&self, file: &Path, stage: &Compress, threads: u32) -> Result<(Done, PathBuf), Halt> {
        let scratch = tempfile::tempdir_in(self.0.path()).unwrap().keep();
        let opened = File::open(file).unwrap();
        let bytes = opened.metadata().unwrap().len();
        let assignment = Assignment {
            inputs: vec![InputFile::new(PathBytes::from(file), bytes)],
            scratch: PathBytes::from(scratch.as_path()),
            checkpoint: Some(self.checkpoint().as_path().into()),
            threads,
            ..Assignment::of(RunId { boot: 1, counter: 1 }, Stage::Compress(stage.clone()))
        };
        let context = Context::new(assignment, vec![OwnedFd::from(opened)], Arc::default(), Arc::new(|_| ()));
        let done = crate::stage::run(&context)?;
        let path = scratch.join(done.files.first().map_or("", |file| file.name.as_str()));
        Ok((done, path))
    }

    fn checkpoint(&self) -> PathBuf {
        self.0.path().join("checkpoint")
    }

    fn piece(&self, name: &str) -> PathBuf {
        self.0.path().join("checkpoint.pieces").join(name)
    }
}

fn by(profile: &str) -> Compress {
    let settings = Profile::built_in().into_iter().find(|known| known.name == profile);
    Compress { profile: profile.to_owned(), settings, ..Compress::default() }
}

fn facts(path: &Path) -> Facts {
    media::probe(&File::open(path).unwrap(), "a.mp4", Arc::default()).unwrap()
}

fn number(done: &Done, name: &str) -> f64 {
    match done.detail.figures.iter().find(|(known, _)| known == name) {
        Some((_, Figure::Number(number))) => *number,
        other => panic!("{name}: {other:?}"),
    }
}

#[test]
fn pictures_fit_their_profile_upright_and_no_faster_than_before() {
    let Some(workshop) = workshop() else { return };
    let turned = |of: &str, name: &str| workshop.make(&format!("-i {of} -c copy -metadata:s:v rotate=90 {name}"));
    let source = |size: &str, rate: &str| format!("-f lavfi -i testsrc2=size={size}:rate={rate}");
    let portrait = workshop.make(&format!("{} {SINE} -t 2 {X264} -c:a aac portrait.mp4", source("540x960", "30")));
    let cases = [
        (portrait, 270, 480, 10.0),
        (workshop.make(&format!("{} -t 2 {X264} wide.mp4", source("1280x720", "5"))), 854, 480, 5.0),
        (workshop.make(&format!("{} -t 2 {X264} -pix_fmt yuv444p odd.mkv", source("321x181", "25"))), 320, 180, 10.0),
        (workshop.make(&format!("{} -vf setsar=2 -t 2 {X264} sar.mp4", source("320x240", "25"))), 320, 120, 10.0),
        (
            workshop.make(&format!("{} -t 2 -c:v libvpx -deadline realtime silent.webm", source("64x48", "25"))),
            64,
            48,
            10.0,
        ),
        (turned("wide.mp4", "turned.mp4"), 270, 480, 5.0),
    ];
    for (file, width, height, rate) in cases {
        let (done, path) = workshop.compress(&file, &by("aggressive"), 1).unwrap();
        let facts = facts(&path);
        let video = facts.of(StreamKind::Video).next().unwrap();
        assert_eq!((video.width, video.height, video.codec.as_str()), (width, height, "h264"), "{}", file.display());
        let picture = video.picture.unwrap();
        assert_eq!(picture.turn, Default::default(), "{}", file.display());
        let made = f64::from(picture.rate.0) / f64::from(picture.rate.1);
        assert!((made - rate).abs() < 1e-6, "{}: {made} frames a second", file.display());
        assert!((video.duration_seconds.unwrap() - 2.0).abs() <= 1.0 / rate + 0.001, "{}: {video:?}", file.display());
        assert_eq!(facts.audio().count(), usize::from(file.ends_with("portrait.mp4")));
        assert_eq!(number(&done, "compressed_bytes"), fs::metadata(&path).unwrap().len() as f64);
        assert_eq!(done.files[0].name, "video.aggressive.mp4");
    }
}

#[test]
fn large_pictures_have_their_places_as_others_do_whether_scaled_before_or_after() {
    let Some(workshop) = workshop() else { return };
    // Two bytes a sample, and one; each shown, two of five left out, and most of them.
    for (format, rate, kept) in [("yuv420p10le", 24, 24), ("yuv420p", 40, 24), ("yuv420p", 80, 24)] {
        let file = workshop.make(&format!(
            "-f lavfi -i testsrc2=size=2048x1152:rate={rate} -t 1 {X264} -bf 2 -pix_fmt {format} large-{rate}.mp4"
        ));
        let source = facts(&file).of(StreamKind::Video).next().unwrap().picture.unwrap();
        assert_eq!(source.deep, format != "yuv420p");
        let (done, path) = workshop.compress(&file, &by("conservative"), 2).unwrap();
        assert_eq!(number(&done, "frames"), f64::from(kept), "{rate}");
        let video = facts(&path).of(StreamKind::Video).next().unwrap().clone();
        assert_eq!((video.width, video.height), (1_920, 1_080));
        assert!(!video.picture.unwrap().deep);
        assert!((video.duration_seconds.unwrap() - 1.0).abs() <= 1.0 / 24.0 + 0.001, "{rate}: {video:?}");
    }
}

#[test]
fn sound_that_begins_late_does_so_in_the_copy() {
    let Some(workshop) = workshop() else { return };
    let file = workshop.make(&format!(
        "-f lavfi -i testsrc2=size=64x48:rate=25 -itsoffset 1.5 {SINE} -map 0 -map 1 -t 4 {X264} -c:a aac late.mkv"
    ));
    let (_, path) = workshop.compress(&file, &by("balanced"), 1).unwrap();
    let facts = facts(&path);
    let begins = facts.audio().next().unwrap().start_us.unwrap();
    // The source's own run-in, and the copy's.
    assert!((begins - 1_500_000).abs() < 50_000, "{begins}");
    assert_eq!(facts.of(StreamKind::Video).next().unwrap().start_us, Some(0));
}

#[test]
fn texts_and_chapters_go_along() {
    let Some(workshop) = workshop() else { return };
    fs::write(workshop.0.path().join("a.srt"), "1\n00:00:00,500 --> 00:00:01,500\n<i>Hi</i>\nyou\n\n").unwrap();
    let chapters = ";FFMETADATA1\ntitle=A film\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=1000\ntitle=One\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=1000\nEND=2000\ntitle=Two\n";
    fs::write(workshop.0.path().join("a.txt"), chapters).unwrap();
    let file = workshop.make(&format!(
        "-f lavfi -i testsrc2=size=64x48:rate=25 -i a.srt -i a.txt -map 0 -map 1 -map_metadata 2 -t 2 {X264} -c:s srt \
         -metadata:s:s:0 language=ger texts.mkv"
    ));
    let (done, path) = workshop.compress(&file, &by("balanced"), 1).unwrap();
    let facts = facts(&path);
    let texts: Vec<_> = facts.of(StreamKind::Subtitle).map(|s| (s.codec.clone(), s.language.clone())).collect();
    assert_eq!(texts, [("mov_text".to_owned(), Some("ger".to_owned()))]);
    let titles: Vec<_> = facts.chapters.iter().filter_map(|chapter| chapter.title.clone()).collect();
    assert_eq!(titles, ["One", "Two"]);
    assert!(facts.tags.contains(&("title".to_owned(), "A film".to_owned())), "{:?}", facts.tags);
    assert_eq!((number(&done, "subtitle_tracks"), number(&done, "chapters")), (1.0, 2.0));
    let out =
        Command::new("ffmpeg").args(["-v", "error", "-i"]).arg(&path).args(["-map", "0:s", "-f", "srt", "-"]).output();
    let srt = String::from_utf8(out.unwrap().stdout).unwrap();
    assert!(srt.contains("00:00:00,500 --> 00:00:01,500\n") && srt.contains("Hi") && srt.contains("you"), "{srt}");
}

#[test]
fn a_long_video_goes_on_at_its_last_piece_and_is_the_same_in_the_end() {
    let Some(workshop) = workshop() else { return };
    let file = workshop.make(&format!(
        "-f lavfi -i testsrc2=size=64x48:rate=10 {SINE} -t 330 -g 100 {X264} -c:a aac -ar 8000 long.mp4"
    ));
    let stage = by("aggressive");
    let (whole, path) = workshop.compress(&file, &stage, 1).unwrap();
    assert_eq!(number(&whole, "frames"), 3_300.0);
    assert_eq!(whole.work, fs::metadata(&file).unwrap().len() as f64);
    let bytes = fs::read(&path).unwrap();

    // As a kill leaves it: the last pieces unfinished, one of them rotten.
    fs::write(workshop.piece("pictures-00003"), b"half a piece").unwrap();
    fs::remove_file(workshop.piece("pictures-00005")).unwrap();
    let (rest, path) = workshop.compress(&file, &stage, 2).unwrap();
    assert_eq!(number(&rest, "frames"), 3_300.0);
    assert!((rest.work / whole.work - 90.0 / 330.0).abs() < 0.01, "{} of {}", rest.work, whole.work);
    assert!(fs::read(&path).unwrap() == bytes, "what was done in two runs is not what is done in one");

    let out =
        Command::new("ffmpeg").args(["-v", "warning", "-i"]).arg(&path).args(["-f", "null", "-"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&out.stderr), "");
}

#[test]
fn what_can_t_be_made_smaller_is_told() {
    let Some(workshop) = workshop() else { return };
    let sound = workshop.make(&format!("{SINE} -t 1 sound.wav"));
    let Err(Halt::Failed(failure)) = workshop.compress(&sound, &by("balanced"), 1) else { panic!("it was made") };
    assert_eq!(failure.kind, FailureKind::Input);
    assert!(failure.message.contains("no video; the file has 1 audio track only"), "{failure}");

    let tiny = workshop.make(
        "-f lavfi -i color=size=64x48:rate=5 -t 1 -c:v libx264 -crf 40 -bsf:v filter_units=remove_types=6 tiny.mp4",
    );
    let stage = Compress { keep_only_if_smaller: true, ..by("conservative") };
    let (done, _) = workshop.compress(&tiny, &stage, 1).unwrap();
    assert_eq!(done.files, []);
    assert!(done.detail.figures.contains(&("published".to_owned(), Figure::Flag(false))));
    assert!(done.detail.notes.iter().any(|note| note.contains("nothing was written")), "{:?}", done.detail.notes);
}

#[test]
fn without_hardware_x264_takes_over_and_says_so() {
    let [_, balanced, _] = Profile::built_in();
    assert_eq!(coder(VideoEncoder::Software, &balanced).1, None);
    let (coder, note) = coder(VideoEncoder::Auto, &balanced);
    assert!(note.is_some_and(|note| note.contains(&coder.encoder)));
}
