//! `[stores]`: buckets that inputs come from and outputs go to. Asks none of them, and holds where their keys are, never the keys.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use spindle_core::stores::Known;
use spindle_shared::object_store::{ObjectStore, StoreView};
use spindle_shared::url::Url;

use super::Config;
use super::secret::{check_place, secret};

/// A bucket of a service that speaks the S3 protocol.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Store {
    /// `https://HOST[:PORT]`.
    pub endpoint: String,
    pub bucket: String,
    #[serde(default = "usual_region")]
    pub region: String,
    /// The bucket is the first part of the path, and not of the host's name.
    #[serde(default)]
    pub path_style: bool,
    /// Where its keys are: `env:NAME`, `file:PATH`, `credential:NAME` (systemd's).
    pub access_key: String,
    pub secret_key: String,
    /// How long links to outputs live; 0 = none are made.
    #[serde(default)]
    pub link_minutes: u64,
    /// What Spindle may have there; default: any number.
    pub quota_mib: Option<u64>,
}

fn usual_region() -> String {
    "us-east-1".to_owned()
}

/// Longest life of a link, as the protocol has it: a week.
const LINK_MINUTES_MAX: u64 = 7 * 24 * 60;

/// A pebibyte.
const QUOTA_MIB_MAX: u64 = 1 << 30;

impl Store {
    /// `Err` = which of its keys is wrong, and why.
    pub(super) fn check(&self) -> Result<(), (&'static str, String)> {
        match Url::parse(&self.endpoint) {
            Ok(url) if url.in_store().is_none() && url.login().is_none() => {}
            Ok(_) => return Err(("endpoint", "its endpoint is no https://HOST".to_owned())),
            Err(error) => return Err(("endpoint", format!("its endpoint {error}"))),
        }
        if Url::parse(&format!("s3://{}/x", self.bucket)).is_err() || self.bucket.contains(':') {
            return Err(("bucket", format!("`{}` is no bucket", self.bucket)));
        }
        if self.link_minutes > LINK_MINUTES_MAX {
            return Err(("link_minutes", format!("{} is outside 0–{LINK_MINUTES_MAX}", self.link_minutes)));
        }
        if let Some(mib) = self.quota_mib.filter(|mib| !(1..=QUOTA_MIB_MAX).contains(mib)) {
            return Err(("quota_mib", format!("{mib} is outside 1–{QUOTA_MIB_MAX}")));
        }
        for (name, key) in [("access_key", &self.access_key), ("secret_key", &self.secret_key)] {
            check_place(key).map_err(|why| (name, why))?;
        }
        Ok(())
    }

    fn quota_bytes(&self) -> Option<u64> {
        self.quota_mib.map(|mib| mib << 20)
    }

    /// With its keys.
    fn opened(&self, name: &str) -> Result<ObjectStore, String> {
        let key = |source: &str| secret(source).map_err(|why| format!("stores.{name}: {why}"));
        Ok(ObjectStore {
            name: name.to_owned(),
            endpoint: self.endpoint.clone(),
            bucket: self.bucket.clone(),
            region: self.region.clone(),
            path_style: self.path_style,
            access_key: key(&self.access_key)?,
            secret_key: key(&self.secret_key)?,
            link_seconds: self.link_minutes * 60,
            quota_bytes: self.quota_bytes(),
        })
    }
}

impl Config {
    /// The buckets with their keys.
    pub fn stores(&self) -> Result<Vec<ObjectStore>, String> {
        self.stores.iter().map(|(name, store)| store.opened(name)).collect()
    }

    /// The buckets as anybody may see them, with what is known of each.
    pub fn store_views(&self, known: &BTreeMap<String, Known>) -> Vec<StoreView> {
        let view = |(name, store): (&String, &Store)| StoreView {
            name: name.clone(),
            endpoint: store.endpoint.clone(),
            bucket: store.bucket.clone(),
            link_seconds: store.link_minutes * 60,
            quota_bytes: store.quota_bytes(),
            stored_bytes: known.get(&store.bucket).map_or(0, |known| known.bytes),
            bytes_per_second: known.get(&store.bucket).and_then(Known::bytes_per_second).map(|speed| speed as u64),
        };
        self.stores.iter().map(view).collect()
    }
}
