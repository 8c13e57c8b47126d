//! What benches share: a program that is measured, and tokens for its callers.

use std::io::{self, BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};

use anyhow::{Context, bail, ensure};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use engine::{Clock, SystemClock};
use serde_json::{Value, json};

/// What tokens are signed with.
pub(crate) const SECRET: &str = "a secret of the bench that is longer than 32 bytes";

/// A program that is measured. Killed when dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) url: String,
    /// What it prints after the first line.
    pub(crate) output: BufReader<ChildStdout>,
}

/// The program on its embedded stores in this folder, which limits nobody.
pub(crate) fn kokoro(data: &std::path::Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kokoro"));
    command.env_clear().env("KOKORO_LISTEN", "127.0.0.1:0").env("KOKORO_DATA_DIR", data);
    command.env("RATE_LIMIT_PER_MINUTE", "0").env("KOKORO_BOOKINGS_PER_DOCTOR_MAX", "0");
    command.env("KOKORO_JWT_SECRET", SECRET).env("RUST_LOG", "warn");
    command
}

/// A token as the platform issues them, without the price of a log-in.
pub(crate) fn token(email: &str, role: &str) -> String {
    let now = SystemClock.now().timestamp();
    let encode = |part: Value| BASE64_URL_SAFE_NO_PAD.encode(part.to_string());
    let head = encode(json!({"alg": "HS256", "typ": "JWT"}));
    let claims = encode(json!({"sub": email, "role": role, "iat": now, "exp": now + 3600}));
    let signed = format!("{head}.{claims}");
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, SECRET.as_bytes());
    let signature = BASE64_URL_SAFE_NO_PAD.encode(ring::hmac::sign(&key, signed.as_bytes()));
    format!("{signed}.{signature}")
}

impl Server {
    /// Starts it and waits for the first line of its output, which ends with its address.
    pub(crate) fn start(command: &mut Command) -> anyhow::Result<Self> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut output = BufReader::new(child.stdout.take().context("no output")?);
        let mut first = String::new();
        output.read_line(&mut first)?;
        let Some(at) = first.find("http://") else { bail!("it did not start: {}", child.wait()?) };
        Ok(Self { child, url: first[at..].trim().to_owned(), output })
    }

    /// What proc(5) says of it in this file.
    pub(crate) fn proc(&self, file: &str) -> std::io::Result<String> {
        std::fs::read_to_string(format!("/proc/{}/{file}", self.child.id()))
    }

    /// Asks it to stop, with all that is in flight stored.
    pub(crate) fn stop(mut self) -> anyhow::Result<()> {
        let asked = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status()?;
        ensure!(asked.success(), "it cannot be asked to stop");
        // Until it has closed it: what it prints must not wait for a reader.
        io::copy(&mut self.output, &mut io::sink())?;
        let ended = self.child.wait()?;
        ensure!(ended.success(), "it did not stop well: {ended}");
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
