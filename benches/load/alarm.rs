//! Waits until a call is due. Tokio's own timers count whole milliseconds, which is longer than many an answer takes.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::unix::AsyncFd;
use tokio::time::Instant;

/// A timer of the kernel's.
pub(crate) struct Alarm(AsyncFd<OwnedFd>);

impl Alarm {
    #[expect(
        deprecated,
        reason = "its heir is unsafe for types that may change their descriptor, which this cannot"
    )]
    pub(crate) fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        Ok(Self(AsyncFd::new(timerfd_create(TimerfdClockId::Monotonic, flags)?)?))
    }

    /// Returns at `due`, or at once when that is over.
    pub(crate) async fn until(&self, due: Instant) -> io::Result<()> {
        let wait = due.saturating_duration_since(Instant::now());
        if wait.is_zero() {
            return Ok(());
        }
        if cfg!(test) {
            // Tests pause time, which the kernel cannot.
            tokio::time::sleep_until(due).await;
            return Ok(());
        }
        let once = Itimerspec { it_interval: timespec(Duration::ZERO)?, it_value: timespec(wait)? };
        timerfd_settime(&self.0, TimerfdTimerFlags::empty(), &once)?;
        // Setting it anew takes back that it is readable, so it need not be read.
        self.0.readable().await?.clear_ready();
        Ok(())
    }
}

fn timespec(time: Duration) -> io::Result<Timespec> {
    Timespec::try_from(time).map_err(|_| io::ErrorKind::InvalidInput.into())
}
