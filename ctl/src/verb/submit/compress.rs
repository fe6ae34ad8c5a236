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
    /// Longest time for a copy's way to its store (-o s3://…): `90`, `5m`; takes the best profile whose copies are sure to get there in time, by how
    /// fast uploads to that store have gone (`spindlectl stores check` measures it)
    #[arg(long, value_name = "DUR", value_parser = crate::named::duration_ms)]
    max_upload_time: Option<u64>,
}

impl RecipeOptions for CompressArgs {
    const NAME: &'static str = recipe::COMPRESS;
    const PARALLEL: u32 = 3;
    const EXTENSIONS: &'static [&'static str] = &VIDEO_EXTENSIONS;

    fn recipe(self, force: bool) -> Result<Recipe, String> {
        let compress = Compress { upload_ms: self.max_upload_time, ..self.compress };
        let recipe = Recipe::compress(compress, Publish { language_suffix: false, force });
        recipe.validate()?;
        Ok(recipe)
    }
}
