//! Ask: what happens in a video, as a model says that sees pictures of it and reads what was measured.

use serde::{Deserialize, Serialize};

use crate::id::AddressHasher;
use crate::provider::ProviderRef;

/// Whom to ask.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ask {
    pub provider: ProviderRef,
}

impl Ask {
    pub(crate) fn address_into(&self, hasher: &mut AddressHasher) {
        self.provider.address_into(hasher);
    }
}
