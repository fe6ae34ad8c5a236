//! Listen: as `decode`, for recipes that can do without: where there is nothing to hear it leaves no samples, and says so.

use serde::{Deserialize, Serialize};

use super::decode::Decode;
use crate::id::AddressHasher;

/// Which audio track to take, where there is one.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
pub struct Listen {
    #[cfg_attr(feature = "cli", command(flatten))]
    pub decode: Decode,
}

impl Listen {
    pub(crate) fn address_into(&self, hasher: &mut AddressHasher) {
        self.decode.address_into(hasher);
    }
}
