//! The model's server, by its protocol: `POST /api/chat`, answered with one JSON object a line.

use std::io;
use std::time::Duration;

use actix_web::web::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use reqwest::Client;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, timeout_at};
use tokio_util::codec::{FramedRead, LinesCodec};
use tokio_util::io::StreamReader;

use super::AssistantError;
use crate::config::AssistantConfig;
use crate::http_client;

/// The longest answer, in bytes; what the model says beyond it is not heard.
pub(crate) const ANSWER_BYTES_MAX: usize = 16 * 1024;
/// The longest answer, in tokens, by which the model itself stops.
const ANSWER_TOKENS_MAX: u32 = 1_024;
/// The longest line of the protocol, in bytes.
const LINE_BYTES_MAX: usize = 64 * 1024;

/// A server that runs the model.
pub(super) struct Ollama {
    client: Client,
    url: String,
    config: AssistantConfig,
}

/// One message of a conversation.
#[derive(Serialize)]
pub(super) struct Message {
    pub(super) role: Role,
    pub(super) content: String,
}

/// Whose message it is.
#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Role {
    System,
    User,
    Assistant,
}

#[derive(Serialize)]
struct Request<'a> {
    model: &'a str,
    stream: bool,
    messages: &'a [Message],
    options: Options,
}

#[derive(Serialize)]
struct Options {
    num_predict: u32,
}

/// A line of the answer; one has at least one of these.
#[derive(Deserialize)]
struct Line {
    message: Option<Said>,
    #[serde(default)]
    done: bool,
    error: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Said {
    #[serde(default)]
    content: String,
}

type Lines = FramedRead<StreamReader<BoxStream<'static, io::Result<Bytes>>, Bytes>, LinesCodec>;

/// An answer under way.
pub(super) struct Answer {
    /// `None` when the answer is whole. Dropping it closes the connection, by which the server knows to stop.
    lines: Option<Lines>,
    text: String,
    silence_timeout: Duration,
    first_word_due: Instant,
    whole_due: Instant,
}

impl Ollama {
    /// The server that the settings name, if they name one.
    pub(super) fn new(config: &AssistantConfig) -> Result<Option<Self>, reqwest::Error> {
        let Some(api) = &config.api else { return Ok(None) };
        // A connection for each answer: it lives in the thread that asks, and closing it is how an answer is stopped.
        let client = http_client::outgoing().pool_max_idle_per_host(0);
        // Without TLS no certificates are needed, and a small machine may have none.
        let client = if api.starts_with("https:") { client } else { client.tls_certs_only([]) };
        let url = format!("{}/api/chat", api.trim_end_matches('/'));
        Ok(Some(Self { client: client.build()?, url, config: config.clone() }))
    }

    /// Asks the model; returns when it is about to answer.
    pub(super) async fn ask(&self, messages: &[Message]) -> Result<Answer, AssistantError> {
        let AssistantConfig { model, first_word_timeout, silence_timeout, answer_timeout, .. } = &self.config;
        let options = Options { num_predict: ANSWER_TOKENS_MAX };
        let request = Request { model, stream: true, messages, options };
        let now = Instant::now();
        let (first_word_due, whole_due) = (now + *first_word_timeout, now + *answer_timeout);
        let response = self.client.post(&self.url).json(&request).send();
        let response = match timeout_at(first_word_due.min(whole_due), response).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) if error.is_connect() => {
                tracing::error!("the model's server cannot be reached");
                return Err(AssistantError::Unreachable);
            }
            Ok(Err(_)) => return Err(failed("its server broke off before it answered")),
            Err(_) => return Err(AssistantError::TooSlow),
        };
        let status = response.status().as_u16();
        if status != 200 {
            // A missing model is 404: `ollama pull` is what helps.
            tracing::error!(status, model, "the model's server refused a question");
            return Err(AssistantError::Failed);
        }
        let bytes = StreamReader::new(response.bytes_stream().map_err(io::Error::other).boxed());
        let lines = FramedRead::new(bytes, LinesCodec::new_with_max_length(LINE_BYTES_MAX));
        Ok(Answer {
            lines: Some(lines),
            text: String::new(),
            silence_timeout: *silence_timeout,
            first_word_due,
            whole_due,
        })
    }
}

impl Answer {
    /// What the model says next; `None` when it has said everything.
    pub(super) async fn next(&mut self) -> Result<Option<String>, AssistantError> {
        let due = self.due();
        while let Some(lines) = &mut self.lines {
            let line = match timeout_at(due, lines.next()).await {
                Ok(Some(Ok(line))) => line,
                Ok(Some(Err(_))) => return Err(failed("its answer broke off, or is no text")),
                Ok(None) => return Err(failed("its answer ended in the middle")),
                Err(_) => return Err(AssistantError::TooSlow),
            };
            let piece = self.hear(&line)?;
            if !piece.is_empty() {
                return Ok(Some(piece));
            }
        }
        if self.text.is_empty() { Err(failed("it said nothing")) } else { Ok(None) }
    }

    /// The whole answer.
    pub(super) fn into_text(mut self) -> String {
        self.text.truncate(self.text.trim_end().len());
        self.text
    }

    /// When the next word must have come.
    fn due(&self) -> Instant {
        let next =
            if self.text.is_empty() { self.first_word_due } else { Instant::now() + self.silence_timeout };
        next.min(self.whole_due)
    }

    /// Takes in a line and gives what it adds to the answer. Nothing follows a line that says so, or an answer that is as
    /// long as one may be.
    fn hear(&mut self, line: &str) -> Result<String, AssistantError> {
        if line.trim().is_empty() {
            return Ok(String::new());
        }
        let Ok(Line { message, done, error }) = serde_json::from_str(line) else {
            return Err(failed("a line of its answer makes no sense"));
        };
        if error.is_some() {
            return Err(failed("it reported an error in the middle"));
        }
        if message.is_none() && !done {
            return Err(failed("a line of its answer says nothing"));
        }
        let said = message.map(|said| said.content).unwrap_or_default();
        let words = if self.text.is_empty() { said.trim_start() } else { &said };
        let piece = &words[..words.floor_char_boundary(ANSWER_BYTES_MAX - self.text.len())];
        self.text.push_str(piece);
        if done || piece.len() < words.len() {
            self.lines = None;
        }
        Ok(piece.to_owned())
    }
}

/// Tells the operator what is wrong, and nothing of what was said.
fn failed(problem: &'static str) -> AssistantError {
    tracing::error!(problem, "the model failed");
    AssistantError::Failed
}
