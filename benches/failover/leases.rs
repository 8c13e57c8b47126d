//! What an idle cluster asks of DynamoDB: counted on the wire by operation and table, and from that computed for larger ones.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, ensure};
use aws_sdk_dynamodb::types::AttributeValue;
use persistence::Endpoint;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

use crate::cluster::{Cluster, Store};
use crate::report::progress;

const NODES: usize = 3;
/// How long is counted.
const COUNTED: Duration = Duration::from_secs(20);
/// How long a cluster has rested before that.
const REST: Duration = Duration::from_secs(3);
/// Clusters that are computed: nodes and ranges.
const LARGER: [(usize, usize); 3] = [(3, 64), (30, 64), (300, 1024)];
/// Keys in one `BatchGetItem`, bytes of one page of a `Scan`, of a read unit and of a write unit (DynamoDB's guide).
const BATCH_KEYS: f64 = 100.0;
const PAGE: f64 = 1024.0 * 1024.0;
const READ_UNIT: f64 = 4096.0;
const WRITE_UNIT: f64 = 1024.0;

const HEARTBEATS: &str = "PutItem KokoroNodes";
const LISTS: &str = "Scan KokoroNodes";
const FENCES: &str = "BatchGetItem KokoroEngine";

/// Requests, and keys in them, by operation and table.
type Counts = BTreeMap<String, (u64, u64)>;

/// What was counted.
pub(crate) struct Leases {
    counts: Counts,
    /// Bytes of a heartbeat item without its list of ranges, and of a range in that list.
    item: f64,
    held: f64,
}

/// What a cluster asks for in a second.
struct Bill {
    nodes: usize,
    ranges: usize,
    requests: f64,
    read_units: f64,
    write_units: f64,
}

pub(crate) async fn measure() -> anyhow::Result<Leases> {
    let store = Store::start().await?;
    let counts: Arc<Mutex<Counts>> = Arc::default();
    let endpoint = count_before(store.endpoint(), &counts).await?;
    let cluster = Cluster::start(store, endpoint, NODES, Vec::new(), &[]).await?;
    progress(&format!("leases: {} s", COUNTED.as_secs()));
    sleep(REST).await;
    counts.lock().unwrap_or_else(PoisonError::into_inner).clear();
    sleep(COUNTED).await;
    let counts = counts.lock().unwrap_or_else(PoisonError::into_inner).clone();
    for expected in [HEARTBEATS, LISTS, FENCES] {
        ensure!(counts.contains_key(expected), "no {expected} came by");
    }
    let (item, held) = sizes(&cluster).await?;
    Ok(Leases { counts, item, held })
}

/// The mean size of a heartbeat item without its list of ranges, and of a range in that list: names and values, a number
/// as half a byte a digit and one more.
async fn sizes(cluster: &Cluster) -> anyhow::Result<(f64, f64)> {
    let dynamo = &cluster.store.dynamo;
    let items =
        dynamo.client().scan().table_name(&dynamo.tables().nodes).send().await?.items.unwrap_or_default();
    let (mut all, mut lists, mut held) = (0, 0, 0);
    for (name, value) in items.iter().flatten() {
        all += name.len()
            + match value {
                AttributeValue::S(text) => text.len(),
                AttributeValue::N(digits) => digits.len().div_ceil(2) + 1,
                _ => 1,
            };
        if let (AttributeValue::S(text), true) = (value, name == "owns") {
            (lists, held) = (lists + text.len(), held + text.split_ascii_whitespace().count());
        }
    }
    ensure!(items.len() == NODES && held > 0, "the heartbeats of {} nodes own {held} ranges", items.len());
    Ok(((all - lists) as f64 / items.len() as f64, lists as f64 / held as f64))
}

/// Listens for nodes, counts their requests, and passes them on to the store.
async fn count_before(store: Endpoint, counts: &Arc<Mutex<Counts>>) -> anyhow::Result<Endpoint> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = format!("http://{}", listener.local_addr()?);
    let behind =
        store.address().context("the store has no address")?.trim_start_matches("http://").to_owned();
    let endpoint = store.moved_to(address);
    let (store, counts) = (behind, Arc::clone(counts));
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (store, counts) = (store.clone(), Arc::clone(&counts));
            tokio::spawn(async move { pass_on(client, &store, &counts).await });
        }
    });
    Ok(endpoint)
}

/// Serves one connection until either side ends it.
async fn pass_on(mut client: TcpStream, store: &str, counts: &Mutex<Counts>) -> Option<()> {
    let mut upstream = TcpStream::connect(store).await.ok()?;
    loop {
        let request = message(&mut client).await?;
        upstream.write_all(&request.bytes).await.ok()?;
        let answer = message(&mut upstream).await?;
        client.write_all(&answer.bytes).await.ok()?;
        let (name, keys) = request.named();
        let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(name).or_default();
        *count = (count.0 + 1, count.1 + keys);
    }
}

/// A request or answer as it came, head and body.
struct Message {
    bytes: Vec<u8>,
    head: String,
}

impl Message {
    /// Operation and table, and how many keys are asked for.
    fn named(&self) -> (String, u64) {
        let operation = header(&self.head, "x-amz-target").unwrap_or("unknown");
        let operation = operation.rsplit('.').next().unwrap_or(operation);
        let body: Value = serde_json::from_slice(&self.bytes[self.head.len()..]).unwrap_or_default();
        if let Some((table, wanted)) =
            body["RequestItems"].as_object().and_then(|tables| tables.iter().next())
        {
            let keys = wanted["Keys"].as_array().map_or(0, Vec::len);
            return (format!("{operation} {table}"), keys as u64);
        }
        let first = &body["TransactItems"][0];
        let action = first.as_object().and_then(|action| action.values().next()).unwrap_or(&body);
        (format!("{operation} {}", action["TableName"].as_str().unwrap_or("-")), 1)
    }
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = head.lines().filter_map(|line| line.split_once(':'));
    lines.find_map(|(this, value)| this.eq_ignore_ascii_case(name).then(|| value.trim()))
}

/// Reads one HTTP/1.1 message whose length its head announces.
async fn message(stream: &mut TcpStream) -> Option<Message> {
    let (mut bytes, mut chunk) = (Vec::new(), vec![0; 16 * 1024]);
    loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8(bytes[..end + 4].to_vec()).ok()?;
            let length: usize = header(&head, "content-length").map_or(Some(0), |text| text.parse().ok())?;
            if bytes.len() >= head.len() + length {
                return Some(Message { bytes, head });
            }
        }
        match stream.read(&mut chunk).await.ok()? {
            0 => return None,
            read => bytes.extend_from_slice(&chunk[..read]),
        }
    }
}

impl Leases {
    /// Of one node in a second.
    fn rate(&self, name: &str) -> f64 {
        let requests = self.counts.get(name).map_or(0, |count| count.0);
        requests as f64 / COUNTED.as_secs_f64() / NODES as f64
    }

    fn bill(&self, nodes: usize, ranges: usize) -> Bill {
        let (of_nodes, of_ranges) = (nodes as f64, ranges as f64);
        let (beats, lists, fences) = (self.rate(HEARTBEATS), self.rate(LISTS), self.rate(FENCES));
        let owned = of_ranges / of_nodes;
        let item = self.item + self.held * owned;
        let all = of_nodes * item;
        let requests = beats + lists * (all / PAGE).ceil() + fences * (owned / BATCH_KEYS).ceil();
        Bill {
            nodes,
            ranges,
            requests: of_nodes * requests,
            read_units: of_nodes * (lists * (all / READ_UNIT).ceil() + fences * owned),
            write_units: of_nodes * beats * (item / WRITE_UNIT).ceil(),
        }
    }

    pub(crate) fn print(&self) {
        println!(
            "\n## What an idle cluster of {NODES} nodes asks of DynamoDB, counted for {} s",
            COUNTED.as_secs()
        );
        println!("| operation and table | requests/s | a node | keys/s |\n|---|---|---|---|");
        for (name, (requests, keys)) in &self.counts {
            let (rate, of_keys) = (self.rate(name), *keys as f64 / COUNTED.as_secs_f64());
            println!(
                "| {name} | {:.2} | {rate:.2} | {of_keys:.1} |",
                *requests as f64 / COUNTED.as_secs_f64()
            );
        }
        println!(
            "\nComputed, with h, s, f = heartbeats, lists and fence reads of a node in a second, N nodes, R ranges, and a \
             heartbeat item of b = {:.0} + {:.1} R/N bytes:",
            self.item, self.held
        );
        println!("requests = N (h + s ceil(N b / 1 MiB) + f ceil(R/N / 100))");
        println!("read units = N (s ceil(N b / 4 KiB) + f R/N), write units = N h ceil(b / 1 KiB)");
        println!("| nodes | ranges | requests/s | read units/s | write units/s |\n|---|---|---|---|---|");
        for (nodes, ranges) in LARGER {
            let Bill { requests, read_units, write_units, .. } = self.bill(nodes, ranges);
            println!("| {nodes} | {ranges} | {requests:.1} | {read_units:.0} | {write_units:.0} |");
        }
    }

    pub(crate) fn json(&self) -> Value {
        let counted = self.counts.iter().map(|(name, (requests, keys))| {
            json!({"name": name, "requests": requests, "keys": keys, "seconds": COUNTED.as_secs()})
        });
        let computed = LARGER.map(|(nodes, ranges)| {
            let Bill { nodes, ranges, requests, read_units, write_units } = self.bill(nodes, ranges);
            json!({
                "nodes": nodes, "ranges": ranges, "requests_per_second": requests,
                "read_units_per_second": read_units, "write_units_per_second": write_units,
            })
        });
        json!({"counted": counted.collect::<Vec<_>>(), "computed": computed})
    }
}
