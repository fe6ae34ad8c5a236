//! One client's connection: frames in, frames out, each with a time limit. Knows no requests.

use std::io;
use std::time::Duration;

use interprocess::local_socket::tokio::Stream;
use serde::Serialize;
use serde::de::DeserializeOwned;
use spindle_shared::limits;
use spindle_shared::wire::codec;
use spindle_shared::wire::frame::{FrameDecoder, encode_frame};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

/// Why a session ends early.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    #[error("the connection broke: {0}")]
    Io(#[from] io::Error),
    #[error("the client spoke garbage: {0}")]
    Garbage(String),
    #[error("the client closed the connection")]
    Closed,
    #[error("the client was silent for too long")]
    Silent,
    #[error("the client takes no bytes")]
    Stuck,
    #[error("its user has as many clients as one may have")]
    Crowd,
    #[error("the daemon is stopping")]
    Stopping,
}

impl From<crate::inbox::Closed> for Broken {
    fn from(_: crate::inbox::Closed) -> Self {
        Broken::Stopping
    }
}

/// Small frames are written in pieces of this size.
const TOGETHER_BYTES: usize = 32 << 10;

/// A value as it goes over the socket.
pub fn frame_of<T: Serialize>(value: &T) -> Vec<u8> {
    encode_frame(&codec::encode(value))
}

pub struct Connection {
    stream: Stream,
    decoder: FrameDecoder,
    buffer: Box<[u8]>,
    leaving: Vec<u8>,
}

impl Connection {
    pub fn new(stream: Stream) -> Self {
        let buffer = vec![0; 16 << 10].into_boxed_slice();
        Connection { stream, decoder: FrameDecoder::new(), buffer, leaving: Vec::new() }
    }

    /// The next value. `patience` bounds the whole frame, so a drip of bytes buys no time.
    pub async fn receive<T: DeserializeOwned>(&mut self, patience: Option<Duration>) -> Result<T, Broken> {
        let frame = match patience {
            Some(patience) => timeout(patience, self.frame()).await.map_err(|_| Broken::Silent)??,
            None => self.frame().await?,
        };
        codec::decode(&frame, limits::FRAME_BYTES_MAX).map_err(|error| Broken::Garbage(error.to_string()))
    }

    async fn frame(&mut self) -> Result<Vec<u8>, Broken> {
        loop {
            if let Some(frame) = self.decoder.next().map_err(|error| Broken::Garbage(error.to_string()))? {
                return Ok(frame);
            }
            let count = self.stream.read(&mut self.buffer).await?;
            if count == 0 {
                return Err(Broken::Closed);
            }
            self.decoder.push(&self.buffer[..count]);
        }
    }

    pub async fn send<T: Serialize>(&mut self, value: &T) -> Result<(), Broken> {
        self.put(&frame_of(value)).await?;
        self.flush().await
    }

    /// Sends a frame that is in bytes already; small ones leave together, the last with [`Connection::flush`].
    pub async fn put(&mut self, frame: &[u8]) -> Result<(), Broken> {
        self.leaving.extend_from_slice(frame);
        if self.leaving.len() >= TOGETHER_BYTES { self.flush().await } else { Ok(()) }
    }

    pub async fn flush(&mut self) -> Result<(), Broken> {
        let bytes = std::mem::take(&mut self.leaving);
        let patience = Duration::from_millis(limits::WRITE_TIMEOUT_MS);
        timeout(patience, self.stream.write_all(&bytes)).await.map_err(|_| Broken::Stuck)??;
        Ok(())
    }

    /// Ends when the client closes; what it says meanwhile is not listened to.
    pub async fn closed(&mut self) {
        loop {
            match self.stream.read(&mut self.buffer).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        }
    }
}
