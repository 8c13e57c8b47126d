//! The model that answers patients' questions.

use std::time::Duration;

use super::environment::Environment;
use super::store::url;

/// How long a whole answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(120);
/// How long a question waits for its turn.
const TURN_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a call may take that waits for a whole answer, with time for the history.
pub const CHAT_TIMEOUT: Duration = Duration::from_secs(150);
const _: () = assert!(CHAT_TIMEOUT.as_secs() > ANSWER_TIMEOUT.as_secs() + TURN_TIMEOUT.as_secs() + 20);

/// Where the assistant's model is, and how much of it may be asked for.
#[derive(Debug, Clone)]
pub struct AssistantConfig {
    /// The address of an Ollama server; `None`: there is no assistant.
    pub api: Option<String>,
    /// Which model to ask for.
    pub model: String,
    /// How long the model may take to begin its answer, or to begin to think about it.
    pub first_word_timeout: Duration,
    /// How long it may fall silent after that. A model that thinks is not silent.
    pub silence_timeout: Duration,
    /// How long a whole answer may take.
    pub answer_timeout: Duration,
    /// The interval of comments in a stream while the model thinks. Many proxies close a connection that is idle for a
    /// minute.
    pub keep_alive: Duration,
    /// Answers under way at once, of visitors half as many; further questions wait.
    pub answers_at_once: usize,
    /// How long a question waits for its turn before it is refused as busy.
    pub turn_timeout: Duration,
    /// Questions that wait at once; one more is refused as busy.
    pub waiting_max: usize,
}

impl Default for AssistantConfig {
    fn default() -> Self {
        Self {
            api: None,
            model: "llama3".to_owned(),
            first_word_timeout: Duration::from_secs(60),
            silence_timeout: Duration::from_secs(20),
            answer_timeout: ANSWER_TIMEOUT,
            keep_alive: Duration::from_secs(15),
            answers_at_once: 8,
            turn_timeout: TURN_TIMEOUT,
            waiting_max: 64,
        }
    }
}

impl AssistantConfig {
    /// Reads `OLLAMA_API` (default none) and `OLLAMA_MODEL` (default `llama3`).
    pub(super) fn from_env(env: &mut Environment) -> Self {
        let defaults = Self::default();
        Self {
            api: env.parsed("OLLAMA_API", base),
            model: env.text("OLLAMA_MODEL").unwrap_or(defaults.model),
            ..defaults
        }
    }
}

/// The server's address. Settings of the old platform name one of its calls, which is cut off.
fn base(text: &str) -> Result<String, &'static str> {
    let text = url(text)?;
    let text = text.trim_end_matches('/');
    let calls = ["/api/generate", "/api/chat", "/api"];
    let base = calls.iter().find_map(|call| text.strip_suffix(call)).unwrap_or(text);
    Ok(base.trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_may_name_one_of_the_servers_calls() {
        for text in [
            "http://ollama:11434",
            "http://ollama:11434/",
            "http://ollama:11434/api",
            "http://ollama:11434/api/generate",
            "http://ollama:11434/api/chat/",
        ] {
            assert_eq!(base(text).as_deref(), Ok("http://ollama:11434"), "{text}");
        }
        assert_eq!(base("https://x.example/models/api/chat").as_deref(), Ok("https://x.example/models"));
        assert!(base("ollama:11434").is_err());
    }
}
