//! Sockets that the application pauses: they are not read until they are resumed, and nothing of theirs is lost.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::time::Duration;

use pocketsocket::{Config, DropPolicy, Lane, MessageKind, Outbox, SendStatus, SocketId};
use support::{
    LANE, Rig, Seen,
    client::{Client, receive_close, receive_text, send},
    config, raw, soon, until,
};
use tokio::{io::AsyncWriteExt, net::TcpStream};

const NEVER: Duration = Duration::ZERO;

/// Tells a client something, which it gets behind whatever was asked for before.
fn tell(outbox: &mut Outbox, id: SocketId, text: &str) {
    assert_eq!(outbox.send(id, MessageKind::Text, text.as_bytes()), Ok(SendStatus::Ok));
    outbox.flush();
}

/// Pauses a socket; returns once its shard has done so.
async fn pause(outbox: &mut Outbox, id: SocketId, client: &mut Client) {
    assert_eq!(outbox.pause(id), SendStatus::Ok);
    tell(outbox, id, "paused");
    assert_eq!(receive_text(client).await, "paused");
}

/// The same for raw bytes.
async fn pause_raw(outbox: &mut Outbox, id: SocketId, stream: &mut TcpStream) {
    assert_eq!(outbox.pause(id), SendStatus::Ok);
    tell(outbox, id, "paused");
    while raw::read_frame(stream).await.unwrap().1 != b"paused" {}
}

#[tokio::test]
async fn a_paused_socket_blocks_its_sender_and_after_its_resume_all_comes_in_order() {
    const COUNT: u32 = 8_000;
    let mut rig = Rig::start(config());
    let mut outbox = rig.server.outbox();
    let mut stream = raw::open(&rig.server).await;
    let id = rig.next().await.id;
    pause_raw(&mut outbox, id, &mut stream).await;
    let mut frames = Vec::new();
    for n in 0..COUNT {
        let mut payload = n.to_be_bytes().to_vec();
        payload.resize(4096, 0);
        frames.extend(raw::frame(0x82, &payload));
    }
    let written = raw::write_until_blocked(&mut stream, &frames).await;
    assert!(written < frames.len(), "the sender is blocked");
    assert!(rig.try_next().is_none());
    assert_eq!(rig.server.stats().messages_in, 0);

    assert_eq!(outbox.resume(id), SendStatus::Ok);
    let writing = tokio::spawn(async move {
        stream.write_all(&frames[written..]).await.unwrap();
        stream
    });
    for n in 0..COUNT {
        let Seen::Binary(payload) = rig.next().await.seen else { panic!("wanted bytes") };
        assert_eq!(payload[..4], n.to_be_bytes());
    }
    soon(writing).await.unwrap();
}

#[tokio::test]
async fn what_was_read_before_a_pause_is_delivered_and_what_was_read_and_not_decoded_is_not_lost() {
    const COUNT: usize = 3_000;
    let mut rig = Rig::start(Config { threads: 1, ..config() });
    let mut outbox = rig.server.outbox();
    let mut stream = raw::open(&rig.server).await;
    let id = rig.next().await.id;
    rig.capacity(Some(0));
    // More messages than the socket's queue takes, in fewer bytes than one read.
    let frames: Vec<u8> =
        (0..COUNT).flat_map(|n| raw::frame(0x81, n.to_string().as_bytes())).collect();
    stream.write_all(&frames).await.unwrap();
    until(|| rig.server.stats().messages_in >= 1024).await;
    pause_raw(&mut outbox, id, &mut stream).await;
    let before = rig.server.stats().messages_in as usize;
    assert!(before < COUNT);
    rig.room(None);
    for n in 0..before {
        assert_eq!(rig.next().await.seen.text(), n.to_string());
    }
    // Twice there and back on the only shard: whoever might read has had its turn.
    for _ in 0..2 {
        tell(&mut outbox, id, "still paused");
        assert_eq!(raw::read_frame(&mut stream).await.unwrap().1, b"still paused");
    }
    assert!(rig.try_next().is_none());
    assert_eq!(rig.server.stats().messages_in as usize, before);
    assert_eq!(outbox.resume(id), SendStatus::Ok);
    for n in before..COUNT {
        assert_eq!(rig.next().await.seen.text(), n.to_string());
    }
}

#[tokio::test]
async fn a_pause_is_of_one_socket_and_paused_twice_is_paused_once() {
    let mut rig = Rig::start(Config { threads: 1, ..config() });
    let mut outbox = rig.server.outbox();
    let (mut paused, connect) = rig.connect().await;
    let (mut other, _) = rig.connect().await;
    assert_eq!(outbox.resume(connect.id), SendStatus::Ok, "of one that is not paused");
    for _ in 0..2 {
        pause(&mut outbox, connect.id, &mut paused).await;
    }
    send(&mut paused, "waits").await;
    for n in 0..10 {
        send(&mut other, &n.to_string()).await;
        assert_eq!(rig.next().await.seen.text(), n.to_string());
    }
    assert_eq!(outbox.resume(connect.id), SendStatus::Ok);
    assert_eq!(rig.next().await.seen.text(), "waits");
}

#[tokio::test]
async fn pause_and_resume_keep_the_order_of_the_calls() {
    let mut rig = Rig::start(config());
    let mut outbox = rig.server.outbox();
    let (mut client, connect) = rig.connect().await;
    for n in 0..200 {
        assert_eq!(outbox.pause(connect.id), SendStatus::Ok);
        assert_eq!(outbox.resume(connect.id), SendStatus::Ok);
        send(&mut client, &n.to_string()).await;
    }
    for n in 0..200 {
        assert_eq!(rig.next().await.seen.text(), n.to_string());
    }
}

#[tokio::test]
async fn a_socket_that_is_closed_cannot_be_paused() {
    let mut rig = Rig::start(config());
    let mut outbox = rig.server.outbox();
    let (mut client, connect) = rig.connect().await;
    assert_eq!(outbox.close(connect.id, 1000, ""), SendStatus::Ok);
    assert_eq!(outbox.pause(connect.id), SendStatus::Unknown);
    assert_eq!(outbox.resume(connect.id), SendStatus::Unknown);
    receive_close(&mut client).await;
    assert!(rig.next().await.seen.close().was_clean);
    assert_eq!(outbox.pause(connect.id), SendStatus::Unknown);
}

/// A socket that is paused and has sent what was not read.
async fn paused_with_a_message(rig: &mut Rig, outbox: &mut Outbox) -> (Client, SocketId) {
    let (mut client, connect) = rig.connect().await;
    pause(outbox, connect.id, &mut client).await;
    send(&mut client, "not read").await;
    (client, connect.id)
}

#[tokio::test]
async fn a_paused_socket_that_is_closed_ends_clean() {
    let mut rig = Rig::start(config());
    let mut outbox = rig.server.outbox();
    let (mut client, id) = paused_with_a_message(&mut rig, &mut outbox).await;
    assert_eq!(outbox.close(id, 4000, "bye"), SendStatus::Ok);
    assert_eq!(u16::from(receive_close(&mut client).await.unwrap().code), 4000);
    let info = rig.next().await.seen.close();
    assert_eq!((info.code, info.was_clean), (4000, true));
}

#[tokio::test]
async fn a_paused_socket_ends_clean_at_the_shutdown() {
    let mut rig = Rig::start(config());
    let mut outbox = rig.server.outbox();
    let (mut client, _) = paused_with_a_message(&mut rig, &mut outbox).await;
    let answering = tokio::spawn(async move { receive_close(&mut client).await });
    rig.shutdown(Duration::from_secs(5)).await;
    assert_eq!(u16::from(soon(answering).await.unwrap().unwrap().code), 1001);
    let info = rig.next().await.seen.close();
    assert_eq!((info.code, info.was_clean), (1001, true));
}

#[tokio::test]
async fn a_paused_socket_that_is_closed_for_a_dropped_message_ends_clean() {
    for broadcast in [false, true] {
        let drop_policy = DropPolicy::Close;
        let mut rig = Rig::start(Config { backpressure_limit: 100, drop_policy, ..config() });
        let mut outbox = rig.server.outbox();
        let (mut client, id) = paused_with_a_message(&mut rig, &mut outbox).await;
        // The first is taken by an empty queue; the second does not fit beside it.
        for _ in 0..2 {
            if broadcast {
                let status = outbox.send_all(MessageKind::Binary, &[0; 200], None);
                assert_eq!(status, Ok(SendStatus::Ok));
            } else {
                outbox.send(id, MessageKind::Binary, &[0; 200]).unwrap();
            }
        }
        outbox.flush();
        assert_eq!(u16::from(receive_close(&mut client).await.unwrap().code), 1013);
        let info = rig.next_close().await;
        assert_eq!((info.code, info.was_clean), (1013, true));
    }
}

#[tokio::test]
async fn a_paused_socket_is_not_idle_and_its_timers_go_on_after_its_resume() {
    let (ping_interval, idle_timeout) = (Duration::from_millis(100), Duration::from_millis(300));
    let close_timeout = Duration::from_millis(100);
    let mut rig = Rig::start(Config { ping_interval, idle_timeout, close_timeout, ..config() });
    let mut outbox = rig.server.outbox();
    let mut silent = raw::open(&rig.server).await;
    let id = rig.next().await.id;
    pause_raw(&mut outbox, id, &mut silent).await;
    tokio::time::sleep(Duration::from_millis(900)).await;
    assert!(rig.try_next().is_none(), "not closed");
    tell(&mut outbox, id, "still open");
    let mut pings = 0;
    while raw::read_frame(&mut silent).await.unwrap() != (0x81, b"still open".to_vec()) {
        pings += 1;
    }
    assert!(pings <= 1, "one may have been due before the pause: {pings}");
    assert_eq!(outbox.resume(id), SendStatus::Ok);
    assert_eq!(raw::read_close_code(&mut silent).await, Some(1001));
    assert_eq!(rig.next_close().await.code, 1001);
}

#[tokio::test]
async fn a_paused_socket_that_gets_another_lane_is_read_again() {
    for from in [LANE, Lane::DISCARD] {
        let mut rig = Rig::on_lane(config(), from);
        let mut outbox = rig.server.outbox();
        let mut client = support::client::connect(&rig.server).await;
        until(|| !rig.server.clients().is_empty()).await;
        let id = rig.server.resolve(rig.server.clients()[0]).unwrap();
        pause(&mut outbox, id, &mut client).await;
        send(&mut client, "after").await;
        *rig.host.lane.lock().unwrap() = Lane::host(1);
        rig.server.rehome(from, Vec::new());
        while !matches!(rig.next().await.seen, Seen::Connect { resumed, .. } if resumed == (from == LANE))
        {
        }
        let record = rig.next().await;
        assert_eq!((record.lane, record.seen.text()), (Lane::host(1), "after".to_owned()));
    }
}

#[tokio::test]
async fn a_client_that_vanished_meanwhile_is_noticed_at_the_resume() {
    let mut rig = Rig::start(Config { threads: 1, ..config() });
    let mut outbox = rig.server.outbox();
    let (mut other, _) = rig.connect().await;
    let mut stream = raw::open(&rig.server).await;
    let id = rig.next().await.id;
    pause_raw(&mut outbox, id, &mut stream).await;
    drop(stream);
    for _ in 0..10 {
        send(&mut other, "not closed").await;
        assert_eq!(rig.next().await.seen.text(), "not closed");
    }
    assert_eq!(outbox.resume(id), SendStatus::Ok);
    let closed = rig.next().await;
    assert_eq!((closed.id, closed.seen.close().code), (id, 1006));
}

#[tokio::test]
async fn a_client_that_vanished_meanwhile_is_noticed_by_a_write_that_fails() {
    let config = Config { ping_interval: NEVER, idle_timeout: NEVER, ..config() };
    let mut rig = Rig::start(config);
    let mut outbox = rig.server.outbox();
    let mut stream = raw::open(&rig.server).await;
    let id = rig.next().await.id;
    pause_raw(&mut outbox, id, &mut stream).await;
    drop(stream);
    let mut closed = None;
    until(|| {
        let _ = outbox.send(id, MessageKind::Text, b"anybody there?");
        outbox.flush();
        closed = rig.try_next();
        closed.is_some()
    })
    .await;
    assert_eq!(closed.unwrap().seen.close().code, 1006);
}
