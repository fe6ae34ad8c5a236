//! Deliver: a notification sent to a web address. Not a stage of any recipe: the daemon gives it to a worker that may use the network.

use serde::{Deserialize, Serialize};

use crate::object_store::Secret;

/// One try.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deliver {
    pub url: String,
    pub body: String,
    /// The same in every try, and no other notification's.
    pub id: String,
    pub event: String,
    /// Signs the body.
    pub secret: Option<Secret>,
    /// `HOST:PORT` that may be told although they are not public.
    pub allow: Vec<String>,
}
