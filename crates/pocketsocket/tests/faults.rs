//! Faults of clients and of the system: each leaves every other socket served, a Connect first, a Close last and once, and
//! nothing lost or doubled in between.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::{collections::HashMap, time::Duration};

use pocketsocket::{Config, MessageKind, SocketId};
use support::{
    Rig, Seen,
    client::{self, receive_text, send},
    config, raw, soon, until,
};
use tokio::{io::AsyncWriteExt, task::JoinSet};

async fn assert_alive(rig: &mut Rig) {
    let mut client = client::connect(&rig.server).await;
    send(&mut client, "alive").await;
    assert_eq!(receive_text(&mut client).await, "alive");
    client.close(None).await.unwrap();
}

/// What the host was told, by socket: Connect, then `0`, `1`, `2` … without a gap, then one Close. Gives how many messages.
fn assert_in_order(rig: &mut Rig) -> usize {
    let mut next = HashMap::<SocketId, Option<usize>>::new();
    let mut messages = 0;
    while let Some(record) = rig.try_next() {
        match record.seen {
            Seen::Connect { .. } => assert!(next.insert(record.id, Some(0)).is_none()),
            Seen::Text(text) => {
                let count =
                    next.get_mut(&record.id).unwrap().as_mut().expect("nothing follows a Close");
                if text != "alive" {
                    assert_eq!(text, count.to_string(), "none lost, none twice");
                    *count += 1;
                    messages += 1;
                }
            }
            Seen::Close(_) => {
                let count = next.get_mut(&record.id).unwrap();
                assert!(count.take().is_some(), "one Close");
            }
            Seen::Binary(_) | Seen::Drain => {}
        }
    }
    assert!(next.values().all(Option::is_none), "each has its Close");
    messages
}

fn numbered(count: usize) -> Vec<u8> {
    (0..count).flat_map(|n| raw::frame(0x81, n.to_string().as_bytes())).collect()
}

#[tokio::test]
async fn a_storm_of_resets_is_told_socket_by_socket() {
    let mut rig = Rig::start(config());
    for round in 0..10 {
        let mut opening = JoinSet::new();
        for n in 0..100 {
            let server = rig.server.clone();
            opening.spawn(async move {
                let mut stream = raw::open(&server).await;
                // Some leave with messages on their way, some inside of one.
                let mut bytes = numbered(n % 7 * 10);
                bytes.truncate(bytes.len() - bytes.len().min(n % 3));
                stream.write_all(&bytes).await.unwrap();
                stream
            });
        }
        let streams = opening.join_all().await;
        for stream in &streams {
            stream.set_zero_linger().unwrap();
        }
        drop(streams);
        until(|| rig.server.stats().connections == 0).await;
        assert_eq!(rig.server.stats().closed, (round + 1) * 100);
    }
    assert_in_order(&mut rig);
    let stats = rig.server.stats();
    assert_eq!((stats.opened, stats.buffered_bytes, stats.waiting_bytes), (1000, 0, 0));
    let (mut client, _) = rig.connect().await;
    send(&mut client, "alive").await;
    assert_eq!(rig.next().await.seen.text(), "alive");
}

#[tokio::test]
async fn sockets_whose_other_end_is_silent_are_closed_by_the_timers_and_told_once() {
    // What a half-open connection looks like from here: nothing comes, and pings are not answered.
    let mut rig = Rig::echoing(Config {
        ping_interval: Duration::from_secs(1),
        idle_timeout: Duration::from_secs(2),
        close_timeout: Duration::from_millis(200),
        ..config()
    });
    let mut silent = Vec::new();
    for _ in 0..100 {
        let mut stream = raw::open(&rig.server).await;
        stream.write_all(&numbered(3)).await.unwrap();
        silent.push(stream);
    }
    assert_alive(&mut rig).await;
    until(|| rig.server.stats().connections == 0).await;
    until(|| rig.server.stats().closed == 101).await;
    assert_eq!(assert_in_order(&mut rig), 300);
    assert_alive(&mut rig).await;
}

#[tokio::test]
async fn a_shutdown_under_load_gives_each_socket_its_messages_in_order_and_one_close() {
    let mut rig = Rig::start(config());
    let mut clients = JoinSet::new();
    for _ in 0..50 {
        let mut stream = raw::open(&rig.server).await;
        clients.spawn(async move {
            for n in 0.. {
                if stream.write_all(&raw::frame(0x81, n.to_string().as_bytes())).await.is_err() {
                    return;
                }
            }
        });
    }
    until(|| rig.server.stats().messages_in > 10_000).await;
    rig.shutdown(Duration::from_millis(500)).await;
    soon(clients.join_all()).await;
    assert!(assert_in_order(&mut rig) > 10_000);
}

#[tokio::test]
async fn panics_of_a_host_close_their_sockets_with_1011_and_are_told_of() {
    let mut rig = Rig::echoing(config());
    let mut others = Vec::new();
    for _ in 0..20 {
        others.push(client::connect(&rig.server).await);
    }
    for _ in 0..20 {
        let mut stream = raw::open(&rig.server).await;
        let mut bytes = numbered(5);
        bytes.extend(raw::frame(0x81, b"panic, please"));
        bytes.extend(raw::frame(0x81, b"never"));
        stream.write_all(&bytes).await.unwrap();
        until(|| rig.server.clients().len() == others.len()).await;
    }
    for other in &mut others {
        send(other, "0").await;
        assert_eq!(receive_text(other).await, "0");
    }
    for mut other in others {
        other.close(None).await.unwrap();
        while let Some(Ok(_)) = soon(futures_util::StreamExt::next(&mut other)).await {}
    }
    until(|| rig.server.stats().connections == 0).await;
    assert_eq!(assert_in_order(&mut rig), 120);
}

#[tokio::test]
async fn broadcasts_go_on_while_receivers_come_and_are_reset() {
    let mut rig = Rig::start(config());
    let mut steady = client::connect(&rig.server).await;
    rig.next().await;
    let mut outbox = rig.server.outbox();
    for n in 0..200 {
        let stream = raw::open(&rig.server).await;
        outbox.send_all(MessageKind::Text, n.to_string().as_bytes(), None).unwrap();
        outbox.flush();
        stream.set_zero_linger().unwrap();
        drop(stream);
        assert_eq!(receive_text(&mut steady).await, n.to_string());
    }
    until(|| rig.server.stats().connections == 1).await;
    until(|| rig.server.stats().buffered_bytes == 0).await;
}
