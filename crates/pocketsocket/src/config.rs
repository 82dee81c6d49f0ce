//! Every setting and limit of the server, with its unit and default.

use std::{
    fs,
    net::{SocketAddr, TcpListener, ToSocketAddrs},
    path::PathBuf,
    thread,
    time::Duration,
};

use crate::{BrokerUrl, Error, RateLimit, TrustProxy, limits, proxy::MAX_HOPS, stream};

/// Where the page that browsers get comes from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Template {
    /// The page that is built into the server.
    #[default]
    BuiltIn,
    /// A file, read once at the start.
    File(PathBuf),
    /// HTML given by the application.
    Html(String),
}

/// What happens at a message for which a socket's `backpressure_limit` has no room.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum DropPolicy {
    /// The message is dropped, and a Drain tells of room: for what is outdated by the next message.
    #[default]
    Drop,
    /// The message is dropped and its socket closed with 1013: for clients that must miss nothing, and connect anew.
    Close,
}

/// The settings of a server. `Config::default()` is a server on `127.0.0.1:8090` that is safe to run as it is.
///
/// ```
/// let config = pocketsocket::Config { port: 0, max_payload: 64 * 1024, ..Default::default() };
/// assert!(config.validate().is_ok());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// An IP address, or a name that resolves to one. Default `127.0.0.1`: only this machine.
    pub address: String,
    /// The TCP port; 0 picks a free one. Default 8090.
    pub port: u16,
    /// Let other processes listen on the same port, if they ask for it too: the system shares the connections out. Only
    /// of the same user; not on Windows. Default false.
    pub reuse_port: bool,
    /// Listen on a Unix domain socket at this path, and on no address. The file of a server that has died is replaced.
    /// Not on Windows. Default: none.
    pub unix: Option<PathBuf>,
    /// The largest message that a client may send, in bytes; a larger one closes its socket with 1009. Default 1 MiB.
    pub max_payload: usize,
    /// How many frames a client's message may come in; one of more closes its socket with 1009. Default 16,384.
    pub max_fragments: usize,
    /// How many messages a socket may bring in. Above it the socket is not read until it has a token again: nothing is lost,
    /// TCP slows its client down, and its pings wait behind its messages. Pings, pongs and Closes take no token. Default:
    /// none.
    pub rate_limit: Option<RateLimit>,
    /// A socket from which nothing came for this long is closed with 1001, one to which nothing could be written for this
    /// long although something waits with 1013. Whole seconds; zero is never. Default 75 s.
    pub idle_timeout: Duration,
    /// A socket from which nothing came for this long gets a ping, whole seconds; zero is never. Default 30 s.
    pub ping_interval: Duration,
    /// How long a client may take from connecting to the end of its request. Default 10,000 ms.
    pub handshake_timeout: Duration,
    /// How long a closing handshake may take before the socket is cut. Default 5,000 ms.
    pub close_timeout: Duration,
    /// How many bytes may wait to be sent to one socket; what passes it is dropped. Default 1 MiB.
    pub backpressure_limit: usize,
    /// Whether a socket outlives a message that was dropped for it. Default [`DropPolicy::Drop`].
    pub drop_policy: DropPolicy,
    /// How many sockets may be open; more get 503. Default: 90 % of the process's open-file limit.
    pub max_connections: usize,
    /// How many connections a client's address may have, one of IPv6 with all that share its first 64 bits; more get 429.
    /// This machine's own and Unix sockets are not counted. Default 256.
    pub max_connections_per_address: usize,
    /// Which proxies are believed about a client's address. Default [`TrustProxy::None`].
    pub trust_proxy: TrustProxy,
    /// Whether each handshake waits for [`Host::authorize`](crate::Host::authorize), at most `handshake_timeout`. Default false.
    pub authorize: bool,
    /// How many headers a request may have; more get 431. Default 100.
    pub max_headers: usize,
    /// How large a request may be, in bytes; a larger one gets 431. Default 16 KiB.
    pub max_header_bytes: usize,
    /// How much may wait of one socket for the host, in bytes, before the socket is not read; one larger message may wait.
    /// Default 64 KiB.
    pub inbound_limit: usize,
    /// How much may wait for the host in all, in bytes: above it a socket of which something waits is not read. Default 64 MiB.
    pub inbound_total: usize,
    /// How much may wait to be sent in all, in bytes: what passes it is dropped. Default 256 MiB.
    pub backpressure_total: usize,
    /// How many I/O threads run. Default: cores - 1, at least 1, at most 4.
    pub threads: usize,
    /// The page that browsers get. Default: the built-in one.
    pub template: Template,
    /// Relay every message to all sockets but its sender, without the application. Default false.
    pub broadcast: bool,
    /// Write one line an event to standard output. Default false.
    pub print: bool,
    /// Origins that browsers may connect from, such as `https://example.com`; `*` is any. Default: those of this
    /// machine for a loopback address, else the page's own.
    pub allowed_origins: Vec<String>,
    /// Where the broker is that connects this server with others, so that they serve as one. Default: none.
    pub broker: Option<BrokerUrl>,
    /// What the names of the broker's channels begin with: 1 to 64 of `A-Z a-z 0-9 - _`. Servers with the same one are one
    /// application. Default `pocketsocket`.
    pub broker_prefix: String,
    /// How long the broker may take to answer: at the start the server gives up then, later it connects anew. Default
    /// 3,000 ms.
    pub broker_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            address: "127.0.0.1".to_owned(),
            port: 8090,
            reuse_port: false,
            unix: None,
            max_payload: 1 << 20,
            max_fragments: 16_384,
            rate_limit: None,
            idle_timeout: Duration::from_secs(75),
            ping_interval: Duration::from_secs(30),
            handshake_timeout: Duration::from_millis(10_000),
            close_timeout: Duration::from_millis(5_000),
            backpressure_limit: 1 << 20,
            drop_policy: DropPolicy::Drop,
            max_connections: limits::default_max_connections(),
            max_connections_per_address: 256,
            trust_proxy: TrustProxy::None,
            authorize: false,
            max_headers: 100,
            max_header_bytes: 16 * 1024,
            inbound_limit: 64 * 1024,
            inbound_total: 64 << 20,
            backpressure_total: 256 << 20,
            threads: default_threads(),
            template: Template::BuiltIn,
            broadcast: false,
            print: false,
            allowed_origins: Vec::new(),
            broker: None,
            broker_prefix: "pocketsocket".to_owned(),
            broker_timeout: Duration::from_millis(3_000),
        }
    }
}

/// One thread is left to the application; more than four only help with many cores' worth of traffic.
fn default_threads() -> usize {
    thread::available_parallelism().map_or(1, |cores| cores.get().saturating_sub(1).clamp(1, 4))
}

/// The most I/O threads, sockets and seconds that an option may ask for.
const MAX_THREADS: usize = 64;
const MAX_PAYLOAD: usize = 1 << 30;
const MAX_FRAGMENTS: usize = 1 << 24;
const MAX_RATE: u32 = 1_000_000;
const MAX_BACKPRESSURE: usize = 1 << 30;
/// 1 TiB: more than any machine of today has for this.
const MAX_TOTAL: usize = 1 << 40;
const MAX_HEADERS: usize = 10_000;
/// hyper's smallest buffer: RFC 9110 section 4.1 recommends 8,000 bytes for the request line alone.
const MIN_HEADER_BYTES: u64 = 8 * 1024;
/// hyper reads a request from its first byte on each time that more of it has come.
const MAX_HEADER_BYTES: usize = 1 << 18;
const MAX_SECONDS: u64 = 24 * 60 * 60;
const MAX_MILLIS: u64 = 10 * 60 * 1000;

/// How many connections may wait to be accepted; the system may set a lower limit.
#[cfg(unix)]
pub(crate) const BACKLOG: i32 = 4096;

impl Config {
    /// Checks every limit.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] for the first option that is out of range.
    pub fn validate(&self) -> Result<(), Error> {
        let count = |name, value: usize, max: usize, unit: &str| {
            in_range(name, value as u64, 1, max as u64, unit)
        };
        count("maxPayload", self.max_payload, MAX_PAYLOAD, "bytes")?;
        count("maxFragments", self.max_fragments, MAX_FRAGMENTS, "frames")?;
        if let Some(RateLimit { messages_per_second, burst }) = self.rate_limit {
            let rate =
                |name, value: u32| in_range(name, value.into(), 1, MAX_RATE.into(), "messages");
            rate("rateLimit.messagesPerSecond", messages_per_second)?;
            rate("rateLimit.burst", burst)?;
        }
        count("backpressureLimit", self.backpressure_limit, MAX_BACKPRESSURE, "bytes")?;
        count("maxConnections", self.max_connections, limits::MAX_SLOTS, "sockets")?;
        count(
            "maxConnectionsPerAddress",
            self.max_connections_per_address,
            limits::MAX_SLOTS,
            "connections",
        )?;
        count("maxHeaders", self.max_headers, MAX_HEADERS, "headers")?;
        let bytes = |name, value: usize, min: u64, max: usize| {
            in_range(name, value as u64, min, max as u64, "bytes")
        };
        bytes("maxHeaderBytes", self.max_header_bytes, MIN_HEADER_BYTES, MAX_HEADER_BYTES)?;
        bytes("inboundLimit", self.inbound_limit, 1, MAX_PAYLOAD)?;
        bytes("inboundTotal", self.inbound_total, 1, MAX_TOTAL)?;
        bytes("backpressureTotal", self.backpressure_total, 1, MAX_TOTAL)?;
        if let TrustProxy::Hops(hops) = self.trust_proxy {
            count("trustProxy", hops, MAX_HOPS, "proxies")?;
        }
        count("threads", self.threads, MAX_THREADS, "threads")?;
        if let Some(path) = &self.unix {
            let allowed = |allowed: &str| Error::InvalidOption {
                name: "unix",
                value: format!("'{}'", path.display()),
                allowed: allowed.to_owned(),
            };
            if path.as_os_str().is_empty() {
                return Err(allowed("the path of a file"));
            }
            if self.reuse_port {
                return Err(allowed("no path together with 'reusePort', which is for TCP ports"));
            }
        }
        let seconds = |name, value: Duration| {
            in_range(name, value.as_secs(), 0, MAX_SECONDS, "seconds, 0 is never")
        };
        seconds("idleTimeout", self.idle_timeout)?;
        seconds("pingInterval", self.ping_interval)?;
        let millis = |name, value: Duration| {
            in_range(name, value.as_millis() as u64, 1, MAX_MILLIS, "milliseconds")
        };
        millis("handshakeTimeout", self.handshake_timeout)?;
        millis("closeTimeout", self.close_timeout)?;
        millis("brokerTimeout", self.broker_timeout)?;
        let prefix = &self.broker_prefix;
        if !(1..=limits::MAX_PREFIX_BYTES).contains(&prefix.len())
            || !prefix.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        {
            return Err(Error::InvalidOption {
                name: "brokerPrefix",
                value: format!("'{prefix}'"),
                allowed: "1 to 64 of A-Z a-z 0-9 - _".to_owned(),
            });
        }
        for origin in &self.allowed_origins {
            if origin != "*" && crate::handshake::Origin::parse(origin).is_none() {
                return Err(Error::InvalidOption {
                    name: "allowedOrigins",
                    value: format!("'{origin}'"),
                    allowed:
                        "'*', or a scheme, a host and maybe a port, such as 'https://example.com'"
                            .to_owned(),
                });
            }
        }
        Ok(())
    }

    /// Binds the address and port.
    ///
    /// # Errors
    /// [`Error::InvalidAddress`] or [`Error::Bind`].
    pub fn bind(&self) -> Result<TcpListener, Error> {
        let invalid = || Error::InvalidAddress { address: self.address.clone() };
        // Brackets are how URLs write IPv6 addresses: what a user copies from one should work.
        let host = self.address.trim_start_matches('[').trim_end_matches(']');
        let resolved: Vec<SocketAddr> =
            (host, self.port).to_socket_addrs().map_err(|_| invalid())?.collect();
        let address = *resolved.first().ok_or_else(invalid)?;
        // std sets SO_REUSEADDR on Unix: a restart does not wait for old connections to time out.
        let listener =
            if self.reuse_port { stream::bind_shared(address) } else { TcpListener::bind(address) }
                .map_err(|source| Error::Bind { address, source })?;
        // std's 128 are soon full when clients come at once, and each that finds them full tries again only after 1 s.
        #[cfg(unix)]
        rustix::net::listen(&listener, BACKLOG)
            .map_err(|error| Error::Bind { address, source: error.into() })?;
        // Frames are written whole: waiting for more to fill a segment would only add delay. Connections have it from here.
        #[cfg(target_os = "linux")]
        rustix::net::sockopt::set_tcp_nodelay(&listener, true)
            .map_err(|error| Error::Bind { address, source: error.into() })?;
        listener.set_nonblocking(true).map_err(|source| Error::Bind { address, source })?;
        Ok(listener)
    }

    /// Reads the page, `None` for the built-in one.
    pub(crate) fn read_template(&self) -> Result<Option<String>, Error> {
        match &self.template {
            Template::BuiltIn => Ok(None),
            Template::Html(html) => Ok(Some(html.clone())),
            Template::File(path) => fs::read_to_string(path)
                .map(Some)
                .map_err(|source| Error::Template { path: path.clone(), source }),
        }
    }
}

fn in_range(name: &'static str, value: u64, min: u64, max: u64, unit: &str) -> Result<(), Error> {
    if (min..=max).contains(&value) {
        return Ok(());
    }
    Err(Error::InvalidOption {
        name,
        value: value.to_string(),
        allowed: format!("{min} to {max} ({unit})"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_is_valid() {
        assert!(Config::default().validate().is_ok());
    }

    #[test]
    fn an_option_out_of_range_is_named_with_its_value_and_what_is_allowed() {
        let config = Config { max_payload: 0, ..Config::default() };
        let error = config.validate().unwrap_err();
        assert_eq!(error.code(), "ERR_INVALID_OPTION");
        assert_eq!(
            error.to_string(),
            "option 'maxPayload' is 0: allowed is 1 to 1073741824 (bytes)"
        );
    }

    #[test]
    fn a_rate_limit_out_of_range_is_named_with_its_part() {
        let validated = |messages_per_second, burst| {
            let rate_limit = Some(RateLimit { messages_per_second, burst });
            Config { rate_limit, ..Config::default() }.validate().map_err(|error| error.to_string())
        };
        for good in [1, 1_000_000] {
            assert_eq!(validated(good, good), Ok(()));
        }
        for bad in [0, 1_000_001, u32::MAX] {
            let allowed = format!("is {bad}: allowed is 1 to 1000000 (messages)");
            let rate = validated(bad, 1).unwrap_err();
            assert_eq!(rate, format!("option 'rateLimit.messagesPerSecond' {allowed}"));
            let burst = validated(1, bad).unwrap_err();
            assert_eq!(burst, format!("option 'rateLimit.burst' {allowed}"));
        }
    }

    #[test]
    fn an_address_that_is_none_is_an_error() {
        let config = Config { address: "not an address".into(), port: 0, ..Config::default() };
        assert_eq!(config.bind().unwrap_err().code(), "ERR_INVALID_ADDRESS");
    }

    #[test]
    fn a_missing_template_is_an_error_that_names_the_file() {
        let config =
            Config { template: Template::File("no/such/page.html".into()), ..Config::default() };
        let error = config.read_template().unwrap_err();
        assert_eq!(error.code(), "ERR_TEMPLATE");
        assert!(error.to_string().contains("no/such/page.html"), "{error}");
    }
}
