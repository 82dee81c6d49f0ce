//! The end of a server: every socket is told, the host once, and nothing is left that would hold anyone.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::{
    sync::atomic::Ordering::SeqCst,
    time::{Duration, Instant},
};

use pocketsocket::{Config, Lane, MessageKind, SendStatus};
use support::{
    Rig, Seen,
    client::{connect, receive_close, receive_text, send},
    config, raw, soon, until,
};

#[tokio::test]
async fn every_socket_is_closed_with_1001_and_the_host_told_once() {
    let mut rig = Rig::start(Config { threads: 3, ..config() });
    let mut clients = Vec::new();
    for _ in 0..10 {
        let (mut client, _) = rig.connect().await;
        clients.push(tokio::spawn(async move { receive_close(&mut client).await.unwrap() }));
    }
    let started = Instant::now();
    rig.shutdown(Duration::from_secs(5)).await;
    let took = started.elapsed();
    assert!(took < Duration::from_millis(900), "clients answered at once: {took:?}");
    for client in clients {
        let close = soon(client).await.unwrap();
        assert_eq!((u16::from(close.code), close.reason.as_str()), (1001, "server shutdown"));
    }
    for _ in 0..10 {
        let info = rig.next().await.seen.close();
        assert_eq!((info.code, info.was_clean), (1001, true));
    }
    assert!(rig.try_next().is_none());
    assert_eq!(rig.host.stopped.load(SeqCst), 1);
    rig.shutdown(Duration::ZERO).await;
    rig.server.wait();
    assert_eq!(rig.host.stopped.load(SeqCst), 1);
    let stats = rig.server.stats();
    assert_eq!((stats.connections, stats.buffered_bytes, stats.waiting_bytes), (0, 0, 0));
}

#[tokio::test]
async fn what_was_sent_before_the_shutdown_arrives() {
    let mut rig = Rig::start(config());
    let (mut client, connect) = rig.connect().await;
    let mut outbox = rig.server.outbox();
    for n in 0..1000 {
        outbox.send(connect.id, MessageKind::Text, n.to_string().as_bytes()).unwrap();
    }
    outbox.flush();
    rig.server.begin_shutdown(Duration::from_secs(5));
    for n in 0..1000 {
        assert_eq!(receive_text(&mut client).await, n.to_string());
    }
    assert_eq!(u16::from(receive_close(&mut client).await.unwrap().code), 1001);
}

#[tokio::test]
async fn a_client_that_never_answers_is_cut_at_the_timeout() {
    let mut rig = Rig::start(config());
    let mut stream = raw::open(&rig.server).await;
    rig.next().await;
    let started = Instant::now();
    rig.shutdown(Duration::from_millis(200)).await;
    let took = started.elapsed();
    assert!(took >= Duration::from_millis(200), "{took:?}");
    assert!(took < Duration::from_millis(900), "{took:?}");
    let info = rig.next().await.seen.close();
    assert_eq!((info.code, info.was_clean), (1001, false));
    assert_eq!(rig.host.stopped.load(SeqCst), 1);
    assert_eq!(raw::read_close_code(&mut stream).await, Some(1001));
    assert_eq!(raw::read_frame(&mut stream).await, None);
}

#[tokio::test]
async fn a_second_call_may_shorten_the_wait() {
    let mut rig = Rig::start(config());
    let _stream = raw::open(&rig.server).await;
    rig.next().await;
    let started = Instant::now();
    rig.server.begin_shutdown(Duration::from_secs(60));
    rig.shutdown(Duration::ZERO).await;
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_server_without_sockets_stops_at_once() {
    let rig = Rig::start(config());
    let started = Instant::now();
    rig.shutdown(Duration::from_secs(60)).await;
    assert!(started.elapsed() < Duration::from_millis(500), "{:?}", started.elapsed());
}

#[tokio::test]
async fn sockets_that_ended_before_any_host_came_do_not_hold_the_end() {
    let rig = Rig::on_lane(config(), Lane::NONE);
    drop(connect(&rig.server).await);
    until(|| rig.server.stats().closed == 1).await;
    let started = Instant::now();
    rig.shutdown(Duration::from_secs(60)).await;
    assert!(started.elapsed() < Duration::from_millis(500), "{:?}", started.elapsed());
    let stats = rig.server.stats();
    assert_eq!((stats.discarded, stats.waiting_bytes), (2, 0));
}

#[tokio::test]
async fn messages_that_wait_for_the_host_are_given_up_at_the_timeout() {
    let mut rig = Rig::start(config());
    rig.capacity(Some(0));
    let (mut client, _) = rig.connect().await;
    send(&mut client, "never taken").await;
    until(|| rig.server.stats().waiting_bytes > 0).await;
    let started = Instant::now();
    rig.shutdown(Duration::from_millis(200)).await;
    assert!(started.elapsed() < Duration::from_millis(900), "{:?}", started.elapsed());
    assert_eq!(rig.host.stopped.load(SeqCst), 1);
    assert_eq!(rig.server.stats().waiting_bytes, 0);
}

#[tokio::test]
async fn a_connection_without_a_request_does_not_hold_the_end() {
    let rig = Rig::start(config());
    let mut silent = raw::tcp(&rig.server).await;
    until(|| rig.server.stats().accepted == 1).await;
    rig.shutdown(Duration::from_secs(60)).await;
    assert_eq!(raw::read_to_end(&mut silent).await, "");
}

#[tokio::test]
async fn the_port_is_free_at_once_and_a_taken_one_is_an_error() {
    let mut rig = Rig::echoing(config());
    let (client, _) = rig.connect().await;
    let port = rig.server.local_addr().port();
    let again = Config { port, ..config() };
    assert_eq!(again.bind().unwrap_err().code(), "EADDRINUSE");
    rig.shutdown(Duration::ZERO).await;
    let mut rig = Rig::echoing(again);
    let (mut next, _) = rig.connect().await;
    send(&mut next, "new").await;
    assert_eq!(receive_text(&mut next).await, "new");
    drop(client);
}

#[tokio::test]
async fn after_the_end_sockets_are_unknown_and_broadcasts_are_not_kept() {
    let mut rig = Rig::start(config());
    let (_client, connect) = rig.connect().await;
    let mut outbox = rig.server.outbox();
    rig.shutdown(Duration::ZERO).await;
    assert_eq!(outbox.send(connect.id, MessageKind::Text, b"late"), Ok(SendStatus::Unknown));
    assert_eq!(outbox.close(connect.id, 1000, ""), SendStatus::Unknown);
    let large = vec![0; 1 << 20];
    for _ in 0..1000 {
        // Far more than the process may hold for broadcasts.
        assert_eq!(outbox.send_all(MessageKind::Binary, &large, None), Ok(SendStatus::Ok));
    }
    outbox.flush();
    assert_eq!(rig.server.stats().buffered_bytes, 0);
    assert_eq!(rig.server.clients(), []);
    rig.server.room(support::LANE);
    rig.server.rehome(support::LANE, Vec::new());
    rig.server.release(connect.id);
    assert!(matches!(rig.next().await.seen, Seen::Close(_)));
    assert!(rig.try_next().is_none());
}
