//! The best pieces of many videos by the real programs: every picture carries its number, so that each cut can be told to the frame.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use spindle_tests::harness::{Daemon, wav};

/// Of a coded picture: four columns and four rows of black and white cells; the last is the first one's contrary.
const CELLS: usize = 4;
const BITS: usize = CELLS * CELLS - 1;

/// A video of the test's own: each picture shows its number (ten bits), the clip's (three), and a cut's parity (two) as black and white cells.
struct Clip {
    name: &'static str,
    number: usize,
    size: (usize, usize),
    rate: &'static str,
    frames: usize,
    sound: bool,
    /// Encoder and what it is to do.
    encoder: &'static [&'static str],
}

const X264: &[&str] = &["-c:v", "libx264", "-preset", "ultrafast", "-crf", "12"];

impl Clip {
    fn make(&self, folder: &Path) -> PathBuf {
        let path = folder.join(self.name);
        let (width, height) = self.size;
        let mut command = Command::new("ffmpeg");
        command.args(["-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", "gray", "-s", &format!("{width}x{height}")]);
        command.args(["-r", self.rate, "-i", "-"]);
        if self.sound {
            let sound = folder.join(format!("{}.wav", self.name));
            fs::write(&sound, wav(self.frames as f64 / 24.0 + 1.0, 300.0)).unwrap();
            command.arg("-i").arg(&sound).args(["-c:a", "aac", "-shortest"]);
        }
        command.args(self.encoder).args(["-pix_fmt", "yuv420p"]).arg(&path);
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        let mut pipe = child.stdin.take().unwrap();
        for frame in 0..self.frames {
            pipe.write_all(&self.picture(frame)).unwrap();
        }
        drop(pipe);
        assert!(child.wait().unwrap().success());
        path
    }

    fn picture(&self, frame: usize) -> Vec<u8> {
        let (width, height) = self.size;
        let code = frame | self.number << 10;
        let bit = |cell: usize| if cell == BITS { code & 1 == 0 } else { code >> cell & 1 == 1 };
        let cell = |x: usize, y: usize| (y * CELLS / height) * CELLS + x * CELLS / width;
        (0..width * height).map(|at| if bit(cell(at % width, at / width)) { 220 } else { 35 }).collect()
    }
}

/// Clip and picture that each picture of a video shows, where the clips' pictures take this part of it.
fn shown(
    path: &Path,
    size: (usize, usize),
    inside: impl Fn(usize) -> (usize, usize, usize, usize),
) -> Vec<(usize, usize)> {
    let output = Command::new("ffmpeg")
        .args(["-v", "error", "-i"])
        .arg(path)
        .args(["-f", "rawvideo", "-pix_fmt", "gray", "-fps_mode", "passthrough", "-"])
        .output()
        .unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    let (width, height) = size;
    let code = |picture: &[u8], (left, top, wide, high): (usize, usize, usize, usize)| {
        let light = |cell: usize| {
            let (x, y) =
                (left + (2 * (cell % CELLS) + 1) * wide / CELLS / 2, top + (2 * (cell / CELLS) + 1) * high / CELLS / 2);
            picture[y * width + x] > 127
        };
        let code: usize = (0..BITS).map(|cell| usize::from(light(cell)) << cell).sum();
        (light(BITS) != light(0)).then_some((code >> 10 & 7, code & 1023))
    };
    let pictures = output.stdout.chunks_exact(width * height);
    // The clip isn't known before it is read: it is the one whose own place gives a code with its number in it.
    pictures
        .map(|picture| {
            let found = (1..8).find_map(|clip| code(picture, inside(clip)).filter(|(read, _)| *read == clip));
            found.unwrap_or((0, 0))
        })
        .collect()
}

fn probe(path: &Path, entries: &str) -> Value {
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-of", "json", "-show_entries", entries])
        .arg(path)
        .output()
        .unwrap();
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn number(value: &Value) -> f64 {
    value.as_f64().or_else(|| value.as_str()?.parse().ok()).unwrap_or_else(|| panic!("no number: {value}"))
}

/// How a clip goes: pictures per second, and where its first one is on a player's clock (sound may begin before it).
struct Pace {
    rate: f64,
    first_seconds: f64,
}

fn pace(clip: &Path) -> Pace {
    let told = probe(clip, "stream=codec_type,start_time,r_frame_rate:format=start_time");
    let video = told["streams"].as_array().unwrap().iter().find(|stream| stream["codec_type"] == "video").unwrap();
    let (num, den) = video["r_frame_rate"].as_str().unwrap().split_once('/').unwrap();
    let rate = num.parse::<f64>().unwrap() / den.parse::<f64>().unwrap();
    Pace { rate, first_seconds: number(&video["start_time"]) - number(&told["format"]["start_time"]) }
}

/// Every segment of the plan is there: from its very picture to its very last, one after the other, and nothing between. `paces`: of the
/// clips, in input order; `rate`: of the result.
fn check_cuts(result: &Value, shown: &[(usize, usize)], paces: &[Pace], rate: f64) {
    let planned = result["gather"]["clip_plan"]["segments"].as_array().unwrap();
    let cut = result["gather"]["final"]["segments"].as_array().unwrap();
    assert_eq!(planned.len(), cut.len());
    assert_eq!(number(&result["gather"]["final"]["frames"]) as usize, shown.len());
    let mut at = 0;
    for (piece, cut) in planned.iter().zip(cut) {
        let clip = number(&piece["video_index"]) as usize;
        let frames = number(&cut["frames"]) as usize;
        let Pace { rate: own, first_seconds } = paces[clip - 1];
        let place_of = |key: &str| ((number(&piece[key]) - first_seconds) * own).max(0.0);
        let (start, end) = (place_of("start_time"), place_of("end_time"));
        let segment = &shown[at..at + frames];
        assert!(segment.iter().all(|(read, _)| *read == clip), "{piece}: {segment:?}");
        let (first, last) = (segment[0].1 as f64, segment[frames - 1].1 as f64);
        assert!((first - start).abs() <= 1.0, "{piece} begins with picture {first} and not {start}");
        assert!((last + 1.0 - end).abs() <= (own / rate).max(1.0), "{piece} ends with picture {last} before {end}");
        for (place, (_, read)) in segment.iter().enumerate() {
            let expected = (first + place as f64 * own / rate).min(last);
            assert!((*read as f64 - expected).abs() <= 1.0, "{piece}: picture {read} at {place} and not {expected}");
        }
        at += frames;
    }
    let length = number(&result["gather"]["final"]["duration"]);
    let sum = number(&result["gather"]["clip_plan"]["total_duration"]);
    assert!((length - sum).abs() <= planned.len() as f64 / rate + 0.001, "{length} s and not {sum} s");
}

#[test]
fn five_different_clips_become_one_video_and_every_cut_is_where_it_was_planned() {
    let daemon = Daemon::real().start();
    let clips = [
        Clip { name: "wide.mp4", number: 1, size: (320, 180), rate: "30", frames: 240, sound: true, encoder: X264 },
        Clip {
            name: "four-three.mkv",
            number: 2,
            size: (240, 180),
            rate: "25",
            frames: 200,
            sound: true,
            encoder: X264,
        },
        Clip {
            name: "silent.mp4",
            number: 3,
            size: (180, 320),
            rate: "24000/1001",
            frames: 240,
            sound: false,
            encoder: X264,
        },
        Clip {
            name: "old.avi",
            number: 4,
            size: (160, 90),
            rate: "15",
            frames: 150,
            sound: false,
            encoder: &["-c:v", "mpeg4", "-q:v", "2"],
        },
    ];
    let paces: Vec<Pace> = clips.iter().map(|clip| pace(&clip.make(&daemon.media()))).collect();
    fs::write(daemon.media().join("broken.mp4"), b"not a video at all").unwrap();
    let line = "submit highlights --target-duration 15 --quality medium -o out --wait";
    let ran = daemon.say(&format!("{line} wide.mp4 four-three.mkv silent.mp4 old.avi broken.mp4")).expect(3);
    ran.says(&["partial", "4 of 5 completed", "1 failed"]);

    let video = daemon.media().join("out/highlights-1.mp4");
    let result = daemon.say("--json result 1").expect(3).json();
    let gather = &result["gather"];
    assert_eq!((&result["state"], &gather["state"]), (&"partial".into(), &"completed".into()));
    assert_eq!(gather["videos"].as_array().unwrap().len(), 4);
    for video in gather["videos"].as_array().unwrap() {
        assert!(!video["summary"].as_str().unwrap().is_empty() && !video["key_moments"].as_array().unwrap().is_empty());
    }
    assert_eq!(gather["videos"][2]["video"]["audio_codec"], Value::Null);
    assert_eq!((&gather["tokens_used"], &gather["tokens_saved_share"]), (&0.into(), &Value::Null));
    assert!((number(&gather["final"]["duration"]) - 15.0).abs() <= 1.5);
    assert!(number(&gather["plan_quality"]) > 0.5 && number(&gather["total_seconds"]) > 0.0);
    assert_eq!(gather["outputs"][0]["path"], video.to_str().unwrap());
    assert_eq!(gather["final"]["bytes"], gather["outputs"][0]["bytes"]);

    let told = probe(&video, "stream=codec_name,width,height,r_frame_rate,duration");
    let streams = told["streams"].as_array().unwrap();
    assert_eq!((&streams[0]["codec_name"], &streams[1]["codec_name"]), (&"h264".into(), &"aac".into()));
    let size = (number(&streams[0]["width"]) as usize, number(&streams[0]["height"]) as usize);
    let rate = number(&gather["final"]["frame_rate"]);
    assert!((number(&streams[0]["duration"]) - number(&streams[1]["duration"])).abs() < 0.1, "{told}");
    // Letterboxed and pillarboxed: each clip's pictures keep their shape.
    let inside = |clip: usize| {
        let (width, height) = clips.get(clip - 1).map_or((1, 1), |clip| clip.size);
        let scale = (size.0 as f64 / width as f64).min(size.1 as f64 / height as f64);
        let (wide, high) = ((width as f64 * scale) as usize, (height as f64 * scale) as usize);
        ((size.0 - wide) / 2, (size.1 - high) / 2, wide, high)
    };
    check_cuts(&result, &shown(&video, size, inside), &paces, rate);
    assert!(daemon.partial_files().is_empty());
    assert!(daemon.files("state").iter().all(|name| !name.contains(".piece")), "nothing temporary is left");
}

#[test]
fn alike_clips_are_copied_but_for_the_edges_and_not_a_picture_is_lost() {
    let daemon = Daemon::real().start();
    let encoder: &[&str] = &["-c:v", "libx264", "-preset", "medium", "-bf", "3", "-g", "50", "-crf", "12"];
    let clip =
        |name, number| Clip { name, number, size: (320, 180), rate: "25", frames: 400, sound: number == 1, encoder };
    let paces = [clip("one.mp4", 1), clip("two.mp4", 2)].map(|clip| pace(&clip.make(&daemon.media())));
    daemon.say("submit highlights --target-duration 24 --quality source -o out --wait one.mp4 two.mp4").expect(0);
    let result = daemon.json("result 1");
    let last = &result["gather"]["final"];
    let (frames, copied) = (number(&last["frames"]), number(&last["frames_copied"]));
    assert!(copied / frames >= 0.9, "{copied} of {frames}");
    let video = daemon.media().join("out/highlights-1.mp4");
    let shown = shown(&video, (320, 180), |_| (0, 0, 320, 180));
    check_cuts(&result, &shown, &paces, 25.0);

    daemon.say("submit highlights --target-duration 12 --quality source --fade --strategy summary -o out --wait one.mp4 two.mp4").expect(0);
    let result = daemon.json("result 2");
    let last = &result["gather"]["final"];
    let length = number(&probe(&daemon.media().join("out/highlights-2.mp4"), "format=duration")["format"]["duration"]);
    assert!((length - 12.0).abs() <= 1.2, "{length}");
    let copied = number(&last["frames_copied"]);
    assert!(copied > 0.0 && copied < number(&last["frames"]), "what fades is not copied: {last}");
}

#[test]
fn what_can_t_be_copied_is_encoded_anew_and_told_and_the_dry_run_tells_the_disk() {
    let daemon = Daemon::real().start();
    let encoder: &[&str] = &["-c:v", "libx264", "-preset", "ultrafast", "-crf", "12", "-g", "10"];
    let clip = |name, number, size| Clip { name, number, size, rate: "25", frames: 75, sound: false, encoder };
    let clips = [clip("one.mp4", 1, (320, 180)), clip("two.mp4", 2, (160, 90)), clip("three.mp4", 3, (320, 180))];
    let paces = clips.map(|clip| pace(&clip.make(&daemon.media())));
    let line = "submit highlights --target-duration 6 --quality source -o out one.mp4 two.mp4 three.mp4";
    let before = daemon.json(&format!("{line} --dry-run"));
    assert_eq!(before["estimated_bytes"], Value::Null, "nobody knows yet how long they are");
    daemon.say(&format!("{line} --wait")).expect(0);
    let result = daemon.json("result 1");
    let copied = number(&result["gather"]["final"]["frames_copied"]);
    assert!(copied > 0.0 && copied < number(&result["gather"]["final"]["frames"]), "{result}");
    let notes = result["gather"]["detail"]["notes"].to_string();
    assert!(
        notes.contains("encoded anew, as their videos are not like the others") && notes.contains("two.mp4"),
        "{notes}"
    );
    check_cuts(
        &result,
        &shown(&daemon.media().join("out/highlights-1.mp4"), (320, 180), |_| (0, 0, 320, 180)),
        &paces,
        25.0,
    );
    let after = daemon.json("submit highlights --quality low -o out one.mp4 two.mp4 --dry-run");
    // Six seconds of 596 kbit/s, and the sound as it is.
    let bytes = number(&after["estimated_bytes"]);
    assert!((1.3e6..1.9e6).contains(&bytes), "{after}");
}

#[test]
fn what_is_too_long_or_no_video_fails_alone_and_with_advice() {
    let daemon = Daemon::real().start();
    let clip =
        |name, number, frames| Clip { name, number, size: (160, 90), rate: "25", frames, sound: false, encoder: X264 };
    clip("short.mp4", 1, 75).make(&daemon.media());
    clip("long.mp4", 2, 150).make(&daemon.media());
    daemon.sound("sound.wav", 2.0);
    daemon.say("submit highlights --max-duration 4 -o out --wait short.mp4 long.mp4 sound.wav").expect(3);
    let long = daemon.json("status 1/2");
    assert_eq!(long["failure"]["kind"], "input");
    assert!(long["failure"]["message"].as_str().unwrap().contains("too long: 0:06, more than 0:04"), "{long}");
    assert!(long["failure"]["advice"].as_str().unwrap().contains("--max-duration"), "{long}");
    assert!(daemon.json("status 1/3")["failure"]["message"].as_str().unwrap().contains("no video"));
    assert_eq!(daemon.json("status 1/gather")["state"], "completed");
    daemon.say("submit highlights --rules nowhere.toml short.mp4").expect(2).says(&["--rules nowhere.toml"]);
}

#[test]
fn an_original_that_is_gone_when_its_pieces_are_cut_fails_the_gather_with_its_name() {
    let daemon = Daemon::real().start();
    let clip =
        |name, number| Clip { name, number, size: (160, 90), rate: "25", frames: 75, sound: false, encoder: X264 };
    let first = clip("first.mp4", 1).make(&daemon.media());
    clip("second.mp4", 2).make(&daemon.media());
    daemon.say("submit highlights --quality low -o out --wait first.mp4 second.mp4").expect(0);
    // Another quality needs no analysis again, but the original.
    let bytes = fs::read(&first).unwrap();
    daemon.say("pause").expect(0);
    daemon.say("submit highlights --quality medium -o out first.mp4 second.mp4").expect(0);
    fs::remove_file(&first).unwrap();
    daemon.say("resume").expect(0);
    daemon.say("wait 2").expect(4);
    let failure = daemon.json("status 2/gather")["failure"].clone();
    assert_eq!(failure["kind"], "input");
    let message = failure["message"].as_str().unwrap();
    assert!(message.contains("first.mp4") && message.contains("missing"), "{message}");
    assert!(failure["advice"].as_str().unwrap().contains("put the file back"), "{failure}");

    // Back again, touched and unchanged: it still is the one that was analysed.
    fs::write(&first, bytes).unwrap();
    daemon.say("retry 2").expect(0);
    daemon.say("wait 2").expect(4);
    let failure = daemon.json("status 2/gather")["failure"].clone();
    assert!(failure["message"].as_str().unwrap().contains("has changed since it was worked on"), "{failure}");
    daemon.say("submit highlights --quality medium -o out --wait first.mp4 second.mp4").expect(0);
}

#[test]
fn rules_may_ask_what_is_said_where_a_model_listens() {
    let daemon = Daemon::setup().parrot("base", "en", &[" bravo", " again"]).start();
    // One scene each, long enough for a piece.
    let sound = daemon.sound("sound.wav", 4.0);
    let clips = [("said.mp4", &["-i", sound.to_str().unwrap()][..]), ("mute.mp4", &[])].map(|(name, sound)| {
        let path = daemon.media().join(name);
        let mut command = Command::new("ffmpeg");
        command.args(["-v", "error", "-f", "lavfi", "-i", "smptebars=size=64x64:rate=12"]).args(sound);
        assert!(command.args(["-t", "4"]).args(X264).arg(&path).status().unwrap().success());
        path
    });
    let rules = daemon.media().join("rules.toml");
    fs::write(&rules, "[[clip]]\nname = 'joy'\ntext = ['bravo']").unwrap();
    let words = |more: &[&str]| {
        let mut words = vec!["submit", "highlights", "--quality=low", "--wait", "--rules", rules.to_str().unwrap()];
        words.extend(more);
        words.extend(clips.iter().map(|clip| clip.to_str().unwrap()));
        words.into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let refused = daemon.ctl(words(&[])).expect(2);
    assert!(refused.err.contains("`joy` asks what is said, and nobody listens"), "{}", refused.err);
    daemon.ctl(words(&["--model=base"])).expect(0);
    let result = daemon.json("result 1");
    let analyses = result["gather"]["videos"].as_array().unwrap();
    let said = |at: usize| {
        let scenes = analyses[at]["scenes"].as_array().unwrap();
        scenes.iter().any(|scene| scene["text"].as_str().unwrap().contains("bravo"))
    };
    assert!(said(0) && !said(1), "{result:#}");
    let segments = result["gather"]["clip_plan"]["segments"].as_array().unwrap();
    assert!(!segments.is_empty() && segments.iter().all(|segment| segment["video_index"] == 1), "{result:#}");
}
