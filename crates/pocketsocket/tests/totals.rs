//! Limits that are options: of what waits in all, of what waits of one socket, and of a request.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::time::Duration;

use pocketsocket::{Config, DropPolicy, MessageKind, SendStatus};
use support::{Rig, Seen, config, raw, soon, until};
use tokio::io::AsyncReadExt;

const PAYLOAD: [u8; 16 * 1024] = [7; 16 * 1024];

#[tokio::test]
async fn what_waits_in_all_is_bounded_for_single_sends_and_who_was_refused_is_told_of_room() {
    let mut rig = Rig::start(Config {
        backpressure_total: 128 * 1024,
        // A socket that is within its own limit is not closed for the others.
        drop_policy: DropPolicy::Close,
        idle_timeout: Duration::from_secs(2),
        ..config()
    });
    let mut slow = raw::open_narrow(&rig.server).await;
    let slow_id = rig.next().await.id;
    let mut other = raw::open_narrow(&rig.server).await;
    let other_id = rig.next().await.id;
    let mut outbox = rig.server.outbox();
    // Until the system takes no more of it either.
    let mut taken = 0;
    while rig.server.stats().buffered_bytes < 112 * 1024 {
        if outbox.send(slow_id, MessageKind::Binary, &PAYLOAD) == Ok(SendStatus::Ok) {
            taken += 1;
        }
        outbox.flush();
        tokio::task::yield_now().await;
    }
    assert_eq!(outbox.send(slow_id, MessageKind::Binary, &PAYLOAD), Ok(SendStatus::Dropped));
    assert_eq!(outbox.send(other_id, MessageKind::Binary, &PAYLOAD), Ok(SendStatus::Dropped));
    assert_eq!(rig.server.buffered_amount(other_id), 0);
    let mut statuses = Vec::new();
    let ids = [Some(slow_id), Some(other_id)];
    outbox.send_many(ids, MessageKind::Binary, &PAYLOAD, |status| statuses.push(status)).unwrap();
    assert_eq!(statuses, [SendStatus::Dropped, SendStatus::Dropped]);
    assert_eq!(
        outbox.send_all(MessageKind::Binary, &PAYLOAD, None),
        Ok(SendStatus::Dropped),
        "as a whole"
    );
    assert_eq!(rig.server.stats().dropped, 5);

    for n in 0..taken {
        assert_eq!(raw::read_frame(&mut slow).await, Some((0x82, PAYLOAD.to_vec())), "{n}");
    }
    let mut told = vec![rig.next().await, rig.next().await];
    assert!(told.iter().all(|record| record.seen == Seen::Drain), "{told:?}");
    told.sort_by_key(|record| record.id.slot);
    assert_eq!(told.iter().map(|record| record.id).collect::<Vec<_>>(), [slow_id, other_id]);
    assert_eq!(outbox.send(other_id, MessageKind::Binary, &PAYLOAD), Ok(SendStatus::Ok));
    outbox.flush();
    assert_eq!(raw::read_frame(&mut other).await, Some((0x82, PAYLOAD.to_vec())));
    assert_eq!(rig.server.stats().slow_closed, 0);
}

#[tokio::test]
async fn a_socket_that_is_closed_for_being_slow_is_counted() {
    let mut rig = Rig::start(Config {
        backpressure_limit: 64 * 1024,
        drop_policy: DropPolicy::Close,
        ..config()
    });
    let mut slow = raw::open_narrow(&rig.server).await;
    let id = rig.next().await.id;
    let mut outbox = rig.server.outbox();
    while outbox.send(id, MessageKind::Binary, &PAYLOAD) == Ok(SendStatus::Ok) {
        outbox.flush();
        tokio::task::yield_now().await;
    }
    outbox.flush();
    assert_eq!(raw::read_close_code(&mut slow).await, Some(1013));
    drop(slow);
    assert_eq!(rig.next_close().await.code, 1013);
    let stats = rig.server.stats();
    assert_eq!((stats.faults, stats.slow_closed), (1, 1));
}

/// Frames of 1,000 bytes that a host which takes nothing makes wait.
async fn flood(rig: &mut Rig) -> tokio::net::TcpStream {
    let mut stream = raw::open_narrow(&rig.server).await;
    rig.next().await;
    let frames = raw::frame(0x82, &[7; 1000]).repeat(5_000);
    let written = raw::write_until_blocked(&mut stream, &frames).await;
    assert!(written < frames.len(), "nobody stopped the sender");
    stream
}

#[tokio::test]
async fn what_waits_of_a_socket_is_bounded_by_the_option() {
    let mut rig = Rig::start(Config { inbound_limit: 8 * 1024, ..config() });
    rig.capacity(Some(0));
    let _stream = flood(&mut rig).await;
    let waiting = rig.server.stats().waiting_bytes;
    assert!((8 * 1024..10 * 1024).contains(&waiting), "{waiting}");
}

#[tokio::test]
async fn what_waits_of_all_is_bounded_by_the_option() {
    let mut rig = Rig::start(Config { inbound_total: 100 * 1024, threads: 1, ..config() });
    rig.capacity(Some(0));
    let mut streams = Vec::new();
    for _ in 0..4 {
        streams.push(flood(&mut rig).await);
    }
    // A socket of which nothing waits may bring in one message more.
    let waiting = rig.server.stats().waiting_bytes;
    assert!((100 * 1024..110 * 1024).contains(&waiting), "{waiting}");
}

#[tokio::test]
async fn how_large_a_request_may_be_is_an_option() {
    let rig = Rig::start(Config { max_headers: 6, max_header_bytes: 64 * 1024, ..config() });
    let with =
        |lines: &str| raw::HANDSHAKE.replace("13\r\n\r\n", &format!("13\r\n{lines}\r\n\r\n"));
    let large = with(&format!("X-Large: {}", "x".repeat(40 * 1024)));
    let mut stream = raw::tcp(&rig.server).await;
    soon(tokio::io::AsyncWriteExt::write_all(&mut stream, large.as_bytes())).await.unwrap();
    let mut head = [0; 12];
    soon(stream.read_exact(&mut head)).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 101");
    let many = raw::request(&rig.server, with("A: 1\r\nB: 2").as_bytes()).await;
    assert_eq!(raw::status(&many), 431);
    let larger = with(&format!("X-Large: {}", "x".repeat(70 * 1024)));
    assert_eq!(raw::status(&raw::request(&rig.server, larger.as_bytes()).await), 431);
    until(|| rig.server.stats().refused == 2).await;
}
