//! Upload: the last artifact's files as objects of a store, whole or not at all.

use serde::{Deserialize, Serialize};

use super::publish::Publish;
use crate::object_store::ObjectStore;

/// How final names are made and what may be replaced; as in `publish`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Upload {
    pub publish: Publish,
    /// Filled in by the daemon when a run starts; in the queue it is empty.
    pub store: Option<ObjectStore>,
}
