//! Fetch: an input that lies elsewhere, brought here. Its content then is the input of the stages behind it.

use serde::{Deserialize, Serialize};

use crate::object_store::ObjectStore;
use crate::url::Url;

/// What the daemon's configuration says about fetching. In the queue it is empty: it is filled in when a run starts.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Fetch {
    /// Largest input that is fetched.
    pub bytes_max: u64,
    /// `HOST:PORT` that may be fetched from although they are not public.
    pub allow: Vec<String>,
    /// Where the input lies, if in an object store.
    pub store: Option<ObjectStore>,
    pub pages: Pages,
}

/// Sites whose addresses are pages around a recording, and the program that finds it there.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Pages {
    /// A name that is looked for in PATH, or a path.
    pub program: String,
    pub sites: Vec<String>,
}

impl Pages {
    pub fn have(&self, url: &Url) -> bool {
        self.sites.iter().any(|site| url.is_on(site))
    }
}
