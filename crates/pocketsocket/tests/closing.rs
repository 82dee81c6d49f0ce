//! Each way a socket can end: Connect comes first, Close last and once, with the code that says why.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::{sync::atomic::Ordering::SeqCst, time::Duration};

use futures_util::SinkExt;
use pocketsocket::{Config, Lane, MessageKind, SendStatus};
use support::{
    Rig, Seen,
    client::{close, receive_close, receive_text, send},
    config, raw, until,
};
use tokio::io::AsyncWriteExt;
use tokio_tungstenite::tungstenite::{Message, protocol::CloseFrame};

/// What the host must have been told: a Connect, then texts, then one Close with this code, reason and cleanness.
async fn assert_ended(rig: &mut Rig, texts: &[&str], code: u16, reason: &str, was_clean: bool) {
    assert!(matches!(rig.next().await.seen, Seen::Connect { resumed: false, .. }));
    for text in texts {
        assert_eq!(rig.next().await.seen.text(), *text);
    }
    let closed = rig.next().await;
    let info = closed.seen.close();
    assert_eq!((info.code, info.reason.as_str(), info.was_clean), (code, reason, was_clean));
    assert_eq!(rig.server.resolve(closed.uuid), None);
    assert_eq!(rig.server.clients(), []);
    let stats = rig.server.stats();
    assert_eq!((stats.connections, stats.opened, stats.closed), (0, 1, 1));
    rig.shutdown(Duration::from_secs(1)).await;
    assert!(rig.try_next().is_none(), "nothing comes after Close");
}

fn frame(code: u16, reason: &'static str) -> Option<CloseFrame> {
    Some(CloseFrame { code: code.into(), reason: reason.into() })
}

#[tokio::test]
async fn the_clients_close_with_a_code_and_reason() {
    let mut rig = Rig::start(config());
    let mut client = support::client::connect(&rig.server).await;
    send(&mut client, "a").await;
    let answer = close(&mut client, frame(4001, "bye é")).await;
    assert_eq!(u16::from(answer.unwrap().code), 4001);
    assert_ended(&mut rig, &["a"], 4001, "bye é", true).await;
}

#[tokio::test]
async fn the_clients_close_without_a_code_is_1005() {
    let mut rig = Rig::start(config());
    let mut client = support::client::connect(&rig.server).await;
    close(&mut client, None).await;
    assert_ended(&mut rig, &[], 1005, "", true).await;
}

#[tokio::test]
async fn messages_in_the_same_segment_as_the_close_come_before_it() {
    let mut rig = Rig::start(config());
    let mut stream = raw::open(&rig.server).await;
    let mut bytes = raw::frame(0x81, b"a");
    bytes.extend(raw::frame(0x81, b"b"));
    bytes.extend(raw::frame(0x88, &1000u16.to_be_bytes()));
    bytes.extend(raw::frame(0x81, b"after the end"));
    stream.write_all(&bytes).await.unwrap();
    assert_eq!(raw::read_close_code(&mut stream).await, Some(1000));
    assert_ended(&mut rig, &["a", "b"], 1000, "", true).await;
}

#[tokio::test]
async fn a_connection_that_ends_without_a_close_is_1006() {
    let mut rig = Rig::start(config());
    let client = support::client::connect(&rig.server).await;
    drop(client);
    assert_ended(&mut rig, &[], 1006, "", false).await;
}

#[tokio::test]
async fn a_connection_that_is_reset_is_1006() {
    let mut rig = Rig::start(config());
    let stream = raw::open(&rig.server).await;
    stream.set_zero_linger().unwrap();
    drop(stream);
    assert_ended(&mut rig, &[], 1006, "", false).await;
}

#[tokio::test]
async fn a_connection_that_ends_inside_of_a_frame_is_1006() {
    let mut rig = Rig::start(config());
    let mut stream = raw::open(&rig.server).await;
    stream.write_all(&raw::frame(0x81, b"cut short")[..9]).await.unwrap();
    stream.shutdown().await.unwrap();
    assert_eq!(raw::read_close_code(&mut stream).await, None);
    assert_ended(&mut rig, &[], 1006, "", false).await;
}

#[tokio::test]
async fn the_servers_close_follows_what_was_sent_before_and_is_clean_when_answered() {
    let mut rig = Rig::start(config());
    let (mut client, connect) = rig.connect().await;
    let mut outbox = rig.server.outbox();
    for n in 0..100 {
        let text = n.to_string();
        assert_eq!(outbox.send(connect.id, MessageKind::Text, text.as_bytes()), Ok(SendStatus::Ok));
    }
    assert_eq!(outbox.close(connect.id, 4321, "enough"), SendStatus::Ok);
    assert_eq!(outbox.send(connect.id, MessageKind::Text, b"late"), Ok(SendStatus::Unknown));
    assert_eq!(outbox.close(connect.id, 1000, "again"), SendStatus::Unknown);
    assert_eq!(rig.server.resolve(connect.uuid), None);
    for n in 0..100 {
        assert_eq!(receive_text(&mut client).await, n.to_string());
    }
    let close = receive_close(&mut client).await.unwrap();
    assert_eq!((u16::from(close.code), close.reason.as_str()), (4321, "enough"));
    let info = rig.next().await.seen.close();
    assert_eq!((info.code, info.reason.as_str(), info.was_clean), (4321, "enough", true));
    let stats = rig.server.stats();
    assert_eq!((stats.connections, stats.buffered_bytes, stats.faults), (0, 0, 0));
}

#[tokio::test]
async fn what_a_client_sends_after_the_servers_close_is_ignored() {
    let mut rig = Rig::start(config());
    let (client, connect) = rig.connect().await;
    let mut stream = client.into_inner();
    rig.server.outbox().close(connect.id, 1000, "");
    assert_eq!(raw::read_close_code(&mut stream).await, Some(1000));
    stream.write_all(&raw::frame(0x81, b"late")).await.unwrap();
    stream.write_all(&raw::frame(0x88, &1000u16.to_be_bytes())).await.unwrap();
    let info = rig.next().await.seen.close();
    assert_eq!((info.code, info.was_clean), (1000, true));
}

#[tokio::test]
async fn a_client_that_does_not_answer_the_servers_close_is_cut_after_the_close_timeout() {
    let close_timeout = Duration::from_millis(100);
    let mut rig = Rig::start(Config { close_timeout, ..config() });
    let (client, connect) = rig.connect().await;
    let mut stream = client.into_inner();
    rig.server.outbox().close(connect.id, 4000, "leave");
    let info = rig.next().await.seen.close();
    assert_eq!((info.code, info.reason.as_str(), info.was_clean), (4000, "leave", false));
    assert_eq!(raw::read_close_code(&mut stream).await, Some(4000));
    assert_eq!(raw::read_frame(&mut stream).await, None, "the connection has ended");
}

#[tokio::test]
async fn a_client_that_leaves_instead_of_answering_gives_the_servers_code_unclean() {
    let mut rig = Rig::start(config());
    let (client, connect) = rig.connect().await;
    let mut stream = client.into_inner();
    rig.server.outbox().close(connect.id, 4000, "leave");
    assert_eq!(raw::read_close_code(&mut stream).await, Some(4000));
    drop(stream);
    let info = rig.next().await.seen.close();
    assert_eq!((info.code, info.was_clean), (4000, false));
}

#[tokio::test]
async fn a_client_that_keeps_its_connection_after_the_closing_handshake_is_told_of_at_once() {
    let mut rig = Rig::start(config());
    let mut stream = raw::open(&rig.server).await;
    stream.write_all(&raw::frame(0x88, &1000u16.to_be_bytes())).await.unwrap();
    assert_eq!(raw::read_close_code(&mut stream).await, Some(1000));
    assert_ended(&mut rig, &[], 1000, "", true).await;
}

#[tokio::test]
async fn a_close_that_crosses_the_servers_close_is_clean() {
    let mut rig = Rig::start(config());
    let (mut client, connect) = rig.connect().await;
    rig.server.outbox().close(connect.id, 4000, "");
    // The client has not read the server's Close when it sends its own.
    client.send(Message::Close(frame(4999, ""))).await.unwrap();
    let info = rig.next().await.seen.close();
    assert!(info.was_clean);
    assert!(matches!(info.code, 4000 | 4999), "{info:?}");
}

#[tokio::test]
async fn a_close_that_the_host_keeps_holds_its_slot_until_it_is_released() {
    let mut rig = Rig::start(Config { max_connections: 1, ..config() });
    rig.host.keeps_close.store(true, SeqCst);
    let (mut client, connect) = rig.connect().await;
    close(&mut client, None).await;
    assert_eq!(rig.next().await.seen.close().code, 1005);
    let refused = raw::request(&rig.server, raw::HANDSHAKE.as_bytes()).await;
    assert_eq!(raw::status(&refused), 503);
    rig.server.release(connect.id);
    let (_client, next) = rig.connect().await;
    assert_eq!(next.id.slot, connect.id.slot);
}

#[tokio::test]
async fn a_panic_ends_one_socket_with_1011_and_the_others_go_on() {
    let mut rig = Rig::echoing(Config { threads: 1, ..config() });
    let (mut victim, _) = rig.connect().await;
    let (mut other, _) = rig.connect().await;
    send(&mut victim, "panic, please").await;
    let info = rig.next().await.seen.close();
    assert_eq!((info.code, info.was_clean), (1011, false));
    send(&mut other, "still here").await;
    assert_eq!(receive_text(&mut other).await, "still here");
    until(|| rig.server.stats().connections == 1).await;
}

#[tokio::test]
async fn a_close_nobody_wants_is_counted_and_frees_its_slot() {
    let rig = Rig::on_lane(Config { max_connections: 1, ..config() }, Lane::DISCARD);
    for _ in 0..3 {
        let mut client = support::client::connect(&rig.server).await;
        close(&mut client, None).await;
    }
    until(|| rig.host.discarded.load(SeqCst) == 6).await;
    assert_eq!(rig.server.stats().discarded, 6, "three Connects, three Closes");
}

#[tokio::test]
async fn what_another_thread_hands_over_too_late_does_not_follow_the_close() {
    let mut rig = Rig::start(config());
    let mut stream = raw::open(&rig.server).await;
    let id = rig.next().await.id;
    let (mut late, mut closing) = (rig.server.outbox(), rig.server.outbox());
    assert_eq!(late.send(id, MessageKind::Text, b"late"), Ok(SendStatus::Ok));
    assert_eq!(closing.close(id, 4000, "bye"), SendStatus::Ok);
    assert_eq!(raw::read_close_code(&mut stream).await, Some(4000));
    late.flush();
    until(|| rig.server.stats().buffered_bytes == 0).await;
    stream.write_all(&raw::frame(0x88, &4000u16.to_be_bytes())).await.unwrap();
    assert_eq!(raw::read_frame(&mut stream).await, None, "nothing after the Close");
    assert!(rig.next_close().await.was_clean);
}
