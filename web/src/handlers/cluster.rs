//! What this node sees of the others, and its leave of them.

use actix_web::HttpResponse;
use actix_web::web::{Data, Json};
use chrono::{DateTime, SecondsFormat};
use engine::cluster::NodeView;
use engine::store::{Heartbeat, Holding};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::error::ApiError;
use crate::json::JsonBody;
use crate::state::AppState;

/// The nodes among which the doctors are shared.
#[derive(Serialize, ToSchema)]
#[schema(examples(json!({
    "solo": false,
    "me": "6f1ed002ab5595859014ebf0951522d9",
    "nodes": [{
        "id": "6f1ed002ab5595859014ebf0951522d9", "address": "10.0.0.1:7000", "leaving": false, "heartbeats": 41,
        "silent_for_ms": 120, "doctors": 3, "ranges": [{"range": 17, "epoch": 2, "since": "2026-11-23T04:30:00Z"}],
    }],
})))]
pub(crate) struct ClusterResponse {
    /// This process is alone: it has every doctor.
    solo: bool,
    /// The node that answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[0-9a-f]{32}$")]
    me: Option<String>,
    /// All that take part, as this one last saw them.
    nodes: Vec<Node>,
}

#[derive(Serialize, ToSchema)]
struct Node {
    /// Its identity, another one at each start.
    #[schema(pattern = "^[0-9a-f]{32}$")]
    id: String,
    /// Where other nodes reach it.
    address: String,
    /// It hands over all it has.
    leaving: bool,
    /// How often it has said that it lives.
    heartbeats: u64,
    /// How long ago it was last seen to do so.
    silent_for_ms: u64,
    /// Doctors in its memory.
    doctors: u64,
    ranges: Vec<Range>,
}

/// A part of the doctors.
#[derive(Serialize, ToSchema)]
struct Range {
    range: usize,
    /// Grows with each change of owner.
    epoch: u64,
    /// When its owner got it, by that one's clock.
    #[schema(format = DateTime)]
    since: String,
}

#[derive(Deserialize, ToSchema)]
#[schema(examples(json!({})))]
pub(crate) struct Drain {}

/// Drain: this node hands its doctors over.
#[derive(Serialize, ToSchema)]
#[schema(examples(json!({"status": "draining"})))]
pub(crate) struct Draining {
    status: &'static str,
}

impl From<&NodeView> for Node {
    fn from(view: &NodeView) -> Self {
        let Heartbeat { node, address, count, leaving, owns, doctors } = &view.heartbeat;
        Self {
            id: node.to_string(),
            address: address.clone(),
            leaving: *leaving,
            heartbeats: *count,
            silent_for_ms: u64::try_from(view.silent_for.as_millis()).unwrap_or(u64::MAX),
            doctors: *doctors,
            ranges: owns.iter().map(Range::from).collect(),
        }
    }
}

impl From<&Holding> for Range {
    fn from(Holding { range, epoch, since }: &Holding) -> Self {
        let since = DateTime::from_timestamp(*since, 0).unwrap_or_default();
        Self {
            range: range.index(),
            epoch: epoch.get(),
            since: since.to_rfc3339_opts(SecondsFormat::Secs, true),
        }
    }
}

/// Who owns which doctors, as this node last saw it.
#[utoipa::path(get, path = "/cluster", tag = "service", security(()), responses(
    (status = 200, body = ClusterResponse)))]
pub(crate) async fn show(app: Data<AppState>) -> Json<ClusterResponse> {
    let cluster = app.router.cluster();
    let nodes = cluster.iter().flat_map(|view| &view.nodes).map(Node::from).collect();
    Json(ClusterResponse { solo: cluster.is_none(), me: cluster.map(|view| view.me.to_string()), nodes })
}

/// Hands this node's doctors over to the others, and takes none again until it is restarted. It goes on answering every
/// call, by asking the others; `/cluster` shows how far it is. Only on `KOKORO_ADMIN_LISTEN`, and not for a single node.
// The body must be JSON, because a form of a web page can send any other body across origins without consent.
#[utoipa::path(post, path = "/cluster/drain", tag = "service", security(()), request_body = Drain, responses(
    (status = 202, body = Draining), (status = 403, description = "forbidden")))]
pub(crate) async fn drain(app: Data<AppState>, body: JsonBody) -> Result<HttpResponse, ApiError> {
    if app.server.admin_listen.is_none() || app.router.cluster().is_none() {
        return Err(ApiError::Forbidden);
    }
    let Drain {} = body.parse()?;
    app.drain.notify_one();
    Ok(HttpResponse::Accepted().json(Draining { status: "draining" }))
}
