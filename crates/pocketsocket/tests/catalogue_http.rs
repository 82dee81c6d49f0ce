//! The catalogue of broken requests: the bytes of each on a connection of its own, the status that it must get, the end of
//! the connection, and then a fresh client that echoes.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::time::{Duration, Instant};

use pocketsocket::Config;
use support::{
    Rig,
    client::{receive_text, send},
    config, raw, soon,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// The good request with one part put in place of another.
fn with(part: &str, other: &str) -> String {
    assert_eq!(raw::HANDSHAKE.matches(part).count(), 1, "{part}");
    raw::HANDSHAKE.replacen(part, other, 1)
}

/// The good request with more lines.
fn and(lines: &str) -> String {
    with("13\r\n\r\n", &format!("13\r\n{lines}\r\n\r\n"))
}

/// A page's request with more lines, and what follows.
fn page(method: &str, lines: &str, body: &str) -> String {
    format!("{method} / HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n\r\n{body}")
}

async fn assert_alive(rig: &mut Rig) {
    let (mut client, _) = rig.connect().await;
    send(&mut client, "alive").await;
    assert_eq!(receive_text(&mut client).await, "alive");
    assert_eq!(rig.next().await.seen.text(), "alive");
    client.close(None).await.unwrap();
    rig.next_close().await;
}

/// A request gets one answer with one of the statuses, and its connection ends; then a fresh client echoes.
async fn assert_status(rig: &mut Rig, name: &str, request: &str, statuses: &[u16]) {
    let answer = raw::request(&rig.server, request.as_bytes()).await;
    assert!(statuses.contains(&raw::status(&answer)), "{name}: {answer}");
    assert_eq!(answer.matches("\r\ndate: ").count(), 1, "{name}: one answer a connection");
    assert_eq!(raw::header(&answer, "connection"), Some("close"), "{name}: {answer}");
    if raw::status(&answer) == 426 {
        // RFC 6455 section 4.4: the version that the server speaks.
        assert_eq!(raw::header(&answer, "sec-websocket-version"), Some("13"), "{name}");
    }
    assert_alive(rig).await;
}

#[tokio::test]
async fn each_broken_handshake_gets_its_status() {
    let mut rig = Rig::echoing(config());
    for (name, request, status) in [
        ("section 4.4: version 12", with("Version: 13", "Version: 12"), 426),
        ("section 4.4: version 130", with("Version: 13", "Version: 130"), 426),
        ("section 4.4: no version", with("Sec-WebSocket-Version: 13\r\n", ""), 426),
        ("section 4.2.1: version twice", and("Sec-WebSocket-Version: 13"), 426),
        ("section 4.2.1: no key", with(KEY, ""), 400),
        ("section 4.2.1: a short key", with(KEY, "Sec-WebSocket-Key: c2hvcnQ=\r\n"), 400),
        (
            "section 4.2.1: a long key",
            with(KEY, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZSE=\r\n"),
            400,
        ),
        ("section 4.2.1: no base64", with("dGhlIHNhbXBsZSBub25jZQ==", &"*".repeat(24)), 400),
        ("section 4.2.1: key twice", with(KEY, &KEY.repeat(2)), 400),
        ("section 4.2.1: POST", with("GET", "POST"), 405),
        ("section 4.2.1: HTTP/1.0", with("HTTP/1.1", "HTTP/1.0"), 400),
        ("section 4.2.1: no Connection", with("Connection: Upgrade\r\n", ""), 400),
        (
            "section 4.2.1: Connection without Upgrade",
            with("Connection: Upgrade", "Connection: keep-alive"),
            400,
        ),
        ("section 4.2.1: no Upgrade", with("Upgrade: websocket\r\n", ""), 400),
        (
            "section 4.2.1: Upgrade to another",
            with("Upgrade: websocket", "Upgrade: websocket2"),
            400,
        ),
        ("RFC 9112 section 3.2: no Host", with("Host: localhost\r\n", ""), 400),
        ("RFC 9112 section 3.2: Host twice", and("Host: localhost"), 400),
        ("RFC 9112 section 5.1: a space before the colon", and("X-A : 1"), 400),
        ("RFC 9112 section 5.2: a folded header", and("X-A: 1\r\n folded"), 400),
        ("RFC 9110 section 5.5: NUL in a value", and("X-A: a\0b"), 400),
        ("RFC 9110 section 5.5: CR in a value", and("X-A: a\rb"), 400),
        ("RFC 9110 section 5.1: NUL in a name", and("X\0A: ab"), 400),
        ("a body", and("Content-Length: 5"), 400),
        ("a body in chunks", and("Transfer-Encoding: chunked"), 400),
        ("section 4.1: subprotocol with a space", and("Sec-WebSocket-Protocol: a b"), 400),
    ] {
        // Section 4.2.2 leaves the error code to the server; never 101.
        assert_status(&mut rig, name, &request, &[status]).await;
    }
    assert_eq!(rig.server.stats().opened, 25, "the fresh clients, and no other");
}

#[tokio::test]
async fn each_request_of_another_site_gets_403() {
    let mut rig = Rig::echoing(config());
    let port = rig.server.local_addr().port();
    for (name, request) in [
        ("another site", and("Origin: http://evil.example")),
        ("a sandboxed page", and("Origin: null")),
        ("an address", and("Origin: http://1.2.3.4")),
        ("a name that begins like ours", and("Origin: http://localhost.evil.com")),
        ("a name that ends like ours", and("Origin: http://evil-localhost")),
        ("our name as a user", and("Origin: http://localhost@evil.com")),
        ("our name and port as a user", and(&format!("Origin: http://127.0.0.1:{port}@evil.com"))),
        ("a path", and("Origin: http://localhost/path")),
        ("two origins", and("Origin: http://localhost\r\nOrigin: http://evil.example")),
        ("two origins in one", and("Origin: http://localhost, http://evil.example")),
        ("another host", with("Host: localhost", "Host: evil.example")),
        ("a host that begins like ours", with("Host: localhost", "Host: localhost.evil.com")),
        ("a host with our name as a user", with("Host: localhost", "Host: localhost@evil.com")),
    ] {
        assert_status(&mut rig, name, &request, &[400, 403]).await;
    }
}

#[tokio::test]
async fn each_request_that_could_smuggle_another_gets_400() {
    let mut rig = Rig::echoing(config());
    let next = "GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n";
    for (name, lines) in [
        ("both lengths", "Content-Length: 3\r\nTransfer-Encoding: chunked"),
        ("a signed length", "Content-Length: +3"),
        ("two lengths", "Content-Length: 3\r\nContent-Length: 4"),
        ("two lengths in one", "Content-Length: 3, 4"),
        ("a length in hex", "Content-Length: 0x3"),
        ("a negative length", "Content-Length: -1"),
        ("a length beyond 64 bits", "Content-Length: 99999999999999999999999"),
        ("chunks that are not the last", "Transfer-Encoding: chunked, identity"),
        ("another coding", "Transfer-Encoding: xchunked"),
    ] {
        let request = page("GET", lines, next);
        // RFC 9112 section 6.3 lets a server read both lengths as chunks if it then closes; this one refuses.
        assert_status(&mut rig, name, &request, &[400]).await;
    }
    for (name, request) in [
        ("a bare LF", "GET / HTTP/1.1\nHost: localhost\n\n".to_owned()),
        ("no method", " / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned()),
        ("no version", "GET /\r\nHost: localhost\r\n\r\n".to_owned()),
        ("HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned()),
        ("TLS", "\x16\x03\x01\x02\0\x01\0\x01\u{fc}\x03\x03\r\n\r\n".to_owned()),
    ] {
        let answer = raw::request(&rig.server, request.as_bytes()).await;
        // RFC 9112 section 2.2 lets a server take a bare LF. This request asks for a page, so that is what it may get.
        let fine = answer.is_empty() || matches!(raw::status(&answer), 200 | 400 | 405 | 505);
        assert!(fine && !answer.contains(" 101 "), "{name}: {answer}");
        assert_alive(&mut rig).await;
    }
}

#[tokio::test]
async fn each_request_that_is_too_large_gets_431_or_414() {
    let mut rig = Rig::echoing(config());
    let many: Vec<_> = (0..101).map(|n| format!("X-{n}: {n}")).collect();
    for (name, request) in [
        ("over 100 headers", and(&many.join("\r\n"))),
        ("a header of 64 KiB", and(&format!("X-Large: {}", "x".repeat(64 * 1024)))),
        ("a name of 64 KiB", and(&format!("{}: x", "x".repeat(64 * 1024)))),
        ("a URI of 64 KiB", with("GET / ", &format!("GET /{} ", "x".repeat(64 * 1024)))),
    ] {
        // RFC 6585 section 5 and RFC 9110 section 15.5.15.
        assert_status(&mut rig, name, &request, &[414, 431]).await;
    }
}

#[tokio::test]
async fn long_lists_are_read_in_under_100_ms() {
    let mut rig = Rig::echoing(config());
    for (name, lines) in [
        ("spaces", format!("Sec-WebSocket-Protocol: a{}b", " ".repeat(14_000))),
        ("commas", format!("Sec-WebSocket-Protocol: {}", " ,".repeat(7_000))),
        ("names", {
            let names: Vec<_> = (0..3_000).map(|n| format!("{n:x}")).collect();
            format!("Sec-WebSocket-Protocol: {}", names.join(","))
        }),
        ("escapes", format!("Sec-WebSocket-Extensions: a; b=\"{}\"", "\\a".repeat(7_000))),
        ("tokens", format!("Connection: {}", "a,".repeat(7_000))),
    ] {
        // The best of three: others run on the machine too.
        let mut best = Duration::MAX;
        for _ in 0..3 {
            let started = Instant::now();
            let mut stream = raw::tcp(&rig.server).await;
            stream.write_all(and(&lines).as_bytes()).await.unwrap();
            raw::read_head(&mut stream).await;
            best = best.min(started.elapsed());
        }
        assert!(best < Duration::from_millis(100), "{name}: {best:?}");
    }
    while rig.server.stats().connections > 0 {
        rig.next().await;
    }
    while rig.try_next().is_some() {}
    assert_alive(&mut rig).await;
}

#[tokio::test]
async fn no_path_is_a_file() {
    let mut rig = Rig::echoing(config());
    for path in [
        "/../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/..%5c..%5cetc/passwd",
        "/etc/passwd%00.html",
        "//etc/passwd",
        "/.%2e/etc/passwd",
        "/Cargo.toml",
        "http://localhost/etc/passwd",
    ] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let answer = raw::request(&rig.server, request.as_bytes()).await;
        assert!(matches!(raw::status(&answer), 200 | 400), "{path}: {answer}");
        assert!(!answer.contains("root:") && !answer.contains("[package]"), "{path}");
    }
    assert_alive(&mut rig).await;
}

#[tokio::test]
async fn extensions_are_declined_whatever_they_ask_for() {
    // Section 9.1: a server that accepts none leaves the header out, and RSV1 is then 1002.
    let mut rig = Rig::echoing(config());
    for offer in [
        "permessage-deflate",
        "permessage-deflate; client_max_window_bits=7",
        "permessage-deflate; server_max_window_bits=16",
        "permessage-deflate; client_max_window_bits; client_max_window_bits",
        "permessage-deflate; server_no_context_takeover=1",
        "permessage-deflate; \"",
        ";;;,,,",
    ] {
        let mut stream = raw::tcp(&rig.server).await;
        let request = and(&format!("Sec-WebSocket-Extensions: {offer}"));
        stream.write_all(request.as_bytes()).await.unwrap();
        let head = raw::read_head(&mut stream).await;
        assert_eq!(raw::status(&head), 101, "{offer}");
        assert_eq!(raw::header(&head, "sec-websocket-extensions"), None, "{offer}");
        rig.next().await;
        stream.write_all(&raw::frame(0xc1, &[0; 9])).await.unwrap();
        assert_eq!(raw::read_close_code(&mut stream).await, Some(1002), "{offer}");
        assert_eq!(rig.next_close().await.code, 1002);
        assert_alive(&mut rig).await;
    }
}

#[tokio::test]
async fn requests_that_dribble_are_cut_by_the_timeout_and_hold_nobody_up() {
    let handshake_timeout = Duration::from_millis(300);
    let mut rig = Rig::echoing(Config { handshake_timeout, ..config() });
    let mut slow = Vec::new();
    for _ in 0..100 {
        let mut stream = raw::tcp(&rig.server).await;
        stream.write_all(&raw::HANDSHAKE.as_bytes()[..40]).await.unwrap();
        slow.push(stream);
    }
    assert_alive(&mut rig).await;
    for stream in &mut slow {
        let mut answer = Vec::new();
        // However it ends: cut is what is asked for.
        let _ = soon(stream.read_to_end(&mut answer)).await;
        assert!(!answer.starts_with(b"HTTP/1.1 101"));
    }
    assert_alive(&mut rig).await;
}
