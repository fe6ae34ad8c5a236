//! One bucket of an object store, by the S3 protocol: looked at, written in one piece or in parts, and links to what is in it. Requests are signed
//! in their addresses, which therefore stand in no message. Knows no queue, and not what the objects are.

use std::io::Read;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use spindle_shared::failure::{Failure, FailureKind};
use spindle_shared::object_store::ObjectStore;
use spindle_shared::text::escaped;
use spindle_shared::url::Url;
use ureq::http::{HeaderMap, Response};

use super::signature::{Request, encoded};

/// How long a request may be on its way before it begins.
const SIGNED: Duration = Duration::from_secs(15 * 60);
/// Of an answer that is no object: an error, or the word that an upload is complete.
const ANSWER_BYTES_MAX: u64 = 64 << 10;
/// Objects carry the hash of their content as Spindle takes it, so that the same is known without reading it.
const CONTENT_HEADER: &str = "x-amz-meta-blake3";

pub struct Bucket<'s> {
    store: &'s ObjectStore,
    /// `https://HOST[:PORT]`.
    origin: String,
    /// Of the bucket itself, percent-encoded, with a slash at its end.
    path: String,
    agent: ureq::Agent,
}

/// What is known of an object that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    pub bytes: Option<u64>,
    /// Where Spindle has written it: the hash of its content.
    pub content: Option<String>,
}

/// Why the store did not do as it was asked.
#[derive(Debug)]
pub enum Refused {
    /// Nothing of this name, or the upload is gone.
    NotThere(Failure),
    Failed(Failure),
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Failure {
        match refused {
            Refused::NotThere(failure) | Refused::Failed(failure) => failure,
        }
    }
}

impl<'s> Bucket<'s> {
    pub fn new(store: &'s ObjectStore) -> Result<Bucket<'s>, Failure> {
        let unusable = |why: String| {
            let message = format!("the store `{}` can't be used: {why}", escaped(&store.name));
            Failure::new(FailureKind::Auth, message).advise("check its section [stores] in the configuration")
        };
        let endpoint = Url::parse(&store.endpoint).map_err(|e| unusable(format!("its endpoint {e}")))?;
        let (scheme, host) = (endpoint.scheme(), endpoint.host_and_port());
        let (origin, path) = match store.path_style {
            true => (format!("{scheme}://{host}"), format!("/{}/", encoded(&store.bucket, false))),
            false => (format!("{scheme}://{}.{host}", store.bucket), "/".to_owned()),
        };
        let config = ureq::Agent::config_builder()
            .timeout_resolve(Some(Duration::from_secs(10)))
            .timeout_connect(Some(Duration::from_secs(10)))
            .timeout_send_body(Some(Duration::from_secs(600)))
            .timeout_recv_response(Some(Duration::from_secs(120)))
            .timeout_recv_body(Some(Duration::from_secs(60)))
            .http_status_as_error(false)
            // It is trusted for its own host and port, and for no other.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("spindle/", env!("CARGO_PKG_VERSION")));
        Ok(Bucket { store, origin, path, agent: config.build().new_agent() })
    }

    /// The address of an object, signed from now on for so long.
    fn signed(
        &self,
        method: &str,
        key: &str,
        query: &[(&str, &str)],
        headers: &[(&str, &str)],
        lives: Duration,
    ) -> String {
        let path = format!("{}{}", self.path, encoded(key, true));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        Request { method, origin: &self.origin, path: &path, query, headers }.signed(self.store, now, lives.as_secs())
    }

    /// Where an object can be read for some time by whoever has this address.
    pub fn link(&self, key: &str, lives: Duration) -> String {
        self.signed("GET", key, &[], &[], lives)
    }

    /// `HOST:PORT` that requests for this bucket go to.
    pub fn host(&self) -> Option<String> {
        let url = Url::parse(&self.origin).ok()?;
        let host = url.host_and_port();
        let with_port = host.rsplit_once(':').is_some_and(|(_, port)| !port.contains(']'));
        let port = if url.is_encrypted() { 443 } else { 80 };
        Some(if with_port { host.to_owned() } else { format!("{host}:{port}") })
    }

    /// What is known of an object; `None` = there is none.
    pub fn look(&self, key: &str) -> Result<Option<Object>, Failure> {
        let url = self.signed("HEAD", key, &[], &[], SIGNED);
        let answer = self.agent.head(&url).call();
        match self.checked(key, "look for", answer) {
            Ok(answer) => {
                let text = |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok());
                let bytes = text("content-length").and_then(|length| length.parse().ok());
                Ok(Some(Object { bytes, content: text(CONTENT_HEADER).map(str::to_owned) }))
            }
            Err(Refused::NotThere(_)) => Ok(None),
            Err(Refused::Failed(failure)) => Err(failure),
        }
    }

    /// Writes an object in one piece: it is there whole, or not at all.
    pub fn put(&self, key: &str, content: &str, bytes: &[u8]) -> Result<(), Failure> {
        let url = self.signed("PUT", key, &[], &[(CONTENT_HEADER, content)], SIGNED);
        let answer = self.agent.put(&url).header(CONTENT_HEADER, content).send(bytes);
        Ok(self.checked(key, "write", answer).map(drop)?)
    }

    /// What such a link leads to, if that is no more than `most` bytes.
    pub fn read(&self, key: &str, link: &str, most: usize) -> Result<Vec<u8>, Failure> {
        let answer = self.checked(key, "read", self.agent.get(link).call())?;
        let mut bytes = Vec::new();
        let read = answer.into_body().into_reader().take(most as u64 + 1).read_to_end(&mut bytes);
        read.map_err(|error| self.failure(FailureKind::Network, key, "read", &error.to_string()))?;
        Ok(bytes)
    }

    /// Removes an object; that there is none is as good.
    pub fn remove(&self, key: &str) -> Result<(), Failure> {
        let url = self.signed("DELETE", key, &[], &[], SIGNED);
        match self.checked(key, "remove", self.agent.delete(&url).call()) {
            Ok(_) | Err(Refused::NotThere(_)) => Ok(()),
            Err(Refused::Failed(failure)) => Err(failure),
        }
    }

    /// Begins an object that comes in parts; nothing of it is to be seen before it is complete.
    pub fn begin(&self, key: &str, content: &str) -> Result<String, Failure> {
        let url = self.signed("POST", key, &[("uploads", "")], &[(CONTENT_HEADER, content)], SIGNED);
        let answer = self.agent.post(&url).header(CONTENT_HEADER, content).send_empty();
        let text = self.text(self.checked(key, "begin", answer)?);
        let id = between(&text, "<UploadId>", "</UploadId>").map(unescaped);
        id.ok_or_else(|| self.failure(FailureKind::Server, key, "begin", "its answer names no upload"))
    }

    /// Writes one part, numbered from 1; gives what the store calls it.
    pub fn part(&self, key: &str, upload: &str, number: u16, bytes: &[u8]) -> Result<String, Refused> {
        let url = self.signed("PUT", key, &[("partNumber", &number.to_string()), ("uploadId", upload)], &[], SIGNED);
        let answer = self.checked(key, "write", self.agent.put(&url).send(bytes))?;
        let etag = answer.headers().get("etag").and_then(|etag| etag.to_str().ok()).map(str::to_owned);
        let missing = || self.failure(FailureKind::Server, key, "write", "its answer has no ETag");
        etag.ok_or_else(|| Refused::Failed(missing()))
    }

    /// Makes one object of the parts.
    pub fn complete(&self, key: &str, upload: &str, etags: &[String]) -> Result<(), Refused> {
        let url = self.signed("POST", key, &[("uploadId", upload)], &[], SIGNED);
        let part = |(number, etag): (usize, &String)| {
            format!("<Part><PartNumber>{}</PartNumber><ETag>{}</ETag></Part>", number + 1, in_xml(etag))
        };
        let parts: String = etags.iter().enumerate().map(part).collect();
        let body = format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>");
        let answer = self.agent.post(&url).header("content-type", "application/xml").send(&body);
        let text = self.text(self.checked(key, "complete", answer)?);
        // With 200, it may still have failed.
        match between(&text, "<Code>", "</Code>") {
            None => Ok(()),
            Some(code) => {
                let failure = self.failure(FailureKind::Server, key, "complete", &format!("it says {code}"));
                Err(if code == "NoSuchUpload" { Refused::NotThere(failure) } else { Refused::Failed(failure) })
            }
        }
    }

    /// Forgets an upload that nobody goes on with. Where that fails, the store's own rules for what is unfinished clear it away.
    pub fn abort(&self, key: &str, upload: &str) {
        let url = self.signed("DELETE", key, &[("uploadId", upload)], &[], SIGNED);
        let _ = self.agent.delete(&url).call();
    }

    fn checked(
        &self,
        key: &str,
        doing: &str,
        answer: Result<Response<ureq::Body>, ureq::Error>,
    ) -> Result<Response<ureq::Body>, Refused> {
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                // An error that names the address would tell its signature.
                let why = match error {
                    ureq::Error::BadUri(_) => "its address can't be asked".to_owned(),
                    other => other.to_string(),
                };
                return Err(Refused::Failed(self.failure(FailureKind::Network, key, doing, &why)));
            }
        };
        let status = answer.status().as_u16();
        if (200..300).contains(&status) {
            return Ok(answer);
        }
        let after = retry_after_ms(answer.headers());
        let text = self.text(answer);
        let code = between(&text, "<Code>", "</Code>").unwrap_or_default();
        let why = format!("it answered {status} {}", escaped(code));
        let kind = match (status, code) {
            (429, _) | (503, "SlowDown") => FailureKind::RateLimited,
            (401 | 403, _) | (404, "NoSuchBucket") => FailureKind::Auth,
            (404, _) => FailureKind::Input,
            (507, _) => FailureKind::Quota,
            (500.., _) => FailureKind::Server,
            _ => FailureKind::Internal,
        };
        let failure = self.failure(kind, key, doing, why.trim()).retry_after(after);
        let failure = match kind {
            FailureKind::Auth | FailureKind::Internal => failure.advise(format!(
                "check {} of the store `{}` in the configuration",
                suspect(code),
                escaped(&self.store.name)
            )),
            _ => failure,
        };
        Err(if kind == FailureKind::Input { Refused::NotThere(failure) } else { Refused::Failed(failure) })
    }

    fn text(&self, answer: Response<ureq::Body>) -> String {
        let mut text = Vec::new();
        // What can't be read says nothing; the status has said enough.
        let _ = answer.into_body().into_reader().take(ANSWER_BYTES_MAX).read_to_end(&mut text);
        String::from_utf8_lossy(&text).into_owned()
    }

    fn failure(&self, kind: FailureKind, key: &str, doing: &str, why: &str) -> Failure {
        let (store, bucket, key) = (escaped(&self.store.name), escaped(&self.store.bucket), escaped(key));
        Failure::new(kind, format!("the store `{store}` failed to {doing} {bucket}/{key}: {}", escaped(why)))
    }
}

/// What is wrong with the configuration, by the store's word for it.
fn suspect(code: &str) -> &'static str {
    match code {
        "InvalidAccessKeyId" => "access_key",
        "SignatureDoesNotMatch" => "secret_key (and region)",
        "RequestTimeTooSkewed" | "RequestExpired" => "this machine's clock, before anything",
        "NoSuchBucket" | "InvalidBucketName" => "bucket, endpoint and path_style",
        "AuthorizationHeaderMalformed" | "AuthorizationQueryParametersError" | "PermanentRedirect" => "region",
        "AccessDenied" => "keys and bucket, and what they may do there,",
        _ => "endpoint, bucket, region and keys, and what they may do there,",
    }
}

fn retry_after_ms(headers: &HeaderMap) -> Option<u64> {
    let seconds: u64 = headers.get("retry-after")?.to_str().ok()?.trim().parse().ok()?;
    Some(seconds.saturating_mul(1_000))
}

fn between<'t>(text: &'t str, begin: &str, end: &str) -> Option<&'t str> {
    Some(text.split_once(begin)?.1.split_once(end)?.0)
}

fn in_xml(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn unescaped(text: &str) -> String {
    text.replace("&quot;", "\"").replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
}
