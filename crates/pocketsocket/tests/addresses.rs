//! Where a client is: what proxies say of it, and how many connections one address may have.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::net::UdpSocket;

use pocketsocket::{Config, Server, TrustProxy};
use support::{
    Rig, Seen,
    client::{close, connect_to, receive_text, send},
    config, raw, soon, until,
};
use tokio::{io::AsyncWriteExt, net::TcpStream};

/// A proxy on this machine is believed.
fn behind_a_proxy() -> Config {
    let trust_proxy = TrustProxy::Networks(vec!["127.0.0.0/8".parse().unwrap()]);
    Config { trust_proxy, max_connections_per_address: 2, ..config() }
}

fn from(address: &str) -> Vec<u8> {
    raw::HANDSHAKE
        .replace("13\r\n\r\n", &format!("13\r\nX-Forwarded-For: {address}\r\n\r\n"))
        .into_bytes()
}

/// A connection that has sent its handshake as from `address`, and the head of its answer.
async fn open_from(server: &Server, address: &str) -> (TcpStream, String) {
    let mut stream = raw::tcp(server).await;
    stream.write_all(&from(address)).await.unwrap();
    let head = raw::read_head(&mut stream).await;
    (stream, head)
}

#[tokio::test]
async fn without_trust_a_forwarded_address_is_ignored() {
    let mut rig = Rig::start(config());
    let headers = [("x-forwarded-for", "192.0.2.7")];
    let (_client, _) = connect_to(&rig.server, "/", &headers).await;
    let Seen::Connect { request, .. } = rig.next().await.seen else { panic!("no Connect") };
    assert_eq!(request.remote_address.unwrap().to_string(), "127.0.0.1");
}

#[tokio::test]
async fn a_trusted_proxy_tells_the_address() {
    let mut rig = Rig::start(behind_a_proxy());
    let headers = [("x-forwarded-for", "203.0.113.1, 192.0.2.7, 127.0.0.9")];
    let (_client, _) = connect_to(&rig.server, "/", &headers).await;
    let Seen::Connect { request, .. } = rig.next().await.seen else { panic!("no Connect") };
    assert_eq!(request.remote_address.unwrap().to_string(), "192.0.2.7");
}

#[tokio::test]
async fn an_address_above_its_limit_gets_429_until_one_of_its_sockets_has_left() {
    let rig = Rig::echoing(behind_a_proxy());
    let address = [("x-forwarded-for", "192.0.2.7")];
    let (mut first, _) = connect_to(&rig.server, "/", &address).await;
    let (mut second, _) = connect_to(&rig.server, "/", &address).await;
    let refused = raw::request(&rig.server, &from("192.0.2.7")).await;
    assert_eq!(raw::status(&refused), 429, "{refused}");
    assert_eq!(raw::header(&refused, "retry-after"), Some("5"));
    assert!(raw::body(&refused).contains("maxConnectionsPerAddress"));
    // Told once, with what to do.
    let again = raw::request(&rig.server, &from("192.0.2.7")).await;
    assert_eq!(raw::status(&again), 429);
    let errors = rig.host.errors.lock().unwrap().clone();
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(errors[0].starts_with("192.0.2.7 has 2 connections"), "{errors:?}");
    // Others are served, and so are those that it has.
    let (mut other, _) = connect_to(&rig.server, "/", &[("x-forwarded-for", "192.0.2.8")]).await;
    for client in [&mut second, &mut other] {
        send(client, "fine").await;
        assert_eq!(receive_text(client).await, "fine");
    }
    close(&mut first, None).await;
    drop(first);
    until_open(&rig.server, "192.0.2.7").await;
}

/// Connects until it succeeds: when a connection that has ended is counted out no event tells.
async fn until_open(server: &Server, address: &str) -> TcpStream {
    soon(async {
        loop {
            let (stream, head) = open_from(server, address).await;
            if raw::status(&head) == 101 {
                return stream;
            }
            assert_eq!(raw::status(&head), 429);
            tokio::task::yield_now().await;
        }
    })
    .await
}

#[tokio::test]
async fn however_connections_end_they_are_counted_out() {
    let mut rig = Rig::echoing(behind_a_proxy());
    for round in 0..5 {
        // A reset, a broken frame that is lingered over, and a page.
        let reset = until_open(&rig.server, "192.0.2.7").await;
        reset.set_zero_linger().unwrap();
        drop(reset);
        let mut broken = until_open(&rig.server, "192.0.2.7").await;
        broken.write_all(&[0xff, 0xff]).await.unwrap();
        assert_eq!(raw::read_close_code(&mut broken).await, Some(1002), "{round}");
        drop(broken);
        rig.next_close().await;
        rig.next_close().await;
    }
    let first = until_open(&rig.server, "192.0.2.7").await;
    let second = until_open(&rig.server, "192.0.2.7").await;
    assert_eq!(raw::status(&open_from(&rig.server, "192.0.2.7").await.1), 429);
    drop((first, second));
}

#[tokio::test]
async fn a_panic_of_the_host_gives_places_back() {
    let rig = Rig::echoing(Config { threads: 1, ..behind_a_proxy() });
    for _ in 0..3 {
        let mut stream = until_open(&rig.server, "192.0.2.7").await;
        stream.write_all(&raw::frame(0x81, b"panic, please")).await.unwrap();
        raw::read_to_end(&mut stream).await;
    }
    let first = until_open(&rig.server, "192.0.2.7").await;
    let second = until_open(&rig.server, "192.0.2.7").await;
    drop((first, second));
}

#[tokio::test]
async fn this_machine_may_have_any_number() {
    let mut rig = Rig::echoing(Config { max_connections_per_address: 1, ..config() });
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(rig.connect().await.0);
    }
    for client in &mut clients {
        send(client, "in").await;
        assert_eq!(receive_text(client).await, "in");
    }
}

/// An address of this machine that others reach it by, if it has one: asking the way sends nothing.
fn outer_address() -> Option<String> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback() && !address.is_unspecified()).then(|| address.to_string())
}

#[tokio::test]
async fn a_connection_counts_from_its_first_byte_on() {
    let Some(address) = outer_address() else {
        return eprintln!("skipped: this machine has no address but loopback");
    };
    let rig =
        Rig::start(Config { address: address.clone(), max_connections_per_address: 4, ..config() });
    // They say nothing, and hold places all the same.
    let mut silent = Vec::new();
    for _ in 0..4 {
        silent.push(raw::tcp(&rig.server).await);
    }
    until(|| rig.server.stats().accepted == 4).await;
    let handshake = raw::HANDSHAKE.replace("localhost", &address);
    let refused = raw::request(&rig.server, handshake.as_bytes()).await;
    assert_eq!(raw::status(&refused), 429, "{refused}");
    // A page may be had while its address is full, but not by any number.
    for _ in 0..40 {
        silent.push(raw::tcp(&rig.server).await);
    }
    until(|| rig.server.stats().refused >= 24).await;
    drop(silent);
    soon(async {
        loop {
            let mut stream = raw::tcp(&rig.server).await;
            let sent = stream.write_all(handshake.as_bytes()).await;
            let mut head = [0; 12];
            let read = tokio::io::AsyncReadExt::read_exact(&mut stream, &mut head).await;
            if sent.is_ok() && read.is_ok() && head == *b"HTTP/1.1 101" {
                break;
            }
        }
    })
    .await;
}
