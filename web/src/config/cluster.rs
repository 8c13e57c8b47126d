//! Other nodes: how they reach this one, how they know it, and how soon a dead one is noticed.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use actix_web::http::uri::Authority;
use engine::Timing;
use engine::limits::{HEARTBEAT, LANES, LEASE, RANGES_MAX};
use engine::shard::Ring;

use super::environment::Environment;
use super::milliseconds;
use super::secret::{Secret, SigningSecrets};
use super::server::address;

/// What this node has in common with others, if there are any.
#[derive(Debug, Clone, Default)]
pub struct ClusterConfig {
    /// Into how many ranges the doctors are cut.
    pub ring: Ring,
    /// This node, where others take part; `None`: this process is alone.
    pub node: Option<NodeConfig>,
}

/// One of several nodes.
#[derive(Debug, Clone)]
pub struct NodeConfig {
    /// Where the others reach it.
    pub address: NodeAddress,
    /// Where it listens for them.
    pub listen: SocketAddr,
    /// What nodes know each other by.
    pub secret: SigningSecrets,
    /// How soon a dead node is noticed.
    pub timing: Timing,
}

/// A host, by name or number, and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeAddress {
    host: String,
    port: u16,
}

/// What belongs to a cluster and means nothing without an address in it.
const OF_A_NODE: [&str; 4] =
    ["KOKORO_NODE_LISTEN", "KOKORO_CLUSTER_SECRET", "KOKORO_HEARTBEAT_MS", "KOKORO_LEASE_MS"];

impl ClusterConfig {
    /// Reads `KOKORO_RANGES` (default 64), and what [`NodeConfig`] needs.
    pub(super) fn from_env(env: &mut Environment) -> Self {
        let ring = env.parsed("KOKORO_RANGES", |text| {
            let ring = text.parse().ok().and_then(Ring::new);
            ring.ok_or_else(|| format!("a power of two from {LANES} to {RANGES_MAX}"))
        });
        Self { ring: ring.unwrap_or_default(), node: NodeConfig::from_env(env) }
    }
}

impl NodeConfig {
    /// Reads `KOKORO_NODE_ADDRESS`, `KOKORO_NODE_LISTEN`, `KOKORO_CLUSTER_SECRET`, `KOKORO_HEARTBEAT_MS` and
    /// `KOKORO_LEASE_MS`.
    fn from_env(env: &mut Environment) -> Option<Self> {
        if env.text("KOKORO_NODE_ADDRESS").is_none() {
            // A process that is alone takes every doctor from the nodes of a cluster on its tables.
            for name in OF_A_NODE {
                if env.text(name).is_some() {
                    env.problem(format!("{name} is set, but KOKORO_NODE_ADDRESS is not"));
                }
            }
            return None;
        }
        let address_of_node = env.parsed("KOKORO_NODE_ADDRESS", NodeAddress::parse);
        let listen = env.parsed("KOKORO_NODE_LISTEN", address);
        let secret = secret_from_env(env);
        let timing = timing_from_env(env);
        let address = address_of_node?;
        let listen = listen.unwrap_or_else(|| address.listen());
        Some(Self { address, listen, secret: secret?, timing: timing? })
    }
}

fn secret_from_env(env: &mut Environment) -> Option<SigningSecrets> {
    let name = "KOKORO_CLUSTER_SECRET";
    if env.text(name).is_none() {
        env.problem(format!(
            "{name} is not set: with KOKORO_NODE_ADDRESS it must be, to {} bytes or more, the same on every node",
            Secret::BYTES_MIN
        ));
    }
    SigningSecrets::from_env(env, name)
}

fn timing_from_env(env: &mut Environment) -> Option<Timing> {
    let heartbeat = env.parsed("KOKORO_HEARTBEAT_MS", milliseconds).unwrap_or(HEARTBEAT);
    let lease = env.parsed("KOKORO_LEASE_MS", milliseconds).unwrap_or(LEASE);
    let timing = Timing::new(heartbeat, lease);
    if timing.is_none() {
        env.problem(
            "KOKORO_LEASE_MS must be at least twice KOKORO_HEARTBEAT_MS, and that at least 50".to_owned(),
        );
    }
    timing
}

impl NodeAddress {
    /// Reads `host:port`.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let expected = "a host and a port at which other nodes reach this one, such as 10.0.0.1:7000";
        let authority: Authority = text.parse().map_err(|_| expected)?;
        let (host, port) = (authority.host().to_owned(), authority.port_u16());
        let address =
            port.filter(|_| !host.is_empty() && !text.contains('@')).map(|port| Self { host, port });
        // Nobody is reached under an address that stands for all of them.
        address.filter(|address| !address.ip().is_some_and(|ip| ip.is_unspecified())).ok_or(expected)
    }

    /// Where to listen, unless it is said: at the address itself, or wherever this host is reached.
    fn listen(&self) -> SocketAddr {
        SocketAddr::new(self.ip().unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)), self.port)
    }

    fn ip(&self) -> Option<IpAddr> {
        self.host.trim_matches(['[', ']']).parse().ok()
    }

    /// The same, with the port that is listened on where it says 0.
    #[must_use]
    pub fn bound(self, listening: SocketAddr) -> Self {
        let port = if self.port == 0 { listening.port() } else { self.port };
        Self { port, ..self }
    }
}

impl fmt::Display for NodeAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const SECRET: (&str, &str) = ("KOKORO_CLUSTER_SECRET", "0123456789abcdef0123456789abcdef");

    fn read(pairs: &[(&str, &str)]) -> Result<ClusterConfig, String> {
        let mut env = Environment::of(pairs);
        let config = ClusterConfig::from_env(&mut env);
        env.finish(config).map_err(|error| error.to_string())
    }

    fn at(address: &str) -> Result<NodeConfig, String> {
        read(&[SECRET, ("KOKORO_NODE_ADDRESS", address)]).map(|config| config.node.unwrap())
    }

    #[test]
    fn a_node_listens_where_it_is_reached() {
        for (address, listen) in [
            ("10.0.0.1:7000", "10.0.0.1:7000"),
            ("[::1]:7000", "[::1]:7000"),
            ("node-1.kokoro:7000", "0.0.0.0:7000"),
        ] {
            let node = at(address).unwrap();
            assert_eq!(
                (node.address.to_string(), node.listen.to_string()),
                (address.to_owned(), listen.to_owned())
            );
        }
        let listen = ("KOKORO_NODE_LISTEN", "127.0.0.1:7001");
        let node = read(&[SECRET, ("KOKORO_NODE_ADDRESS", "10.0.0.1:7000"), listen]).unwrap().node.unwrap();
        assert_eq!(node.listen.to_string(), "127.0.0.1:7001");
        assert_eq!(node.timing, Timing::default());
    }

    #[test]
    fn port_0_is_the_one_that_is_listened_on() {
        let bound = |text| NodeAddress::parse(text).unwrap().bound("127.0.0.1:4711".parse().unwrap());
        assert_eq!(bound("127.0.0.1:0").to_string(), "127.0.0.1:4711");
        assert_eq!(bound("127.0.0.1:7000").to_string(), "127.0.0.1:7000");
    }

    #[test]
    fn what_leads_to_no_node_is_refused() {
        for address in [
            "",
            "10.0.0.1",
            ":7000",
            "ada@10.0.0.1:7000",
            "0.0.0.0:7000",
            "[::]:7000",
            "a:70000",
            "http://a:1",
            "a b:1",
        ] {
            assert!(NodeAddress::parse(address).is_err(), "{address}");
        }
    }

    #[test]
    fn what_a_cluster_needs_is_said() {
        let address = ("KOKORO_NODE_ADDRESS", "10.0.0.1:7000");
        assert!(read(&[address]).unwrap_err().contains("KOKORO_CLUSTER_SECRET"));
        let short = read(&[address, ("KOKORO_CLUSTER_SECRET", "hunter2")]).unwrap_err();
        assert!(short.contains("32 bytes") && !short.contains("hunter2"), "{short}");
        for (heartbeat, lease) in [("49", "1000"), ("600", "1199"), ("2000", ""), ("x", ""), ("1", "60001")] {
            let pairs = [SECRET, address, ("KOKORO_HEARTBEAT_MS", heartbeat), ("KOKORO_LEASE_MS", lease)];
            assert!(read(&pairs).is_err(), "{heartbeat} {lease}");
        }
        let fast = [SECRET, address, ("KOKORO_HEARTBEAT_MS", "200"), ("KOKORO_LEASE_MS", "600")];
        let timing = Timing::new(Duration::from_millis(200), Duration::from_millis(600));
        assert_eq!(Some(read(&fast).unwrap().node.unwrap().timing), timing);
    }

    #[test]
    fn a_process_that_is_alone_is_no_part_of_a_cluster_by_halves() {
        assert!(read(&[]).unwrap().node.is_none());
        for name in OF_A_NODE {
            let error = read(&[(name, "0123456789abcdef0123456789abcdef")]).unwrap_err();
            assert!(error.contains(name) && error.contains("KOKORO_NODE_ADDRESS is not"), "{error}");
        }
    }

    #[test]
    fn doctors_are_cut_into_as_many_ranges_as_is_said() {
        assert_eq!(read(&[]).unwrap().ring, Ring::default());
        assert_eq!(read(&[("KOKORO_RANGES", "1024")]).unwrap().ring.size(), 1024);
        for ranges in ["2", "63", "8192", "-4", "x"] {
            assert!(read(&[("KOKORO_RANGES", ranges)]).unwrap_err().contains("power of two"), "{ranges}");
        }
    }
}
