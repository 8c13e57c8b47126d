//! How long something is waited for.

use std::pin::pin;
use std::task::Poll;

use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout_at};

/// Waits for `work` until it is `due`.
///
/// No timer is set, nor the clock read, for what is done at the second look. `actix-web` looks first when it has read
/// a request's head, and again as soon as it has taken the body from the same buffer; most reads are answered by then,
/// from memory.
pub(crate) async fn until<F: Future>(due: impl FnOnce() -> Instant, work: F) -> Result<F::Output, Elapsed> {
    let mut work = pin!(work);
    let mut looked = false;
    let early = std::future::poll_fn(|context| match work.as_mut().poll(context) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending if looked => Poll::Ready(None),
        Poll::Pending => {
            looked = true;
            context.waker().wake_by_ref();
            Poll::Pending
        }
    });
    match early.await {
        Some(done) => Ok(done),
        None => timeout_at(due(), work).await,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::poll;
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_does_not_come_is_waited_for_until_it_is_due() {
        let due = Instant::now() + Duration::from_secs(1);
        let mut waiting = pin!(until(|| due, std::future::pending::<()>()));
        for _ in 0..3 {
            assert!(poll!(waiting.as_mut()).is_pending());
        }
        advance(Duration::from_millis(999)).await;
        assert!(poll!(waiting.as_mut()).is_pending());
        advance(Duration::from_millis(1)).await;
        assert!(matches!(poll!(waiting.as_mut()), Poll::Ready(Err(_))));
    }

    #[tokio::test(start_paused = true)]
    async fn what_never_wakes_anybody_is_looked_at_again_and_given_up() {
        let due = Instant::now() + Duration::from_secs(1);
        assert!(until(|| due, std::future::pending::<()>()).await.is_err());
        assert_eq!(Instant::now(), due);
    }

    #[tokio::test]
    async fn what_is_there_at_the_second_look_needs_no_timer() {
        let due = || panic!("somebody asks when it is due");
        let mut looks = [Poll::Pending, Poll::Ready(())].into_iter();
        assert_eq!(until(due, std::future::poll_fn(|_| looks.next().unwrap())).await, Ok(()));
    }
}
