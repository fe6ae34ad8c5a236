//! Signatures of requests to object stores (AWS Signature Version 4, in the address): pure. The signature covers method, path, query and the headers
//! named, not the body.

use sha2::{Digest, Sha256};
use spindle_shared::object_store::ObjectStore;

const BLOCK_BYTES: usize = 64;

/// What is asked for.
pub struct Request<'r> {
    pub method: &'r str,
    /// `https://HOST[:PORT]`.
    pub origin: &'r str,
    /// Percent-encoded, from the first slash on.
    pub path: &'r str,
    pub query: &'r [(&'r str, &'r str)],
    /// Sent along, with names in lower case.
    pub headers: &'r [(&'r str, &'r str)],
}

impl Request<'_> {
    /// The address to ask, good from `now` (seconds since 1970) for so many seconds.
    pub fn signed(&self, store: &ObjectStore, now: u64, lives: u64) -> String {
        let (day, time) = stamps(now);
        let scope = format!("{day}/{}/s3/aws4_request", store.region);
        let host = self.origin.split_once("://").map_or(self.origin, |(_, host)| host);
        let mut headers: Vec<(&str, &str)> = self.headers.iter().copied().chain([("host", host)]).collect();
        headers.sort_unstable();
        let names = headers.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
        let lives = lives.to_string();
        let credential = format!("{}/{scope}", store.access_key.told());
        let own = [
            ("X-Amz-Algorithm", "AWS4-HMAC-SHA256"),
            ("X-Amz-Credential", &credential),
            ("X-Amz-Date", &time),
            ("X-Amz-Expires", &lives),
            ("X-Amz-SignedHeaders", &names),
        ];
        let mut query: Vec<String> = own
            .iter()
            .chain(self.query)
            .map(|(name, value)| format!("{}={}", encoded(name, false), encoded(value, false)))
            .collect();
        query.sort_unstable();
        let query = query.join("&");
        let lines: String = headers.iter().map(|(name, value)| format!("{name}:{}\n", value.trim())).collect();
        let canonical = format!("{}\n{}\n{query}\n{lines}\n{names}\nUNSIGNED-PAYLOAD", self.method, self.path);
        let to_sign = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", hex(&Sha256::digest(canonical)));
        let secret = format!("AWS4{}", store.secret_key.told());
        let steps = [day.as_str(), &store.region, "s3", "aws4_request", &to_sign];
        let signature = steps.iter().fold(secret.into_bytes(), |key, step| hmac(&key, step.as_bytes()));
        format!("{}{}?{query}&X-Amz-Signature={}", self.origin, self.path, hex(&signature))
    }
}

/// Percent-encoded as the signature wants it; `path`: slashes part it.
pub fn encoded(text: &str, path: bool) -> String {
    let byte = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
        b'/' if path => "/".to_owned(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(byte).collect()
}

/// HMAC with SHA-256 (RFC 2104).
fn hmac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut block = [0; BLOCK_BYTES];
    let short = if key.len() > BLOCK_BYTES { Sha256::digest(key).to_vec() } else { key.to_vec() };
    block[..short.len()].copy_from_slice(&short);
    let padded = |pad: u8| block.map(|byte| byte ^ pad);
    let inner = Sha256::new().chain_update(padded(0x36)).chain_update(text).finalize();
    Sha256::new().chain_update(padded(0x5c)).chain_update(inner).finalize().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `20130524` and `20130524T000000Z`.
fn stamps(now: u64) -> (String, String) {
    let (days, seconds) = (now / 86_400, now % 86_400);
    // Days since 1970 to the calendar, by eras of 400 years that begin in March.
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let date = format!("{year:04}{month:02}{day:02}");
    let time = format!("{date}T{:02}{:02}{:02}Z", seconds / 3_600, seconds / 60 % 60, seconds % 60);
    (date, time)
}

#[cfg(test)]
mod tests {
    use spindle_shared::object_store::Secret;

    use super::*;

    /// The example in the protocol's own documentation.
    #[test]
    fn the_published_example_has_its_published_signature() {
        let store = ObjectStore {
            name: "example".to_owned(),
            endpoint: "https://s3.amazonaws.com".to_owned(),
            bucket: "examplebucket".to_owned(),
            region: "us-east-1".to_owned(),
            path_style: false,
            access_key: Secret::new("AKIAIOSFODNN7EXAMPLE"),
            secret_key: Secret::new("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
            link_seconds: 0,
            quota_bytes: None,
        };
        let origin = "https://examplebucket.s3.amazonaws.com";
        let request = Request { method: "GET", origin, path: "/test.txt", query: &[], headers: &[] };
        let url = request.signed(&store, 1_369_353_600, 86_400);
        assert!(
            url.starts_with("https://examplebucket.s3.amazonaws.com/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256&"),
            "{url}"
        );
        assert!(url.contains("&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host&"), "{url}");
        let signature = "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404";
        assert!(url.ends_with(&format!("&X-Amz-Signature={signature}")), "{url}");
    }

    #[test]
    fn days_are_those_of_the_calendar() {
        for (now, time) in [
            (0, "19700101T000000Z"),
            (951_782_399, "20000228T235959Z"),
            (951_782_400, "20000229T000000Z"),
            (1_709_251_200, "20240301T000000Z"),
            (4_102_444_799, "20991231T235959Z"),
        ] {
            assert_eq!(stamps(now).1, time);
        }
    }

    #[test]
    fn keys_longer_than_a_block_are_hashed_first() {
        // RFC 4231, cases 2 and 6.
        let told = |key: &[u8], text: &[u8]| hex(&hmac(key, text));
        assert_eq!(
            told(b"Jefe", b"what do ya want for nothing?"),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
        let long = "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54";
        assert_eq!(told(&[0xaa; 131], b"Test Using Larger Than Block-Size Key - Hash Key First"), long);
    }
}
