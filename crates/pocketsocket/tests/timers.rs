//! Pings, and the end of sockets that say nothing.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::time::{Duration, Instant};

use futures_util::SinkExt;
use pocketsocket::Config;
use support::{
    Rig,
    client::{receive, send},
    config, raw, soon,
};
use tokio::io::AsyncWriteExt;
use tokio_tungstenite::tungstenite::{Bytes, Message};

const NEVER: Duration = Duration::ZERO;

fn timers(ping_interval: Duration, idle_timeout: Duration) -> Config {
    let close_timeout = Duration::from_millis(100);
    Config { ping_interval, idle_timeout, close_timeout, ..config() }
}

#[tokio::test]
async fn a_socket_that_is_alone_and_silent_gets_a_ping_each_interval() {
    let mut rig = Rig::start(timers(Duration::from_millis(100), NEVER));
    let (mut client, _) = rig.connect().await;
    let started = Instant::now();
    for _ in 0..3 {
        assert_eq!(receive(&mut client).await, Message::Ping(Bytes::new()));
    }
    let took = started.elapsed();
    assert!(took >= Duration::from_millis(250), "{took:?}");
    assert!(took < Duration::from_secs(3), "{took:?}");
}

#[tokio::test]
async fn a_socket_that_answers_pings_is_not_idle_and_one_that_does_not_is_closed_with_1001() {
    let mut rig = Rig::start(timers(Duration::from_millis(100), Duration::from_millis(500)));
    let (mut answering, answers) = rig.connect().await;
    let mut silent = raw::open(&rig.server).await;
    let silent_id = rig.next().await.id;
    let reading = tokio::spawn(async move {
        // The engine answers pings as it reads.
        for _ in 0..12 {
            assert_eq!(receive(&mut answering).await, Message::Ping(Bytes::new()));
        }
        answering
    });
    assert_eq!(raw::read_close_code(&mut silent).await, Some(1001));
    let closed = rig.next().await;
    assert_eq!(closed.id, silent_id);
    let info = closed.seen.close();
    assert_eq!((info.code, info.reason.as_str(), info.was_clean), (1001, "idle timeout", false));
    let mut answering = soon(reading).await.unwrap();
    send(&mut answering, "still here").await;
    let told = rig.next().await;
    assert_eq!((told.id, told.seen.text()), (answers.id, "still here".to_owned()));
}

#[tokio::test]
async fn a_socket_that_stalls_inside_of_a_message_is_idle() {
    let mut rig = Rig::start(timers(NEVER, Duration::from_millis(200)));
    let mut stream = raw::open(&rig.server).await;
    rig.next().await;
    let frame = raw::frame(0x82, &vec![0; 1 << 20]);
    stream.write_all(&frame[..100]).await.unwrap();
    assert_eq!(raw::read_close_code(&mut stream).await, Some(1001));
    assert_eq!(rig.next().await.seen.close().code, 1001);
}

#[tokio::test]
async fn a_client_that_answers_the_idle_close_ends_clean() {
    let mut rig = Rig::start(timers(NEVER, Duration::from_millis(200)));
    let (mut client, _) = rig.connect().await;
    assert_eq!(u16::from(support::client::receive_close(&mut client).await.unwrap().code), 1001);
    assert!(rig.next().await.seen.close().was_clean);
}

#[tokio::test]
async fn a_socket_that_the_server_does_not_read_is_not_idle() {
    let mut rig = Rig::start(timers(Duration::from_millis(100), Duration::from_millis(300)));
    rig.capacity(Some(0));
    let (mut client, _) = rig.connect().await;
    // Fills the socket's queue: from here on the server does not read, and cannot see a pong.
    for _ in 0..2 {
        soon(client.send(Message::binary(vec![0; 64 * 1024]))).await.unwrap();
    }
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert!(rig.try_next().is_none(), "not closed");
    rig.room(None);
    rig.next().await;
}

#[tokio::test]
async fn timers_of_zero_do_nothing() {
    let mut rig = Rig::start(timers(NEVER, NEVER));
    let (mut client, _) = rig.connect().await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    soon(client.send(Message::Ping(Bytes::from_static(b"mine")))).await.unwrap();
    assert_eq!(receive(&mut client).await, Message::Pong(Bytes::from_static(b"mine")));
    assert!(rig.try_next().is_none());
}
