//! How much a body may be and how long it may take to come, route by route.

use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::error::PayloadError;
use actix_web::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, HeaderValue};
use actix_web::web::{Bytes, BytesMut};
use actix_web::{HttpMessage, HttpRequest};
use futures::StreamExt;
use tokio::time::Instant;

use crate::error::ApiError;
use crate::patience;
use crate::places::Progress;
use crate::state::AppState;

/// Whoever sends slower than this over the whole body is cut off.
const BYTES_A_SECOND_MIN: u64 = 32 * 1024;

/// Bounds of a route's bodies. A route that needs others than the server's own has them as its `app_data`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BodyLimit {
    /// The longest body, in bytes.
    pub(crate) bytes: usize,
    /// How long a client may take to send it.
    pub(crate) timeout: Duration,
}

impl BodyLimit {
    /// The bounds that hold for this request.
    pub(crate) fn of(request: &HttpRequest) -> Result<Self, ApiError> {
        if let Some(own) = request.app_data() {
            return Ok(*own);
        }
        let server = &AppState::of(request)?.server;
        Ok(Self { bytes: server.body_bytes_max, timeout: server.body_timeout })
    }

    /// Refuses a body of which the head says that it is too long or compressed, so that none of it is read.
    pub(crate) fn check_head(self, request: &HttpRequest) -> Result<(), ApiError> {
        let is_plain =
            |coding: &HeaderValue| coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"identity");
        if !request.headers().get_all(CONTENT_ENCODING).all(is_plain) {
            return Err(ApiError::UnsupportedContentEncoding);
        }
        let is_too_long = announced(request).is_some_and(|length| length > self.bytes as u64);
        if is_too_long { Err(ApiError::BodyTooLarge(self.bytes)) } else { Ok(()) }
    }
}

/// How long the body is, if its head says so.
pub(crate) fn announced(request: &HttpRequest) -> Option<u64> {
    request.headers().get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// A body on its way in: piece by piece, neither too long nor too slow.
pub(crate) struct Incoming {
    payload: Payload,
    limit: BodyLimit,
    patience: Duration,
    begun: Instant,
    received: usize,
    /// Of a body that holds a place, which another caller may need more.
    progress: Option<Progress>,
}

impl Incoming {
    /// `patience` is how long the client may be silent, and its head start on the rate.
    pub(crate) fn new(
        payload: Payload,
        limit: BodyLimit,
        patience: Duration,
        progress: Option<Progress>,
    ) -> Self {
        Self { payload, limit, patience, begun: Instant::now(), received: 0, progress }
    }

    /// The next piece, or `None` when the body is whole. Nothing is lost when the caller stops waiting.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, ApiError> {
        let Self { limit, patience, .. } = *self;
        let earned = patience + Duration::from_secs(self.received as u64 / BYTES_A_SECOND_MIN);
        let due = || (self.begun + earned.min(limit.timeout)).min(Instant::now() + patience);
        let piece = patience::until(due, self.payload.next());
        let piece = match &self.progress {
            None => piece.await,
            Some(progress) => tokio::select! {
                piece = piece => piece,
                () = progress.evicted() => return Err(ApiError::Busy),
            },
        };
        let piece = piece.map_err(|_| ApiError::BodyTooSlow)?;
        let piece = piece.transpose().map_err(|error| match error {
            PayloadError::Overflow => ApiError::BodyTooLarge(limit.bytes),
            _ => ApiError::InvalidJson,
        })?;
        let length = piece.as_ref().map_or(0, Bytes::len);
        self.received += length;
        if let Some(progress) = &self.progress {
            progress.add(length);
        }
        if self.received > limit.bytes { Err(ApiError::BodyTooLarge(limit.bytes)) } else { Ok(piece) }
    }
}

/// Reads the whole body, within the bounds of its route. A handler that has taken a place for it leaves the place's
/// [`Progress`] with the request.
pub(crate) async fn read(request: &HttpRequest, payload: Payload) -> Result<Bytes, ApiError> {
    let progress = request.extensions_mut().remove::<Progress>();
    let limit = BodyLimit::of(request)?;
    limit.check_head(request)?;
    let patience = AppState::of(request).map_or(limit.timeout, |app| app.server.body_timeout);
    let mut incoming = Incoming::new(payload, limit, patience, progress);
    let Some(first) = incoming.next().await? else { return Ok(Bytes::new()) };
    let Some(second) = incoming.next().await? else { return Ok(first) };
    let mut body = BytesMut::from(first);
    body.extend_from_slice(&second);
    while let Some(piece) = incoming.next().await? {
        body.extend_from_slice(&piece);
    }
    Ok(body.freeze())
}

#[cfg(test)]
mod tests {
    use actix_web::FromRequest;
    use actix_web::http::header::CONTENT_TYPE;
    use actix_web::test::TestRequest;
    use futures::stream::LocalBoxStream;

    use super::*;
    use crate::json::JsonBody;

    async fn told(limit: BodyLimit, body: &'static [u8]) -> Result<(), String> {
        let request = TestRequest::post().insert_header((CONTENT_TYPE, "application/json")).app_data(limit);
        let (request, mut payload) = request.set_payload(body).to_http_parts();
        JsonBody::from_request(&request, &mut payload).await.map(drop).map_err(|error| error.to_string())
    }

    #[actix_web::test]
    async fn a_route_has_bounds_of_its_own() {
        let limit = BodyLimit { bytes: 8, timeout: Duration::from_secs(60) };
        assert_eq!(told(limit, b"[1,2,34]").await, Ok(()));
        assert_eq!(told(limit, b"[1,2,345]").await, Err("body_too_large".to_owned()));
    }

    #[actix_web::test]
    async fn a_body_that_does_not_come_in_time_is_refused() {
        let limit = BodyLimit { bytes: 8, timeout: Duration::ZERO };
        let request = TestRequest::post().app_data(limit).to_http_request();
        let never: LocalBoxStream<'static, Result<Bytes, PayloadError>> =
            Box::pin(futures::stream::pending());
        let never = Payload::Stream { payload: never };
        assert!(matches!(read(&request, never).await, Err(ApiError::BodyTooSlow)));
    }
}
