//! Metrics for who comes by: a file that the node exporter's textfile collector reads, and a small listener that answers `GET /metrics` and
//! nothing else. Reads what the client sends only as far as its first line, and never more than a few kilobytes.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use spindle_shared::limits::{METRICS_CLIENTS_MAX, METRICS_REQUEST_BYTES_MAX};
use spindle_shared::metrics::Metric;
use spindle_shared::wire::response::Response;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::House;
use super::read;

/// One exchange, however slow the client.
const PATIENCE: Duration = Duration::from_secs(5);

/// All metrics as text; `None` = the daemon is stopping.
async fn text(house: &Arc<House>) -> Option<String> {
    let frames = read::metrics(house).await.ok()?;
    let metrics = frames.into_iter().filter_map(|frame| match frame {
        Response::Metrics(metrics) => Some(metrics),
        _ => None,
    });
    Some(metrics.flatten().map(|metric: Metric| metric.to_string()).collect())
}

/// Writes the file anew again and again; where and how often may change.
pub async fn keep_file(house: Arc<House>) {
    let mut changes = house.config.changes();
    let mut complained = false;
    loop {
        let config = house.config.get();
        let every = Duration::from_secs(config.metrics.every_seconds);
        if let Some(path) = config.metrics.file.clone() {
            let Some(text) = text(&house).await else { return };
            let written = tokio::task::spawn_blocking(move || replace(Path::new(&path), text.as_bytes())).await;
            let failed = written.ok().and_then(Result::err);
            if let Some(error) = failed.as_ref().filter(|_| !complained) {
                tracing::warn!("failed to write metrics.file: {error}");
            }
            complained = failed.is_some();
        }
        tokio::select! {
            () = tokio::time::sleep(every) => {}
            changed = changes.changed() => if changed.is_err() { return },
        }
    }
}

/// A reader sees the old file or the new one, whole.
fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut name = path.file_name().ok_or_else(|| io::Error::other("it has no name"))?.to_owned();
    // The collector reads *.prom alone.
    name.push(".spindle-part");
    let part = path.with_file_name(name);
    let written = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o644).open(&part).and_then(
        |mut file| {
            // Whoever collects is another user.
            file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
            file.write_all(content)?;
            file.sync_all()?;
            std::fs::rename(&part, path)
        },
    );
    written.inspect_err(|_| drop(std::fs::remove_file(&part)))
}

/// Takes the address of the configuration; `None` = there is none.
pub fn bind(config: &crate::config::Metrics) -> Result<Option<std::net::TcpListener>, String> {
    let Some(address) = &config.listen else { return Ok(None) };
    let address: SocketAddr = address.parse().map_err(|_| format!("metrics.listen = {address} is no ADDRESS:PORT"))?;
    let listener = std::net::TcpListener::bind(address)
        .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
        .map_err(|error| format!("failed to listen at metrics.listen = {address}: {error}"))?;
    Ok(Some(listener))
}

/// Answers for ever.
pub async fn answer(listener: std::net::TcpListener, house: Arc<House>) {
    let Ok(listener) = TcpListener::from_std(listener) else { return };
    let places = Arc::new(Semaphore::new(METRICS_CLIENTS_MAX));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let house = Arc::clone(&house);
                tokio::spawn(async move {
                    drop(tokio::time::timeout(PATIENCE, exchange(stream, &house)).await);
                    drop(place);
                });
            }
            // Out of descriptors, most likely: others must end first.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn exchange(mut stream: TcpStream, house: &Arc<House>) -> io::Result<()> {
    let mut head = Vec::with_capacity(1_024);
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        if head.len() >= METRICS_REQUEST_BYTES_MAX || stream.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    let line = String::from_utf8_lossy(head.split(|byte| *byte == b'\r').next().unwrap_or_default()).into_owned();
    let (status, body) = match asks(&line) {
        Ok(()) => match text(house).await {
            Some(text) => ("200 OK", text),
            None => ("503 Service Unavailable", "stopping\n".to_owned()),
        },
        Err(status) => (status, format!("{status}\n")),
    };
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    if !line.starts_with("HEAD ") {
        stream.write_all(body.as_bytes()).await?;
    }
    stream.shutdown().await
}

/// Whether a request's first line asks for metrics; otherwise what it is answered.
fn asks(line: &str) -> Result<(), &'static str> {
    let mut words = line.split(' ');
    let (method, target, version) = (words.next(), words.next(), words.next());
    if !version.is_some_and(|version| version.starts_with("HTTP/1.")) || words.next().is_some() {
        return Err("400 Bad Request");
    }
    if !matches!(method, Some("GET" | "HEAD")) {
        return Err("405 Method Not Allowed");
    }
    match target.map(|target| target.split('?').next().unwrap_or_default()) {
        Some("/metrics") => Ok(()),
        _ => Err("404 Not Found"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_metrics_is_answered() {
        assert_eq!(asks("GET /metrics HTTP/1.1"), Ok(()));
        assert_eq!(asks("HEAD /metrics?x=1 HTTP/1.0"), Ok(()));
        for (line, status) in [
            ("GET / HTTP/1.1", "404"),
            ("GET /metrics/../x HTTP/1.1", "404"),
            ("POST /metrics HTTP/1.1", "405"),
            ("GET /metrics", "400"),
            ("GET /metrics HTTP/1.1 x", "400"),
            ("", "400"),
            ("\u{16}\u{3}\u{1}", "400"),
        ] {
            assert!(asks(line).unwrap_err().starts_with(status), "{line}");
        }
    }

    #[test]
    fn a_file_is_replaced_whole_and_nothing_is_left_of_a_try_that_failed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("spindle.prom");
        replace(&path, b"one").unwrap();
        replace(&path, b"two").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        std::fs::create_dir(folder.path().join("taken")).unwrap();
        std::fs::write(folder.path().join("taken/x"), "x").unwrap();
        assert!(replace(&folder.path().join("taken"), b"three").is_err());
        let mut names: Vec<_> =
            std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["spindle.prom", "taken"]);
    }
}
