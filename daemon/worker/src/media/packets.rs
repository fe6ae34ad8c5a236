//! Encoded packets kept in a file until they are muxed: what makes pieces that were encoded apart one stream. Knows no container.
//!
//! A record is `pts, dts, duration: i64 | flags: u32 | length: u32 | bytes`, little-endian; times in the encoder's ticks.

use std::io::{self, BufReader, Read, Write};

use super::demuxer::Packet;
use super::error::MediaError;

const HEAD_BYTES: usize = 3 * 8 + 4 + 4;
/// No encoded picture is larger; a file that was tampered with can't make a worker ask for the machine's memory.
const PACKET_BYTES_MAX: usize = 256 << 20;

/// When a packet is shown and decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    pub stamp: i64,
    pub decode_stamp: i64,
    pub duration: i64,
    pub key: bool,
}

/// Appends one packet; what times it has, is given back.
pub fn put(packet: &Packet, to: &mut dyn Write) -> Result<Times, MediaError> {
    let stamp = packet.stamp().or(packet.decode_stamp()).unwrap_or(0);
    let decode_stamp = packet.decode_stamp().unwrap_or(stamp);
    let times = Times { stamp, decode_stamp, duration: packet.duration(), key: packet.is_key() };
    let bytes = packet.bytes();
    let mut head = [0; HEAD_BYTES];
    head[..8].copy_from_slice(&times.stamp.to_le_bytes());
    head[8..16].copy_from_slice(&times.decode_stamp.to_le_bytes());
    head[16..24].copy_from_slice(&times.duration.to_le_bytes());
    head[24..28].copy_from_slice(&u32::from(times.key).to_le_bytes());
    head[28..].copy_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes());
    to.write_all(&head).and_then(|()| to.write_all(bytes)).map_err(MediaError::Write)?;
    Ok(times)
}

/// Reads them again, in their order.
pub struct Packets<R: Read>(BufReader<R>);

impl<R: Read> Packets<R> {
    pub fn new(from: R) -> Self {
        Packets(BufReader::with_capacity(256 << 10, from))
    }

    /// Fills the packet with the next one; `None` at the end.
    pub fn next(&mut self, packet: &mut Packet) -> Result<Option<Times>, MediaError> {
        let mut bytes = Vec::new();
        let Some(times) = self.next_bytes(&mut bytes).map_err(MediaError::Read)? else { return Ok(None) };
        packet.fill(&bytes)?;
        packet.set_times(times.stamp, times.decode_stamp, times.duration);
        packet.set_key(times.key);
        Ok(Some(times))
    }

    fn next_bytes(&mut self, bytes: &mut Vec<u8>) -> io::Result<Option<Times>> {
        let mut head = [0; HEAD_BYTES];
        match self.0.read_exact(&mut head[..1]) {
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            result => result?,
        }
        self.0.read_exact(&mut head[1..])?;
        let number = |at: usize| {
            let mut part = [0; 8];
            part.copy_from_slice(&head[at..at + 8]);
            i64::from_le_bytes(part)
        };
        let flags = u32::from_le_bytes([head[24], head[25], head[26], head[27]]);
        let length = u32::from_le_bytes([head[28], head[29], head[30], head[31]]) as usize;
        if length > PACKET_BYTES_MAX {
            return Err(io::Error::from(io::ErrorKind::InvalidData));
        }
        bytes.resize(length, 0);
        self.0.read_exact(bytes)?;
        Ok(Some(Times { stamp: number(0), decode_stamp: number(8), duration: number(16), key: flags & 1 != 0 }))
    }
}
