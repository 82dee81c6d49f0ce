//! A host that takes nothing for a while: memory is bounded, the sender waits, the others live, nothing is lost.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use futures_util::SinkExt;
use pocketsocket::Config;
use support::{
    Rig,
    client::{receive, send},
    config, raw, soon, until,
};
use tokio::io::AsyncWriteExt;
use tokio_tungstenite::tungstenite::{Bytes, Message};

/// What may wait of one socket: 64 KiB, and the message that passes it.
const QUEUE: u64 = 64 * 1024;

/// A frame of 1,000 bytes that begins with its number.
fn numbered(n: usize) -> Vec<u8> {
    raw::frame(0x81, format!("{n:<1000}").as_bytes())
}

#[tokio::test]
async fn a_full_host_stops_the_sender_and_gets_every_message_in_order_later() {
    const COUNT: usize = 5_000;
    let mut rig = Rig::start(config());
    rig.capacity(Some(0));
    let mut stream = raw::open_narrow(&rig.server).await;
    rig.next().await;
    let frames: Vec<u8> = (0..COUNT).flat_map(numbered).collect();
    let written = raw::write_until_blocked(&mut stream, &frames).await;
    assert!(written < frames.len(), "nobody stopped the sender");
    let waiting = rig.server.stats().waiting_bytes;
    assert!((QUEUE..QUEUE + 2000).contains(&waiting), "{waiting}");

    // Another socket lives: its ping needs no host.
    let (mut other, _) = rig.connect().await;
    soon(other.send(Message::Ping(Bytes::from_static(b"there?")))).await.unwrap();
    assert_eq!(receive(&mut other).await, Message::Pong(Bytes::from_static(b"there?")));
    assert!(rig.try_next().is_none());

    let rest = tokio::spawn(async move {
        stream.write_all(&frames[written..]).await.unwrap();
        stream
    });
    rig.room(None);
    for n in 0..COUNT {
        assert_eq!(rig.next().await.seen.text().trim_end(), n.to_string());
    }
    let _stream = soon(rest).await.unwrap();
    until(|| rig.server.stats().waiting_bytes == 0).await;
}

#[tokio::test]
async fn a_host_that_takes_a_little_at_a_time_loses_nothing() {
    const COUNT: usize = 3_000;
    let mut rig = Rig::start(config());
    rig.capacity(Some(0));
    let (mut client, _) = rig.connect().await;
    let sending = tokio::spawn(async move {
        for n in 0..COUNT {
            client.feed(Message::text(n.to_string())).await.unwrap();
        }
        client.flush().await.unwrap();
        client
    });
    for n in 0..COUNT {
        if n % 7 == 0 {
            rig.room(Some(7));
        }
        assert_eq!(rig.next().await.seen.text(), n.to_string());
    }
    let _client = soon(sending).await.unwrap();
}

#[tokio::test]
async fn empty_messages_are_bounded_too() {
    let mut rig = Rig::start(config());
    rig.capacity(Some(0));
    let mut stream = raw::open_narrow(&rig.server).await;
    rig.next().await;
    let frames = raw::frame(0x81, b"").repeat(1_000_000);
    let written = raw::write_until_blocked(&mut stream, &frames).await;
    assert!(written < frames.len(), "nobody stopped the sender");
    let stats = rig.server.stats();
    assert_eq!((stats.messages_in, stats.waiting_bytes), (1024, 1024 * 16));
}

#[tokio::test]
async fn a_flood_does_not_keep_the_host_from_a_quiet_socket() {
    let mut rig = Rig::start(Config { threads: 1, ..config() });
    rig.capacity(Some(0));
    let mut flooder = raw::open_narrow(&rig.server).await;
    rig.next().await;
    let (mut quiet, connect) = rig.connect().await;
    let (started, has_started) = tokio::sync::oneshot::channel();
    let flood = tokio::spawn(async move {
        let frames: Vec<u8> = numbered(0).repeat(100);
        let mut started = Some(started);
        while flooder.write_all(&frames).await.is_ok() {
            started.take().map(|started| started.send(()));
        }
    });
    until(|| rig.server.stats().waiting_bytes >= QUEUE).await;
    let before = rig.server.stats().messages_in;
    send(&mut quiet, "quiet").await;
    until(|| rig.server.stats().messages_in > before).await;
    // The flood's queue is full, the quiet socket has one message: they take turns.
    rig.room(Some(4));
    let events = [rig.next().await, rig.next().await];
    assert!(events.iter().any(|event| event.id == connect.id), "{events:?}");
    soon(has_started).await.unwrap();
    flood.abort();
}

#[tokio::test]
async fn a_quiet_socket_is_heard_while_a_flood_goes_on() {
    let mut rig = Rig::echoing(config());
    let mut flooders = Vec::new();
    for _ in 0..4 {
        let flooder = raw::open(&rig.server).await;
        rig.next().await;
        let (mut reading, mut writing) = flooder.into_split();
        flooders.push(tokio::spawn(async move {
            let frames = raw::frame(0x82, &[0; 32]).repeat(1000);
            while writing.write_all(&frames).await.is_ok() {}
        }));
        flooders.push(tokio::spawn(async move {
            let _ = tokio::io::copy(&mut reading, &mut tokio::io::sink()).await;
        }));
    }
    let mut quiet = support::client::connect(&rig.server).await;
    for n in 0..20 {
        let text = n.to_string();
        send(&mut quiet, &text).await;
        assert_eq!(support::client::receive_text(&mut quiet).await, text);
    }
    flooders.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn a_close_waits_behind_the_messages_of_its_socket() {
    let mut rig = Rig::start(config());
    rig.capacity(Some(0));
    let (mut client, connect) = rig.connect().await;
    for n in 0..10 {
        send(&mut client, &n.to_string()).await;
    }
    support::client::close(&mut client, None).await;
    until(|| rig.server.stats().closed == 1).await;
    assert!(rig.try_next().is_none());
    assert_eq!(rig.server.resolve(connect.uuid), None);
    rig.room(None);
    for n in 0..10 {
        assert_eq!(rig.next().await.seen.text(), n.to_string());
    }
    assert_eq!(rig.next().await.seen.close().code, 1005);
    until(|| rig.server.stats().waiting_bytes == 0).await;
}
