//! What the web crate counts and measures, and the collector of it all: every name and its meaning, and one function
//! for each thing that happens. A label is one of a few words that we wrote, never what a client sent. A histogram is
//! in seconds if its name says so, and counts otherwise.

use std::borrow::Cow;
use std::cell::{OnceCell, RefCell};
use std::sync::OnceLock;
use std::time::Duration;

use actix_web::http::Method;
use metrics::{
    Counter, Histogram, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::time::Instant;

use crate::services::AssistantError;

const HTTP_REQUESTS: &str = "kokoro_http_requests_total";
const HTTP_REQUEST_SECONDS: &str = "kokoro_http_request_seconds";
const PROBLEMS: &str = "kokoro_problems_total";
const MALFORMED_REQUESTS: &str = "kokoro_malformed_requests_total";
const READY: &str = "kokoro_ready";
const LOG_INS: &str = "kokoro_log_ins_total";
const PASSWORDS_PENDING: &str = "kokoro_passwords_pending";
const PASSWORD_WAIT_SECONDS: &str = "kokoro_password_wait_seconds";
const PASSWORD_HASH_SECONDS: &str = "kokoro_password_hash_seconds";
const UPLOADS_ACTIVE: &str = "kokoro_uploads_active";
const PAYMENTS: &str = "kokoro_payments_total";
const CHAT_ANSWERS: &str = "kokoro_chat_answers_total";
const CHAT_FIRST_WORD_SECONDS: &str = "kokoro_chat_first_word_seconds";
const PLACES_REFUSED: &str = "kokoro_places_refused_total";
const CONNECTIONS_CLOSED: &str = "kokoro_connections_closed_total";
const AUDIT_ENTRIES: &str = "kokoro_audit_entries_total";
const AUDIT_QUEUE_DEPTH: &str = "kokoro_audit_queue_depth";

/// Where one bucket of seconds ends: from half a millisecond, a read from memory, to half a minute, a slow chat.
const SECONDS: [f64; 15] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
/// Where one bucket of a count ends: up to the capacity of the deepest queue.
const COUNTS: [f64; 14] =
    [0.0, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 4000.0, 8000.0];

/// How often measurements are summed up.
const SUM_UP_INTERVAL: Duration = Duration::from_secs(5);

/// The collector of this process.
static COLLECTOR: OnceLock<Collector> = OnceLock::new();

/// Gives out what was counted.
#[derive(Clone)]
pub(crate) struct Collector(PrometheusHandle);

/// How a log-in ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogIn {
    /// The password was right.
    Right,
    /// There is no such account, or the password was wrong.
    Wrong,
    /// Nobody looked at the password, since too many were wrong before.
    Throttled,
    /// Nobody looked at the password: too many wait, or the store does not answer.
    Unanswered,
}

/// Why a caller got no place, or lost it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PlaceRefused {
    /// Its account holds its share.
    AccountsShare,
    /// The queue is full, and its network is the largest crowd in it.
    Full,
    /// No place became free in time, or its network holds its share.
    Late,
    /// It was the slowest holder when another caller wanted the place.
    Evicted,
}

/// Why a connection was closed by us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ConnectionClosed {
    /// Its network has as many as one may have.
    NetworksShare,
    /// It was the longest idle one of the network with most of them, and there was need for another.
    Idle,
    /// There are as many as there may be, and none is idle.
    Refused,
}

impl Collector {
    /// The collector of this process, which starts to collect with the first call.
    pub(crate) fn of_this_process() -> Result<Self, BuildError> {
        if let Some(collector) = COLLECTOR.get() {
            return Ok(collector.clone());
        }
        let recorder = PrometheusBuilder::new()
            .set_buckets(&COUNTS)?
            .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)?
            .build_recorder();
        let collector = COLLECTOR.get_or_init(|| {
            let collector = Self(recorder.handle());
            // Refused only where something else than this program has installed one already, which then collects.
            if metrics::set_global_recorder(recorder).is_ok() {
                engine::metrics::describe();
                describe();
            }
            collector
        });
        Ok(collector.clone())
    }

    /// All metrics, in Prometheus' text format.
    pub(crate) fn render(&self) -> String {
        self.0.render()
    }

    /// Sums up what was measured, again and again: until then each measurement costs memory.
    pub(crate) async fn sum_up(self) {
        loop {
            tokio::time::sleep(SUM_UP_INTERVAL).await;
            self.0.run_upkeep();
        }
    }
}

fn describe() {
    describe_counter!(HTTP_REQUESTS, "Requests answered, by route, method and status");
    describe_histogram!(HTTP_REQUEST_SECONDS, "Requests until their answer's head was ready, by route");
    describe_counter!(PROBLEMS, "Refusals and failures, by route and by the code that the client was told");
    describe_counter!(
        MALFORMED_REQUESTS,
        "Requests that could not be parsed, by what was wrong: method, uri, version, header, too_large or other"
    );
    describe_gauge!(READY, "1 while the process can book, 0 otherwise");
    describe_counter!(LOG_INS, "Log-ins, by how they ended: right, wrong, throttled or unanswered");
    describe_gauge!(PASSWORDS_PENDING, "Passwords that are being hashed or wait for it");
    describe_histogram!(PASSWORD_WAIT_SECONDS, "How long passwords waited to be hashed");
    describe_histogram!(PASSWORD_HASH_SECONDS, "How long hashing a password took");
    describe_counter!(
        PLACES_REFUSED,
        "Callers that got no place or lost it, by place and reason: accounts_share, full, late or evicted"
    );
    describe_counter!(
        CONNECTIONS_CLOSED,
        "Connections that were closed to bound them, by reason: networks_share, idle or refused"
    );
    describe_gauge!(UPLOADS_ACTIVE, "Uploads of files that are under way");
    describe_counter!(
        PAYMENTS,
        "States of payments and their links that were stored, repeats included, by status"
    );
    describe_counter!(
        CHAT_ANSWERS,
        "Questions put to the assistant, by how its answer ended: whole, truncated, failed, too_slow, unreachable, or abandoned \
         by its client"
    );
    describe_histogram!(
        CHAT_FIRST_WORD_SECONDS,
        "How long the assistant took from the question to its first word"
    );
    describe_counter!(AUDIT_ENTRIES, "Entries of the audit trail, by whether they were written or lost");
    describe_histogram!(AUDIT_QUEUE_DEPTH, "Entries of the audit trail that waited when some were written");
    start_at_zero();
}

/// Gives each rare counter its first sample. Prometheus sees no growth in a series that begins with 1, so an alert would
/// miss the first event.
fn start_at_zero() {
    for why in [ConnectionClosed::NetworksShare, ConnectionClosed::Idle, ConnectionClosed::Refused] {
        connections_closed(why).increment(0);
    }
    for ended in [LogIn::Right, LogIn::Wrong, LogIn::Throttled, LogIn::Unanswered] {
        log_ins(ended).increment(0);
    }
    for written in [true, false] {
        audit_ended(0, written);
    }
}

/// A route, and the collector's counters of it: to look them up takes longer than to count. Put on it with `app_data`.
pub(crate) struct Route {
    pattern: Cow<'static, str>,
    seconds: OnceCell<Histogram>,
    /// By method and status, of which few come.
    answers: RefCell<Vec<(&'static str, u16, Counter)>>,
}

impl Route {
    /// The route of this pattern.
    pub(crate) fn new(pattern: impl Into<Cow<'static, str>>) -> Self {
        Self { pattern: pattern.into(), seconds: OnceCell::new(), answers: RefCell::default() }
    }

    /// As it is told.
    pub(crate) fn pattern(&self) -> &str {
        &self.pattern
    }

    /// A request was answered. `code`: what it was told when it was refused or failed.
    pub(crate) fn answered(&self, method: &Method, status: u16, took: Duration, code: Option<String>) {
        let route = || self.pattern.clone().into_owned();
        self.seconds.get_or_init(|| histogram!(HTTP_REQUEST_SECONDS, "route" => route())).record(took);
        if let Some(code) = code {
            counter!(PROBLEMS, "route" => route(), "code" => code).increment(1);
        }
        let method = match *method {
            Method::GET => "GET",
            Method::POST => "POST",
            Method::HEAD => "HEAD",
            Method::OPTIONS => "OPTIONS",
            _ => "other",
        };
        let mut answers = self.answers.borrow_mut();
        let known = answers.iter().position(|(of, with, _)| (*of, *with) == (method, status));
        let known = known.unwrap_or_else(|| {
            let labels = [("route", route()), ("method", method.to_owned()), ("status", status.to_string())];
            answers.push((method, status, counter!(HTTP_REQUESTS, &labels)));
            answers.len() - 1
        });
        answers[known].2.increment(1);
    }
}

/// A request could not be parsed.
pub(crate) fn request_malformed(fault: &'static str) {
    counter!(MALFORMED_REQUESTS, "fault" => fault).increment(1);
}

/// Whether the process can book.
pub(crate) fn is_ready(ready: bool) {
    gauge!(READY).set(if ready { 1.0 } else { 0.0 });
}

/// A connection was closed to bound their number.
pub(crate) fn connection_closed(why: ConnectionClosed) {
    connections_closed(why).increment(1);
}

fn connections_closed(why: ConnectionClosed) -> Counter {
    let why = match why {
        ConnectionClosed::NetworksShare => "networks_share",
        ConnectionClosed::Idle => "idle",
        ConnectionClosed::Refused => "refused",
    };
    counter!(CONNECTIONS_CLOSED, "reason" => why)
}

/// There are places of this name: the counters of their refusals start at zero.
pub(crate) fn places_opened(place: &'static str) {
    for why in [PlaceRefused::AccountsShare, PlaceRefused::Full, PlaceRefused::Late, PlaceRefused::Evicted] {
        places_refused(place, why).increment(0);
    }
}

/// A caller got no place, or lost it.
pub(crate) fn place_refused(place: &'static str, why: PlaceRefused) {
    places_refused(place, why).increment(1);
}

fn places_refused(place: &'static str, why: PlaceRefused) -> Counter {
    let why = match why {
        PlaceRefused::AccountsShare => "accounts_share",
        PlaceRefused::Full => "full",
        PlaceRefused::Late => "late",
        PlaceRefused::Evicted => "evicted",
    };
    counter!(PLACES_REFUSED, "place" => place, "reason" => why)
}

/// Somebody tried to log in.
pub(crate) fn logged_in(ended: LogIn) {
    log_ins(ended).increment(1);
}

fn log_ins(ended: LogIn) -> Counter {
    let ended = match ended {
        LogIn::Right => "right",
        LogIn::Wrong => "wrong",
        LogIn::Throttled => "throttled",
        LogIn::Unanswered => "unanswered",
    };
    counter!(LOG_INS, "ended" => ended)
}

/// A password that is being hashed or waits for it, for as long as this lives.
pub(crate) struct PendingPassword(());

impl PendingPassword {
    pub(crate) fn begin() -> Self {
        gauge!(PASSWORDS_PENDING).increment(1.0);
        Self(())
    }
}

impl Drop for PendingPassword {
    fn drop(&mut self) {
        gauge!(PASSWORDS_PENDING).decrement(1.0);
    }
}

/// A password waited this long to be hashed.
pub(crate) fn password_waited(took: Duration) {
    histogram!(PASSWORD_WAIT_SECONDS).record(took);
}

/// Hashing a password took this long.
pub(crate) fn password_hashed(took: Duration) {
    histogram!(PASSWORD_HASH_SECONDS).record(took);
}

/// An upload under way, for as long as this lives.
pub(crate) struct ActiveUpload(());

impl ActiveUpload {
    pub(crate) fn begin() -> Self {
        gauge!(UPLOADS_ACTIVE).increment(1.0);
        Self(())
    }
}

impl Drop for ActiveUpload {
    fn drop(&mut self) {
        gauge!(UPLOADS_ACTIVE).decrement(1.0);
    }
}

/// A payment, or the link to make it on, has come this far.
pub(crate) fn payment_stored(status: &'static str) {
    counter!(PAYMENTS, "status" => status).increment(1);
}

/// An answer of the assistant, for as long as this lives.
pub(crate) struct ChatAnswer {
    asked: Instant,
    heard: bool,
    ended: &'static str,
}

impl ChatAnswer {
    /// The model is asked.
    pub(crate) fn begin() -> Self {
        Self { asked: Instant::now(), heard: false, ended: "abandoned" }
    }

    /// It says something.
    pub(crate) fn heard(&mut self) {
        if !std::mem::replace(&mut self.heard, true) {
            histogram!(CHAT_FIRST_WORD_SECONDS).record(self.asked.elapsed());
        }
    }

    /// It has said everything, or its answer was cut short.
    pub(crate) const fn ended(&mut self, truncated: bool) {
        self.ended = if truncated { "truncated" } else { "whole" };
    }

    /// It says no more.
    pub(crate) const fn broke_off(&mut self, error: AssistantError) {
        self.ended = match error {
            AssistantError::NotConfigured => "not_configured",
            AssistantError::Unreachable => "unreachable",
            AssistantError::TooSlow => "too_slow",
            AssistantError::Failed => "failed",
        };
    }
}

impl Drop for ChatAnswer {
    fn drop(&mut self) {
        counter!(CHAT_ANSWERS, "ended" => self.ended).increment(1);
    }
}

/// So many entries of the audit trail waited.
pub(crate) fn audit_waited(entries: usize) {
    histogram!(AUDIT_QUEUE_DEPTH).record(u32::try_from(entries).unwrap_or(u32::MAX));
}

/// Entries of the audit trail were written, or given up.
pub(crate) fn audit_ended(entries: usize, written: bool) {
    let ended = if written { "written" } else { "lost" };
    counter!(AUDIT_ENTRIES, "ended" => ended).increment(entries as u64);
}
