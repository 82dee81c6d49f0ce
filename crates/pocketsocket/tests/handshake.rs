//! The handshake: the answer that is exactly right, and the requests that must not get it.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::time::{Duration, Instant};

use pocketsocket::{Config, Request};
use support::{
    Rig, Seen,
    client::{connect_to, receive_text, send},
    config, raw, soon,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// The good request with one line put in place of another.
fn with(line: &str, other: &str) -> String {
    assert_eq!(raw::HANDSHAKE.matches(line).count(), 1, "{line}");
    raw::HANDSHAKE.replacen(line, other, 1)
}

/// The good request with more lines.
fn and(lines: &str) -> String {
    with("\r\n\r\n", &format!("\r\n{lines}\r\n\r\n"))
}

#[tokio::test]
async fn the_answer_has_the_headers_of_rfc_6455_and_no_others_about_the_connection() {
    let rig = Rig::start(config());
    for (request, protocol) in [
        (raw::HANDSHAKE.to_owned(), None),
        (with("Connection: Upgrade", "Connection: keep-alive, Upgrade"), None),
        (with("GET / ", "GET /any/path?and=query "), None),
        (and("Sec-WebSocket-Protocol: chat, superchat"), Some("chat")),
        (and("Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"), None),
        (and("Content-Length: 0"), None),
    ] {
        let mut stream = raw::tcp(&rig.server).await;
        stream.write_all(request.as_bytes()).await.unwrap();
        let head = raw::read_head(&mut stream).await;
        assert!(head.starts_with("HTTP/1.1 101 Switching Protocols\r\n"), "{head}");
        assert_eq!(raw::header(&head, "connection"), Some("Upgrade"), "{request}");
        assert_eq!(raw::header(&head, "upgrade"), Some("websocket"));
        let accept = raw::header(&head, "sec-websocket-accept");
        assert_eq!(accept, Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        assert_eq!(raw::header(&head, "sec-websocket-protocol"), protocol);
        assert_eq!(raw::header(&head, "sec-websocket-extensions"), None);
        assert_eq!(raw::header(&head, "content-length"), None);
        assert_eq!(raw::header(&head, "transfer-encoding"), None);
    }
}

#[tokio::test]
async fn frames_in_the_segment_of_the_handshake_are_processed() {
    let mut rig = Rig::echoing(config());
    let mut stream = raw::tcp(&rig.server).await;
    let mut bytes = raw::HANDSHAKE.as_bytes().to_vec();
    bytes.extend(raw::frame(0x81, b"first"));
    // More than hyper and the engine read at a time.
    let large = vec![b'x'; 200_000];
    bytes.extend(raw::frame(0x82, &large));
    bytes.extend(&raw::frame(0x81, b"cut in two")[..10]);
    stream.write_all(&bytes).await.unwrap();
    assert_eq!(raw::status(&raw::read_head(&mut stream).await), 101);
    assert_eq!(raw::read_frame(&mut stream).await, Some((0x81, b"first".to_vec())));
    assert_eq!(raw::read_frame(&mut stream).await, Some((0x82, large)));
    stream.write_all(&raw::frame(0x81, b"cut in two")[10..]).await.unwrap();
    assert_eq!(raw::read_frame(&mut stream).await, Some((0x81, b"cut in two".to_vec())));
    assert!(matches!(rig.next().await.seen, Seen::Connect { .. }));
    assert_eq!(rig.next().await.seen.text(), "first");
}

#[tokio::test]
async fn a_handshake_in_single_bytes_succeeds() {
    let rig = Rig::start(config());
    let mut stream = raw::tcp(&rig.server).await;
    for byte in raw::HANDSHAKE.as_bytes() {
        stream.write_all(&[*byte]).await.unwrap();
    }
    assert_eq!(raw::status(&raw::read_head(&mut stream).await), 101);
}

#[tokio::test]
async fn the_host_is_told_what_was_asked_for() {
    let mut rig = Rig::start(config());
    let headers = [("x-name", "value"), ("x-name", "more"), ("sec-websocket-protocol", "b, a")];
    let (mut client, response) = connect_to(&rig.server, "/room/1?token=x", &headers).await;
    assert_eq!(response.headers()["sec-websocket-protocol"], "b");
    let Seen::Connect { request, resumed: false } = rig.next().await.seen else { panic!() };
    let Request { url, headers, remote_address, protocol, .. } = request;
    assert_eq!((url.as_str(), protocol.as_str()), ("/room/1?token=x", "b"));
    assert_eq!(remote_address, Some([127, 0, 0, 1].into()));
    let values: Vec<_> =
        headers.iter().filter(|(name, _)| name == "x-name").map(|(_, value)| value).collect();
    assert_eq!(values, ["value", "more"]);
    send(&mut client, "and it works").await;
    assert_eq!(rig.next().await.seen.text(), "and it works");
}

#[tokio::test]
async fn a_request_that_is_no_good_handshake_gets_its_status_and_no_socket() {
    let mut rig = Rig::start(config());
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";
    for (request, status) in [
        (with("Version: 13", "Version: 12"), 426),
        (with("Sec-WebSocket-Version: 13\r\n", ""), 426),
        (with(key, "X-Key: none"), 400),
        (with(key, "Sec-WebSocket-Key: c2hvcnQ="), 400),
        (and(key), 400),
        (with("GET", "POST"), 405),
        (with("HTTP/1.1", "HTTP/1.0"), 400),
        (with("Connection: Upgrade\r\n", ""), 400),
        (with("Upgrade: websocket\r\n", ""), 400),
        (with("Host: localhost\r\n", ""), 400),
        (and("Host: localhost"), 400),
        (and("Content-Length: 5"), 400),
        (and("Transfer-Encoding: chunked"), 400),
        (and("Sec-WebSocket-Protocol: a b"), 400),
        (and("X-A : 1"), 400),
        (and("X-A: a\0b"), 400),
        (with("Host: localhost", "Host: evil.example"), 403),
        (with("Host: localhost", "Host: localhost.evil.com"), 403),
        (and("Origin: http://evil.example"), 403),
        (and("Origin: null"), 403),
        (and("Origin: http://localhost\r\nOrigin: http://localhost"), 403),
    ] {
        let answer = raw::request(&rig.server, request.as_bytes()).await;
        assert_eq!(raw::status(&answer), status, "{request}\n{answer}");
        if status == 426 {
            assert_eq!(raw::header(&answer, "sec-websocket-version"), Some("13"));
        }
        assert_eq!(raw::header(&answer, "connection"), Some("close"), "{answer}");
    }
    assert!(rig.try_next().is_none());
    let stats = rig.server.stats();
    assert_eq!((stats.connections, stats.opened), (0, 0));
    let mut stream = raw::open(&rig.server).await;
    stream.write_all(&raw::frame(0x81, b"alive")).await.unwrap();
    rig.next().await;
    assert_eq!(rig.next().await.seen.text(), "alive");
}

#[tokio::test]
async fn pages_of_this_machine_and_of_allowed_origins_may_connect() {
    let mut rig =
        Rig::echoing(Config { allowed_origins: vec!["https://chat.example".into()], ..config() });
    for origin in ["http://localhost:3000", "http://127.0.0.1", "https://chat.example"] {
        let (mut client, _) = connect_to(&rig.server, "/", &[("origin", origin)]).await;
        send(&mut client, origin).await;
        assert_eq!(receive_text(&mut client).await, origin);
    }
    rig.next().await;
}

#[tokio::test]
async fn too_many_or_too_large_headers_get_431_or_414() {
    let rig = Rig::start(config());
    let many: Vec<_> = (0..101).map(|n| format!("X-{n}: {n}")).collect();
    let some = many[..90].join("\r\n");
    let answers = [
        (and(&many.join("\r\n")), &[431][..]),
        (and(&format!("X-Large: {}", "x".repeat(17 * 1024))), &[431]),
        (and(&format!("X-Large: {}", "x".repeat(64 * 1024))), &[431]),
        (and(&format!("X-Large: {}", "x".repeat(1 << 20))), &[431]),
        (with("GET / ", &format!("GET /{} ", "x".repeat(64 * 1024))), &[414, 431]),
    ];
    for (request, statuses) in answers {
        let answer = raw::request(&rig.server, request.as_bytes()).await;
        assert!(statuses.contains(&raw::status(&answer)), "{answer}");
    }
    let mut stream = raw::tcp(&rig.server).await;
    stream.write_all(and(&some).as_bytes()).await.unwrap();
    assert_eq!(raw::status(&raw::read_head(&mut stream).await), 101);
}

#[tokio::test]
async fn long_lists_are_read_in_no_time() {
    let rig = Rig::start(config());
    let protocols = format!("Sec-WebSocket-Protocol: {}", " ,".repeat(7_000));
    let extensions = format!("Sec-WebSocket-Extensions: a; b=\"{}\"", "\\a".repeat(7_000));
    for lines in [protocols, extensions] {
        let started = Instant::now();
        let mut stream = raw::tcp(&rig.server).await;
        stream.write_all(and(&lines).as_bytes()).await.unwrap();
        raw::read_head(&mut stream).await;
        assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    }
}

#[tokio::test]
async fn a_client_that_dribbles_its_request_is_cut_by_the_handshake_timeout() {
    let handshake_timeout = Duration::from_millis(200);
    let rig = Rig::start(Config { handshake_timeout, ..config() });
    let started = Instant::now();
    let mut stream = raw::tcp(&rig.server).await;
    let mut answer = Vec::new();
    let (mut reading, mut writing) = stream.split();
    let dribbling = async {
        for byte in raw::HANDSHAKE.as_bytes() {
            if writing.write_all(&[*byte]).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        // However it ends: cut short is what is asked for.
        _ = soon(reading.read_to_end(&mut answer)) => {}
        () = dribbling => {}
    }
    assert!(!answer.starts_with(b"HTTP/1.1 101"));
    assert!(started.elapsed() >= handshake_timeout);
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_client_that_says_nothing_is_cut_by_the_handshake_timeout() {
    let rig = Rig::start(Config { handshake_timeout: Duration::from_millis(50), ..config() });
    let mut stream = raw::tcp(&rig.server).await;
    let mut answer = Vec::new();
    let _ = soon(stream.read_to_end(&mut answer)).await;
    assert!(!answer.starts_with(b"HTTP/1.1 101"));
}
