//! Which machine a request comes from, as far as it can be known.

use std::net::IpAddr;

use actix_web::HttpRequest;
use actix_web::http::header::HeaderMap;
use ipnet::IpNet;

use crate::error::ApiError;
use crate::state::AppState;

/// The client's machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Peer {
    /// Its address: that of the connection, or what proxies that we trust say it is.
    pub(crate) address: IpAddr,
    /// Whether it speaks TLS, to us or to a proxy that we trust.
    pub(crate) over_tls: bool,
}

impl Peer {
    /// The peer of a request.
    pub(crate) fn of(request: &HttpRequest) -> Result<Self, ApiError> {
        let app = AppState::of(request)?;
        let connected = request.peer_addr().map_or(IpAddr::from([0, 0, 0, 0]), |address| address.ip());
        let peer = Self::behind(connected, request.headers(), &app.server.trusted_proxies);
        Ok(Self { over_tls: peer.over_tls || request.app_config().secure(), ..peer })
    }

    /// Every proxy appends the address that it was called from: the last one that is no proxy of ours is the client.
    fn behind(connected: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> Self {
        let is_trusted =
            |address: &IpAddr| trusted.iter().any(|network| network.contains(&address.to_canonical()));
        if !is_trusted(&connected) {
            return Self { address: connected, over_tls: false };
        }
        let mut address = connected;
        for entry in list(headers, "x-forwarded-for").iter().rev() {
            let Some(forwarded) = parse_address(entry) else { break };
            address = forwarded;
            if !is_trusted(&address) {
                break;
            }
        }
        let over_tls = list(headers, "x-forwarded-proto")
            .last()
            .is_some_and(|scheme| scheme.eq_ignore_ascii_case("https"));
        Self { address, over_tls }
    }
}

/// An address of IPv6 stands for its network of 64 bits, which is what one customer gets.
pub(crate) fn network_of(peer: IpAddr) -> u128 {
    match peer.to_canonical() {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits() >> 64 << 64,
    }
}

/// The members of a header that may come more than once.
fn list(headers: &HeaderMap, name: &str) -> Vec<String> {
    let values = headers.get_all(name).filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(|member| member.trim().to_owned()).collect()
}

/// An address, with or without a port, as proxies write it.
fn parse_address(text: &str) -> Option<IpAddr> {
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    let with_port = || text.parse::<std::net::SocketAddr>().map(|address| address.ip());
    bare.parse().or_else(|_| with_port()).ok()
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};

    use super::*;

    fn behind(connected: &str, headers: &[(&'static str, &'static str)]) -> (String, bool) {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let trusted = ["10.0.0.0/8".parse().unwrap()];
        let peer = Peer::behind(connected.parse().unwrap(), &map, &trusted);
        (peer.address.to_string(), peer.over_tls)
    }

    #[test]
    fn what_a_stranger_says_about_itself_does_not_count() {
        let headers = [("x-forwarded-for", "1.2.3.4"), ("x-forwarded-proto", "https")];
        assert_eq!(behind("9.9.9.9", &headers), ("9.9.9.9".to_owned(), false));
    }

    #[test]
    fn the_last_address_that_is_no_proxy_of_ours_is_the_client() {
        let headers = [
            ("x-forwarded-for", "6.6.6.6, 1.2.3.4"),
            ("x-forwarded-for", "10.0.0.7"),
            ("x-forwarded-proto", "https"),
        ];
        assert_eq!(behind("10.0.0.1", &headers), ("1.2.3.4".to_owned(), true));
        assert_eq!(behind("10.0.0.1", &[("x-forwarded-for", "[2001:db8::1]:443")]).0, "2001:db8::1");
        assert_eq!(behind("10.0.0.1", &[("x-forwarded-for", "unknown")]).0, "10.0.0.1");
        assert_eq!(behind("::ffff:10.0.0.1", &[("x-forwarded-for", "1.2.3.4")]).0, "1.2.3.4");
    }
}
