//! Faults of the system around the program: it waits, goes on, and loses nothing.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use tokio_tungstenite::tungstenite::Message;

use crate::{
    program::{Folder, PATIENCE, get},
    sockets::{connect, receive},
};

/// User and system time of a process, in ticks of 10 ms.
fn ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<_> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[test]
fn out_of_files_it_backs_off_without_spinning_and_serves_again_when_some_are_free() {
    let program = Folder::new().serve_with_files(64);
    let address = program.address();
    let request = format!(
        "GET / HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    );
    let mut clients = Vec::new();
    for _ in 0..200 {
        let mut client = TcpStream::connect(&address).unwrap();
        // The kernel takes it for the server, which has no file for it yet.
        client.write_all(request.as_bytes()).unwrap();
        clients.push(client);
    }
    // The first is served for all that.
    clients[0].set_read_timeout(Some(PATIENCE)).unwrap();
    let mut head = [0; 12];
    clients[0].read_exact(&mut head).unwrap();
    assert_eq!(&head, b"HTTP/1.1 101");

    let before = ticks(program.pid());
    thread::sleep(Duration::from_secs(1));
    let spent = ticks(program.pid()) - before;
    assert!(spent < 30, "{spent}0 ms of CPU time in a second of waiting");

    drop(clients);
    let deadline = Instant::now() + PATIENCE;
    loop {
        // While files are short, a connection may be cut without an answer.
        let answer = std::panic::catch_unwind(|| get(&address, "/health"));
        if answer.is_ok_and(|(status, _)| status.ends_with("200 OK")) {
            break;
        }
        assert!(Instant::now() < deadline, "served again");
    }
    program.stop();
}

#[tokio::test]
async fn a_program_that_was_stopped_goes_on_where_it_was() {
    const MESSAGES: usize = 2_000;
    let program = Folder::new().serve(&["--broadcast"]);
    let address = program.address();
    let mut sender = connect(&address, "/").await;
    let mut receiver = connect(&address, "/").await;
    // Both are there once a message has come through.
    futures_util::SinkExt::send(&mut sender, Message::text("first")).await.unwrap();
    assert_eq!(receive(&mut receiver).await, Message::text("first"));

    program.signal(Signal::STOP);
    for n in 0..MESSAGES {
        // All of it fits into the kernel's buffers.
        futures_util::SinkExt::send(&mut sender, Message::text(n.to_string())).await.unwrap();
    }
    program.signal(Signal::CONT);
    for n in 0..MESSAGES {
        assert_eq!(receive(&mut receiver).await, Message::text(n.to_string()));
    }
    drop((sender, receiver));
    program.stop();
}
