//! Several real nodes on one store: started, looked at, and asked to go.

use std::collections::BTreeMap;
use std::io::BufRead;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use engine::DoctorId;
use engine::limits::RANGES;
use engine::shard::Ring;
use futures::future::try_join_all;
use futures::{StreamExt, TryStreamExt, stream};
use persistence::{AccountKind, DataFolder, Dynamo, EmbeddedDynamo, Endpoint, NewAccount, TableNames, Where};
use reqwest::Client;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};

use crate::support::{Server, kokoro, token};

/// How often something is looked at until it has come to pass.
pub(crate) const LOOK: Duration = Duration::from_millis(20);
/// What has not come to pass by then never will.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// Calls at once while it is set up.
const AT_ONCE: usize = 64;
const WEEK: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

/// The store of all nodes, in this process; the data lies in the target folder: in memory nothing would be flushed.
pub(crate) struct Store {
    server: EmbeddedDynamo,
    pub(crate) dynamo: Dynamo,
    folder: TempDir,
}

/// One node: its calls are at `server.url`.
pub(crate) struct Node {
    pub(crate) server: Server,
    /// Where those who run it look.
    pub(crate) admin: String,
}

/// Nodes on a store.
pub(crate) struct Cluster {
    pub(crate) nodes: Vec<Node>,
    /// Each offers every half hour of every day.
    pub(crate) doctors: Arc<Vec<String>>,
    pub(crate) store: Store,
    /// Where nodes find the store.
    endpoint: Endpoint,
    settings: &'static [(&'static str, &'static str)],
    http: Client,
    started: usize,
}

/// The cluster as one node sees it.
pub(crate) struct View {
    pub(crate) me: String,
    /// The ranges of each node.
    nodes: BTreeMap<String, Vec<u64>>,
}

impl Store {
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
        let server = EmbeddedDynamo::start(Where::File(DataFolder::lock(folder.path().join("store"))?))?;
        let dynamo = Dynamo::connect(server.endpoint(), TableNames::default()).await?;
        dynamo.create_missing_tables().await?;
        Ok(Self { server, dynamo, folder })
    }

    pub(crate) fn endpoint(&self) -> Endpoint {
        self.server.endpoint()
    }

    async fn create_doctors(&self, doctors: &[String]) -> anyhow::Result<()> {
        let accounts = self.dynamo.accounts();
        let created = stream::iter(doctors).map(|email| {
            accounts.create(NewAccount {
                kind: AccountKind::Doctor,
                email: email.clone(),
                name: "Doctor".to_owned(),
                password_hash: "none: nobody logs in".to_owned(),
                phone_number: "12345".to_owned(),
                location: None,
            })
        });
        Ok(created.buffer_unordered(AT_ONCE).try_collect().await?)
    }
}

impl Node {
    async fn start(
        folder: &Path,
        number: usize,
        endpoint: &Endpoint,
        settings: &[(&str, &str)],
    ) -> anyhow::Result<Self> {
        // Files are embedded in each node, so that no two may share a folder.
        let mut command = kokoro(&folder.join(format!("node{number}")));
        let (address, keys) = endpoint.address().zip(endpoint.keys()).context("no address and key")?;
        command.env("DYNAMODB_ENDPOINT", address).env("RUST_LOG", "error");
        command.env("AWS_ACCESS_KEY_ID", &keys.id).env("AWS_SECRET_ACCESS_KEY", &keys.secret);
        command.env("KOKORO_NODE_ADDRESS", "127.0.0.1:0").env("KOKORO_ADMIN_LISTEN", "127.0.0.1:0");
        command.env("KOKORO_CLUSTER_SECRET", "a secret of the cluster that is longer than 32 bytes");
        command.envs(settings.iter().copied());
        let started = spawn_blocking(move || {
            let mut server = Server::start(&mut command)?;
            let mut second = String::new();
            server.output.read_line(&mut second)?;
            let at = second.find("http://").context("no address for those who run it")?;
            let admin = second[at..].trim().trim_end_matches("/metrics").to_owned();
            Ok(Self { server, admin })
        });
        started.await?
    }
}

impl Cluster {
    /// Starts so many nodes at once, and waits until they share the doctors.
    pub(crate) async fn start(
        store: Store,
        endpoint: Endpoint,
        nodes: usize,
        doctors: Vec<String>,
        settings: &'static [(&'static str, &'static str)],
    ) -> anyhow::Result<Self> {
        store.create_doctors(&doctors).await?;
        let path = store.folder.path().to_owned();
        let started = (0..nodes).map(|number| Node::start(&path, number, &endpoint, settings));
        let running = try_join_all(started).await?;
        // A connection for each call: one that a node closes for being idle must not spoil what is measured.
        let http = Client::builder().timeout(PATIENCE).pool_max_idle_per_host(0).build()?;
        let doctors = Arc::new(doctors);
        let cluster = Self { nodes: running, doctors, store, endpoint, settings, http, started: nodes };
        cluster.settled().await?;
        cluster.publish().await?;
        Ok(cluster)
    }

    /// Starts one more, which is not yet among `nodes`.
    pub(crate) async fn node(&mut self) -> anyhow::Result<Node> {
        self.started += 1;
        Node::start(self.store.folder.path(), self.started, &self.endpoint, self.settings).await
    }

    /// Lets every doctor offer all half hours of every day, which also brings all of them into memory.
    async fn publish(&self) -> anyhow::Result<()> {
        let days = self.doctors.iter().enumerate().flat_map(|(n, doctor)| WEEK.map(|day| (n, doctor, day)));
        let published = stream::iter(days).map(|(n, doctor, day)| async move {
            let url = format!("{}/doctorsService/setSlots", self.nodes[n % self.nodes.len()].server.url);
            let slots = json!([{"start": "00:00", "end": "24:00"}]);
            let body = json!({"doctor_id": doctor, "day": day, "slots": slots});
            let answer = self.http.post(url).bearer_auth(token(doctor, "doctor")).json(&body).send().await?;
            ensure!(answer.status().is_success(), "slots were refused: {}", answer.text().await?);
            Ok(())
        });
        published.buffer_unordered(AT_ONCE).try_collect().await
    }

    /// The cluster as this node sees it.
    pub(crate) async fn view(&self, node: &Node) -> anyhow::Result<View> {
        let seen: Value = self.http.get(format!("{}/cluster", node.admin)).send().await?.json().await?;
        let mut nodes = BTreeMap::new();
        for node in seen["nodes"].as_array().context("no nodes")? {
            let ranges = node["ranges"].as_array().context("no ranges")?;
            let ranges: Vec<u64> = ranges.iter().filter_map(|held| held["range"].as_u64()).collect();
            nodes.insert(node["id"].as_str().context("no id")?.to_owned(), ranges);
        }
        Ok(View { me: seen["me"].as_str().context("not a node")?.to_owned(), nodes })
    }

    /// Waits until each of `nodes` sees all of them and nobody else, with the doctors shared evenly.
    pub(crate) async fn settled(&self) -> anyhow::Result<()> {
        let begun = Instant::now();
        for node in &self.nodes {
            while !self.view(node).await?.is_balanced(self.nodes.len()) {
                ensure!(begun.elapsed() < PATIENCE, "the doctors do not come to be shared evenly");
                sleep(LOOK).await;
            }
        }
        Ok(())
    }

    /// The doctors of this node, as it sees it.
    pub(crate) async fn doctors_of(&self, node: &Node) -> anyhow::Result<Vec<String>> {
        let view = self.view(node).await?;
        let Some(ranges) = view.nodes.get(&view.me) else { bail!("a node does not see itself") };
        let its = |doctor: &&String| range_of(doctor).is_some_and(|range| ranges.contains(&range));
        Ok(self.doctors.iter().filter(its).cloned().collect())
    }

    /// A counter of a node.
    pub(crate) async fn counter(&self, node: &Node, name: &str) -> anyhow::Result<f64> {
        let text = self.http.get(format!("{}/metrics", node.admin)).send().await?.text().await?;
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
        Ok(value.unwrap_or_default())
    }
}

impl View {
    /// Whether so many nodes are seen, which own every range once, and as many as the others, give or take one.
    fn is_balanced(&self, nodes: usize) -> bool {
        let counts: Vec<usize> = self.nodes.values().map(Vec::len).collect();
        let mut ranges: Vec<u64> = self.nodes.values().flatten().copied().collect();
        ranges.sort_unstable();
        let spread =
            counts.iter().max().zip(counts.iter().min()).is_some_and(|(most, least)| most - least <= 1);
        self.nodes.len() == nodes && spread && ranges.into_iter().eq(0..u64::from(RANGES))
    }
}

pub(crate) fn client() -> anyhow::Result<Client> {
    Ok(Client::builder().timeout(Duration::from_secs(30)).build()?)
}

/// So many doctors.
pub(crate) fn doctors(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("doctor{number}@clinic.example")).collect()
}

/// A doctor of each range.
pub(crate) fn doctor_of_each_range() -> Vec<String> {
    let mut found = BTreeMap::new();
    for doctor in (0..).map(|number: u32| format!("doctor{number}@clinic.example")) {
        if let Some(range) = range_of(&doctor) {
            found.entry(range).or_insert(doctor);
        }
        if found.len() == usize::from(RANGES) {
            break;
        }
    }
    found.into_values().collect()
}

fn range_of(doctor: &str) -> Option<u64> {
    let doctor = DoctorId::parse(doctor).ok()?;
    u64::try_from(Ring::default().range_of(&doctor).index()).ok()
}
