//! `profiles`: what videos can be made into.

use serde::Serialize;
use spindle_shared::exit;
use spindle_shared::stage::compress::Profile;

use crate::Context;
use crate::fault::Fault;
use crate::output::human;
use crate::output::table::{Align, Table};

/// Lists the profiles that `submit compress` knows, the configuration's own among them
#[derive(Debug, clap::Args)]
pub struct Profiles {}

#[derive(Debug, Serialize)]
struct ProfileJson {
    name: String,
    width: u32,
    height: u32,
    fps: u32,
    crf: u32,
    video_kbps: u32,
    audio_kbps: u32,
    audio_hz: u32,
    preset: String,
    expected_token_saving: Option<f64>,
}

impl From<&Profile> for ProfileJson {
    fn from(profile: &Profile) -> Self {
        ProfileJson {
            name: profile.name.clone(),
            width: profile.width,
            height: profile.height,
            fps: profile.rate,
            crf: profile.crf,
            video_kbps: profile.bit_rate / 1_000,
            audio_kbps: profile.audio_bit_rate / 1_000,
            audio_hz: profile.audio_rate,
            preset: profile.preset.clone(),
            expected_token_saving: profile.expected_token_saving(),
        }
    }
}

impl Profiles {
    pub fn run(self, context: &Context) -> Result<u8, Fault> {
        let profiles = context.daemon.profiles()?;
        context.console.either(
            || profiles.iter().map(ProfileJson::from).collect::<Vec<_>>(),
            || {
                let mut table = Table::new(&[
                    ("PROFILE", Align::Left),
                    ("BOX", Align::Left),
                    ("FPS", Align::Right),
                    ("CRF", Align::Right),
                    ("VIDEO", Align::Right),
                    ("AUDIO", Align::Right),
                    ("PRESET", Align::Left),
                ]);
                for profile in &profiles {
                    table.row(vec![
                        human::escaped(&profile.name).into(),
                        format!("{}×{}", profile.width, profile.height).into(),
                        profile.rate.to_string().into(),
                        profile.crf.to_string().into(),
                        format!("{}k", profile.bit_rate / 1_000).into(),
                        format!("{}k/{}", profile.audio_bit_rate / 1_000, profile.audio_rate).into(),
                        human::escaped(&profile.preset).into(),
                    ]);
                }
                let mut text = table.render(context.console.colour);
                text.push_str("\ndynamic chooses by the video's length: under 3 minutes conservative, under 7 balanced, else aggressive\n");
                text
            },
        )?;
        Ok(exit::DONE)
    }
}
