//! Counts requests that cannot be parsed, and keeps them out of the log's errors. actix reports each of them at level ERROR,
//! before any rate limit, and has no hook for them. The same module of actix reports real errors, so a filter by target and
//! level would hide those. The text decides: an event with an unknown text stays an error.

use std::fmt::{Debug, Write};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use crate::metrics;

/// The module of actix that parses requests.
const TARGET: &str = "actix_http::h1::dispatcher";

/// What a client alone can cause: how the event's text begins, and the word under which it is counted. Of several
/// beginnings, the first counts.
const FAULTS: [(&str, &str); 6] = [
    ("stream error: request parse error: message head is too large", "too_large"),
    ("stream error: request parse error: invalid method", "method"),
    ("stream error: request parse error: URI error", "uri"),
    ("stream error: request parse error: invalid HTTP version", "version"),
    ("stream error: request parse error: invalid Header", "header"),
    ("stream error: request parse error: ", "other"),
];

/// Takes the events of such requests out of the log.
pub(super) struct MalformedRequests;

impl<S: Subscriber> Layer<S> for MalformedRequests {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        let metadata = event.metadata();
        if *metadata.level() != Level::ERROR || metadata.target() != TARGET {
            return true;
        }
        let mut message = Message::default();
        event.record(&mut message);
        let Some((_, fault)) = FAULTS.iter().find(|(text, _)| message.0.starts_with(text)) else {
            return true;
        };
        metrics::request_malformed(fault);
        tracing::debug!(fault, "a request cannot be parsed");
        false
    }
}

/// The text of an event.
#[derive(Default)]
struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "message" {
            let _ = write!(self.0, "{value:?}");
        }
    }
}
