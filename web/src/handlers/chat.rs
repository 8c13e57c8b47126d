//! Talking with the assistant: for patients, who have a history, and for visitors, who have none.

use std::convert::Infallible;
use std::ops::Not;

use actix_web::http::header::{ACCEPT, CACHE_CONTROL};
use actix_web::web::{Bytes, Data, Json, Path};
use actix_web::{HttpRequest, HttpResponse};
use futures::stream::{Stream, StreamExt, once, unfold};
use persistence::AuditAction;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use utoipa::ToSchema;

use crate::auth::{AnyCaller, Caller};
use crate::error::ApiError;
use crate::handlers::parse_user;
use crate::json::JsonBody;
use crate::limits::Costly;
use crate::openapi::fields;
use crate::peer::{Network, Peer};
use crate::services::{
    ANSWER_BYTES_MAX, Actor, Asker, Deed, Heard, Question, Reply, VISITORS_ADDRESS, WholeAnswer,
};
use crate::state::AppState;
use crate::telemetry::RequestId;

/// The content type of an answer that comes piece by piece.
const EVENT_STREAM: &str = "text/event-stream";
/// Events of one answer: pieces of at least one byte each, eight comments in two minutes, the sentence that tells of a cut,
/// and the end.
const EVENTS_MAX: usize = ANSWER_BYTES_MAX + 8 + 2;
/// Keeps the connection open. Clients ignore comments.
const COMMENT: Bytes = Bytes::from_static(b": thinking\n\n");

#[derive(Deserialize, ToSchema)]
#[schema(examples(json!({
    "user_id": "ada@example.com", "message": "Is it good to walk every day?", "language": "en"
})))]
struct ChatRequest {
    /// The caller's own address, or `dummy_user@gmail.com` for a visitor.
    #[schema(schema_with = fields::email_or_none)]
    user_id: Option<String>,
    #[schema(schema_with = fields::question)]
    message: String,
    #[schema(schema_with = fields::language)]
    language: Option<String>,
}

/// What the assistant says; in a stream also a piece of it.
#[derive(Serialize, ToSchema)]
#[schema(examples(json!({"text": "Yes. Half an hour of brisk walking on most days does the heart good."})))]
struct Said {
    /// If the answer was cut short, a sentence at the end says so in the language of the answer.
    text: String,
    /// True if the answer was cut short; absent otherwise.
    #[serde(skip_serializing_if = "Not::not")]
    truncated: bool,
}

#[derive(Serialize, ToSchema)]
#[schema(examples(json!({"messages": [{
    "timestamp": 1_795_408_200, "user_message": "Is it good to walk every day?", "bot_message": "Yes."
}]})))]
pub(crate) struct History {
    /// The last 500 at most, the oldest of them first.
    messages: Vec<Exchange>,
}

#[derive(Serialize, ToSchema)]
struct Exchange {
    /// Seconds since 1970.
    timestamp: i64,
    user_message: String,
    /// The model's own words: empty if the answer was cut short before the first of them.
    bot_message: String,
    /// True if the answer was cut short; absent otherwise.
    #[serde(skip_serializing_if = "Not::not")]
    truncated: bool,
}

/// Answers a question: whole, or piece by piece for a client that accepts `text/event-stream`. The stream consists of a
/// message for each piece, then the event `done` with the whole answer, or `error` with a problem, and of comments while the
/// model thinks. Without a token, or for `dummy_user@gmail.com`, nothing is remembered.
///
/// An answer may be cut short, even before its first word. It ends with a sentence that says so, and `truncated` is true.
/// The text of `done` replaces the pieces: some models mark a thought only at its end, after it has been streamed.
#[utoipa::path(post, path = "/chat", tag = "chat", security((), ("bearer" = []), ("cookie" = [])),
    request_body = ChatRequest, responses(
    (status = 200, content((Said = "application/json"), (String = "text/event-stream"))),
    (status = 502, description = "assistant_failed"),
    (status = 503, description = "assistant_not_configured, assistant_unreachable"),
    (status = 504, description = "assistant_too_slow")))]
pub(crate) async fn chat(
    app: Data<AppState>,
    request: HttpRequest,
    request_id: RequestId,
    caller: Result<AnyCaller, ApiError>,
    body: Result<JsonBody, ApiError>,
) -> Result<HttpResponse, ApiError> {
    let (asker, body) = asker(caller, body)?;
    let peer = Peer::of(&request)?;
    if matches!(asker, Asker::Visitor) {
        app.limits.costly(Costly::VisitorChat, peer.address)?;
    }
    let ChatRequest { user_id, message, language } = body.parse()?;
    user_id.as_deref().map(|named| parse_user("user_id", named)).transpose()?;
    let question = Question::parse(&message, language.as_deref())?;
    let reply = app.assistant.ask(asker, Network::of(peer.address), question).await?;
    if wants_events(&request) {
        return piece_by_piece(request_id, reply).await;
    }
    Ok(HttpResponse::Ok().json(Said::from(reply.whole().await?)))
}

/// Shows a user what it has talked about with the assistant.
#[utoipa::path(get, path = "/chat/history/{user_id}", tag = "chat",
    params(("user_id" = String, Path, description = "The caller's own address", example = "ada@example.com")),
    responses((status = 200, body = History)))]
pub(crate) async fn history(
    app: Data<AppState>,
    request_id: RequestId,
    caller: Caller,
    network: Network,
    path: Path<String>,
) -> Result<Json<History>, ApiError> {
    let user = caller.user()?;
    caller.acts_for(Some(&path))?;
    let exchanges = app.assistant.history(user, network).await?;
    let read = Deed::own(AuditAction::ChatRead, &caller);
    app.audit.record(&Actor::new(&caller, request_id), [read]).await?;
    Ok(Json(History { messages: exchanges.into_iter().map(Exchange::from).collect() }))
}

impl From<persistence::Exchange> for Exchange {
    fn from(persistence::Exchange { timestamp, question, answer, truncated }: persistence::Exchange) -> Self {
        Self { timestamp, user_message: question, bot_message: answer, truncated }
    }
}

impl From<WholeAnswer> for Said {
    fn from(WholeAnswer { text, truncated }: WholeAnswer) -> Self {
        Self { text, truncated }
    }
}

impl Said {
    const fn piece(text: String) -> Self {
        Self { text, truncated: false }
    }
}

/// Who asks, and the body. Whoever has no token is a visitor, and so is whoever names the visitors' address: the old client
/// does that also with the cookie of somebody who has logged out. A doctor has no history, for `ChatHistory` tells
/// nobody apart but by address, and a user may have the same one.
fn asker(
    caller: Result<AnyCaller, ApiError>,
    body: Result<JsonBody, ApiError>,
) -> Result<(Asker, JsonBody), ApiError> {
    let named = body.as_ref().ok().and_then(|body| body.raw("user_id"));
    if named.is_some_and(|named| named.to_lowercase() == VISITORS_ADDRESS) {
        return Ok((Asker::Visitor, body?));
    }
    let AnyCaller(caller) = caller?;
    let body = body?;
    let asker = match caller {
        None => Asker::Visitor,
        Some(caller) => {
            caller.acts_for(body.raw("user_id"))?;
            match caller {
                Caller::User(user) => Asker::User(user),
                Caller::Doctor(_) => Asker::Visitor,
            }
        }
    };
    Ok((asker, body))
}

async fn piece_by_piece(request_id: RequestId, mut reply: Reply) -> Result<HttpResponse, ApiError> {
    // What goes wrong before the first sign of life is still told by the status.
    let first = reply.next().await?.unwrap_or(Heard::Thinking);
    Ok(HttpResponse::Ok()
        .content_type(EVENT_STREAM)
        .insert_header((CACHE_CONTROL, "no-store"))
        .insert_header(("X-Accel-Buffering", "no"))
        .streaming(made_ahead(events(request_id, first, reply))))
}

/// The same events, made by a task that waits for nobody who reads slowly, so that the model and the place are free when
/// the answer is whole or late. The task ends early when the client hangs up.
fn made_ahead<E: 'static>(events: impl Stream<Item = E> + 'static) -> impl Stream<Item = E> {
    let (sender, receiver) = mpsc::channel(EVENTS_MAX);
    actix_web::rt::spawn(async move {
        let all = events.for_each(async |event| drop(sender.send(event).await));
        tokio::select! {
            () = all => {}
            () = sender.closed() => {}
        }
    });
    unfold(receiver, |mut receiver| async { receiver.recv().await.map(|event| (event, receiver)) })
}

fn wants_events(request: &HttpRequest) -> bool {
    let accepted = request.headers().get_all(ACCEPT).filter_map(|value| value.to_str().ok());
    accepted
        .flat_map(|value| value.split(','))
        .filter_map(|range| range.split(';').next())
        .any(|range| range.trim().eq_ignore_ascii_case(EVENT_STREAM))
}

/// An answer as server-sent events (HTML standard, section 9.2): a message for each piece, then `done` with the whole
/// answer, or `error` with the problem. Comments keep the connection open while the model thinks.
fn events(
    request_id: RequestId,
    first: Heard,
    reply: Reply,
) -> impl Stream<Item = Result<Bytes, Infallible>> {
    let first = event_of(first);
    let rest = unfold(Some((reply, request_id)), |under_way| async move {
        let (mut reply, request_id) = under_way?;
        match reply.next().await {
            Ok(Some(heard)) => Some((event_of(heard), Some((reply, request_id)))),
            Ok(None) => Some((event(Some("done"), &Said::from(reply.keep().await)), None)),
            Err(error) => {
                tracing::warn!(%error, "an answer broke off in the middle");
                let problem = ApiError::from(error).body(Some(&request_id.into_text()));
                Some((frame(Some("error"), &problem), None))
            }
        }
    });
    once(async { first }).chain(rest).map(Ok)
}

fn event_of(heard: Heard) -> Bytes {
    match heard {
        Heard::Words(text) => event(None, &Said::piece(text)),
        Heard::Thinking => COMMENT,
    }
}

fn event(name: Option<&str>, said: &Said) -> Bytes {
    frame(name, &serde_json::to_vec(said).unwrap_or_default())
}

/// JSON has no line breaks, so that one line of data is enough.
fn frame(name: Option<&str>, json: &[u8]) -> Bytes {
    let name = name.map(|name| format!("event: {name}\n")).unwrap_or_default();
    Bytes::from([name.as_bytes(), b"data: ", json, b"\n\n"].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[actix_web::test]
    async fn a_client_that_stops_reading_keeps_no_answer_from_its_end() {
        let (ended, end) = tokio::sync::oneshot::channel();
        let last = once(async move { ended.send(()).unwrap() });
        let unread = made_ahead(once(async {}).chain(last));
        assert_eq!(end.await, Ok(()));
        assert_eq!(unread.count().await, 2);
    }

    #[actix_web::test]
    async fn an_answer_ends_when_the_client_hangs_up_in_a_silence() {
        let (held, dropped) = tokio::sync::oneshot::channel::<()>();
        let silence = once(async move {
            std::future::pending::<()>().await;
            drop(held);
        });
        drop(made_ahead(silence));
        assert!(dropped.await.is_err());
    }
}
