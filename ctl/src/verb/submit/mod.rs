//! `submit`: a new batch. Each recipe is a subcommand with its own options; what follows is the same for all.

mod common;
mod compress;
mod convert;
pub mod custom;
pub mod highlights;
pub mod images;
mod overrides;
mod preview;
pub mod report;
pub mod send;
mod subtitles;
mod upload;

use clap::{Args, Subcommand};
use spindle_shared::batch::BatchSpec;
use spindle_shared::intake::MEDIA_EXTENSIONS;
use spindle_shared::wire::request::Submission;

use crate::Context;
use crate::fault::Fault;

/// Submits a new batch and prints its id
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true)]
pub struct Submit {
    #[command(subcommand)]
    recipe: RecipeArgs,
}

#[derive(Debug, Subcommand)]
enum RecipeArgs {
    /// Speech of recordings and videos to subtitles and transcripts
    Subtitles(Box<Of<subtitles::Subtitles>>),
    /// Videos made smaller by a profile: H.264 and AAC in MP4
    Compress(Box<Of<compress::CompressArgs>>),
    /// Recordings, videos and subtitles in another format
    Convert(Box<Of<convert::ConvertArgs>>),
    /// A small copy of a video, and a sheet of pictures from all over it
    Preview(Box<Of<preview::PreviewArgs>>),
    /// The best pieces of many videos, cut and joined to one
    Highlights(Box<Of<highlights::Highlights>>),
    /// A document on each recording: outline, key sentences and pictures; with --provider a lesson by a model
    Report(Box<Of<report::ReportArgs>>),
    /// Pictures resized, cropped, turned and converted, with a score of their quality
    Images(Box<Of<images::Images>>),
    /// Stages of your own choice, from a file
    Custom(Box<Of<custom::Custom>>),
}

/// What is taken from folders where pictures that move are wanted.
const VIDEO_EXTENSIONS: [&str; 27] = [
    "3g2", "3gp", "asf", "avi", "dv", "f4v", "flv", "gif", "m2ts", "m4v", "mkv", "mov", "mp4", "mpeg", "mpg", "mts",
    "mxf", "nut", "ogm", "ogv", "qt", "rm", "rmvb", "ts", "vob", "webm", "wmv",
];

/// What is taken from folders where pictures are wanted; what a file is, its content tells.
const PICTURE_EXTENSIONS: [&str; 25] = [
    "avif", "avifs", "bmp", "dib", "exr", "gif", "hdr", "heic", "heif", "hif", "ico", "jfif", "jpe", "jpeg", "jpg",
    "mpo", "pbm", "pgm", "png", "pnm", "ppm", "rgbe", "tif", "tiff", "webp",
];

/// What is taken from folders where anything that plays may be converted, and what it says on the screen.
const CONVERTED_EXTENSIONS: [&str; MEDIA_EXTENSIONS.len() + 5] = {
    let mut all = ["srt"; MEDIA_EXTENSIONS.len() + 5];
    let texts = ["srt", "vtt", "ass", "ssa", "lrc"];
    let mut at = 0;
    while at < all.len() {
        all[at] = if at < texts.len() { texts[at] } else { MEDIA_EXTENSIONS[at - texts.len()] };
        at += 1;
    }
    all
};

/// A recipe's own options, and those that every recipe has.
#[derive(Debug, Args)]
struct Of<R: RecipeOptions> {
    #[command(flatten)]
    options: R,
    #[command(flatten)]
    common: common::Common,
}

/// What `submit` must know of a recipe beside its options.
trait RecipeOptions: Args {
    const NAME: &'static str;
    /// Jobs at work at the same time, unless `--parallel` says otherwise.
    const PARALLEL: u32;
    /// Taken from folders.
    const EXTENSIONS: &'static [&'static str];
    /// Options that no input can have of its own: they are about all of them together.
    const OF_THE_BATCH: &'static [&'static str] = &[];

    fn recipe(self, force: bool) -> Result<spindle_shared::recipe::Recipe, String>;
}

impl Submit {
    pub fn run(self, context: &Context) -> Result<u8, Fault> {
        match self.recipe {
            RecipeArgs::Subtitles(of) => common::submit(context, of.options, of.common),
            RecipeArgs::Compress(of) => common::submit(context, of.options, of.common),
            RecipeArgs::Convert(of) => common::submit(context, of.options, of.common),
            RecipeArgs::Preview(of) => common::submit(context, of.options, of.common),
            RecipeArgs::Highlights(of) => common::submit(context, of.options, of.common),
            RecipeArgs::Report(of) => common::submit(context, of.options, of.common),
            RecipeArgs::Images(of) => common::submit(context, of.options, of.common),
            RecipeArgs::Custom(of) => common::submit(context, of.options, of.common),
        }
    }

    /// Of files that are taken from folders.
    pub fn extensions(&self) -> &'static [&'static str] {
        fn of<R: RecipeOptions>(_: &Of<R>) -> &'static [&'static str] {
            R::EXTENSIONS
        }
        match &self.recipe {
            RecipeArgs::Subtitles(args) => of(args),
            RecipeArgs::Compress(args) => of(args),
            RecipeArgs::Convert(args) => of(args),
            RecipeArgs::Preview(args) => of(args),
            RecipeArgs::Highlights(args) => of(args),
            RecipeArgs::Report(args) => of(args),
            RecipeArgs::Images(args) => of(args),
            RecipeArgs::Custom(args) => of(args),
        }
    }

    /// What it would send, for whoever sends it themselves.
    pub fn prepared(self, context: &Context) -> Result<(BatchSpec, Vec<Submission>), Fault> {
        match self.recipe {
            RecipeArgs::Subtitles(of) => common::prepared(context, of.options, &of.common),
            RecipeArgs::Compress(of) => common::prepared(context, of.options, &of.common),
            RecipeArgs::Convert(of) => common::prepared(context, of.options, &of.common),
            RecipeArgs::Preview(of) => common::prepared(context, of.options, &of.common),
            RecipeArgs::Highlights(of) => common::prepared(context, of.options, &of.common),
            RecipeArgs::Report(of) => common::prepared(context, of.options, &of.common),
            RecipeArgs::Images(of) => common::prepared(context, of.options, &of.common),
            RecipeArgs::Custom(of) => common::prepared(context, of.options, &of.common),
        }
    }
}
