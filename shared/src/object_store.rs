//! Object stores: how one is reached, and the keys that it is signed for with. Opens no socket; the keys are shown nowhere.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::url::Url;

/// A text that is for one reader only; whoever prints it prints nothing of it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    pub fn told(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// A bucket of a service that speaks the S3 protocol. Not in the queue: a run that needs it is told by the daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectStore {
    /// As the configuration names it.
    pub name: String,
    /// `https://HOST[:PORT]`.
    pub endpoint: String,
    pub bucket: String,
    pub region: String,
    /// The bucket is the first part of the path, and not of the host's name.
    pub path_style: bool,
    pub access_key: Secret,
    pub secret_key: Secret,
    /// How long the links live that are made for outputs; 0 = none are made.
    pub link_seconds: u64,
    /// Bytes that Spindle may have there; `None` = any number.
    pub quota_bytes: Option<u64>,
}

/// A store as anybody may see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreView {
    pub name: String,
    pub endpoint: String,
    pub bucket: String,
    pub link_seconds: u64,
    pub quota_bytes: Option<u64>,
    /// What Spindle has put there, as far as it has counted.
    pub stored_bytes: u64,
    /// How fast an upload goes there; `None` = too little was sent to tell.
    pub bytes_per_second: Option<u64>,
}

/// Stands for a bucket in a place for outputs that may go to any.
pub const ANY: &str = "*";

/// Names of the figures by which a run tells what it has sent, and how long that took.
pub const SENT_BYTES: &str = "sent_bytes";
pub const SENT_SECONDS: &str = "sent_seconds";

/// Whether a variable of the environment is called as those are that hold a key. Only workers that fetch and ask (`net`) get them.
pub fn names_a_key(name: &str) -> bool {
    let name = name.to_uppercase();
    ["_KEY", "_SECRET", "_TOKEN", "_PASSWORD"].iter().any(|ending| name.ends_with(ending))
}

/// Bucket and folder of a place for outputs; `None` = it is no address.
pub fn folder(place: &[u8]) -> Option<(&str, &str)> {
    let text = std::str::from_utf8(place).ok()?;
    let (scheme, rest) = text.split_once("://")?;
    if !crate::url::STORE_SCHEMES.contains(&scheme) {
        return None;
    }
    Some(rest.split_once('/').unwrap_or((rest, "")))
}

/// A place for outputs in an object store, as it is kept: without a slash at its end. What is wrong with it otherwise.
pub fn parse_folder(text: &str) -> Result<String, String> {
    let text = text.trim_end_matches('/');
    let (bucket, prefix) = folder(text.as_bytes()).ok_or("is no place for outputs; write s3://BUCKET/PREFIX")?;
    if bucket != ANY {
        Url::parse(&format!("s3://{bucket}/x")).map_err(|error| error.to_string())?;
    }
    if !prefix.is_empty() {
        check_key(prefix)?;
    }
    Ok(text.to_owned())
}

/// What can be a name in a bucket: nothing that an address would resolve to another.
pub fn check_key(key: &str) -> Result<(), String> {
    let odd = key.split('/').any(|part| matches!(part, "" | "." | "..")) || key.chars().any(char::is_control);
    match odd || key.len() > 1_024 {
        true => Err(format!("`{}` can't be a name in a bucket", crate::text::escaped(key))),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_in_buckets_lead_nowhere_else() {
        assert_eq!(parse_folder("s3://talks/a/b/").as_deref(), Ok("s3://talks/a/b"));
        assert_eq!(parse_folder("oss://talks").as_deref(), Ok("oss://talks"));
        assert_eq!(parse_folder("s3://*/a b").as_deref(), Ok("s3://*/a b"));
        for wrong in ["s3://", "https://h/x", "s3://a/../b", "s3://a//b", "s3://a\\b/x", "/tmp", "s3://a/\n"] {
            assert!(parse_folder(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_secret_is_printed_by_nobody() {
        let store = ObjectStore {
            name: "media".to_owned(),
            endpoint: "https://h.example".to_owned(),
            bucket: "talks".to_owned(),
            region: "r".to_owned(),
            path_style: true,
            access_key: Secret::new("AKIA-me"),
            secret_key: Secret::new("s3cret"),
            link_seconds: 0,
            quota_bytes: None,
        };
        let shown = format!("{store:?}");
        assert!(!shown.contains("AKIA") && !shown.contains("s3cret"), "{shown}");
    }
}
