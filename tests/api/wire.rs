//! A wire between the application and its tables that counts requests, and can be cut.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use persistence::{EmbeddedDynamo, Endpoint, Where};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// The head of a request that reads a whole table.
const SCAN: &[u8] = b"DynamoDB_20120810.Scan";

/// A store behind a wire. Clones share it.
#[derive(Clone)]
pub struct Wire {
    pub endpoint: Endpoint,
    store: Arc<EmbeddedDynamo>,
    scans: Arc<AtomicUsize>,
    is_cut: Arc<AtomicBool>,
}

impl Wire {
    /// A store of its own, in memory.
    pub async fn to_fresh_store() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let store = EmbeddedDynamo::start(Where::Memory).unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let wire = Self {
            endpoint: store.endpoint().moved_to(address),
            store: Arc::new(store),
            scans: Arc::default(),
            is_cut: Arc::default(),
        };
        let accepting = wire.clone();
        actix_web::rt::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                actix_web::rt::spawn(accepting.clone().carry(client));
            }
        });
        wire
    }

    /// How many scans have passed.
    pub fn scans(&self) -> usize {
        self.scans.load(Ordering::SeqCst)
    }

    /// Breaks what is connected as soon as it is used, and all that connects, until it is mended.
    pub fn cut(&self, is_cut: bool) {
        self.is_cut.store(is_cut, Ordering::SeqCst);
    }

    async fn carry(self, client: TcpStream) {
        let store = self.store.address();
        let server = TcpStream::connect(store.trim_start_matches("http://")).await.unwrap();
        let (mut from_client, mut to_client) = client.into_split();
        let (mut from_server, mut to_server) = server.into_split();
        let answers = actix_web::rt::spawn(async move {
            let _ = tokio::io::copy(&mut from_server, &mut to_client).await;
        });
        let mut chunk = vec![0; 64 * 1024];
        while let Ok(length @ 1..) = from_client.read(&mut chunk).await {
            if self.is_cut.load(Ordering::SeqCst) {
                break;
            }
            let scans = chunk[..length].windows(SCAN.len()).filter(|window| *window == SCAN).count();
            self.scans.fetch_add(scans, Ordering::SeqCst);
            if to_server.write_all(&chunk[..length]).await.is_err() {
                break;
            }
        }
        answers.abort();
    }
}
