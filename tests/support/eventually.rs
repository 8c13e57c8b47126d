//! Waits for a state that no event announces: of a file, of another process, of what a node knows. The only place in the
//! tests that sleeps while the clock runs; tests that can await an event, or pause time, do that instead.

use std::panic::Location;
use std::time::Duration;

use tokio::time::{sleep, timeout};

/// The time between two attempts: short beside any deadline, and long enough that the observed process can work.
const PAUSE: Duration = Duration::from_millis(10);

/// Repeats `attempt` until it returns `true`. `expected` says what is waited for: "the node is ready".
///
/// # Panics
/// If that takes longer than `deadline`.
#[track_caller]
pub(crate) fn eventually(
    deadline: Duration,
    expected: impl std::fmt::Display,
    mut attempt: impl AsyncFnMut() -> bool,
) -> impl Future<Output = ()> {
    let caller = Location::caller();
    async move {
        let attempts = async {
            while !attempt().await {
                sleep(PAUSE).await;
            }
        };
        let ended = timeout(deadline, attempts).await;
        assert!(ended.is_ok(), "{caller}: within {deadline:?} it did not happen that {expected}");
    }
}
