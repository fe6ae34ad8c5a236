//! The stage over a generated video: a small copy, and a sheet whose pictures are where they belong.

use std::os::fd::OwnedFd;
use std::process::Command;
use std::sync::Arc;

use spindle_shared::id::RunId;
use spindle_shared::job::PathBytes;
use spindle_shared::stage::Stage;
use spindle_shared::worker::{Assignment, InputFile};

use super::*;

#[test]
fn a_sheet_shows_the_video_from_its_beginning_to_its_end() {
    if Command::new("ffmpeg").arg("-version").output().is_err() {
        eprintln!("skipped: there is no ffmpeg program to make the test's media with");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("colours.mp4");
    // Two seconds of each: red, green, blue, white.
    let colours = ["red", "lime", "blue", "white"].map(|c| format!("color={c}:size=320x180:rate=10:duration=2"));
    let graph =
        format!("{}[a];{}[b];{}[c];{}[d];[a][b][c][d]concat=n=4", colours[0], colours[1], colours[2], colours[3]);
    let made = Command::new("ffmpeg")
        .args([
            "-nostdin",
            "-v",
            "error",
            "-filter_complex",
            &graph,
            "-c:v",
            "libx264",
            "-g",
            "10",
            "-pix_fmt",
            "yuv420p",
        ])
        .arg(&file)
        .status()
        .unwrap();
    assert!(made.success());

    let scratch = folder.path().join("scratch");
    std::fs::create_dir(&scratch).unwrap();
    let stage = Preview { side: 160, fps: 5, columns: 2, rows: 2, sheet_width: 340 };
    let opened = File::open(&file).unwrap();
    let assignment = Assignment {
        inputs: vec![InputFile::new(PathBytes::from(file.as_path()), 1)],
        scratch: PathBytes::from(scratch.as_path()),
        ..Assignment::of(RunId { boot: 1, counter: 1 }, Stage::Preview(stage.clone()))
    };
    let context = Context::new(assignment, vec![OwnedFd::from(opened)], Arc::default(), Arc::new(|_| ()));
    let done = run(&context, &stage).unwrap();
    let names: Vec<_> = done.files.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(names, [PREVIEW_FILE, SHEET_FILE]);

    let copy = File::open(scratch.join(PREVIEW_FILE)).unwrap();
    let facts = crate::media::probe(&copy, PREVIEW_FILE, Arc::default()).unwrap();
    let video = facts.of(crate::media::StreamKind::Video).next().unwrap();
    assert_eq!((video.width, video.height), (160, 90));

    let sheet = image::open(scratch.join(SHEET_FILE)).unwrap().to_rgb8();
    assert_eq!(sheet.dimensions(), (2 * 160 + 3 * 6, 2 * 90 + 3 * 6));
    let wanted = [[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]];
    for (at, wanted) in (0..).zip(wanted) {
        let (column, row) = (at % 2, at / 2);
        let pixel = sheet.get_pixel(6 + column * 166 + 40, 6 + row * 96 + 40);
        let near = pixel.0.iter().zip(wanted).all(|(is, wanted)| is.abs_diff(wanted) < 40);
        assert!(near, "picture {at} is {pixel:?}");
        // Its time stands in the lower right corner.
        let corner = (6 + column * 166 + 160 - 17, 6 + row * 96 + 90 - 7);
        let lit = (0..17 * 7)
            .filter(|dot| sheet.get_pixel(corner.0 + dot % 17, corner.1 + dot / 17).0.iter().all(|v| *v > 150));
        assert!(lit.count() > 10, "picture {at} has no time");
    }
}
