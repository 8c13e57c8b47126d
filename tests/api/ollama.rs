//! A server that speaks Ollama's protocol over a real socket, word by word as a test tells it to.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// A client that has not called, or hung up, by then never will.
const DEADLINE: Duration = Duration::from_secs(60);

/// The server.
pub struct Ollama {
    pub url: String,
    calls: mpsc::UnboundedReceiver<Call>,
}

/// A call that has come in and waits for its answer.
pub struct Call {
    /// The request line.
    pub line: String,
    /// What was sent.
    pub body: Value,
    stream: TcpStream,
}

impl Ollama {
    /// Listens on loopback.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (sender, calls) = mpsc::unbounded_channel();
        actix_web::rt::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let sender = sender.clone();
                actix_web::rt::spawn(async move {
                    if let Some(call) = Call::read(stream).await {
                        let _ = sender.send(call);
                    }
                });
            }
        });
        Self { url, calls }
    }

    /// The next call.
    pub async fn call(&mut self) -> Call {
        timeout(DEADLINE, self.call_if_any()).await.expect("nobody calls")
    }

    /// The next call, if there is one before the test ends.
    pub async fn call_if_any(&mut self) -> Call {
        self.calls.recv().await.unwrap()
    }

    /// Answers the next call with these pieces, and gives what was asked.
    pub async fn answer(&mut self, pieces: &[&str]) -> Value {
        let mut call = self.call().await;
        call.begin().await;
        for piece in pieces {
            call.say(piece).await;
        }
        call.done().await
    }
}

impl Call {
    /// Reads a call; `None` if the client hangs up before it is whole.
    async fn read(mut stream: TcpStream) -> Option<Self> {
        let mut bytes = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            let read = stream.read(&mut buffer).await.ok().filter(|read| *read > 0)?;
            bytes.extend_from_slice(&buffer[..read]);
            let Some(head) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
            let text = String::from_utf8(bytes[..head].to_vec()).unwrap();
            let length = text
                .lines()
                .find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
            let body = &bytes[head + 4..];
            if body.len() == length.unwrap_or(0usize) {
                let body = serde_json::from_slice(body).unwrap();
                return Some(Self { line: text.lines().next().unwrap().to_owned(), body, stream });
            }
        }
    }

    /// Sends the head of an answer that is going to be streamed.
    pub async fn begin(&mut self) {
        let head =
            "HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n";
        self.raw(head.as_bytes()).await;
    }

    /// Sends bytes as they are.
    pub async fn raw(&mut self, bytes: &[u8]) {
        // The client may have hung up, which some tests are about.
        let _ = self.stream.write_all(bytes).await;
    }

    /// Sends one chunk of the body.
    pub async fn chunk(&mut self, bytes: &[u8]) {
        let chunk = [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat();
        self.raw(&chunk).await;
    }

    /// Sends one piece of the answer.
    pub async fn say(&mut self, piece: &str) {
        self.chunk(&line(piece)).await;
    }

    /// Sends one piece of the model's thoughts.
    pub async fn think(&mut self, piece: &str) {
        let line = json!({"model": "qwen3", "created_at": "2026-11-23T04:30:00.5Z",
            "message": {"role": "assistant", "content": "", "thinking": piece}, "done": false});
        self.chunk(format!("{line}\n").as_bytes()).await;
    }

    /// Ends the answer, and gives what was asked.
    pub async fn done(self) -> Value {
        self.end("stop").await
    }

    /// Ends the answer for this reason, and gives what was asked.
    pub async fn end(mut self, reason: &str) -> Value {
        let last = json!({"model": "llama3", "created_at": "2026-11-23T04:30:01.5Z", "done_reason": reason,
            "message": {"role": "assistant", "content": ""}, "done": true, "total_duration": 4_883_583_458_u64,
            "load_duration": 1_334_875, "prompt_eval_count": 26, "eval_count": 282});
        self.chunk(format!("{last}\n").as_bytes()).await;
        self.raw(b"0\r\n\r\n").await;
        self.body
    }

    /// Answers with an error.
    pub async fn refuse(mut self, status: u16, error: &str) {
        let body = json!({"error": error}).to_string();
        let head = format!(
            "HTTP/1.1 {status} No\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        self.raw(head.as_bytes()).await;
        self.raw(body.as_bytes()).await;
    }

    /// Returns when the client has closed the connection.
    pub async fn hung_up(mut self) {
        let mut buffer = [0; 64];
        let closed = async { while let Ok(1..) = self.stream.read(&mut buffer).await {} };
        timeout(DEADLINE, closed).await.unwrap();
    }
}

/// A line with one piece of an answer.
pub fn line(piece: &str) -> Vec<u8> {
    let line = json!({"model": "llama3", "created_at": "2026-11-23T04:30:00.5Z",
        "message": {"role": "assistant", "content": piece}, "done": false});
    format!("{line}\n").into_bytes()
}

/// What a request tells the model, as (role, content).
pub fn messages(body: &Value) -> Vec<(String, String)> {
    let text = |message: &Value, field| message[field].as_str().unwrap().to_owned();
    let messages = body["messages"].as_array().unwrap();
    messages.iter().map(|message| (text(message, "role"), text(message, "content"))).collect()
}
