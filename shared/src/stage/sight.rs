//! Sight: pictures from a video that stand for what it shows, as files, with the scenes they are from. What earlier stages left goes along.

use serde::{Deserialize, Serialize};

use crate::id::AddressHasher;

/// How many pictures, and how large.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
pub struct Sight {
    /// Key pictures of a video at most; 1–32
    #[cfg_attr(feature = "cli", arg(long = "pictures", value_name = "N", default_value_t = 12))]
    pub pictures: u32,
    /// Longer side of the pictures, in pixels; 64–1920
    #[cfg_attr(feature = "cli", arg(long = "picture-side", value_name = "N", default_value_t = 640))]
    pub side: u32,
}

/// Name of the artifact's file that says what the pictures are, as JSON.
pub const SIGHT_FILE: &str = "sight.json";
pub const PICTURES_MAX: u32 = 32;

/// Name of a picture's file, from 1; what follows its first dot is what its published name ends with.
pub fn picture_file(number: u32) -> String {
    format!("picture.report.{number:02}.jpg")
}

impl Default for Sight {
    fn default() -> Self {
        Sight { pictures: 12, side: 640 }
    }
}

impl Sight {
    pub(crate) fn address_into(&self, hasher: &mut AddressHasher) {
        hasher.part(&self.pictures.to_le_bytes()).part(&self.side.to_le_bytes());
    }

    pub(crate) fn validate(&self) -> Result<(), String> {
        for (flag, value, range) in
            [("--pictures", self.pictures, 1..=PICTURES_MAX), ("--picture-side", self.side, 64..=1_920)]
        {
            if !range.contains(&value) {
                return Err(format!("{flag} {value} is outside {}–{}", range.start(), range.end()));
            }
        }
        Ok(())
    }
}
