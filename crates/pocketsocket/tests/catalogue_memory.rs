//! Clients that would make a server hoard: what it keeps is bounded, and given back.
//!
//! One test, alone in its file: it measures its process, clients included.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::fs;

use pocketsocket::{Config, MessageKind, SendStatus};
use support::{
    Rig,
    client::{connect, receive_text, send},
    config, raw, soon, until,
};
use tokio::{io::AsyncWriteExt, net::TcpStream};

/// Bytes of the process: resident, and data that it has asked for.
fn memory() -> (usize, usize) {
    let statm = fs::read_to_string("/proc/self/statm").unwrap();
    let pages: Vec<usize> = statm.split(' ').map(|n| n.trim().parse().unwrap()).collect();
    (pages[1] * 4096, pages[5] * 4096)
}

const MIB: usize = 1 << 20;

/// What came up must stay below `limit`; then the sockets are cut, and a fresh client echoes.
async fn assert_bounded(
    rig: &mut Rig,
    name: &str,
    before: (usize, usize),
    limit: usize,
    sockets: Vec<TcpStream>,
) {
    let after = memory();
    let grown = (after.0.saturating_sub(before.0), after.1.saturating_sub(before.1));
    assert!(grown.0 < limit, "{name}: {} MiB resident", grown.0 / MIB);
    assert!(grown.1 < limit, "{name}: {} MiB asked for", grown.1 / MIB);
    for socket in &sockets {
        socket.set_zero_linger().unwrap();
    }
    drop(sockets);
    until(|| rig.server.stats().connections == 0).await;
    while rig.try_next().is_some() {}
    // Not `Rig::connect`: a Close of before may still come first.
    let mut client = connect(&rig.server).await;
    send(&mut client, "alive").await;
    assert_eq!(receive_text(&mut client).await, "alive");
    drop(client);
    until(|| rig.server.stats().connections == 0).await;
    while rig.try_next().is_some() {}
}

async fn open(rig: &Rig, count: usize) -> Vec<TcpStream> {
    let mut sockets = Vec::new();
    for _ in 0..count {
        sockets.push(raw::open(&rig.server).await);
    }
    sockets
}

#[tokio::test]
async fn what_is_kept_for_each_client_is_bounded() {
    let mut rig = Rig::echoing(config());
    // What the allocator and the test itself need for this many sockets is there from now on.
    drop(open(&rig, 200).await);
    until(|| rig.server.stats().connections == 0).await;
    while rig.try_next().is_some() {}

    let before = memory();
    let mut sockets = open(&rig, 200).await;
    for socket in &mut sockets {
        let mut announced = vec![0x82, 0xff];
        announced.extend((MIB as u64).to_be_bytes());
        announced.extend([0, 0, 0, 0, b'a']);
        socket.write_all(&announced).await.unwrap();
    }
    until(|| rig.server.stats().opened >= 400).await;
    assert_bounded(&mut rig, "200 MiB announced, 200 bytes sent", before, 10 * MIB, sockets).await;

    let before = memory();
    let mut sockets = open(&rig, 100).await;
    let mut fragments = raw::frame(0x02, b"a");
    fragments.extend(raw::frame(0x00, b"b").repeat(10_000));
    for socket in &mut sockets {
        soon(socket.write_all(&fragments)).await.unwrap();
    }
    // One MB in one-byte frames, without an end; 10 KB are to be kept of each.
    let mut last = raw::open(&rig.server).await;
    soon(last.write_all(&raw::frame(0x81, b"after"))).await.unwrap();
    assert_eq!(raw::read_frame(&mut last).await, Some((0x81, b"after".to_vec())));
    sockets.push(last);
    assert_bounded(&mut rig, "1,000,000 fragments of a byte", before, 20 * MIB, sockets).await;

    let before = memory();
    let mut sockets = Vec::new();
    let pings = raw::frame(0x89, &[b'p'; 125]).repeat(1_000);
    for _ in 0..20 {
        let mut socket = raw::open_narrow(&rig.server).await;
        for _ in 0..5 {
            // The server goes on reading: pings do not wait for their pongs to be read.
            soon(socket.write_all(&pings)).await.unwrap();
        }
        sockets.push(socket);
    }
    assert_bounded(&mut rig, "100,000 pings, pongs unread", before, 20 * MIB, sockets).await;

    let before = memory();
    let mut sockets = Vec::new();
    for _ in 0..10 {
        sockets.push(raw::open_narrow(&rig.server).await);
    }
    until(|| rig.server.clients().len() == 10).await;
    let mut outbox = rig.server.outbox();
    let payload = vec![b'x'; 100_000];
    for _ in 0..100 {
        // 100 MB for ten that never read: all above their limits is dropped.
        assert_eq!(outbox.send_all(MessageKind::Binary, &payload, None), Ok(SendStatus::Ok));
        outbox.flush();
        until(|| rig.server.stats().buffered_bytes <= 11 * MIB as u64).await;
    }
    assert!(rig.server.stats().dropped > 100);
    let limit = Config::default().backpressure_limit;
    assert_bounded(&mut rig, "sendAll, unread", before, 10 * limit + 20 * MIB, sockets).await;

    let before = memory();
    let mut sockets = Vec::new();
    for _ in 0..200 {
        let mut socket = raw::tcp(&rig.server).await;
        let head = format!("GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: {}", "x".repeat(10_000));
        socket.write_all(head.as_bytes()).await.unwrap();
        sockets.push(socket);
    }
    assert_bounded(&mut rig, "200 requests that do not end", before, 20 * MIB, sockets).await;
}
