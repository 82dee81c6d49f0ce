//! Hosts come and go: events wait for the next lane, which is told of every socket first.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::sync::atomic::Ordering::SeqCst;

use pocketsocket::{Config, Lane};
use support::{
    LANE, Rig, Seen,
    client::{Client, close, connect, connect_to, send},
    config, raw, until,
};

const NEXT: Lane = Lane::host(1);

/// The next event must be a Connect for `lane`.
async fn assert_connect(rig: &mut Rig, lane: Lane, resumed: bool) -> support::Record {
    let record = rig.next().await;
    assert_eq!(record.lane, lane);
    let Seen::Connect { resumed: was, .. } = record.seen else { panic!("{record:?}") };
    assert_eq!(was, resumed);
    record
}

fn next_lane(rig: &Rig, lane: Lane) {
    *rig.host.lane.lock().unwrap() = lane;
}

/// Sends texts and waits until the server has them.
async fn send_all(rig: &Rig, client: &mut Client, texts: &[&str]) {
    let before = rig.server.stats().messages_in;
    for text in texts {
        send(client, text).await;
    }
    until(|| rig.server.stats().messages_in == before + texts.len() as u64).await;
}

#[tokio::test]
async fn without_a_host_events_wait_and_the_first_one_gets_them_in_order() {
    let mut rig = Rig::on_lane(config(), Lane::NONE);
    let (mut client, _) = connect_to(&rig.server, "/path", &[("x-name", "value")]).await;
    send_all(&rig, &mut client, &["a", "b", "c"]).await;
    assert!(rig.try_next().is_none());
    next_lane(&rig, LANE);
    rig.server.rehome(Lane::NONE, Vec::new());
    let connect = assert_connect(&mut rig, LANE, false).await;
    let Seen::Connect { request, .. } = connect.seen else { unreachable!() };
    assert_eq!(request.url, "/path");
    assert!(request.headers.contains(&("x-name".into(), "value".into())), "not begun: whole");
    for text in ["a", "b", "c"] {
        assert_eq!(rig.next().await.seen.text(), text);
    }
    send(&mut client, "d").await;
    assert_eq!(rig.next().await.seen.text(), "d");
}

#[tokio::test]
async fn a_socket_that_ended_before_any_host_came_is_told_of_whole() {
    let mut rig = Rig::on_lane(config(), Lane::NONE);
    let mut client = connect(&rig.server).await;
    send_all(&rig, &mut client, &["a"]).await;
    close(&mut client, None).await;
    until(|| rig.server.stats().closed == 1).await;
    // A host that looked in and left again changes nothing.
    rig.server.rehome(Lane::NONE, Vec::new());
    next_lane(&rig, LANE);
    rig.server.rehome(Lane::NONE, Vec::new());
    // The first of the two may see either lane: one Connect it is.
    assert_connect(&mut rig, LANE, false).await;
    assert_eq!(rig.next().await.seen.text(), "a");
    assert_eq!(rig.next().await.seen.close().code, 1005);
    until(|| rig.server.stats().waiting_bytes == 0).await;
}

#[tokio::test]
async fn without_a_host_a_flood_is_stopped() {
    let rig = Rig::on_lane(config(), Lane::NONE);
    let mut stream = raw::open_narrow(&rig.server).await;
    let frames = raw::frame(0x82, &[0; 1000]).repeat(30_000);
    assert!(raw::write_until_blocked(&mut stream, &frames).await < frames.len());
    assert!(rig.server.stats().waiting_bytes < 64 * 1024 + 2000);
}

#[tokio::test]
async fn of_sockets_that_ended_before_any_host_came_the_newest_are_kept() {
    // A quarter of the slots: the rest stays free for those who are alive.
    const KEPT: usize = 64;
    let config = Config { threads: 1, max_connections: 4 * KEPT, ..config() };
    let mut rig = Rig::on_lane(config, Lane::NONE);
    for _ in 0..KEPT + 6 {
        drop(raw::open(&rig.server).await);
        until(|| rig.server.stats().connections == 0).await;
    }
    let stats = rig.server.stats();
    assert_eq!(stats.discarded, 2 * 6, "Connect and Close of the oldest");
    next_lane(&rig, LANE);
    rig.server.rehome(Lane::NONE, Vec::new());
    for _ in 0..2 * KEPT {
        rig.next().await;
    }
    rig.connect().await;
}

#[tokio::test]
async fn without_interest_events_are_counted_and_a_later_host_is_told_of_open_sockets() {
    let mut rig = Rig::on_lane(config(), Lane::DISCARD);
    let mut client = connect(&rig.server).await;
    send_all(&rig, &mut client, &["a", "b"]).await;
    until(|| rig.server.stats().discarded == 3).await;
    assert_eq!(rig.host.discarded.load(SeqCst), 3);
    assert!(rig.try_next().is_none());
    next_lane(&rig, LANE);
    rig.server.rehome(Lane::DISCARD, Vec::new());
    assert_connect(&mut rig, LANE, false).await;
    send(&mut client, "c").await;
    assert_eq!(rig.next().await.seen.text(), "c");
}

#[tokio::test]
async fn a_lane_that_gives_events_back_loses_none_and_the_next_gets_them_in_order() {
    let mut rig = Rig::start(config());
    let (mut client, first) = rig.connect().await;
    rig.capacity(Some(3));
    send_all(&rig, &mut client, &["a", "b", "c", "d", "e"]).await;
    for text in ["a", "b", "c"] {
        assert_eq!(rig.next().await.seen.text(), text);
    }
    // The lane had begun "a" alone; "d" and "e" wait in the socket's queue.
    rig.capacity(None);
    next_lane(&rig, NEXT);
    let returned = ["b", "c"].map(|text| Seen::Text(text.into()).pending()).to_vec();
    rig.server.rehome(LANE, vec![(first.uuid, returned)]);
    let again = assert_connect(&mut rig, NEXT, true).await;
    assert_eq!(again.uuid, first.uuid);
    for text in ["b", "c", "d", "e"] {
        let record = rig.next().await;
        assert_eq!((record.lane, record.seen.text()), (NEXT, text.to_owned()));
    }
    until(|| rig.server.stats().waiting_bytes == 0).await;
    send(&mut client, "f").await;
    assert_eq!(rig.next().await.seen.text(), "f");
}

#[tokio::test]
async fn a_connect_that_is_given_back_comes_again_as_it_was() {
    let mut rig = Rig::start(config());
    let (mut client, connect) = rig.connect().await;
    next_lane(&rig, NEXT);
    rig.server.rehome(LANE, vec![(connect.uuid, vec![connect.seen.clone().pending()])]);
    let again = rig.next().await;
    assert_eq!((again.lane, again.seen), (NEXT, connect.seen));
    send(&mut client, "a").await;
    assert_eq!(rig.next().await.seen.text(), "a");
}

#[tokio::test]
async fn a_close_that_is_given_back_comes_again_and_keeps_its_slot_till_then() {
    let mut rig = Rig::start(Config { max_connections: 1, ..config() });
    rig.host.keeps_close.store(true, SeqCst);
    let (mut client, first) = rig.connect().await;
    close(&mut client, None).await;
    let closed = rig.next().await.seen;
    next_lane(&rig, NEXT);
    rig.server.rehome(LANE, vec![(first.uuid, vec![closed.clone().pending()])]);
    assert_eq!(assert_connect(&mut rig, NEXT, true).await.uuid, first.uuid);
    let again = rig.next().await;
    assert_eq!((again.lane, again.uuid, again.seen), (NEXT, first.uuid, closed));
    rig.server.release(first.id);
    rig.connect().await;
}

#[tokio::test]
async fn a_lane_that_is_gone_keeps_events_waiting_for_the_next() {
    let mut rig = Rig::start(config());
    let (mut client, _) = rig.connect().await;
    rig.host.gone.lock().unwrap().push(LANE);
    send_all(&rig, &mut client, &["a", "b"]).await;
    assert!(rig.try_next().is_none());
    next_lane(&rig, NEXT);
    rig.server.rehome(LANE, Vec::new());
    assert_connect(&mut rig, NEXT, true).await;
    for text in ["a", "b"] {
        let record = rig.next().await;
        assert_eq!((record.lane, record.seen.text()), (NEXT, text.to_owned()));
    }
}

#[tokio::test]
async fn a_rehome_moves_the_sockets_of_its_lane_alone() {
    let mut rig = Rig::start(config());
    let (mut staying, _) = rig.connect().await;
    next_lane(&rig, NEXT);
    let (mut moving, _) = rig.connect().await;
    next_lane(&rig, Lane::host(2));
    rig.server.rehome(NEXT, Vec::new());
    assert_connect(&mut rig, Lane::host(2), true).await;
    send(&mut staying, "stays").await;
    assert_eq!(rig.next().await.lane, LANE);
    send(&mut moving, "moved").await;
    assert_eq!(rig.next().await.lane, Lane::host(2));
}
