//! Where and how the server listens, and every bound that keeps one client from taking it for itself.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

use engine::limits::{ASK_DEADLINE, LEAVE_WITHIN};
use ipnet::IpNet;
use reqwest::Url;

use super::assistant::CHAT_TIMEOUT;
use super::environment::Environment;
use super::tls::TlsConfig;
use super::{milliseconds, yes_or_no};

/// How long an answer may take. It must leave a handler the time to ask the engine twice, which knows the outcome best.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(40);
const _: () = assert!(ANSWER_TIMEOUT.as_millis() > 2 * ASK_DEADLINE.as_millis());

/// A load balancer keeps a connection for as long as the longest answer may be silent, and it must be the first to close
/// one: it sends no request into what it has closed itself.
const KEEP_ALIVE: Duration = Duration::from_secs(170);
const _: () = assert!(KEEP_ALIVE.as_secs() >= CHAT_TIMEOUT.as_secs() + 20);

/// Connections that are open at once where there are descriptors enough.
const CONNECTIONS_MAX: usize = 20_000;
/// Descriptors that connections leave to everything else: uploads alone may take 500.
const OTHER_DESCRIPTORS: usize = 1_024;

const STOP_TIMEOUT: Duration = Duration::from_secs(30);
// Something must be left of it for what is in flight.
const _: () = assert!(LEAVE_WITHIN.as_secs() * 4 <= STOP_TIMEOUT.as_secs());

/// The server's address and bounds.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where `/metrics` and `/cluster` are served instead of beside the API; port 0 takes a free one.
    pub admin_listen: Option<SocketAddr>,
    /// Host names, in lower case, under which that address may be called besides IP addresses and `localhost`.
    pub admin_hosts: Vec<String>,
    /// The certificate with which to speak TLS; `None`: plain HTTP.
    pub tls: Option<TlsConfig>,
    /// The folder of a built frontend to serve from the same origin.
    pub static_dir: Option<PathBuf>,
    /// Threads that serve requests.
    pub workers: usize,
    /// Whether other processes of this user may listen on [`Self::listen`] as well: the kernel spreads connections.
    pub share_port: bool,
    /// Connections that wait to be accepted.
    pub backlog: u32,
    /// Open connections in all.
    pub connections_max: usize,
    /// Open connections of one network, unless it is a trusted proxy's.
    pub connections_of_network: usize,
    /// How long an idle connection stays open.
    pub keep_alive: Duration,
    /// How long a client may take to send a request's head.
    pub head_timeout: Duration,
    /// How long a client may take to send a request's body.
    pub body_timeout: Duration,
    /// How long an answer may take once the body has had its time.
    pub answer_timeout: Duration,
    /// The longest body, in bytes.
    pub body_bytes_max: usize,
    /// The longest head, in bytes: request line and headers together.
    pub head_bytes_max: usize,
    /// How long a stopping server that has handed its doctors over goes on answering, so that whoever asks `/readyz` sends
    /// requests elsewhere before connections are closed.
    pub stop_notice: Duration,
    /// How long requests already on their way are then refused, instead of finding their connections closed.
    pub refuse_for: Duration,
    /// How long a stop waits for what is in flight.
    pub stop_timeout: Duration,
    /// How long a deposed process goes on saying so before it stops.
    pub deposed_notice: Duration,
    /// Peers whose `X-Forwarded-For`, `X-Forwarded-Proto` and `X-Forwarded-Host` count.
    pub trusted_proxies: Vec<IpNet>,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            admin_listen: None,
            admin_hosts: Vec::new(),
            tls: None,
            static_dir: None,
            workers: std::thread::available_parallelism().map_or(2, usize::from),
            share_port: false,
            backlog: 1024,
            connections_max: connections_max(),
            connections_of_network: connections_max() / 4,
            keep_alive: KEEP_ALIVE,
            head_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(20),
            answer_timeout: ANSWER_TIMEOUT,
            body_bytes_max: 64 * 1024,
            head_bytes_max: 16 * 1024,
            stop_notice: Duration::ZERO,
            refuse_for: Duration::from_millis(200),
            stop_timeout: STOP_TIMEOUT,
            deposed_notice: Duration::from_secs(2),
            trusted_proxies: Vec::new(),
        }
    }
}

impl ServerConfig {
    /// Reads `KOKORO_LISTEN` (default `127.0.0.1:8080`) and `KOKORO_SHARE_PORT`, and `KOKORO_ADMIN_LISTEN`,
    /// `KOKORO_ADMIN_HOSTS`, `KOKORO_TLS_CERT` and `KOKORO_TLS_KEY`, `KOKORO_STOP_NOTICE_MS`, `KOKORO_STATIC_DIR` and `TRUSTED_PROXIES` (default none).
    pub(super) fn from_env(env: &mut Environment) -> Self {
        let defaults = Self::default();
        Self {
            listen: env.parsed("KOKORO_LISTEN", address).unwrap_or(defaults.listen),
            share_port: env.parsed("KOKORO_SHARE_PORT", yes_or_no).unwrap_or(false),
            admin_listen: env.parsed("KOKORO_ADMIN_LISTEN", address),
            admin_hosts: env.list("KOKORO_ADMIN_HOSTS", host_name),
            tls: TlsConfig::from_env(env),
            stop_notice: env.parsed("KOKORO_STOP_NOTICE_MS", milliseconds).unwrap_or(defaults.stop_notice),
            static_dir: env.text("KOKORO_STATIC_DIR").map(PathBuf::from),
            trusted_proxies: env.list("TRUSTED_PROXIES", network),
            ..defaults
        }
    }
}

/// As many as descriptors allow, of which a connection takes two, and at most 20,000. The rest is for files, the stores, other
/// nodes and the admin address.
fn connections_max() -> usize {
    let descriptors = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let descriptors = descriptors.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
    (descriptors.saturating_sub(OTHER_DESCRIPTORS.min(descriptors / 2)) / 2).clamp(16, CONNECTIONS_MAX)
}

pub(super) fn address(text: &str) -> Result<SocketAddr, &'static str> {
    let resolved = text.to_socket_addrs().ok().and_then(|mut addresses| addresses.next());
    resolved.ok_or("an address and a port such as 127.0.0.1:8080")
}

/// Reads a host name and writes it as clients send it: in lower case, international names as punycode.
fn host_name(text: &str) -> Result<String, &'static str> {
    let expected = "a host name such as kokoro.internal, without a scheme, a port or a wildcard";
    let is_of_name = |c: char| !c.is_ascii() || c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    if !text.chars().all(is_of_name) {
        return Err(expected);
    }
    let url = Url::parse(&format!("http://{text}")).map_err(|_| expected)?;
    url.host_str().map(str::to_owned).ok_or(expected)
}

fn network(text: &str) -> Result<IpNet, &'static str> {
    let single = || text.parse::<IpAddr>().map(IpNet::from);
    text.parse::<IpNet>().or_else(|_| single()).map_err(|_| "a network such as 10.0.0.0/8")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_name_has_no_scheme_port_or_wildcard() {
        for (text, sent) in [
            ("kokoro.internal", "kokoro.internal"),
            ("Node_1", "node_1"),
            ("bücher.example", "xn--bcher-kva.example"),
        ] {
            assert_eq!(host_name(text).as_deref(), Ok(sent));
        }
        for text in ["http://a", "a:9100", "a/", "*.a", "u@a", "a b", "a%62", "[::1]"] {
            assert!(host_name(text).is_err(), "{text}");
        }
    }
}
