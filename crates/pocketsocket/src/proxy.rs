//! Which address a client has when proxies stand before the server: what `X-Forwarded-For` says, as far as it is trusted.
//!
//! Each proxy adds the address that it was called from at the end of the header; what stands before that was written by
//! whoever called it. So the header is read from its end on, and only as long as the writer of an entry is trusted.

use std::{net::IpAddr, str::FromStr};

use hyper::HeaderMap;

use crate::Error;

/// The header, as all proxies write it; the standard one, `Forwarded` (RFC 7239), is written by few.
const FORWARDED_FOR: &str = "x-forwarded-for";

/// The most proxies one behind the other.
pub(crate) const MAX_HOPS: usize = 16;

/// Which proxies are believed when they say where a request comes from.
///
/// Without one that is configured here `X-Forwarded-For` is ignored: any client may send it.
///
/// ```
/// use pocketsocket::TrustProxy;
///
/// let trust = TrustProxy::Networks(vec!["10.0.0.0/8".parse()?, "::1".parse()?]);
/// # let _ = trust;
/// # Ok::<(), pocketsocket::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum TrustProxy {
    /// None: a client's address is its connection's.
    #[default]
    None,
    /// So many proxies, one behind the other, before each connection: 1 to 16. Right only if no client can connect past
    /// them.
    Hops(usize),
    /// Those with an address in one of these networks; who connects to a Unix socket is taken for one of them.
    Networks(Vec<Network>),
}

/// Addresses that begin with the same bits: one address, or a range in CIDR notation (RFC 4632 section 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

impl FromStr for Network {
    type Err = Error;

    /// Reads `192.0.2.1`, `10.0.0.0/8` or `fd00::/8`.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] for `trustProxy`.
    fn from_str(text: &str) -> Result<Self, Error> {
        let invalid = || Error::InvalidOption {
            name: "trustProxy",
            value: format!("'{text}'"),
            allowed: "an IP address, or a range such as 10.0.0.0/8".to_owned(),
        };
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| invalid())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            None => most,
            // `parse` would take a sign.
            Some(bits) if !bits.bytes().all(|byte| byte.is_ascii_digit()) => return Err(invalid()),
            Some(bits) => bits.parse().ok().filter(|bits| *bits <= most).ok_or_else(invalid)?,
        };
        Ok(Self { address, bits })
    }
}

impl Network {
    fn contains(self, address: IpAddr) -> bool {
        let bits = u32::from(self.bits);
        match (self.address, address) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => {
                (ours.to_bits() ^ theirs.to_bits()).leading_zeros() >= bits
            }
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => {
                (ours.to_bits() ^ theirs.to_bits()).leading_zeros() >= bits
            }
            _ => false,
        }
    }
}

impl TrustProxy {
    /// The client's address: `peer` is the connection's, `None` that of a Unix socket.
    ///
    /// An entry that is no address ends the walk: the last address that was told by somebody trusted counts.
    pub(crate) fn client(&self, peer: Option<IpAddr>, headers: &HeaderMap) -> Option<IpAddr> {
        let peer = peer.map(|address| address.to_canonical());
        if *self == Self::None {
            return peer;
        }
        let mut entries = headers
            .get_all(FORWARDED_FOR)
            .iter()
            .rev()
            .flat_map(|value| value.to_str().unwrap_or("?").rsplit(','));
        let mut client = peer;
        for walked in 0..MAX_HOPS {
            if !self.trusts(client, walked) {
                break;
            }
            let Some(before) = entries.next().and_then(address_of) else { break };
            client = Some(before);
        }
        client
    }

    fn trusts(&self, address: Option<IpAddr>, walked: usize) -> bool {
        match self {
            Self::None => false,
            Self::Hops(hops) => walked < *hops,
            Self::Networks(networks) => address
                .is_none_or(|address| networks.iter().any(|network| network.contains(address))),
        }
    }
}

/// An entry of the header: an address, by some proxies with a port.
fn address_of(entry: &str) -> Option<IpAddr> {
    let entry = entry.trim();
    let address = match entry.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?.0.parse().ok()?,
        None => match entry.parse() {
            Ok(address) => address,
            Err(_) => IpAddr::V4(entry.split_once(':')?.0.parse().ok()?),
        },
    };
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(trust: &TrustProxy, peer: &str, forwarded: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append(FORWARDED_FOR, value.parse().unwrap());
        }
        trust
            .client(peer.parse().ok(), &headers)
            .map_or_else(String::new, |address| address.to_string())
    }

    fn networks(texts: &[&str]) -> TrustProxy {
        TrustProxy::Networks(texts.iter().map(|text| text.parse().unwrap()).collect())
    }

    #[test]
    fn without_trust_the_header_is_ignored() {
        assert_eq!(client(&TrustProxy::None, "192.0.2.1", &["198.51.100.7"]), "192.0.2.1");
    }

    #[test]
    fn hops_are_counted_from_the_end() {
        let forwarded = ["203.0.113.9, 198.51.100.7", " 10.0.0.2"];
        for (hops, expected) in
            [(1, "10.0.0.2"), (2, "198.51.100.7"), (3, "203.0.113.9"), (9, "203.0.113.9")]
        {
            assert_eq!(client(&TrustProxy::Hops(hops), "10.0.0.1", &forwarded), expected);
        }
        assert_eq!(client(&TrustProxy::Hops(1), "10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(client(&TrustProxy::Hops(1), "", &["192.0.2.4"]), "192.0.2.4", "a Unix socket");
    }

    #[test]
    fn networks_are_walked_until_one_is_not_trusted() {
        let trust = networks(&["10.0.0.0/8", "::1"]);
        let forged = ["1.1.1.1, 198.51.100.7, 10.9.8.7"];
        assert_eq!(client(&trust, "10.0.0.1", &forged), "198.51.100.7");
        assert_eq!(client(&trust, "192.0.2.1", &forged), "192.0.2.1", "no proxy of ours");
        assert_eq!(client(&trust, "::1", &["2001:db8::5"]), "2001:db8::5");
        assert_eq!(client(&trust, "::ffff:10.0.0.1", &["192.0.2.8"]), "192.0.2.8");
        assert_eq!(client(&trust, "", &["192.0.2.8"]), "192.0.2.8", "a Unix socket");
        assert_eq!(client(&trust, "10.0.0.1", &["10.0.0.2, 10.0.0.3"]), "10.0.0.2");
    }

    #[test]
    fn ports_and_brackets_are_no_part_of_an_address() {
        for (entry, expected) in [
            ("192.0.2.8:4711", "192.0.2.8"),
            ("[2001:db8::5]", "2001:db8::5"),
            ("[2001:db8::5]:80", "2001:db8::5"),
            ("::ffff:192.0.2.8", "192.0.2.8"),
        ] {
            assert_eq!(client(&TrustProxy::Hops(1), "10.0.0.1", &[entry]), expected);
        }
    }

    #[test]
    fn what_is_no_address_ends_the_walk() {
        for entry in ["unknown", "_hidden", "", "192.0.2", "[::1", "localhost:80", "\u{e9}"] {
            let forwarded = [&format!("198.51.100.7, {entry}")[..]];
            assert_eq!(client(&TrustProxy::Hops(2), "10.0.0.1", &forwarded), "10.0.0.1", "{entry}");
        }
    }

    #[test]
    fn a_network_is_an_address_or_a_range() {
        for text in ["10.0.0.0/33", "10.0.0.0/", "10.0.0.0/+8", "::/129", "example.com", "", "/8"] {
            assert_eq!(text.parse::<Network>().unwrap_err().code(), "ERR_INVALID_OPTION", "{text}");
        }
        let all: Network = "0.0.0.0/0".parse().unwrap();
        assert!(all.contains("203.0.113.9".parse().unwrap()));
        assert!(!all.contains("::1".parse().unwrap()));
        let one: Network = "192.0.2.1".parse().unwrap();
        assert!(!one.contains("192.0.2.0".parse().unwrap()));
    }
}
