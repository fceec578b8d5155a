//! The job's face for machines: `/metrics`, `/livez` and `/readyz` over HTTP.
//!
//! Takes an address and what to tell; keeps one thread with a small runtime of its own, so that neither a slow
//! scraper nor a hung job holds the other up. Fails at the start only, when the address can't be had. What would
//! surprise: each connection serves one request and is closed, so that one deadline and one limit of bytes
//! bound all that a client can hold.

mod answer;
mod connection;

#[cfg(test)]
mod tests;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use crate::event::Clock;
use crate::metrics::{Health, Metrics};
use connection::Bounded;
pub use connection::ConnectionLimits;

/// What is told; clones share it.
#[derive(Clone)]
pub struct Told {
    /// Numbers.
    pub metrics: Metrics,
    /// Whether the job lives and answers.
    pub health: Arc<Health>,
    /// Whose monotonic reading [`Health`] is judged by.
    pub clock: Arc<dyn Clock>,
}

/// Why nothing can be served.
#[derive(Debug, thiserror::Error)]
pub enum ConsoleError {
    /// Something else listens there.
    #[error(
        "metrics and health can't be served at {0}: the address is in use; end what listens there, or set another \
         `listen` under `[http]`, or \"off\""
    )]
    AddressInUse(SocketAddr),
    /// The address can't be had for another reason.
    #[error(
        "metrics and health can't be served at {address}: {reason}; set another `listen` under `[http]`, or \"off\""
    )]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        reason: io::Error,
    },
    /// No thread or runtime could be made.
    #[error("metrics and health can't be served: {0}")]
    Thread(io::Error),
}

/// How long a stop waits for answers under way.
const STOP_WITHIN: Duration = Duration::from_secs(1);

/// A server that runs; dropping it stops it.
#[derive(Debug)]
pub struct Console {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Console {
    /// Listens at the address, port 0 for any that is free, and answers until it is stopped.
    pub fn start(listen: SocketAddr, told: Told, limits: ConnectionLimits) -> Result<Self, ConsoleError> {
        let failed = |reason: io::Error| match reason.kind() {
            io::ErrorKind::AddrInUse => ConsoleError::AddressInUse(listen),
            _ => ConsoleError::Bind { address: listen, reason },
        };
        let listener = TcpListener::bind(listen).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(ConsoleError::Thread)?;
        let listener = {
            let _inside = runtime.enter();
            tokio::net::TcpListener::from_std(listener).map_err(failed)?
        };
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("console".to_owned())
            .spawn(move || serve(&runtime, Bounded::new(listener, limits), told, stopped))
            .map_err(ConsoleError::Thread)?;
        Ok(Self { address, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no more requests, finishes the answers under way within a second, and frees the address.
    pub fn stop(self) {}
}

impl Drop for Console {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // It has ended by itself where nobody receives this.
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            // A panic was already printed by its thread, and must not take the job's shutdown with it.
            let _ = thread.join();
        }
    }
}

fn serve(runtime: &Runtime, listener: Bounded, told: Told, stopped: oneshot::Receiver<()>) {
    runtime.block_on(async move {
        let (drain, draining) = oneshot::channel::<()>();
        let server = axum::serve(listener, answer::router(told)).with_graceful_shutdown(async {
            let _ = draining.await;
        });
        let deadline = async {
            let _ = stopped.await;
            let _ = drain.send(());
            tokio::time::sleep(STOP_WITHIN).await;
        };
        tokio::select! {
            ended = server.into_future() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "metrics and health are no longer served");
                }
            }
            () = deadline => {}
        }
    });
}
