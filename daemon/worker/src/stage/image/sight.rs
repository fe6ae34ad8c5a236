//! What operations see in a picture: its text, its object, and what models make of it. Knows one run; what is seen, and how, is `vision`'s.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use image::{DynamicImage, GrayImage};
use spindle_shared::failure::{Failure, FailureKind};
use spindle_shared::job::Detail;
use spindle_shared::stage::image::{Colour, Image, Needed, Operation, PICTURE_STEM, Spot, TEXT, TextFormat};
use spindle_shared::style::Style;
use spindle_shared::worker::ArtifactFile;

use super::halt_for;
use crate::context::{Context, Halt, disk_failure};
use crate::picture::canvas::Canvas;
use crate::picture::{self, chain};
use crate::vision::batcher::Announced;
use crate::vision::inpaint::{self, Unfilled};
use crate::vision::model::{self, Model, ModelError};
use crate::vision::network::NetworkError;
use crate::vision::plain::{self, NoMask};
use crate::vision::tesseract::{self, Layout, TesseractError};
use crate::vision::text::{Frame, Page, Word};
use crate::vision::{style, watermark};

/// A word that is taken away must be one: textures look like letters, too.
const SURE: f32 = 60.0;
/// Pixels around a word that go with it.
const AROUND: u32 = 5;

/// One run's eyes.
pub struct Sight<'c> {
    context: &'c Context,
    name: &'c str,
    /// What is called by the first operation with a model; batches reckon with it while the picture is still decoded.
    announced: Option<(Needed, Arc<Model>, Announced)>,
    pages: Vec<Page>,
    figures: Detail,
}

impl<'c> Sight<'c> {
    pub fn new(context: &'c Context, name: &'c str, stage: &Image) -> Result<Self, Halt> {
        let mut sight = Sight { context, name, announced: None, pages: Vec::new(), figures: Detail::default() };
        if let Some(needed) = stage.model() {
            let model = sight.open(needed)?;
            let announced = model.announce();
            sight.announced = Some((needed.clone(), model, announced));
        }
        Ok(sight)
    }

    /// Does an operation that looks at the picture's pixels.
    pub fn look(&mut self, canvas: &mut Canvas, operation: &Operation) -> Result<(), Halt> {
        let mut picture = canvas.take().map_err(|e| halt_for(e, self.name))?;
        match operation {
            Operation::ReadText { languages, .. } => {
                let page = self.read(&picture, languages, Layout::Page)?;
                self.figures.figure("text_words", page.words().count() as f64);
                if let Some(confidence) = page.confidence() {
                    self.figures.figure("text_confidence", f64::from((confidence * 10.0).round() / 10.0));
                }
                self.pages.push(page);
            }
            Operation::RemoveText { languages } => self.remove_text(&mut picture, languages)?,
            Operation::Background { colour, model } => {
                let mask = self.mask(&picture, model.as_ref())?;
                picture = DynamicImage::ImageRgba8(match colour {
                    Colour([.., 0]) => style::cut_out(&picture, &mask),
                    Colour(colour) => style::before(&picture, &mask, *colour),
                });
            }
            Operation::Style { style, model } => {
                let mask = self.mask(&picture, model.as_ref())?;
                picture = self.styled(&picture, &mask, *style)?;
            }
            Operation::Watermark { file, spot, size, opacity } => {
                let sign = self.sign(file)?;
                let place = match spot {
                    Spot::TopLeft => watermark::Place::TopLeft,
                    Spot::TopRight => watermark::Place::TopRight,
                    Spot::BottomLeft => watermark::Place::BottomLeft,
                    Spot::BottomRight => watermark::Place::BottomRight,
                    Spot::Centre => watermark::Place::Centre,
                    Spot::Tile => watermark::Place::Tile,
                };
                watermark::lay_over(&mut picture, &sign, place, *size, *opacity);
            }
            Operation::Upscale { factor, model: Some(needed) } => picture = self.enlarged(picture, *factor, needed)?,
            other => {
                let size = (picture.width(), picture.height());
                let mut whole = Canvas::new(picture, size);
                chain::step(&mut whole, other).map_err(|e| halt_for(e, self.name))?;
                picture = whole.finish().map_err(|e| halt_for(e, self.name))?;
            }
        }
        let size = (picture.width(), picture.height());
        *canvas = Canvas::new(picture, size);
        Ok(())
    }

    /// What was found out, and the files of what was read.
    pub fn finish(self, formats: &[TextFormat]) -> Result<(Detail, Vec<ArtifactFile>), Halt> {
        let mut files = Vec::new();
        for format in formats {
            let name = format!("{PICTURE_STEM}.{TEXT}.{}", format.name());
            let shown = spindle_shared::text::escaped(self.name);
            let texts: Vec<String> = self
                .pages
                .iter()
                .map(|page| match format {
                    TextFormat::Txt => page.to_txt(),
                    TextFormat::Hocr => page.to_hocr(&shown),
                    TextFormat::Json => page.to_json(),
                })
                .collect();
            // Of a text that is asked for twice the last reading counts: an operation before it was to make it better.
            let text = texts.last().map_or("", String::as_str);
            files.push(self.context.write_artifact(&name, |to| {
                Ok(to.write_all(text.as_bytes()).map_err(|e| disk_failure(&e, &self.context.scratch().join(&name)))?)
            })?);
        }
        Ok((self.figures, files))
    }

    fn read(&self, picture: &DynamicImage, languages: &str, layout: Layout) -> Result<Page, Halt> {
        tesseract::read(picture, languages, layout, None, &|| self.context.cancelled()).map_err(|error| {
            let failure = |kind| Failure::new(kind, format!("failed to read the text in {}: {error}", self.name));
            Halt::Failed(match &error {
                TesseractError::Stopped => return Halt::Stopped,
                TesseractError::NoLibrary | TesseractError::TooOld(_) => failure(FailureKind::ModelMissing)
                    .advise("install tesseract 4 or later with its languages (Debian: tesseract-ocr tesseract-ocr-eng tesseract-ocr-chi-sim)"),
                TesseractError::NoLanguage(language) => failure(FailureKind::ModelMissing).advise(format!(
                    "install it (Debian: tesseract-ocr-{}), set TESSDATA_PREFIX to where it lies, or name others: text=read,languages=eng",
                    language.replace('_', "-")
                )),
                TesseractError::Failed => failure(FailureKind::Input).advise("check that the picture opens; leave it out of the batch"),
            })
        })
    }

    fn remove_text(&mut self, picture: &mut DynamicImage, languages: &str) -> Result<(), Halt> {
        let page = self.read(picture, languages, Layout::Scattered)?;
        let frames: Vec<Frame> = page
            .words()
            .filter(|word| is_sure(word))
            .map(|word| inpaint::widened(&word.frame, AROUND, picture.width(), picture.height()))
            .collect();
        self.figures.figure("text_removed", frames.len() as f64);
        inpaint::fill(picture, &frames, &|| self.context.cancelled()).map_err(|unfilled| match unfilled {
            Unfilled::Stopped => Halt::Stopped,
            Unfilled::NothingAround => Failure::new(
                FailureKind::Input,
                format!("the text in {} covers all of it: there is nothing to fill its place from", self.name),
            )
            .advise("leave it out of the batch")
            .into(),
        })
    }

    /// Where the object is, 0–255.
    fn mask(&mut self, picture: &DynamicImage, needed: Option<&Needed>) -> Result<GrayImage, Halt> {
        let (mask, by) = match needed {
            Some(needed) => {
                let (model, announced) = self.model(needed)?;
                let shares = model.shares(picture, announced).map_err(|e| self.model_failure(&e, needed))?;
                let output = &model.description.output;
                let mask = model::feathered(model::refined(&shares, picture, output.refine), output.feather);
                if mask.pixels().all(|share| share.0[0] < 128) {
                    return Err(self.nothing(&format!("{} finds no object", needed.name)));
                }
                // The most at once since the model was loaded: what its process has been able to do for company.
                self.figures.figure("model_together", model.batcher().counts().largest as f64);
                (mask, format!("{} on {}", needed.name, model.batcher().device()))
            }
            None => {
                let mask = plain::segment(picture, &|| self.context.cancelled()).map_err(|why| match why {
                    NoMask::Stopped => Halt::Stopped,
                    NoMask::NothingThere => self.nothing("nothing stands out from the background"),
                    NoMask::NotPlain => Failure::new(
                        FailureKind::Input,
                        format!(
                            "the background of {} is not plain, and no model was named to tell the object from it",
                            self.name
                        ),
                    )
                    .advise("`spindlectl models pull u2netp`, then name it: background=remove,model=u2netp")
                    .into(),
                })?;
                (model::feathered(mask, 1), "plain background, without a model".to_owned())
            }
        };
        self.context.go_on()?;
        let solid = mask.pixels().map(|share| u64::from(share.0[0])).sum::<u64>() as f64 / 255.0;
        let share = solid / (f64::from(mask.width()) * f64::from(mask.height()));
        self.figures.figure("mask_by", by.as_str());
        self.figures.figure("mask_share", (share * 1_000.0).round() / 1_000.0);
        Ok(mask)
    }

    fn nothing(&self, what: &str) -> Halt {
        Failure::new(FailureKind::Input, format!("{what} in {}", self.name))
            .advise("check that there is an object in it, or take another model (`spindlectl models list`)")
            .into()
    }

    fn styled(&self, picture: &DynamicImage, mask: &GrayImage, style: Style) -> Result<DynamicImage, Halt> {
        let shown = style::show(picture, mask, style, style.size())
            .map_err(|style::NothingCut| self.nothing("nothing is left to show"))?;
        // Nothing of a style shines through.
        Ok(DynamicImage::ImageRgb8(DynamicImage::ImageRgba8(shown).to_rgb8()))
    }

    fn enlarged(&mut self, picture: DynamicImage, factor: u32, needed: &Needed) -> Result<DynamicImage, Halt> {
        let target =
            chain::enlarged((picture.width(), picture.height()), factor).map_err(|e| halt_for(e, self.name))?;
        let (model, _announced) = self.model(needed)?;
        let larger = model
            .enlarge(&picture.to_rgb8(), &|| self.context.cancelled())
            .map_err(|e| self.model_failure(&e, needed))?
            .ok_or(Halt::Stopped)?;
        self.figures.figure("upscaled_by", format!("{} on {}", needed.name, model.batcher().device()).as_str());
        let exact = |picture: DynamicImage| {
            let mut canvas = Canvas::new(picture.clone(), (picture.width(), picture.height()));
            canvas.resample(picture::Rect::whole((picture.width(), picture.height())), target)?;
            canvas.finish()
        };
        let mut larger = exact(DynamicImage::ImageRgb8(larger)).map_err(|e| halt_for(e, self.name))?;
        if picture.color().has_alpha() {
            // The model knows colours only.
            let shape = exact(picture).map_err(|e| halt_for(e, self.name))?.to_rgba8();
            let mut pixels = larger.to_rgba8();
            for (pixel, shape) in pixels.pixels_mut().zip(shape.pixels()) {
                pixel.0[3] = shape.0[3];
            }
            larger = DynamicImage::ImageRgba8(pixels);
        }
        Ok(larger)
    }

    fn sign(&self, file: &Needed) -> Result<DynamicImage, Halt> {
        let opened = self.context.open(file.path.as_path()).map_err(|e| {
            Failure::new(FailureKind::Input, format!("the watermark {} can't be opened: {e}", file.name))
                .advise("check that it is there and may be read")
        })?;
        let sign = picture::read(&opened, &|_| 1.0).and_then(|sign| sign.canvas.finish());
        sign.map_err(|e| halt_for(e, &file.name))
    }

    fn open(&self, needed: &Needed) -> Result<Arc<Model>, Halt> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let open = |path: &Path| self.context.open(path);
        Model::open(&needed.name, needed.path.as_path(), &open, threads).map_err(|e| self.model_failure(&e, needed))
    }

    /// A model, and the promise of a picture for it.
    fn model(&mut self, needed: &Needed) -> Result<(Arc<Model>, Announced), Halt> {
        match self.announced.take() {
            Some((known, model, announced)) if known == *needed => Ok((model, announced)),
            _ => {
                let model = self.open(needed)?;
                let announced = model.announce();
                Ok((model, announced))
            }
        }
    }

    fn model_failure(&self, error: &ModelError, needed: &Needed) -> Halt {
        let failure = |kind| Failure::new(kind, format!("{}, for {}: {error}", needed.name, self.name));
        Halt::Failed(match error {
            ModelError::Network(NetworkError::OutOfMemory(_)) => failure(FailureKind::OutOfMemory),
            ModelError::Network(NetworkError::Failed(_)) => {
                failure(FailureKind::Internal).advise("check that the model's description (a .toml beside it) is right")
            }
            ModelError::Network(NetworkError::Unreadable(_)) => failure(FailureKind::ModelMissing)
                .advise("`spindlectl models verify` checks it; it must be an ONNX file with one input"),
            ModelError::NoDescription(_) | ModelError::Description { .. } => failure(FailureKind::ModelMissing)
                .advise("write down beside the model what goes in and comes out: docs/image-models.md explains how"),
            ModelError::WrongPurpose(_) => {
                failure(FailureKind::ModelMissing).advise("name a model made for it (`spindlectl models list`)")
            }
        })
    }
}

fn is_sure(word: &Word) -> bool {
    let Frame { left, top, right, bottom } = word.frame;
    word.confidence >= SURE && word.text.chars().any(char::is_alphanumeric) && right - left >= 4 && bottom - top >= 6
}
