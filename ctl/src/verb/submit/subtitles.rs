//! The recipe `subtitles` on the command line: its stages' options, side by side.

use std::path::Path;

use spindle_shared::catalogue;
use spindle_shared::intake::MEDIA_EXTENSIONS;
use spindle_shared::recipe::{self, Recipe};
use spindle_shared::stage::decode::Decode;
use spindle_shared::stage::publish::Publish;
use spindle_shared::stage::subtitle::SubtitleOptions;
use spindle_shared::stage::transcribe::Transcribe;

use super::RecipeOptions;

#[derive(Debug, clap::Args)]
pub struct Subtitles {
    #[command(flatten)]
    transcribe: Transcribe,
    #[command(flatten)]
    decode: Decode,
    #[command(flatten)]
    subtitle: SubtitleOptions,
    #[command(flatten)]
    publish: Publish,
}

impl RecipeOptions for Subtitles {
    const NAME: &'static str = recipe::SUBTITLES;
    const PARALLEL: u32 = 3;
    const EXTENSIONS: &'static [&'static str] = &MEDIA_EXTENSIONS;

    fn recipe(self, force: bool) -> Result<Recipe, String> {
        let Subtitles { mut transcribe, decode, subtitle, publish } = self;
        transcribe.model.name = model(&transcribe.model.name, Path::new(""))?;
        let recipe = Recipe::subtitles(decode, transcribe, subtitle.into(), Publish { force, ..publish });
        recipe.validate()?;
        Ok(recipe)
    }
}

/// A model's own name; where it is a path, an absolute one: the daemon has another current folder. `folder`: what it is relative to.
pub fn model(name: &str, folder: &Path) -> Result<String, String> {
    let name = catalogue::canonical(name);
    if !name.contains('/') {
        return Ok(name.to_owned());
    }
    let path = std::path::absolute(folder.join(name)).map_err(|error| format!("--model: {error}"))?;
    path.into_os_string().into_string().map_err(|_| "--model: the path is not UTF-8".to_owned())
}
