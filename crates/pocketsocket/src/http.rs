//! One TCP connection from its first byte to its end as HTTP, or to its upgrade.
//!
//! hyper reads the request and writes the answer. The future is large, so it is a task of its own that ends with the
//! upgrade; the socket goes on in a small one, with the bytes that came along with the request.

use std::{
    cell::{Cell, RefCell},
    convert::Infallible,
    fmt::Write as _,
    future::poll_fn,
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    HeaderMap, Method, Request as HttpRequest, Response, StatusCode,
    body::Incoming,
    header::{
        ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE,
        HeaderName, HeaderValue, REFERRER_POLICY, RETRY_AFTER, TRANSFER_ENCODING, UPGRADE,
        X_CONTENT_TYPE_OPTIONS,
    },
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::time::timeout;

use crate::{
    Error, Request, TrustProxy, Uuid, Verdict,
    acceptor::Load,
    addresses::{Entry, Place},
    authorize, connection,
    handshake::{self, Accepted, Refusal},
    limits::MAX_DATA_BYTES,
    linger::linger,
    server::Shared,
    shard::ShardRef,
    stream::{Client, Stream},
};

type Answer = Response<Full<Bytes>>;

/// A handshake that was answered with 101.
struct Upgrade {
    uuid: Uuid,
    request: Request,
}

/// An answer that is there, as nearly always, or one that waits for the application: that is boxed, since all connections would
/// carry its size.
enum Answering<'a> {
    Ready(Option<Answer>),
    Asking(Pin<Box<dyn Future<Output = Answer> + 'a>>),
}

impl Future for Answering<'_> {
    type Output = Result<Answer, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.get_mut() {
            // hyper does not poll it again.
            Self::Ready(answer) => Poll::Ready(Ok(answer.take().unwrap_or_default())),
            Self::Asking(asking) => asking.as_mut().poll(cx).map(Ok),
        }
    }
}

/// What one connection's requests are answered with.
struct Visit<'a> {
    shared: &'a Arc<Shared>,
    index: u8,
    client: Client,
    /// Among the connections of its address; with proxies it is known only once they said whose it is.
    place: RefCell<Option<Place>>,
    /// Its address has too many.
    over: Cell<bool>,
    upgrade: RefCell<Option<Upgrade>>,
}

/// Serves one connection.
pub(crate) async fn serve(shard: ShardRef, stream: Stream, client: Client, load: Load) {
    let (shared, index) = {
        let shard = shard.borrow();
        (Arc::clone(&shard.shared), shard.index)
    };
    let visit = Visit {
        shared: &shared,
        index,
        client,
        place: RefCell::default(),
        over: Cell::new(false),
        upgrade: RefCell::default(),
    };
    if shared.config.trust_proxy == TrustProxy::None && !visit.enter(client.ip()) {
        shared.counters(index).refused.add(1);
        log::debug!("{client} was turned away: its address has too many connections");
        return;
    }
    let service = service_fn(|request| visit.serve(request));
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(shared.config.handshake_timeout)
        .max_headers(shared.config.max_headers)
        .max_header_size(shared.config.max_header_bytes)
        .max_buf_size(2 * shared.config.max_header_bytes)
        .serve_connection(TokioIo::new(stream), service);
    // The header timeout bounds the reading, and another one the application's verdict; this bounds a client that does not
    // take its answer.
    let waits = if shared.config.authorize { 3 } else { 2 };
    let served = poll_fn(|cx| connection.poll_without_shutdown(cx));
    let outcome = timeout(shared.config.handshake_timeout * waits, served).await;
    let parts = connection.into_parts();
    let stream = parts.io.into_inner();
    match (outcome, visit.upgrade.take()) {
        (Ok(Ok(())), Some(upgrade)) => {
            // From here on the socket has the place.
            if let Some(place) = visit.place.take() {
                place.keep();
            }
            load.keep();
            connection::open(shard, stream, &parts.read_buf, upgrade.uuid, upgrade.request);
        }
        (outcome, upgrade) => {
            if let Some(upgrade) = upgrade {
                // The 101 could not be written: nobody was told of this socket.
                shared.registry.release(upgrade.uuid.id);
            }
            drop(load);
            match outcome {
                Ok(Ok(())) => linger(stream, Bytes::new(), &shared.config).await,
                Ok(Err(error)) => {
                    log::debug!("{client} is no HTTP client: {error}");
                    if error.is_parse() {
                        shared.counters(index).refused.add(1);
                    }
                    // hyper has told it so, unless it said nothing for too long.
                    if !error.is_timeout() {
                        linger(stream, Bytes::new(), &shared.config).await;
                    }
                }
                Err(_) => log::debug!("{client} did not take its answer in time"),
            }
        }
    }
}

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        // The shard failed before the socket was opened: nobody was told of it.
        if let Some(upgrade) = self.upgrade.take() {
            self.shared.registry.release(upgrade.uuid.id);
        }
    }
}

impl Visit<'_> {
    /// Counts the connection for its address; false if that has far too many.
    fn enter(&self, address: Option<IpAddr>) -> bool {
        let Some((place, entry)) = Place::enter(self.shared, address) else { return false };
        self.over.set(entry == Entry::Over);
        *self.place.borrow_mut() = Some(place);
        true
    }

    fn serve(&self, request: HttpRequest<Incoming>) -> Answering<'_> {
        match self.answer(&request) {
            Ok(answer) => Answering::Ready(Some(self.finish(&request, answer))),
            Err(accepted) => Answering::Asking(Box::pin(async move {
                let answer = self.ask(&request, accepted).await;
                self.finish(&request, answer)
            })),
        }
    }

    /// What all answers have in common.
    fn finish(&self, request: &HttpRequest<Incoming>, mut answer: Answer) -> Answer {
        let (status, counters) = (answer.status(), self.shared.counters(self.index));
        if status.is_client_error() || status.is_server_error() {
            counters.refused.add(1);
        } else if status != StatusCode::SWITCHING_PROTOCOLS {
            counters.pages.add(1);
        }
        if status != StatusCode::SWITCHING_PROTOCOLS {
            // One answer a connection: a page's connection that stays open would hold one of the sockets' places. Not
            // by hyper's own setting, which would add "close" to the answer of a handshake too.
            answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        log::debug!("{} {} {}: {status}", self.client, request.method(), request.uri().path());
        answer
    }

    /// Answers a request, unless that is for the application to decide.
    fn answer(&self, request: &HttpRequest<Incoming>) -> Result<Answer, Accepted> {
        if let Err(refusal) = self.shared.guard.check(request) {
            return Ok(refuse(refusal));
        }
        let accepted = match handshake::handshake(request) {
            Some(Ok(accepted)) => accepted,
            Some(Err(refusal)) => return Ok(refuse(refusal)),
            None => return Ok(page(self.shared, request)),
        };
        if let Err(refusal) = self.check_address(request) {
            return Ok(refuse(refusal));
        }
        if self.shared.config.authorize {
            return Err(accepted);
        }
        Ok(self.open(request, &accepted, String::new()))
    }

    /// One address must not take the places of all.
    fn check_address(&self, request: &HttpRequest<Incoming>) -> Result<(), Refusal> {
        let shared = self.shared;
        let address = self.address(request);
        if shared.config.trust_proxy != TrustProxy::None && !self.enter(address) {
            self.over.set(true);
        }
        if !self.over.get() {
            return Ok(());
        }
        if let Some(address) = address.filter(|_| shared.addresses.tell()) {
            let limit = shared.config.max_connections_per_address;
            log::warn!("{address} has {limit} connections and gets no more");
            shared.host.error(&Error::AddressFull { address, limit });
        }
        Err(Refusal {
            status: StatusCode::TOO_MANY_REQUESTS,
            message: "your address has as many connections as 'maxConnectionsPerAddress' allows",
            header: Some((RETRY_AFTER, "5")),
        })
    }

    fn address(&self, request: &HttpRequest<Incoming>) -> Option<IpAddr> {
        self.shared.config.trust_proxy.client(self.client.ip(), request.headers())
    }

    /// Opens the socket of a handshake.
    fn open(&self, request: &HttpRequest<Incoming>, accepted: &Accepted, data: String) -> Answer {
        let Some(uuid) = self.shared.registry.open(self.index) else {
            return refuse(unavailable(
                "the server has as many sockets as 'maxConnections' allows: try again later",
            ));
        };
        let protocol = accepted.protocol.as_ref().and_then(|value| value.to_str().ok());
        let protocol = protocol.unwrap_or_default().to_owned();
        let request = Request { protocol, data, ..describe(request, self.address(request)) };
        *self.upgrade.borrow_mut() = Some(Upgrade { uuid, request });
        let mut answer = Response::new(Full::default());
        *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        handshake::answer(answer.headers_mut(), accepted);
        answer
    }

    /// Has the application decide about a handshake.
    async fn ask(&self, request: &HttpRequest<Incoming>, mut accepted: Accepted) -> Answer {
        let described = describe(request, self.address(request));
        let Some(verdict) = authorize::ask(self.shared, described) else {
            return refuse(unavailable("too many requests wait to be authorized: try again later"));
        };
        let verdict = match timeout(self.shared.config.handshake_timeout, verdict).await {
            Ok(Ok(verdict)) => verdict,
            Ok(Err(_)) => return refuse(unavailable("nobody is there to authorize this request")),
            Err(_) => return refuse(unavailable("this request was not authorized in time")),
        };
        match verdict {
            Verdict::Accept { data, .. } if data.len() > MAX_DATA_BYTES => failed(),
            Verdict::Accept { protocol: None, data } => self.open(request, &accepted, data),
            Verdict::Accept { protocol: Some(protocol), data } => {
                accepted.protocol = match &protocol[..] {
                    "" => None,
                    name if handshake::offers(request.headers(), name) => {
                        HeaderValue::from_str(name).ok()
                    }
                    _ => return failed(),
                };
                self.open(request, &accepted, data)
            }
            Verdict::Refuse { status, headers, body } => {
                own_answer(status, headers, body).unwrap_or_else(failed)
            }
            Verdict::Failed => failed(),
        }
    }
}

/// The application's own answer; `None` if it is none.
fn own_answer(status: u16, headers: Vec<(String, String)>, body: Vec<u8>) -> Option<Answer> {
    let status = StatusCode::from_u16(status).ok().filter(|_| (200..600).contains(&status))?;
    let bodiless = matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let body = if bodiless { Bytes::new() } else { body.into() };
    let mut answer = text(status, "text/plain; charset=utf-8", body);
    if bodiless {
        answer.headers_mut().remove(CONTENT_TYPE);
    }
    let mut seen = HeaderMap::new();
    for (name, value) in headers {
        let name = HeaderName::try_from(name).ok()?;
        // How the message is framed and what becomes of the connection is the server's business.
        if matches!(name, CONNECTION | CONTENT_LENGTH | TRANSFER_ENCODING | UPGRADE) {
            return None;
        }
        seen.append(name, HeaderValue::try_from(value).ok()?);
    }
    // In place of the server's own, where there is one.
    answer.headers_mut().extend(seen);
    Some(answer)
}

fn failed() -> Answer {
    refuse(Refusal {
        status: StatusCode::INTERNAL_SERVER_ERROR,
        message: "this request could not be authorized",
        header: None,
    })
}

fn unavailable(message: &'static str) -> Refusal {
    Refusal { status: StatusCode::SERVICE_UNAVAILABLE, message, header: Some((RETRY_AFTER, "5")) }
}

/// Copies what the application may ask for: hyper's own values would keep the whole read buffer alive.
fn describe(request: &HttpRequest<Incoming>, remote_address: Option<IpAddr>) -> Request {
    let url = request.uri().path_and_query().map_or("/", |url| url.as_str());
    let latin1 = |value: &HeaderValue| value.as_bytes().iter().map(|&byte| byte as char).collect();
    Request {
        url: url.to_owned(),
        headers: request
            .headers()
            .iter()
            .map(|(name, value)| (name.as_str().to_owned(), latin1(value)))
            .collect(),
        remote_address,
        ..Request::default()
    }
}

/// The page on every path, but for the few that are reserved.
fn page(shared: &Shared, request: &HttpRequest<Incoming>) -> Answer {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return refuse(Refusal {
            status: StatusCode::METHOD_NOT_ALLOWED,
            message: "only GET and HEAD are served here",
            header: Some((ALLOW, "GET, HEAD")),
        });
    }
    if handshake::announces_body(request.headers()) {
        return refuse(Refusal {
            status: StatusCode::BAD_REQUEST,
            message: "a request for a page has no body",
            header: None,
        });
    }
    match request.uri().path() {
        "/favicon.ico" => {
            let mut answer = Response::new(Full::default());
            *answer.status_mut() = StatusCode::NO_CONTENT;
            answer
        }
        "/health" => text(StatusCode::OK, "text/plain; charset=utf-8", "ok\n".into()),
        "/metrics" => {
            text(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", metrics(shared).into())
        }
        _ => {
            let page = shared.page.render();
            let mut answer = text(StatusCode::OK, "text/html; charset=utf-8", page.html);
            if let Some(policy) = page.policy.and_then(|policy| HeaderValue::try_from(policy).ok())
            {
                answer.headers_mut().insert(CONTENT_SECURITY_POLICY, policy);
            }
            answer
        }
    }
}

fn refuse(refusal: Refusal) -> Answer {
    let body = format!("{}\n", refusal.message).into();
    let mut answer = text(refusal.status, "text/plain; charset=utf-8", body);
    if let Some((name, value)) = refusal.header {
        answer.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    answer
}

fn text(status: StatusCode, content_type: &'static str, body: Bytes) -> Answer {
    let mut answer = Response::new(Full::new(body));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

/// The figures in Prometheus' text format, version 0.0.4.
fn metrics(shared: &Shared) -> String {
    let stats = shared.stats();
    let mut text = String::new();
    for (name, value) in stats.fields() {
        let kind = if crate::stats::is_gauge(name) { "gauge" } else { "counter" };
        let suffix = if kind == "counter" { "_total" } else { "" };
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "# TYPE pocketsocket_{name}{suffix} {kind}\npocketsocket_{name}{suffix} {value}\n"
        );
    }
    text
}
