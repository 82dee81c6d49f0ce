//! A limit of messages a second: above it a socket is read more slowly, and nothing is lost.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::time::{Duration, Instant};

use futures_util::SinkExt;
use pocketsocket::{Config, MessageKind, RateLimit, SendStatus, SocketId};
use support::{
    Record, Rig, Seen,
    client::{receive, receive_close, send},
    config, raw, soon, until,
};
use tokio::{io::AsyncWriteExt, net::TcpStream};
use tokio_tungstenite::tungstenite::{Bytes, Message};

const NEVER: Duration = Duration::ZERO;
/// Far more than what is not held back takes, far less than what would be.
const AT_ONCE: Duration = Duration::from_secs(5);

fn limited(messages_per_second: u32, burst: u32) -> Config {
    let rate_limit = Some(RateLimit { messages_per_second, burst });
    Config { rate_limit, threads: 1, ..config() }
}

/// So many numbered texts as one write.
fn texts(count: usize) -> Vec<u8> {
    (0..count).flat_map(|n| raw::frame(0x81, n.to_string().as_bytes())).collect()
}

/// A socket that has sent so many texts.
async fn flooder(rig: &mut Rig, count: usize) -> (TcpStream, SocketId) {
    let mut stream = raw::open(&rig.server).await;
    let id = rig.next().await.id;
    stream.write_all(&texts(count)).await.unwrap();
    (stream, id)
}

/// The next event that is not of this socket.
async fn next_of_others(rig: &mut Rig, id: SocketId) -> Record {
    loop {
        let record = rig.next().await;
        if record.id != id {
            return record;
        }
    }
}

/// Waits for so many texts in order; at none of them more have come than the limit allows by then.
async fn assert_limited(rig: &mut Rig, count: usize, limit: RateLimit, start: Instant) {
    for n in 0..count {
        assert_eq!(rig.next().await.seen.text(), n.to_string());
        let gained = start.elapsed().as_secs_f64() * f64::from(limit.messages_per_second);
        assert!((n + 1) as f64 <= f64::from(limit.burst) + gained + 1.0, "{n} after {gained}");
    }
}

#[tokio::test]
async fn a_burst_passes_at_once_then_the_rate_holds() {
    let config = limited(10, 100);
    let limit = config.rate_limit.unwrap();
    let mut rig = Rig::start(config);
    let start = Instant::now();
    let (_stream, _) = flooder(&mut rig, 115).await;
    assert_limited(&mut rig, 100, limit, start).await;
    assert!(start.elapsed() < AT_ONCE, "the rate alone takes 10 s");
    for n in 100..115 {
        assert_eq!(rig.next().await.seen.text(), n.to_string());
    }
    assert!(start.elapsed() >= Duration::from_millis(1400), "15 messages at 10 a second");
}

#[tokio::test]
async fn a_flood_is_held_to_its_rate_and_all_of_it_comes_in_order() {
    const COUNT: usize = 3_000;
    let config = limited(2_000, 100);
    let limit = config.rate_limit.unwrap();
    let mut rig = Rig::start(config);
    let start = Instant::now();
    let (mut stream, _) = flooder(&mut rig, COUNT).await;
    assert_limited(&mut rig, COUNT, limit, start).await;
    stream.write_all(&raw::frame(0x82, b"last")).await.unwrap();
    assert_eq!(rig.next().await.seen, Seen::Binary(b"last".to_vec()));
}

#[tokio::test]
async fn a_sender_above_its_rate_is_blocked_in_the_end() {
    let mut rig = Rig::start(limited(1, 1));
    let mut stream = raw::open_narrow(&rig.server).await;
    rig.next().await;
    let frames = raw::frame(0x82, &[0; 1000]).repeat(30_000);
    assert!(raw::write_until_blocked(&mut stream, &frames).await < frames.len());
    assert!(rig.server.stats().waiting_bytes < 64 * 1024);
}

#[tokio::test]
async fn a_message_in_many_frames_takes_one_token() {
    let mut rig = Rig::start(limited(1, 2));
    let mut stream = raw::open(&rig.server).await;
    rig.next().await;
    let start = Instant::now();
    for _ in 0..2 {
        let mut frames = raw::frame(0x01, b"a");
        frames.extend(raw::frame(0x00, b"b").repeat(18));
        frames.extend(raw::frame(0x80, b"c"));
        stream.write_all(&frames).await.unwrap();
        assert_eq!(rig.next().await.seen.text().len(), 20);
    }
    assert!(start.elapsed() < AT_ONCE);
}

#[tokio::test]
async fn pings_are_answered_and_take_no_token() {
    let mut rig = Rig::start(limited(1, 2));
    let (mut client, _) = rig.connect().await;
    let start = Instant::now();
    for n in 0..20_u8 {
        let payload = Bytes::from(vec![n]);
        soon(client.send(Message::Ping(payload.clone()))).await.unwrap();
        assert_eq!(receive(&mut client).await, Message::Pong(payload));
    }
    for text in ["a", "b"] {
        send(&mut client, text).await;
        assert_eq!(rig.next().await.seen.text(), text);
    }
    assert!(start.elapsed() < AT_ONCE, "20 tokens take 18 s");
}

#[tokio::test]
async fn each_socket_has_a_limit_of_its_own() {
    let mut rig = Rig::start(limited(1, 5));
    let (_stream, flooding) = flooder(&mut rig, 1_000).await;
    let mut other = support::client::connect(&rig.server).await;
    let connect = next_of_others(&mut rig, flooding).await;
    let start = Instant::now();
    for n in 0..5 {
        send(&mut other, &n.to_string()).await;
        let record = next_of_others(&mut rig, flooding).await;
        assert_eq!((record.id, record.seen.text()), (connect.id, n.to_string()));
    }
    assert!(start.elapsed() < AT_ONCE);
}

#[tokio::test]
async fn a_socket_that_waits_for_a_token_ends_clean_when_it_is_closed() {
    let mut rig = Rig::start(limited(1, 1));
    let mut outbox = rig.server.outbox();
    let (stream, id) = flooder(&mut rig, 1_000).await;
    assert_eq!(rig.next().await.seen.text(), "0");
    assert_eq!(outbox.close(id, 4000, "bye"), SendStatus::Ok);
    let mut client = support::client::over(stream).await;
    assert_eq!(u16::from(receive_close(&mut client).await.unwrap().code), 4000);
    let info = rig.next_close().await;
    assert_eq!((info.code, info.was_clean), (4000, true));
}

#[tokio::test]
async fn a_socket_that_waits_for_a_token_is_neither_idle_nor_pinged() {
    let (ping_interval, idle_timeout) = (Duration::from_millis(100), Duration::from_millis(300));
    let close_timeout = Duration::from_millis(100);
    let mut rig =
        Rig::start(Config { ping_interval, idle_timeout, close_timeout, ..limited(1, 1) });
    let (mut silent, _) = flooder(&mut rig, 3).await;
    // A second each.
    for n in 0..3 {
        assert_eq!(rig.next().await.seen.text(), n.to_string());
    }
    // Then it is: after three intervals.
    let mut pings = 0;
    let close = loop {
        match raw::read_frame(&mut silent).await.unwrap() {
            (0x89, _) => pings += 1,
            frame => break frame,
        }
    };
    assert_eq!((close.0, &close.1[..2]), (0x88, &1001_u16.to_be_bytes()[..]));
    assert!(pings <= 3, "{pings}");
    assert_eq!(rig.next().await.seen.close().code, 1001);
}

#[tokio::test]
async fn a_socket_that_waits_for_a_token_can_be_paused_and_resumed() {
    let mut rig = Rig::start(Config { ping_interval: NEVER, idle_timeout: NEVER, ..limited(4, 1) });
    let mut outbox = rig.server.outbox();
    let (mut stream, id) = flooder(&mut rig, 6).await;
    assert_eq!(rig.next().await.seen.text(), "0");
    assert_eq!(outbox.pause(id), SendStatus::Ok);
    assert_eq!(outbox.send(id, MessageKind::Text, b"paused"), Ok(SendStatus::Ok));
    outbox.flush();
    assert_eq!(raw::read_frame(&mut stream).await.unwrap().1, b"paused");
    let before = rig.server.stats().messages_in;
    // Tokens come meanwhile.
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert_eq!(rig.server.stats().messages_in, before);
    assert_eq!(outbox.resume(id), SendStatus::Ok);
    for n in 1..6 {
        assert_eq!(rig.next().await.seen.text(), n.to_string());
    }
    until(|| rig.server.stats().messages_in == 6).await;
}
