//! The worker's end of its channel to the daemon: orders in with their descriptors, reports out. Knows no stage.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::{Errno, FdFlags};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendFlags, SocketType,
    recvmsg, sendmsg, sockopt,
};
use spindle_shared::failure::{Failure, FailureKind};
use spindle_shared::limits::{DESCRIPTORS_PER_MESSAGE_MAX, WORKER_MESSAGE_BYTES_MAX};
use spindle_shared::wire::codec;
use spindle_shared::worker::{Order, Outcome, Report, WORKER_FD};

pub struct Channel {
    socket: OwnedFd,
}

impl Channel {
    /// The descriptor that the daemon left for us. To be called once, before anything else opens or closes descriptors.
    pub fn inherited() -> io::Result<Self> {
        // SAFETY: only asked about here; if nothing is open at this number, the calls say so.
        let borrowed = unsafe { BorrowedFd::borrow_raw(WORKER_FD) };
        let kind = sockopt::socket_type(borrowed)?;
        if kind != SocketType::SEQPACKET {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a socket that keeps packets whole"));
        }
        // Processes that we start must hold neither our channel nor our share of the workers' lock, the number after it:
        // one of them that lived on would keep the next daemon from starting.
        rustix::io::fcntl_setfd(borrowed, FdFlags::CLOEXEC)?;
        // SAFETY: as above.
        let lock = unsafe { BorrowedFd::borrow_raw(WORKER_FD + 1) };
        // A worker started by hand has no lock.
        let _ = rustix::io::fcntl_setfd(lock, FdFlags::CLOEXEC);
        // SAFETY: it is open, and by the agreement with the daemon it is ours alone.
        Ok(Channel { socket: unsafe { OwnedFd::from_raw_fd(WORKER_FD) } })
    }

    /// Over any socket of the right kind.
    #[cfg(test)]
    pub fn over(socket: OwnedFd) -> Self {
        Channel { socket }
    }

    /// The next order; `None` when the daemon has closed its end or is gone.
    pub fn receive(&self) -> io::Result<Option<(Order, Vec<OwnedFd>)>> {
        let mut buffer = vec![0; WORKER_MESSAGE_BYTES_MAX];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_PER_MESSAGE_MAX))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = rustix::io::retry_on_intr(|| {
            recvmsg(&self.socket, &mut [IoSliceMut::new(&mut buffer)], &mut control, RecvFlags::CMSG_CLOEXEC)
        });
        let message = match received {
            Ok(message) => message,
            Err(Errno::CONNRESET) => return Ok(None),
            Err(e) => return Err(e.into()),
        };
        let mut files = Vec::new();
        for part in control.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = part {
                files.extend(descriptors);
            }
        }
        if message.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "an order came cut"));
        }
        if message.bytes == 0 {
            return Ok(None);
        }
        let order = codec::decode(&buffer[..message.bytes], WORKER_MESSAGE_BYTES_MAX)
            .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
        Ok(Some((order, files)))
    }

    /// Sends a report. Progress is dropped while the daemon is behind; everything else waits.
    pub fn send(&self, report: &Report) -> io::Result<()> {
        let mut message = codec::encode(report);
        if message.len() > WORKER_MESSAGE_BYTES_MAX {
            let Report::Ended { run, .. } = report else {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, "a report is too long"));
            };
            let failure = Failure::new(
                FailureKind::Internal,
                format!("the result of this run is told in {} bytes, too long to report", message.len()),
            );
            message = codec::encode(&Report::Ended { run: *run, outcome: Outcome::Failed(failure) });
        }
        let wait = if matches!(report, Report::Progress { .. }) { SendFlags::DONTWAIT } else { SendFlags::empty() };
        self.send_bytes(&message, SendFlags::NOSIGNAL | wait)
    }

    /// One packet as it is.
    pub fn send_bytes(&self, message: &[u8], flags: SendFlags) -> io::Result<()> {
        let mut none = SendAncillaryBuffer::default();
        let sent =
            rustix::io::retry_on_intr(|| sendmsg(self.socket.as_fd(), &[IoSlice::new(message)], &mut none, flags));
        match sent {
            Ok(_) => Ok(()),
            Err(Errno::AGAIN) if flags.contains(SendFlags::DONTWAIT) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::{AddressFamily, SocketFlags};
    use spindle_shared::id::RunId;
    use spindle_shared::job::Detail;
    use spindle_shared::worker::Done;

    #[test]
    fn a_result_too_long_to_tell_arrives_as_a_failure() {
        let (ours, theirs) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
        let detail = Detail { notes: vec!["x".repeat(WORKER_MESSAGE_BYTES_MAX)], ..Detail::default() };
        let outcome = Outcome::Done(Box::new(Done { detail, ..Done::default() }));
        let run = RunId { boot: 1, counter: 1 };
        Channel::over(theirs).send(&Report::Ended { run, outcome }).unwrap();
        let mut buffer = vec![0; WORKER_MESSAGE_BYTES_MAX];
        let (bytes, _) = rustix::net::recv(ours, &mut buffer[..], RecvFlags::empty()).unwrap();
        match codec::decode(&buffer[..bytes], WORKER_MESSAGE_BYTES_MAX) {
            Ok(Report::Ended { run: told, outcome: Outcome::Failed(failure) }) => {
                assert_eq!((told, failure.kind), (run, FailureKind::Internal));
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn progress_never_waits_for_a_daemon_that_is_behind() {
        let (ours, theirs) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
        let channel = Channel::over(theirs);
        for _ in 0..10_000 {
            channel.send(&Report::Progress { run: RunId { boot: 1, counter: 1 }, done: 0.5, begun: 0.0 }).unwrap();
        }
        drop(ours);
    }
}
