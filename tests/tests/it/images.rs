//! Pictures by the real programs: operations end to end, what is refused and when, archives and sheets.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use spindle_tests::harness::Daemon;

/// A picture of the test's own, as PNM: red above, blue below, a grey ramp across.
fn picture(folder: &Path, name: &str, (width, height): (usize, usize)) -> PathBuf {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut bytes = format!("P6 {width} {height} 255\n").into_bytes();
    for y in 0..height {
        for x in 0..width {
            let ramp = (x * 200 / width) as u8;
            bytes.extend(if y < height / 2 { [255, ramp, ramp] } else { [ramp, ramp, 255] });
        }
    }
    fs::write(&path, bytes).unwrap();
    path
}

/// Size and pixels (RGB), by the ffmpeg program.
fn pixels(path: &Path) -> ((usize, usize), Vec<u8>) {
    let probe = Command::new("ffprobe")
        .args(["-v", "error", "-of", "csv=p=0", "-show_entries", "stream=width,height"])
        .arg(path)
        .output()
        .unwrap();
    let told = String::from_utf8(probe.stdout).unwrap();
    let (width, height) = told.trim().split_once(',').unwrap_or_else(|| panic!("{path:?}: {told}"));
    let output = Command::new("ffmpeg")
        .args(["-v", "error", "-i"])
        .arg(path)
        .args(["-f", "rawvideo", "-pix_fmt", "rgb24", "-"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    ((width.parse().unwrap(), height.trim_matches(',').parse().unwrap()), output.stdout)
}

#[test]
fn a_contained_picture_stands_on_white_from_row_200_on() {
    let daemon = Daemon::real().start();
    picture(&daemon.media(), "wide.ppm", (1_000, 500));
    daemon.say("submit images --op resize=800x800,contain --op convert=png --wait wide.ppm").expect(0);
    let ((width, height), rgb) = pixels(&daemon.media().join("wide.processed.png"));
    assert_eq!((width, height), (800, 800));
    let at = |x: usize, y: usize| &rgb[(y * 800 + x) * 3..][..3];
    assert_eq!((at(400, 199), at(400, 600)), (&[255; 3][..], &[255; 3][..]));
    assert!(at(400, 200)[1] < 150 && at(400, 599)[0] < 150, "{:?} {:?}", at(400, 200), at(400, 599));
    let job = daemon.json("status 1/1");
    let detail = &job["detail"];
    assert_eq!((&detail["original_resolution"], &detail["resolution"]), (&"1000x500".into(), &"800x800".into()));
    assert!(detail["quality"].as_f64().is_some_and(|score| (0.0..=100.0).contains(&score)), "{detail}");
    for part in ["sharpness", "exposure", "contrast", "noise", "resolution"] {
        assert!(detail[format!("quality_{part}")].is_number(), "{part}: {detail}");
    }
}

#[test]
fn operations_follow_each_other_and_a_list_gives_an_image_its_own() {
    let daemon = Daemon::real().start();
    picture(&daemon.media(), "square.ppm", (1_000, 1_000));
    picture(&daemon.media(), "small.ppm", (100, 100));
    let list = "input,op\nsquare.ppm,\"crop=16:9,convert=jpeg\"\nsmall.ppm,\n";
    fs::write(daemon.media().join("list.csv"), list).unwrap();
    daemon.say("submit images --op smart;orient=90;convert=webp --from list.csv -o out --wait").expect(0);
    assert_eq!(pixels(&daemon.media().join("out/square.processed.jpg")).0, (1_000, 562));
    assert_eq!(pixels(&daemon.media().join("out/small.processed.webp")).0, (100, 100));
}

#[test]
fn what_is_out_of_range_is_refused_before_the_batch_exists() {
    let daemon = Daemon::real().start();
    picture(&daemon.media(), "a.ppm", (8, 8));
    for (operation, told) in [
        ("resize=0x100", "a width of 0 is outside 1–4096"),
        ("resize=100x4097", "a height of 4097 is outside 1–4096"),
        ("crop=5:7", "`5:7` is none of 1:1"),
        ("convert=gif", "`gif` is none of jpeg"),
        ("polish", "there is no operation `polish`"),
    ] {
        daemon.ctl(["submit", "images", "--op", operation, "a.ppm"]).expect(2).says(&[told]);
    }
    assert_eq!(daemon.json("list"), Value::Array(vec![]));
}

#[test]
fn a_bad_file_fails_alone_with_its_reason_and_what_to_do() {
    let daemon = Daemon::real().start();
    picture(&daemon.media(), "good.ppm", (64, 64));
    let bomb = b"P6 60000 60000 255\n";
    let png = [
        &b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\xea\x60\0\0\xea\x60\x08\x02\0\0\0\x0f\xb0\xe2\x15"[..],
        b"\0\0\0\0IDAT\x35\xaf\x06\x1e",
    ]
    .concat();
    let files: [(&str, &[u8]); 5] = [
        ("bomb.png", bomb),
        ("cut.jpg", b"\xff\xd8\xff\xe0\0\x10JFIF"),
        ("film.png", b"\0\0\0\x18ftypisom\0\0\0\0isom"),
        ("large.png", &png),
        ("page.jpg", b"%PDF-1.7"),
    ];
    for (name, bytes) in files {
        fs::write(daemon.media().join(name), bytes).unwrap();
    }
    daemon.say("submit images -r . --op smart --op convert=png -o out --wait").expect(3);
    let jobs = daemon.json("jobs 1");
    for job in jobs.as_array().unwrap() {
        let input = job["input"].as_str().unwrap();
        if input.ends_with("good.ppm") {
            assert_eq!(job["state"], "completed");
            continue;
        }
        let failure = &job["failure"];
        assert_eq!(
            (&job["state"], &failure["kind"], &failure["attempts"]),
            (&"failed".into(), &"input".into(), &1.into())
        );
        assert!(!failure["advice"].as_str().unwrap().is_empty(), "{failure}");
        let told = failure["message"].as_str().unwrap();
        let part = match Path::new(input).file_name().unwrap().to_str().unwrap() {
            "bomb.png" | "large.png" => "megapixels are the most",
            "cut.jpg" => "damaged or cut off",
            "film.png" => "not a picture",
            _ => "PDF",
        };
        assert!(told.contains(part), "{input}: {told}");
    }
    assert_eq!(daemon.files("media/out"), ["good.processed.png"]);
}

#[test]
fn what_was_made_the_same_way_is_skipped_and_another_way_is_done() {
    let daemon = Daemon::real().start();
    picture(&daemon.media(), "a.ppm", (64, 64));
    let submit =
        |operation: &str| format!("submit images --op {operation} --op convert=png --wait --skip-existing a.ppm");
    daemon.say(&submit("smart=32")).expect(0);
    daemon.say(&submit("smart=32")).expect(0);
    assert_eq!(daemon.json("status 2")["skipped"], 1);
    daemon.say(&submit("smart=16")).expect(0);
    assert_eq!(daemon.json("status 3")["completed"], 1);
    assert_eq!(pixels(&daemon.media().join("a.processed.png")).0, (16, 16));
    let plan = daemon.json("submit images --op smart=16 --op convert=png --dry-run --skip-existing a.ppm");
    assert_eq!(plan["skipped"], 1, "{plan}");
}

/// Names, contents and manifest of an archive that the unzip program finds whole.
fn unpacked(zip: &Path, to: &Path) -> (BTreeSet<String>, Value) {
    let test = Command::new("unzip").args(["-tqq"]).arg(zip).output().unwrap();
    assert!(test.status.success(), "{}", String::from_utf8_lossy(&test.stdout));
    assert!(Command::new("unzip").args(["-qq", "-d"]).arg(to).arg(zip).status().unwrap().success());
    let list = Command::new("unzip").args(["-Z1"]).arg(zip).output().unwrap();
    let names = String::from_utf8(list.stdout).unwrap().lines().map(str::to_owned).collect();
    (names, serde_json::from_slice(&fs::read(to.join("manifest.json")).unwrap()).unwrap())
}

/// Every file that the manifest names has the hash that it says, and no other is there.
fn is_true(names: &BTreeSet<String>, manifest: &Value, folder: &Path) {
    let mut told: BTreeSet<String> = ["manifest.json".to_owned(), "failed.txt".to_owned()].into();
    let inputs = manifest["inputs"].as_array().unwrap().iter();
    let files = inputs.flat_map(|input| {
        input["processed"].as_array().unwrap().iter().chain(Some(&input["original"]).filter(|one| !one.is_null()))
    });
    for file in files.chain(manifest["together"].as_array().unwrap()) {
        let name = file["name"].as_str().unwrap();
        let sum = Command::new("sha256sum").arg(folder.join(name)).output().unwrap();
        let sum = String::from_utf8(sum.stdout).unwrap();
        assert_eq!(sum.split_whitespace().next(), file["sha256"].as_str(), "{name}");
        told.insert(name.to_owned());
    }
    assert_eq!(*names, told);
}

#[test]
fn an_export_has_equal_names_apart_and_says_what_failed() {
    let daemon = Daemon::real().start();
    let media = daemon.media();
    picture(&media, "one/photo.ppm", (32, 16));
    picture(&media, "two/photo.ppm", (16, 32));
    fs::write(media.join("two/broken.png"), b"\x89PNG\r\n\x1a\n").unwrap();
    daemon.say("submit images -r one two --op convert=png --zip --sheet --wait").expect(3);
    daemon.say("export 1 -o all.zip").expect(0).says(&["1 inputs failed"]);
    let names = |zip: &Path| {
        let folder = tempfile::tempdir().unwrap();
        let (names, manifest) = unpacked(zip, folder.path());
        is_true(&names, &manifest, folder.path());
        assert!(fs::read_to_string(folder.path().join("failed.txt")).unwrap().contains("broken.png"));
        let failed = manifest["inputs"].as_array().unwrap().iter().find(|input| !input["failure"].is_null()).unwrap();
        assert_eq!((&failed["failure"]["kind"], &failed["original"]), (&"input".into(), &Value::Null));
        assert_eq!((&manifest["total"], &manifest["failed"]), (&3.into(), &1.into()));
        names
    };
    let four = [
        "originals/photo-2.ppm",
        "originals/photo.ppm",
        "processed/photo.processed-2.png",
        "processed/photo.processed.png",
    ];
    let all = names(&media.join("all.zip"));
    assert!(four.iter().all(|name| all.contains(*name)) && all.len() == 7, "{all:?}");
    assert!(all.contains("together/images-1.contact.jpg"), "{all:?}");
    // The batch's own archive has the same, and lies with its sheet beside the first input.
    let own = names(&media.join("one/images-1.zip"));
    assert!(four.iter().all(|name| own.contains(*name)) && own.len() == 6, "{own:?}");
    assert_eq!(pixels(&media.join("one/images-1.contact.jpg")).0, (2 * 166 + 6, 166 + 6));

    daemon.say("export 1 -o all.zip").expect(2).says(&["is there already"]);
    fs::remove_file(media.join("one/photo.processed.png")).unwrap();
    daemon.say("export 1 -o all.zip --force").expect(3).says(&["1 files are gone"]);
    daemon.say("export 1/1 -o x.zip").expect(2);
    daemon.say("export 9 -o x.zip").expect(7);
}

#[test]
fn every_orientation_comes_out_upright_once() {
    let Some(assets) = std::env::var_os("SPINDLE_TEST_ASSETS").map(PathBuf::from) else {
        eprintln!("SKIPPED: SPINDLE_TEST_ASSETS names no folder with real pictures");
        return;
    };
    let daemon = Daemon::real().start();
    let folder = assets.join("image/exif_orientation");
    daemon
        .ctl(
            ["submit", "images", "--op", "smart=400", "--op", "convert=png", "--wait", "-r", "-o", "out"]
                .map(Into::into)
                .into_iter()
                .chain([folder.into_os_string()]),
        )
        .expect(0);
    let mut seen = 0;
    for name in daemon.files("media/out") {
        let (size, rgb) = pixels(&daemon.media().join("out").join(&name));
        let upright = if name.starts_with("Landscape") { (400, 267) } else { (267, 400) };
        assert!(size.0.abs_diff(upright.0) <= 1 && size.1.abs_diff(upright.1) <= 1, "{name}: {size:?}");
        // The sky of these scenes is brighter than their ground.
        let rows = |from: usize, to: usize| {
            let part = &rgb[from * size.0 * 3..to * size.0 * 3];
            part.iter().map(|value| u64::from(*value)).sum::<u64>() / part.len() as u64
        };
        assert!(rows(0, size.1 / 4) > rows(size.1 * 3 / 4, size.1), "{name}");
        seen += 1;
    }
    assert!(seen >= 7);
}
