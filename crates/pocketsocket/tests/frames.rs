//! Frames that break the protocol: each gets its code, and the server is as well as before.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use support::{
    Rig,
    client::{receive_text, send},
    config, raw,
};
use tokio::io::AsyncWriteExt;

/// Sends bytes on a new socket: the Close frame and the event must tell `code`; then a fresh socket echoes.
async fn assert_code(rig: &mut Rig, name: &str, bytes: &[u8], code: u16) {
    let mut stream = raw::open(&rig.server).await;
    rig.next().await;
    stream.write_all(bytes).await.unwrap();
    assert_eq!(raw::read_close_code(&mut stream).await, Some(code), "{name}");
    assert_eq!(rig.next_close().await.code, code, "{name}");
}

async fn assert_alive(rig: &mut Rig) {
    let (mut client, _) = rig.connect().await;
    send(&mut client, "alive").await;
    assert_eq!(receive_text(&mut client).await, "alive");
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

#[tokio::test]
async fn a_broken_frame_closes_with_1002() {
    let mut rig = Rig::echoing(config());
    for (name, hex) in [
        ("unmasked", "810548656c6c6f"),
        ("first reserved bit", "c18000000000"),
        ("second reserved bit", "a18000000000"),
        ("third reserved bit", "918000000000"),
        ("reserved data opcode 3", "838000000000"),
        ("reserved data opcode 7", "878000000000"),
        ("reserved control opcode 11", "8b8000000000"),
        ("reserved control opcode 15", "8f8000000000"),
        ("fragmented ping", "098000000000"),
        ("continuation of nothing", "808000000000"),
        ("text inside of a fragmented text", "018000000000818000000000"),
    ] {
        assert_code(&mut rig, name, &bytes(hex), 1002).await;
    }
    assert_code(&mut rig, "long ping", &raw::frame(0x89, &[0; 126]), 1002).await;
    assert_alive(&mut rig).await;
    assert_eq!(rig.server.stats().faults, 12);
}

#[tokio::test]
async fn a_close_frame_that_may_not_be_sent_closes_with_1002() {
    let mut rig = Rig::echoing(config());
    assert_code(&mut rig, "one byte", &raw::frame(0x88, &[3]), 1002).await;
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999u16] {
        let frame = raw::frame(0x88, &code.to_be_bytes());
        assert_code(&mut rig, &code.to_string(), &frame, 1002).await;
    }
    assert_alive(&mut rig).await;
}

#[tokio::test]
async fn text_that_is_not_utf8_closes_with_1007() {
    let mut rig = Rig::echoing(config());
    for hex in ["c328", "c0af", "eda080", "f4908080", "e282"] {
        let text = bytes(hex);
        assert_code(&mut rig, hex, &raw::frame(0x81, &text), 1007).await;
        let mut split = raw::frame(0x01, &text[..1]);
        split.extend(raw::frame(0x80, &text[1..]));
        assert_code(&mut rig, hex, &split, 1007).await;
    }
    let mut close = 1000u16.to_be_bytes().to_vec();
    close.extend(b"\xc3\x28");
    assert_code(&mut rig, "reason", &raw::frame(0x88, &close), 1007).await;
    assert_alive(&mut rig).await;
}

#[tokio::test]
async fn a_length_above_the_limit_closes_with_1009_at_the_header() {
    let mut rig = Rig::echoing(config());
    // One GiB, of which nothing is sent.
    assert_code(&mut rig, "1 GiB", &bytes("82ff000000004000000000000000"), 1009).await;
    assert_alive(&mut rig).await;
}

#[tokio::test]
async fn the_reason_reaches_a_client_that_goes_on_sending() {
    let mut rig = Rig::echoing(config());
    let mut stream = raw::open(&rig.server).await;
    rig.next().await;
    // What the server leaves unread would make the end of the connection a reset, and lose its Close.
    let mut data = raw::frame(0x83, b"reserved");
    for _ in 0..100 {
        data.extend(raw::frame(0x82, &[0; 1000]));
    }
    stream.write_all(&data).await.unwrap();
    tokio::task::yield_now().await;
    assert_eq!(raw::read_close_code(&mut stream).await, Some(1002));
}

#[tokio::test]
async fn empty_fragments_do_not_add_up() {
    let mut rig = Rig::echoing(config());
    let mut stream = raw::open(&rig.server).await;
    rig.next().await;
    stream.write_all(&raw::frame(0x01, b"a")).await.unwrap();
    stream.write_all(&raw::frame(0x00, b"").repeat(10_000)).await.unwrap();
    stream.write_all(&raw::frame(0x80, b"z")).await.unwrap();
    assert_eq!(raw::read_frame(&mut stream).await, Some((0x81, b"az".to_vec())));
    assert_eq!(rig.next().await.seen.text(), "az");
    assert_alive(&mut rig).await;
}
