//! What can be seen from outside: a line for each request with its id, and its cause when something broke. Never an
//! address, a name, a token or a body.

mod malformed;

use std::borrow::Cow;
use std::future::{Ready, ready};
use std::io::IsTerminal;
use std::panic::AssertUnwindSafe;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use actix_web::http::{ConnectionType, Method};
use actix_web::middleware::Next;
use actix_web::web::Data;
use actix_web::{Error, FromRequest, HttpRequest};
use engine::Chance;
use futures::FutureExt;
use tokio::time::Instant;
use tracing::{Instrument, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;

use crate::error::{ApiError, Identified, PROBLEM_JSON};
use crate::metrics::Route;
use crate::peer::Peer;
use crate::security;
use crate::state::AppState;
use malformed::MalformedRequests;

/// What a request is called in its answer, in the log and in the audit trail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RequestId(u128);

impl RequestId {
    fn fresh(request: &ServiceRequest) -> Result<Self, ApiError> {
        let chance = request.app_data::<Data<dyn Chance>>();
        let chance = chance.ok_or_else(|| ApiError::internal("the routes were given no chance"))?;
        Ok(Self(chance.bits()))
    }

    /// What another node wrote.
    fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 16];
        let is_lower_case = !text.bytes().any(|byte| byte.is_ascii_uppercase());
        (is_lower_case && hex::decode_to_slice(text, &mut bytes).is_ok())
            .then(|| Self(u128::from_be_bytes(bytes)))
    }

    /// As a number.
    pub(crate) const fn bits(self) -> u128 {
        self.0
    }

    /// As a text: 32 hexadecimal digits.
    pub(crate) fn into_text(self) -> String {
        format!("{:032x}", self.0)
    }

    /// The same as a header.
    fn into_header(self) -> Option<HeaderValue> {
        let mut digits = [0; 32];
        hex::encode_to_slice(self.0.to_be_bytes(), &mut digits).ok()?;
        HeaderValue::from_bytes(&digits).ok()
    }
}

impl FromRequest for RequestId {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(_: &HttpRequest, _: &mut Payload) -> Self::Future {
        let id = CURRENT.try_with(|id| *id);
        ready(id.map_err(|_| ApiError::internal("the request was given no id")))
    }
}

/// The header that names the request in every answer, and in what one node asks another for it.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

tokio::task_local! {
    /// The request that a task works for.
    static CURRENT: RequestId;
}

/// What the request is called that this task works for, if it does.
pub(crate) fn request_id() -> Option<String> {
    CURRENT.try_with(|id| id.into_text()).ok()
}

/// Has a task of its own work for the request that this one works for.
pub(crate) fn for_this_request<F: Future>(work: F) -> impl Future<Output = F::Output> {
    let work = work.in_current_span();
    // No async block: it would keep room for the work thrice.
    match CURRENT.try_with(|id| *id) {
        Ok(id) => CURRENT.scope(id, work).left_future(),
        Err(_) => work.right_future(),
    }
}

/// Whose events never say more than this, whatever the filter: below it they quote whole requests, with all that is
/// in them, or report as remarkable what is part of the plan.
const QUIET: [&str; 12] = [
    "actix_http=info",
    "actix_server=warn",
    "aws_config=warn",
    "aws_runtime=warn",
    "aws_sdk_dynamodb=warn",
    "aws_sdk_s3=warn",
    "aws_sigv4=warn",
    "aws_smithy_runtime=warn",
    "hyper_util=info",
    "reqwest=info",
    "rustls=info",
    "s3s=off",
];

/// How a line of the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line: `timestamp`, `level`, `target`, `message`, the event's own fields, and in `span` the
    /// `request.id` that the answer carries too. The line of a request has `http.method`, `http.route`, `http.status`,
    /// `duration_ms`, and `code` if it was refused or failed.
    Json,
}

/// Sends events to standard error, those that `filter` (`RUST_LOG`) lets through.
pub fn install(filter: &str, format: LogFormat) -> Result<(), anyhow::Error> {
    let is_terminal = std::io::stderr().is_terminal();
    let subscriber = subscriber(filter, format, std::io::stderr, is_terminal)?;
    Ok(tracing::subscriber::set_global_default(subscriber)?)
}

/// What takes those events in, and writes them to `writer`.
pub(crate) fn subscriber<W>(
    filter: &str,
    format: LogFormat,
    writer: W,
    is_terminal: bool,
) -> Result<Box<dyn Subscriber + Send + Sync>, ParseError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let mut filter = EnvFilter::try_new(filter)?;
    for directive in QUIET {
        filter = filter.add_directive(directive.parse()?);
    }
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    Ok(match format {
        LogFormat::Text => Box::new(subscriber.with_ansi(is_terminal).finish().with(MalformedRequests)),
        LogFormat::Json => {
            let subscriber = subscriber.json().flatten_event(true).with_span_list(false);
            Box::new(subscriber.finish().with(MalformedRequests))
        }
    })
}

/// Names the request, answers for what broke, writes the line, and has every answer protect whoever shows it.
pub(crate) async fn observe<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let id = RequestId::fresh(&request)?;
    let mut response = observe_as(id, request, next).await?;
    let over_tls = Peer::of(response.request()).is_ok_and(|peer| peer.over_tls);
    security::add_headers(response.headers_mut(), over_tls);
    if AppState::of(response.request()).is_ok_and(AppState::is_taking_leave) {
        // Clients go elsewhere, each when its answer is there.
        response.response_mut().head_mut().set_connection_type(ConnectionType::Close);
    }
    Ok(response)
}

/// The same for a call of another node, which says to which request it belongs, and shows nothing to anybody.
pub(crate) async fn observe_call<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let named = request.headers().get(REQUEST_ID).and_then(|value| value.to_str().ok());
    let id = named.and_then(RequestId::parse).map_or_else(|| RequestId::fresh(&request), Ok)?;
    observe_as(id, request, next).await
}

async fn observe_as<B: MessageBody + 'static>(
    id: RequestId,
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let (method, begun) = (request.method().clone(), Instant::now());
    let span = tracing::info_span!("request", request.id = id.into_text());
    let work = CURRENT.scope(id, next.call(request));
    let outcome = AssertUnwindSafe(work).catch_unwind().instrument(span.clone()).await;
    let _entered = span.enter();
    let failure = match outcome {
        Ok(Ok(response)) => return Ok(finish(response, id, &method, begun)),
        Ok(Err(error)) => ApiError::internal(error.to_string()),
        Err(_) => ApiError::internal("a handler panicked"),
    };
    report(&method, &Route::new("unknown"), 500, begun, Some(&failure));
    Err(Identified { error: failure, request_id: id.into_text() }.into())
}

/// Puts the request's id into the answer, and makes a problem of every failure that is none yet.
fn finish<B: MessageBody + 'static>(
    response: ServiceResponse<B>,
    id: RequestId,
    method: &Method,
    begun: Instant,
) -> ServiceResponse<BoxBody> {
    let status = response.status();
    let own = response.response().error().and_then(|error| error.as_error::<ApiError>());
    let foreign = (own.is_none() && (status.is_client_error() || status.is_server_error()))
        .then(|| ApiError::Refused(status));
    let error = own.or(foreign.as_ref());
    let unnamed = || Route::new(response.request().match_pattern().map_or("none".into(), Cow::Owned));
    match response.request().app_data() {
        Some(route) => report(method, route, status.as_u16(), begun, error),
        None => report(method, &unnamed(), status.as_u16(), begun, error),
    }
    let problem = error.map(|error| error.body(Some(&id.into_text())));
    let is_problem = problem.is_some();
    let mut response = response.map_body(|_, body| match problem {
        Some(problem) => BoxBody::new(problem),
        None => body.boxed(),
    });
    let headers = response.headers_mut();
    if !headers.contains_key(CACHE_CONTROL) {
        // Answers hold tokens and medical appointments: no cache on the way keeps them.
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    if is_problem {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
    }
    if let Some(id) = id.into_header() {
        headers.insert(REQUEST_ID, id);
    }
    response
}

/// The method, if it is one of HTTP's own: any other is a text of the client's choice, which no log shows.
fn name_of(method: &Method) -> &str {
    use Method as M;
    let known = [M::GET, M::HEAD, M::POST, M::PUT, M::PATCH, M::DELETE, M::OPTIONS, M::TRACE, M::CONNECT];
    if known.contains(method) { method.as_str() } else { "other" }
}

/// Counts the request and writes its line.
fn report(method: &Method, route: &Route, status: u16, begun: Instant, error: Option<&ApiError>) {
    let took = begun.elapsed();
    route.answered(method, status, took, error.map(ToString::to_string));
    let route = route.pattern();
    let duration_ms = took.as_secs_f64() * 1000.0;
    if let Some(cause) = error.and_then(ApiError::hidden_cause) {
        tracing::error!(http.route = route, cause = %cause, "a request broke");
    }
    let code = error.map(tracing::field::display);
    let method = name_of(method);
    tracing::info!(
        http.method = method,
        http.route = route,
        http.status = status,
        code,
        duration_ms,
        "answered"
    );
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use actix_web::middleware::from_fn;
    use actix_web::test::{TestRequest, call_service, init_service, read_body_json, try_call_service};
    use actix_web::web::{get, post};
    use actix_web::{App, HttpResponse};
    use engine::SeededChance;
    use serde_json::Value;

    use super::*;

    #[actix_web::test]
    async fn a_panic_is_answered_as_a_problem_that_names_the_request() {
        async fn broken() -> HttpResponse {
            panic!("a bug")
        }
        let chance: Arc<dyn Chance> = Arc::new(SeededChance::new(1));
        let app = App::new().app_data(Data::from(chance)).route("/", get().to(broken));
        let app = init_service(app.wrap(from_fn(observe))).await;
        let error = try_call_service(&app, TestRequest::get().uri("/").to_request()).await.err().unwrap();
        let response = error.error_response();
        assert_eq!(response.status(), 500);
        let body = actix_web::body::to_bytes(response.into_body()).await.unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["code"], "internal");
        assert_eq!(body["request_id"].as_str().map(str::len), Some(32));
    }

    #[actix_web::test]
    async fn what_the_framework_refuses_by_itself_becomes_a_problem_too() {
        let chance: Arc<dyn Chance> = Arc::new(SeededChance::new(1));
        let app = init_service(App::new().app_data(Data::from(chance)).wrap(from_fn(observe))).await;
        let response = call_service(&app, TestRequest::get().uri("/").to_request()).await;
        let header = |name: &str| response.headers().get(name).unwrap().to_str().unwrap().to_owned();
        assert_eq!(header("content-type"), PROBLEM_JSON);
        let id = header("x-request-id");
        let body: Value = read_body_json(response).await;
        assert_eq!(
            (&body["code"], body["request_id"].as_str()),
            (&Value::from("refused"), Some(id.as_str()))
        );
    }

    /// Collects what is logged on this thread.
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[actix_web::test]
    async fn a_line_in_json_is_one_object_with_the_request_and_nothing_personal() {
        async fn refusing(_: String) -> Result<HttpResponse, ApiError> {
            Err(ApiError::internal("a cause"))
        }
        let log = Log::default();
        let writer = {
            let log = log.clone();
            move || log.clone()
        };
        let subscriber = subscriber("trace", LogFormat::Json, writer, false).unwrap();
        let _logging = tracing::subscriber::set_default(subscriber);
        let chance: Arc<dyn Chance> = Arc::new(SeededChance::new(1));
        let app = App::new().app_data(Data::from(chance)).route("/of/{user}", post().to(refusing));
        let app = init_service(app.wrap(from_fn(observe))).await;
        let request = TestRequest::post().uri("/of/ada@x.com?token=secret").set_payload("a secret of ada's");
        let request = request.insert_header(("Authorization", "Bearer secret")).to_request();
        let response = call_service(&app, request).await;
        let id = response.headers().get("x-request-id").unwrap().to_str().unwrap().to_owned();

        let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        assert!(!text.contains("ada") && !text.contains("secret"), "{text}");
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let [cause, line] = &lines[..] else { panic!("{text}") };
        assert_eq!((&cause["level"], &cause["cause"]), (&Value::from("ERROR"), &Value::from("a cause")));
        let fields: Vec<&str> = line.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(
            fields,
            [
                "code",
                "duration_ms",
                "http.method",
                "http.route",
                "http.status",
                "level",
                "message",
                "span",
                "target",
                "timestamp"
            ]
        );
        assert_eq!(
            (
                &line["http.route"],
                &line["http.status"],
                &line["message"],
                line["span"]["request.id"].as_str()
            ),
            (&Value::from("/of/{user}"), &Value::from(500), &Value::from("answered"), Some(&*id))
        );
    }
}
