//! What the program logs while it is tested: everything of its own, and of others what the default setting shows.

use std::io;
use std::sync::{Mutex, Once, PoisonError};

use tracing_subscriber::EnvFilter;

use crate::harness::PASSWORD;
use crate::json::CANARY;

static WRITTEN: Mutex<String> = Mutex::new(String::new());

struct Writer;

impl io::Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        WRITTEN.lock().unwrap_or_else(PoisonError::into_inner).push_str(&String::from_utf8_lossy(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Takes in what any thread logs from here on, panics as well.
pub(crate) fn listen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let filter = EnvFilter::new("info,web=trace,engine=trace,persistence=trace,s3s=off");
        let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(|| Writer).with_ansi(false);
        tracing::subscriber::set_global_default(log.finish()).unwrap();
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            // A test that fails says so itself.
            if panic.location().is_none_or(|at| !at.file().starts_with("tests/")) {
                tracing::error!("a thread panicked: {:?}", panic.location());
            }
            usual(panic);
        }));
    });
}

/// How often a text was logged so far.
pub(crate) fn count(text: &str) -> usize {
    WRITTEN.lock().unwrap_or_else(PoisonError::into_inner).matches(text).count()
}

/// Fails when the log shows whom or what a request was about, or that something broke.
pub(crate) fn assert_discreet() {
    let written = WRITTEN.lock().unwrap_or_else(PoisonError::into_inner).clone();
    for line in written.lines() {
        let lower = line.to_lowercase();
        for hidden in [CANARY, PASSWORD, "@", "eyj", "example.com", "a thread panicked", "a request broke"] {
            assert!(!lower.contains(hidden), "the log shows {hidden:?}: {line}");
        }
    }
}
