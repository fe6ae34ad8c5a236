//! An object store of a test's own on loopback: believes nobody who doesn't sign, shows no object before all of it is there, and stops in the middle
//! of an upload as told. Written from the protocol's side of the store; shares no code with whoever signs.

use std::collections::{BTreeMap, HashMap};
use std::io::{BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use sha2::{Digest, Sha256};

use crate::web;

pub const ACCESS_KEY: &str = "AKIATESTACCESS00001";
pub const SECRET_KEY: &str = "teSt/sEcret+kEy/0123456789abcdefghijklmn";
pub const REGION: &str = "eu-test-7";
/// The protocol's: of all parts but the last.
const PART_BYTES_MIN: usize = 5 << 20;

/// What it holds.
#[derive(Default)]
struct Held {
    /// By `bucket/key`: what it is of, and its bytes.
    objects: BTreeMap<String, (Option<String>, Vec<u8>)>,
    uploads: BTreeMap<String, Upload>,
    begun: usize,
    /// Every request that was believed: `PUT talks/a.mp4 part 2`.
    log: Vec<String>,
    /// Codes of those that were not.
    refused: Vec<String>,
}

struct Upload {
    name: String,
    content: Option<String>,
    parts: BTreeMap<usize, Vec<u8>>,
}

/// The store; it goes with the test's process.
pub struct Bucket {
    address: String,
    held: Arc<Mutex<Held>>,
    /// From this part on nothing is taken: whoever sends it hears nothing.
    silent_from: Arc<AtomicUsize>,
}

impl Bucket {
    /// Has these buckets.
    pub fn start(buckets: &'static [&'static str]) -> Bucket {
        let (held, silent_from): (Arc<Mutex<Held>>, _) = (Arc::default(), Arc::new(AtomicUsize::new(usize::MAX)));
        let (inner, silent) = (Arc::clone(&held), Arc::clone(&silent_from));
        let address = web::listen(move |stream| serve(stream, buckets, &inner, &silent)).to_string();
        Bucket { address, held, silent_from }
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn host(&self) -> &str {
        &self.address
    }

    /// From this part of any upload on it takes none; `usize::MAX` = it takes all.
    pub fn silent_from(&self, part: usize) {
        self.silent_from.store(part, Ordering::SeqCst);
    }

    /// Names of the objects that can be seen.
    pub fn objects(&self) -> Vec<String> {
        self.look(|held| held.objects.keys().cloned().collect())
    }

    pub fn object(&self, name: &str) -> Option<Vec<u8>> {
        self.look(|held| held.objects.get(name).map(|(_, bytes)| bytes.clone()))
    }

    pub fn put(&self, name: &str, bytes: Vec<u8>) {
        self.look(|held| held.objects.insert(name.to_owned(), (None, bytes)));
    }

    /// Uploads that are neither complete nor given up.
    pub fn unfinished(&self) -> usize {
        self.look(|held| held.uploads.len())
    }

    pub fn log(&self) -> Vec<String> {
        self.look(|held| held.log.clone())
    }

    pub fn refused(&self) -> Vec<String> {
        self.look(|held| held.refused.clone())
    }

    fn look<T>(&self, look: impl FnOnce(&mut Held) -> T) -> T {
        look(&mut self.held.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Asks as anybody may who has a link: the status, and what came.
    pub fn get(&self, link: &str) -> (u16, Vec<u8>) {
        let target = link.strip_prefix(&self.endpoint()).expect("a link leads here");
        let mut stream = TcpStream::connect(&self.address).expect("it listens");
        let head = format!("GET {target} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.address);
        stream.write_all(head.as_bytes()).expect("it takes requests");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("it answers");
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("an answer has a head") + 4;
        let line = String::from_utf8_lossy(&answer[..end]).into_owned();
        (line.split(' ').nth(1).and_then(|word| word.parse().ok()).expect("a status"), answer.split_off(end))
    }
}

/// A request as it came.
struct Request {
    method: String,
    /// As it stands in the request, percent-encoded.
    path: String,
    /// Names and values as they stand there.
    query: Vec<(String, String)>,
    headers: HashMap<String, String>,
    body: Vec<u8>,
}

impl Request {
    fn query(&self, name: &str) -> Option<String> {
        self.query.iter().find(|(known, _)| known == name).map(|(_, value)| decoded(value))
    }
}

fn serve(mut stream: TcpStream, buckets: &[&str], held: &Mutex<Held>, silent: &AtomicUsize) {
    let Ok(copy) = stream.try_clone() else { return };
    let mut reader = BufReader::new(copy);
    while let Some(request) = receive(&mut reader) {
        let part: Option<usize> = request.query("partNumber").and_then(|number| number.parse().ok());
        if part.is_some_and(|part| part >= silent.load(Ordering::SeqCst)) {
            held.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .log
                .push(format!("silent at part {}", part.unwrap_or(0)));
            // Whoever waits for the answer is killed meanwhile.
            let _ = stream.read(&mut [0; 1]);
            return;
        }
        let Answer { status, headers, body } = match believed(&request, buckets) {
            Ok(name) => act(&request, &name, &mut held.lock().unwrap_or_else(PoisonError::into_inner)),
            Err((status, code)) => {
                held.lock().unwrap_or_else(PoisonError::into_inner).refused.push(code.to_owned());
                Answer::error(status, code)
            }
        };
        let bare = request.method == "HEAD";
        let mut head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n", body.len());
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        let sent = stream.write_all(head.as_bytes());
        if sent.and_then(|()| if bare { Ok(()) } else { stream.write_all(&body) }).is_err() {
            return;
        }
        if request.headers.get("connection").is_some_and(|word| word == "close") {
            return;
        }
    }
}

fn receive(reader: &mut BufReader<TcpStream>) -> Option<Request> {
    let web::Request { method, target, headers, body } = web::receive(reader)?;
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let query = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    Some(Request { method, path: path.to_owned(), query, headers, body })
}

/// Who signs well gets the name of what is asked for, `bucket/key`; who doesn't, status and code.
fn believed(request: &Request, buckets: &[&str]) -> Result<String, (u16, &'static str)> {
    let given = |name: &str| request.query(name).ok_or((403, "AccessDenied"));
    let (credential, date, expires) = (given("X-Amz-Credential")?, given("X-Amz-Date")?, given("X-Amz-Expires")?);
    let (signed, signature) = (given("X-Amz-SignedHeaders")?, given("X-Amz-Signature")?);
    if given("X-Amz-Algorithm")? != "AWS4-HMAC-SHA256" {
        return Err((400, "AuthorizationQueryParametersError"));
    }
    let scope = credential.strip_prefix(ACCESS_KEY).and_then(|rest| rest.strip_prefix('/'));
    let scope = scope.ok_or((403, "InvalidAccessKeyId"))?;
    let made = DateTime::strptime("%Y%m%dT%H%M%SZ", &date).map_err(|_| (400, "AuthorizationQueryParametersError"))?;
    let made = made.to_zoned(TimeZone::UTC).expect("every time is one in UTC").timestamp();
    let lives: i64 = expires.parse().map_err(|_| (400, "AuthorizationQueryParametersError"))?;
    if scope != format!("{}/{REGION}/s3/aws4_request", &date[..8]) {
        return Err((400, "AuthorizationHeaderMalformed"));
    }
    let age = jiff::Timestamp::now().as_second() - made.as_second();
    if !(0..=604_800).contains(&lives) || age < -900 {
        return Err((403, "RequestTimeTooSkewed"));
    }
    let mut query: Vec<String> = request
        .query
        .iter()
        .filter(|(name, _)| name != "X-Amz-Signature")
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    query.sort();
    let mut lines = String::new();
    for name in signed.split(';') {
        let value = request.headers.get(name).ok_or((403, "AccessDenied"))?;
        lines.push_str(&format!("{name}:{value}\n"));
    }
    // What is said of the object must be signed, or anybody on the way could change it.
    let unsigned =
        request.headers.keys().any(|name| name.starts_with("x-amz-") && !signed.split(';').any(|it| it == name));
    if unsigned || !signed.split(';').any(|name| name == "host") {
        return Err((403, "AccessDenied"));
    }
    let canonical = [&request.method, &request.path, &query.join("&"), &lines, &signed, "UNSIGNED-PAYLOAD"]
        .map(str::to_owned)
        .join("\n");
    let to_sign = ["AWS4-HMAC-SHA256", &date, scope, &hex(&Sha256::digest(canonical))].join("\n");
    let key = scope.split('/').fold(format!("AWS4{SECRET_KEY}").into_bytes(), |key, part| hmac(&key, part));
    if hex(&hmac(&key, &to_sign)) != signature {
        return Err((403, "SignatureDoesNotMatch"));
    }
    if age > lives {
        return Err((403, "AccessDenied"));
    }
    let name = decoded(request.path.trim_start_matches('/'));
    match buckets.iter().any(|bucket| name.split('/').next() == Some(bucket)) {
        true => Ok(name),
        false => Err((404, "NoSuchBucket")),
    }
}

fn hmac(key: &[u8], text: &str) -> Vec<u8> {
    assert!(key.len() <= 64, "no key of the protocol's is longer");
    let mut block = [0_u8; 64];
    block[..key.len()].copy_from_slice(key);
    let with = |pad: u8, text: &[u8]| {
        let mut bytes: Vec<u8> = block.iter().map(|byte| byte ^ pad).collect();
        bytes.extend_from_slice(text);
        Sha256::digest(bytes).to_vec()
    };
    with(0x5c, &with(0x36, text.as_bytes()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let hex = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
        match byte {
            b'%' => bytes.push((hex(rest.next()).unwrap_or(0) * 16 + hex(rest.next()).unwrap_or(0)) as u8),
            other => bytes.push(other),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

struct Answer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

impl Answer {
    fn of(status: u16, headers: Vec<(&'static str, String)>, body: impl Into<Vec<u8>>) -> Answer {
        Answer { status, headers, body: body.into() }
    }

    fn error(status: u16, code: &str) -> Answer {
        Answer::of(status, Vec::new(), format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code></Error>"))
    }
}

fn etag(bytes: &[u8]) -> String {
    format!("\"{}\"", &hex(&Sha256::digest(bytes))[..32])
}

fn act(request: &Request, name: &str, held: &mut Held) -> Answer {
    let (part, upload) = (request.query("partNumber"), request.query("uploadId"));
    let content = request.headers.get("x-amz-meta-blake3").cloned();
    let more = part.as_ref().map(|part| format!(" part {part}")).unwrap_or_default();
    held.log.push(format!("{} {name}{more}", request.method));
    match (request.method.as_str(), upload) {
        ("POST", None) if request.query("uploads").is_some() => {
            held.begun += 1;
            let id = format!("upload-{}&<\"+/=", held.begun);
            let shown = id.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;");
            held.uploads.insert(id, Upload { name: name.to_owned(), content, parts: BTreeMap::new() });
            Answer::of(200, Vec::new(), format!("<R><UploadId>{shown}</UploadId></R>"))
        }
        (method, Some(id)) => {
            let Some(upload) = held.uploads.get_mut(&id).filter(|upload| upload.name == name) else {
                return Answer::error(404, "NoSuchUpload");
            };
            match (method, part.and_then(|part| part.parse().ok())) {
                ("PUT", Some(number)) => {
                    let tag = etag(&request.body);
                    upload.parts.insert(number, request.body.clone());
                    Answer::of(200, vec![("ETag", tag)], "")
                }
                ("DELETE", None) => {
                    held.uploads.remove(&id);
                    Answer::of(204, Vec::new(), "")
                }
                ("POST", None) => complete(held, &id, &String::from_utf8_lossy(&request.body)),
                _ => Answer::error(400, "InvalidRequest"),
            }
        }
        ("PUT", None) => {
            held.objects.insert(name.to_owned(), (content, request.body.clone()));
            Answer::of(200, vec![("ETag", etag(&request.body))], "")
        }
        ("DELETE", None) => {
            held.objects.remove(name);
            Answer::of(204, Vec::new(), "")
        }
        ("GET" | "HEAD", None) => match held.objects.get(name) {
            None => Answer::error(404, "NoSuchKey"),
            Some((content, bytes)) => {
                let mut headers = vec![("ETag", etag(bytes))];
                headers.extend(content.clone().map(|content| ("x-amz-meta-blake3", content)));
                let range =
                    request.headers.get("range").and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-'));
                match range.and_then(|from| from.parse::<usize>().ok()).filter(|from| *from < bytes.len()) {
                    None => Answer::of(200, headers, bytes.clone()),
                    Some(from) => {
                        headers.push(("Content-Range", format!("bytes {from}-{}/{}", bytes.len() - 1, bytes.len())));
                        Answer::of(206, headers, bytes[from..].to_vec())
                    }
                }
            }
        },
        _ => Answer::error(400, "InvalidRequest"),
    }
}

fn complete(held: &mut Held, id: &str, body: &str) -> Answer {
    let Some(upload) = held.uploads.get(id) else { return Answer::error(404, "NoSuchUpload") };
    let between = |text: &str, tag: &str| {
        let rest = text.split_once(&format!("<{tag}>"))?.1;
        rest.split_once(&format!("</{tag}>")).map(|(value, _)| value.replace("&quot;", "\""))
    };
    let asked: Vec<(usize, String)> = body
        .split("<Part>")
        .skip(1)
        .filter_map(|part| Some((between(part, "PartNumber")?.parse().ok()?, between(part, "ETag")?)))
        .collect();
    let known: Vec<(usize, String)> = upload.parts.iter().map(|(number, bytes)| (*number, etag(bytes))).collect();
    if asked != known || asked.is_empty() {
        return Answer::error(400, "InvalidPart");
    }
    let all_but_last = upload.parts.values().rev().skip(1);
    if all_but_last.clone().any(|part| part.len() < PART_BYTES_MIN) {
        return Answer::error(400, "EntityTooSmall");
    }
    if let Some(Upload { name, content, parts }) = held.uploads.remove(id) {
        held.objects.insert(name, (content, parts.into_values().flatten().collect()));
    }
    Answer::of(200, Vec::new(), "<R><ETag>whole</ETag></R>")
}

/// What a configuration says of it.
pub fn section(store: &Bucket, name: &str, bucket: &str, more: &str) -> String {
    format!(
        "[stores.{name}]\nendpoint = \"{}\"\nbucket = \"{bucket}\"\nregion = \"{REGION}\"\npath_style = true\n\
         access_key = \"env:BUCKET_ACCESS_KEY\"\nsecret_key = \"env:BUCKET_SECRET_KEY\"\n{more}\n",
        store.endpoint()
    )
}
