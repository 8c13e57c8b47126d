//! A connection that breaks on command: what the server did is done, but its answer is lost.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use persistence::Endpoint;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Forwards to a server, and loses answers when told to.
pub(crate) struct LossyProxy {
    endpoint: Endpoint,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    to_lose: AtomicUsize,
    /// What a request holds for its answer to be lost; empty for any request.
    meant: Mutex<&'static str>,
    lost: AtomicUsize,
}

impl LossyProxy {
    /// Listens on loopback in front of the server at `endpoint`.
    pub(crate) async fn start(endpoint: &Endpoint) -> Self {
        let server =
            endpoint.address().unwrap().strip_prefix("http://").unwrap().trim_end_matches('/').to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let counts = Arc::new(Counts::default());
        let shared = Arc::clone(&counts);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(forward(client, server.clone(), Arc::clone(&shared)));
            }
        });
        Self { endpoint: endpoint.clone().moved_to(address), counts }
    }

    pub(crate) fn endpoint(&self) -> Endpoint {
        self.endpoint.clone()
    }

    /// Loses the next answers.
    pub(crate) fn lose_answers(&self, count: usize) {
        self.counts.to_lose.store(count, Ordering::SeqCst);
    }

    /// Loses the next answers to requests of this kind: `TransactWriteItems`, for one.
    pub(crate) fn lose_answers_to(&self, operation: &'static str, count: usize) {
        *self.counts.meant.lock().unwrap() = operation;
        self.lose_answers(count);
    }

    /// How many were lost.
    pub(crate) fn lost(&self) -> usize {
        self.counts.lost.load(Ordering::SeqCst)
    }
}

async fn forward(client: TcpStream, server: String, counts: Arc<Counts>) {
    let Ok(server) = TcpStream::connect(server).await else { return };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let is_meant = Arc::new(AtomicBool::new(true));
    let (asked, meant) = (Arc::clone(&is_meant), Arc::clone(&counts));
    let requests = tokio::spawn(async move {
        let mut request = vec![0; 64 * 1024];
        while let Ok(length @ 1..) = from_client.read(&mut request).await {
            let text = String::from_utf8_lossy(&request[..length]);
            let is_meant = text.contains(*meant.meant.lock().unwrap());
            // The rest of a long body says nothing of what it belongs to.
            if is_meant || text.contains(" HTTP/1.1\r\n") {
                asked.store(is_meant, Ordering::SeqCst);
            }
            if to_server.write_all(&request[..length]).await.is_err() {
                break;
            }
        }
    });
    let mut answer = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = from_server.read(&mut answer).await {
        let lose =
            || counts.to_lose.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if is_meant.load(Ordering::SeqCst) && lose().is_ok() {
            counts.lost.fetch_add(1, Ordering::SeqCst);
            break;
        }
        if to_client.write_all(&answer[..length]).await.is_err() {
            break;
        }
    }
    requests.abort();
}
