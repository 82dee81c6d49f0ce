//! One TCP connection from its first byte to its end as HTTP, or to its upgrade.
//!
//! hyper reads the request and writes the answer. The future is large, so it is a task of its own that ends with the
//! upgrade; the socket goes on in a small one, with the bytes that came along with the request.

use std::{
    cell::RefCell,
    convert::Infallible,
    fmt::Write as _,
    future::{poll_fn, ready},
    rc::Rc,
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Method, Request as HttpRequest, Response, StatusCode,
    body::Incoming,
    header::{
        ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue,
        REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
    },
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::time::timeout;

use crate::{
    Request, Uuid, connection,
    handshake::{self, Refusal},
    limits::{MAX_HEADER_BYTES, MAX_HEADERS},
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

/// Serves one connection.
pub(crate) async fn serve(shard: ShardRef, stream: Stream, address: Client) {
    let (shared, index) = {
        let shard = shard.borrow();
        (std::sync::Arc::clone(&shard.shared), shard.index)
    };
    let upgrade = Rc::new(RefCell::new(None));
    let service = service_fn(|request| {
        let mut answer = answer(&shared, index, address, &request, &mut upgrade.borrow_mut());
        if answer.status().is_client_error() || answer.status().is_server_error() {
            shared.counters(index).refused.add(1);
        } else if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
            shared.counters(index).pages.add(1);
        }
        if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
            // One answer a connection: a page's connection that stays open would hold one of the sockets' places. Not
            // by hyper's own setting, which would add "close" to the answer of a handshake too.
            answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        log::debug!("{address} {} {}: {}", request.method(), request.uri().path(), answer.status());
        ready(Ok::<_, Infallible>(answer))
    });
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(shared.config.handshake_timeout)
        .max_headers(MAX_HEADERS)
        .max_header_size(MAX_HEADER_BYTES)
        .max_buf_size(2 * MAX_HEADER_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    // The header timeout bounds the reading; this bounds a client that does not take its answer.
    let served = poll_fn(|cx| connection.poll_without_shutdown(cx));
    let outcome = timeout(shared.config.handshake_timeout * 2, served).await;
    let parts = connection.into_parts();
    let stream = parts.io.into_inner();
    match (outcome, upgrade.take()) {
        (Ok(Ok(())), Some(upgrade)) => {
            connection::open(shard, stream, &parts.read_buf, upgrade.uuid, upgrade.request);
        }
        (outcome, upgrade) => {
            if let Some(upgrade) = upgrade {
                // The 101 could not be written: nobody was told of this socket.
                shared.registry.release(upgrade.uuid.id);
            }
            shard.borrow().connection_ended();
            match outcome {
                Ok(Ok(())) => linger(stream, Bytes::new(), &shared.config).await,
                Ok(Err(error)) => {
                    log::debug!("{address} is no HTTP client: {error}");
                    // hyper has told it so, unless it said nothing for too long.
                    if !error.is_timeout() {
                        linger(stream, Bytes::new(), &shared.config).await;
                    }
                }
                Err(_) => log::debug!("{address} did not take its answer in time"),
            }
        }
    }
}

fn answer(
    shared: &Shared,
    index: u8,
    address: Client,
    request: &HttpRequest<Incoming>,
    upgrade: &mut Option<Upgrade>,
) -> Answer {
    if let Err(refusal) = shared.guard.check(request) {
        return refuse(refusal);
    }
    match handshake::handshake(request) {
        Some(Ok(accepted)) => {
            let Some(uuid) = shared.registry.open(index) else {
                return refuse(Refusal {
                    status: StatusCode::SERVICE_UNAVAILABLE,
                    message: "the server has as many sockets as 'maxConnections' allows: try again later",
                    header: Some((hyper::header::RETRY_AFTER, "5")),
                });
            };
            let protocol = accepted.protocol.as_ref().and_then(|value| value.to_str().ok());
            let request = describe(request, address, protocol.unwrap_or_default());
            *upgrade = Some(Upgrade { uuid, request });
            let mut answer = Response::new(Full::default());
            *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            handshake::answer(answer.headers_mut(), &accepted);
            answer
        }
        Some(Err(refusal)) => refuse(refusal),
        None => page(shared, request),
    }
}

/// Copies what the application may ask for: hyper's own values would keep the whole read buffer alive.
fn describe(request: &HttpRequest<Incoming>, address: Client, protocol: &str) -> Request {
    let url = request.uri().path_and_query().map_or("/", |url| url.as_str());
    let latin1 = |value: &HeaderValue| value.as_bytes().iter().map(|&byte| byte as char).collect();
    Request {
        url: url.to_owned(),
        headers: request
            .headers()
            .iter()
            .map(|(name, value)| (name.as_str().to_owned(), latin1(value)))
            .collect(),
        remote_address: match address {
            Client::Tcp(address) => Some(address.ip().to_canonical()),
            #[cfg(unix)]
            Client::Unix => None,
        },
        protocol: protocol.to_owned(),
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
