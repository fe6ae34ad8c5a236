//! The daemon's end of a worker's channel: orders out with their descriptors, reports in. Knows no run.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use spindle_shared::limits::{DESCRIPTORS_PER_MESSAGE_MAX, WORKER_MESSAGE_BYTES_MAX};
use spindle_shared::wire::codec;
use spindle_shared::worker::{Order, Report};

pub struct Channel {
    socket: OwnedFd,
}

/// Why an order didn't get through.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    #[error("an order of {bytes} bytes is more than the {WORKER_MESSAGE_BYTES_MAX} a worker takes")]
    TooLong { bytes: usize },
    #[error("an order with {0} files is more than the {DESCRIPTORS_PER_MESSAGE_MAX} a worker takes")]
    TooManyFiles(usize),
    /// The process has closed its end or is gone.
    #[error("the worker is gone")]
    Gone,
    #[error("failed to send to the worker: {0}")]
    System(Errno),
}

/// What came instead of a report.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    #[error("{0}")]
    Garbage(String),
}

impl Channel {
    pub fn new(socket: OwnedFd) -> Self {
        Channel { socket }
    }

    /// Waits while the worker's end is full.
    pub fn send(&self, order: &Order, files: &[OwnedFd]) -> Result<(), SendError> {
        let message = codec::encode(order);
        if message.len() > WORKER_MESSAGE_BYTES_MAX {
            return Err(SendError::TooLong { bytes: message.len() });
        }
        if files.len() > DESCRIPTORS_PER_MESSAGE_MAX {
            return Err(SendError::TooManyFiles(files.len()));
        }
        let descriptors: Vec<BorrowedFd<'_>> = files.iter().map(AsFd::as_fd).collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_PER_MESSAGE_MAX))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(&descriptors)) {
            return Err(SendError::TooManyFiles(files.len()));
        }
        let sent = rustix::io::retry_on_intr(|| {
            sendmsg(&self.socket, &[IoSlice::new(&message)], &mut control, SendFlags::NOSIGNAL)
        });
        match sent {
            Ok(_) => Ok(()),
            Err(Errno::PIPE | Errno::CONNRESET | Errno::NOTCONN) => Err(SendError::Gone),
            Err(e) => Err(SendError::System(e)),
        }
    }

    /// The next report; `None` when the worker's end is closed. `buffer` is kept by the caller from call to call.
    pub fn receive(&self, buffer: &mut Vec<u8>) -> Result<Option<Report>, ReceiveError> {
        buffer.resize(WORKER_MESSAGE_BYTES_MAX, 0);
        // No room for descriptors: should a worker send some, the kernel closes them.
        let mut control = RecvAncillaryBuffer::default();
        let received = rustix::io::retry_on_intr(|| {
            recvmsg(&self.socket, &mut [IoSliceMut::new(buffer)], &mut control, RecvFlags::empty())
        });
        let message = match received {
            Ok(message) => message,
            // It died with orders unread.
            Err(Errno::CONNRESET) => return Ok(None),
            Err(e) => return Err(ReceiveError::Garbage(format!("its channel failed: {e}"))),
        };
        if message.flags.contains(ReturnFlags::TRUNC) {
            return Err(ReceiveError::Garbage(format!("a message of more than {WORKER_MESSAGE_BYTES_MAX} bytes")));
        }
        match buffer.get(..message.bytes) {
            None | Some([]) => Ok(None),
            Some(bytes) => codec::decode(bytes, WORKER_MESSAGE_BYTES_MAX)
                .map(Some)
                .map_err(|e| ReceiveError::Garbage(e.to_string())),
        }
    }
}
