//! Connections that end: so many at once, so many bytes of request, so much time.
//!
//! Takes a listener; hands on connections that fail to read or write past their limits, which closes them. A
//! client beyond the number of connections waits in the system's queue. What would surprise: the deadline is that of the
//! whole connection, because each serves one request.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Sleep;

/// What one client, and all of them, may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Connections at once.
    pub connections_max: usize,
    /// Bytes of a request, its head and body.
    pub request_bytes_max: usize,
    /// From the first byte of a connection to the last.
    pub deadline: Duration,
}

impl Default for ConnectionLimits {
    /// What scrapers and probes need, and little more.
    fn default() -> Self {
        Self { connections_max: 32, request_bytes_max: 16 << 10, deadline: Duration::from_secs(10) }
    }
}

/// A listener whose connections are limited.
pub(super) struct Bounded {
    listener: TcpListener,
    limits: ConnectionLimits,
    open: Arc<Semaphore>,
}

impl Bounded {
    pub(super) fn new(listener: TcpListener, limits: ConnectionLimits) -> Self {
        Self { listener, limits, open: Arc::new(Semaphore::new(limits.connections_max)) }
    }
}

impl Listener for Bounded {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        // Nothing closes the semaphore, so that there is always a permit to wait for.
        let permit = Arc::clone(&self.open).acquire_owned().await.ok();
        let (stream, address) = Listener::accept(&mut self.listener).await;
        let deadline = Box::pin(tokio::time::sleep(self.limits.deadline));
        let bytes_left = self.limits.request_bytes_max;
        (Connection { stream, deadline, bytes_left, _permit: permit }, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// One client's connection.
pub(super) struct Connection {
    stream: TcpStream,
    deadline: Pin<Box<Sleep>>,
    bytes_left: usize,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Connection {
    /// Fails once the deadline has passed; otherwise the task is woken when it does.
    fn in_time(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        match self.deadline.as_mut().poll(context) {
            Poll::Ready(()) => Err(io::ErrorKind::TimedOut.into()),
            Poll::Pending => Ok(()),
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.in_time(context)?;
        if self.bytes_left == 0 {
            return Poll::Ready(Err(io::Error::other("the request is too large")));
        }
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.bytes_left = self.bytes_left.saturating_sub(buffer.filled().len() - before);
        polled
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.in_time(context)?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.in_time(context)?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
