//! The model that answers patients' questions.

use std::time::Duration;

use super::parsers::{Expected, url};

/// The maximum time for a whole answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(120);
/// The maximum time a question waits in the queue.
const TURN_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a call may take that waits for a whole answer, with time for the history.
pub const CHAT_TIMEOUT: Duration = Duration::from_secs(150);
const _: () = assert!(CHAT_TIMEOUT.as_secs() > ANSWER_TIMEOUT.as_secs() + TURN_TIMEOUT.as_secs() + 20);

/// The assistant's model and the bounds on its use.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Assistant")]
pub struct AssistantConfig {
    /// URL of the Ollama server that answers chats, such as `http://127.0.0.1:11434`. Without it there is no assistant.
    #[arg(id = "ollama-api", long, env = "OLLAMA_API", value_name = "URL", value_parser = base)]
    pub api: Option<String>,
    /// Model that answers chats.
    #[arg(id = "ollama-model", long, env = "OLLAMA_MODEL", value_name = "NAME", default_value = "llama3")]
    pub model: String,
    /// How long the model may take to begin its answer, or to begin to think about it.
    #[arg(skip = Duration::from_secs(60))]
    pub first_word_timeout: Duration,
    /// How long it may fall silent after that. A model that thinks is not silent.
    #[arg(skip = Duration::from_secs(20))]
    pub silence_timeout: Duration,
    /// How long a whole answer may take.
    #[arg(skip = ANSWER_TIMEOUT)]
    pub answer_timeout: Duration,
    /// The interval of comments in a stream while the model thinks. Many proxies close a connection that is idle for a
    /// minute.
    #[arg(skip = Duration::from_secs(15))]
    pub keep_alive: Duration,
    /// Answers under way at once, of visitors half as many; further questions wait.
    #[arg(skip = 8_usize)]
    pub answers_at_once: usize,
    /// How long a question waits for its turn before it is refused as busy.
    #[arg(skip = TURN_TIMEOUT)]
    pub turn_timeout: Duration,
    /// Questions that wait at once; one more is refused as busy.
    #[arg(skip = 64_usize)]
    pub waiting_max: usize,
}

impl Default for AssistantConfig {
    fn default() -> Self {
        super::defaults()
    }
}

/// Reads the URL of the server. Settings of the old platform name one of its calls, which is cut off.
fn base(text: &str) -> Result<String, Expected> {
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
