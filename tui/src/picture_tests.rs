//! Pictures as terminals get them: what is written is decoded again as the makers of each protocol describe it, and must be the picture.

use image::RgbImage;
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::layout::Rect;
use ratatui::{TerminalOptions, Viewport};
use ratatui_image::picker::ProtocolType;
use ratatui_image::{FontSize, Image};

use super::*;

/// Cells of 8×16 dots.
const FONT: (u16, u16) = (8, 16);
/// Of the picture, in dots: ten cells by four.
const DOTS: (u32, u32) = (80, 64);

/// What a terminal is told for a picture that is red above and blue below.
fn told(protocol: ProtocolType) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("two.png");
    let colour = |_, y| image::Rgb(if y < DOTS.1 / 2 { [255, 0, 0] } else { [0, 0, 255] });
    RgbImage::from_fn(DOTS.0, DOTS.1, colour).save(&path).unwrap();
    #[expect(deprecated, reason = "the way that isn't asks the terminal")]
    let mut picker = Picker::from_fontsize(FontSize::new(FONT.0, FONT.1));
    picker.set_protocol_type(protocol);
    let picture = picture(&picker, &PictureKey { path: path.as_path().into(), width: 10, height: 4 }).unwrap();
    let area = Rect::new(0, 0, 20, 6);
    let options = TerminalOptions { viewport: Viewport::Fixed(area) };
    let mut written = Vec::new();
    let mut terminal = Terminal::with_options(CrosstermBackend::new(&mut written), options).unwrap();
    terminal.draw(|frame| frame.render_widget(Image::new(&picture.0), Rect::new(1, 1, 10, 4))).unwrap();
    drop(terminal);
    String::from_utf8(written).unwrap()
}

/// Every part between these two.
fn between<'t>(text: &'t str, begin: &'t str, end: &'t str) -> Vec<&'t str> {
    text.split(begin).skip(1).map(|rest| rest.split_once(end).expect("what begins has an end").0).collect()
}

/// Red above, blue below; the quantising of a sixel may be off by a little.
fn check(picture: &RgbImage) {
    assert_eq!(picture.dimensions(), DOTS);
    for (x, y, pixel) in picture.enumerate_pixels() {
        let wanted = if y < DOTS.1 / 2 { [255, 0, 0] } else { [0, 0, 255] };
        let off = pixel.0.iter().zip(wanted).map(|(one, other): (&u8, u8)| one.abs_diff(other)).max();
        assert!(off < Some(12), "{x},{y}: {pixel:?}");
    }
}

#[test]
fn kitty_gets_the_picture_once_and_its_places() {
    let told = told(ProtocolType::Kitty);
    let parts = between(&told, "\u{1b}_G", "\u{1b}\\");
    let (mut bytes, mut more) = (Vec::new(), true);
    for (nth, part) in parts.iter().enumerate() {
        assert!(more, "nothing follows the last part");
        let (keys, data) = part.split_once(';').unwrap();
        let key = |name: &str| keys.split(',').find_map(|key| key.strip_prefix(name)?.strip_prefix('='));
        if nth == 0 {
            assert_eq!(
                (key("f"), key("a"), key("t"), key("U")),
                (Some("32"), Some("T"), Some("d"), Some("1")),
                "{keys}"
            );
            assert_eq!((key("s"), key("v")), (Some("80"), Some("64")));
        }
        assert_eq!(key("q"), Some("2"), "an answer would come as keys");
        assert!(data.len() <= 4_096);
        more = key("m") == Some("1");
        bytes.extend(BASE64_STANDARD.decode(data).unwrap());
    }
    assert!(!more, "the last part says so");
    let picture = image::RgbaImage::from_raw(DOTS.0, DOTS.1, bytes).expect("as many bytes as dots");
    check(&image::DynamicImage::from(picture).to_rgb8());
    assert_eq!(told.matches('\u{10eeee}').count(), 40, "a place for each cell");
}

#[test]
fn iterm2_gets_a_file_that_is_the_picture() {
    let told = told(ProtocolType::Iterm2);
    let [part] = between(&told, "\u{1b}]1337;File=", "\u{7}")[..] else { panic!("one picture, one file") };
    let (keys, data) = part.split_once(':').unwrap();
    let bytes = BASE64_STANDARD.decode(data).unwrap();
    for key in ["inline=1", &format!("size={}", bytes.len()), "width=80px", "height=64px"] {
        assert!(keys.split(';').any(|known| known == key), "{key} in {keys}");
    }
    check(&image::load_from_memory(&bytes).unwrap().to_rgb8());
}

#[test]
fn a_sixel_is_the_picture() {
    let told = told(ProtocolType::Sixel);
    let [part] = between(&told, "\u{1b}P", "\u{1b}\\")[..] else { panic!("one picture, one sixel") };
    check(&unsixel(part.split_once('q').unwrap().1));
}

/// Draws a sixel: six rows at a time, one colour after another.
fn unsixel(text: &str) -> RgbImage {
    let mut picture = RgbImage::new(DOTS.0, DOTS.1);
    let mut colours = std::collections::HashMap::new();
    let (mut colour, mut x, mut band, mut times) = (image::Rgb([0, 0, 0]), 0, 0, 1);
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        rest = &rest[1..];
        let digits = rest.find(|letter: char| !letter.is_ascii_digit() && letter != ';').unwrap_or(rest.len());
        let numbers: Vec<u32> = rest[..digits].split(';').filter_map(|number| number.parse().ok()).collect();
        match letter {
            '"' => assert_eq!(numbers[2..4], [DOTS.0, DOTS.1], "how large it is stands first"),
            '#' => {
                if let [number, 2, red, green, blue] = numbers[..] {
                    colours.insert(number, image::Rgb([red, green, blue].map(|share| (share * 255 / 100) as u8)));
                }
                colour = colours[&numbers[0]];
            }
            '!' => times = numbers[0],
            '$' => x = 0,
            '-' => (x, band) = (0, band + 1),
            '?'..='~' => {
                let dots = u32::from(letter) - u32::from('?');
                for at in x..x + times {
                    for row in (0..6).filter(|row| dots >> row & 1 == 1) {
                        if at < DOTS.0 && band * 6 + row < DOTS.1 {
                            picture.put_pixel(at, band * 6 + row, colour);
                        }
                    }
                }
                (x, times) = (x + times, 1);
            }
            _ => {}
        }
        if matches!(letter, '"' | '#' | '!') {
            rest = &rest[digits..];
        }
    }
    picture
}
