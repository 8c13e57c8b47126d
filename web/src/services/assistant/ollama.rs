//! The model's server, by its protocol: `POST /api/chat`, answered with one JSON object a line.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
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
use super::thoughts::{Spoken, Thoughts};
use crate::config::AssistantConfig;
use crate::http_client;

/// The longest answer, in bytes; a longer one is cut short.
pub(crate) const ANSWER_BYTES_MAX: usize = 16 * 1024;
/// The longest answer, in tokens, by which the model itself stops.
const ANSWER_TOKENS_MAX: u32 = 1_024;
/// The longest line of the protocol, in bytes.
const LINE_BYTES_MAX: usize = 64 * 1024;
/// Answers that are held back after a thought that was streamed as if it were the answer. A model that does so once does it
/// again. A patient can make any model do so; other answers are then streamed late for a while.
const HELD_BACK: u32 = 100;
/// The most that a model may think, in bytes. `ANSWER_TOKENS_MAX` counts thoughts too, and a token has four bytes on
/// average, so a server that sends sixteen times as much ignores that limit.
const THOUGHT_BYTES_MAX: usize = 64 * 1024;

/// A server that runs the model.
pub(super) struct Ollama {
    client: Client,
    url: String,
    config: AssistantConfig,
    /// How many of the next answers to hold back.
    hold_back: Arc<AtomicU32>,
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
    /// False: patients wait for the answer, and nobody reads the thoughts. Models that do not think accept it, servers older
    /// than the field ignore it, and some models think nevertheless.
    think: bool,
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
    /// Why this is the last line.
    done_reason: Option<String>,
    error: Option<IgnoredAny>,
}

#[derive(Default, Deserialize)]
struct Said {
    #[serde(default)]
    content: String,
    thinking: Option<String>,
}

type Lines = FramedRead<StreamReader<BoxStream<'static, io::Result<Bytes>>, Bytes>, LinesCodec>;

/// An event of an answer under way.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// The next words.
    Words(String),
    /// There are no words yet, but the model is at work.
    Thinking,
}

/// An answer under way.
pub(super) struct Answer {
    /// `None` when the answer is whole. Dropping it closes the connection, by which the server knows to stop.
    lines: Option<Lines>,
    text: String,
    is_truncated: bool,
    thoughts: Thoughts,
    /// How many of the next answers to hold back; the answers of a model share it.
    hold_back: Arc<AtomicU32>,
    /// The text may turn out to be a thought, so none of it is given yet.
    is_held_back: bool,
    /// Bytes of text so far, thoughts included.
    received: usize,
    silence_timeout: Duration,
    /// When the first line must have come; `None` after it has.
    first_line_due: Option<Instant>,
    whole_due: Instant,
    keep_alive: Duration,
    /// When to report the next line without words.
    keep_alive_due: Instant,
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
        let (client, config) = (client.build()?, config.clone());
        Ok(Some(Self { client, url, config, hold_back: Arc::default() }))
    }

    /// Asks the model; returns when it is about to answer.
    pub(super) async fn ask(&self, messages: &[Message]) -> Result<Answer, AssistantError> {
        let AssistantConfig { model, first_word_timeout, answer_timeout, .. } = &self.config;
        let options = Options { num_predict: ANSWER_TOKENS_MAX };
        let request = Request { model, stream: true, think: false, messages, options };
        let asked = Instant::now();
        let response = self.client.post(&self.url).json(&request).send();
        let response = match timeout_at(asked + *first_word_timeout.min(answer_timeout), response).await {
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
        let bytes = response.bytes_stream().map_err(io::Error::other).boxed();
        Ok(Answer::begin(bytes, &self.config, asked, Arc::clone(&self.hold_back)))
    }
}

impl Answer {
    fn begin(
        bytes: BoxStream<'static, io::Result<Bytes>>,
        config: &AssistantConfig,
        asked: Instant,
        hold_back: Arc<AtomicU32>,
    ) -> Self {
        let codec = LinesCodec::new_with_max_length(LINE_BYTES_MAX);
        Self {
            lines: Some(FramedRead::new(StreamReader::new(bytes), codec)),
            text: String::new(),
            is_truncated: false,
            thoughts: Thoughts::default(),
            is_held_back: hold_back
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |held| held.checked_sub(1))
                .is_ok(),
            hold_back,
            received: 0,
            silence_timeout: config.silence_timeout,
            first_line_due: Some(asked + config.first_word_timeout),
            whole_due: asked + config.answer_timeout,
            keep_alive: config.keep_alive,
            keep_alive_due: asked,
        }
    }

    /// What the model says next; `None` when it has said everything. Every line shows that the model is at work, also one
    /// that adds nothing to the answer.
    pub(super) async fn next(&mut self) -> Result<Option<Heard>, AssistantError> {
        while let Some(lines) = &mut self.lines {
            let next_due = self.first_line_due.unwrap_or_else(|| Instant::now() + self.silence_timeout);
            let line = match timeout_at(next_due.min(self.whole_due), lines.next()).await {
                Ok(Some(Ok(line))) => line,
                Ok(Some(Err(_))) => return Err(failed("its answer broke off, or is no text")),
                Ok(None) => return Err(failed("its answer ended in the middle")),
                Err(_) => return Err(AssistantError::TooSlow),
            };
            self.first_line_due = None;
            let words = self.hear(&line)?;
            let heard = if words.is_empty() { Heard::Thinking } else { Heard::Words(words) };
            let now = Instant::now();
            if heard == Heard::Thinking && (self.lines.is_none() || now < self.keep_alive_due) {
                continue;
            }
            self.keep_alive_due = now + self.keep_alive;
            return Ok(Some(heard));
        }
        if self.text.is_empty() && !self.is_truncated {
            return Err(failed("it said nothing"));
        }
        Ok(None)
    }

    /// The answer was cut short: the model reached its limit of tokens, or the answer ours of bytes.
    pub(super) const fn is_truncated(&self) -> bool {
        self.is_truncated
    }

    /// True before the first word, and to the end if all that the model had to say were thoughts.
    pub(super) const fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// The whole answer.
    pub(super) fn into_text(mut self) -> String {
        self.text.truncate(self.text.trim_end().len());
        self.text
    }

    /// Takes in a line and gives what it adds to the answer. Nothing follows a line that says so, or an answer that is as
    /// long as one may be.
    fn hear(&mut self, line: &str) -> Result<String, AssistantError> {
        if line.trim().is_empty() {
            return Ok(String::new());
        }
        let Ok(Line { message, done, done_reason, error }) = serde_json::from_str(line) else {
            return Err(failed("a line of its answer makes no sense"));
        };
        if error.is_some() {
            return Err(failed("it reported an error in the middle"));
        }
        if message.is_none() && !done {
            return Err(failed("a line of its answer says nothing"));
        }
        let Said { content, thinking } = message.unwrap_or_default();
        self.received += content.len() + thinking.map_or(0, |thinking| thinking.len());
        let Spoken { mut words, all_before_was_thought } = self.thoughts.remove(&content);
        if all_before_was_thought {
            self.take_back();
        }
        if done {
            words += &self.thoughts.finish();
        }
        let words = if self.text.is_empty() { words.trim_start() } else { &words };
        let piece = &words[..words.floor_char_boundary(ANSWER_BYTES_MAX - self.text.len())];
        self.text.push_str(piece);
        self.is_truncated = piece.len() < words.len() || (done && done_reason.as_deref() == Some("length"));
        if done || self.is_truncated {
            self.lines = None;
        } else if self.received - self.text.len() > THOUGHT_BYTES_MAX {
            return Err(failed("it thinks without end"));
        }
        if !self.is_held_back {
            return Ok(piece.to_owned());
        }
        if self.is_truncated {
            // Cut short in the middle of a thought.
            self.text.clear();
        }
        Ok(if self.lines.is_none() { self.text.clone() } else { String::new() })
    }

    /// Forgets the text so far, which was a thought. If it was streamed, the following answers are held back until such a
    /// thought ends, or until their own end.
    fn take_back(&mut self) {
        if !self.text.is_empty() && self.hold_back.swap(HELD_BACK, Ordering::Relaxed) == 0 {
            tracing::warn!(
                "the model ends thoughts that it did not begin: its answers are held back until then"
            );
        }
        self.text.clear();
        self.is_held_back = false;
    }
}

/// Tells the operator what is wrong, and nothing of what was said.
fn failed(problem: &'static str) -> AssistantError {
    tracing::error!(problem, "the model failed");
    AssistantError::Failed
}

#[cfg(test)]
mod tests {
    use futures::stream;
    use tokio::time::sleep;

    use super::*;

    const THOUGHT: &str = r#"{"message":{"content":"","thinking":"Hm."},"done":false}"#;
    const WORD: &str = r#"{"message":{"content":"Walk."},"done":false}"#;
    const END: &str = r#"{"message":{"content":""},"done":true,"done_reason":"stop"}"#;

    /// The whole answer of a server that sends each line so many milliseconds after the one before, the seconds at which the
    /// model was heard to think, and the second of the end.
    async fn answer(lines: Vec<(u64, &'static str)>) -> (Result<(String, Vec<u64>), AssistantError>, u64) {
        let bytes = stream::iter(lines).then(async |(pause, line)| {
            sleep(Duration::from_millis(pause)).await;
            Ok(Bytes::from(format!("{line}\n")))
        });
        let asked = Instant::now();
        let bytes = bytes.chain(stream::pending()).boxed();
        let mut answer = Answer::begin(bytes, &AssistantConfig::default(), asked, Arc::default());
        let whole = async {
            let mut signs = Vec::new();
            while let Some(heard) = answer.next().await? {
                if heard == Heard::Thinking {
                    signs.push(asked.elapsed().as_secs());
                }
            }
            Ok((answer.into_text(), signs))
        };
        (whole.await, asked.elapsed().as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn model_that_thinks_for_seventy_seconds_is_heard() {
        let lines = [vec![(500, THOUGHT); 140], vec![(500, WORD), (0, END)]].concat();
        assert_eq!(answer(lines).await, (Ok(("Walk.".to_owned(), vec![0, 15, 30, 45, 60])), 70));
    }

    #[tokio::test(start_paused = true)]
    async fn model_is_too_slow_if_it_does_not_begin_go_on_or_end_in_time() {
        for (seconds, lines) in [
            (60, vec![(61_000, WORD)]),
            (79, vec![(59_000, THOUGHT), (21_000, WORD)]),
            (25, vec![(5_000, WORD), (21_000, END)]),
            (120, vec![(1_000, THOUGHT); 130]),
            (120, vec![(1_000, WORD); 130]),
        ] {
            assert_eq!(answer(lines).await, (Err(AssistantError::TooSlow), seconds));
        }
    }
}
