//! What is turned away before anybody looks at it.

use std::time::Duration;

use actix_web::Error;
use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::middleware::Next;
use actix_web::web::Data;

use crate::body::BodyLimit;
use crate::error::ApiError;
use crate::limits::Costly;
use crate::peer::Peer;
use crate::routes::{HEALTHZ, READYZ, WEBHOOK};
use crate::state::AppState;

/// Refuses addresses that ask too often, heads that are too long, and new work while the server is stopping. Whoever
/// watches the process is always answered.
pub(crate) async fn admit<B: MessageBody + 'static>(
    app: Data<AppState>,
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let is_watcher = [HEALTHZ, READYZ].contains(&request.path());
    if !is_watcher && request.path() != WEBHOOK {
        let peer = Peer::of(request.request())?;
        if let Err(refusal) = app.limits.address(peer.address) {
            return Ok(request.error_response(ApiError::from(refusal)));
        }
    }
    let limit = app.server.head_bytes_max;
    if head_bytes(&request) > limit {
        return Ok(request.error_response(ApiError::HeadTooLarge(limit)));
    }
    if app.is_stopping() && !is_watcher {
        return Ok(request.error_response(ApiError::ShuttingDown));
    }
    next.call(request).await.map(ServiceResponse::map_into_boxed_body)
}

/// How long a route's answer may take, where that is not the server's own time. Put on it with `app_data`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AnswerTimeout(pub(crate) Duration);

/// Refuses costly calls of an address that makes too many, and answers for a handler that hangs. What it had begun may have been done: the outcome is unknown. An answer that
/// streams counts as given when its head is ready.
pub(crate) async fn bound<B: MessageBody + 'static>(
    app: Data<AppState>,
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    if let Some(call) = request.app_data::<Costly>() {
        let peer = Peer::of(request.request())?;
        if let Err(refusal) = app.limits.costly(*call, peer.address) {
            return Ok(request.error_response(ApiError::from(refusal)));
        }
    }
    let answer = request.app_data::<AnswerTimeout>().map_or(app.server.answer_timeout, |own| own.0);
    let whole = BodyLimit::of(request.request())?.timeout + answer;
    let head = request.request().clone();
    match tokio::time::timeout(whole, next.call(request)).await {
        Ok(answer) => answer.map(ServiceResponse::map_into_boxed_body),
        Err(_) => Ok(ServiceResponse::from_err(ApiError::OutcomeUnknown, head)),
    }
}

/// The request line and the headers as they came, give or take a few bytes.
fn head_bytes(request: &ServiceRequest) -> usize {
    let line = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    let headers = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 4);
    line + headers.sum::<usize>()
}
