//! One question to a model API at a time: texts and pictures out, a text back. Knows no template and no video; its key goes into one header
//! and nowhere else.
//!
//! What an endpoint may do is bounded: one exchange has one time for everything, its answer one size, its head another; nobody is followed to
//! another address, as the key and the question would go along.

use std::io::Read;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use spindle_shared::failure::{Failure, FailureKind};
use spindle_shared::limits::{API_ANSWER_BYTES_MAX, API_HEAD_BYTES_MAX, API_QUESTION_BYTES_MAX, KEY_BYTES_MAX};
use spindle_shared::provider::{Call, KeySource, Usage};
use spindle_shared::text::escaped;

use super::http::host_of;
use crate::context::{Context, Halt, LOOK_EVERY};

const CONNECT: Duration = Duration::from_secs(10);
/// Of what an endpoint says about itself, so much goes into a failure.
const TOLD_CHARS_MAX: usize = 300;

/// What is asked.
pub struct Question<'q> {
    pub model: &'q str,
    /// How it shall behave.
    pub system: &'q str,
    pub parts: Vec<Part>,
    pub temperature: f32,
    /// A name and the schema that the answer follows.
    pub schema: Option<(&'q str, Value)>,
}

/// A piece of a question.
pub enum Part {
    Text(String),
    /// A JPEG.
    Picture(Vec<u8>),
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub text: String,
    pub usage: Usage,
    /// The model had more to say than it was allowed.
    pub cut_off: bool,
}

/// Somebody who can be asked; a key is read when it is needed and kept no longer.
pub struct Chat<'c> {
    call: &'c Call,
    context: &'c Context,
    /// Of the work that it is asked for: an endpoint that knows such keys bills no repeated call twice.
    work: Option<String>,
    calls: u32,
    pub usage: Usage,
}

impl<'c> Chat<'c> {
    pub fn new(call: &'c Call, context: &'c Context) -> Self {
        Chat { call, context, work: context.artifact_address(), calls: 0, usage: Usage::default() }
    }

    /// Whether it may be asked once more.
    pub fn may_ask(&self) -> bool {
        self.calls < self.call.calls
    }

    pub fn ask(&mut self, question: &Question<'_>, stop: &dyn Fn() -> bool) -> Result<Answer, Halt> {
        if !self.may_ask() {
            let message = format!("a run may ask {} {} times, and did", self.call.provider, self.call.calls);
            return Err(Failure::new(FailureKind::Internal, message).into());
        }
        self.calls += 1;
        self.usage.calls += 1;
        let body = self.body(question)?;
        let key = self.call.key.as_ref().map(|key| read_key(key, self.context, &self.call.provider)).transpose()?;
        let mut headers = vec![("accept", "application/json".to_owned())];
        if let Some(key) = &key {
            headers.push(("authorization", format!("Bearer {}", key.0)));
        }
        if let Some(work) = &self.work {
            headers.push(("idempotency-key", format!("{work}-{}", self.calls)));
        }
        let url = format!("{}/chat/completions", self.call.endpoint);
        let reply = exchange(&url, headers, body, Duration::from_millis(self.call.timeout_ms), stop)?;
        let name = &self.call.provider;
        if !(200..300).contains(&reply.status) {
            return Err(refused(name, &reply, key.as_ref()).into());
        }
        let mut answer = read_answer(&reply.body).map_err(|what| {
            Failure::new(FailureKind::Server, format!("{name} answered with what is no answer: {what}"))
                .advise("this is no answer of a model: check `endpoint` in the daemon's configuration")
        })?;
        if let Some(key) = &key {
            // Whoever sends it back doesn't get it written into a document.
            answer.text = answer.text.replace(&key.0, "…");
        }
        self.usage.tokens_in += answer.usage.tokens_in;
        self.usage.tokens_out += answer.usage.tokens_out;
        self.context.asked(self.usage);
        Ok(answer)
    }

    fn body(&self, question: &Question<'_>) -> Result<Vec<u8>, Failure> {
        let size: usize = question
            .parts
            .iter()
            .map(|part| match part {
                Part::Text(text) => text.len(),
                Part::Picture(bytes) => bytes.len() / 3 * 4,
            })
            .sum();
        if size > API_QUESTION_BYTES_MAX {
            let message = format!(
                "what {} would be asked has {size} bytes, more than {API_QUESTION_BYTES_MAX}",
                self.call.provider
            );
            return Err(Failure::new(FailureKind::Input, message).advise("take fewer or smaller pictures"));
        }
        let parts: Vec<Value> = question
            .parts
            .iter()
            .map(|part| match part {
                Part::Text(text) => json!({"type": "text", "text": text}),
                Part::Picture(bytes) => {
                    json!({"type": "image_url", "image_url": {"url": format!("data:image/jpeg;base64,{}", STANDARD.encode(bytes))}})
                }
            })
            .collect();
        // Models that only read take a plain text only.
        let content = match question.parts.as_slice() {
            [Part::Text(text)] => json!(text),
            _ => json!(parts),
        };
        let mut body = json!({
            "model": question.model,
            "messages": [{"role": "system", "content": question.system}, {"role": "user", "content": content}],
            "temperature": question.temperature,
            "max_tokens": self.call.answer_tokens,
            "stream": false,
        });
        if let Some((name, schema)) = &question.schema {
            body["response_format"] = match self.call.structured {
                true => json!({"type": "json_schema", "json_schema": {"name": name, "schema": schema}}),
                false => json!({"type": "json_object"}),
            };
        }
        Ok(body.to_string().into_bytes())
    }
}

/// A key. Never shown, not even to whoever looks for faults.
struct Key(String);

impl Drop for Key {
    fn drop(&mut self) {
        // It stays nowhere in this process's memory longer than it is needed.
        let bytes = std::mem::take(&mut self.0).into_bytes();
        let mut bytes = std::hint::black_box(bytes);
        bytes.fill(0);
        std::hint::black_box(&bytes);
    }
}

fn read_key(source: &KeySource, context: &Context, provider: &str) -> Result<Key, Failure> {
    let missing = |why: String| {
        Failure::new(FailureKind::Auth, format!("the key of {provider} can't be read from {source}: {why}"))
            .advise("put the key there, where the daemon's workers can read it, then `spindlectl resume`")
    };
    let text = match source {
        KeySource::Environment(variable) => std::env::var(variable).map_err(|_| missing("it is not set".to_owned()))?,
        KeySource::File(path) => first_line(context, path.as_path()).map_err(|error| missing(error.to_string()))?,
        KeySource::Credential(name) => {
            let folder = std::env::var_os("CREDENTIALS_DIRECTORY")
                .ok_or_else(|| missing("there is no $CREDENTIALS_DIRECTORY".to_owned()))?;
            let path = std::path::Path::new(&folder).join(name);
            first_line(context, &path).map_err(|error| missing(error.to_string()))?
        }
    };
    let key = Key(text.trim().to_owned());
    match key.0.is_empty() || !key.0.bytes().all(|b| b.is_ascii_graphic()) {
        true => Err(missing("what is there is no key".to_owned())),
        false => Ok(key),
    }
}

fn first_line(context: &Context, path: &std::path::Path) -> std::io::Result<String> {
    let mut text = String::new();
    context.open(path)?.take(KEY_BYTES_MAX as u64).read_to_string(&mut text)?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

/// Status, head and body of an answer.
struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Reply {
    fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }
}

/// Sends and receives on a thread of its own, so that the run can look at its wish to stop, and at the clock, whatever the other side does.
fn exchange(
    url: &str,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    patience: Duration,
    stop: &dyn Fn() -> bool,
) -> Result<Reply, Halt> {
    let begun = Instant::now();
    let agent = agent(url, patience);
    let (sender, reply) = sync_channel(1);
    let thread = {
        let (agent, url) = (agent.clone(), url.to_owned());
        std::thread::Builder::new()
            .name("chat".to_owned())
            .spawn(move || drop(sender.send(post(&agent, &url, headers, &body))))
    };
    thread.map_err(|e| Failure::new(FailureKind::Internal, format!("no thread for the exchange: {e}")))?;
    let host = host_of(url);
    loop {
        if stop() {
            agent.shutdown();
            return Err(Halt::Stopped);
        }
        if begun.elapsed() > patience {
            agent.shutdown();
            let message = format!("{host} did not answer within {} s", patience.as_secs());
            return Err(Failure::new(FailureKind::Network, message).into());
        }
        match reply.recv_timeout(LOOK_EVERY) {
            Ok(Ok(reply)) => return Ok(reply),
            Ok(Err(failure)) => return Err(failure.into()),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                let message = format!("the exchange with {host} ended unexpectedly");
                return Err(Failure::new(FailureKind::Network, message).into());
            }
        }
    }
}

fn agent(url: &str, patience: Duration) -> ureq::Agent {
    let config = ureq::Agent::config_builder()
        .timeout_global(Some(patience))
        .timeout_resolve(Some(CONNECT))
        .timeout_connect(Some(CONNECT))
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .max_response_header_size(API_HEAD_BYTES_MAX)
        // An answer that unpacks to more than it is can't be measured while it comes.
        .accept_encoding("identity")
        .user_agent(concat!("spindle/", env!("CARGO_PKG_VERSION")));
    // What is not encrypted is asked directly.
    let config = if url.starts_with("https") { config } else { config.proxy(None) };
    config.build().new_agent()
}

fn post(agent: &ureq::Agent, url: &str, headers: Vec<(&'static str, String)>, body: &[u8]) -> Result<Reply, Failure> {
    let host = host_of(url);
    let network = |what: String| Failure::new(FailureKind::Network, format!("{host} can't be asked: {what}"));
    let mut request = agent.post(url).content_type("application/json");
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let response = request.send(body).map_err(|error| network(error.to_string()))?;
    let (parts, body) = response.into_parts();
    let headers = parts
        .headers
        .iter()
        .filter_map(|(name, value)| Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned())))
        .collect();
    let mut bytes = Vec::new();
    let limit = API_ANSWER_BYTES_MAX as u64;
    body.into_reader().take(limit + 1).read_to_end(&mut bytes).map_err(|error| network(error.to_string()))?;
    if bytes.len() as u64 > limit {
        let message = format!("{host} answers with more than {} MiB", limit >> 20);
        return Err(Failure::new(FailureKind::Server, message)
            .advise("this is no answer of a model: check `endpoint` in the daemon's configuration"));
    }
    Ok(Reply { status: parts.status.as_u16(), headers, body: bytes })
}

/// Why an endpoint did not answer, by its status and what it says of it.
fn refused(name: &str, reply: &Reply, key: Option<&Key>) -> Failure {
    let error = serde_json::from_slice::<Value>(&reply.body).unwrap_or(Value::Null);
    // Some wrap it in a list.
    let error = error.get(0).unwrap_or(&error);
    let inner = error.get("error").unwrap_or(error);
    let word = |key: &str| inner.get(key).and_then(Value::as_str).unwrap_or_default();
    let (code, kind, status) = (word("code"), word("type"), word("status"));
    let mut said = match word("message") {
        "" => inner.as_str().unwrap_or_default().to_owned(),
        message => message.to_owned(),
    };
    if let Some(key) = key {
        // It was sent there, and comes back in some messages.
        said = said.replace(&key.0, "…");
    }
    let said: String = said.chars().take(TOLD_CHARS_MAX).collect();
    let said = if said.is_empty() { String::new() } else { format!(": {}", escaped(&said)) };
    let told = |what: &str| format!("{name} {what} (status {}){said}", reply.status);
    let wait = asked_wait(reply, inner);
    // Codes are the services' own words for programs; their sentences for people are not looked at.
    let spent = ["insufficient_quota", "billing_hard_limit_reached", "Arrearage", "AllocationQuota", "quota_exceeded"];
    let is_spent = |text: &str| spent.iter().any(|word| text == *word || text.starts_with(&format!("{word}.")));
    let per_day = inner
        .pointer("/details")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .flat_map(|detail| detail.get("violations").and_then(Value::as_array).into_iter().flatten())
        .filter_map(|violation| violation.get("quotaId").and_then(Value::as_str))
        .any(|id| id.contains("PerDay"));
    match reply.status {
        _ if is_spent(code) || is_spent(kind) || (reply.status == 429 && per_day) || reply.status == 402 => {
            // A service says seconds where a day's calls are spent; they are not what it means.
            let wait = wait.filter(|ms| *ms > 60_000);
            Failure::new(FailureKind::Quota, told("says that its quota is used up")).retry_after(wait)
        }
        429 => Failure::new(FailureKind::RateLimited, told("asks for fewer calls")).retry_after(wait),
        _ if status == "RESOURCE_EXHAUSTED" => {
            Failure::new(FailureKind::RateLimited, told("asks for fewer calls")).retry_after(wait)
        }
        503 if wait.is_some() => Failure::new(FailureKind::RateLimited, told("is busy")).retry_after(wait),
        401 | 403 => Failure::new(FailureKind::Auth, told("refuses the key"))
            .advise("check the key, and whether it may use this model; then `spindlectl resume`"),
        404 => Failure::new(FailureKind::Auth, told("does not know the address or the model"))
            .advise("check `endpoint` and `model` in the daemon's configuration, and `spindlectl providers check`"),
        300..=399 => {
            let to = match reply.header("location").map(host_of) {
                None => "nowhere",
                Some("") => "another place there",
                Some(host) => host,
            };
            let message =
                format!("{name} sends elsewhere (status {}, to {}), and is not followed", reply.status, escaped(to));
            Failure::new(FailureKind::Server, message)
                .advise("set `endpoint` to the address itself, if that is one you trust with the key")
        }
        // Whoever asked before us has died meanwhile, and the service has not noticed yet.
        409 => Failure::new(FailureKind::RateLimited, told("is still at this very call")).retry_after(wait),
        408 | 425 => Failure::new(FailureKind::Network, told("gave up waiting")),
        400..=499 => Failure::new(FailureKind::Input, told("does not take the question"))
            .advise("the model may not take pictures, or so many: check `model`, or take fewer with --pictures"),
        _ => Failure::new(FailureKind::Server, told("failed")),
    }
}

/// How long an endpoint asks to be left alone, in milliseconds, from its head or its body.
fn asked_wait(reply: &Reply, error: &Value) -> Option<u64> {
    let seconds = |text: &str| text.trim().parse::<f64>().ok().filter(|s| s.is_finite() && *s >= 0.0);
    let header = |name: &str| reply.header(name);
    if let Some(ms) = header("retry-after-ms").and_then(seconds) {
        return Some(ms as u64);
    }
    if let Some(text) = header("retry-after") {
        // A date is as good as no number: clocks differ, and the wait grows by itself.
        if let Some(seconds) = seconds(text) {
            return Some((seconds * 1_000.0) as u64);
        }
    }
    let details = error.get("details").and_then(Value::as_array).into_iter().flatten();
    let delay = details.filter_map(|detail| detail.get("retryDelay").and_then(Value::as_str)).next();
    if let Some(delay) = delay.and_then(duration) {
        return Some(delay);
    }
    ["x-ratelimit-reset-requests", "x-ratelimit-reset-tokens"].into_iter().filter_map(header).filter_map(duration).max()
}

/// `1h2m3.5s`, `850ms`.
fn duration(text: &str) -> Option<u64> {
    let (mut ms, mut rest) = (0.0, text.trim());
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..end].parse().ok()?;
        let unit_end = rest[end..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |at| end + at);
        ms += number
            * match &rest[end..unit_end] {
                "ms" => 1.0,
                "s" => 1e3,
                "m" => 6e4,
                "h" => 3.6e6,
                "d" => 8.64e7,
                _ => return None,
            };
        rest = &rest[unit_end..];
    }
    (ms.is_finite() && !text.trim().is_empty()).then_some(ms as u64)
}

fn read_answer(body: &[u8]) -> Result<Answer, &'static str> {
    let value: Value = serde_json::from_slice(body).map_err(|_| "it is no JSON")?;
    let choice = value.pointer("/choices/0").ok_or("it has no `choices`")?;
    let content = choice.pointer("/message/content").ok_or("its first choice has no message")?;
    let text = match content {
        Value::String(text) => text.clone(),
        // Some send it in pieces.
        Value::Array(parts) => parts.iter().filter_map(|part| part.get("text")?.as_str()).collect(),
        _ => return Err("its message has no text"),
    };
    let count = |name: &str| value.pointer(&format!("/usage/{name}")).and_then(Value::as_u64).unwrap_or(0);
    let usage = Usage { calls: 1, tokens_in: count("prompt_tokens"), tokens_out: count("completion_tokens") };
    let cut_off = choice.get("finish_reason").and_then(Value::as_str) == Some("length");
    Ok(Answer { text, usage, cut_off })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(status: u16, headers: &[(&str, &str)], body: &str) -> Reply {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Reply { status, headers, body: body.as_bytes().to_vec() }
    }

    #[test]
    fn refusals_are_told_apart_by_what_programs_are_told() {
        let gemini_minute = r#"[{"error":{"code":429,"status":"RESOURCE_EXHAUSTED","details":[{"violations":[{"quotaId":"RequestsPerMinute"}]},{"retryDelay":"37.5s"}]}}]"#;
        let gemini_day = r#"{"error":{"status":"RESOURCE_EXHAUSTED","details":[{"violations":[{"quotaId":"GenerateRequestsPerDayPerProject"}]},{"retryDelay":"12s"}]}}"#;
        /// Status, headers and body; the kind that it is, and how long to wait.
        type Told<'t> = (u16, &'t [(&'t str, &'t str)], &'t str, FailureKind, Option<u64>);
        let cases: [Told<'_>; 14] = [
            (429, &[("retry-after", "20")], "", FailureKind::RateLimited, Some(20_000)),
            (429, &[("retry-after-ms", "1500")], "", FailureKind::RateLimited, Some(1_500)),
            (429, &[], "", FailureKind::RateLimited, None),
            (429, &[("x-ratelimit-reset-tokens", "1m2.5s")], "{}", FailureKind::RateLimited, Some(62_500)),
            (429, &[], gemini_minute, FailureKind::RateLimited, Some(37_500)),
            (429, &[], gemini_day, FailureKind::Quota, None),
            (429, &[], r#"{"error":{"code":"insufficient_quota"}}"#, FailureKind::Quota, None),
            (
                429,
                &[],
                r#"{"error":{"code":"Throttling.AllocationQuota","type":"Throttling"}}"#,
                FailureKind::RateLimited,
                None,
            ),
            (400, &[], r#"{"error":{"code":"Arrearage"}}"#, FailureKind::Quota, None),
            (409, &[("retry-after", "1")], "", FailureKind::RateLimited, Some(1_000)),
            (401, &[], r#"{"error":{"message":"bad key"}}"#, FailureKind::Auth, None),
            (502, &[], "<html>", FailureKind::Server, None),
            (302, &[("location", "http://169.254.169.254/latest?x=1")], "", FailureKind::Server, None),
            (413, &[], "", FailureKind::Input, None),
        ];
        for (status, headers, body, kind, wait) in cases {
            let failure = refused("oracle", &reply(status, headers, body), None);
            assert_eq!((failure.kind, failure.retry_after_ms), (kind, wait), "{status} {body}");
            assert!(!failure.message.contains("x=1"), "{}", failure.message);
        }
    }

    #[test]
    fn a_key_that_is_sent_back_is_not_told() {
        let key = Key("sk-abcdef".to_owned());
        let body = r#"{"error":{"message":"Incorrect API key provided: sk-abcdef."}}"#;
        let failure = refused("oracle", &reply(401, &[], body), Some(&key));
        assert!(failure.message.contains("Incorrect") && !failure.message.contains("sk-abcdef"), "{}", failure.message);
    }

    #[test]
    fn answers_are_read_as_services_send_them() {
        let plain = br#"{"choices":[{"message":{"content":"yes"},"finish_reason":"length"}],"usage":{"prompt_tokens":7,"completion_tokens":2}}"#;
        let answer = read_answer(plain).unwrap();
        assert_eq!((answer.text.as_str(), answer.usage.tokens(), answer.cut_off), ("yes", 9, true));
        let parts =
            br#"{"choices":[{"message":{"content":[{"type":"text","text":"y"},{"type":"text","text":"es"}]}}]}"#;
        assert_eq!(read_answer(parts).unwrap().text, "yes");
        for wrong in ["", "[]", "{}", r#"{"choices":[]}"#, r#"{"choices":[{"message":{"content":null}}]}"#] {
            assert!(read_answer(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn durations_are_read_with_their_units() {
        for (text, ms) in [("1h2m3.5s", Some(3_723_500)), ("850ms", Some(850)), ("", None), ("7", None), ("3x", None)] {
            assert_eq!(duration(text), ms, "{text}");
        }
    }
}
