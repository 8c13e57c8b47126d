//! How the embedded servers are reached over a socket: HTTP/1.1, so many connections at once, one request at a time on each.

use std::any::Any;
use std::error::Error;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use engine::chance::{Chance, SystemChance};
use http_body::Body;
use hyper::body::Incoming;
use hyper::service::Service;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};

use super::stopped;

/// Connections of one listener that are served at once; more wait.
pub(super) const CONNECTIONS_MAX: usize = 256;
/// How long a connection may take to send a request's head, and may idle between two.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How long running requests may take once the server is to stop.
const DRAIN: Duration = Duration::from_secs(5);
/// The pause after a connection could not be accepted, for want of file descriptors most likely.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Whatever a connection may end with.
type Cause = Box<dyn Error + Send + Sync>;

/// Decides about a connection that was accepted: `None` closes it. What is returned is kept for as long as the connection is open.
pub type Admission = Arc<dyn Fn(&TcpStream) -> Option<Box<dyn Any + Send>> + Send + Sync>;

/// Admits every connection.
pub(super) fn everybody() -> Admission {
    Arc::new(|_| Some(Box::new(())))
}

/// Listens where no other program expects it: at a random loopback address where the system has the whole of `127.0.0.0/8`,
/// else at the usual one.
pub(super) fn listen_hidden() -> io::Result<TcpListener> {
    let [a, b, c, ..] = SystemChance.bits().to_le_bytes();
    let hidden = Ipv4Addr::new(127, a.clamp(1, 254), b, c.clamp(1, 254));
    TcpListener::bind((hidden, 0)).or_else(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
}

/// Serves until told to stop, and then for [`DRAIN`] at most. `name` is what logs call it.
pub(super) async fn serve<S, B>(
    name: &'static str,
    (listener, admission): (TcpListener, Admission),
    service: S,
    stopping: watch::Receiver<bool>,
) where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<Cause>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Cause>,
{
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "the {name} cannot listen"),
    };
    // The number of connections bounds the work.
    let mut http = auto::Builder::new(TokioExecutor::new()).http1_only();
    http.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let connections = GracefulShutdown::new();
    let stopped = stopped(stopping);
    tokio::pin!(stopped);
    loop {
        let accepted = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (listener.accept().await, place)
        };
        let (stream, place) = tokio::select! {
            () = &mut stopped => break,
            (accepted, place) = accepted => match accepted {
                Ok((stream, _)) => (stream, place),
                Err(error) => {
                    tracing::warn!(%error, "the {name} could not accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
        };
        let Some(admitted) = admission(&stream) else { continue };
        // An answer is small, or written in large pieces: nothing is gained by waiting for more.
        let _ = stream.set_nodelay(true);
        let connection = http.serve_connection(TokioIo::new(stream), service.clone()).into_owned();
        let connection = connections.watch(connection);
        tokio::spawn(async move {
            // Whatever ends a connection early is its client's business.
            let _ = connection.await;
            drop((admitted, place));
        });
    }
    drop(listener);
    if tokio::time::timeout(DRAIN, connections.shutdown()).await.is_err() {
        tracing::warn!("the {name} stopped before every request was done");
    }
}
