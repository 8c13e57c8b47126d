//! Holds each flush of a process until the test lets it through: so a test sees which work waits for which flush, without a
//! clock, and can stop a process at an exact point.

use std::path::{Path, PathBuf};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::process::Command;

/// A flush that waits to be let through.
pub(crate) struct Flush(UnixStream);

impl Flush {
    /// Waits for the next flush of the process.
    pub(crate) async fn next(gate: &UnixListener) -> Self {
        Self(gate.accept().await.unwrap().0)
    }

    pub(crate) async fn let_through(mut self) {
        self.0.write_all(b"g").await.unwrap();
        self.done().await;
    }

    pub(crate) async fn fail(mut self) {
        self.0.write_all(b"f").await.unwrap();
        self.done().await;
    }

    /// Returns when the process has taken note.
    async fn done(&mut self) {
        let _ = self.0.read(&mut [0]).await;
    }
}

/// Builds the library that a process is to load (`LD_PRELOAD`), into this folder. `KOKORO_FSYNC_GATE` names the gate there.
pub(crate) async fn build_gate(folder: &Path) -> PathBuf {
    let library = folder.join("fsync_gate.so");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/fsync_gate.c");
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"])
        .args([&library, Path::new(source), Path::new("-ldl")])
        .status()
        .await
        .unwrap();
    assert!(built.success());
    library
}
