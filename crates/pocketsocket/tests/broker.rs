//! Several servers as one, through real brokers: Redis and NATS, each started by its test.

#![cfg(all(unix, feature = "nats", feature = "redis"))]
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::time::{Duration, Instant};

use pocketsocket::{Config, Error, Host, Lane, MessageKind, Offer, SendStatus, Server};
use support::{
    Rig,
    broker::{Broker, Kind, Network},
    client::{Client, receive_close, receive_text, send},
    config, until,
};

const TEXT: MessageKind = MessageKind::Text;

fn node_at(url: &str) -> Config {
    Config {
        broker: Some(url.parse().unwrap()),
        broker_timeout: Duration::from_millis(1000),
        ..config()
    }
}

fn node(broker: &Broker) -> Rig {
    Rig::start(node_at(&broker.url()))
}

fn stats(rig: &Rig) -> pocketsocket::BrokerStats {
    rig.server.broker_stats().unwrap()
}

fn errors(rig: &Rig) -> Vec<String> {
    rig.host.errors.lock().unwrap().clone()
}

async fn texts(client: &mut Client, expected: &[&str]) {
    for text in expected {
        assert_eq!(receive_text(client).await, *text);
    }
}

/// Runs a test with each broker, if it is installed.
macro_rules! with_each_broker {
    ($($name:ident),* $(,)?) => {
        mod redis {
            $(#[tokio::test]
            async fn $name() {
                if !super::Kind::Redis.is_missing() {
                    super::$name(super::Kind::Redis).await;
                }
            })*
        }
        mod nats {
            $(#[tokio::test]
            async fn $name() {
                if !super::Kind::Nats.is_missing() {
                    super::$name(super::Kind::Nats).await;
                }
            })*
        }
    };
}

with_each_broker! {
    send_all_reaches_every_node_once_but_the_origin,
    a_topic_reaches_the_nodes_that_have_members_and_no_others,
    a_socket_in_several_topics_gets_what_is_for_them_once,
    a_uuid_of_another_node_is_sent_to_closed_and_subscribed,
    broadcast_relays_to_other_nodes,
    messages_of_each_node_come_in_order_and_once,
    a_broker_that_is_killed_stops_nothing_here_and_its_gap_is_told,
    a_broker_that_hangs_is_noticed,
    a_network_that_is_cut_is_noticed,
    a_node_that_ends_takes_its_channels_along,
    what_is_none_of_ours_is_counted_and_nothing_else,
    a_wrong_password_is_told_at_once_and_never_shown,
    two_applications_share_a_broker,
    a_message_larger_than_the_broker_takes_is_dropped_and_counted,
}

async fn send_all_reaches_every_node_once_but_the_origin(kind: Kind) {
    let broker = Broker::start(kind);
    let (mut a, mut b) = (node(&broker), node(&broker));
    let ((mut a1, a1_id), (mut a2, _)) = (a.connect().await, a.connect().await);
    let ((mut b1, b1_id), (mut b2, _)) = (b.connect().await, b.connect().await);
    let mut outbox = a.server.outbox();
    assert_eq!(outbox.send_all(TEXT, b"all", None), Ok(SendStatus::Ok));
    assert_eq!(outbox.send_all(TEXT, b"but a1", Some(a1_id.uuid)), Ok(SendStatus::Ok));
    // An origin may be a socket of another node.
    assert_eq!(outbox.send_all(TEXT, b"but b1", Some(b1_id.uuid)), Ok(SendStatus::Ok));
    assert_eq!(outbox.send_all(TEXT, b"end", None), Ok(SendStatus::Ok));
    outbox.flush();
    texts(&mut a1, &["all", "but b1", "end"]).await;
    texts(&mut a2, &["all", "but a1", "but b1", "end"]).await;
    texts(&mut b1, &["all", "but a1", "end"]).await;
    texts(&mut b2, &["all", "but a1", "but b1", "end"]).await;
    assert_eq!((stats(&a).received, stats(&b).received), (0, 4));
    until(|| stats(&a).sent == 4 && stats(&a).waiting_bytes == 0).await;
    assert_eq!(stats(&b).sent, 0, "what came does not go out again");
}

async fn a_topic_reaches_the_nodes_that_have_members_and_no_others(kind: Kind) {
    let broker = Broker::start(kind);
    let (mut a, mut b, c) = (node(&broker), node(&broker), node(&broker));
    let (mut a1, _) = a.connect().await;
    let (mut b1, b1_id) = b.connect().await;
    let (mut b2, _) = b.connect().await;
    // Names that a protocol could take for something else.
    let topic = "room 1.*.> \r\n😀";
    let mut theirs = b.server.outbox();
    assert_eq!(theirs.subscribe(b1_id.id, topic), SendStatus::Ok);
    theirs.flush();
    let mut outbox = a.server.outbox();
    // A subscription takes a moment until the broker has it.
    let mut sent = 0;
    until(|| {
        outbox.publish(topic, TEXT, b"news", None).unwrap();
        outbox.publish("other", TEXT, b"other", None).unwrap();
        outbox.flush();
        sent += 1;
        stats(&b).received > 0
    })
    .await;
    texts(&mut b1, &["news"]).await;
    theirs.unsubscribe(b1_id.id, topic);
    theirs.flush();
    until(|| {
        let before = stats(&b).received;
        outbox.publish(topic, TEXT, b"news", None).unwrap();
        outbox.send_all(TEXT, b"mark", None).unwrap();
        outbox.flush();
        std::thread::sleep(Duration::from_millis(5));
        stats(&b).received == before + 1
    })
    .await;
    assert_eq!(receive_text(&mut a1).await, "mark");
    assert_eq!(receive_text(&mut b2).await, "mark");
    assert!(sent > 0);
    until(|| stats(&a).waiting_bytes == 0).await;
    let marks = stats(&c).received;
    assert!(marks < stats(&a).sent / 2, "{marks} of {}: only what was for all", stats(&a).sent);
}

async fn a_socket_in_several_topics_gets_what_is_for_them_once(kind: Kind) {
    let broker = Broker::start(kind);
    let (a, mut b) = (node(&broker), node(&broker));
    let (mut client, connect) = b.connect().await;
    let mut theirs = b.server.outbox();
    let mut outbox = a.server.outbox();
    for topic in ["x", "y"] {
        assert_eq!(theirs.subscribe(connect.id, topic), SendStatus::Ok);
        theirs.flush();
        let before = stats(&b).received;
        // A subscription takes a moment until the broker has it.
        until(|| {
            outbox.publish(topic, TEXT, b"ready", None).unwrap();
            outbox.flush();
            stats(&b).received > before
        })
        .await;
    }
    outbox.publish_many(["x", "y"], TEXT, b"both", None).unwrap();
    outbox.send_all(TEXT, b"end", None).unwrap();
    outbox.flush();
    let mut seen = Vec::new();
    while seen.last().is_none_or(|text| text != "end") {
        let text = receive_text(&mut client).await;
        if text != "ready" {
            seen.push(text);
        }
    }
    assert_eq!(seen, ["both", "end"]);
}

async fn a_uuid_of_another_node_is_sent_to_closed_and_subscribed(kind: Kind) {
    let broker = Broker::start(kind);
    let (mut a, mut b) = (node(&broker), node(&broker));
    let (mut b1, b1_id) = b.connect().await;
    let uuid = b1_id.uuid;
    let mut outbox = a.server.outbox();
    assert!(outbox.is_remote(uuid));
    assert!(!b.server.outbox().is_remote(uuid));
    assert_eq!(outbox.send_remote(uuid, TEXT, b"hello"), Ok(SendStatus::Ok));
    assert_eq!(outbox.send_remote(uuid, TEXT, b"\xff"), Err(pocketsocket::InvalidMessage::NotUtf8));
    assert_eq!(outbox.change_topic_remote(uuid, "news", true), SendStatus::Ok);
    outbox.flush();
    texts(&mut b1, &["hello"]).await;
    until(|| b.server.topics(b1_id.id).len() == 1).await;
    assert_eq!(outbox.change_topic_remote(uuid, "news", false), SendStatus::Ok);
    outbox.flush();
    until(|| b.server.topics(b1_id.id).is_empty()).await;
    assert_eq!(outbox.close_remote(uuid, 4001, "bye"), SendStatus::Ok);
    let close = receive_close(&mut b1).await.unwrap();
    assert_eq!((u16::from(close.code), close.reason.as_str()), (4001, "bye"));
    assert_eq!(b.next_close().await.code, 4001);
    // Handed to the broker all the same: where it went, nobody is there.
    assert_eq!(outbox.send_remote(uuid, TEXT, b"late"), Ok(SendStatus::Ok));
    let (_, own) = a.connect().await;
    assert!(!outbox.is_remote(own.uuid));
    assert_eq!(outbox.send_remote(own.uuid, TEXT, b"x"), Ok(SendStatus::Unknown));
}

async fn broadcast_relays_to_other_nodes(kind: Kind) {
    let broker = Broker::start(kind);
    let config = || Config { broadcast: true, ..node_at(&broker.url()) };
    let (mut a, mut b) = (Rig::start(config()), Rig::start(config()));
    let (mut a1, _) = a.connect().await;
    let (mut b1, _) = b.connect().await;
    let (mut b2, _) = b.connect().await;
    send(&mut a1, "from a1").await;
    send(&mut a1, "again").await;
    texts(&mut b1, &["from a1", "again"]).await;
    send(&mut b1, "from b1").await;
    texts(&mut a1, &["from b1"]).await;
    texts(&mut b2, &["from a1", "again", "from b1"]).await;
}

async fn messages_of_each_node_come_in_order_and_once(kind: Kind) {
    const COUNT: usize = 20_000;
    let broker = Broker::start(kind);
    let (mut a, mut b) = (node(&broker), node(&broker));
    let ((mut a1, _), (mut b1, _)) = (a.connect().await, b.connect().await);
    for (rig, name) in [(&a, 'a'), (&b, 'b')] {
        let mut outbox = rig.server.outbox();
        std::thread::spawn(move || {
            for n in 0..COUNT {
                outbox.send_all(TEXT, format!("{name}{n}").as_bytes(), None).unwrap();
                // Less than a socket's limit at a time.
                if n % 200 == 0 {
                    outbox.flush();
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
        });
    }
    for client in [&mut a1, &mut b1] {
        let mut next = [0; 2];
        for _ in 0..2 * COUNT {
            let text = receive_text(client).await;
            let sender = usize::from(text.starts_with('b'));
            assert_eq!(text[1..], next[sender].to_string());
            next[sender] += 1;
        }
    }
    assert_eq!((stats(&a).dropped, stats(&b).dropped), (0, 0));
}

/// Waits until messages travel from one to the other again.
async fn until_connected(rigs: [&Rig; 2]) {
    until(|| rigs.iter().all(|rig| stats(rig).connected)).await;
}

async fn a_broker_that_is_killed_stops_nothing_here_and_its_gap_is_told(kind: Kind) {
    let mut broker = Broker::start(kind);
    let (mut a, mut b) = (node(&broker), node(&broker));
    let ((mut a1, a1_id), (mut b1, b1_id)) = (a.connect().await, b.connect().await);
    let mut theirs = b.server.outbox();
    theirs.subscribe(b1_id.id, "news");
    theirs.flush();
    broker.kill();
    until(|| !stats(&a).connected && !stats(&b).connected).await;
    let mut outbox = a.server.outbox();
    assert_eq!(outbox.send_all(TEXT, b"here", None), Ok(SendStatus::Ok));
    assert_eq!(outbox.send_remote(b1_id.uuid, TEXT, b"there"), Ok(SendStatus::Unknown));
    assert_eq!(outbox.send(a1_id.id, TEXT, b"local"), Ok(SendStatus::Ok));
    outbox.flush();
    texts(&mut a1, &["here", "local"]).await;
    assert_eq!(stats(&a).dropped, 2);
    let restarted = Instant::now();
    broker.restart();
    until_connected([&a, &b]).await;
    let back = restarted.elapsed();
    assert!(back < Duration::from_secs(2), "{back:?}");
    outbox.send_all(TEXT, b"all", None).unwrap();
    outbox.publish("news", TEXT, b"news", None).unwrap();
    outbox.send_remote(b1_id.uuid, TEXT, b"one").unwrap();
    outbox.flush();
    texts(&mut b1, &["all", "news", "one"]).await;
    for rig in [&a, &b] {
        let told = errors(rig);
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told[0].contains("is lost") && told[1].contains("is back after"), "{told:?}");
        assert_eq!(stats(rig).gaps, 1);
    }
    assert!(errors(&a)[1].contains("2 messages were not sent"), "{:?}", errors(&a));
}

async fn a_broker_that_hangs_is_noticed(kind: Kind) {
    let broker = Broker::start(kind);
    let (mut a, mut b) = (node(&broker), node(&broker));
    let ((mut a1, _), (mut b1, _)) = (a.connect().await, b.connect().await);
    broker.stop();
    until(|| !stats(&a).connected && !stats(&b).connected).await;
    a.server.outbox().send_all(TEXT, b"here", None).unwrap();
    texts(&mut a1, &["here"]).await;
    broker.go_on();
    until_connected([&a, &b]).await;
    a.server.outbox().send_all(TEXT, b"there too", None).unwrap();
    texts(&mut a1, &["there too"]).await;
    texts(&mut b1, &["there too"]).await;
    assert!(errors(&a)[0].contains("no answer"), "{:?}", errors(&a));
}

async fn a_network_that_is_cut_is_noticed(kind: Kind) {
    let broker = Broker::start(kind);
    let network = Network::to(&broker);
    let url = format!("{}://127.0.0.1:{}", kind.scheme(), network.port);
    let (mut a, mut b) = (Rig::start(node_at(&url)), node(&broker));
    let ((mut a1, _), (mut b1, _)) = (a.connect().await, b.connect().await);
    a.server.outbox().send_all(TEXT, b"before", None).unwrap();
    texts(&mut b1, &["before"]).await;
    network.cut();
    until(|| !stats(&a).connected).await;
    assert!(stats(&b).connected);
    // Lost for a, and b goes on.
    b.server.outbox().send_all(TEXT, b"meanwhile", None).unwrap();
    texts(&mut b1, &["meanwhile"]).await;
    network.mend();
    until_connected([&a, &b]).await;
    b.server.outbox().send_all(TEXT, b"after", None).unwrap();
    texts(&mut a1, &["before", "after"]).await;
    texts(&mut b1, &["after"]).await;
}

async fn a_node_that_ends_takes_its_channels_along(kind: Kind) {
    let broker = Broker::start(kind);
    let (a, mut b) = (node(&broker), node(&broker));
    let (mut b1, _) = b.connect().await;
    // What was sent before the end leaves.
    a.server.outbox().send_all(TEXT, b"last words", None).unwrap();
    a.shutdown(Duration::from_secs(1)).await;
    texts(&mut b1, &["last words"]).await;
    drop(a);
    let a = node(&broker);
    a.server.outbox().send_all(TEXT, b"hello again", None).unwrap();
    texts(&mut b1, &["hello again"]).await;
}

async fn what_is_none_of_ours_is_counted_and_nothing_else(kind: Kind) {
    let broker = Broker::start(kind);
    let (a, mut b) = (node(&broker), node(&broker));
    let (mut b1, _) = b.connect().await;
    for bytes in [&b""[..], b"\0", b"{\"json\":true}", &[1; 31], &[255; 1000], &[1; 60_000]] {
        broker.publish_raw(bytes);
    }
    // Text that is not UTF-8, in a message that is well-formed otherwise.
    let mut wrong = vec![1, 1];
    wrong.extend_from_slice(&[0; 30]);
    wrong.extend_from_slice(&[1, 0xff]);
    broker.publish_raw(&wrong);
    a.server.outbox().send_all(TEXT, b"fine", None).unwrap();
    texts(&mut b1, &["fine"]).await;
    assert_eq!(stats(&b).malformed, 7);
    assert!(errors(&b).is_empty());
}

/// A host that is told nothing.
struct Deaf;

impl Host for Deaf {
    fn assign(&self) -> Lane {
        Lane::DISCARD
    }
    fn offer(&self, _: Lane, _: &pocketsocket::Event<'_>) -> Offer {
        Offer::Taken
    }
}

async fn a_wrong_password_is_told_at_once_and_never_shown(kind: Kind) {
    let broker = Broker::with_password(kind, Some("right"));
    let (scheme, port) = (kind.scheme(), broker.port);
    let user = if kind == Kind::Redis { "" } else { "me" };
    let began = Instant::now();
    let mut wrong = node_at(&format!("{scheme}://{user}:wr0ng@127.0.0.1:{port}"));
    wrong.broker_timeout = Duration::from_secs(60);
    let error = Server::start(wrong, Deaf).unwrap_err();
    assert_eq!(error.code(), "ERR_BROKER_UNREACHABLE");
    let shown = format!("{error} {error:?}");
    assert!(
        shown.contains(&format!("{scheme}://127.0.0.1:{port}")) && !shown.contains("wr0ng"),
        "{shown}"
    );
    assert!(shown.contains("password"), "{shown}");
    assert!(began.elapsed() < Duration::from_secs(30), "there is no use in trying again");
    let right = node_at(&format!("{scheme}://{user}:right@127.0.0.1:{port}"));
    assert!(stats(&Rig::start(right)).connected);
}

async fn two_applications_share_a_broker(kind: Kind) {
    let broker = Broker::start(kind);
    let other = || Config { broker_prefix: "other".to_owned(), ..node_at(&broker.url()) };
    let (a, mut b, mut c) = (node(&broker), Rig::start(other()), Rig::start(other()));
    let ((mut b1, _), (mut c1, _)) = (b.connect().await, c.connect().await);
    a.server.outbox().send_all(TEXT, b"ours", None).unwrap();
    until(|| stats(&a).sent == 1).await;
    b.server.outbox().send_all(TEXT, b"theirs", None).unwrap();
    texts(&mut b1, &["theirs"]).await;
    texts(&mut c1, &["theirs"]).await;
    assert_eq!((stats(&a).received, stats(&b).received, stats(&c).received), (0, 0, 1));
}

async fn a_message_larger_than_the_broker_takes_is_dropped_and_counted(kind: Kind) {
    let broker = Broker::start(kind);
    let (a, mut b) = (node(&broker), node(&broker));
    let (mut b1, b1_id) = b.connect().await;
    let most = match kind {
        Kind::Redis => 64 << 20,
        Kind::Nats => 1 << 20,
    };
    until(|| stats(&a).connected).await;
    let mut outbox = a.server.outbox();
    assert_eq!(outbox.send_remote(b1_id.uuid, TEXT, &vec![b'x'; most]), Ok(SendStatus::Dropped));
    assert_eq!(outbox.send_remote(b1_id.uuid, TEXT, &vec![b'y'; 900_000]), Ok(SendStatus::Ok));
    outbox.flush();
    assert_eq!(receive_text(&mut b1).await.len(), 900_000);
    assert_eq!(stats(&a).dropped, 1);
}

#[tokio::test]
async fn a_broker_that_is_missing_is_an_error_in_time_without_the_password() {
    // Bound and not listening for anyone: connecting is refused, and nobody else takes the port.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = taken.local_addr().unwrap().port();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    for scheme in ["redis", "nats"] {
        for port in [silent, closed] {
            let url = format!("{scheme}://me:s3cret@127.0.0.1:{port}");
            let config = Config { broker_timeout: Duration::from_millis(300), ..node_at(&url) };
            let began = Instant::now();
            let error = Server::start(config, Deaf).unwrap_err();
            let took = began.elapsed();
            assert_eq!(error.code(), "ERR_BROKER_UNREACHABLE");
            assert!(matches!(error, Error::BrokerUnreachable { .. }));
            let shown = format!("{error} {error:?}");
            assert!(shown.contains(&format!("{scheme}://127.0.0.1:{port}")), "{shown}");
            assert!(!shown.contains("s3cret"), "{shown}");
            assert!((300..2000).contains(&took.as_millis()), "{took:?}");
        }
    }
}

#[tokio::test]
async fn without_a_broker_another_nodes_uuid_is_unknown() {
    let (mut a, b) = (Rig::start(config()), Rig::start(config()));
    let (_client, connect) = a.connect().await;
    let mut outbox = b.server.outbox();
    assert!(!outbox.is_remote(connect.uuid));
    assert_eq!(outbox.send_remote(connect.uuid, TEXT, b"x"), Ok(SendStatus::Unknown));
    assert_eq!(outbox.close_remote(connect.uuid, 1000, ""), SendStatus::Unknown);
    assert_eq!(b.server.broker_stats(), None);
}
