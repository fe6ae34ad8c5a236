//! The recipe `convert` on the command line.

use spindle_shared::recipe::{self, Recipe};
use spindle_shared::stage::convert::Convert;
use spindle_shared::stage::publish::Publish;

use super::{CONVERTED_EXTENSIONS, RecipeOptions};

#[derive(Debug, clap::Args)]
pub struct ConvertArgs {
    #[command(flatten)]
    convert: Convert,
}

impl RecipeOptions for ConvertArgs {
    const NAME: &'static str = recipe::CONVERT;
    const PARALLEL: u32 = 3;
    const EXTENSIONS: &'static [&'static str] = &CONVERTED_EXTENSIONS;

    fn recipe(self, force: bool) -> Result<Recipe, String> {
        let recipe = Recipe::convert(self.convert, Publish { language_suffix: false, force });
        recipe.validate()?;
        Ok(recipe)
    }
}
