//! Where a server listens: a port shared by several servers, and Unix sockets.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::{
    fs,
    io::{Read, Write},
    os::unix::net::{UnixListener, UnixStream},
    path::PathBuf,
    time::Duration,
};

use pocketsocket::{Config, MessageKind};
use support::{
    Rig,
    client::{connect, receive_text, send},
    config, until,
};

/// A path that is nobody else's, removed with its folder.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("ps-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        Self(folder.join("s"))
    }

    fn config(&self) -> Config {
        Config { unix: Some(self.0.clone()), ..config() }
    }

    fn code(&self) -> &'static str {
        pocketsocket::Server::start(self.config(), Quiet).unwrap_err().code()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(self.0.parent().unwrap());
    }
}

struct Quiet;

impl pocketsocket::Host for Quiet {
    fn assign(&self) -> pocketsocket::Lane {
        pocketsocket::Lane::DISCARD
    }

    fn offer(&self, _: pocketsocket::Lane, _: &pocketsocket::Event<'_>) -> pocketsocket::Offer {
        pocketsocket::Offer::Taken
    }
}

/// Sends a request, and gives the head of the answer with the stream.
fn ask(place: &Place, headers: &str) -> (String, UnixStream) {
    let mut stream = UnixStream::connect(&place.0).unwrap();
    stream.set_read_timeout(Some(support::PATIENCE)).unwrap();
    write!(stream, "GET /chat HTTP/1.1\r\n{headers}\r\n").unwrap();
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        assert_eq!(stream.read(&mut byte).unwrap(), 1, "{}", String::from_utf8_lossy(&head));
        head.push(byte[0]);
    }
    (String::from_utf8(head).unwrap(), stream)
}

const HANDSHAKE: &str = "Host: chat.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

#[tokio::test]
async fn a_unix_socket_serves_both_ways_and_its_file_goes_at_the_shutdown() {
    let place = Place::new("both");
    let mut rig = Rig::start(place.config());
    assert_eq!(rig.server.url(), format!("unix:{}", place.0.display()));
    assert_eq!(rig.server.local_addr().port(), 0);
    let (head, mut stream) = ask(&place, HANDSHAKE);
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    let connect = rig.next().await;
    let support::Seen::Connect { request, .. } = connect.seen else { panic!("no Connect") };
    assert_eq!((request.url.as_str(), request.remote_address), ("/chat", None));
    // A masked "hi", with a mask of zeros.
    stream.write_all(b"\x81\x82\0\0\0\0hi").unwrap();
    assert_eq!(rig.next().await.seen.text(), "hi");
    // Large enough that it does not leave in one piece.
    let large = vec![7; 1 << 20];
    let mut outbox = rig.server.outbox();
    outbox.send(connect.id, MessageKind::Binary, &large).unwrap();
    outbox.flush();
    let mut frame = vec![0; 10 + large.len()];
    stream.read_exact(&mut frame).unwrap();
    assert_eq!((&frame[..2], &frame[10..]), (&b"\x82\x7f"[..], &large[..]));
    drop(stream);
    rig.shutdown(Duration::from_secs(5)).await;
    assert!(!place.0.exists());
}

#[tokio::test]
async fn pages_of_the_host_that_a_proxy_names_may_connect_and_no_others() {
    let place = Place::new("origin");
    let _rig = Rig::start(place.config());
    let status =
        |origin: &str| ask(&place, &format!("{HANDSHAKE}Origin: {origin}\r\n")).0[9..12].to_owned();
    assert_eq!(status("https://chat.example"), "101");
    assert_eq!(status("https://evil.example"), "403");
}

#[tokio::test]
async fn the_file_of_a_dead_server_is_replaced() {
    let place = Place::new("stale");
    drop(UnixListener::bind(&place.0).unwrap());
    assert!(place.0.exists());
    let rig = Rig::start(place.config());
    assert!(UnixStream::connect(&place.0).is_ok());
    drop(rig);
}

#[tokio::test]
async fn a_live_server_and_a_file_that_is_no_socket_are_left_alone() {
    let place = Place::new("taken");
    let live = UnixListener::bind(&place.0).unwrap();
    assert_eq!(place.code(), "EADDRINUSE");
    assert!(UnixStream::connect(&place.0).is_ok());
    drop(live);
    fs::remove_file(&place.0).unwrap();
    fs::write(&place.0, "precious").unwrap();
    assert_eq!(place.code(), "EADDRINUSE");
    assert_eq!(fs::read(&place.0).unwrap(), b"precious");
}

#[tokio::test]
async fn a_file_that_is_another_servers_by_now_is_not_removed() {
    let place = Place::new("replaced");
    let rig = Rig::start(place.config());
    fs::remove_file(&place.0).unwrap();
    let other = UnixListener::bind(&place.0).unwrap();
    rig.shutdown(Duration::ZERO).await;
    assert!(place.0.exists());
    drop(other);
}

#[tokio::test]
async fn a_path_that_cannot_be_is_an_error_that_names_it() {
    let place = Place::new("wrong");
    for (path, code) in [("", "ERR_INVALID_OPTION"), ("/no/such/folder/s", "ERR_BIND")] {
        let config = Config { unix: Some(path.into()), ..config() };
        let error = pocketsocket::Server::start(config, Quiet).unwrap_err();
        assert_eq!(error.code(), code);
        assert!(error.to_string().contains(&format!("'{path}'")), "{error}");
    }
    let config = Config { reuse_port: true, ..place.config() };
    assert_eq!(config.validate().unwrap_err().code(), "ERR_INVALID_OPTION");
}

#[tokio::test]
async fn servers_that_reuse_a_port_share_its_connections() {
    let shared = Config { reuse_port: true, ..config() };
    let one = Rig::echoing(shared.clone());
    let port = one.server.local_addr().port();
    let two = Rig::echoing(Config { port, ..shared });
    // Each connection goes to either by a hash of its ports: that 64 all go to one has a chance of 2 in 2^64.
    let mut clients = Vec::new();
    for n in 0..64 {
        let mut client = connect(&one.server).await;
        send(&mut client, &n.to_string()).await;
        assert_eq!(receive_text(&mut client).await, n.to_string());
        clients.push(client);
    }
    let (first, second) = (one.server.stats().opened, two.server.stats().opened);
    assert!(first > 0 && second > 0 && first + second == 64, "{first} and {second}");
    // One that leaves gives its port to the other.
    one.shutdown(Duration::from_secs(5)).await;
    until(|| two.server.stats().connections == second).await;
    let mut late = connect(&two.server).await;
    send(&mut late, "late").await;
    assert_eq!(receive_text(&mut late).await, "late");
}

#[tokio::test]
async fn a_port_is_not_shared_unless_both_ask_for_it() {
    for (first, second) in [(false, true), (true, false)] {
        let one = Rig::start(Config { reuse_port: first, ..config() });
        let port = one.server.local_addr().port();
        let config = Config { port, reuse_port: second, ..config() };
        assert_eq!(pocketsocket::Server::start(config, Quiet).unwrap_err().code(), "EADDRINUSE");
    }
}
