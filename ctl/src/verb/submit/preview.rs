//! The recipe `preview` on the command line.

use spindle_shared::recipe::{self, Recipe};
use spindle_shared::stage::preview::Preview;
use spindle_shared::stage::publish::Publish;

use super::{RecipeOptions, VIDEO_EXTENSIONS};

#[derive(Debug, clap::Args)]
pub struct PreviewArgs {
    #[command(flatten)]
    preview: Preview,
}

impl RecipeOptions for PreviewArgs {
    const NAME: &'static str = recipe::PREVIEW;
    const PARALLEL: u32 = 3;
    const EXTENSIONS: &'static [&'static str] = &VIDEO_EXTENSIONS;

    fn recipe(self, force: bool) -> Result<Recipe, String> {
        let recipe = Recipe::preview(self.preview, Publish { language_suffix: false, force });
        recipe.validate()?;
        Ok(recipe)
    }
}
