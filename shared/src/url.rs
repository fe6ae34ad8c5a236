//! Addresses of inputs that lie elsewhere: what may be one, how it is shown, and what name its outputs get. Opens no socket and looks no name up.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::limits::URL_BYTES_MAX;

/// Ways to name what lies in an object store: `s3://BUCKET/KEY`.
pub const STORE_SCHEMES: [&str; 2] = ["s3", "oss"];

/// Bytes of a name that is made of an address, its ending included.
const NAME_BYTES_MAX: usize = 160;

/// An address whose parts are where every reader finds them. It may hold secrets (a login, a signature): shown, they are left out.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Url(String);

/// Why a text is no address of an input.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    #[error("is no address: write https://HOST/PATH")]
    Malformed,
    #[error("has {0}, where two readers of one address disagree about its host; write it percent-encoded")]
    Ambiguous(&'static str),
    #[error("has more than {URL_BYTES_MAX} bytes")]
    TooLong,
    #[error("`{0}` is no way to fetch: https, http, s3 and oss are")]
    Scheme(String),
}

/// Whether a text looks like an address and not like a path: letters before `://`.
pub fn is_url(text: &[u8]) -> bool {
    let scheme = text.windows(3).position(|window| window == b"://").map(|at| &text[..at]);
    scheme.is_some_and(|scheme| {
        scheme.first().is_some_and(u8::is_ascii_alphabetic)
            && scheme.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
    })
}

impl Url {
    pub fn parse(text: &str) -> Result<Url, UrlError> {
        if text.len() > URL_BYTES_MAX {
            return Err(UrlError::TooLong);
        }
        let (scheme, rest) = text.split_once("://").ok_or(UrlError::Malformed)?;
        let scheme = scheme.to_ascii_lowercase();
        if !matches!(scheme.as_str(), "http" | "https") && !STORE_SCHEMES.contains(&scheme.as_str()) {
            return Err(UrlError::Scheme(crate::text::escaped(&scheme)));
        }
        if rest.contains('\\') {
            return Err(UrlError::Ambiguous("a backslash"));
        }
        if rest.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(UrlError::Ambiguous("a blank or control character"));
        }
        // The part behind `#` is the reader's own and never sent.
        let rest = rest.split('#').next().unwrap_or_default();
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, tail) = rest.split_at(end);
        let (login, host) = authority.rsplit_once('@').map_or((None, authority), |(login, host)| (Some(login), host));
        if login.is_some_and(|login| login.contains('@')) {
            return Err(UrlError::Ambiguous("two `@` before its host"));
        }
        if !is_host(host) {
            return Err(UrlError::Malformed);
        }
        let path = if tail.starts_with('/') { "" } else { "/" };
        let login = login.map(|login| format!("{login}@")).unwrap_or_default();
        let mut whole = format!("{scheme}://{login}{}{path}", host.to_ascii_lowercase());
        for byte in tail.bytes() {
            match byte {
                0x21..=0x7e if !matches!(byte, b'"' | b'<' | b'>' | b'`' | b'{' | b'}' | b'|' | b'^') => {
                    whole.push(char::from(byte));
                }
                other => whole.push_str(&format!("%{other:02X}")),
            }
        }
        Ok(Url(whole))
    }

    /// As it was when the queue took it; what an address may be has perhaps changed since.
    pub fn stored(text: String) -> Url {
        Url(text)
    }

    /// All of it, secrets included: for whoever asks the server, and for the queue.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Bucket and key, where it names what lies in an object store.
    pub fn in_store(&self) -> Option<(&str, String)> {
        let key = decoded(self.path().strip_prefix('/')?);
        STORE_SCHEMES.contains(&self.scheme()).then(|| (self.host_and_port(), key))
    }

    /// `user:password`, as it stands in the address.
    pub fn login(&self) -> Option<&str> {
        self.authority().rsplit_once('@').map(|(login, _)| login)
    }

    /// Without the login, for a request.
    pub fn without_login(&self) -> String {
        format!("{}{}", self.origin(), self.tail())
    }

    /// Scheme, host and port: what secrets may be sent to.
    pub fn origin(&self) -> String {
        format!("{}://{}", self.scheme(), self.host_and_port())
    }

    pub fn scheme(&self) -> &str {
        self.0.split("://").next().unwrap_or_default()
    }

    pub fn is_encrypted(&self) -> bool {
        self.scheme() == "https"
    }

    /// Host in lower case, IPv6 in brackets, with its port where one is named.
    pub fn host_and_port(&self) -> &str {
        let authority = self.authority();
        authority.rsplit_once('@').map_or(authority, |(_, host)| host)
    }

    /// Whether it leads to this site: `HOST`, for it and all below it at the usual ports, or `HOST:PORT` for exactly that.
    pub fn is_on(&self, site: &str) -> bool {
        let host = self.host_and_port();
        let web = matches!(self.scheme(), "http" | "https");
        let below = || host.strip_suffix(site).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
        web && (host == site || (!site.contains(':') && below()))
    }

    fn after_scheme(&self) -> &str {
        self.0.split_once("://").map_or("", |(_, rest)| rest)
    }

    fn authority(&self) -> &str {
        let rest = self.after_scheme();
        &rest[..rest.find(['/', '?']).unwrap_or(rest.len())]
    }

    /// Path and query.
    fn tail(&self) -> &str {
        &self.after_scheme()[self.authority().len()..]
    }

    fn path(&self) -> &str {
        self.tail().split('?').next().unwrap_or_default()
    }

    /// A file name out of its path, or of its host where the path has none: one name, with no way out of a folder.
    pub fn file_name(&self) -> String {
        let last = self.path().rsplit('/').find(|part| !part.is_empty()).unwrap_or_default();
        // All of YouTube is called so.
        let video = self.tail().split_once('?').filter(|_| last == "watch");
        let video = video.and_then(|(_, query)| query.split('&').find_map(|pair| pair.strip_prefix("v=")));
        let name = safe_name(&decoded(video.filter(|video| !video.is_empty()).unwrap_or(last)));
        name.unwrap_or_else(|| {
            let host = self.host_and_port();
            let host = host.split(':').next().filter(|host| !host.is_empty() && !host.starts_with('['));
            host.and_then(safe_name).unwrap_or_else(|| "download".to_owned())
        })
    }

    /// Where another address leads that was found at this one, absolute or relative; as servers write it in `Location`.
    pub fn join(&self, location: &str) -> Result<Url, UrlError> {
        let location = location.trim().split('#').next().unwrap_or_default();
        let has_scheme = location.split(['/', '?']).next().is_some_and(|start| start.contains(':'));
        let origin = self.origin();
        let whole = if has_scheme {
            location.to_owned()
        } else if let Some(rest) = location.strip_prefix("//") {
            format!("{}://{rest}", self.scheme())
        } else if location.starts_with('/') {
            format!("{origin}{location}")
        } else {
            let path = self.path();
            let folder = path.rfind('/').map_or("/", |at| &path[..=at]);
            format!("{origin}{folder}{location}")
        };
        Url::parse(&whole)
    }
}

/// For people: without login and query, which may be secrets.
impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let query = if self.tail().contains('?') { "?…" } else { "" };
        crate::text::write_escaped(f, &format!("{}{}{query}", self.origin(), self.path()))
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

/// `HOST`, `HOST:PORT` or `[IPV6]:PORT`.
fn is_host(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((host, after)) if host.parse::<std::net::Ipv6Addr>().is_ok() => {
                ("v6", after.strip_prefix(':').or(after.is_empty().then_some("0")))
            }
            _ => return false,
        },
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, Some("0")),
        },
    };
    let host_ok = !host.is_empty()
        && host.len() <= 253
        && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'));
    host_ok && port.is_some_and(|port| port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok())
}

/// With `%41` as `A`; what is no such escape stays as it is.
fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = bytes.get(at + 1..at + 3).filter(|_| bytes[at] == b'%').and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// One file name out of a text from outside: no separators, nothing hidden, nothing that steers a terminal, not too long. `None` = nothing is left.
pub fn safe_name(text: &str) -> Option<String> {
    let clean: String = text
        .chars()
        .map(|c| match c {
            '/' | '\\' | '\0' => '_',
            // Marks that turn the direction of writing hide what a name ends with.
            '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}' => '_',
            c if c.is_control() => '_',
            c => c,
        })
        .collect();
    let name = clean.trim().trim_start_matches(['.', '-', ' ']).trim_end_matches(['.', ' ']);
    if name.is_empty() {
        return None;
    }
    if name.len() <= NAME_BYTES_MAX {
        return Some(name.to_owned());
    }
    let (stem, ending) = match name.rsplit_once('.') {
        Some((stem, ending)) if ending.len() <= 10 => (stem, format!(".{ending}")),
        _ => (name, String::new()),
    };
    let cut = (0..=NAME_BYTES_MAX - ending.len()).rev().find(|at| stem.is_char_boundary(*at)).unwrap_or(0);
    Some(format!("{}{ending}", &stem[..cut]))
}

/// The file name that a `Content-Disposition` header gives, made safe.
pub fn name_in_disposition(header: &str) -> Option<String> {
    let parameter = |name: &str| {
        header.split(';').skip(1).find_map(|part| {
            let (key, value) = part.split_once('=')?;
            key.trim().eq_ignore_ascii_case(name).then(|| value.trim().trim_matches('"').to_owned())
        })
    };
    let encoded = parameter("filename*").and_then(|value| {
        let (charset, rest) = value.split_once('\'')?;
        let (_, text) = rest.split_once('\'')?;
        charset.eq_ignore_ascii_case("utf-8").then(|| decoded(text))
    });
    let name = encoded.or_else(|| parameter("filename"))?;
    // Some servers send a path; its last part is the name.
    safe_name(name.rsplit(['/', '\\']).next().unwrap_or_default())
}

/// Why a machine at this address is nobody's to fetch from, unless the configuration allows it; `None` = it is a public one.
pub fn not_public(ip: IpAddr) -> Option<&'static str> {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, c, _] = ip.octets();
            match (a, b, c) {
                (0, ..) => Some("this network"),
                (127, ..) => Some("this machine"),
                (10, ..) | (192, 168, _) => Some("a private network"),
                (172, 16..=31, _) => Some("a private network"),
                (169, 254, _) => Some("the local link, where clouds keep their machines' keys"),
                (100, 64..=127, _) => Some("a provider's inner network"),
                (192, 0, 0) => Some("a network for protocols"),
                (192, 0, 2) | (198, 51, 100) | (203, 0, 113) => Some("a network for examples"),
                (192, 88, 99) => Some("a relay"),
                (198, 18..=19, _) => Some("a network for measurements"),
                (224..=239, ..) => Some("a group of machines"),
                (240..=255, ..) => Some("a reserved network"),
                _ => None,
            }
        }
        IpAddr::V6(ip) => {
            let s = ip.segments();
            let inner = |high: u16, low: u16| {
                let [a, b] = high.to_be_bytes();
                let [c, d] = low.to_be_bytes();
                not_public(IpAddr::from([a, b, c, d]))
            };
            match s {
                [0, 0, 0, 0, 0, 0, 0, 0] => Some("no machine"),
                [0, 0, 0, 0, 0, 0, 0, 1] => Some("this machine"),
                // IPv4 in other clothes is what it is inside.
                [0, 0, 0, 0, 0, 0xffff, high, low] | [0, 0, 0, 0, 0xffff, 0, high, low] => inner(high, low),
                [0, 0, 0, 0, 0, 0, _, _] => Some("a reserved network"),
                [0x64, 0xff9b, 0, 0, 0, 0, high, low] => inner(high, low),
                [0x64, 0xff9b, 1, ..] => Some("a private network"),
                [0x2002, high, low, ..] => inner(high, low),
                [0x2001, 0, ..] => Some("a tunnel"),
                [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => Some("a network for examples"),
                [0x2001, 0x2, 0, ..] | [0x2001, 0x10..=0x2f, ..] => Some("a network for measurements"),
                [0x100, 0, 0, 0, ..] => Some("a network that leads nowhere"),
                [0xfc00..=0xfdff, ..] => Some("a private network"),
                [0xfe80..=0xfebf, ..] => Some("the local link"),
                [0xfec0..=0xfeff, ..] => Some("a private network"),
                [0xff00..=0xffff, ..] => Some("a group of machines"),
                _ => None,
            }
        }
    }
}

/// A site of pages around recordings: `HOST` or `HOST:PORT`.
pub fn check_site(entry: &str) -> Result<(), String> {
    match is_host(entry) && entry == entry.to_ascii_lowercase() && !entry.starts_with('.') {
        true => Ok(()),
        false => Err(format!("`{}` is no HOST or HOST:PORT in lower case", crate::text::escaped(entry))),
    }
}

/// A host that inputs may come from although it is not public: `HOST:PORT`, as it stands in the addresses.
pub fn check_allowed(entry: &str) -> Result<(), String> {
    let port = entry.rsplit_once(':').map(|(_, port)| port).filter(|port| !port.is_empty() && !port.contains(']'));
    match port.is_some() && is_host(entry) && entry == entry.to_ascii_lowercase() {
        true => Ok(()),
        false => Err(format!("`{}` is no HOST:PORT in lower case", crate::text::escaped(entry))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        Url::parse(text).map_or_else(|error| format!("error: {error}"), |url| format!("{url} {}", url.file_name()))
    }

    #[test]
    fn an_address_is_shown_without_its_secrets() {
        for (text, expected) in [
            ("https://host.example/v/talk.mp4", "https://host.example/v/talk.mp4 talk.mp4"),
            ("HTTPS://Host.Example:8443/a%20b.mp4#t=3", "https://host.example:8443/a%20b.mp4 a b.mp4"),
            ("https://me:s3cret@host.example/x.mp3?sig=abc", "https://host.example/x.mp3?… x.mp3"),
            ("http://host.example", "http://host.example/ host.example"),
            ("https://host.example?v=1", "https://host.example/?… host.example"),
            ("https://[2001:db8::1]:80/", "https://[2001:db8::1]:80/ download"),
            ("https://host.example/видео.mp4", "https://host.example/%D0%B2%D0%B8%D0%B4%D0%B5%D0%BE.mp4 видео.mp4"),
        ] {
            assert_eq!(shown(text), expected, "{text}");
            let url = Url::parse(text).unwrap();
            assert!(!format!("{url:?} {url}").contains("s3cret") && !format!("{url:?}").contains("sig="));
            assert_eq!(Url::parse(url.as_str()), Ok(url), "{text} is itself when it is read again");
        }
    }

    #[test]
    fn what_two_readers_may_read_differently_is_no_address() {
        for text in [
            "https://a.example\\@b.example/",
            "https://a@b@c/x",
            "https://a b/x",
            "https:///x",
            "https://host:99999/x",
            "https://host:/x:",
            "https://ho%73t/x",
            "https://host\n/x",
            "https://пример.рф/x",
            "https://[::1/x",
            "https://[fe80::1%25eth0]/x",
            "file:///etc/passwd",
            "gopher://host/x",
            "https//host/x",
        ] {
            assert!(Url::parse(text).is_err(), "{text}");
        }
        assert_eq!(Url::parse("https://host/x").unwrap().host_and_port(), "host");
        assert!(Url::parse(&format!("https://h/{}", "a".repeat(URL_BYTES_MAX))).is_err());
    }

    #[test]
    fn a_site_is_its_host_and_what_lies_below_it() {
        let on = |url: &str, site: &str| Url::parse(url).unwrap().is_on(site);
        assert!(on("https://www.tube.example/watch?v=1", "tube.example") && on("http://tube.example/", "tube.example"));
        assert!(on("http://127.0.0.1:80/x", "127.0.0.1:80") && on("https://me:pw@tube.example/x", "tube.example"));
        for (url, site) in [
            ("https://mytube.example/", "tube.example"),
            ("https://tube.example.evil.example/", "tube.example"),
            ("https://tube.example:8443/", "tube.example"),
            ("https://evil.example/tube.example", "tube.example"),
            ("https://tube.example@evil.example/", "tube.example"),
            ("s3://tube.example/x", "tube.example"),
            ("http://a.127.0.0.1:80/x", "127.0.0.1:80"),
        ] {
            assert!(!on(url, site), "{url}");
        }
        assert!(check_site("tube.example").is_ok() && check_site("127.0.0.1:80").is_ok());
        for wrong in ["", "https://tube.example", "Tube.example", ".example", "a/b"] {
            assert!(check_site(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn names_lead_out_of_no_folder() {
        let of = |path: &str| Url::parse(&format!("https://h.example/{path}")).unwrap().file_name();
        assert_eq!(of("..%2F..%2Fetc%2Fpasswd"), "_.._etc_passwd");
        assert_eq!(of("a/.."), "h.example");
        assert_eq!(of("x/%2e%2e"), "h.example");
        assert_eq!(of(".hidden.mp4"), "hidden.mp4");
        assert_eq!(of("--exec.mp4"), "exec.mp4");
        assert_eq!(of("a%00b%0Ac%1B.mp4"), "a_b_c_.mp4");
        assert_eq!(of("a%E2%80%AE4pm.exe"), "a_4pm.exe");
        assert_eq!(of("%ff%fe.mp4"), "\u{fffd}\u{fffd}.mp4");
        assert_eq!(of("100%25.mp4"), "100%.mp4");
        assert_eq!(of("watch?list=1&v=dQw4w9WgXcQ&t=3s"), "dQw4w9WgXcQ");
        assert_eq!((of("watch?v=..%2Fx"), of("watch?v=")), ("_x".to_owned(), "watch".to_owned()));
        let long = of(&format!("{}.mp4", "%C3%A9".repeat(200)));
        assert!(long.len() <= NAME_BYTES_MAX && long.ends_with("é.mp4"), "{long}");
        for (header, name) in [
            ("attachment; filename=\"../../x.mp4\"", Some("x.mp4")),
            ("attachment; filename=talk.mp4; filename*=UTF-8''%E8%AE%B2.mp4", Some("讲.mp4")),
            ("inline", None),
            ("attachment; filename=\"..\"", None),
        ] {
            assert_eq!(name_in_disposition(header).as_deref(), name, "{header}");
        }
    }

    #[test]
    fn places_that_are_nobodys_to_fetch_from_are_known_in_all_their_clothes() {
        for ip in [
            "127.0.0.1",
            "127.9.9.9",
            "0.0.0.0",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "100.127.0.1",
            "192.0.0.192",
            "192.0.2.1",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "240.0.0.1",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "2001:0:1::",
            "fe80::1",
            "fc00::1",
            "fd12::1",
            "ff02::1",
            "fec0::1",
            "2001:db8::1",
            "100::1",
            "::ffff:0:10.0.0.1",
        ] {
            assert!(not_public(ip.parse().unwrap()).is_some(), "{ip}");
        }
        for ip in [
            "1.1.1.1",
            "93.184.216.34",
            "172.15.0.1",
            "172.32.0.1",
            "100.63.0.1",
            "100.128.0.1",
            "192.1.1.1",
            "2606:4700::1111",
            "::ffff:1.1.1.1",
            "64:ff9b::808:808",
        ] {
            assert_eq!(not_public(ip.parse().unwrap()), None, "{ip}");
        }
    }

    #[test]
    fn redirects_may_be_relative() {
        let base = Url::parse("https://u:p@a.example:8443/x/y/m.bin?d=1").unwrap();
        for (location, whole) in [
            ("https://b.example/z?sig=a:b", "https://b.example/z?sig=a:b"),
            ("//b.example/z", "https://b.example/z"),
            ("/cache/z?v=1#part", "https://a.example:8443/cache/z?v=1"),
            ("z?v=1:2", "https://a.example:8443/x/y/z?v=1:2"),
        ] {
            assert_eq!(base.join(location).unwrap().as_str(), whole, "{location}");
        }
        assert!(base.join("javascript:x").is_err());
        assert!(base.join("file:///etc/passwd").is_err());
    }

    #[test]
    fn addresses_and_paths_are_told_apart() {
        assert!(is_url(b"https://x") && is_url(b"s3://b/k") && is_url(b"x+y://z"));
        assert!(
            !is_url(b"/a://b") && !is_url(b"://b") && !is_url(b"1a://b") && !is_url(b"a b://c") && !is_url(b"talk.mp4")
        );
        assert!(check_allowed("localhost:8080").is_ok() && check_allowed("[::1]:80").is_ok());
        assert!(
            check_allowed("localhost").is_err() && check_allowed("Host:80").is_err() && check_allowed("[::1]").is_err()
        );
    }
}
