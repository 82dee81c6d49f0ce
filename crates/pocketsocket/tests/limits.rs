//! How many sockets: the limit, slots that are used again, and thousands at once.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::time::Duration;

use pocketsocket::{Config, MessageKind, SendStatus};
use support::{
    Rig, Seen,
    client::{close, connect, receive_text, send},
    config, raw, soon, until,
};
use tokio::io::AsyncWriteExt;

#[tokio::test]
async fn a_socket_above_the_limit_gets_503_until_one_has_left() {
    let mut rig = Rig::echoing(Config { max_connections: 2, ..config() });
    let (mut first, _) = rig.connect().await;
    let (mut second, _) = rig.connect().await;
    let refused = raw::request(&rig.server, raw::HANDSHAKE.as_bytes()).await;
    assert_eq!(raw::status(&refused), 503);
    assert_eq!(raw::header(&refused, "retry-after"), Some("5"));
    assert_eq!(raw::header(&refused, "connection"), Some("close"));
    // Pages and figures are no sockets.
    let health =
        raw::request(&rig.server, b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert_eq!(raw::status(&health), 200);
    send(&mut second, "fine").await;
    assert_eq!(receive_text(&mut second).await, "fine");
    close(&mut first, None).await;
    rig.next_close().await;
    let (mut third, _) = rig.connect().await;
    send(&mut third, "in").await;
    assert_eq!(receive_text(&mut third).await, "in");
}

#[tokio::test]
async fn the_name_of_a_socket_that_has_ended_does_not_reach_the_next_in_its_slot() {
    let mut rig = Rig::start(Config { max_connections: 1, ..config() });
    let mut earlier = Vec::new();
    for _ in 0..50 {
        let (mut client, connect) = rig.connect().await;
        let mut outbox = rig.server.outbox();
        for &(id, uuid) in &earlier {
            assert_eq!(rig.server.resolve(uuid), None);
            assert_eq!(outbox.send(id, MessageKind::Text, b"stale"), Ok(SendStatus::Unknown));
            assert_eq!(outbox.close(id, 1000, ""), SendStatus::Unknown);
        }
        assert_eq!(rig.server.clients(), [connect.uuid]);
        assert_eq!(rig.server.resolve(connect.uuid), Some(connect.id));
        assert_eq!(connect.id.slot, 0);
        earlier.push((connect.id, connect.uuid));
        outbox.send(connect.id, MessageKind::Text, b"mine").unwrap();
        outbox.flush();
        assert_eq!(receive_text(&mut client).await, "mine");
        close(&mut client, None).await;
        rig.next().await.seen.close();
    }
}

#[tokio::test]
async fn a_handshake_whose_client_left_gives_its_slot_back() {
    let mut rig = Rig::start(Config { max_connections: 1, ..config() });
    for _ in 0..20 {
        let mut stream = raw::tcp(&rig.server).await;
        stream.write_all(raw::HANDSHAKE.as_bytes()).await.unwrap();
        stream.set_zero_linger().unwrap();
        drop(stream);
    }
    until(|| rig.server.stats().connections == 0).await;
    // Those that made it have a Connect and a Close each.
    let stats = rig.server.stats();
    assert_eq!(stats.opened, stats.closed);
    for _ in 0..stats.opened {
        assert!(matches!(rig.next().await.seen, Seen::Connect { .. }));
        rig.next().await.seen.close();
    }
}

#[tokio::test]
async fn two_thousand_sockets_at_once_echo_and_leave_nothing_behind() {
    const SOCKETS: usize = 2_000;
    let mut rig = Rig::echoing(config());
    let mut opening = tokio::task::JoinSet::new();
    let server = rig.server.clone();
    for n in 0..SOCKETS {
        let server = server.clone();
        opening.spawn(async move {
            let mut client = connect(&server).await;
            send(&mut client, &n.to_string()).await;
            assert_eq!(receive_text(&mut client).await, n.to_string());
            client
        });
    }
    let clients = tokio::time::timeout(Duration::from_secs(20), opening.join_all()).await.unwrap();
    assert_eq!(rig.server.stats().connections, SOCKETS as u64);
    let mut uuids = rig.server.clients();
    uuids.sort_by_key(|uuid| uuid.to_bits());
    uuids.dedup();
    assert_eq!(uuids.len(), SOCKETS, "every name is another");

    let mut closing = tokio::task::JoinSet::new();
    for mut client in clients {
        closing.spawn(async move { close(&mut client, None).await });
    }
    soon(closing.join_all()).await;
    for _ in 0..SOCKETS {
        assert!(rig.next_close().await.was_clean);
    }
    let stats = rig.server.stats();
    assert_eq!((stats.connections, stats.buffered_bytes, stats.waiting_bytes), (0, 0, 0));
    assert_eq!((stats.opened, stats.closed), (SOCKETS as u64, SOCKETS as u64));
}
