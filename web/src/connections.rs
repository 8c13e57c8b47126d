//! Open connections: how many there are, of whom, and which has been idle for longest. A connection costs a descriptor
//! and some memory even when nothing is asked on it, so no network can hold more than a share of them, and idle ones
//! make room for newcomers.

use std::any::Any;
use std::collections::HashMap;
use std::net::Shutdown;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use actix_tls::accept::rustls_0_23::TlsStream;
use actix_web::Error;
use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::{Extensions, ServiceRequest, ServiceResponse};
use actix_web::middleware::Next;
use actix_web::rt::net::TcpStream;
use actix_web::web::Bytes;
use ipnet::IpNet;
use socket2::{SockRef, Socket};
use tokio::time::Instant;

use crate::metrics::{self, ConnectionClosed};
use crate::peer::{Block, Network, is_trusted};

/// Connections of one listener, of all its workers. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Connections(Arc<Shared>);

/// How many connections a listener holds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Connections in all.
    pub(crate) max: usize,
    /// Connections of one network; wider blocks of IPv6 may hold a multiple.
    pub(crate) of_network: usize,
}

/// One open connection, known to its requests as `conn_data`. Forgotten when dropped, which is when it is closed.
pub(crate) struct Connection {
    number: u64,
    open: Arc<Open>,
    connections: Connections,
}

/// A connection that is not idle until this is dropped.
pub(crate) struct Busy(Arc<Open>);

/// An open connection of another server than actix, which is never closed for being idle.
pub(crate) struct Held {
    _busy: Busy,
    _connection: Connection,
}

/// The body of an answer that takes its time, during which its connection is not idle.
pub(crate) struct BusyBody {
    body: BoxBody,
    _busy: Busy,
}

struct Shared {
    bounds: Bounds,
    /// Proxies hold the connections of many clients: they are exempt.
    trusted: Vec<IpNet>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    next: u64,
    open: HashMap<u64, Arc<Open>>,
    /// How many connections the blocks of these networks have.
    blocks: HashMap<Block, usize>,
}

struct Open {
    network: Network,
    is_exempt: bool,
    /// A second descriptor of the connection, by which it can be closed from outside.
    socket: Socket,
    opened: Instant,
    requests: AtomicUsize,
    /// When the last request ended, in milliseconds after `opened`.
    idle_since: AtomicU64,
}

impl Connections {
    /// No connection yet. The networks of `trusted` proxies are exempt from the share.
    pub(crate) fn new(bounds: Bounds, trusted: Vec<IpNet>) -> Self {
        Self(Arc::new(Shared { bounds, trusted, state: Mutex::default() }))
    }

    /// Counts a connection that the server has accepted, or closes it. To be given to `HttpServer::on_connect`.
    pub(crate) fn accept(&self, connection: &dyn Any, data: &mut Extensions) {
        let tls = || connection.downcast_ref::<TlsStream<TcpStream>>().map(|stream| stream.get_ref().0);
        let Some(stream) = connection.downcast_ref::<TcpStream>().or_else(tls) else { return };
        match self.admit(stream) {
            Some(connection) => drop(data.insert(connection)),
            // An error says that the client has closed it.
            None => drop(SockRef::from(stream).shutdown(Shutdown::Both)),
        }
    }

    /// Counts a connection that another server than actix has accepted; `None`: it is to be closed.
    pub(crate) fn hold(&self, stream: &TcpStream) -> Option<Held> {
        let connection = self.admit(stream)?;
        Some(Held { _busy: connection.busy(), _connection: connection })
    }

    fn admit(&self, stream: &TcpStream) -> Option<Connection> {
        self.try_admit(stream).inspect_err(|why| metrics::connection_closed(*why)).ok()
    }

    fn try_admit(&self, stream: &TcpStream) -> Result<Connection, ConnectionClosed> {
        let address = stream.peer_addr().map_err(|_| ConnectionClosed::Refused)?.ip();
        let network = Network::of(address);
        let is_exempt = is_trusted(&address, &self.0.trusted);
        let socket = SockRef::from(stream).try_clone().map_err(|_| ConnectionClosed::Refused)?;
        let Bounds { max, of_network } = self.0.bounds;
        let mut state = self.lock();
        let held = |(block, growth)| state.blocks.get(&block).copied().unwrap_or(0) >= of_network * growth;
        if !is_exempt && network.blocks().any(held) {
            return Err(ConnectionClosed::NetworksShare);
        }
        if state.open.len() >= max - max / 10 {
            state.close_idle();
        }
        if state.open.len() >= max {
            return Err(ConnectionClosed::Refused);
        }
        let (opened, requests, idle_since) = (Instant::now(), AtomicUsize::new(0), AtomicU64::new(0));
        let open = Arc::new(Open { network, is_exempt, socket, opened, requests, idle_since });
        let number = state.next;
        state.next += 1;
        state.open.insert(number, Arc::clone(&open));
        for (block, _) in network.blocks().filter(|_| !is_exempt) {
            *state.blocks.entry(block).or_default() += 1;
        }
        Ok(Connection { number, open, connections: self.clone() })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Closes the connection that has been idle for longest of the network that has most of them.
    fn close_idle(&mut self) {
        let mut networks: HashMap<Block, usize> = HashMap::new();
        for open in self.open.values().filter(|open| !open.is_exempt) {
            *networks.entry(open.network.widest()).or_default() += 1;
        }
        let Some((crowd, _)) = networks.into_iter().max_by_key(|(_, connections)| *connections) else {
            return;
        };
        let idle = self.open.iter().filter(|(_, open)| {
            !open.is_exempt && open.network.widest() == crowd && open.requests.load(Ordering::Relaxed) == 0
        });
        if let Some(number) = idle.max_by_key(|(_, open)| open.idle_for()).map(|(number, _)| *number) {
            self.forget(number);
            metrics::connection_closed(ConnectionClosed::Idle);
        }
    }

    /// Forgets a connection. Closes it, if it is not closed yet.
    fn forget(&mut self, number: u64) {
        let Some(open) = self.open.remove(&number) else { return };
        let _ = open.socket.shutdown(Shutdown::Both);
        for (block, _) in open.network.blocks().filter(|_| !open.is_exempt) {
            match self.blocks.get_mut(&block) {
                Some(held) if *held > 1 => *held -= 1,
                Some(_) | None => drop(self.blocks.remove(&block)),
            }
        }
    }
}

impl Open {
    /// How long it has been idle, in milliseconds.
    fn idle_for(&self) -> u64 {
        self.age().saturating_sub(self.idle_since.load(Ordering::Relaxed))
    }

    fn age(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl Connection {
    /// A request has come: the connection is not idle until the answer is out.
    pub(crate) fn busy(&self) -> Busy {
        self.open.requests.fetch_add(1, Ordering::Relaxed);
        Busy(Arc::clone(&self.open))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.connections.lock().forget(self.number);
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.idle_since.store(self.0.age(), Ordering::Relaxed);
        self.0.requests.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Keeps the connection of a request from being idle until the request is answered.
pub(crate) async fn busy_until_answered<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    let _busy = request.request().conn_data::<Connection>().map(Connection::busy);
    next.call(request).await
}

impl BusyBody {
    /// Keeps a connection busy for as long as this body is being sent.
    pub(crate) const fn new(body: BoxBody, busy: Busy) -> Self {
        Self { body, _busy: busy }
    }
}

impl MessageBody for BusyBody {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.body).poll_next(context)
    }
}
