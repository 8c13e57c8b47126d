//! Answers other nodes, on an address of its own: a call is read only when its head is in order, and obeyed only when its
//! seal is. Whoever asks has been told that the doctor is here; if not, that is the answer, and nobody else is asked.

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::middleware::from_fn;
use actix_web::rt::task::JoinHandle;
use actix_web::web::{Bytes, Data, Payload, post, resource, route};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};
use engine::{Chance, Clock, Router};
use tokio::time::Instant;

use super::accepted::{Acceptance, Accepted};
use super::auth::{Envelope, Seals, is_fresh};
use super::client::CALLS_AT_ONCE;
use super::wire::{self, Nonsense};
use super::{ASK, AT, BODY_BYTES_MAX, NONCE, SEAL, VIEW, WITHIN};
use crate::body::{self, BodyLimit};
use crate::config::{ServerConfig, SigningSecrets};
use crate::connections::{self, Bounds, Connections};
use crate::error::ApiError;
use crate::telemetry::{self, RequestId};

/// How long a call's head, and then its body, may take to come.
const READ_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a stop waits for calls under way, in seconds: by then the ranges are others'.
const STOP_SECONDS: u64 = 2;

/// What lets other nodes in.
pub(crate) struct Door {
    seals: Seals,
    accepted: Accepted,
    /// The address under which the others know this node.
    address: String,
    router: Router,
    clock: Arc<dyn Clock>,
}

/// A call of a node that knows the secret.
struct Call {
    body: Bytes,
    seal: String,
    /// When its caller stops to wait.
    until: Instant,
}

impl Call {
    fn left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }
}

impl Door {
    pub(crate) fn new(
        secrets: &SigningSecrets,
        address: String,
        router: Router,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let accepted = Accepted::since(clock.now().timestamp());
        Self { seals: Seals::new(secrets), accepted, address, router, clock }
    }

    /// Reads a call, unless its head shows already that it is no node's. Accepts it once.
    async fn admit(
        &self,
        path: &'static str,
        request: &HttpRequest,
        request_id: RequestId,
        payload: Payload,
    ) -> Result<Call, ApiError> {
        let begun = Instant::now();
        let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
        let number = |name: &str| header(name).and_then(|text| text.parse().ok());
        let (Some(at), Some(within_ms), Some(seal)) = (number(AT), number(WITHIN), header(SEAL)) else {
            return Err(ApiError::Unauthenticated);
        };
        let within_ms = u64::try_from(within_ms).map_err(|_| ApiError::Unauthenticated)?;
        let (to, request_id) = (self.address.clone(), request_id.into_text());
        let envelope =
            Envelope { path, to, at, within_ms, request_id, nonce: header(NONCE).map(str::to_owned) };
        if !is_fresh(at, self.clock.now().timestamp()) {
            return Err(ApiError::Unauthenticated);
        }
        let body = body::read(request, payload.into_inner()).await?;
        let tag = self.seals.tag(&envelope, &body, seal).ok_or(ApiError::Unauthenticated)?;
        match self.accepted.enter(at, tag, self.clock.now().timestamp()) {
            Acceptance::First => {}
            Acceptance::Repeat => return Err(ApiError::Unauthenticated),
            Acceptance::Full => return Err(ApiError::Busy),
        }
        Ok(Call { body, seal: seal.to_owned(), until: begun + envelope.within() })
    }

    fn answer(&self, call: &Call, body: Vec<u8>) -> HttpResponse {
        let seal = self.seals.seal_answer(&call.seal, &body);
        HttpResponse::Ok().insert_header((SEAL, seal)).content_type("application/json").body(body)
    }
}

impl From<Nonsense> for ApiError {
    fn from(nonsense: Nonsense) -> Self {
        Self::invalid(nonsense.to_string())
    }
}

async fn ask(
    door: Data<Door>,
    request: HttpRequest,
    request_id: RequestId,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let call = door.admit(ASK, &request, request_id, payload).await?;
    let (doctor, command) = wire::read_ask(&call.body)?;
    let answer = door.router.ask_here(&doctor, command, call.left()).await;
    Ok(door.answer(&call, wire::write_answer(&answer)))
}

async fn view(
    door: Data<Door>,
    request: HttpRequest,
    request_id: RequestId,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let call = door.admit(VIEW, &request, request_id, payload).await?;
    let (doctor, date) = wire::read_look(&call.body)?;
    let view = door.router.view_here(&doctor, date, call.left()).await;
    Ok(door.answer(&call, wire::write_view(&view)))
}

async fn nothing_here() -> Result<HttpResponse, ApiError> {
    Err(ApiError::PathNotFound)
}

/// As on the public address, except that a network may have as many connections as one node makes, though no more than half
/// of all: a node that is refused does not know what became of its call.
fn bounds(config: &ServerConfig) -> Bounds {
    let max = config.connections_max;
    Bounds { max, of_network: config.connections_of_network.max(CALLS_AT_ONCE.min(max / 2)) }
}

/// Serves other nodes until it is stopped.
pub(crate) struct NodeServer {
    handle: ServerHandle,
    running: JoinHandle<io::Result<()>>,
}

impl NodeServer {
    /// Serves from here on.
    pub(crate) fn start(
        listener: TcpListener,
        door: Door,
        chance: Arc<dyn Chance>,
        config: &ServerConfig,
    ) -> io::Result<Self> {
        let (door, chance) = (Data::new(door), Data::from(chance));
        // No proxy stands between nodes.
        let connections = Connections::new(bounds(config), Vec::new());
        let server = HttpServer::new(move || {
            App::new()
                .app_data(door.clone())
                .app_data(chance.clone())
                .app_data(BodyLimit { bytes: BODY_BYTES_MAX, timeout: READ_TIMEOUT })
                .service(resource(ASK).route(post().to(ask)))
                .service(resource(VIEW).route(post().to(view)))
                .default_service(route().to(nothing_here))
                .wrap(from_fn(connections::busy_until_answered))
                .wrap(from_fn(telemetry::observe_call))
        });
        let server = server
            .workers(config.workers)
            // Beyond what `connections` admits: a connection that is one too many is accepted and closed.
            .max_connections(config.connections_max.saturating_mul(2))
            .on_connect(move |connection, data| connections.accept(connection, data))
            .keep_alive(config.keep_alive)
            .tcp_nodelay(true)
            .client_request_timeout(READ_TIMEOUT)
            .shutdown_timeout(STOP_SECONDS)
            .disable_signals()
            .listen(listener)?
            .run();
        Ok(Self { handle: server.handle(), running: actix_web::rt::spawn(server) })
    }

    /// Returns when it has ended by itself, which it is not to do.
    pub(crate) async fn ended(&mut self) -> anyhow::Result<()> {
        Ok((&mut self.running).await??)
    }

    /// Lets calls under way finish, for a moment.
    pub(crate) async fn stop(self) {
        self.handle.stop(true).await;
    }
}

#[cfg(test)]
mod tests;
