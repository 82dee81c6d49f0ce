//! Messages there and back, whole and in order.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use pocketsocket::{Config, InvalidMessage, MessageKind, SendStatus};
use support::{
    Rig, Seen,
    client::{connect_to, receive, receive_close, receive_text, send, send_binary},
    config, raw, soon,
};
use tokio::io::AsyncWriteExt;
use tokio_tungstenite::tungstenite::{Bytes, Message, protocol::frame::coding::CloseCode};

#[tokio::test]
async fn text_binary_and_empty_messages_come_back_as_sent() {
    let mut rig = Rig::echoing(config());
    let (mut client, _) = rig.connect().await;
    for message in [
        Message::text("hello"),
        Message::text("é 😀 \0"),
        Message::text(""),
        Message::binary(vec![0, 255, 128]),
        Message::binary(Vec::new()),
    ] {
        soon(client.send(message.clone())).await.unwrap();
        assert_eq!(receive(&mut client).await, message);
    }
    assert_eq!(rig.next().await.seen, Seen::Text("hello".into()));
}

#[tokio::test]
async fn a_message_at_the_limit_passes_and_one_above_closes_with_1009() {
    let mut rig = Rig::echoing(config());
    let (mut client, _) = rig.connect().await;
    let largest: Vec<u8> = (0..1 << 20).map(|n: u32| n as u8).collect();
    send_binary(&mut client, largest.clone()).await;
    assert_eq!(receive(&mut client).await.into_data(), largest);
    send_binary(&mut client, vec![0; (1 << 20) + 1]).await;
    assert_eq!(receive_close(&mut client).await.unwrap().code, CloseCode::Size);
    let info = rig.next_close().await;
    assert_eq!((info.code, info.was_clean), (1009, false));
    assert_eq!(rig.server.stats().faults, 1);
}

#[tokio::test]
async fn fragments_above_the_limit_in_sum_close_with_1009() {
    let mut rig = Rig::echoing(Config { max_payload: 1000, ..config() });
    let (client, _) = rig.connect().await;
    let mut stream = client.into_inner();
    use tokio::io::AsyncWriteExt;
    stream.write_all(&support::raw::frame(0x02, &[1; 600])).await.unwrap();
    stream.write_all(&support::raw::frame(0x80, &[2; 600])).await.unwrap();
    assert_eq!(support::raw::read_close_code(&mut stream).await, Some(1009));
    assert_eq!(rig.next_close().await.code, 1009);
}

#[tokio::test]
async fn a_hundred_thousand_messages_of_one_socket_keep_their_order() {
    const COUNT: usize = 100_000;
    let config = Config { backpressure_limit: 1 << 30, ..config() };
    let mut rig = Rig::echoing(config);
    let (client, _) = rig.connect().await;
    let (mut sink, mut stream) = client.split();
    let sending = async {
        for n in 0..COUNT {
            sink.feed(Message::text(n.to_string())).await.unwrap();
        }
        sink.flush().await.unwrap();
    };
    let receiving = async {
        for n in 0..COUNT {
            let message = stream.next().await.unwrap().unwrap();
            assert_eq!(message.to_text().unwrap(), n.to_string());
        }
    };
    soon(async { tokio::join!(sending, receiving) }).await;
    for n in 0..COUNT {
        assert_eq!(rig.next().await.seen.text(), n.to_string());
    }
    let stats = rig.server.stats();
    assert_eq!((stats.messages_in, stats.messages_out), (COUNT as u64, COUNT as u64));
}

#[tokio::test]
async fn each_of_many_sockets_keeps_its_order() {
    const SOCKETS: usize = 50;
    const COUNT: usize = 200;
    let rig = Rig::echoing(config());
    let mut tasks = Vec::new();
    for socket in 0..SOCKETS {
        let mut client = support::client::connect(&rig.server).await;
        tasks.push(tokio::spawn(async move {
            for n in 0..COUNT {
                client.feed(Message::text(format!("{socket}/{n}"))).await.unwrap();
            }
            client.flush().await.unwrap();
            for n in 0..COUNT {
                assert_eq!(receive_text(&mut client).await, format!("{socket}/{n}"));
            }
        }));
    }
    for task in tasks {
        soon(task).await.unwrap();
    }
}

#[tokio::test]
async fn a_fragmented_message_with_a_ping_inside_comes_whole() {
    let mut rig = Rig::start(config());
    let (client, _) = rig.connect().await;
    let mut stream = client.into_inner();
    use tokio::io::AsyncWriteExt;
    let emoji = "😀".as_bytes();
    for (first, payload) in
        [(0x01, &emoji[..1]), (0x00, &emoji[1..3]), (0x89, &b"in between"[..]), (0x80, &emoji[3..])]
    {
        stream.write_all(&support::raw::frame(first, payload)).await.unwrap();
    }
    let pong = support::raw::read_frame(&mut stream).await.unwrap();
    assert_eq!(pong, (0x8a, b"in between".to_vec()));
    assert_eq!(rig.next().await.seen.text(), "😀");
}

#[tokio::test]
async fn each_ping_gets_its_pong_and_the_host_hears_of_neither() {
    let mut rig = Rig::start(config());
    let (mut client, _) = rig.connect().await;
    for n in 0..3 {
        let payload = Bytes::from(format!("ping {n}"));
        soon(client.send(Message::Ping(payload.clone()))).await.unwrap();
        assert_eq!(receive(&mut client).await, Message::Pong(payload));
    }
    send(&mut client, "last").await;
    assert_eq!(rig.next().await.seen.text(), "last");
}

#[tokio::test]
async fn each_ping_of_a_burst_gets_its_pong_in_order() {
    let rig = Rig::start(config());
    let mut stream = raw::open(&rig.server).await;
    let pings: Vec<u8> = (0..100).flat_map(|n| raw::frame(0x89, &[n; 3])).collect();
    stream.write_all(&pings).await.unwrap();
    for n in 0..100 {
        assert_eq!(raw::read_frame(&mut stream).await, Some((0x8a, vec![n; 3])));
    }
}

#[tokio::test]
async fn the_application_may_send_every_kind_and_a_message_that_cannot_be_sent_is_an_error() {
    let mut rig = Rig::start(config());
    let (mut client, connect) = rig.connect().await;
    let mut outbox = rig.server.outbox();
    let kinds = [MessageKind::Ping, MessageKind::Pong, MessageKind::Binary, MessageKind::Text];
    for kind in kinds {
        assert_eq!(outbox.send(connect.id, kind, b"data"), Ok(SendStatus::Ok));
    }
    let wrong = outbox.send(connect.id, MessageKind::Text, b"\xff");
    assert_eq!(wrong, Err(InvalidMessage::NotUtf8));
    let wrong = outbox.send(connect.id, MessageKind::Ping, &[0; 126]);
    assert_eq!(wrong, Err(InvalidMessage::ControlTooLong));
    outbox.flush();
    let data = Bytes::from_static(b"data");
    assert_eq!(receive(&mut client).await, Message::Ping(data.clone()));
    assert_eq!(receive(&mut client).await, Message::Pong(data.clone()));
    assert_eq!(receive(&mut client).await, Message::Binary(data));
    assert_eq!(receive(&mut client).await, Message::text("data"));
}

#[tokio::test]
async fn commands_leave_by_age_and_size_without_a_flush() {
    let mut rig = Rig::start(config());
    let (mut client, connect) = rig.connect().await;
    let mut outbox = rig.server.outbox();
    assert_eq!(outbox.send(connect.id, MessageKind::Text, b"small"), Ok(SendStatus::Ok));
    assert!(!outbox.is_empty());
    tokio::time::sleep(Duration::from_millis(2)).await;
    outbox.flush_if_due();
    assert!(outbox.is_empty());
    assert_eq!(receive_text(&mut client).await, "small");
    let large = vec![7; 64 * 1024];
    assert_eq!(outbox.send(connect.id, MessageKind::Binary, &large), Ok(SendStatus::Ok));
    assert!(outbox.is_empty());
    assert_eq!(receive(&mut client).await.into_data(), large);
}

#[tokio::test]
async fn a_client_that_offers_the_hello_subprotocol_is_told_its_uuid_first() {
    let mut rig = Rig::echoing(config());
    let header = [("sec-websocket-protocol", "pocketsocket.hello")];
    let (mut client, response) = connect_to(&rig.server, "/", &header).await;
    assert_eq!(response.headers()["sec-websocket-protocol"], "pocketsocket.hello");
    send(&mut client, "mine").await;
    let connect = rig.next().await;
    assert_eq!(receive_text(&mut client).await, connect.uuid.to_string());
    assert_eq!(receive_text(&mut client).await, "mine");
}
