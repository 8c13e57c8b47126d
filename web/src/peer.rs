//! Which machine a request comes from, as far as it can be known.

use std::future::{Ready, ready};
use std::net::{IpAddr, Ipv6Addr};

use actix_web::dev::Payload;
use actix_web::http::header::{HOST, HeaderMap};
use actix_web::http::uri::Authority;
use actix_web::{FromRequest, HttpRequest};
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
        let peer = Self::behind(connected(request), request.headers(), &app.server.trusted_proxies);
        Ok(Self { over_tls: peer.over_tls || request.app_config().secure(), ..peer })
    }

    /// Every proxy appends the address that it was called from: the last one that is no proxy of ours is the client.
    fn behind(connected: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> Self {
        let is_trusted = |address: &IpAddr| is_trusted(address, trusted);
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

/// The network of a client: its address of IPv4, or its network of 64 bits of IPv6, which is one link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Network(IpAddr);

/// A block of addresses that belong to one customer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Block {
    prefix: u8,
    bits: u128,
}

/// Blocks of IPv6, from the narrowest on, and how many allowances each has: a link, a home, a site (RFC 6177).
pub(crate) const BLOCKS_V6: [(u8, usize); 3] = [(64, 1), (56, 2), (48, 4)];

impl FromRequest for Network {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Peer::of(request).map(|peer| Self::of(peer.address)))
    }
}

impl Network {
    /// The network of an address.
    pub(crate) fn of(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            address @ IpAddr::V4(_) => address,
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        })
    }

    /// The blocks that it lies in, from the narrowest on, each with the number of allowances that the block has.
    pub(crate) fn blocks(self) -> impl Iterator<Item = (Block, usize)> {
        let blocks = match self.0 {
            IpAddr::V4(_) => &[(32, 1)][..],
            IpAddr::V6(_) => &BLOCKS_V6,
        };
        blocks.iter().map(move |(prefix, growth)| (self.block(*prefix), *growth))
    }

    /// The widest block that it lies in.
    pub(crate) fn widest(self) -> Block {
        self.block(if self.0.is_ipv4() { 32 } else { 48 })
    }

    /// Whether it lies in this block.
    pub(crate) fn is_in(self, block: Block) -> bool {
        self.0.is_ipv4() == (block.prefix == 32) && self.block(block.prefix) == block
    }

    fn block(self, prefix: u8) -> Block {
        let bits = match self.0 {
            IpAddr::V4(address) => u128::from(address.to_bits()),
            IpAddr::V6(address) => address.to_bits() >> (128 - prefix),
        };
        Block { prefix, bits }
    }
}

/// The host and port that the client asked for: `Host`, or `X-Forwarded-Host` of a proxy that we trust.
pub(crate) fn asked_host(request: &HttpRequest) -> Result<Option<Authority>, ApiError> {
    let trusted = &AppState::of(request)?.server.trusted_proxies;
    if is_trusted(&connected(request), trusted)
        && let Some(forwarded) = list(request.headers(), "x-forwarded-host").last()
    {
        return Ok(authority(forwarded.as_bytes()));
    }
    Ok(host(request))
}

/// The host and port in `Host`.
pub(crate) fn host(request: &HttpRequest) -> Option<Authority> {
    request.headers().get(HOST).and_then(|host| authority(host.as_bytes()))
}

/// Reads a host and a port. A URL may have a user before them, a header may not.
fn authority(text: &[u8]) -> Option<Authority> {
    Authority::try_from(text).ok().filter(|authority| !authority.as_str().contains('@'))
}

/// The address of the connection.
fn connected(request: &HttpRequest) -> IpAddr {
    request.peer_addr().map_or(IpAddr::from([0, 0, 0, 0]), |address| address.ip())
}

/// Whether an address is that of a proxy that we trust.
pub(crate) fn is_trusted(address: &IpAddr, trusted: &[IpNet]) -> bool {
    trusted.iter().any(|network| network.contains(&address.to_canonical()))
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
    fn a_network_of_ipv6_lies_in_a_home_and_a_site() {
        let of = |text: &str| Network::of(text.parse().unwrap());
        let (here, link) = (of("2001:db8:1:aa00::1"), of("2001:db8:1:aa00:ffff::"));
        assert_eq!(here, link);
        for (other, shared) in [
            ("2001:db8:1:aa00::2", 3),
            ("2001:db8:1:aaff::1", 2),
            ("2001:db8:1:ab00::1", 1),
            ("2001:db8:2:aa00::1", 0),
            ("10.0.0.1", 0),
        ] {
            let common = here.blocks().filter(|(block, _)| of(other).is_in(*block)).count();
            assert_eq!(common, shared, "{other}");
        }
        assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
        assert_ne!(of("10.0.0.2").widest(), of("10.0.0.1").widest());
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
