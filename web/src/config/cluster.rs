//! Other nodes: how they reach this one, how they know it, and how soon a dead one is noticed.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use actix_web::http::uri::Authority;
use engine::Timing;
use engine::limits::{LANES, RANGES_MAX};
use engine::shard::Ring;

use super::parsers::{Expected, address, milliseconds};
use super::secret::SigningSecrets;

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

/// How this node takes part in a cluster, if it does.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Cluster")]
pub(super) struct ClusterSettings {
    /// host:port at which other nodes reach this one: it then shares the doctors with them. Needs KOKORO_CLUSTER_SECRET, and
    /// tables that all of them use. Port 0 is the one that KOKORO_NODE_LISTEN gets. Without it this process is alone, and
    /// takes every doctor.
    #[arg(long, env = "KOKORO_NODE_ADDRESS", value_name = "HOST:PORT")]
    node_address: Option<NodeAddress>,
    /// Address and port on which other nodes are answered: signed, but not encrypted. Keep it from strangers. Without it this
    /// is KOKORO_NODE_ADDRESS if that is an IP address, else its port on 0.0.0.0.
    #[arg(long, env = "KOKORO_NODE_LISTEN", value_name = "ADDRESS:PORT", value_parser = address)]
    node_listen: Option<SocketAddr>,
    /// Secret that nodes know each other by: 32 bytes or more, the same on all. While it is being replaced, both with a comma
    /// between them: the first signs. The clocks of nodes may be 60 s apart.
    #[arg(long, env = "KOKORO_CLUSTER_SECRET", value_parser = SigningSecrets::parse, hide = true, hide_env_values = true)]
    cluster_secret: Option<SigningSecrets>,
    /// Number of ranges that the doctors are divided into, each owned by one node: a power of two from 4 to 4096, the same on
    /// all nodes. Stored at the first start: another number is refused from then on.
    #[arg(long, env = "KOKORO_RANGES", value_name = "NUMBER", default_value = "64", value_parser = ring)]
    ranges: Ring,
    /// Interval of a node's heartbeats, in milliseconds: 50 or more.
    #[arg(long, env = "KOKORO_HEARTBEAT_MS", value_name = "MILLISECONDS", default_value = "1000", value_parser = milliseconds())]
    heartbeat_ms: Duration,
    /// How long a node must be silent before the others take its doctors, in milliseconds: twice KOKORO_HEARTBEAT_MS or more.
    #[arg(long, env = "KOKORO_LEASE_MS", value_name = "MILLISECONDS", default_value = "3000", value_parser = milliseconds())]
    lease_ms: Duration,
}

impl ClusterSettings {
    pub(super) fn resolve(self) -> ClusterConfig {
        ClusterConfig { ring: self.ranges, node: self.node() }
    }

    /// This node. `None` without an address; the other settings have been checked then.
    fn node(self) -> Option<NodeConfig> {
        let (timing, address) = (self.timing()?, self.node_address?);
        let listen = self.node_listen.unwrap_or_else(|| address.listen());
        Some(NodeConfig { address, listen, secret: self.cluster_secret?, timing })
    }

    /// `None` if a lease is too short for its heartbeats.
    pub(super) fn timing(&self) -> Option<Timing> {
        Timing::new(self.heartbeat_ms, self.lease_ms)
    }
}

const _: () = assert!(LANES == 4 && RANGES_MAX == 4096, "the texts say so");

fn ring(text: &str) -> Result<Ring, Expected> {
    let ring = text.parse().ok().and_then(Ring::new);
    ring.ok_or(Expected("a power of two from 4 to 4096"))
}

impl FromStr for NodeAddress {
    type Err = Expected;

    fn from_str(text: &str) -> Result<Self, Expected> {
        let expected =
            Expected("a host and a port at which other nodes reach this one, such as 10.0.0.1:7000");
        let authority: Authority = text.parse().map_err(|_| expected)?;
        let (host, port) = (authority.host().to_owned(), authority.port_u16());
        let address =
            port.filter(|_| !host.is_empty() && !text.contains('@')).map(|port| Self { host, port });
        // An unspecified address leads to no node.
        address.filter(|address| !address.ip().is_some_and(|ip| ip.is_unspecified())).ok_or(expected)
    }
}

impl NodeAddress {
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
    use super::super::{Config, Environment};
    use super::*;

    const SECRET: (&str, &str) = ("KOKORO_CLUSTER_SECRET", "0123456789abcdef0123456789abcdef");

    fn read(pairs: &[(&str, &str)]) -> Result<ClusterConfig, String> {
        let config = Config::from_env(&Environment::of(pairs));
        config.map(|config| config.cluster).map_err(|error| error.to_string())
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
        let bound =
            |text: &str| text.parse::<NodeAddress>().unwrap().bound("127.0.0.1:4711".parse().unwrap());
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
            assert!(address.parse::<NodeAddress>().is_err(), "{address}");
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
        let others =
            ["KOKORO_NODE_LISTEN", "KOKORO_CLUSTER_SECRET", "KOKORO_HEARTBEAT_MS", "KOKORO_LEASE_MS"];
        for name in others {
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
