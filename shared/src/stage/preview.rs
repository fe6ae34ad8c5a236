//! Preview: a small copy of a video that is quickly loaded, and a sheet of pictures from all over it.

use serde::{Deserialize, Serialize};

use crate::id::AddressHasher;

/// What the copy and the sheet look like.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
pub struct Preview {
    /// Longer side of the copy's pictures, in pixels; 64–1280
    #[cfg_attr(feature = "cli", arg(long, value_name = "N", default_value = "426"))]
    pub side: u32,
    /// Frames per second of the copy at most; 1–60
    #[cfg_attr(feature = "cli", arg(long, value_name = "N", default_value = "12"))]
    pub fps: u32,
    /// Pictures beside each other on the sheet; 1–20
    #[cfg_attr(feature = "cli", arg(long, value_name = "N", default_value = "4"))]
    pub columns: u32,
    /// Pictures below each other on the sheet; 1–50
    #[cfg_attr(feature = "cli", arg(long, value_name = "N", default_value = "4"))]
    pub rows: u32,
    /// Width of the sheet in pixels; 160–8000
    #[cfg_attr(feature = "cli", arg(long, value_name = "N", default_value = "1280"))]
    pub sheet_width: u32,
}

/// The artifact's files.
pub const PREVIEW_FILE: &str = "video.preview.mp4";
pub const SHEET_FILE: &str = "sheet.contact.jpg";

impl Default for Preview {
    fn default() -> Self {
        Preview { side: 426, fps: 12, columns: 4, rows: 4, sheet_width: 1_280 }
    }
}

impl Preview {
    pub(crate) fn address_into(&self, hasher: &mut AddressHasher) {
        for number in [self.side, self.fps, self.columns, self.rows, self.sheet_width] {
            hasher.part(&number.to_le_bytes());
        }
    }

    pub(crate) fn validate(&self) -> Result<(), String> {
        for (flag, value, range) in [
            ("--side", self.side, 64..=1_280),
            ("--fps", self.fps, 1..=60),
            ("--columns", self.columns, 1..=20),
            ("--rows", self.rows, 1..=50),
            ("--sheet-width", self.sheet_width, 160..=8_000),
        ] {
            if !range.contains(&value) {
                return Err(format!("{flag} {value} is outside {}–{}", range.start(), range.end()));
            }
        }
        if self.sheet_width / self.columns < 32 {
            return Err(format!("--sheet-width {} is too little for {} pictures", self.sheet_width, self.columns));
        }
        Ok(())
    }
}
