//! What is seen in pictures, by the real programs: texts read and taken away, objects cut out with and without a model, styles, watermarks.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use spindle_tests::harness::Daemon;
use spindle_tests::onnx;

type Colour = [u8; 3];

/// A picture of the test's own, as PNM.
fn picture(daemon: &Daemon, name: &str, side: usize, colour: impl Fn(usize, usize) -> Colour) -> PathBuf {
    let path = daemon.media().join(name);
    let mut bytes = format!("P6 {side} {side} 255\n").into_bytes();
    bytes.extend((0..side * side).flat_map(|at| colour(at % side, at / side)));
    fs::write(&path, bytes).unwrap();
    path
}

/// A red disc on something else.
fn disc(side: usize, ground: impl Fn(usize, usize) -> Colour) -> impl Fn(usize, usize) -> Colour {
    move |x, y| if inside(side, x, y) { [200, 30, 30] } else { ground(x, y) }
}

fn inside(side: usize, x: usize, y: usize) -> bool {
    let from_middle = |at: usize| (at as f64 + 0.5) / side as f64 - 0.5;
    from_middle(x).powi(2) + from_middle(y).powi(2) < 0.09
}

/// Red, green, blue and alpha, by the ffmpeg program.
fn pixels(path: &Path) -> Vec<[u8; 4]> {
    let output = Command::new("ffmpeg")
        .args(["-v", "error", "-i"])
        .arg(path)
        .args(["-f", "rawvideo", "-pix_fmt", "rgba", "-"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout.chunks(4).map(|pixel| [pixel[0], pixel[1], pixel[2], pixel[3]]).collect()
}

/// Black letters, five dots wide and seven high, each dot a square of pixels.
fn lettered(side: usize, text: &str, ground: impl Fn(usize, usize) -> Colour) -> impl Fn(usize, usize) -> Colour {
    const LETTERS: [(char, [u8; 7]); 9] = [
        ('H', [17, 17, 17, 31, 17, 17, 17]),
        ('E', [31, 16, 16, 30, 16, 16, 31]),
        ('L', [16, 16, 16, 16, 16, 16, 31]),
        ('O', [14, 17, 17, 17, 17, 17, 14]),
        ('T', [31, 4, 4, 4, 4, 4, 4]),
        ('A', [14, 17, 17, 31, 17, 17, 17]),
        ('P', [30, 17, 17, 30, 16, 16, 16]),
        ('I', [14, 4, 4, 4, 4, 4, 14]),
        ('N', [17, 25, 21, 19, 17, 17, 17]),
    ];
    let rows: Vec<[u8; 7]> = text
        .chars()
        .map(|letter| LETTERS.iter().find(|(known, _)| *known == letter).map_or([0; 7], |(_, rows)| *rows))
        .collect();
    let dot = side / 100;
    move |x, y| {
        let (column, row) = ((x / dot).wrapping_sub(12), (y / dot).wrapping_sub(45));
        let lit = row < 7
            && rows.get(column / 6).is_some_and(|rows| column % 6 < 5 && rows[row] >> (4 - column % 6) & 1 == 1);
        if lit { [0, 0, 0] } else { ground(x, y) }
    }
}

#[test]
fn an_object_before_a_plain_background_needs_no_model_and_the_result_says_so() {
    let daemon = Daemon::real().start();
    picture(&daemon, "plain.ppm", 200, disc(200, |_, _| [235, 235, 240]));
    daemon.say("submit images --op background=remove --wait plain.ppm").expect(0);
    let cut = pixels(&daemon.media().join("plain.processed.png"));
    let alike =
        cut.iter().enumerate().filter(|(at, pixel)| (pixel[3] > 127) == inside(200, at % 200, at / 200)).count();
    assert!(alike as f64 > 0.99 * 40_000.0, "{alike}");
    let detail = &daemon.json("status 1/1")["detail"];
    assert_eq!(detail["mask_by"], "plain background, without a model");
    assert!((detail["mask_share"].as_f64().unwrap() - 0.283).abs() < 0.01, "{detail}");

    // Where it isn't plain nothing is made up.
    picture(
        &daemon,
        "busy.ppm",
        200,
        disc(200, |x, y| [(x * 83 % 256) as u8, (y * 131 % 256) as u8, (x * y % 256) as u8]),
    );
    daemon.say("submit images --op background=remove --wait busy.ppm").expect(4);
    let failure = &daemon.json("status 2/1")["failure"];
    assert_eq!(failure["kind"], "input");
    assert!(failure["message"].as_str().unwrap().contains("is not plain"), "{failure}");
    assert!(failure["advice"].as_str().unwrap().contains("models pull u2netp"), "{failure}");
}

#[test]
fn a_model_of_ones_own_makes_exactly_the_mask_that_its_description_says() {
    let daemon = Daemon::real().start();
    let model = daemon.media().join("redness.onnx");
    fs::write(&model, onnx::redness(64, [1.0, 0.0, 0.0])).unwrap();
    // Any ground: the model looks at red alone, and 128 is where its border is.
    let colour = |x: usize, y: usize| [(x * 4) as u8, (y * 4) as u8, ((x + y) % 256) as u8];
    picture(&daemon, "a.ppm", 64, colour);
    daemon.say("submit images --op background=remove,model=redness.onnx a.ppm").expect(9).says(&["no", "redness.toml"]);
    fs::write(
        model.with_extension("toml"),
        "purpose = \"segmentation\"\n[input]\nwidth = 64\nheight = 64\n[output]\nname = \"mask\"\nthreshold = 0.5\nrefine = false\n",
    )
    .unwrap();
    daemon.say("submit images --op background=remove,model=redness.onnx --wait a.ppm").expect(0);
    for (at, pixel) in pixels(&daemon.media().join("a.processed.png")).into_iter().enumerate() {
        let [red, green, blue] = colour(at % 64, at / 64);
        let alpha = if red >= 128 { 255 } else { 0 };
        assert_eq!(pixel, [red, green, blue, alpha], "{},{}", at % 64, at / 64);
    }
    let id = daemon.json("list")[0]["batch_id"].clone();
    assert!(
        daemon.json(&format!("status {id}/1"))["detail"]["mask_by"].as_str().unwrap().ends_with("redness.onnx on cpu")
    );

    // Many at once are the same as one by one, whoever went through the model with whom.
    let names: Vec<String> = (0..12).map(|number| format!("many{number}.ppm")).collect();
    for (number, name) in names.iter().enumerate() {
        picture(&daemon, name, 64, |x, y| [((x * 4 + number * 16) % 256) as u8, (y * 4) as u8, 7]);
    }
    let all = names.join(" ");
    daemon.say(&format!("submit images --op background=remove,model=redness.onnx -o together --wait {all}")).expect(0);
    daemon
        .say(&format!("submit images --op background=remove,model=redness.onnx -j 1 --force -o alone --wait {all}"))
        .expect(0);
    for number in 0..12 {
        let read = |folder: &str| pixels(&daemon.media().join(folder).join(format!("many{number}.processed.png")));
        let together = read("together");
        assert_eq!(together, read("alone"));
        let expected = |at: usize| if (at % 64 * 4 + number * 16) % 256 >= 128 { 255 } else { 0 };
        assert!(together.iter().enumerate().all(|(at, pixel)| pixel[3] == expected(at)), "{number}");
    }

    fs::write(daemon.media().join("broken.onnx"), "no model at all").unwrap();
    fs::copy(model.with_extension("toml"), daemon.media().join("broken.toml")).unwrap();
    daemon.say("submit images --op background=remove,model=broken.onnx -o c --wait a.ppm").expect(4);
    let id = daemon.json("list")[0]["batch_id"].clone();
    assert_eq!(daemon.json(&format!("status {id}/1"))["failure"]["kind"], "model_missing");
}

#[test]
fn a_model_of_ones_own_enlarges() {
    let daemon = Daemon::real().start();
    let model = daemon.media().join("doubling.onnx");
    fs::write(&model, onnx::doubling(32)).unwrap();
    fs::write(
        model.with_extension("toml"),
        "purpose = \"upscaling\"\n[input]\nwidth = 32\nheight = 32\n[output]\nfactor = 2\n",
    )
    .unwrap();
    let colour = |x: usize, y: usize| [(x * 2) as u8, (y * 2) as u8, 90];
    picture(&daemon, "a.ppm", 100, colour);
    daemon.say("submit images --op upscale=2,model=doubling.onnx;convert=png --wait a.ppm").expect(0);
    for (at, pixel) in pixels(&daemon.media().join("a.processed.png")).into_iter().enumerate() {
        let [red, green, blue] = colour(at % 200 / 2, at / 200 / 2);
        assert_eq!(pixel, [red, green, blue, 255], "{},{}", at % 200, at / 200);
    }
}

#[test]
fn a_style_names_its_output_and_has_its_size_and_an_unknown_one_is_refused() {
    let daemon = Daemon::real().start();
    picture(&daemon, "cup.ppm", 120, disc(120, |_, _| [90, 160, 90]));
    daemon.say("submit images --style amazon_standard --wait cup.ppm").expect(0);
    let shown = pixels(&daemon.media().join("cup.amazon_standard.png"));
    assert_eq!(shown.len(), 2_000 * 2_000);
    assert_eq!(shown[0], [255; 4]);
    assert_eq!(shown[1_000 * 2_000 + 1_000], [200, 30, 30, 255]);
    daemon.say("submit images --style rococo cup.ppm").expect(2).says(&["rococo", "minimal_white"]);
    daemon.say("submit images --op background=remove,model=nowhere cup.ppm").expect(9).says(&["nowhere"]);
    daemon.say("submit images --op background=remove,model=base cup.ppm").expect(2).says(&["not one of pictures"]);
    daemon.say("submit images --op watermark=nothing.png cup.ppm").expect(2).says(&["no picture"]);
}

#[test]
fn a_watermark_is_laid_over_and_nothing_else_changes() {
    let daemon = Daemon::real().start();
    picture(&daemon, "sign.ppm", 10, |_, _| [255, 255, 255]);
    picture(&daemon, "a.ppm", 100, |x, y| [x as u8, y as u8, 0]);
    daemon.say("submit images --op watermark=sign.ppm,top-left,size=10,opacity=100;convert=png --wait a.ppm").expect(0);
    for (at, pixel) in pixels(&daemon.media().join("a.processed.png")).into_iter().enumerate() {
        let (x, y) = (at % 100, at / 100);
        let covered = (3..13).contains(&x) && (3..13).contains(&y);
        let expected = if covered { [255; 4] } else { [x as u8, y as u8, 0, 255] };
        assert_eq!(pixel, expected, "{x},{y}");
    }
}

#[test]
fn text_is_read_in_three_forms_and_taken_away_without_a_trace_elsewhere() {
    let daemon = Daemon::real().start();
    let ground = |x: usize, y: usize| [(150 + x / 8) as u8, (150 + y / 8) as u8, 200];
    let page = picture(&daemon, "page.ppm", 600, lettered(600, "HELLO TELL", ground));
    daemon.say("submit images --op text=read,txt,hocr,json,languages=eng --wait page.ppm").expect(0);
    let read = |name: &str| fs::read_to_string(daemon.media().join(name)).unwrap();
    assert_eq!(read("page.text.txt").trim(), "HELLO TELL");
    assert!(read("page.text.hocr").contains("class=\"ocrx_word\""));
    let json: serde_json::Value = serde_json::from_str(&read("page.text.json")).unwrap();
    assert_eq!(json["lines"][0]["words"][0]["text"], "HELLO");
    assert!(!daemon.media().join("page.processed.png").exists(), "only the text was asked for");
    let detail = &daemon.json("status 1/1")["detail"];
    assert_eq!(detail["text_words"], 2.0, "{detail}");
    let frames: Vec<Vec<usize>> =
        (0..2).map(|word| serde_json::from_value(json["lines"][0]["words"][word]["box"].clone()).unwrap()).collect();

    daemon.say("submit images --op text=remove,languages=eng;convert=png --wait page.ppm").expect(0);
    assert_eq!(daemon.json("status 2/1")["detail"]["text_removed"], 2.0);
    let before = lettered(600, "HELLO TELL", ground);
    let mut dark = 0;
    for (at, pixel) in pixels(&daemon.media().join("page.processed.png")).into_iter().enumerate() {
        let (x, y) = (at % 600, at / 600);
        // The boxes of the other layout may be off by a little.
        let near = frames
            .iter()
            .any(|frame| x + 12 >= frame[0] && x < frame[2] + 12 && y + 12 >= frame[1] && y < frame[3] + 12);
        if !near {
            assert_eq!(pixel[..3], before(x, y), "{x},{y}");
        }
        dark += u32::from(pixel[0] < 100);
    }
    assert_eq!(dark, 0, "something is left of the letters");

    picture(&daemon, "empty.ppm", 600, ground);
    daemon.say("submit images --op text=remove,languages=eng;convert=png --wait empty.ppm").expect(0);
    let same = pixels(&daemon.media().join("empty.processed.png"));
    assert!(same.iter().enumerate().all(|(at, pixel)| pixel[..3] == ground(at % 600, at / 600)));
    assert_eq!(daemon.json("status 3/1")["detail"]["text_removed"], 0.0);

    daemon.say(&format!("submit images --op text=read,languages=tlh_none -o d --wait {}", page.display())).expect(4);
    let failure = &daemon.json("status 4/1")["failure"];
    assert_eq!(failure["kind"], "model_missing");
    assert!(failure["advice"].as_str().unwrap().contains("tesseract-ocr-tlh-none"), "{failure}");
    daemon.say("submit images --op text=read,languages=../x page.ppm").expect(2);
}
