//! What must be known of a model beside its file: how a picture becomes its input, and its output a mask or a picture. Written in a small TOML beside
//! the ONNX file (`portrait.onnx`, `portrait.toml`), or built in for the catalogue's models. Knows no runtime.

use serde::Deserialize;

/// What a model makes of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Purpose {
    /// A mask: what belongs to the object in front.
    Segmentation,
    /// The same picture with more pixels.
    Upscaling,
}

/// Order of a tensor's dimensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// Pictures, channels, rows, columns.
    #[default]
    Nchw,
    /// Pictures, rows, columns, channels.
    Nhwc,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Channels {
    #[default]
    Rgb,
    Bgr,
    Gray,
}

impl Channels {
    pub fn count(self) -> usize {
        if self == Channels::Gray { 1 } else { 3 }
    }
}

/// How a picture fits the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fit {
    /// Whatever becomes of its proportions.
    #[default]
    Stretch,
    /// Whole, in the upper left corner, black around.
    Letterbox,
}

/// What a channel's value of 255 becomes before mean and deviation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scale {
    /// 1.
    #[default]
    Unit,
    /// The picture's brightest value becomes 1, as the U²-Net family was taught.
    Brightest,
    /// 255: values as they are.
    Bytes,
}

/// What is done to the output's numbers to have shares between 0 and 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Activation {
    /// They are that already.
    #[default]
    None,
    Sigmoid,
    /// Over the channels, of which `channel` is taken.
    Softmax,
    /// The least becomes 0 and the greatest 1.
    Minmax,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    pub width: u32,
    pub height: u32,
    #[serde(default)]
    pub layout: Layout,
    #[serde(default)]
    pub channels: Channels,
    #[serde(default)]
    pub fit: Fit,
    #[serde(default)]
    pub scale: Scale,
    #[serde(default)]
    pub mean: [f32; 3],
    #[serde(default = "ones")]
    pub std: [f32; 3],
}

#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Output {
    /// By name; the first where none is named.
    pub name: Option<String>,
    #[serde(default)]
    pub layout: Layout,
    /// Which channel is the mask.
    #[serde(default)]
    pub channel: usize,
    #[serde(default)]
    pub activation: Activation,
    /// A hard border: from here on it is the object.
    pub threshold: Option<f32>,
    /// The mask is of the background.
    #[serde(default)]
    pub invert: bool,
    /// The border follows the picture's edges (guided filter); off where the model's is final.
    #[serde(default = "yes")]
    pub refine: bool,
    /// Width of the soft border in pixels.
    #[serde(default)]
    pub feather: u32,
    /// Upscaling: pixels of the output for one of the input.
    pub factor: Option<u32>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Description {
    pub purpose: Purpose,
    pub licence: Option<String>,
    pub input: Input,
    #[serde(default)]
    pub output: Output,
}

fn ones() -> [f32; 3] {
    [1.0; 3]
}

fn yes() -> bool {
    true
}

/// Longest side of a network's input, and most that it can enlarge.
const SIDE_MAX: u32 = 4_096;
const FACTOR_MAX: u32 = 8;
/// Longest description that is read.
pub const BYTES_MAX: u64 = 64 << 10;

const U2NET: &str = r#"
purpose = "segmentation"
licence = "Apache-2.0"
[input]
width = 320
height = 320
scale = "brightest"
mean = [0.485, 0.456, 0.406]
std = [0.229, 0.224, 0.225]
[output]
activation = "minmax"
feather = 1
"#;

const ISNET: &str = r#"
purpose = "segmentation"
licence = "Apache-2.0"
[input]
width = 1024
height = 1024
scale = "brightest"
mean = [0.5, 0.5, 0.5]
[output]
activation = "minmax"
feather = 1
"#;

impl Description {
    pub fn parse(text: &str) -> Result<Self, String> {
        let description: Description = toml::from_str(text).map_err(|e| e.to_string().trim_end().to_owned())?;
        description.check()?;
        Ok(description)
    }

    /// Of a model of the catalogue.
    pub fn built_in(name: &str) -> Option<Self> {
        let text = match name {
            "u2netp" | "u2net" => U2NET,
            "isnet-general-use" => ISNET,
            _ => return None,
        };
        Description::parse(text).ok()
    }

    fn check(&self) -> Result<(), String> {
        for (name, side) in [("width", self.input.width), ("height", self.input.height)] {
            if !(1..=SIDE_MAX).contains(&side) {
                return Err(format!("input.{name} = {side} is outside 1–{SIDE_MAX}"));
            }
        }
        if self.input.std.iter().any(|std| !std.is_normal()) || self.input.mean.iter().any(|mean| !mean.is_finite()) {
            return Err("input.mean and input.std must be numbers, and no deviation 0".to_owned());
        }
        if self.output.threshold.is_some_and(|threshold| !(0.0..=1.0).contains(&threshold)) {
            return Err("output.threshold is outside 0–1".to_owned());
        }
        if self.output.feather > 100 {
            return Err("output.feather is outside 0–100".to_owned());
        }
        match (self.purpose, self.output.factor) {
            (Purpose::Segmentation, None) => Ok(()),
            (Purpose::Segmentation, Some(_)) => Err("output.factor is for upscaling".to_owned()),
            (Purpose::Upscaling, Some(factor)) if (2..=FACTOR_MAX).contains(&factor) => Ok(()),
            (Purpose::Upscaling, _) => Err(format!("upscaling needs output.factor, 2–{FACTOR_MAX}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_catalogues_models_are_described() {
        for name in ["u2netp", "u2net", "isnet-general-use"] {
            assert_eq!(Description::built_in(name).unwrap().purpose, Purpose::Segmentation, "{name}");
        }
        assert_eq!(Description::built_in("other"), None);
    }

    #[test]
    fn what_is_left_out_has_its_usual_value() {
        let text = "purpose = \"upscaling\"\n[input]\nwidth = 64\nheight = 64\n[output]\nfactor = 2\n";
        let description = Description::parse(text).unwrap();
        assert_eq!(description.input.std, [1.0; 3]);
        assert_eq!(description.input.layout, Layout::Nchw);
        assert!(description.output.refine);
    }

    #[test]
    fn mistakes_are_told_with_their_place() {
        let told = |text: &str| Description::parse(text).unwrap_err();
        let input = "purpose = \"segmentation\"\n[input]\nwidth = 8\nheight = 8\n";
        assert!(told("purpose = \"guessing\"").contains("guessing"));
        assert!(told(&input.replace("width = 8", "width = 0")).contains("input.width = 0 is outside 1–4096"));
        assert!(told(&format!("{input}depth = 3\n")).contains("depth"));
        assert!(told(&format!("{input}std = [1, 0, 1]\n")).contains("no deviation 0"));
        assert!(told(&format!("{input}[output]\nfactor = 2\n")).contains("for upscaling"));
        assert!(told(&format!("{input}[output]\nthreshold = 2.0\n")).contains("outside 0–1"));
        assert!(told(&input.replace("segmentation", "upscaling")).contains("needs output.factor"));
    }
}
