//! A shard that panics: its sockets end with 1011, it starts anew, and all that is counted is right again.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::{collections::BTreeMap, sync::mpsc, time::Duration};

use pocketsocket::{
    CloseInfo, Config, MessageKind, SendStatus, Server, SocketId, TrustProxy, faults,
};
use support::{
    Rig, Seen,
    client::{self, receive_text, send},
    config, raw, soon, until,
};
use tokio::{io::AsyncWriteExt, net::TcpStream};

fn panic_in(server: &Server, shard: usize) {
    faults::in_shard(server, shard, || panic!("as the test asked"));
}

fn one_shard() -> Config {
    Config { threads: 1, ..config() }
}

/// Holds a shard up in its loop: what it is asked for meanwhile comes in one turn, once the sender is dropped.
fn hold_up(server: &Server, shard: usize) -> mpsc::Sender<()> {
    let (held, holding) = mpsc::channel::<()>();
    let (inside, entered) = mpsc::channel();
    faults::in_shard(server, shard, move || {
        inside.send(()).unwrap();
        let _ = holding.recv();
    });
    entered.recv().unwrap();
    held
}

/// The next `count` Closes, by socket.
async fn closes(rig: &mut Rig, count: usize) -> BTreeMap<SocketId, CloseInfo> {
    let mut closes = BTreeMap::new();
    while closes.len() < count {
        let record = rig.next().await;
        if let Seen::Close(info) = record.seen {
            assert_eq!(closes.insert(record.id, info), None, "once");
        }
    }
    closes
}

async fn assert_told_once(rig: &Rig, shard: usize) {
    until(|| !rig.host.errors.lock().unwrap().is_empty()).await;
    let errors = rig.host.errors.lock().unwrap();
    assert_eq!(errors.len(), 1, "{errors:?}");
    let start = format!("thread 'pocketsocket-io-{shard}' panicked (as the test asked)");
    assert!(errors[0].starts_with(&start), "{errors:?}");
}

#[tokio::test]
async fn the_sockets_of_a_shard_that_panics_end_with_1011_and_those_of_the_other_go_on() {
    for failing in [0, 1] {
        let mut rig = Rig::echoing(config());
        // Each comes to the shard with the fewest: they take turns.
        let (mut own, mut others) = (Vec::new(), Vec::new());
        for n in 0..10 {
            let (client, connect) = rig.connect().await;
            if n % 2 == failing { &mut own } else { &mut others }.push((client, connect.id));
        }
        assert_eq!(faults::loads(&rig.server), [5, 5]);
        panic_in(&rig.server, failing);
        for (client, _) in &mut own {
            let close = client::receive_close(client).await.unwrap();
            assert_eq!((u16::from(close.code), &close.reason[..]), (1011, "the server failed"));
        }
        let told = closes(&mut rig, 5).await;
        let failed = CloseInfo { code: 1011, reason: "the server failed".into(), was_clean: false };
        assert!(told.keys().copied().eq(own.iter().map(|(_, id)| *id)), "{told:?}");
        assert!(told.values().all(|info| *info == failed), "{told:?}");
        assert_told_once(&rig, failing).await;
        for (client, _) in &mut others {
            send(client, "goes on").await;
            assert_eq!(receive_text(client).await, "goes on");
        }
        // The shard serves new ones, which come to it as it has the fewest.
        let mut expected = [5, 5];
        expected[failing] = 0;
        until(|| faults::loads(&rig.server) == expected).await;
        let mut new = Vec::new();
        for _ in 0..5 {
            new.push(client::connect(&rig.server).await);
        }
        assert_eq!(faults::loads(&rig.server), [5, 5]);
        for client in &mut new {
            send(client, "new").await;
            assert_eq!(receive_text(client).await, "new");
        }
        for mut client in new.into_iter().chain(others.into_iter().map(|(client, _)| client)) {
            client::close(&mut client, None).await;
        }
        until(|| faults::loads(&rig.server) == [0, 0]).await;
        let stats = rig.server.stats();
        assert_eq!((stats.connections, stats.opened, stats.closed), (0, 15, 15));
        assert_eq!((stats.buffered_bytes, stats.waiting_bytes), (0, 0));
        assert_eq!(closes(&mut rig, 10).await.len(), 10);
        assert!(rig.try_next().is_none());
    }
}

#[tokio::test]
async fn a_shard_that_panics_again_and_again_starts_anew_each_time() {
    let mut rig = Rig::echoing(one_shard());
    for n in 1..=20 {
        let (mut client, _) = rig.connect().await;
        send(&mut client, "hello").await;
        assert_eq!(receive_text(&mut client).await, "hello");
        panic_in(&rig.server, 0);
        assert_eq!(rig.next_close().await.code, 1011);
        until(|| rig.host.errors.lock().unwrap().len() == n).await;
    }
    until(|| faults::loads(&rig.server) == [0]).await;
    rig.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn what_waited_either_way_counts_no_more_after_a_panic() {
    let mut rig = Rig::start(one_shard());
    let _slow = raw::open_narrow(&rig.server).await;
    let id = rig.next().await.id;
    let mut outbox = rig.server.outbox();
    // The system takes no more of it.
    let payload = [7; 16 * 1024];
    while rig.server.stats().buffered_bytes < 256 * 1024 {
        assert_eq!(outbox.send(id, MessageKind::Binary, &payload), Ok(SendStatus::Ok));
        outbox.flush();
        tokio::task::yield_now().await;
    }
    rig.capacity(Some(0));
    let mut eager = raw::open(&rig.server).await;
    rig.next().await;
    eager.write_all(&raw::frame(0x82, &payload).repeat(3)).await.unwrap();
    until(|| rig.server.stats().waiting_bytes >= 3 * payload.len() as u64).await;
    panic_in(&rig.server, 0);
    assert_eq!((rig.next_close().await.code, rig.next_close().await.code), (1011, 1011));
    until(|| rig.server.stats().waiting_bytes == 0).await;
    let stats = rig.server.stats();
    assert_eq!((stats.connections, stats.buffered_bytes, stats.discarded), (0, 0, 3));
}

#[tokio::test]
async fn an_address_gets_the_places_back_that_its_sockets_had() {
    let trust_proxy = TrustProxy::Networks(vec!["127.0.0.0/8".parse().unwrap()]);
    let rig = Rig::start(Config { trust_proxy, max_connections_per_address: 4, ..one_shard() });
    let open = || async {
        let forwarded = "13\r\nX-Forwarded-For: 192.0.2.7\r\n\r\n";
        let mut stream = raw::tcp(&rig.server).await;
        let request = raw::HANDSHAKE.replace("13\r\n\r\n", forwarded);
        soon(stream.write_all(request.as_bytes())).await.unwrap();
        (raw::status(&raw::read_head(&mut stream).await), stream)
    };
    for _ in 0..2 {
        let mut streams = Vec::<TcpStream>::new();
        for _ in 0..4 {
            let (status, stream) = open().await;
            assert_eq!(status, 101);
            streams.push(stream);
        }
        assert_eq!(open().await.0, 429);
        panic_in(&rig.server, 0);
        until(|| rig.server.stats().connections == 0).await;
        until(|| faults::loads(&rig.server) == [0]).await;
    }
}

#[tokio::test]
async fn what_is_asked_for_in_the_turn_of_a_panic_is_done_after_it() {
    let mut rig = Rig::start(one_shard());
    let (_client, connect) = rig.connect().await;
    let mut outbox = rig.server.outbox();
    let held = hold_up(&rig.server, 0);
    panic_in(&rig.server, 0);
    assert_eq!(outbox.send(connect.id, MessageKind::Text, b"too late"), Ok(SendStatus::Ok));
    outbox.flush();
    assert_eq!(outbox.send_all(MessageKind::Text, b"to nobody", None), Ok(SendStatus::Ok));
    outbox.flush();
    assert!(rig.server.stats().buffered_bytes > 0);
    rig.server.begin_shutdown(Duration::from_secs(60));
    drop(held);
    // Not only at the end of the time that the shutdown was given.
    until(|| rig.host.stopped.load(std::sync::atomic::Ordering::SeqCst) == 1).await;
    assert_eq!(rig.next_close().await.code, 1011);
    assert_told_once(&rig, 0).await;
    assert_eq!(rig.server.stats().buffered_bytes, 0);
}

#[tokio::test]
async fn a_connection_that_was_given_to_a_shard_before_it_panics_is_served_after_it() {
    let mut rig = Rig::echoing(config());
    let (first, _) = rig.connect().await;
    assert_eq!(faults::loads(&rig.server), [1, 0]);
    let held = hold_up(&rig.server, 1);
    panic_in(&rig.server, 1);
    let mut given = raw::tcp(&rig.server).await;
    soon(given.write_all(raw::HANDSHAKE.as_bytes())).await.unwrap();
    until(|| faults::loads(&rig.server) == [1, 1]).await;
    drop(held);
    assert_eq!(raw::status(&raw::read_head(&mut given).await), 101);
    assert_told_once(&rig, 1).await;
    let given = client::over(given).await;
    for mut client in [first, given] {
        send(&mut client, "fine").await;
        assert_eq!(receive_text(&mut client).await, "fine");
        client::close(&mut client, None).await;
    }
    until(|| faults::loads(&rig.server) == [0, 0]).await;
}

#[tokio::test]
async fn handshakes_that_are_under_way_end_with_their_shard_and_are_counted_out() {
    let mut rig = Rig::start(Config { authorize: true, ..one_shard() });
    let mut waiting = raw::tcp(&rig.server).await;
    soon(waiting.write_all(raw::HANDSHAKE.as_bytes())).await.unwrap();
    let asked = rig.next_asked().await;
    let mut begun = raw::tcp(&rig.server).await;
    soon(begun.write_all(b"GET / HT")).await.unwrap();
    until(|| faults::loads(&rig.server) == [2]).await;
    panic_in(&rig.server, 0);
    until(|| faults::loads(&rig.server) == [0]).await;
    assert!(asked.is_gone());
    assert!(soon(raw::read_frame(&mut begun)).await.is_none());
    assert_eq!(rig.server.stats().connections, 0);
    assert_eq!(
        raw::status(&raw::request(&rig.server, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await),
        200
    );
}
