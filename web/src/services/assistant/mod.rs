//! The assistant: a question in, an answer out piece by piece, and a place for both in the user's history.

mod language;
mod ollama;
mod prompt;
mod thoughts;

use std::sync::Arc;
use std::time::Duration;

use engine::{Clock, UserId};
use persistence::{Chats, Exchange};

use crate::config::AssistantConfig;
use crate::error::ApiError;
use crate::metrics::ChatAnswer;
use crate::peer::Network;
use crate::places::{Bounds, Place, Places, quarter_of};
use language::Language;
pub(crate) use ollama::{ANSWER_BYTES_MAX, Heard};
use ollama::{Answer, Ollama};

/// The longest question, in characters.
pub(crate) const QUESTION_CHARS_MAX: usize = 4_000;
/// Exchanges that the model is reminded of.
const EXCHANGES_REMEMBERED: usize = 5;
/// Exchanges that a history shows.
const EXCHANGES_SHOWN_MAX: usize = 500;
/// Questions of one user at once.
const OF_ONE_USER: usize = 2;
/// Histories that are read at once, of some megabytes each.
const HISTORIES: Bounds = Bounds {
    name: "histories",
    at_once: 16,
    of_network: quarter_of(16),
    waiting_max: 64,
    wait: Duration::from_secs(5),
    evicted_after: None,
};

/// Answers questions, as many at once as the settings say.
pub(crate) struct Assistant {
    /// `None` where no model is configured.
    ollama: Option<Ollama>,
    chats: Chats,
    clock: Arc<dyn Clock>,
    /// Places for answers under way. All visitors together count as one account.
    answers: Places<Asker>,
    /// Questions of visitors at once: half of the places are for those who are known.
    of_visitors: usize,
    /// Places for readers of histories.
    histories: Places<UserId>,
}

/// Who asks.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) enum Asker {
    /// Somebody who is told nothing of earlier exchanges, and of whom nothing is kept.
    Visitor,
    /// A patient with a history.
    User(UserId),
}

/// What is asked, and in which language it is to be answered.
pub(crate) struct Question {
    text: String,
    language: Language,
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AssistantError {
    /// No model is configured.
    #[error("no model is configured")]
    NotConfigured,
    /// No connection could be made to the model's server.
    #[error("the model's server cannot be reached")]
    Unreachable,
    /// The model did not begin, go on or end in time.
    #[error("the model is too slow")]
    TooSlow,
    /// The model refused, broke off, or said what makes no sense.
    #[error("the model failed")]
    Failed,
}

/// An answer under way. Dropping it stops the model's work, and nothing of it is kept.
pub(crate) struct Reply {
    answer: Answer,
    asker: Asker,
    question: Question,
    chats: Chats,
    clock: Arc<dyn Clock>,
    place: Place<Asker>,
    watched: ChatAnswer,
    /// The user has been told that the answer was cut short.
    cut_is_told: bool,
}

/// A whole answer as the user reads it.
pub(crate) struct WholeAnswer {
    /// What the model said. If it was cut short, a sentence after it says so.
    pub(crate) text: String,
    /// The answer was cut short.
    pub(crate) truncated: bool,
}

impl Question {
    /// Checks what is asked.
    pub(crate) fn parse(message: &str, language: Option<&str>) -> Result<Self, ApiError> {
        let text = message.trim();
        if text.is_empty() {
            return Err(ApiError::invalid("Message is required"));
        }
        if text.chars().count() > QUESTION_CHARS_MAX {
            return Err(ApiError::invalid(format!(
                "'message' must have at most {QUESTION_CHARS_MAX} characters"
            )));
        }
        let language = match language {
            Some(code) => Language::parse(code),
            None => Some(Language::English),
        };
        let language =
            language.ok_or_else(|| ApiError::invalid("'language' must be one of en, hi, es, te, ta"));
        Ok(Self { text: text.to_owned(), language: language? })
    }
}

impl Assistant {
    /// The assistant that these settings describe.
    pub(crate) fn new(
        config: &AssistantConfig,
        chats: Chats,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, reqwest::Error> {
        Ok(Self {
            ollama: Ollama::new(config)?,
            chats,
            clock,
            answers: Places::new(Bounds {
                name: "answers",
                at_once: config.answers_at_once,
                of_network: quarter_of(config.answers_at_once),
                waiting_max: config.waiting_max,
                wait: config.turn_timeout,
                evicted_after: None,
            }),
            of_visitors: (config.answers_at_once / 2).max(1),
            histories: Places::new(HISTORIES),
        })
    }

    /// Puts a question to the model; returns when it is about to answer.
    pub(crate) async fn ask(
        &self,
        asker: Asker,
        network: Network,
        question: Question,
    ) -> Result<Reply, ApiError> {
        let ollama = self.ollama.as_ref().ok_or(AssistantError::NotConfigured)?;
        let share = match &asker {
            Asker::Visitor => self.of_visitors,
            Asker::User(_) => OF_ONE_USER,
        };
        let place = self.answers.take(asker.clone(), share, network).await?;
        let history = match &asker {
            Asker::Visitor => Vec::new(),
            Asker::User(user) => self.chats.last(user, EXCHANGES_REMEMBERED).await?,
        };
        let mut watched = ChatAnswer::begin();
        let answer = ollama.ask(&prompt::messages(&history, &question)).await;
        let answer = answer.inspect_err(|error| watched.broke_off(*error))?;
        let (chats, clock) = (self.chats.clone(), Arc::clone(&self.clock));
        Ok(Reply { answer, asker, question, chats, clock, place, watched, cut_is_told: false })
    }

    /// A user's last exchanges, the oldest of them first.
    pub(crate) async fn history(&self, user: &UserId, network: Network) -> Result<Vec<Exchange>, ApiError> {
        let _reading = self.histories.take(user.clone(), OF_ONE_USER, network).await?;
        Ok(self.chats.last(user, EXCHANGES_SHOWN_MAX).await?)
    }
}

impl Reply {
    /// The next event of the answer; `None` after the last words, which say so if the answer was cut short.
    pub(crate) async fn next(&mut self) -> Result<Option<Heard>, AssistantError> {
        let heard = self.answer.next().await;
        match &heard {
            Ok(Some(Heard::Words(_))) => self.watched.heard(),
            Ok(Some(Heard::Thinking)) => {}
            Ok(None) => {
                self.watched.ended(self.answer.is_truncated());
                let is_told = std::mem::replace(&mut self.cut_is_told, true);
                return Ok(self.told_of_cut().filter(|_| !is_told).map(Heard::Words));
            }
            Err(error) => self.watched.broke_off(*error),
        }
        heard
    }

    /// The words that tell the user that the answer was cut short.
    fn told_of_cut(&self) -> Option<String> {
        let language = self.question.language;
        match (self.answer.is_truncated(), self.answer.is_empty()) {
            (false, _) => None,
            (true, false) => Some(format!("\n\n{}", language.cut_short())),
            (true, true) => Some(language.cut_short_before_a_word().to_owned()),
        }
    }

    /// Waits for the whole answer and keeps it.
    pub(crate) async fn whole(mut self) -> Result<WholeAnswer, AssistantError> {
        while self.next().await?.is_some() {}
        Ok(self.keep().await)
    }

    /// Adds the exchange to the user's history and gives the whole answer. A person who has waited for it is told it also
    /// when it cannot be stored. The model's own words are stored: it is reminded of nothing that it did not say.
    pub(crate) async fn keep(self) -> WholeAnswer {
        let (truncated, told) = (self.answer.is_truncated(), self.told_of_cut());
        let Self { answer, asker, question, chats, clock, place, .. } = self;
        // The model is free for the next question.
        drop(place);
        let answer = answer.into_text();
        let text = format!("{answer}{}", told.unwrap_or_default());
        if let Asker::User(user) = asker {
            let timestamp = clock.now().timestamp();
            let exchange = Exchange { timestamp, question: question.text, answer, truncated };
            if let Err(error) = chats.store(&user, &exchange).await {
                tracing::error!(%error, "an exchange with the assistant was not stored");
            }
        }
        WholeAnswer { text, truncated }
    }
}
