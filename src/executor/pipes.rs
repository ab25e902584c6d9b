//! The reading ends of a task's output. Knows nothing of what is written.

use std::future::poll_fn;
use std::io::{ErrorKind, PipeWriter};
use std::os::fd::OwnedFd;
use std::task::{Context, Poll, ready};

use tokio::net::unix::pipe::Receiver;

use super::output::Stream;
use crate::process::StartError;

/// Most that is read at once, bytes: what a pipe holds.
pub(super) const CHUNK: usize = 64 * 1024;

/// `None` after the end of the stream.
pub(super) struct Pipes {
    pub out: Option<Receiver>,
    pub err: Option<Receiver>,
}

/// A pipe whose reading end is ours to await and whose writing end is for the child.
pub(super) fn pipe() -> Result<(Receiver, PipeWriter), StartError> {
    let open = || {
        let (reader, writer) = std::io::pipe()?;
        rustix::io::ioctl_fionbio(&reader, true)?;
        Ok((Receiver::from_owned_fd_unchecked(OwnedFd::from(reader))?, writer))
    };
    open().map_err(StartError::from_pipe)
}

impl Pipes {
    pub fn open(&self) -> bool {
        self.out.is_some() || self.err.is_some()
    }

    /// Reads one chunk into `buffer`, which must be empty and have room for one; at the end of a stream nothing.
    /// Pending for ever when both have ended.
    pub async fn read(&mut self, buffer: &mut Vec<u8>) -> Stream {
        poll_fn(|context| match poll_read(&mut self.out, buffer, context) {
            Poll::Ready(()) => Poll::Ready(Stream::Out),
            Poll::Pending => poll_read(&mut self.err, buffer, context).map(|()| Stream::Err),
        })
        .await
    }
}

fn poll_read(stream: &mut Option<Receiver>, buffer: &mut Vec<u8>, context: &mut Context<'_>) -> Poll<()> {
    let Some(pipe) = stream else { return Poll::Pending };
    loop {
        // An error means that the runtime shuts down.
        if ready!(pipe.poll_read_ready(context)).is_err() {
            break;
        }
        match pipe.try_read_buf(buffer) {
            Ok(1..) => return Poll::Ready(()),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Ok(0) | Err(_) => break,
        }
    }
    *stream = None;
    Poll::Ready(())
}
