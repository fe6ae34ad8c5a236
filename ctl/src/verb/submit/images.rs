//! The recipe `images` on the command line.

use spindle_shared::recipe::{self, Recipe};
use spindle_shared::stage::image::{Image, Operations, parse_operations};
use spindle_shared::stage::pack::Pack;
use spindle_shared::stage::publish::Publish;

use super::{PICTURE_EXTENSIONS, RecipeOptions};

#[derive(Debug, clap::Args)]
pub struct Images {
    #[command(flatten)]
    image: Image,
    /// The object alone, in a style, after the operations: minimal_white, modern_home, business, natural, amazon_standard, tiktok_vibrant,
    /// instagram_lifestyle or shopify_custom. `NAME,model=MODEL` names the model that finds the object; without one its background must be plain
    #[arg(long, value_name = "NAME")]
    style: Option<String>,
    #[command(flatten)]
    pack: Pack,
}

impl RecipeOptions for Images {
    const NAME: &'static str = recipe::IMAGES;
    /// More than there are cores: while one is decoded, others are hashed and published.
    const PARALLEL: u32 = 16;
    const EXTENSIONS: &'static [&'static str] = &PICTURE_EXTENSIONS;

    const OF_THE_BATCH: &'static [&'static str] = &["zip", "sheet"];

    fn recipe(mut self, force: bool) -> Result<Recipe, String> {
        if let Some(style) = &self.style {
            let operations = parse_operations(&format!("style={style}")).map_err(|why| format!("--style: {why}"))?;
            self.image.operations.push(Operations(operations));
        }
        for (needed, is_model) in self.image.needs_mut() {
            // The daemon has another current folder.
            if !is_model || needed.name.contains('/') || needed.name.ends_with(".onnx") {
                let path = std::path::absolute(&needed.name).map_err(|error| format!("{}: {error}", needed.name))?;
                needed.name = path.into_os_string().into_string().map_err(|_| "the path is not UTF-8".to_owned())?;
            }
        }
        let pack = Some(self.pack).filter(|pack| pack.zip || pack.sheet);
        let recipe = Recipe::images(self.image, pack, Publish { language_suffix: false, force });
        recipe.validate()?;
        Ok(recipe)
    }
}
