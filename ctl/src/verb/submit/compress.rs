//! The recipe `compress` on the command line.

use spindle_shared::recipe::{self, Recipe};
use spindle_shared::stage::compress::Compress;
use spindle_shared::stage::publish::Publish;

use super::RecipeOptions;
use super::VIDEO_EXTENSIONS;

#[derive(Debug, clap::Args)]
pub struct CompressArgs {
    #[command(flatten)]
    compress: Compress,
}

impl RecipeOptions for CompressArgs {
    const NAME: &'static str = recipe::COMPRESS;
    const PARALLEL: u32 = 3;
    const EXTENSIONS: &'static [&'static str] = &VIDEO_EXTENSIONS;

    fn recipe(self, force: bool) -> Result<Recipe, String> {
        let recipe = Recipe::compress(self.compress, Publish { language_suffix: false, force });
        recipe.validate()?;
        Ok(recipe)
    }
}
