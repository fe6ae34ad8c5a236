//! Image: one picture through a list of operations, each on the last one's output, in one run: decoded once, encoded once.

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::id::{AddressHasher, ContentHash};
use crate::job::PathBytes;
use crate::limits::{OPERATIONS_MAX, PICTURE_SIDE_MAX};
use crate::style::Style;

/// What a picture is written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PictureFormat {
    Jpeg,
    Png,
    Webp,
    Avif,
    Tiff,
}

impl PictureFormat {
    pub const ALL: [PictureFormat; 5] =
        [PictureFormat::Jpeg, PictureFormat::Png, PictureFormat::Webp, PictureFormat::Avif, PictureFormat::Tiff];

    pub fn name(self) -> &'static str {
        match self {
            PictureFormat::Jpeg => "jpeg",
            PictureFormat::Png => "png",
            PictureFormat::Webp => "webp",
            PictureFormat::Avif => "avif",
            PictureFormat::Tiff => "tiff",
        }
    }

    /// What its files' names end with.
    pub fn extension(self) -> &'static str {
        match self {
            PictureFormat::Jpeg => "jpg",
            other => other.name(),
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        let name = match name.to_lowercase().as_str() {
            "jpg" => "jpeg".to_owned(),
            "tif" => "tiff".to_owned(),
            other => other.to_owned(),
        };
        PictureFormat::ALL.into_iter().find(|format| format.name() == name)
    }

    /// Whether it takes a quality.
    pub fn is_lossy(self) -> bool {
        matches!(self, PictureFormat::Jpeg | PictureFormat::Webp | PictureFormat::Avif)
    }
}

/// Red, green, blue, and how little shines through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Colour(pub [u8; 4]);

impl Colour {
    pub const WHITE: Colour = Colour([255, 255, 255, 255]);

    fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no colour: white, black, transparent, or #rrggbb, #rrggbbaa");
        match text {
            "white" => return Ok(Colour::WHITE),
            "black" => return Ok(Colour([0, 0, 0, 255])),
            "transparent" => return Ok(Colour([255, 255, 255, 0])),
            _ => {}
        }
        let digits = text.strip_prefix('#').filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
        let digits = digits.filter(|digits| matches!(digits.len(), 6 | 8)).ok_or_else(wrong)?;
        let mut parts = [255; 4];
        for (at, part) in parts.iter_mut().enumerate().take(digits.len() / 2) {
            *part = u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).map_err(|_| wrong())?;
        }
        Ok(Colour(parts))
    }
}

impl fmt::Display for Colour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [r, g, b, a] = self.0;
        write!(f, "#{r:02x}{g:02x}{b:02x}")?;
        if a == 255 { Ok(()) } else { write!(f, "{a:02x}") }
    }
}

/// How a picture is made to fit a box.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fit {
    /// All of it, in the middle, and colour around it.
    Contain,
    /// The box full of it; what stands over is cut off evenly.
    Cover,
    /// The box exactly, whatever becomes of the proportions; as style sheets call it.
    Fill,
    /// The same, as everybody else calls it.
    Stretch,
}

impl Fit {
    const ALL: [Fit; 4] = [Fit::Contain, Fit::Cover, Fit::Fill, Fit::Stretch];

    pub fn name(self) -> &'static str {
        match self {
            Fit::Contain => "contain",
            Fit::Cover => "cover",
            Fit::Fill => "fill",
            Fit::Stretch => "stretch",
        }
    }
}

/// Which part of a picture a crop keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Anchor {
    Centre,
    Top,
    Bottom,
    Left,
    Right,
}

impl Anchor {
    const ALL: [Anchor; 5] = [Anchor::Centre, Anchor::Top, Anchor::Bottom, Anchor::Left, Anchor::Right];

    pub fn name(self) -> &'static str {
        match self {
            Anchor::Centre => "centre",
            Anchor::Top => "top",
            Anchor::Bottom => "bottom",
            Anchor::Left => "left",
            Anchor::Right => "right",
        }
    }
}

/// How a picture is turned, beyond the way its file says it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Turn {
    /// As the file says; that is done without being asked for, too, and once.
    Upright,
    Right,
    Around,
    Left,
    /// Left and right change places.
    Mirror,
    /// Top and bottom change places.
    Flip,
}

impl Turn {
    const ALL: [Turn; 6] = [Turn::Upright, Turn::Right, Turn::Around, Turn::Left, Turn::Mirror, Turn::Flip];

    pub fn name(self) -> &'static str {
        match self {
            Turn::Upright => "auto",
            Turn::Right => "90",
            Turn::Around => "180",
            Turn::Left => "270",
            Turn::Mirror => "mirror",
            Turn::Flip => "flip",
        }
    }
}

/// A file that an operation needs beside the picture: a model, by its name or its path, or a picture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Needed {
    pub name: String,
    /// Absolute path; filled in by the daemon when it accepts the batch.
    pub path: PathBytes,
    /// Identity of the file's content; filled in by the daemon.
    pub hash: Option<ContentHash>,
}

impl Needed {
    pub fn named(name: &str) -> Self {
        Needed { name: name.to_owned(), path: PathBytes::default(), hash: None }
    }
}

/// What read text is written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TextFormat {
    Txt,
    Hocr,
    Json,
}

impl TextFormat {
    pub const ALL: [TextFormat; 3] = [TextFormat::Txt, TextFormat::Hocr, TextFormat::Json];

    pub fn name(self) -> &'static str {
        match self {
            TextFormat::Txt => "txt",
            TextFormat::Hocr => "hocr",
            TextFormat::Json => "json",
        }
    }
}

/// Where a watermark stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Spot {
    TopLeft,
    TopRight,
    BottomLeft,
    BottomRight,
    Centre,
    /// All over.
    Tile,
}

impl Spot {
    const ALL: [Spot; 6] =
        [Spot::TopLeft, Spot::TopRight, Spot::BottomLeft, Spot::BottomRight, Spot::Centre, Spot::Tile];

    pub fn name(self) -> &'static str {
        match self {
            Spot::TopLeft => "top-left",
            Spot::TopRight => "top-right",
            Spot::BottomLeft => "bottom-left",
            Spot::BottomRight => "bottom-right",
            Spot::Centre => "centre",
            Spot::Tile => "tile",
        }
    }
}

/// Languages of texts where none are named, as tesseract calls them.
pub const TEXT_LANGUAGES: &str = "eng+chi_sim";

/// One thing that is done to a picture. New ones go to the end: yesterday's rows must open.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Operation {
    Orient(Turn),
    Resize {
        width: u32,
        height: u32,
        fit: Fit,
        /// Around a contained picture; `None` = nothing is, and the result may be smaller than the box.
        pad: Option<Colour>,
    },
    /// Smaller where it is larger than a square of this side; never larger.
    Smart {
        side: u32,
    },
    Crop {
        ratio: (u32, u32),
        anchor: Anchor,
    },
    /// What it is written as in the end; 1–100, `None` = the format's usual.
    Convert {
        to: PictureFormat,
        quality: Option<u32>,
        lossless: bool,
    },
    /// Larger, by a model made for it, or by Lanczos' filter.
    Upscale {
        factor: u32,
        model: Option<Needed>,
    },
    /// What is written in it, as files beside the picture.
    ReadText {
        languages: String,
        formats: Vec<TextFormat>,
    },
    /// What is written in it is taken away, and the place filled from around.
    RemoveText {
        languages: String,
    },
    /// The object before another background; a transparent one is none.
    Background {
        colour: Colour,
        model: Option<Needed>,
    },
    /// The object in a style, in the style's size.
    Style {
        style: Style,
        model: Option<Needed>,
    },
    /// Another picture over it.
    Watermark {
        file: Needed,
        spot: Spot,
        /// Percent of the picture's width.
        size: u32,
        /// Percent.
        opacity: u32,
    },
}

/// What there is to do, for people.
pub const OPERATIONS: &str = "\
orient[=90|180|270|mirror|flip]   turns it; upright as its file says it stands anyway
resize=WxH|PRESET[,FIT][,pad=C]   to a box; FIT: contain (all of it, in the middle, on white or the colour C; pad=none
                                  for no ground), cover (the box full, the rest cut off), fill or stretch (exactly)
smart[=SIDE]                      to a square at most, of 2048 if left out; never larger than it was
crop=RATIO[,ANCHOR]               the largest part of 1:1, 4:3, 3:4, 16:9, 9:16, 3:2, 2:3; ANCHOR: centre, top, bottom,
                                  left, right
convert=FORMAT[,quality=N]        jpeg, png, webp, avif, tiff; webp also `lossless`
upscale[=N][,model=M]             2–4 times as large, by a model or by Lanczos' filter
text=read[,txt,hocr,json]         what is written in it, as files beside it; languages=eng+chi_sim if nothing else is said
text=remove                       what is written in it is taken away, and its place filled from around it
background=remove|COLOUR          the object alone, or before a colour; model=M finds it, else its background must be plain
style=NAME[,model=M]              the object in a style: minimal_white, modern_home, business, natural, amazon_standard,
                                  tiktok_vibrant, instagram_lifestyle, shopify_custom
watermark=FILE[,SPOT]             a picture over it; SPOT: top-left, top-right, bottom-left, bottom-right, centre, tile;
                                  size=20 and opacity=50 in percent
";

/// Sizes that shops and networks ask for.
pub const PRESETS: [(&str, u32, u32); 19] = [
    ("amazon_primary", 1_000, 1_000),
    ("amazon_zoom", 2_000, 2_000),
    ("ebay_gallery", 1_600, 1_600),
    ("etsy_listing", 2_000, 2_000),
    ("shopify_product", 2_048, 2_048),
    ("walmart_main", 2_200, 2_200),
    ("taobao_main", 800, 800),
    ("tmall_main", 800, 800),
    ("jd_main", 800, 800),
    ("aliexpress_main", 800, 800),
    ("instagram_square", 1_080, 1_080),
    ("instagram_portrait", 1_080, 1_350),
    ("instagram_story", 1_080, 1_920),
    ("tiktok_cover", 1_080, 1_920),
    ("facebook_post", 1_200, 630),
    ("x_post", 1_600, 900),
    ("pinterest_pin", 1_000, 1_500),
    ("youtube_thumbnail", 1_280, 720),
    ("wechat_cover", 900, 383),
];

/// What a crop may be.
pub const RATIOS: [(u32, u32); 7] = [(1, 1), (4, 3), (3, 4), (16, 9), (9, 16), (3, 2), (2, 3)];

/// Side of the square that `smart` fits a picture into.
const SMART_SIDE: u32 = 2_048;
const UPSCALE_MAX: u32 = 4;

const NAMES: [&str; 10] =
    ["orient", "resize", "smart", "crop", "convert", "upscale", "text", "background", "style", "watermark"];

impl Operation {
    pub fn name(&self) -> &'static str {
        match self {
            Operation::Orient(_) => "orient",
            Operation::Resize { .. } => "resize",
            Operation::Smart { .. } => "smart",
            Operation::Crop { .. } => "crop",
            Operation::Convert { .. } => "convert",
            Operation::Upscale { .. } => "upscale",
            Operation::ReadText { .. } | Operation::RemoveText { .. } => "text",
            Operation::Background { .. } => "background",
            Operation::Style { .. } => "style",
            Operation::Watermark { .. } => "watermark",
        }
    }

    fn parse(text: &str) -> Result<Self, String> {
        let (name, values) = text.split_once('=').unwrap_or((text, ""));
        let name = name.trim();
        let mut values = values.split(',').map(str::trim).filter(|value| !value.is_empty());
        let wrong = |what: String| format!("{name}: {what}");
        let operation = match name {
            "orient" => {
                let turn = values.next().unwrap_or(Turn::Upright.name());
                let known = || Turn::ALL.map(Turn::name).join(", ");
                let turn = Turn::ALL.into_iter().find(|known| known.name() == turn);
                Operation::Orient(turn.ok_or_else(|| wrong(format!("known are {}", known())))?)
            }
            "resize" => {
                let size = values.next().ok_or_else(|| wrong("to what? 800x600, or a preset".to_owned()))?;
                let (width, height) = size_of(size).map_err(wrong)?;
                let (mut fit, mut pad) = (Fit::Contain, Some(Colour::WHITE));
                for value in values.by_ref() {
                    if let Some(known) = Fit::ALL.into_iter().find(|fit| fit.name() == value) {
                        fit = known;
                    } else if let Some(colour) = value.strip_prefix("pad=") {
                        pad = if colour == "none" { None } else { Some(Colour::parse(colour).map_err(wrong)?) };
                    } else {
                        let known = Fit::ALL.map(Fit::name).join(", ");
                        return Err(wrong(format!("`{value}` is none of {known}, pad=COLOUR")));
                    }
                }
                Operation::Resize { width, height, fit, pad }
            }
            "smart" => {
                let side = values.next().map_or(Ok(SMART_SIDE), number).map_err(wrong)?;
                Operation::Smart { side }
            }
            "crop" => {
                let text = values.next().ok_or_else(|| wrong(format!("to which ratio? one of {}", ratios())))?;
                let ratio = ratio_of(text).ok_or_else(|| wrong(format!("`{text}` is none of {}", ratios())))?;
                let anchor = match values.next() {
                    None | Some("center") => Anchor::Centre,
                    Some(name) => Anchor::ALL.into_iter().find(|anchor| anchor.name() == name).ok_or_else(|| {
                        wrong(format!("`{name}` is none of {}", Anchor::ALL.map(Anchor::name).join(", ")))
                    })?,
                };
                Operation::Crop { ratio, anchor }
            }
            "convert" => {
                let known = || PictureFormat::ALL.map(PictureFormat::name).join(", ");
                let text = values.next().ok_or_else(|| wrong(format!("to what? one of {}", known())))?;
                let to =
                    PictureFormat::from_name(text).ok_or_else(|| wrong(format!("`{text}` is none of {}", known())))?;
                let (mut quality, mut lossless) = (None, false);
                for value in values.by_ref() {
                    match value.strip_prefix("quality=") {
                        Some(text) => quality = Some(number(text).map_err(wrong)?),
                        None if value == "lossless" => lossless = true,
                        None => return Err(wrong(format!("`{value}` is none of quality=N, lossless"))),
                    }
                }
                Operation::Convert { to, quality, lossless }
            }
            "upscale" => {
                let (mut factor, mut model) = (2, None);
                for value in values.by_ref() {
                    match value.strip_prefix("model=") {
                        Some(name) => model = Some(Needed::named(name)),
                        None => factor = number(value).map_err(wrong)?,
                    }
                }
                Operation::Upscale { factor, model }
            }
            "text" => {
                let what = values.next().unwrap_or("read");
                let (mut languages, mut formats) = (TEXT_LANGUAGES.to_owned(), Vec::new());
                for value in values.by_ref() {
                    let format = TextFormat::ALL.into_iter().find(|format| format.name() == value);
                    match (value.strip_prefix("languages="), format) {
                        (Some(names), _) => languages = names.to_owned(),
                        (None, Some(format)) if what == "read" && !formats.contains(&format) => formats.push(format),
                        (None, Some(_)) if what == "read" => {}
                        _ if what == "read" => {
                            return Err(wrong(format!("`{value}` is none of txt, hocr, json, languages=LANG+LANG")));
                        }
                        _ => return Err(wrong(format!("`{value}` is not languages=LANG+LANG"))),
                    }
                }
                match what {
                    "read" if formats.is_empty() => Operation::ReadText { languages, formats: vec![TextFormat::Txt] },
                    "read" => Operation::ReadText { languages, formats },
                    "remove" => Operation::RemoveText { languages },
                    other => return Err(wrong(format!("`{other}` is neither read nor remove"))),
                }
            }
            "background" => {
                let colour = match values.next() {
                    None | Some("remove") => Colour([255, 255, 255, 0]),
                    Some(text) => {
                        Colour::parse(text).map_err(|_| wrong(format!("`{text}` is neither remove nor a colour")))?
                    }
                };
                Operation::Background { colour, model: model_of(values.next()).map_err(wrong)? }
            }
            "style" => {
                let named = values.next().unwrap_or(Style::DEFAULT.name());
                let known = || Style::ALL.map(Style::name).join(", ");
                let style =
                    Style::from_name(named).ok_or_else(|| wrong(format!("`{named}` is none of {}", known())))?;
                Operation::Style { style, model: model_of(values.next()).map_err(wrong)? }
            }
            "watermark" => {
                let file = values.next().ok_or_else(|| wrong("which picture? watermark=FILE".to_owned()))?;
                let (mut spot, mut size, mut opacity) = (Spot::BottomRight, 20, 50);
                for value in values.by_ref() {
                    if let Some(known) = Spot::ALL.into_iter().find(|spot| spot.name() == value) {
                        spot = known;
                    } else if let Some(text) = value.strip_prefix("size=") {
                        size = number(text).map_err(wrong)?;
                    } else if let Some(text) = value.strip_prefix("opacity=") {
                        opacity = number(text).map_err(wrong)?;
                    } else {
                        let known = Spot::ALL.map(Spot::name).join(", ");
                        return Err(wrong(format!("`{value}` is none of {known}, size=PERCENT, opacity=PERCENT")));
                    }
                }
                Operation::Watermark { file: Needed::named(file), spot, size, opacity }
            }
            other => return Err(format!("there is no operation `{other}`; known are {}", NAMES.join(", "))),
        };
        if let Some(more) = values.next() {
            return Err(format!("{name}: `{more}` is too much"));
        }
        operation.validate()?;
        Ok(operation)
    }

    fn validate(&self) -> Result<(), String> {
        let side = |name: &str, value: u32| match (1..=PICTURE_SIDE_MAX).contains(&value) {
            true => Ok(()),
            false => Err(format!("{}: a {name} of {value} is outside 1–{PICTURE_SIDE_MAX}", self.name())),
        };
        match self.clone() {
            Operation::Orient(_) => Ok(()),
            Operation::Resize { width, height, .. } => side("width", width).and_then(|()| side("height", height)),
            Operation::Smart { side: value } => side("side", value),
            Operation::Crop { ratio, .. } if !RATIOS.contains(&ratio) => {
                Err(format!("crop: {}:{} is none of {}", ratio.0, ratio.1, ratios()))
            }
            Operation::Crop { .. } => Ok(()),
            Operation::Convert { to, quality, lossless } => match quality {
                Some(quality) if !(1..=100).contains(&quality) => {
                    Err(format!("convert: a quality of {quality} is outside 1–100"))
                }
                Some(_) if !to.is_lossy() => Err(format!("convert: {} has no quality, it loses nothing", to.name())),
                Some(_) if lossless => Err("convert: a quality and `lossless` exclude each other".to_owned()),
                None if lossless && to == PictureFormat::Jpeg => Err("convert: jpeg can't be lossless".to_owned()),
                None if lossless && to == PictureFormat::Avif => {
                    Err("convert: avif is written with losses here; take webp or png for a lossless file".to_owned())
                }
                _ => Ok(()),
            },
            Operation::Upscale { factor, .. } => match (2..=UPSCALE_MAX).contains(&factor) {
                true => Ok(()),
                false => Err(format!("upscale: a factor of {factor} is outside 2–{UPSCALE_MAX}")),
            },
            Operation::ReadText { languages, .. } | Operation::RemoveText { languages } => {
                let sound = |name: &str| {
                    !name.is_empty() && name.len() <= 32 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
                };
                match languages.split('+').all(sound) && languages.split('+').count() <= 8 {
                    true => Ok(()),
                    false => {
                        Err(format!("text: `{languages}` is not languages as tesseract has them: {TEXT_LANGUAGES}"))
                    }
                }
            }
            Operation::Background { .. } | Operation::Style { .. } => Ok(()),
            Operation::Watermark { size, opacity, .. } => {
                for (name, value) in [("size", size), ("opacity", opacity)] {
                    if !(1..=100).contains(&value) {
                        return Err(format!("watermark: {name}={value} is outside 1–100"));
                    }
                }
                Ok(())
            }
        }
    }
}

/// As the command line has it; what it says is read back as the same operation.
impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Operation::Orient(turn) => write!(f, "orient={}", turn.name()),
            Operation::Resize { width, height, fit, pad } => {
                let pad = pad.as_ref().map_or("none".to_owned(), |colour| colour.to_string());
                write!(f, "resize={width}x{height},{},pad={pad}", fit.name())
            }
            Operation::Smart { side } => write!(f, "smart={side}"),
            Operation::Crop { ratio, anchor } => write!(f, "crop={}:{},{}", ratio.0, ratio.1, anchor.name()),
            Operation::Convert { to, quality, lossless } => {
                write!(f, "convert={}", to.name())?;
                quality.map_or(Ok(()), |quality| write!(f, ",quality={quality}"))?;
                if *lossless { f.write_str(",lossless") } else { Ok(()) }
            }
            Operation::Upscale { factor, model } => write!(f, "upscale={factor}{}", ModelShown(model)),
            Operation::ReadText { languages, formats } => {
                f.write_str("text=read")?;
                formats.iter().try_for_each(|format| write!(f, ",{}", format.name()))?;
                write!(f, ",languages={languages}")
            }
            Operation::RemoveText { languages } => write!(f, "text=remove,languages={languages}"),
            Operation::Background { colour, model } if colour.0[3] == 0 => {
                write!(f, "background=remove{}", ModelShown(model))
            }
            Operation::Background { colour, model } => write!(f, "background={colour}{}", ModelShown(model)),
            Operation::Style { style, model } => write!(f, "style={}{}", style.name(), ModelShown(model)),
            Operation::Watermark { file, spot, size, opacity } => {
                write!(f, "watermark={},{},size={size},opacity={opacity}", file.name, spot.name())
            }
        }
    }
}

/// `,model=NAME`, where there is one.
struct ModelShown<'m>(&'m Option<Needed>);

impl fmt::Display for ModelShown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_ref().map_or(Ok(()), |model| write!(f, ",model={}", model.name))
    }
}

fn model_of(value: Option<&str>) -> Result<Option<Needed>, String> {
    match value.map(|value| (value, value.strip_prefix("model="))) {
        None => Ok(None),
        Some((_, Some(name))) if !name.is_empty() => Ok(Some(Needed::named(name))),
        Some((value, _)) => Err(format!("`{value}` is not model=NAME")),
    }
}

fn number(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| format!("`{text}` is no number"))
}

/// `800x600`, or a preset's name.
fn size_of(text: &str) -> Result<(u32, u32), String> {
    if let Some((_, width, height)) = PRESETS.iter().find(|(name, ..)| *name == text) {
        return Ok((*width, *height));
    }
    match text.split_once(['x', '×']) {
        Some((width, height)) => Ok((number(width)?, number(height)?)),
        None => {
            let known = PRESETS.map(|(name, ..)| name).join(", ");
            Err(format!("`{text}` is neither WIDTHxHEIGHT nor one of {known}"))
        }
    }
}

fn ratio_of(text: &str) -> Option<(u32, u32)> {
    let (width, height) = text.split_once(':')?;
    let ratio = (width.parse().ok()?, height.parse().ok()?);
    RATIOS.contains(&ratio).then_some(ratio)
}

fn ratios() -> String {
    RATIOS.map(|(width, height)| format!("{width}:{height}")).join(", ")
}

/// Operations as text: several are separated by `;`, or by a comma before another operation's name, as a list's cell has them.
pub fn parse_operations(text: &str) -> Result<Vec<Operation>, String> {
    let mut parts: Vec<String> = Vec::new();
    for (at, piece) in text.split(';').enumerate() {
        for (nth, word) in piece.split(',').enumerate() {
            let name = word.split('=').next().unwrap_or_default().trim();
            // A word of letters alone at the beginning is to be an operation, known or not: it is told then which there are.
            match parts.last_mut() {
                Some(part) if nth > 0 && !NAMES.contains(&name) => {
                    part.push(',');
                    part.push_str(word);
                }
                _ if word.trim().is_empty() && (at > 0 || nth > 0) => {}
                _ => parts.push(word.trim().to_owned()),
            }
        }
    }
    parts.iter().map(|part| Operation::parse(part)).collect()
}

/// What becomes of what a file tells about its picture: camera, time and place (EXIF), captions and rights (XMP, IPTC).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum MetadataPolicy {
    /// All of it, where the target can hold it
    #[default]
    Keep,
    /// Nothing
    Strip,
    /// Artist and copyright alone: no camera, no time, no place
    KeepCopyright,
}

impl MetadataPolicy {
    pub fn name(self) -> &'static str {
        match self {
            MetadataPolicy::Keep => "keep",
            MetadataPolicy::Strip => "strip",
            MetadataPolicy::KeepCopyright => "keep-copyright",
        }
    }
}

/// The operations of one `--op`, or of one cell of a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Operations(pub Vec<Operation>);

#[cfg(feature = "cli")]
fn operations(text: &str) -> Result<Operations, String> {
    parse_operations(text).map(Operations)
}

/// What is done to a picture.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
pub struct Image {
    /// An operation; several are done in order, each on the last one's output (`;` separates several in one option):
    /// `orient`, `resize=WxH|PRESET`, `smart`, `crop=RATIO`, `convert=FORMAT`, `upscale=N`, `text=read|remove`, `background=remove|COLOUR`,
    /// `style=NAME`, `watermark=FILE`, each with more after commas: `resize=800x600,cover`.
    /// `recipes show images` explains them and lists the presets
    #[cfg_attr(feature = "cli", arg(long = "op", value_name = "OP", value_parser = operations))]
    pub operations: Vec<Operations>,
    /// What becomes of EXIF, XMP and IPTC; colour profiles are applied, and the result is sRGB
    #[cfg_attr(feature = "cli", arg(long, value_enum, value_name = "POLICY", default_value = "keep"))]
    pub metadata: MetadataPolicy,
    /// Tell, too, how like its original the result looks (SSIMULACRA2: 100 = the same, 90 = no difference seen, below 30 = poor), where the
    /// operations left it the same proportions
    #[cfg_attr(feature = "cli", arg(long))]
    pub similarity: bool,
}

/// First parts of the artifact's file name; then follows the format's extension.
pub const PICTURE_STEM: &str = "picture";
pub const PROCESSED: &str = "processed";
pub const TEXT: &str = "text";

impl Operation {
    /// The model that it runs, where it has one.
    pub fn model(&self) -> Option<&Needed> {
        match self {
            Operation::Upscale { model, .. } | Operation::Background { model, .. } | Operation::Style { model, .. } => {
                model.as_ref()
            }
            _ => None,
        }
    }

    /// Whether it looks at all of the picture's own pixels.
    pub fn sees(&self) -> bool {
        matches!(
            self,
            Operation::ReadText { .. }
                | Operation::RemoveText { .. }
                | Operation::Background { .. }
                | Operation::Style { .. }
                | Operation::Watermark { .. }
                | Operation::Upscale { .. }
        )
    }

    /// The file that it names, model or picture.
    pub fn needed(&self) -> Option<&Needed> {
        match self {
            Operation::Watermark { file, .. } => Some(file),
            _ => self.model(),
        }
    }
}

impl Image {
    /// The models that its operations run, and the pictures that they lay over others: for the daemon, which finds them.
    pub fn needs_mut(&mut self) -> impl Iterator<Item = (&mut Needed, bool)> {
        let all = self.operations.iter_mut().flat_map(|operations| &mut operations.0);
        all.filter_map(|operation| match operation {
            Operation::Watermark { file, .. } => Some((file, false)),
            Operation::Upscale { model, .. } | Operation::Background { model, .. } | Operation::Style { model, .. } => {
                model.as_mut().map(|model| (model, true))
            }
            _ => None,
        })
    }

    /// The first model that its operations run.
    pub fn model(&self) -> Option<&Needed> {
        self.all().find_map(Operation::model)
    }

    /// Whether a picture comes of it, and not only what is written in one.
    pub fn makes_picture(&self) -> bool {
        self.all().next().is_none() || self.all().any(|operation| !matches!(operation, Operation::ReadText { .. }))
    }

    /// What the text files' names end with, without the formats that were named twice.
    pub fn text_formats(&self) -> Vec<TextFormat> {
        let wanted = |format: &TextFormat| {
            self.all()
                .any(|operation| matches!(operation, Operation::ReadText { formats, .. } if formats.contains(format)))
        };
        TextFormat::ALL.into_iter().filter(wanted).collect()
    }

    /// All that its outputs' names end with.
    pub fn endings(&self, input: &Path) -> Vec<String> {
        let picture = self.makes_picture().then(|| self.ending(input));
        let texts = self.text_formats().into_iter().map(|format| format!("{TEXT}.{}", format.name()));
        picture.into_iter().chain(texts).collect()
    }

    /// What its picture is called after: the last style, or that it was processed.
    pub fn kind(&self) -> &'static str {
        let mut styles = self.all().filter_map(|operation| match operation {
            Operation::Style { style, .. } => Some(style.name()),
            _ => None,
        });
        styles.next_back().unwrap_or(PROCESSED)
    }

    /// Of all options, in order.
    pub fn all(&self) -> impl DoubleEndedIterator<Item = &Operation> {
        self.operations.iter().flat_map(|operations| &operations.0)
    }

    /// What it is written as, where the operations say so.
    pub fn target(&self) -> Option<(PictureFormat, Option<u32>, bool)> {
        let named = self.all().rev().find_map(|operation| match *operation {
            Operation::Convert { to, quality, lossless } => Some((to, quality, lossless)),
            _ => None,
        });
        // What shines through needs a format that can hold it, and flat colours one that loses nothing.
        let cut = |operation: &Operation| matches!(operation, Operation::Style { .. } | Operation::Background { .. });
        named.or_else(|| self.all().any(cut).then_some((PictureFormat::Png, None, false)))
    }

    /// What the output's name ends with. Without a target that is the input's own format, as far as its name tells; the run goes by the
    /// content.
    pub fn ending(&self, input: &Path) -> String {
        let named = input.extension().and_then(|extension| written_as(&extension.to_string_lossy()));
        let format = self.target().map_or(named.unwrap_or(PictureFormat::Png), |(to, ..)| to);
        format!("{}.{}", self.kind(), format.extension())
    }

    pub(crate) fn address_into(&self, hasher: &mut AddressHasher) {
        for operation in self.all() {
            hasher.part(operation.to_string().as_bytes());
            if let Some(hash) = operation.needed().and_then(|needed| needed.hash) {
                hasher.part(&hash.0);
            }
        }
        hasher.part(self.metadata.name().as_bytes()).part(&[u8::from(self.similarity)]);
    }

    pub(crate) fn validate(&self) -> Result<(), String> {
        let count = self.all().count();
        if count > OPERATIONS_MAX {
            return Err(format!("{count} operations are more than {OPERATIONS_MAX}"));
        }
        self.all().try_for_each(|operation| operation.validate().map_err(|why| format!("--op {why}")))
    }
}

/// What a picture of this kind, by its extension or its format's name, is written as where nobody says: itself where that is written here, what
/// cameras give as JPEG, else PNG.
pub fn written_as(kind: &str) -> Option<PictureFormat> {
    match kind.to_lowercase().as_str() {
        "jpe" | "jfif" | "heic" | "heif" | "hif" | "mpo" => Some(PictureFormat::Jpeg),
        "avifs" => Some(PictureFormat::Avif),
        "" => None,
        other => Some(PictureFormat::from_name(other).unwrap_or(PictureFormat::Png)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> String {
        match parse_operations(text) {
            Ok(operations) => operations.iter().map(ToString::to_string).collect::<Vec<_>>().join(";"),
            Err(why) => why,
        }
    }

    #[test]
    fn operations_are_read_and_said_alike() {
        for (text, expected) in [
            ("resize=800x600", "resize=800x600,contain,pad=#ffffff"),
            ("resize=instagram_story,cover", "resize=1080x1920,cover,pad=#ffffff"),
            ("resize=10x20,pad=none", "resize=10x20,contain,pad=none"),
            ("resize=10x20,pad=transparent", "resize=10x20,contain,pad=#ffffff00"),
            ("resize=10x20,fill,pad=#123456", "resize=10x20,fill,pad=#123456"),
            ("smart", "smart=2048"),
            ("smart=640;orient", "smart=640;orient=auto"),
            ("crop=16:9,top,convert=jpg,quality=80", "crop=16:9,top;convert=jpeg,quality=80"),
            ("crop=1:1,center; convert=webp,lossless;", "crop=1:1,centre;convert=webp,lossless"),
            ("orient=90,upscale", "orient=90;upscale=2"),
            ("upscale=4,model=m/x.onnx", "upscale=4,model=m/x.onnx"),
            ("text", "text=read,txt,languages=eng+chi_sim"),
            ("text=read,json,hocr,json,languages=deu", "text=read,json,hocr,languages=deu"),
            (
                "text=remove,background=remove,model=u2netp",
                "text=remove,languages=eng+chi_sim;background=remove,model=u2netp",
            ),
            ("background=#102030", "background=#102030"),
            ("style;style=natural,model=u2net", "style=minimal_white;style=natural,model=u2net"),
            ("watermark=sign.png,top-left,size=5", "watermark=sign.png,top-left,size=5,opacity=50"),
        ] {
            assert_eq!(told(text), expected, "{text}");
            assert_eq!(told(expected), expected);
        }
    }

    #[test]
    fn what_is_out_of_range_is_told_with_the_range() {
        for (text, expected) in [
            ("resize=0x100", "resize: a width of 0 is outside 1–4096"),
            ("resize=100x4097", "resize: a height of 4097 is outside 1–4096"),
            ("resize=10x-1", "resize: `-1` is no number"),
            ("resize", "resize: to what? 800x600, or a preset"),
            ("resize=9x9,wide", "resize: `wide` is none of contain, cover, fill, stretch, pad=COLOUR"),
            ("resize=9x9,pad=#12", "resize: `#12` is no colour: white, black, transparent, or #rrggbb, #rrggbbaa"),
            ("crop=5:7", "crop: `5:7` is none of 1:1, 4:3, 3:4, 16:9, 9:16, 3:2, 2:3"),
            ("crop=1:1,up", "crop: `up` is none of centre, top, bottom, left, right"),
            ("convert=gif", "convert: `gif` is none of jpeg, png, webp, avif, tiff"),
            ("convert=jpeg,quality=0", "convert: a quality of 0 is outside 1–100"),
            ("convert=png,quality=9", "convert: png has no quality, it loses nothing"),
            ("convert=jpeg,lossless", "convert: jpeg can't be lossless"),
            ("smart=5000", "smart: a side of 5000 is outside 1–4096"),
            ("upscale=9", "upscale: a factor of 9 is outside 2–4"),
            ("orient=45", "orient: known are auto, 90, 180, 270, mirror, flip"),
            (
                "blurr",
                "there is no operation `blurr`; known are orient, resize, smart, crop, convert, upscale, text, background, style, watermark",
            ),
            ("smart=1,2", "smart: `2` is too much"),
            ("text=guess", "text: `guess` is neither read nor remove"),
            ("text=read,doc", "text: `doc` is none of txt, hocr, json, languages=LANG+LANG"),
            ("text=read,languages=../x", "text: `../x` is not languages as tesseract has them: eng+chi_sim"),
            ("background=beige", "background: `beige` is neither remove nor a colour"),
            ("background=remove,u2net", "background: `u2net` is not model=NAME"),
            ("watermark=a.png,opacity=0", "watermark: opacity=0 is outside 1–100"),
            ("watermark", "watermark: which picture? watermark=FILE"),
            (
                "",
                "there is no operation ``; known are orient, resize, smart, crop, convert, upscale, text, background, style, watermark",
            ),
        ] {
            assert_eq!(told(text), expected, "{text}");
        }
        assert!(told("resize=tv").contains("amazon_primary"));
    }

    #[test]
    fn the_last_target_counts_and_names_the_output() {
        let image = |text: &str| Image {
            operations: parse_operations(text).map(|all| vec![Operations(all)]).unwrap_or_default(),
            ..Image::default()
        };
        let ending = |text: &str, input: &str| image(text).ending(Path::new(input));
        assert_eq!(ending("convert=png;convert=jpeg,quality=70", "a.webp"), "processed.jpg");
        assert_eq!(ending("smart", "a.JPEG"), "processed.jpg");
        assert_eq!(ending("smart", "a.TIF"), "processed.tiff");
        assert_eq!(ending("smart", "a.heic"), "processed.jpg");
        assert_eq!(ending("smart", "a.gif"), "processed.png");
        assert_eq!(ending("smart", "a"), "processed.png");
        let many = Image { operations: vec![Operations(vec![Operation::Smart { side: 1 }; 65])], ..Image::default() };
        assert!(many.validate().unwrap_err().contains("65 operations are more than"));
    }
}
