//! `[metrics]`: who gets them without asking over the socket. Counts nothing and listens nowhere.

use serde::{Deserialize, Serialize};

/// Metrics for who doesn't ask over the socket.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Metrics {
    /// Written again and again, for the node exporter's textfile collector.
    pub file: Option<String>,
    pub every_seconds: u64,
    /// Answers `GET /metrics` there.
    pub listen: Option<String>,
    /// `listen` may be an address that other machines reach.
    pub open_to_network: bool,
}

impl Default for Metrics {
    fn default() -> Self {
        Metrics { file: None, every_seconds: 15, listen: None, open_to_network: false }
    }
}

impl Metrics {
    pub(super) fn check(&self) -> Result<(), (&'static str, String)> {
        if let Some(file) = &self.file
            && !(file.starts_with('/') && file.ends_with(".prom"))
        {
            return Err(("file", "it is the absolute path of a file whose name ends with .prom".to_owned()));
        }
        if let Some(listen) = &self.listen {
            let Ok(address) = listen.parse::<std::net::SocketAddr>() else {
                return Err(("listen", format!("`{listen}` is no ADDRESS:PORT, 127.0.0.1:9469 say")));
            };
            if !address.ip().is_loopback() && !self.open_to_network {
                let why = "other machines reach that address, and anybody there could read it: take 127.0.0.1, or say open_to_network = true";
                return Err(("listen", why.to_owned()));
            }
        }
        Ok(())
    }
}
