//! A deed that goes on when nobody waits for it any more. It becomes a task only then: most are waited for, and a task for
//! each would cost every booking.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::telemetry;

/// A deed under way. Dropped before its end, it goes on by itself. `None` while it runs, so that one that has panicked
/// is not run again.
pub(super) struct SeenThrough<F: Future + 'static>(Option<Pin<Box<F>>>);

impl<F: Future + 'static> SeenThrough<F> {
    pub(super) fn new(deed: F) -> Self {
        Self(Some(Box::pin(deed)))
    }
}

impl<F: Future> Future for SeenThrough<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let Some(mut deed) = self.0.take() else { return Poll::Pending };
        let outcome = deed.as_mut().poll(context);
        if outcome.is_pending() {
            self.0 = Some(deed);
        }
        outcome
    }
}

impl<F: Future + 'static> Drop for SeenThrough<F> {
    fn drop(&mut self) {
        if let Some(deed) = self.0.take() {
            actix_web::rt::spawn(telemetry::for_this_request(async move { drop(deed.await) }));
        }
    }
}
