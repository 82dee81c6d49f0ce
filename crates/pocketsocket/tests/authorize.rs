//! Handshakes that the application decides about: what it is asked, what its answers do, and what happens without one.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::time::Duration;

use pocketsocket::{Config, Verdict};
use support::{
    Rig, Seen,
    client::{connect_to, over, receive_text, send},
    config, raw, until,
};
use tokio::io::AsyncWriteExt;

fn asking() -> Config {
    Config { authorize: true, ..config() }
}

fn accept(data: &str) -> Verdict {
    Verdict::Accept { protocol: None, data: data.to_owned() }
}

/// A connection that has sent its request.
async fn asked(rig: &Rig, headers: &str) -> tokio::net::TcpStream {
    let mut stream = raw::tcp(&rig.server).await;
    let request = raw::HANDSHAKE.replace("13\r\n\r\n", &format!("13\r\n{headers}\r\n"));
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

#[tokio::test]
async fn a_socket_opens_only_after_the_answer_and_carries_its_data() {
    let mut rig = Rig::echoing(asking());
    let mut stream = asked(&rig, "Cookie: a=b\r\nSec-WebSocket-Protocol: v1, v2\r\n").await;
    let waiting = rig.next_asked().await;
    let request = waiting.request();
    assert_eq!(request.url, "/");
    assert_eq!(request.remote_address.unwrap().to_string(), "127.0.0.1");
    assert!(request.headers.contains(&("cookie".into(), "a=b".into())), "{request:?}");
    assert!(request.headers.contains(&("sec-websocket-protocol".into(), "v1, v2".into())));
    assert_eq!((request.protocol.as_str(), request.data.as_str()), ("", ""));
    assert_eq!(rig.server.stats().connections, 0, "no slot before the answer");
    let data = "user 7\nné 😀";
    waiting.answer(accept(data));
    let head = raw::read_head(&mut stream).await;
    assert_eq!(raw::status(&head), 101);
    assert_eq!(raw::header(&head, "sec-websocket-protocol"), Some("v1"), "the first, as without");
    let Seen::Connect { request, .. } = rig.next().await.seen else { panic!("no Connect") };
    assert_eq!((request.data.as_str(), request.protocol.as_str()), (data, "v1"));
    let mut client = over(stream).await;
    send(&mut client, "in").await;
    assert_eq!(receive_text(&mut client).await, "in");
}

#[tokio::test]
async fn the_data_of_a_socket_goes_with_it_to_another_lane() {
    let mut rig = Rig::start(asking());
    let (_stream, connect) = {
        let mut stream = asked(&rig, "").await;
        rig.next_asked().await.answer(accept("user 7"));
        raw::read_head(&mut stream).await;
        (stream, rig.next().await)
    };
    rig.server.rehome(connect.lane, Vec::new());
    let again = rig.next().await;
    let Seen::Connect { request, resumed: true } = again.seen else { panic!("{again:?}") };
    assert_eq!(request.data, "user 7");
}

#[tokio::test]
async fn one_of_the_offered_subprotocols_may_be_chosen_or_none() {
    for (chosen, expected) in [("v2", Some("v2")), ("v3", Some("v3")), ("", None)] {
        let mut rig = Rig::start(asking());
        let mut stream =
            asked(&rig, "Sec-WebSocket-Protocol: v1,v2\r\nSec-WebSocket-Protocol: v3\r\n").await;
        let verdict = Verdict::Accept { protocol: Some(chosen.to_owned()), data: String::new() };
        rig.next_asked().await.answer(verdict);
        let head = raw::read_head(&mut stream).await;
        assert_eq!(raw::status(&head), 101, "{chosen}");
        assert_eq!(raw::header(&head, "sec-websocket-protocol"), expected);
        let Seen::Connect { request, .. } = rig.next().await.seen else { panic!("no Connect") };
        assert_eq!(request.protocol, chosen);
    }
}

#[tokio::test]
async fn an_answer_that_makes_no_sense_is_500_and_no_socket() {
    let refuse = |status, name: &str, value: &str| Verdict::Refuse {
        status,
        headers: vec![(name.to_owned(), value.to_owned())],
        body: Vec::new(),
    };
    let protocol =
        |name: &str| Verdict::Accept { protocol: Some(name.to_owned()), data: String::new() };
    let mut rig = Rig::start(asking());
    for verdict in [
        Verdict::Failed,
        protocol("v9"),
        protocol("V1"),
        protocol("v1, v2"),
        accept(&"x".repeat(4097)),
        refuse(101, "a", "b"),
        refuse(199, "a", "b"),
        refuse(600, "a", "b"),
        refuse(403, "a b", "c"),
        refuse(403, "a", "b\r\nc: d"),
        refuse(403, "Connection", "keep-alive"),
        refuse(403, "Content-Length", "7"),
        refuse(403, "transfer-encoding", "chunked"),
        refuse(403, "Upgrade", "h2c"),
    ] {
        let said = format!("{verdict:?}");
        let mut stream = asked(&rig, "Sec-WebSocket-Protocol: v1, v2\r\n").await;
        rig.next_asked().await.answer(verdict);
        assert_eq!(raw::status(&raw::read_to_end(&mut stream).await), 500, "{said}");
    }
    assert_eq!(rig.server.stats().opened, 0);
    assert!(rig.try_next().is_none(), "the host hears of no socket");
}

#[tokio::test]
async fn a_refusal_is_answered_as_the_application_says() {
    let mut rig = Rig::start(asking());
    let mut stream = asked(&rig, "").await;
    rig.next_asked().await.answer(Verdict::Refuse {
        status: 401,
        headers: vec![
            ("WWW-Authenticate".to_owned(), "Basic".to_owned()),
            ("Set-Cookie".to_owned(), "a=1".to_owned()),
            ("Content-Type".to_owned(), "application/json".to_owned()),
        ],
        body: b"{}".to_vec(),
    });
    let answer = raw::read_to_end(&mut stream).await;
    assert_eq!(raw::status(&answer), 401);
    assert_eq!(raw::header(&answer, "www-authenticate"), Some("Basic"));
    assert_eq!(raw::header(&answer, "set-cookie"), Some("a=1"));
    assert_eq!(raw::header(&answer, "content-type"), Some("application/json"));
    assert_eq!(raw::header(&answer, "content-length"), Some("2"));
    assert_eq!(raw::header(&answer, "connection"), Some("close"));
    assert_eq!(raw::body(&answer), "{}");
    assert_eq!(rig.server.stats().refused, 1);

    let mut stream = asked(&rig, "").await;
    let body = b"none of it is sent".to_vec();
    rig.next_asked().await.answer(Verdict::Refuse { status: 204, headers: Vec::new(), body });
    let answer = raw::read_to_end(&mut stream).await;
    assert_eq!((raw::status(&answer), raw::body(&answer)), (204, ""));
}

#[tokio::test]
async fn no_answer_in_time_is_503_and_a_late_one_opens_nothing() {
    let mut rig = Rig::start(Config { handshake_timeout: Duration::from_millis(200), ..asking() });
    let mut stream = asked(&rig, "").await;
    let waiting = rig.next_asked().await;
    let answer = raw::read_to_end(&mut stream).await;
    assert_eq!(raw::status(&answer), 503, "{answer}");
    assert_eq!(raw::header(&answer, "retry-after"), Some("5"));
    assert!(waiting.is_gone());
    waiting.answer(accept(""));
    assert_eq!(rig.server.stats().opened, 0);
}

#[tokio::test]
async fn a_question_that_nobody_keeps_is_503() {
    let mut rig = Rig::start(asking());
    let mut stream = asked(&rig, "").await;
    drop(rig.next_asked().await);
    assert_eq!(raw::status(&raw::read_to_end(&mut stream).await), 503);
}

#[tokio::test]
async fn a_client_that_leaves_is_asked_about_no_more() {
    let mut rig = Rig::start(asking());
    let stream = asked(&rig, "").await;
    let reply = rig.next_asked().await.into_reply();
    assert!(!reply.is_gone());
    drop(stream);
    until(|| reply.is_gone()).await;
    reply.send(accept(""));
    assert_eq!(rig.server.stats().opened, 0);
}

#[tokio::test]
async fn what_waits_for_answers_is_bounded() {
    /// Of these fit into 16 MiB.
    const COUNT: usize = 67;
    let mut rig = Rig::start(Config { max_header_bytes: 1 << 18, ..asking() });
    let large = format!("X-Large: {}\r\n", "x".repeat(249_000));
    let mut streams = Vec::new();
    for _ in 0..COUNT {
        streams.push(asked(&rig, &large).await);
    }
    let mut waiting = Vec::new();
    for _ in 0..COUNT {
        waiting.push(rig.next_asked().await);
    }
    let mut one_more = asked(&rig, &large).await;
    assert_eq!(raw::status(&raw::read_head(&mut one_more).await), 503);
    // What was read by the application makes room, answered or not.
    let replies: Vec<_> = waiting.into_iter().map(pocketsocket::Asked::into_reply).collect();
    let mut next = asked(&rig, &large).await;
    rig.next_asked().await.answer(accept(""));
    assert_eq!(raw::status(&raw::read_head(&mut next).await), 101);
    // The shards may have asked in another order.
    replies.into_iter().for_each(|reply| reply.send(accept("")));
    for stream in &mut streams {
        assert_eq!(raw::status(&raw::read_head(stream).await), 101);
    }
}

#[tokio::test]
async fn pages_and_what_is_refused_anyway_is_not_asked_about() {
    let mut rig = Rig::start(asking());
    let page = raw::request(&rig.server, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert_eq!(raw::status(&page), 200);
    let evil = raw::HANDSHAKE.replace("localhost", "evil.example");
    assert_eq!(raw::status(&raw::request(&rig.server, evil.as_bytes()).await), 403);
    let old = raw::HANDSHAKE.replace("Version: 13", "Version: 12");
    assert_eq!(raw::status(&raw::request(&rig.server, old.as_bytes()).await), 426);
    let mut stream = asked(&rig, "X-First: 1\r\n").await;
    let asked = rig.next_asked().await;
    assert!(asked.request().headers.iter().any(|(name, _)| name == "x-first"));
    asked.answer(Verdict::Accept { protocol: None, data: String::new() });
    raw::read_head(&mut stream).await;
}

#[tokio::test]
async fn frames_that_come_with_the_request_wait_for_the_answer() {
    let mut rig = Rig::echoing(asking());
    let mut stream = raw::tcp(&rig.server).await;
    let mut bytes = raw::HANDSHAKE.as_bytes().to_vec();
    bytes.extend(raw::frame(0x81, b"early"));
    stream.write_all(&bytes).await.unwrap();
    rig.next_asked().await.answer(accept(""));
    assert_eq!(raw::status(&raw::read_head(&mut stream).await), 101);
    assert_eq!(raw::read_frame(&mut stream).await, Some((0x81, b"early".to_vec())));
}

#[tokio::test]
async fn a_shutdown_does_not_wait_for_an_answer() {
    let mut rig = Rig::start(asking());
    let _stream = asked(&rig, "").await;
    let waiting = rig.next_asked().await;
    rig.shutdown(Duration::from_secs(5)).await;
    assert!(waiting.is_gone());
}

#[tokio::test]
async fn many_are_asked_about_at_once_and_answered_in_any_order() {
    let mut rig = Rig::start(asking());
    let server = rig.server.clone();
    let clients: Vec<_> = (0..100)
        .map(|n| {
            let server = server.clone();
            tokio::spawn(async move { connect_to(&server, &format!("/{n}"), &[]).await.0 })
        })
        .collect();
    let mut waiting = Vec::new();
    for _ in 0..100 {
        waiting.push(rig.next_asked().await);
    }
    for asked in waiting.into_iter().rev() {
        let data = asked.request().url.clone();
        asked.answer(accept(&data));
    }
    let mut open = Vec::new();
    for client in clients {
        open.push(client.await.unwrap());
    }
    for _ in 0..100 {
        let Seen::Connect { request, .. } = rig.next().await.seen else { panic!("no Connect") };
        assert_eq!(request.data, request.url);
    }
}
