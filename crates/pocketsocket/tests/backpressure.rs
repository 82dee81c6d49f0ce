//! Clients that do not read: what waits for them is bounded, and the host is told once when there is room again.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::time::Duration;

use pocketsocket::{Config, DropPolicy, MessageKind, Outbox, SendStatus, SocketId};
use support::{Rig, Seen, client, config, raw, soon, until};
use tokio::io::AsyncWriteExt;

const LIMIT: usize = 256 * 1024;
const PAYLOAD: [u8; 16 * 1024] = [7; 16 * 1024];

fn small() -> Config {
    Config { backpressure_limit: LIMIT, ..config() }
}

/// Sends until the client's and the system's buffers are full too: then nothing moves for a while, and the queue takes
/// nothing after it either. Gives how many were taken.
async fn fill(rig: &mut Rig, outbox: &mut Outbox, id: SocketId) -> usize {
    let mut taken = 0;
    let mut stalled = false;
    loop {
        match outbox.send(id, MessageKind::Binary, &PAYLOAD).unwrap() {
            SendStatus::Ok => {
                taken += 1;
                stalled = false;
            }
            SendStatus::Unknown => panic!("the socket is open"),
            SendStatus::Dropped if stalled => return taken,
            SendStatus::Dropped => {
                outbox.flush();
                match tokio::time::timeout(Duration::from_millis(300), rig.next()).await {
                    Ok(event) => assert_eq!(event.seen, Seen::Drain),
                    Err(_) => stalled = true,
                }
            }
        }
    }
}

async fn read_frames(stream: &mut tokio::net::TcpStream, count: usize) {
    for n in 0..count {
        assert_eq!(raw::read_frame(stream).await, Some((0x82, PAYLOAD.to_vec())), "{n}");
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_is_dropped_for_and_told_of_once_when_it_reads_again() {
    let mut rig = Rig::start(small());
    let mut stream = raw::open_narrow(&rig.server).await;
    let id = rig.next().await.id;
    let mut outbox = rig.server.outbox();
    let taken = fill(&mut rig, &mut outbox, id).await;
    let buffered = rig.server.buffered_amount(id);
    assert!(buffered > LIMIT / 2 && buffered <= LIMIT, "{buffered}");
    let before = rig.server.stats().dropped;
    for _ in 0..3 {
        let status = outbox.send(id, MessageKind::Binary, &PAYLOAD);
        assert_eq!(status, Ok(SendStatus::Dropped));
    }
    assert_eq!(rig.server.stats().dropped, before + 3);
    assert_eq!(rig.server.stats().buffered_bytes, buffered as u64);

    read_frames(&mut stream, taken).await;
    assert_eq!(rig.next().await.seen, Seen::Drain);
    until(|| rig.server.buffered_amount(id) == 0).await;
    assert_eq!(rig.server.stats().buffered_bytes, 0);
    assert_eq!(outbox.send(id, MessageKind::Binary, &PAYLOAD), Ok(SendStatus::Ok));
    outbox.flush();
    read_frames(&mut stream, 1).await;
    stream.write_all(&raw::frame(0x81, b"last")).await.unwrap();
    assert_eq!(rig.next().await.seen.text(), "last", "one Drain, not more");
}

#[tokio::test]
async fn a_message_above_the_limit_is_taken_when_nothing_waits() {
    let mut rig = Rig::start(small());
    let (mut client, connect) = rig.connect().await;
    let mut outbox = rig.server.outbox();
    let large = vec![1; 4 * LIMIT];
    assert_eq!(outbox.send(connect.id, MessageKind::Binary, &large), Ok(SendStatus::Ok));
    outbox.flush();
    assert_eq!(client::receive(&mut client).await.into_data(), large);
}

#[tokio::test]
async fn a_client_that_does_not_read_hurts_nobody_else() {
    let mut rig = Rig::start(Config { threads: 1, ..small() });
    let _stalled = raw::open_narrow(&rig.server).await;
    let id = rig.next().await.id;
    let mut outbox = rig.server.outbox();
    fill(&mut rig, &mut outbox, id).await;
    let (mut other, connect) = rig.connect().await;
    for n in 0..100 {
        let text = n.to_string();
        assert_eq!(outbox.send(connect.id, MessageKind::Text, text.as_bytes()), Ok(SendStatus::Ok));
        outbox.flush();
        assert_eq!(client::receive_text(&mut other).await, text);
    }
}

#[tokio::test]
async fn what_waited_for_a_client_that_is_cut_is_given_up() {
    let close_timeout = Duration::from_millis(100);
    let mut rig = Rig::start(Config { close_timeout, ..small() });
    let _stalled = raw::open_narrow(&rig.server).await;
    let id = rig.next().await.id;
    let mut outbox = rig.server.outbox();
    fill(&mut rig, &mut outbox, id).await;
    assert_eq!(outbox.close(id, 4000, "too slow"), SendStatus::Ok);
    let info = rig.next().await.seen.close();
    assert_eq!((info.code, info.was_clean), (4000, false));
    assert_eq!(rig.server.stats().buffered_bytes, 0);
    assert_eq!(rig.server.buffered_amount(id), 0);
}

#[tokio::test]
async fn a_broadcast_is_dropped_for_the_slow_and_reaches_the_others() {
    let mut rig = Rig::start(small());
    let _stalled = raw::open_narrow(&rig.server).await;
    let slow = rig.next().await.id;
    let mut outbox = rig.server.outbox();
    fill(&mut rig, &mut outbox, slow).await;
    let (mut other, _) = rig.connect().await;
    let before = rig.server.stats().dropped;
    for _ in 0..20 {
        assert_eq!(outbox.send_all(MessageKind::Binary, &PAYLOAD, None), Ok(SendStatus::Ok));
        outbox.flush();
        assert_eq!(client::receive(&mut other).await.into_data(), &PAYLOAD[..]);
    }
    until(|| rig.server.stats().dropped == before + 20).await;
    assert!(rig.server.buffered_amount(slow) <= LIMIT);
}

fn closing() -> Config {
    let close_timeout = Duration::from_millis(100);
    Config { drop_policy: DropPolicy::Close, close_timeout, ..small() }
}

#[tokio::test]
async fn a_client_that_must_miss_nothing_is_closed_at_the_first_message_that_is_dropped() {
    for many in [false, true] {
        let mut rig = Rig::start(closing());
        let _stalled = raw::open_narrow(&rig.server).await;
        let id = rig.next().await.id;
        let mut outbox = rig.server.outbox();
        let mut send = || {
            let mut status = None;
            if many {
                let told = |given| status = Some(given);
                outbox.send_many([Some(id)], MessageKind::Binary, &PAYLOAD, told).unwrap();
            } else {
                status = Some(outbox.send(id, MessageKind::Binary, &PAYLOAD).unwrap());
            }
            status.unwrap()
        };
        let refused = std::iter::repeat_with(&mut send).find(|status| *status != SendStatus::Ok);
        assert_eq!(refused, Some(SendStatus::Dropped));
        assert_eq!(send(), SendStatus::Unknown);
        let info = rig.next_close().await;
        assert_eq!((info.code, info.was_clean), (1013, false));
        assert_eq!((rig.server.stats().dropped, rig.server.stats().faults), (1, 1));
        assert_eq!(rig.server.stats().buffered_bytes, 0);
    }
}

#[tokio::test]
async fn a_broadcast_that_is_dropped_closes_the_slow_and_reaches_the_others() {
    let mut rig = Rig::start(closing());
    let _stalled = raw::open_narrow(&rig.server).await;
    let slow = rig.next().await.id;
    let (mut other, _) = rig.connect().await;
    let mut outbox = rig.server.outbox();
    while rig.server.stats().dropped == 0 {
        assert_eq!(outbox.send_all(MessageKind::Binary, &PAYLOAD, None), Ok(SendStatus::Ok));
        outbox.flush();
        assert_eq!(client::receive(&mut other).await.into_data(), &PAYLOAD[..]);
    }
    assert_eq!(outbox.send(slow, MessageKind::Binary, b"late"), Ok(SendStatus::Unknown));
    assert_eq!(rig.next_close().await.code, 1013);
    assert_eq!((rig.server.stats().connections, rig.server.stats().faults), (1, 1));
}

#[tokio::test]
async fn a_client_that_sends_and_takes_nothing_is_closed_after_the_idle_timeout() {
    let idle_timeout = Duration::from_secs(2);
    let close_timeout = Duration::from_millis(100);
    let mut rig = Rig::start(Config { idle_timeout, close_timeout, ..small() });
    let mut stalled = raw::open_narrow(&rig.server).await;
    let id = rig.next().await.id;
    let mut outbox = rig.server.outbox();
    // More than the system's buffers take.
    let large = vec![1; 32 << 20];
    assert_eq!(outbox.send(id, MessageKind::Binary, &large), Ok(SendStatus::Ok));
    outbox.flush();
    let alive = async {
        while stalled.write_all(&raw::frame(0x8a, b"alive")).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        std::future::pending::<()>().await;
    };
    let info = tokio::select! {
        info = rig.next_close() => info,
        () = alive => unreachable!(),
    };
    assert_eq!(info.code, 1013);
    assert_eq!((rig.server.stats().dropped, rig.server.stats().faults), (0, 1));
}

#[tokio::test]
async fn of_pings_whose_pongs_are_not_read_the_last_is_answered_and_the_rest_is_not_kept() {
    let mut rig = Rig::start(small());
    let mut stream = raw::open(&rig.server).await;
    rig.next().await;
    let mut pings = raw::frame(0x89, &[b'p'; 125]).repeat(400_000);
    pings.extend(raw::frame(0x89, b"last"));
    soon(stream.write_all(&pings)).await.unwrap();
    let (mut tail, mut received) = (Vec::new(), 0);
    let mut block = vec![0; 256 * 1024];
    while !tail.ends_with(b"\x8a\x04last") {
        let len = soon(tokio::io::AsyncReadExt::read(&mut stream, &mut block)).await.unwrap();
        assert!(len > 0);
        received += len;
        tail.extend(&block[..len]);
        tail.drain(..tail.len().saturating_sub(16));
    }
    // What the kernel's buffers hold, not an answer to each.
    assert!(received < pings.len() / 2, "{received} bytes of pongs");
}
