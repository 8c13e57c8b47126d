//! A wire that breaks: between the SDK in a node and the DynamoDB-compatible server, request by request.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

use crate::harness::DEADLINE;

/// What becomes of one transaction on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Nothing: it passes.
    Pass,
    /// Answered with this status and error, and not passed on.
    Error(u16, &'static str),
    /// Cancelled for a conflict on its last action, and not passed on.
    Conflict,
    /// The connection breaks before the store has it.
    CutBefore,
    /// The connection breaks after the store has done it.
    CutAfter,
    /// The store does it, and what it answers makes no sense.
    Garbage,
    /// It is passed on when the test says so.
    HoldBefore,
    /// The store does it, and the answer never comes.
    Mute,
}

/// What becomes of everything on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Wire {
    #[default]
    Open,
    /// Nothing passes, and nobody is told: what is on its way arrives when the wire is mended.
    Silent,
    /// Every connection breaks, and every new one at once.
    Cut,
}

/// Stands between a node and its store, or before a node. Clones share it.
#[derive(Clone)]
pub struct Proxy {
    pub endpoint: String,
    plan: Arc<Mutex<VecDeque<Fault>>>,
    seen: Arc<Mutex<Vec<Value>>>,
    released: Arc<Semaphore>,
    held: Arc<Semaphore>,
    wire: Arc<watch::Sender<Wire>>,
}

impl Proxy {
    pub async fn before(store: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Self {
            endpoint: format!("http://{}", listener.local_addr().unwrap()),
            plan: Arc::default(),
            seen: Arc::default(),
            released: Arc::new(Semaphore::new(0)),
            held: Arc::new(Semaphore::new(0)),
            wire: Arc::default(),
        };
        let (accepting, store) = (proxy.clone(), store.trim_start_matches("http://").to_owned());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (proxy, store) = (accepting.clone(), store.clone());
                tokio::spawn(async move {
                    let mut wire = proxy.wire.subscribe();
                    tokio::select! {
                        _ = proxy.serve(client, &store) => {}
                        _ = wire.wait_for(|wire| *wire == Wire::Cut) => {}
                    }
                });
            }
        });
        proxy
    }

    /// What becomes of the next transactions.
    pub fn next(&self, faults: impl IntoIterator<Item = Fault>) {
        self.plan.lock().unwrap().extend(faults);
    }

    /// Forgets the faults that nobody ran into.
    pub fn heal(&self) {
        self.plan.lock().unwrap().clear();
    }

    /// Breaks every connection.
    pub fn cut(&self) {
        self.wire.send_replace(Wire::Cut);
    }

    /// Lets nothing through any more, without a word.
    pub fn silence(&self) {
        self.wire.send_replace(Wire::Silent);
    }

    /// Lets everything through again, also what was held back in silence.
    pub fn mend(&self) {
        self.wire.send_replace(Wire::Open);
    }

    async fn passes(&self) {
        let mut wire = self.wire.subscribe();
        wire.wait_for(|wire| *wire != Wire::Silent).await.unwrap();
    }

    /// Waits until a transaction is held.
    pub async fn is_holding(&self) {
        timeout(DEADLINE, self.held.acquire()).await.expect("no transaction comes").unwrap().forget();
    }

    /// Lets a held transaction through.
    pub fn release(&self) {
        self.released.add_permits(1);
    }

    /// The transactions that came by, each attempt by itself.
    pub fn transactions(&self) -> Vec<Value> {
        self.seen.lock().unwrap().clone()
    }

    /// Serves one connection until either side, or a fault, ends it.
    async fn serve(&self, mut client: TcpStream, store: &str) -> Option<()> {
        let mut upstream = TcpStream::connect(store).await.ok()?;
        loop {
            let request = message(&mut client).await?;
            let fault = self.fault_for(&request);
            match fault {
                Fault::CutBefore => return None,
                Fault::Error(status, code) => {
                    let body = json!({"__type": format!("com.amazonaws.dynamodb.v20120810#{code}"), "message": "by the test"});
                    answer(&mut client, status, &body.to_string()).await?;
                    continue;
                }
                Fault::Conflict => {
                    answer(&mut client, 400, &conflict(&request).to_string()).await?;
                    continue;
                }
                Fault::HoldBefore => {
                    self.held.add_permits(1);
                    self.released.acquire().await.unwrap().forget();
                }
                Fault::Pass | Fault::CutAfter | Fault::Garbage | Fault::Mute => {}
            }
            self.passes().await;
            upstream.write_all(&request.bytes).await.ok()?;
            let done = message(&mut upstream).await?;
            self.passes().await;
            match fault {
                Fault::CutAfter => return None,
                Fault::Mute => std::future::pending().await,
                Fault::Garbage => answer(&mut client, 200, "{\"ItemCollectionMetrics\": [").await?,
                Fault::Pass | Fault::HoldBefore | Fault::CutBefore | Fault::Error(..) | Fault::Conflict => {
                    client.write_all(&done.bytes).await.ok()?;
                }
            }
        }
    }

    fn fault_for(&self, request: &HttpMessage) -> Fault {
        if !request.head.to_ascii_lowercase().contains("dynamodb_20120810.transactwriteitems") {
            return Fault::Pass;
        }
        let transaction: Value = serde_json::from_slice(request.body()).unwrap();
        // The audit trail writes in its own time: a fault is for those who book.
        if transaction["TransactItems"][0]["Put"]["TableName"] == "KokoroAudit" {
            return Fault::Pass;
        }
        self.seen.lock().unwrap().push(transaction);
        self.plan.lock().unwrap().pop_front().unwrap_or(Fault::Pass)
    }
}

fn conflict(request: &HttpMessage) -> Value {
    let body: Value = serde_json::from_slice(request.body()).unwrap();
    let actions = body["TransactItems"].as_array().unwrap().len();
    let mut reasons = vec![json!({"Code": "None"}); actions];
    reasons[actions - 1] = json!({"Code": "TransactionConflict", "Message": "by the test"});
    json!({
        "__type": "com.amazonaws.dynamodb.v20120810#TransactionCanceledException",
        "Message": "Transaction cancelled, by the test",
        "CancellationReasons": reasons,
    })
}

/// A request or answer as it came, head and body.
pub struct HttpMessage {
    bytes: Vec<u8>,
    pub head: String,
}

impl HttpMessage {
    pub fn body(&self) -> &[u8] {
        &self.bytes[self.head.len()..]
    }
}

/// Reads one HTTP/1.1 message whose length its head announces.
pub async fn message(stream: &mut TcpStream) -> Option<HttpMessage> {
    let mut bytes = Vec::new();
    let mut chunk = vec![0; 16 * 1024];
    loop {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n");
        if let Some(end) = end {
            let head = String::from_utf8(bytes[..end + 4].to_vec()).unwrap();
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
            });
            if bytes.len() >= head.len() + length.unwrap_or(0) {
                return Some(HttpMessage { bytes, head });
            }
        }
        match stream.read(&mut chunk).await.ok()? {
            0 => return None,
            read => bytes.extend_from_slice(&chunk[..read]),
        }
    }
}

async fn answer(client: &mut TcpStream, status: u16, body: &str) -> Option<()> {
    let head = format!(
        "HTTP/1.1 {status} By the test\r\ncontent-type: application/x-amz-json-1.0\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    client.write_all(head.as_bytes()).await.ok()?;
    client.write_all(body.as_bytes()).await.ok()
}
