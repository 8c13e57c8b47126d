//! What is sent to a doctor's actor, and how it answers.

use actix::Message;
use chrono::NaiveDate;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tracing::Span;

use crate::calendar::{Booking, Command, DayView};
use crate::error::EngineError;

/// A command that was obeyed, and is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The user holds the seat.
    Booked(Booking),
    /// The user holds the seat since an earlier command with the same idempotency key: nothing new has happened.
    BookedBefore(Booking),
    /// The user holds it no more.
    Cancelled,
    /// The weekday's schedule is as asked.
    ScheduleSet,
}

/// Decide and store a command.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Execute {
    pub(crate) command: Command,
    pub(crate) reply: Reply<Answer>,
    pub(crate) span: Span,
    /// Its place in the mailbox, free again when the message is taken in.
    pub(crate) place: OwnedSemaphorePermit,
}

/// Show a date, loading it if need be.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct View {
    pub(crate) date: NaiveDate,
    pub(crate) reply: Reply<DayView>,
    /// As in [`Execute`].
    pub(crate) place: OwnedSemaphorePermit,
}

/// End this activation.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Passivate {
    pub(crate) reason: PassivationReason,
}

/// Why an activation ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PassivationReason {
    /// Nobody has asked for a while.
    Idle,
    /// The doctor's range has another owner.
    Fenced,
    /// The process is stopping.
    Shutdown,
}

/// Why an activation loads again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReloadReason {
    /// An event was not stored.
    CommitRefused,
    /// An event may be stored.
    CommitUnknown,
    /// The calendar is of an old epoch.
    Fenced,
}

/// What comes back when an ask ends without what was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Undone {
    /// The activation ended before it staged anything for this ask: nothing happened, another one may be asked.
    NotDelivered,
    /// As said.
    Failed(EngineError),
}

/// Where the answer goes. Dropped without one (the activation has died), it still says what is certain.
#[derive(Debug)]
pub(crate) struct Reply<T> {
    sender: Option<oneshot::Sender<Result<T, Undone>>>,
    staged: bool,
}

impl<T> Reply<T> {
    pub(crate) fn new() -> (Self, oneshot::Receiver<Result<T, Undone>>) {
        let (sender, receiver) = oneshot::channel();
        (Self { sender: Some(sender), staged: false }, receiver)
    }

    /// From here on the command may happen.
    pub(crate) const fn mark_staged(&mut self) {
        self.staged = true;
    }

    /// The event that was staged is certainly not stored.
    pub(crate) const fn mark_not_stored(&mut self) {
        self.staged = false;
    }

    /// Whether nobody waits any more.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.sender.as_ref().is_none_or(oneshot::Sender::is_closed)
    }

    pub(crate) fn send(mut self, answer: Result<T, EngineError>) {
        self.finish(answer.map_err(Undone::Failed));
    }

    fn finish(&mut self, answer: Result<T, Undone>) {
        if let Some(sender) = self.sender.take() {
            // The caller may have gone; what happened is stored all the same.
            let _ = sender.send(answer);
        }
    }
}

impl<T> Drop for Reply<T> {
    fn drop(&mut self) {
        let certain =
            if self.staged { Undone::Failed(EngineError::OutcomeUnknown) } else { Undone::NotDelivered };
        self.finish(Err(certain));
    }
}
