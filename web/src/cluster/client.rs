//! Asks other nodes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix_web::web::Bytes;
use chrono::NaiveDate;
use engine::{Answer, Chance, Clock, Command, DayView, DoctorId, EngineError, Peers};
use futures::FutureExt;
use futures::future::BoxFuture;
use reqwest::{Client, RequestBuilder};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument;

use super::auth::{Envelope, Seals};
use super::wire::{self, Nonsense};
use super::{ASK, AT, BODY_BYTES_MAX, NONCE, SEAL, VIEW, WITHIN};
use crate::config::SigningSecrets;
use crate::{http_client, telemetry};

/// The longest that making a connection may take. Nodes are near each other; beyond that the next owner is looked for.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(300);
/// How long a connection that nobody uses is kept: far shorter than the other side keeps it, so that no call meets one
/// that is just being closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(15);
/// Calls to one node that are under way at once, each on a connection of its own. The others wait: one node that hangs
/// must not use up what the other nodes are asked with.
pub(super) const CALLS_AT_ONCE: usize = 512;
/// Nodes that are kept in mind before those that nobody asks are forgotten.
const NODES_KEPT: usize = 256;

/// The other nodes, over HTTP.
pub(crate) struct HttpPeers {
    http: Client,
    seals: Seals,
    clock: Arc<dyn Clock>,
    chance: Arc<dyn Chance>,
    places: Mutex<HashMap<String, Arc<Semaphore>>>,
    /// Where connections live. Not where requests are served: there they would end with whichever worker made them.
    runtime: Handle,
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Failure {
    /// The call has not been sent.
    NothingHappened,
    /// The node has refused the call, and done nothing: it does not know the seal.
    Refused,
    /// There was no place in time, here or there; nothing happened.
    Busy,
    /// It may have been read.
    Unknown,
}

impl Failure {
    /// `silence`: what is known when it may have been read.
    fn means(self, silence: EngineError) -> EngineError {
        match self {
            Self::NothingHappened | Self::Refused => EngineError::NotHere,
            Self::Busy => EngineError::Busy,
            Self::Unknown => silence,
        }
    }
}

impl From<reqwest::Error> for Failure {
    fn from(error: reqwest::Error) -> Self {
        // No connection: names that lead nowhere, refusals and connections that took too long among it. A call that found
        // its idle connection closed goes out on another one by itself.
        if error.is_connect() || error.is_builder() { Self::NothingHappened } else { Self::Unknown }
    }
}

impl From<Nonsense> for Failure {
    fn from(_: Nonsense) -> Self {
        Self::Unknown
    }
}

impl HttpPeers {
    /// Must be made where its connections are to live.
    pub(crate) fn new(
        secrets: &SigningSecrets,
        clock: Arc<dyn Clock>,
        chance: Arc<dyn Chance>,
    ) -> reqwest::Result<Self> {
        let http = http_client::outgoing()
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .http1_only()
            .tcp_nodelay(true)
            .build()?;
        let (seals, places) = (Seals::new(secrets), Mutex::default());
        Ok(Self { http, seals, clock, chance, places, runtime: Handle::current() })
    }

    /// Has a body brought to a node, and gives what the node sealed as its answer.
    fn call(
        &self,
        path: &'static str,
        to: &str,
        body: Vec<u8>,
        within: Duration,
    ) -> BoxFuture<'static, Result<Vec<u8>, Failure>> {
        let until = Instant::now() + within;
        let request_id = telemetry::request_id().unwrap_or_else(|| format!("{:032x}", self.chance.bits()));
        let (to, at) = (to.to_owned(), self.clock.now().timestamp());
        let (seals, places) = (self.seals.clone(), self.places(&to));
        let nonce = Some(format!("{:032x}", self.chance.bits()));
        let (http, url, body) = (self.http.clone(), format!("http://{to}{path}"), Bytes::from(body));
        let exchange = async move {
            let place = timeout(within, places.acquire_owned()).await;
            let Ok(Ok(_place)) = place else { return Err(Failure::Busy) };
            let left = || until.saturating_duration_since(Instant::now());
            let within_ms = u64::try_from(left().as_millis()).unwrap_or(u64::MAX);
            let mut envelope = Envelope { path, to, at, within_ms, request_id, nonce };
            let mut answer = exchange(http.post(&url).timeout(left()), &seals, &envelope, body.clone()).await;
            // A version before December 2026 refuses every call with a nonce, until all nodes are upgraded.
            if answer == Err(Failure::Refused) {
                envelope.nonce = None;
                answer = exchange(http.post(&url).timeout(left()), &seals, &envelope, body).await;
            }
            if answer == Err(Failure::Refused) {
                tracing::warn!(
                    node.address = envelope.to,
                    "another node does not know our seal: do KOKORO_CLUSTER_SECRET, addresses and clocks agree"
                );
            }
            answer
        };
        let running = AbortOnDropHandle::new(self.runtime.spawn(exchange.in_current_span()));
        async move { running.await.unwrap_or(Err(Failure::Unknown)) }.boxed()
    }

    fn places(&self, to: &str) -> Arc<Semaphore> {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        if places.len() >= NODES_KEPT && !places.contains_key(to) {
            places.retain(|_, places| Arc::strong_count(places) > 1);
        }
        let of_node = places.entry(to.to_owned());
        Arc::clone(of_node.or_insert_with(|| Arc::new(Semaphore::new(CALLS_AT_ONCE))))
    }
}

async fn exchange(
    request: RequestBuilder,
    seals: &Seals,
    envelope: &Envelope,
    body: Bytes,
) -> Result<Vec<u8>, Failure> {
    let seal = seals.seal(envelope, &body);
    let request = request
        .header(AT, envelope.at)
        .header(WITHIN, envelope.within_ms)
        .header(telemetry::REQUEST_ID.as_str(), &envelope.request_id)
        .header(SEAL, &seal)
        .body(body);
    let request = match &envelope.nonce {
        Some(nonce) => request.header(NONCE, nonce),
        None => request,
    };
    let mut answer = request.send().await?;
    match answer.status().as_u16() {
        200 => {}
        401 => return Err(Failure::Refused),
        // It has no room to remember the call.
        503 => return Err(Failure::Busy),
        status => {
            tracing::warn!(node.address = envelope.to, http.status = status, "another node gave no answer");
            return Err(Failure::Unknown);
        }
    }
    let sealed = answer.headers().get(SEAL).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let mut bytes = Vec::new();
    while let Some(piece) = answer.chunk().await.map_err(|_| Failure::Unknown)? {
        if bytes.len() + piece.len() > BODY_BYTES_MAX {
            return Err(Failure::Unknown);
        }
        bytes.extend_from_slice(&piece);
    }
    let is_sealed = sealed.is_some_and(|sealed| seals.has_sealed_answer(&seal, &bytes, &sealed));
    if is_sealed { Ok(bytes) } else { Err(Failure::Unknown) }
}

impl Peers for HttpPeers {
    fn ask(
        &self,
        address: &str,
        doctor: &DoctorId,
        command: &Command,
        within: Duration,
    ) -> BoxFuture<'static, Result<Answer, EngineError>> {
        let call = self.call(ASK, address, wire::write_ask(doctor, command), within);
        let command = command.clone();
        async move {
            let answer = call.await.and_then(|bytes| Ok(wire::read_answer(&bytes, &command)?));
            answer.map_err(|failure| failure.means(EngineError::OutcomeUnknown))?
        }
        .boxed()
    }

    fn view(
        &self,
        address: &str,
        doctor: &DoctorId,
        date: NaiveDate,
        within: Duration,
    ) -> BoxFuture<'static, Result<DayView, EngineError>> {
        let call = self.call(VIEW, address, wire::write_look(doctor, date), within);
        async move {
            let view = call.await.and_then(|bytes| Ok(wire::read_view(&bytes)?));
            view.map_err(|failure| failure.means(EngineError::Unavailable))?
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests;
