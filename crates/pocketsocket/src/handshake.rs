//! Who may connect, and whether a request is a WebSocket handshake: RFC 6455 section 4.2.
//!
//! A browser lets any page on the web connect to a server on its user's machine, so the Host and Origin of every request
//! are compared, whole and parsed, with what is allowed. Programs that are no browser send no Origin and pass.

use std::net::{IpAddr, SocketAddr};

use hyper::{
    HeaderMap, Method, Request as HttpRequest, StatusCode, Version,
    header::{
        CONNECTION, HOST, HeaderName, HeaderValue, ORIGIN, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
        SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
    },
};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// A client that offers this subprotocol is told its uuid in the first message: how the built-in page knows it.
pub(crate) const HELLO: &str = "pocketsocket.hello";

/// Why a request is refused: status, a line for its sender, and a header that the status needs.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) message: &'static str,
    pub(crate) header: Option<(HeaderName, &'static str)>,
}

impl Refusal {
    fn new(status: StatusCode, message: &'static str) -> Self {
        Self { status, message, header: None }
    }
}

/// A handshake that may go on.
#[derive(Debug)]
pub(crate) struct Accepted {
    /// Answer to `Sec-WebSocket-Key`.
    pub(crate) accept: HeaderValue,
    /// The first subprotocol that the client offered: a browser that offers some fails without an answer.
    pub(crate) protocol: Option<HeaderValue>,
}

/// Reads a request as a WebSocket handshake; `None` if it does not ask for an upgrade to WebSocket.
pub(crate) fn handshake<B>(request: &HttpRequest<B>) -> Option<Result<Accepted, Refusal>> {
    let headers = request.headers();
    let wants_websocket = has_token(headers, &UPGRADE, "websocket");
    if !wants_websocket && !headers.contains_key(SEC_WEBSOCKET_KEY) {
        return None;
    }
    Some(accept(request, wants_websocket))
}

fn accept<B>(request: &HttpRequest<B>, wants_websocket: bool) -> Result<Accepted, Refusal> {
    let headers = request.headers();
    let bad = |message| Refusal::new(StatusCode::BAD_REQUEST, message);
    if request.method() != Method::GET {
        return Err(Refusal {
            status: StatusCode::METHOD_NOT_ALLOWED,
            message: "a WebSocket handshake is a GET request",
            header: Some((hyper::header::ALLOW, "GET")),
        });
    }
    if request.version() != Version::HTTP_11 {
        return Err(bad("a WebSocket handshake needs HTTP/1.1"));
    }
    if !wants_websocket {
        return Err(bad("header 'Upgrade' must be 'websocket'"));
    }
    if !has_token(headers, &CONNECTION, "upgrade") {
        return Err(bad("header 'Connection' must contain 'Upgrade'"));
    }
    if announces_body(headers) {
        return Err(bad("a WebSocket handshake has no body"));
    }
    if single(headers, &SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        return Err(Refusal {
            status: StatusCode::UPGRADE_REQUIRED,
            message: "header 'Sec-WebSocket-Version' must be 13",
            header: Some((SEC_WEBSOCKET_VERSION, "13")),
        });
    }
    let key = single(headers, &SEC_WEBSOCKET_KEY)
        .filter(|key| is_key(key.as_bytes()))
        .ok_or_else(|| bad("header 'Sec-WebSocket-Key' must be one, of 16 bytes in base64"))?;
    let accept = HeaderValue::try_from(derive_accept_key(key.as_bytes()))
        .map_err(|_| bad("header 'Sec-WebSocket-Key' cannot be answered"))?;
    Ok(Accepted { accept, protocol: first_protocol(headers)? })
}

/// Whether a request says that a body follows. None of ours needs one, and one that is read in two ways could hide a second
/// request: RFC 9112 section 11.2.
pub(crate) fn announces_body(headers: &HeaderMap) -> bool {
    headers.contains_key(hyper::header::TRANSFER_ENCODING)
        || headers.get(hyper::header::CONTENT_LENGTH).is_some_and(|length| length != "0")
}

/// The header's value, if the header is there exactly once.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

/// Whether a list header has a token, compared without case.
fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|item| item.trim().eq_ignore_ascii_case(token))
}

/// Sixteen bytes in base64: 22 digits and two signs of padding, and no stray bits in the last digit.
fn is_key(key: &[u8]) -> bool {
    let Some(digits) = key.strip_suffix(b"==") else { return false };
    digits.len() == 22
        && digits.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'))
        && matches!(digits[21], b'A' | b'Q' | b'g' | b'w')
}

/// Whether the client offers a subprotocol: they are compared with case (RFC 6455 section 4.2.2).
pub(crate) fn offers(headers: &HeaderMap, protocol: &str) -> bool {
    let values = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter();
    values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|offered| offered.trim() == protocol)
}

/// RFC 6455 section 4.1: a list of tokens, each once.
fn first_protocol(headers: &HeaderMap) -> Result<Option<HeaderValue>, Refusal> {
    let bad = || {
        Refusal::new(
            StatusCode::BAD_REQUEST,
            "header 'Sec-WebSocket-Protocol' must be a list of tokens",
        )
    };
    let Some(value) = headers.get(SEC_WEBSOCKET_PROTOCOL) else { return Ok(None) };
    let text = value.to_str().map_err(|_| bad())?;
    let first = text.split(',').next().unwrap_or_default().trim();
    let is_token = !first.is_empty()
        && first
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?={}".contains(&byte));
    if !is_token {
        return Err(bad());
    }
    HeaderValue::from_str(first).map(Some).map_err(|_| bad())
}

/// Adds what makes a response the end of the handshake.
pub(crate) fn answer(headers: &mut HeaderMap, accepted: &Accepted) {
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accepted.accept.clone());
    if let Some(protocol) = &accepted.protocol {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, protocol.clone());
    }
}

/// A parsed origin (RFC 6454): where a page comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Origin {
    scheme: String,
    authority: Authority,
}

/// A host and maybe a port, in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Authority {
    host: String,
    port: Option<u16>,
}

impl Origin {
    /// Reads `scheme://host[:port]`, and nothing more.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'));
        if !is_scheme {
            return None;
        }
        Some(Self { scheme: scheme.to_ascii_lowercase(), authority: Authority::parse(rest)? })
    }

    /// The port, also when it is the scheme's own and not written.
    fn port(&self) -> Option<u16> {
        self.authority.port.or(match self.scheme.as_str() {
            "http" | "ws" => Some(80),
            "https" | "wss" => Some(443),
            _ => None,
        })
    }

    fn is(&self, other: &Self) -> bool {
        self.scheme == other.scheme
            && self.authority.host == other.authority.host
            && self.port() == other.port()
    }
}

impl Authority {
    fn parse(text: &str) -> Option<Self> {
        let uri: hyper::http::uri::Authority = text.parse().ok()?;
        // A name before '@' would make a host of what a reader takes for one.
        if text.contains('@') || uri.host().is_empty() {
            return None;
        }
        let port = match text[uri.host().len()..].strip_prefix(':') {
            Some(port) => Some(port.parse().ok()?),
            None => None,
        };
        Some(Self { host: uri.host().to_ascii_lowercase(), port })
    }

    fn is_loopback(&self) -> bool {
        matches!(self.host.as_str(), "localhost" | "127.0.0.1" | "[::1]")
    }
}

/// What Host and Origin may be.
#[derive(Debug)]
pub(crate) struct Guard {
    /// On a loopback address: requests must name this machine, else any site could rebind its name to it.
    loopback: Option<IpAddr>,
    any: bool,
    allowed: Vec<Origin>,
}

impl Guard {
    pub(crate) fn new(address: SocketAddr, allowed_origins: &[String]) -> Self {
        let ip = address.ip();
        Self {
            loopback: ip.is_loopback().then_some(ip),
            any: allowed_origins.iter().any(|origin| origin == "*"),
            allowed: allowed_origins.iter().filter_map(|origin| Origin::parse(origin)).collect(),
        }
    }

    /// Checks a request, handshake or not.
    pub(crate) fn check<B>(&self, request: &HttpRequest<B>) -> Result<(), Refusal> {
        let headers = request.headers();
        let host = match headers.get_all(HOST).iter().count() {
            0 if request.version() == Version::HTTP_11 => {
                return Err(Refusal::new(StatusCode::BAD_REQUEST, "header 'Host' is missing"));
            }
            0 => None,
            1 => headers.get(HOST).and_then(|host| host.to_str().ok()).and_then(Authority::parse),
            _ => {
                return Err(Refusal::new(
                    StatusCode::BAD_REQUEST,
                    "header 'Host' must be there once",
                ));
            }
        };
        if self.any {
            return Ok(());
        }
        if !host.as_ref().is_some_and(|host| self.allows_host(host)) && self.loopback.is_some() {
            return Err(Refusal::new(
                StatusCode::FORBIDDEN,
                "this Host is not served on a loopback address: add its origin to option 'allowedOrigins'",
            ));
        }
        let refused = || {
            Refusal::new(
                StatusCode::FORBIDDEN,
                "pages of this Origin may not connect: add it to option 'allowedOrigins'",
            )
        };
        let mut origins = headers.get_all(ORIGIN).iter();
        match (origins.next(), origins.next()) {
            (None, _) => Ok(()),
            (Some(origin), None) => {
                let origin = origin.to_str().ok().and_then(Origin::parse).ok_or_else(refused)?;
                if self.allows_origin(&origin, host.as_ref()) { Ok(()) } else { Err(refused()) }
            }
            (Some(_), Some(_)) => Err(refused()),
        }
    }

    fn allows_host(&self, host: &Authority) -> bool {
        self.is_this_machine(host)
            || self.allowed.iter().any(|allowed| allowed.authority.host == host.host)
    }

    fn is_this_machine(&self, host: &Authority) -> bool {
        host.is_loopback()
            || self.loopback.is_some_and(|ip| host.host.trim_matches(['[', ']']).parse() == Ok(ip))
    }

    fn allows_origin(&self, origin: &Origin, host: Option<&Authority>) -> bool {
        if self.allowed.iter().any(|allowed| allowed.is(origin)) {
            return true;
        }
        match self.loopback {
            // A dev server's page on another port of this machine is a neighbour.
            Some(_) => self.is_this_machine(&origin.authority),
            None => host.is_some_and(|host| {
                host.host == origin.authority.host
                    && (host.port == origin.authority.port || host.port == origin.port())
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(headers: &[(&str, &str)]) -> HttpRequest<()> {
        let mut request = HttpRequest::builder();
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap()
    }

    fn status(guard: &Guard, host: &str, origin: Option<&str>) -> u16 {
        let mut headers = vec![("host", host)];
        headers.extend(origin.map(|origin| ("origin", origin)));
        guard.check(&request(&headers)).map_or_else(|refusal| refusal.status.as_u16(), |()| 200)
    }

    fn guard(address: &str, allowed: &[&str]) -> Guard {
        let allowed: Vec<String> = allowed.iter().map(|&origin| origin.to_owned()).collect();
        Guard::new(address.parse().unwrap(), &allowed)
    }

    #[test]
    fn on_loopback_only_names_of_this_machine_pass() {
        let guard = guard("127.0.0.1:80", &[]);
        for host in ["localhost", "LOCALHOST:1", "127.0.0.1:8090", "[::1]:8090"] {
            assert_eq!(status(&guard, host, None), 200, "{host}");
            assert_eq!(status(&guard, "localhost", Some(&format!("http://{host}"))), 200, "{host}");
        }
        for host in [
            "evil.example",
            "localhost.evil.com",
            "127.0.0.1.evil.com",
            "1.2.3.4",
            "a@localhost",
            "localhost:x",
            "",
        ] {
            assert_eq!(status(&guard, host, None), 403, "{host}");
            assert_eq!(status(&guard, "localhost", Some(&format!("http://{host}"))), 403, "{host}");
        }
        for origin in ["null", "", "localhost", "http://localhost/path", "http:///localhost"] {
            assert_eq!(status(&guard, "localhost", Some(origin)), 403, "{origin}");
        }
    }

    #[test]
    fn elsewhere_the_origin_must_be_the_host() {
        let guard = guard("0.0.0.0:80", &[]);
        assert_eq!(status(&guard, "chat.example:8090", Some("http://chat.example:8090")), 200);
        assert_eq!(status(&guard, "chat.example:80", Some("http://chat.example")), 200);
        assert_eq!(status(&guard, "chat.example", Some("https://chat.example")), 200);
        assert_eq!(status(&guard, "chat.example:8090", Some("http://chat.example:8091")), 403);
        assert_eq!(status(&guard, "chat.example", Some("http://evil.example")), 403);
        assert_eq!(status(&guard, "chat.example", None), 200);
    }

    #[test]
    fn allowed_origins_add_to_what_passes() {
        let listed = guard("127.0.0.1:80", &["https://chat.example"]);
        assert_eq!(status(&listed, "chat.example", Some("https://chat.example:443")), 200);
        assert_eq!(status(&listed, "localhost", Some("http://localhost")), 200);
        assert_eq!(status(&listed, "localhost", Some("http://chat.example")), 403);
        assert_eq!(status(&guard("127.0.0.1:80", &["*"]), "evil.example", Some("null")), 200);
    }

    const GOOD: [(&str, &str); 4] = [
        ("connection", "keep-alive, Upgrade"),
        ("upgrade", "WebSocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];

    #[test]
    fn the_key_of_rfc_6455_gives_its_answer() {
        let accepted = handshake(&request(&GOOD)).unwrap().unwrap();
        assert_eq!(accepted.accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(accepted.protocol, None);
    }

    #[test]
    fn a_request_for_no_websocket_is_no_handshake() {
        assert!(handshake(&request(&[("host", "localhost")])).is_none());
        assert!(handshake(&request(&[("upgrade", "h2c"), ("connection", "upgrade")])).is_none());
    }

    #[test]
    fn a_header_that_is_off_is_refused_with_its_status() {
        for (name, value, expected) in [
            ("connection", "keep-alive", 400),
            ("upgrade", "h2c", 400),
            ("sec-websocket-version", "12", 426),
            ("sec-websocket-key", "c2hvcnQ=", 400),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZR==", 400),
            ("sec-websocket-protocol", " ,a", 400),
            ("sec-websocket-protocol", "a b", 400),
            ("transfer-encoding", "chunked", 400),
            ("content-length", "5", 400),
        ] {
            let mut headers: Vec<_> = GOOD.iter().copied().filter(|(n, _)| *n != name).collect();
            headers.push((name, value));
            let refusal = handshake(&request(&headers)).unwrap().unwrap_err();
            assert_eq!(refusal.status.as_u16(), expected, "{name}: {value}");
        }
        let mut twice = GOOD.to_vec();
        twice.push(GOOD[3]);
        assert!(handshake(&request(&twice)).unwrap().is_err());
    }

    #[test]
    fn the_first_subprotocol_is_chosen() {
        let mut headers = GOOD.to_vec();
        headers.push(("sec-websocket-protocol", "chat.v2, chat.v1"));
        let accepted = handshake(&request(&headers)).unwrap().unwrap();
        assert_eq!(accepted.protocol.unwrap(), "chat.v2");
    }
}
