//! Where a broker is, from a URL. The password in it is never shown.

use std::{fmt, str::FromStr};

use crate::Error;

/// Which protocol a broker speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    /// Redis 6 or newer, or what speaks its protocol (RESP3).
    Redis,
    /// NATS, its core protocol.
    Nats,
}

/// The URL of a broker: `redis://` or `nats://`, then maybe `user:password@`, a host, and maybe a port.
///
/// Shown, also by `Debug`, without what stands before the `@`.
///
/// ```
/// let url: pocketsocket::BrokerUrl = "redis://me:secret@localhost".parse()?;
/// assert_eq!(url.to_string(), "redis://localhost:6379");
/// # Ok::<(), pocketsocket::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct BrokerUrl {
    pub(crate) scheme: Scheme,
    pub(crate) user: Option<String>,
    pub(crate) password: Option<String>,
    /// A name or an IP address, without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl fmt::Display for BrokerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.scheme {
            Scheme::Redis => "redis",
            Scheme::Nats => "nats",
        };
        if self.host.contains(':') {
            write!(f, "{scheme}://[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{scheme}://{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Debug for BrokerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for BrokerUrl {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        parse(text).map_err(|allowed| Error::InvalidOption {
            name: "broker",
            value: format!("'{}'", without_secrets(text)),
            allowed: allowed.to_owned(),
        })
    }
}

const FORM: &str =
    "redis://host:port or nats://host:port, with user:password@ before the host where it is needed";
const NO_TLS: &str =
    "redis:// or nats://: there is no TLS in this build, so use a private network or a tunnel";

/// Says what is allowed where the text is not it.
fn parse(text: &str) -> Result<BrokerUrl, &'static str> {
    let (scheme, rest) = text.split_once("://").ok_or(FORM)?;
    let (scheme, default_port) = match scheme.to_ascii_lowercase().as_str() {
        "redis" | "valkey" => (Scheme::Redis, 6379),
        "nats" => (Scheme::Nats, 4222),
        "rediss" | "valkeys" | "tls" => return Err(NO_TLS),
        _ => return Err(FORM),
    };
    // The last one: a password may hold an @ that was not escaped.
    let (credentials, place) = match rest.rsplit_once('@') {
        Some((credentials, place)) => (Some(credentials), place),
        None => (None, rest),
    };
    let (place, path) = place.split_once('/').unwrap_or((place, ""));
    // Redis' URLs may name a database: publish and subscribe know none, so any will do.
    if !(path.is_empty() || scheme == Scheme::Redis && path.bytes().all(|b| b.is_ascii_digit())) {
        return Err(FORM);
    }
    let (host, port) = if let Some(rest) = place.strip_prefix('[') {
        let (host, port) = rest.split_once(']').ok_or(FORM)?;
        host.parse::<std::net::Ipv6Addr>().map_err(|_| FORM)?;
        (host, port.strip_prefix(':').or(port.is_empty().then_some("")).ok_or(FORM)?)
    } else {
        place.split_once(':').unwrap_or((place, ""))
    };
    let port = match port {
        "" => default_port,
        port => port.parse().ok().filter(|port| *port != 0).ok_or(FORM)?,
    };
    let is_host = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':');
    if host.is_empty() || host.len() > 253 || !host.bytes().all(is_host) {
        return Err(FORM);
    }
    let decoded = |text: &str| {
        let text = decode(text)?;
        // No broker takes control characters here, and they could end a line of a protocol.
        (text.len() <= 1024 && !text.contains(char::is_control)).then_some(text)
    };
    let (user, password) = match credentials.map(|text| text.split_once(':').unwrap_or((text, "")))
    {
        None => (None, None),
        Some((user, password)) => {
            (Some(decoded(user).ok_or(FORM)?), Some(decoded(password).ok_or(FORM)?))
        }
    };
    let given = |text: Option<String>| text.filter(|text| !text.is_empty());
    Ok(BrokerUrl {
        scheme,
        user: given(user),
        password: given(password),
        host: host.to_owned(),
        port,
    })
}

/// Resolves `%40` and the like (RFC 3986 section 2.1).
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        if first != b'%' {
            bytes.push(first);
            continue;
        }
        let (digits, after) = rest.split_first_chunk::<2>()?;
        let digit = |byte: u8| (byte as char).to_digit(16);
        bytes.push((digit(digits[0])? << 4 | digit(digits[1])?) as u8);
        rest = after;
    }
    String::from_utf8(bytes).ok()
}

/// A text that should have been a URL, for an error: nothing of what could be a password.
fn without_secrets(text: &str) -> String {
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), text),
    };
    let place = rest.rsplit_once('@').map_or(rest, |(_, place)| place);
    // A query may hold one too.
    let place = place.split(['?', '#']).next().unwrap_or_default();
    let scheme = if scheme.contains('@') { String::new() } else { scheme };
    format!("{scheme}{place}").chars().filter(|c| !c.is_control()).take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> BrokerUrl {
        text.parse().unwrap()
    }

    #[test]
    fn ports_have_defaults_and_hosts_may_be_names_or_addresses() {
        for (text, shown) in [
            ("redis://localhost", "redis://localhost:6379"),
            ("redis://10.0.0.1:7000/0", "redis://10.0.0.1:7000"),
            ("valkey://cache", "redis://cache:6379"),
            ("NATS://[::1]:4223", "nats://[::1]:4223"),
            ("nats://[::1]", "nats://[::1]:4222"),
            ("nats://n1.example.com/", "nats://n1.example.com:4222"),
        ] {
            assert_eq!(read(text).to_string(), shown);
        }
    }

    #[test]
    fn credentials_are_decoded_and_never_shown() {
        let url = read("redis://me:p%40ss:w@rd@localhost");
        assert_eq!((url.user.as_deref(), url.password.as_deref()), (Some("me"), Some("p@ss:w@rd")));
        assert_eq!(format!("{url:?} {url}"), "redis://localhost:6379 redis://localhost:6379");
        assert_eq!(read("redis://:secret@h").password.as_deref(), Some("secret"));
        assert_eq!(read("redis://:secret@h").user, None);
        assert_eq!(read("nats://token@h").user.as_deref(), Some("token"));
    }

    #[test]
    fn what_is_no_url_of_a_broker_is_refused_without_its_password() {
        for text in [
            "",
            "localhost",
            "me:secret@localhost",
            "http://me:secret@localhost",
            "redis:/me:secret@localhost",
            "redis://me:secret@",
            "redis://me:secret@localhost:0",
            "redis://me:secret@localhost:port",
            "redis://me:secret@localhost:70000",
            "redis://me:secret@[::g]",
            "redis://me:secret@[::1]x",
            "redis://me:sec%zzret@localhost",
            "redis://me:secret%0d%0a@localhost",
            "redis://me:sec/ret@local host",
            "nats://me:secret@localhost/path",
            "redis://localhost/?password=secret",
            "rediss://me:secret@localhost",
            "secret@x://localhost",
        ] {
            let error = text.parse::<BrokerUrl>().unwrap_err();
            assert_eq!(error.code(), "ERR_INVALID_OPTION", "{text}");
            let shown = format!("{error} {error:?}");
            assert!(!shown.contains("secret") && !shown.contains("ret@"), "{shown}");
        }
        let tls = "rediss://localhost".parse::<BrokerUrl>().unwrap_err();
        assert!(tls.to_string().contains("TLS"), "{tls}");
    }
}
