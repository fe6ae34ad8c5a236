//! Pack: what became of all inputs in one archive, and their pictures on one sheet.

use serde::{Deserialize, Serialize};

use crate::id::AddressHasher;

/// What is made of all results together.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
pub struct Pack {
    /// Put originals and results of all inputs into one ZIP file, too, with a manifest and the list of those that failed
    #[cfg_attr(feature = "cli", arg(long))]
    pub zip: bool,
    /// Show the results of all inputs on one picture, too, each with its number; the first thousand of them
    #[cfg_attr(feature = "cli", arg(long))]
    pub sheet: bool,
}

/// The artifact's files.
pub const ARCHIVE_FILE: &str = "images.zip";
pub const SHEET_FILE: &str = "images.contact.jpg";

impl Pack {
    /// Which of the inputs' files it reads.
    pub fn reads(_name: &str) -> bool {
        true
    }

    pub fn endings(&self) -> Vec<String> {
        let endings = [(self.zip, ARCHIVE_FILE), (self.sheet, SHEET_FILE)];
        let wanted = endings.into_iter().filter(|(wanted, _)| *wanted);
        wanted.filter_map(|(_, file)| file.split_once('.').map(|(_, ending)| ending.to_owned())).collect()
    }

    pub(crate) fn address_into(&self, hasher: &mut AddressHasher) {
        hasher.part(&[u8::from(self.zip), u8::from(self.sheet)]);
    }

    pub(crate) fn validate(&self) -> Result<(), String> {
        match self.zip || self.sheet {
            true => Ok(()),
            false => Err("pack makes nothing: ask for --zip, --sheet or both".to_owned()),
        }
    }
}
