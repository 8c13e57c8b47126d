//! Where and how the server listens, and every bound that keeps one client from taking it for itself.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::ArgAction;
use clap::builder::BoolishValueParser;
use engine::limits::{ASK_DEADLINE, LEAVE_WITHIN};
use ipnet::IpNet;
use reqwest::Url;

use super::assistant::CHAT_TIMEOUT;
use super::parsers::{Expected, address, milliseconds};
use super::tls::TlsConfig;

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
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Server")]
pub struct ServerConfig {
    /// Address and port to listen on; port 0 takes a free one, which the first line of output names.
    #[arg(long, env = "KOKORO_LISTEN", value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8080", value_parser = address)]
    pub listen: SocketAddr,
    /// Address and port on which /metrics and /cluster are served instead of beside the API, without TLS; /healthz and
    /// /readyz are on both. Port 0 takes a free one.
    #[arg(long, env = "KOKORO_ADMIN_LISTEN", value_name = "ADDRESS:PORT", value_parser = address)]
    pub admin_listen: Option<SocketAddr>,
    /// Comma-separated host names under which KOKORO_ADMIN_LISTEN may be called besides IP addresses and localhost, such as
    /// the name that Prometheus scrapes; a request with another Host is refused.
    #[arg(long, env = "KOKORO_ADMIN_HOSTS", value_name = "HOST", value_delimiter = ',', value_parser = host_name)]
    pub admin_hosts: Vec<String>,
    /// The certificate with which to speak TLS; `None`: plain HTTP.
    #[arg(skip)]
    pub tls: Option<TlsConfig>,
    /// Folder of a built single-page frontend, served at / from the same origin; paths that nothing answers get its
    /// index.html.
    #[arg(long, env = "KOKORO_STATIC_DIR", value_name = "FOLDER")]
    pub static_dir: Option<PathBuf>,
    /// Threads that serve requests.
    #[arg(skip = std::thread::available_parallelism().map_or(2, usize::from))]
    pub workers: usize,
    /// Let other processes of this user listen on KOKORO_LISTEN as well; the kernel spreads the connections over them. For
    /// several nodes on one machine.
    #[arg(long, env = "KOKORO_SHARE_PORT", value_name = "BOOLEAN", action = ArgAction::Set, default_value = "false",
        num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = BoolishValueParser::new())]
    pub share_port: bool,
    /// Connections that wait to be accepted.
    #[arg(skip = 1024_u32)]
    pub backlog: u32,
    /// Open connections in all.
    #[arg(skip = connections_max())]
    pub connections_max: usize,
    /// Open connections of one network, unless it is a trusted proxy's.
    #[arg(skip = connections_max() / 4)]
    pub connections_of_network: usize,
    /// How long an idle connection stays open.
    #[arg(skip = KEEP_ALIVE)]
    pub keep_alive: Duration,
    /// How long a client may take to send a request's head.
    #[arg(skip = Duration::from_secs(10))]
    pub head_timeout: Duration,
    /// How long a client may take to send a request's body.
    #[arg(skip = Duration::from_secs(20))]
    pub body_timeout: Duration,
    /// How long an answer may take once the body has had its time.
    #[arg(skip = ANSWER_TIMEOUT)]
    pub answer_timeout: Duration,
    /// The longest body, in bytes.
    #[arg(skip = 64 * 1024_usize)]
    pub body_bytes_max: usize,
    /// The longest head, in bytes: request line and headers together.
    #[arg(skip = 16 * 1024_usize)]
    pub head_bytes_max: usize,
    /// How long a stopping node goes on answering once /readyz says so and the other nodes have its doctors, in
    /// milliseconds: longer than a load balancer takes to notice.
    #[arg(id = "stop-notice-ms", long, env = "KOKORO_STOP_NOTICE_MS", value_name = "MILLISECONDS", default_value = "0",
        value_parser = milliseconds())]
    pub stop_notice: Duration,
    /// How long requests already on their way are then refused, instead of finding their connections closed.
    #[arg(skip = Duration::from_millis(200))]
    pub refuse_for: Duration,
    /// How long a stop waits for what is in flight.
    #[arg(skip = STOP_TIMEOUT)]
    pub stop_timeout: Duration,
    /// How long a deposed process goes on saying so before it stops.
    #[arg(skip = Duration::from_secs(2))]
    pub deposed_notice: Duration,
    /// Comma-separated networks whose X-Forwarded-For, X-Forwarded-Proto and X-Forwarded-Host count.
    #[arg(long, env = "TRUSTED_PROXIES", value_name = "NETWORK", value_delimiter = ',', value_parser = network)]
    pub trusted_proxies: Vec<IpNet>,
}

impl Default for ServerConfig {
    fn default() -> Self {
        super::defaults()
    }
}

/// As many as descriptors allow, of which a connection takes two, and at most 20,000. The rest is for files, the stores, other
/// nodes and the admin address.
fn connections_max() -> usize {
    let descriptors = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let descriptors = descriptors.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
    (descriptors.saturating_sub(OTHER_DESCRIPTORS.min(descriptors / 2)) / 2).clamp(16, CONNECTIONS_MAX)
}

/// Reads a host name and writes it as clients send it: in lower case, international names as punycode.
fn host_name(text: &str) -> Result<String, Expected> {
    let expected = Expected("a host name such as kokoro.internal, without a scheme, a port or a wildcard");
    let is_of_name = |c: char| !c.is_ascii() || c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    if !text.chars().all(is_of_name) {
        return Err(expected);
    }
    let url = Url::parse(&format!("http://{text}")).map_err(|_| expected)?;
    url.host_str().map(str::to_owned).ok_or(expected)
}

fn network(text: &str) -> Result<IpNet, Expected> {
    let single = || text.parse::<IpAddr>().map(IpNet::from);
    text.parse::<IpNet>().or_else(|_| single()).map_err(|_| Expected("a network such as 10.0.0.0/8"))
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
