//! The catalogue of broken streams: the bytes of each on a socket of its own, the answer that it must get, and then a fresh
//! client that echoes. Where RFC 6455 leaves a choice, the entry names the section.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::time::Duration;

use pocketsocket::Config;
use support::{
    Rig,
    client::{receive_text, send},
    config, raw, soon,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

fn bytes(hex: &str) -> Vec<u8> {
    let hex: String = hex.split_whitespace().collect();
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

/// A fresh client is served.
async fn assert_alive(rig: &mut Rig) {
    let (mut client, _) = rig.connect().await;
    send(&mut client, "alive").await;
    assert_eq!(receive_text(&mut client).await, "alive");
    assert_eq!(rig.next().await.seen.text(), "alive");
    client.close(None).await.unwrap();
    assert!(rig.next_close().await.was_clean);
}

/// A stream gets its Close frame and its event, wherever it was cut; the TCP connection ends; a fresh client echoes.
async fn assert_code(rig: &mut Rig, name: &str, stream: &[u8], code: u16) {
    for in_bytes in [false, true] {
        let mut socket = raw::open(&rig.server).await;
        rig.next().await;
        if in_bytes && stream.len() < 64 {
            for byte in stream {
                // A fault is told as soon as it is there: the rest may find the connection closed.
                if socket.write_all(&[*byte]).await.is_err() {
                    break;
                }
            }
        } else {
            socket.write_all(stream).await.unwrap();
        }
        assert_eq!(raw::read_close_code(&mut socket).await, Some(code), "{name}");
        assert_ended(&mut socket, name).await;
        let close = rig.next_close().await;
        assert_eq!((close.code, close.was_clean), (code, false), "{name}");
    }
    assert_alive(rig).await;
}

async fn assert_ended(socket: &mut TcpStream, name: &str) {
    let mut rest = Vec::new();
    soon(socket.read_to_end(&mut rest)).await.unwrap();
    assert_eq!(rest, b"", "{name}: nothing follows a Close");
}

#[tokio::test]
async fn each_broken_header_gets_1002_or_1009_when_it_is_there() {
    let mut rig = Rig::echoing(config());
    for (name, hex, code) in [
        ("section 5.1: a client's frame without a mask", "8105 48656c6c6f", 1002),
        ("section 5.1: the same, empty", "8100", 1002),
        ("section 5.2: RSV1 without an extension", "c180 00000000", 1002),
        ("section 5.2: RSV2", "a180 00000000", 1002),
        ("section 5.2: RSV3", "9180 00000000", 1002),
        ("section 5.2: RSV1 on a continuation", "0180 00000000 c080 00000000", 1002),
        ("section 5.2: RSV1 on a ping", "c980 00000000", 1002),
        ("section 5.2: opcode 3", "8380 00000000", 1002),
        ("section 5.2: opcode 4", "8480 00000000", 1002),
        ("section 5.2: opcode 5", "8580 00000000", 1002),
        ("section 5.2: opcode 6", "8680 00000000", 1002),
        ("section 5.2: opcode 7", "8780 00000000", 1002),
        ("section 5.2: opcode 11", "8b80 00000000", 1002),
        ("section 5.2: opcode 12", "8c80 00000000", 1002),
        ("section 5.2: opcode 13", "8d80 00000000", 1002),
        ("section 5.2: opcode 14", "8e80 00000000", 1002),
        ("section 5.2: opcode 15", "8f80 00000000", 1002),
        ("section 5.5: a ping in fragments", "0980 00000000", 1002),
        ("section 5.5: a Close in fragments", "0880 00000000", 1002),
        ("section 5.5: a ping of 126 bytes", "89fe 007e 00000000", 1002),
        ("section 5.5: a ping of 0 bytes as 126", "89fe 0000 00000000", 1002),
        ("section 5.4: a continuation first", "8080 00000000", 1002),
        ("section 5.4: an open continuation first", "0080 00000000", 1002),
        ("section 5.4: text inside of a fragmented text", "0180 00000000 8180 00000000", 1002),
        ("section 5.4: binary inside of a fragmented text", "0180 00000000 8280 00000000", 1002),
        ("section 5.2: the top bit of a 64-bit length", "82ff 8000000000000000", 1002),
        ("section 5.2: all bits of a 64-bit length", "82ff ffffffffffffffff", 1002),
        ("section 5.2: 5 as a 16-bit length", "81fe 0005", 1002),
        ("section 5.2: 5 as a 64-bit length", "81ff 0000000000000005", 1002),
        ("section 5.2: 65,535 as a 64-bit length", "82ff 000000000000ffff", 1002),
        // Section 10.4 leaves the limit, and when it is told, to the server.
        ("section 10.4: 1 GiB announced", "82ff 0000000040000000", 1009),
        ("section 10.4: the largest length", "82ff 7fffffffffffffff", 1009),
        ("section 10.4: one byte above the limit", "82ff 0000000000100001", 1009),
    ] {
        assert_code(&mut rig, name, &bytes(hex), code).await;
    }
}

#[tokio::test]
async fn each_broken_close_gets_1002_or_1007() {
    let mut rig = Rig::echoing(config());
    assert_code(&mut rig, "section 5.5.1: one byte", &raw::frame(0x88, &[3]), 1002).await;
    for code in [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535u16] {
        // Section 7.4.2 reserves these ranges, and leaves open what a server makes of one.
        let name = format!("section 7.4: code {code}");
        assert_code(&mut rig, &name, &raw::frame(0x88, &code.to_be_bytes()), 1002).await;
    }
    let reason = [&1000u16.to_be_bytes()[..], b"\xc3\x28"].concat();
    assert_code(&mut rig, "section 5.5.1: a reason", &raw::frame(0x88, &reason), 1007).await;
}

#[tokio::test]
async fn each_text_that_is_not_utf8_gets_1007_also_over_fragments() {
    let mut rig = Rig::echoing(config());
    for (name, hex) in [
        ("a byte that continues nothing", "c328"),
        ("an overlong slash", "c0af"),
        ("a surrogate", "eda080"),
        ("beyond U+10FFFF", "f4908080"),
        ("cut at the end", "e282"),
        ("a lone continuation byte", "80"),
        ("0xff", "ff"),
    ] {
        let text = bytes(hex);
        assert_code(&mut rig, name, &raw::frame(0x81, &text), 1007).await;
        for cut in 0..=text.len() {
            let mut split = raw::frame(0x01, &text[..cut]);
            split.extend(raw::frame(0x89, b"in between"));
            split.extend(raw::frame(0x80, &text[cut..]));
            assert_code(&mut rig, name, &split, 1007).await;
        }
    }
}

#[tokio::test]
async fn fragments_that_do_not_end_get_1009_and_what_they_held_is_given_back() {
    let mut rig = Rig::echoing(config());
    // Section 10.4: a limit of the implementation. 1009 tells it for the count too.
    let mut stream = raw::frame(0x01, b"");
    stream.extend(raw::frame(0x00, b"").repeat(300_000));
    assert_code(&mut rig, "300,000 empty continuations", &stream, 1009).await;

    let mut rig = Rig::echoing(Config { max_fragments: 3, ..config() });
    let three = [raw::frame(0x01, b"a"), raw::frame(0x00, b"b"), raw::frame(0x80, b"c")].concat();
    let mut socket = raw::open(&rig.server).await;
    socket.write_all(&three).await.unwrap();
    assert_eq!(raw::read_frame(&mut socket).await, Some((0x81, b"abc".to_vec())));
    rig.next().await;
    rig.next().await;
    let four = [raw::frame(0x01, b"a"), raw::frame(0x00, b"b").repeat(3)].concat();
    assert_code(&mut rig, "one above max_fragments", &four, 1009).await;
}

#[tokio::test]
async fn data_after_the_clients_close_is_ignored() {
    let mut rig = Rig::echoing(config());
    for after in [raw::frame(0x81, b"late"), raw::frame(0x89, b"late"), bytes("ffff ffff")] {
        let mut socket = raw::open(&rig.server).await;
        rig.next().await;
        let close = raw::frame(0x88, &1000u16.to_be_bytes());
        socket.write_all(&[close, after].concat()).await.unwrap();
        assert_eq!(raw::read_frame(&mut socket).await, Some((0x88, vec![0x03, 0xe8])));
        assert_ended(&mut socket, "after a Close").await;
        let close = rig.next().await.seen.close();
        assert_eq!((close.code, close.was_clean), (1000, true));
    }
    assert_alive(&mut rig).await;
}

#[tokio::test]
async fn a_message_that_stalls_is_idle_and_its_announced_length_is_not_allocated() {
    let idle = Config {
        idle_timeout: Duration::from_secs(1),
        ping_interval: Duration::ZERO,
        close_timeout: Duration::from_millis(100),
        ..config()
    };
    let mut rig = Rig::echoing(idle);
    let mut sockets = Vec::new();
    for _ in 0..50 {
        let mut socket = raw::open(&rig.server).await;
        // 1 MiB announced, one byte sent.
        socket.write_all(&bytes("82ff 0000000000100000 00000000 41")).await.unwrap();
        sockets.push(socket);
    }
    for socket in &mut sockets {
        assert_eq!(raw::read_close_code(socket).await, Some(1001));
    }
    for _ in &sockets {
        assert_eq!(rig.next_close().await.code, 1001);
    }
    assert_alive(&mut rig).await;
}

#[tokio::test]
async fn connections_that_end_anyhow_are_told_of_once() {
    let timeouts = Config { close_timeout: Duration::from_millis(100), ..config() };
    let mut rig = Rig::echoing(timeouts);
    let close = raw::frame(0x88, &1000u16.to_be_bytes());
    // The bytes, whether the end is a reset, and what the host is told.
    for (name, sent, reset, code) in [
        ("a Close, and no FIN", close.clone(), None, 1000),
        ("a Close, then a reset", close, Some(true), 1000),
        ("a reset inside of a frame", bytes("8185 0000"), Some(true), 1006),
        ("a half-close inside of a frame", bytes("8185 0000"), Some(false), 1006),
        ("a half-close between frames", Vec::new(), Some(false), 1006),
        ("a reset at once", Vec::new(), Some(true), 1006),
    ] {
        let mut socket = raw::open(&rig.server).await;
        rig.next().await;
        socket.write_all(&sent).await.unwrap();
        match reset {
            Some(true) => {
                if code == 1000 {
                    assert_eq!(raw::read_close_code(&mut socket).await, Some(1000));
                }
                socket.set_zero_linger().unwrap();
                drop(socket);
            }
            Some(false) => {
                socket.shutdown().await.unwrap();
                let mut rest = Vec::new();
                let _ = soon(socket.read_to_end(&mut rest)).await;
            }
            // It keeps its side open, and is cut.
            None => assert_eq!(raw::read_close_code(&mut socket).await, Some(1000)),
        }
        assert_eq!(rig.next_close().await.code, code, "{name}");
        assert_alive(&mut rig).await;
    }
    let stats = rig.server.stats();
    assert_eq!((stats.opened, stats.closed, stats.connections), (12, 12, 0));
    assert!(rig.try_next().is_none(), "no Close comes twice");
}
