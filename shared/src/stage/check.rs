//! Check: an object store tried out with one small object, which is gone again afterwards.

use serde::{Deserialize, Serialize};

use crate::object_store::ObjectStore;

/// Which store, the job's input says.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Check {
    /// Filled in by the daemon when a run starts; in the queue it is empty.
    pub store: Option<ObjectStore>,
}
