//! Propose: the plan for the highlights as a model would have it, in the place of the measured one, where it holds what a plan must.

use serde::{Deserialize, Serialize};

use crate::id::AddressHasher;
use crate::provider::ProviderRef;

/// Whom to ask.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Propose {
    pub provider: ProviderRef,
}

impl Propose {
    pub(crate) fn address_into(&self, hasher: &mut AddressHasher) {
        self.provider.address_into(hasher);
    }
}
