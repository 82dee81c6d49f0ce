//! One message for many: broadcast, topics, and the relay that needs no application.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use pocketsocket::{Config, Lane, MessageKind, SendStatus, Uuid};
use support::{
    Rig,
    client::{Client, close, receive, receive_text, send},
    config, until,
};

/// More shards than one, so that a message must cross threads.
fn sharded() -> Config {
    Config { threads: 3, ..config() }
}

async fn clients(rig: &mut Rig, count: usize) -> Vec<(Client, Uuid)> {
    let mut clients = Vec::new();
    for _ in 0..count {
        let (client, connect) = rig.connect().await;
        clients.push((client, connect.uuid));
    }
    clients
}

#[tokio::test]
async fn broadcast_relays_to_all_but_the_sender_and_tells_the_host_too() {
    let mut rig = Rig::start(Config { broadcast: true, ..sharded() });
    let mut clients = clients(&mut rig, 9).await;
    for sender in 0..clients.len() {
        let text = format!("from {sender}");
        send(&mut clients[sender].0, &text).await;
        for (n, (client, _)) in clients.iter_mut().enumerate() {
            if n != sender {
                assert_eq!(receive_text(client).await, text);
            }
        }
        assert_eq!(rig.next().await.seen.text(), text);
    }
    // Nobody got its own: what comes next is what the server sends next.
    rig.server.outbox().send_all(MessageKind::Text, b"end", None).unwrap();
    for (client, _) in &mut clients {
        assert_eq!(receive_text(client).await, "end");
    }
    assert_eq!(rig.server.stats().messages_out, 9 * 8 + 9);
}

#[tokio::test]
async fn broadcast_keeps_the_order_of_each_sender_and_goes_on_without_a_host() {
    const COUNT: usize = 500;
    let config = Config { broadcast: true, ..sharded() };
    let rig = Rig::on_lane(config, Lane::DISCARD);
    let mut sender = support::client::connect(&rig.server).await;
    let mut receivers = Vec::new();
    for _ in 0..6 {
        receivers.push(support::client::connect(&rig.server).await);
    }
    until(|| rig.server.stats().opened == 7).await;
    for n in 0..COUNT {
        send(&mut sender, &n.to_string()).await;
    }
    for receiver in &mut receivers {
        for n in 0..COUNT {
            assert_eq!(receive_text(receiver).await, n.to_string());
        }
    }
}

#[tokio::test]
async fn send_all_reaches_all_but_the_origin() {
    let mut rig = Rig::start(sharded());
    let mut clients = clients(&mut rig, 6).await;
    let origin = Some(clients[0].1);
    let mut outbox = rig.server.outbox();
    let sent = outbox.send_all(MessageKind::Binary, b"news", origin);
    assert_eq!(sent, Ok(SendStatus::Ok));
    assert_eq!(outbox.send_all(MessageKind::Text, b"end", None), Ok(SendStatus::Ok));
    outbox.flush();
    for (n, (client, _)) in clients.iter_mut().enumerate() {
        if n > 0 {
            assert_eq!(&receive(client).await.into_data()[..], b"news");
        }
        assert_eq!(receive_text(client).await, "end");
    }
    assert!(outbox.send_all(MessageKind::Text, b"\xff", None).is_err());
    until(|| rig.server.stats().buffered_bytes == 0).await;
}

#[tokio::test]
async fn the_commands_of_one_thread_keep_the_order_of_its_calls() {
    let mut rig = Rig::start(sharded());
    let mut clients = clients(&mut rig, 3).await;
    let ids: Vec<_> = clients.iter().map(|(_, uuid)| rig.server.resolve(*uuid).unwrap()).collect();
    let mut outbox = rig.server.outbox();
    for n in 0..100 {
        for &id in &ids {
            outbox.send(id, MessageKind::Text, format!("one {n}").as_bytes()).unwrap();
            assert_eq!(outbox.subscribe(id, "room"), SendStatus::Ok);
        }
        outbox.publish("room", MessageKind::Text, format!("room {n}").as_bytes(), None).unwrap();
        for &id in &ids {
            assert_eq!(outbox.unsubscribe(id, "room"), SendStatus::Ok);
        }
        outbox.publish("room", MessageKind::Text, b"to nobody", None).unwrap();
        outbox.send_all(MessageKind::Text, format!("all {n}").as_bytes(), None).unwrap();
    }
    for &id in &ids {
        assert_eq!(outbox.close(id, 1000, ""), SendStatus::Ok);
    }
    for (client, _) in &mut clients {
        for n in 0..100 {
            for what in ["one", "room", "all"] {
                assert_eq!(receive_text(client).await, format!("{what} {n}"));
            }
        }
        assert!(receive(client).await.is_close());
    }
}

#[tokio::test]
async fn a_topic_reaches_its_members_but_the_origin_until_they_leave() {
    let mut rig = Rig::start(sharded());
    let mut clients = clients(&mut rig, 6).await;
    let ids: Vec<_> = clients.iter().map(|(_, uuid)| rig.server.resolve(*uuid).unwrap()).collect();
    let mut outbox = rig.server.outbox();
    for &id in &ids[..4] {
        assert_eq!(outbox.subscribe(id, "news"), SendStatus::Ok);
        assert_eq!(outbox.subscribe(id, "news"), SendStatus::Ok);
    }
    assert_eq!(outbox.subscribe(ids[0], "a"), SendStatus::Ok);
    let topics: Vec<_> = rig.server.topics(ids[0]).iter().map(ToString::to_string).collect();
    assert_eq!(topics, ["a", "news"]);
    let publish = |outbox: &mut pocketsocket::Outbox, text: &str, except| {
        let sent = outbox.publish("news", MessageKind::Text, text.as_bytes(), except);
        assert_eq!(sent, Ok(SendStatus::Ok));
    };
    publish(&mut outbox, "first", Some(clients[0].1));
    assert_eq!(outbox.unsubscribe(ids[1], "news"), SendStatus::Ok);
    assert_eq!(outbox.unsubscribe(ids[5], "news"), SendStatus::Ok);
    publish(&mut outbox, "second", None);
    outbox.send_all(MessageKind::Text, b"end", None).unwrap();
    outbox.flush();
    let expected: [&[&str]; 6] = [
        &["second", "end"],
        &["first", "end"],
        &["first", "second", "end"],
        &["first", "second", "end"],
        &["end"],
        &["end"],
    ];
    for ((client, _), texts) in clients.iter_mut().zip(expected) {
        for text in texts {
            assert_eq!(receive_text(client).await, *text);
        }
    }
    assert!(rig.server.topics(ids[1]).is_empty());
}

#[tokio::test]
async fn a_socket_that_has_ended_is_in_no_topic_nor_is_its_slots_next_holder() {
    let mut rig = Rig::start(Config { max_connections: 1, threads: 1, ..config() });
    let (mut first, connect) = rig.connect().await;
    let mut outbox = rig.server.outbox();
    assert_eq!(outbox.subscribe(connect.id, "news"), SendStatus::Ok);
    outbox.flush();
    close(&mut first, None).await;
    rig.next().await.seen.close();
    assert!(rig.server.topics(connect.id).is_empty());
    assert_eq!(outbox.subscribe(connect.id, "news"), SendStatus::Unknown);
    assert_eq!(outbox.unsubscribe(connect.id, "news"), SendStatus::Unknown);
    let (mut next, again) = rig.connect().await;
    assert_eq!(again.id.slot, connect.id.slot);
    let sent = outbox.publish("news", MessageKind::Text, b"not for you", None);
    assert_eq!(sent, Ok(SendStatus::Ok));
    outbox.send(again.id, MessageKind::Text, b"for you").unwrap();
    outbox.flush();
    assert_eq!(receive_text(&mut next).await, "for you");
}

#[tokio::test]
async fn a_socket_that_is_being_closed_gets_no_more_broadcasts() {
    let mut rig = Rig::start(config());
    let (mut client, connect) = rig.connect().await;
    let mut outbox = rig.server.outbox();
    assert_eq!(outbox.close(connect.id, 1000, ""), SendStatus::Ok);
    outbox.send_all(MessageKind::Text, b"late", None).unwrap();
    outbox.flush();
    assert!(receive(&mut client).await.is_close());
}
