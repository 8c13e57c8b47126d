//! The model that answers patients' questions.

use std::time::Duration;

use super::environment::Environment;
use super::store::url;

/// Where the assistant's model is, and how much of it may be asked for.
#[derive(Debug, Clone)]
pub struct AssistantConfig {
    /// The address of an Ollama server; `None`: there is no assistant.
    pub api: Option<String>,
    /// Which model to ask for.
    pub model: String,
    /// How long the model may take to begin its answer.
    pub first_word_timeout: Duration,
    /// How long it may fall silent in the middle.
    pub silence_timeout: Duration,
    /// How long a whole answer may take.
    pub answer_timeout: Duration,
    /// Answers under way at once; one more is refused as busy.
    pub answers_at_once: usize,
}

impl Default for AssistantConfig {
    fn default() -> Self {
        Self {
            api: None,
            model: "llama3".to_owned(),
            first_word_timeout: Duration::from_secs(60),
            silence_timeout: Duration::from_secs(20),
            answer_timeout: Duration::from_secs(120),
            answers_at_once: 8,
        }
    }
}

impl AssistantConfig {
    /// Reads `OLLAMA_API` (default none) and `OLLAMA_MODEL` (default `llama3`).
    pub(super) fn from_env(env: &mut Environment) -> Self {
        let defaults = Self::default();
        Self {
            api: env.parsed("OLLAMA_API", url),
            model: env.text("OLLAMA_MODEL").unwrap_or(defaults.model),
            ..defaults
        }
    }
}
