//! The recipe `images` on the command line.

use spindle_shared::recipe::{self, Recipe};
use spindle_shared::stage::image::Image;
use spindle_shared::stage::pack::Pack;
use spindle_shared::stage::publish::Publish;

use super::{PICTURE_EXTENSIONS, RecipeOptions};

#[derive(Debug, clap::Args)]
pub struct Images {
    #[command(flatten)]
    image: Image,
    #[command(flatten)]
    pack: Pack,
}

impl RecipeOptions for Images {
    const NAME: &'static str = recipe::IMAGES;
    /// More than there are cores: while one is decoded, others are hashed and published.
    const PARALLEL: u32 = 16;
    const EXTENSIONS: &'static [&'static str] = &PICTURE_EXTENSIONS;

    const OF_THE_BATCH: &'static [&'static str] = &["zip", "sheet"];

    fn recipe(self, force: bool) -> Result<Recipe, String> {
        let pack = Some(self.pack).filter(|pack| pack.zip || pack.sheet);
        let recipe = Recipe::images(self.image, pack, Publish { language_suffix: false, force });
        recipe.validate()?;
        Ok(recipe)
    }
}
