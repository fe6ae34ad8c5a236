//! One POST to a web address that somebody named: to public machines alone, unless the configuration allows others; no redirect is followed, and
//! of the answer only its status counts. Knows nothing of what it sends.

use std::io::Read;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

use sha2::{Digest, Sha256};
use ureq::unversioned::transport::DefaultConnector;

use super::http::{Forbidden, PublicOnly, Trouble};
use crate::context::LOOK_EVERY;

/// From the look-up to the answer's head.
const PATIENCE: Duration = Duration::from_secs(30);
/// Of the answer's body, so much is read, so that the other side sees no broken connection.
const ANSWER_BYTES_MAX: u64 = 64 << 10;

/// What was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answered {
    pub status: u16,
    pub retry_after_s: Option<u64>,
}

pub fn post(
    url: &str,
    headers: Vec<(&'static str, String)>,
    body: String,
    allow: Arc<[String]>,
    stop: &dyn Fn() -> bool,
) -> Result<Answered, Trouble> {
    let config = ureq::Agent::config_builder()
        .timeout_global(Some(PATIENCE))
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        // A proxy would look names up itself, and reach what must not be reached.
        .proxy(None)
        .user_agent(concat!("spindle/", env!("CARGO_PKG_VERSION")))
        .build();
    let agent = ureq::Agent::with_parts(config, DefaultConnector::default(), PublicOnly::new(allow));
    let (sender, answer) = sync_channel(1);
    let (asking, url) = (agent.clone(), url.to_owned());
    let exchange = move || {
        let mut request = asking.post(&url).header("content-type", "application/json");
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let answered = request.send(body).map(|response| {
            let retry_after =
                response.headers().get("retry-after").and_then(|value| value.to_str().ok()?.trim().parse().ok());
            let answered = Answered { status: response.status().as_u16(), retry_after_s: retry_after };
            let mut rest = response.into_body().into_reader().take(ANSWER_BYTES_MAX);
            drop(std::io::copy(&mut rest, &mut std::io::sink()));
            answered
        });
        // Nobody listens any more where the run was stopped.
        drop(sender.send(answered));
    };
    std::thread::Builder::new()
        .name("webhook".to_owned())
        .spawn(exchange)
        .map_err(|error| Trouble::Network(format!("no thread for the exchange: {error}")))?;
    loop {
        if stop() {
            agent.shutdown();
            return Err(Trouble::Stopped);
        }
        match answer.recv_timeout(LOOK_EVERY) {
            Ok(Ok(answered)) => return Ok(answered),
            Ok(Err(ureq::Error::Other(other))) => {
                return Err(match other.downcast::<Forbidden>() {
                    Ok(forbidden) => Trouble::Forbidden(*forbidden),
                    Err(other) => Trouble::Network(other.to_string()),
                });
            }
            Ok(Err(error)) => return Err(Trouble::Network(error.to_string())),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                return Err(Trouble::Network("the exchange ended unexpectedly".to_owned()));
            }
        }
    }
}

/// HMAC-SHA256 (RFC 2104), in hexadecimal digits.
pub fn signature(key: &[u8], message: &[u8]) -> String {
    const BLOCK: usize = 64;
    let mut padded = [0_u8; BLOCK];
    if key.len() > BLOCK {
        padded[..32].copy_from_slice(&Sha256::digest(key));
    } else {
        padded[..key.len()].copy_from_slice(key);
    }
    let masked = |mask: u8| padded.map(|byte| byte ^ mask);
    let inner = Sha256::new().chain_update(masked(0x36)).chain_update(message).finalize();
    let outer = Sha256::new().chain_update(masked(0x5c)).chain_update(inner).finalize();
    outer.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Test cases 1, 2 and 6 of RFC 4231.
    #[test]
    fn signatures_are_as_the_standard_has_them() {
        for (key, message, digits) in [
            (vec![0x0b; 20], "Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
            (
                b"Jefe".to_vec(),
                "what do ya want for nothing?",
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            ),
            (
                vec![0xaa; 131],
                "Test Using Larger Than Block-Size Key - Hash Key First",
                "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
            ),
        ] {
            assert_eq!(signature(&key, message.as_bytes()), digits);
        }
    }
}
