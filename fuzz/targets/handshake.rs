//! Bytes of a client from its first on, against a server that runs: whatever comes, the answer is HTTP, 101 only for what
//! tungstenite takes for a handshake too, and the next client is served.
#![no_main]
use std::{
    io::{Read, Write},
    net::{Shutdown, TcpStream},
    sync::OnceLock,
    time::Duration,
};

use pocketsocket::{Config, Error, Event, Host, Lane, Offer, Server};

struct Nobody;

impl Host for Nobody {
    fn assign(&self) -> Lane {
        Lane::DISCARD
    }

    fn offer(&self, _lane: Lane, _event: &Event<'_>) -> Offer {
        Offer::Taken
    }

    fn error(&self, error: &Error) {
        // A panic of one of the server's threads is a finding; it would only be told of.
        eprintln!("{error}");
        std::process::abort();
    }
}

fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| {
        let config = Config { port: 0, threads: 1, ..Config::default() };
        Server::start(config, Nobody).expect("a free port is there")
    })
}

/// Sends bytes and gives what comes back. `ends`: the client says that nothing more comes, which a server that waits for
/// the rest of a request needs; hyper may then leave the answer out.
fn ask(bytes: &[u8], ends: bool) -> Vec<u8> {
    let mut stream = TcpStream::connect(server().local_addr()).expect("the server accepts");
    stream.set_read_timeout(Some(Duration::from_secs(5))).expect("a timeout is set");
    let mut answer = Vec::new();
    // The server may answer and close before it has read all.
    let _ = stream.write_all(bytes);
    if ends {
        let _ = stream.shutdown(Shutdown::Write);
    }
    let read = stream.read_to_end(&mut answer);
    if let Err(error) = read {
        assert!(error.kind() == std::io::ErrorKind::ConnectionReset, "no end: {error}");
    }
    answer
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let answer = ask(data, true);
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1."), "{answer:02x?}");
    if answer.starts_with(b"HTTP/1.1 101") {
        let head = pocketsocket::fuzzing::tungstenite_accept(data).expect("a handshake");
        let text = String::from_utf8_lossy(&answer);
        assert!(text.contains(&head), "{text}");
    }
    if data.first().is_some_and(|byte| byte % 16 == 0) {
        assert!(ask(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n", false).ends_with(b"ok\n"));
    }
});
