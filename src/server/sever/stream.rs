//! Decides what still crosses a connection whose certificate is no longer good:
//! the last words, if they leave at once.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::End;

/// A connection that is deaf once its certificate is no longer good, and dumb
/// if the client did not take what was sent before.
///
/// HTTP/2 has data in its hands that waits for the client: for a window, which
/// a deaf connection never hears of, or for room in the socket. Neither leaves
/// any more.
pub(in crate::server) struct Severable {
    inner: TlsStream<TcpStream>,
    end: End,
    /// The socket has taken no more, and what waits is from before.
    clogged: bool,
}

impl Severable {
    /// `inner` until `end`.
    pub(in crate::server) const fn new(inner: TlsStream<TcpStream>, end: End) -> Self {
        Self { inner, end, clogged: false }
    }

    fn write<T>(
        &mut self,
        write: impl FnOnce(Pin<&mut TlsStream<TcpStream>>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if self.clogged && self.end.severed_at().is_some() {
            let problem = "the client did not take what was sent before its certificate ended";
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::ConnectionAborted, problem)));
        }
        let written = write(Pin::new(&mut self.inner));
        self.clogged |= written.is_pending();
        written
    }
}

impl AsyncRead for Severable {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.end.severed_at().is_some() {
            // Nobody is woken: the connection ends by its deadline.
            return Poll::Pending;
        }
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Severable {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.write(|inner| inner.poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.write(|inner| inner.poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = self.write(|inner| inner.poll_flush(cx));
        // A write alone may have ended in a buffer of TLS.
        if matches!(flushed, Poll::Ready(Ok(()))) {
            self.clogged = false;
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.write(|inner| inner.poll_shutdown(cx))
    }
}

impl Drop for Severable {
    fn drop(&mut self) {
        if self.end.severed_at().is_some() {
            // What the system still holds for the client is not sent either; one
            // that has closed its end is past caring.
            let _ = self.inner.get_ref().0.set_zero_linger();
        }
    }
}
