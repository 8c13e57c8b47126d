//! Starts several nodes on one store, and says when they have come to rest.

use futures::future::join_all;
use persistence::{AccountKind, NewAccount};
use serde_json::{Value, json};

use crate::eventually::eventually;
use crate::harness::*;

/// Leases that last however busy the machine is. For nodes that none of the others is to bury.
pub const LASTING: [(&str, &str); 2] = [("KOKORO_HEARTBEAT_MS", "1000"), ("KOKORO_LEASE_MS", "20000")];
/// Into how many ranges doctors are cut, unless a test chooses otherwise.
const RANGES: usize = 64;

/// Nodes on one store, which the test hosts.
pub struct Cluster {
    pub store: Store,
    pub nodes: Vec<Node>,
}

impl Cluster {
    /// Starts so many nodes at once with these settings, and waits until they share the doctors.
    pub async fn start(nodes: usize, environment: &[(&str, &str)]) -> Self {
        let mut cluster = Self { store: Store::in_memory().await, nodes: Vec::new() };
        cluster.nodes = join_all((0..nodes).map(|_| cluster.node(environment))).await;
        cluster.settled().await;
        cluster
    }

    /// Starts one more, which is not yet among `nodes`.
    pub async fn node(&self, environment: &[(&str, &str)]) -> Node {
        Node::in_cluster(&Data::At(self.store.endpoint()), environment).await
    }

    /// Waits until each of `nodes` sees all of them and nobody else, with the doctors shared evenly.
    pub async fn settled(&self) {
        for node in &self.nodes {
            let is_settled = async || is_balanced(&node.cluster().await, self.nodes.len());
            eventually(DEADLINE, "the nodes share all ranges evenly", is_settled).await;
        }
    }

    /// Puts so many doctors into the store, who offer every half hour of every day.
    pub async fn doctors(&self, count: usize) -> Vec<String> {
        let accounts = self.store.dynamo().accounts();
        let created = (0..count).map(|n| {
            let (accounts, email) = (accounts.clone(), format!("doctor{n}@clinic.example"));
            async move {
                let account = NewAccount {
                    kind: AccountKind::Doctor,
                    email: email.clone(),
                    name: format!("Doctor {n}"),
                    password_hash: "none: nobody logs in".to_owned(),
                    phone_number: "12345".to_owned(),
                    location: None,
                };
                accounts.create(account).await.unwrap();
                for day in ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"] {
                    let slots = json!([{"start": "00:00", "end": "24:00"}]);
                    let body = json!({"doctor_id": email, "day": day, "slots": slots});
                    let node = &self.nodes[n % self.nodes.len()];
                    let token = doctor_token(&email);
                    // A short lease may lapse on a machine that has much else to do.
                    let is_set = async || {
                        let (status, answer) =
                            node.post("/doctorsService/setSlots", Some(&token), &body).await;
                        assert!([200, 503].contains(&status), "{status} {answer}");
                        status == 200
                    };
                    eventually(DEADLINE, "a schedule is set", is_set).await;
                }
                email
            }
        });
        join_all(created).await
    }
}

impl Node {
    /// What makes a process one of several; its ports are free ones.
    pub const OF_A_CLUSTER: [(&str, &str); 3] = [
        ("KOKORO_NODE_ADDRESS", "127.0.0.1:0"),
        ("KOKORO_CLUSTER_SECRET", "a secret of the cluster that is longer than 32 bytes"),
        ("KOKORO_ADMIN_LISTEN", "127.0.0.1:0"),
    ];

    /// Starts one of several nodes.
    pub async fn in_cluster(data: &Data<'_>, environment: &[(&str, &str)]) -> Self {
        let data = match data {
            Data::Folder(folder) => Err(folder.to_path_buf()),
            Data::At(endpoint) => Ok(endpoint.clone()),
        };
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let settings: Vec<(String, String)> = Self::OF_A_CLUSTER.iter().chain(environment).map(own).collect();
        let started = tokio::task::spawn_blocking(move || {
            let data = match &data {
                Err(folder) => Data::Folder(folder),
                Ok(endpoint) => Data::At(endpoint.clone()),
            };
            let settings: Vec<(&str, &str)> =
                settings.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
            Self::start_with(&data, &settings)
        });
        started.await.unwrap()
    }

    /// The cluster as it sees it.
    pub async fn cluster(&self) -> Value {
        let (status, view) = self.get_admin("/cluster").await;
        assert_eq!(status, 200, "{view}");
        view
    }

    /// Its identity, another one after it has lost its lease.
    pub async fn me(&self) -> String {
        self.cluster().await["me"].as_str().unwrap().to_owned()
    }

    /// Has it hand its doctors over; gives the status.
    pub async fn drain(&self) -> u16 {
        self.post_admin("/cluster/drain", &[("Content-Type", "application/json")]).await
    }
}

/// Whether so many nodes are seen, which own every range once, and as many as the others, give or take one.
pub fn is_balanced(view: &Value, nodes: usize) -> bool {
    let listed = view["nodes"].as_array().map_or(&[][..], Vec::as_slice);
    let counts: Vec<usize> = listed.iter().map(|node| node["ranges"].as_array().unwrap().len()).collect();
    let ranges = listed.iter().flat_map(|node| node["ranges"].as_array().unwrap());
    let ranges: std::collections::BTreeSet<u64> =
        ranges.map(|held| held["range"].as_u64().unwrap()).collect();
    let spread = counts.iter().max().zip(counts.iter().min()).is_some_and(|(most, least)| most - least <= 1);
    listed.len() == nodes && spread && ranges.len() == RANGES && counts.iter().sum::<usize>() == RANGES
}
