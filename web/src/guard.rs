//! What is turned away before anybody looks at it.

use std::time::Duration;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::middleware::Next;
use actix_web::{Error, HttpRequest};
use tokio::time::Instant;

use crate::body::BodyLimit;
use crate::connections::{BusyBody, Connection};
use crate::error::ApiError;
use crate::limits::Costly;
use crate::origin;
use crate::outgoing;
use crate::patience;
use crate::peer::Peer;
use crate::routes::{HEALTHZ, READYZ, WEBHOOK};
use crate::state::AppState;

/// Refuses addresses that ask too often, heads that are too long, and new work while the server is stopping. Whoever
/// watches the process is always answered.
pub(crate) async fn admit<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    match check(request.request()) {
        Ok(()) => {
            let busy = request.request().conn_data::<Connection>().map(Connection::busy);
            let answer = outgoing::bound(next.call(request).await?.map_into_boxed_body());
            match busy {
                Some(busy) if !outgoing::is_short(answer.response().body()) => {
                    Ok(answer.map_body(|_, body| BoxBody::new(BusyBody::new(body, busy))))
                }
                Some(_) | None => Ok(answer),
            }
        }
        Err(refusal) => Ok(request.error_response(refusal)),
    }
}

fn check(request: &HttpRequest) -> Result<(), ApiError> {
    let app = AppState::of(request)?;
    let is_watcher = [HEALTHZ, READYZ].contains(&request.path());
    if !is_watcher && request.path() != WEBHOOK {
        app.limits.address(Peer::of(request)?.address)?;
    }
    let limit = app.server.head_bytes_max;
    if head_bytes(request) > limit {
        return Err(ApiError::HeadTooLarge(limit));
    }
    if origin::is_from_foreign_page(request, app)? {
        return Err(ApiError::Forbidden);
    }
    if app.is_stopping() && !is_watcher {
        return Err(ApiError::ShuttingDown);
    }
    Ok(())
}

/// Refuses browser pages, and names that are not this machine's, on the admin address.
pub(crate) async fn admit_admin<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    match AppState::of(request.request()).and_then(|app| origin::check_admin(request.request(), app)) {
        Ok(()) => next.call(request).await.map(ServiceResponse::map_into_boxed_body),
        Err(refusal) => Ok(request.error_response(refusal)),
    }
}

/// How long a route's answer may take, where that is not the server's own time. Put on it with `app_data`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AnswerTimeout(pub(crate) Duration);

/// Refuses costly calls of an address that makes too many, and answers for a handler that hangs: what it had begun may
/// have been done, so the outcome is unknown. An answer that streams counts as given when its head is ready.
pub(crate) async fn bound<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let within = match cost(&request) {
        Ok(within) => within,
        Err(refusal) => return Ok(request.error_response(refusal)),
    };
    let head = request.request().clone();
    match patience::until(|| Instant::now() + within, next.call(request)).await {
        Ok(answer) => answer.map(ServiceResponse::map_into_boxed_body),
        Err(_) => Ok(ServiceResponse::from_err(ApiError::OutcomeUnknown, head)),
    }
}

/// How long the answer may take, its body included, unless the call is one too many.
fn cost(request: &ServiceRequest) -> Result<Duration, ApiError> {
    let app = AppState::of(request.request())?;
    if let Some(call) = request.app_data::<Costly>() {
        app.limits.costly(*call, Peer::of(request.request())?.address)?;
    }
    let answer = request.app_data::<AnswerTimeout>().map_or(app.server.answer_timeout, |own| own.0);
    Ok(BodyLimit::of(request.request())?.timeout + answer)
}

/// The request line and the headers as they came, give or take a few bytes.
fn head_bytes(request: &HttpRequest) -> usize {
    let line = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    let headers = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 4);
    line + headers.sum::<usize>()
}
