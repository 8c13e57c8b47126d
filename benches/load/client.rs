//! One connection, one request in flight: the least HTTP/1.1 that a client of a known server can speak.

use std::io;
use std::net::SocketAddr;
use std::ops::Range;

use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::measured::Answer;

/// How long an answer may be, its head included.
const ANSWER_MAX: usize = 256 << 20;
/// What is read at a time, at the least.
const READ: usize = 16 << 10;
const HEADERS_MAX: usize = 64;

/// Where connections come from.
pub(crate) trait Wire {
    /// A connection.
    type Stream: AsyncRead + AsyncWrite + Unpin;

    /// Opens one.
    async fn connect(&self) -> io::Result<Self::Stream>;
}

/// Connections to this machine.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Loopback(pub(crate) SocketAddr);

/// What an answer means to whoever asked for a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is done.
    Done,
    /// It is not, and will not be.
    Refused,
    /// It is not; the server had no time for it.
    NotNow,
    /// Nobody knows.
    Unknown,
}

/// A connection that is kept alive.
pub(crate) struct Connection<S> {
    stream: S,
    buffer: Vec<u8>,
}

/// An answer.
pub(crate) struct Reply<'a> {
    pub(crate) status: u16,
    pub(crate) body: &'a [u8],
    /// The server takes no further request on this connection.
    pub(crate) last: bool,
}

struct Head {
    status: u16,
    body: Range<usize>,
    last: bool,
}

impl Wire for Loopback {
    type Stream = TcpStream;

    async fn connect(&self) -> io::Result<TcpStream> {
        let stream = TcpStream::connect(self.0).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self { stream, buffer: vec![0; READ] }
    }

    /// Sends a request and reads its answer. After an error the connection is good for nothing.
    pub(crate) async fn call(&mut self, request: &[u8]) -> io::Result<Reply<'_>> {
        self.stream.write_all(request).await?;
        let (mut filled, mut head) = (0, None);
        loop {
            if filled == self.buffer.len() {
                if filled >= ANSWER_MAX {
                    return Err(invalid("an answer is too long"));
                }
                self.buffer.resize(filled * 2, 0);
            }
            let read = self.stream.read(&mut self.buffer[filled..]).await?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            filled += read;
            if head.is_none() {
                head = parse_head(&self.buffer[..filled])?;
            }
            if let Some(Head { status, body, last }) = &head
                && filled >= body.end
            {
                if filled > body.end {
                    return Err(invalid("more than an answer came"));
                }
                return Ok(Reply { status: *status, body: &self.buffer[body.clone()], last: *last });
            }
        }
    }
}

fn parse_head(read: &[u8]) -> io::Result<Option<Head>> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(end) = response.parse(read).map_err(invalid)? else { return Ok(None) };
    let header = |name: &str| {
        let header = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
        header.and_then(|header| str::from_utf8(header.value).ok())
    };
    let length = header("content-length").and_then(|length| length.parse::<usize>().ok());
    let Some(length) = length.filter(|length| *length <= ANSWER_MAX) else {
        return Err(invalid("an answer does not say how long it is"));
    };
    Ok(Some(Head {
        status: response.code.unwrap_or_default(),
        body: end..end + length,
        last: header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close")),
    }))
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

impl Reply<'_> {
    /// Its kind.
    pub(crate) fn answer(&self) -> Answer {
        if self.status == 200 {
            return Answer::DONE;
        }
        #[derive(Deserialize)]
        struct Problem {
            code: Option<String>,
        }
        let problem = serde_json::from_slice(self.body).unwrap_or(Problem { code: None });
        Answer { status: Some(self.status), code: problem.code }
    }
}

impl Answer {
    /// Plain success.
    pub(crate) const DONE: Self = Self { status: Some(200), code: None };
    /// No answer.
    pub(crate) const LOST: Self = Self { status: None, code: None };

    pub(crate) fn outcome(&self) -> Outcome {
        match (self.status, self.code.as_deref()) {
            (Some(200), _) => Outcome::Done,
            (Some(429), _) | (Some(503), Some("busy" | "unavailable" | "shutting_down" | "not_ready")) => {
                Outcome::NotNow
            }
            (Some(400..=499), _) => Outcome::Refused,
            _ => Outcome::Unknown,
        }
    }
}
