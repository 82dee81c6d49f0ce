//! What was taken for a reader that pauses: all of it arrives, in order, when the sender waits for Drain whenever a message is
//! dropped.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use pocketsocket::{Config, MessageKind, SendStatus, Server};
use support::{Rig, Seen, config, raw, soon};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpSocket, TcpStream},
    sync::watch,
};

/// More bytes than the system's buffers hold between the two.
const MESSAGES: usize = 50_000;

fn message(n: usize) -> String {
    format!("{n:0200}")
}

/// The reader pauses so often, until the sender can go on no more.
const PAUSE_EVERY: usize = 1000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sender {
    Sends,
    WaitsForDrain,
    IsDone,
}

/// Reads all messages; gives how often it paused, and the stream, since its end would be an event.
async fn read(mut stream: TcpStream, mut sender: watch::Receiver<Sender>) -> (usize, TcpStream) {
    let mut pauses = 0;
    for n in 0..MESSAGES {
        if n % PAUSE_EVERY == 0 {
            pauses += usize::from(*sender.borrow() == Sender::Sends);
            soon(sender.wait_for(|sender| *sender != Sender::Sends)).await.unwrap();
        }
        let (first, payload) = raw::read_frame(&mut stream).await.unwrap();
        assert_eq!((first, String::from_utf8(payload).unwrap()), (0x81, message(n)));
    }
    (pauses, stream)
}

/// A socket whose receive buffer does not grow. In one of less than a segment of the loopback the system has the other side ask
/// for room five times a second, which takes longer than a test may.
async fn open_with(server: &Server, receive_buffer: u32) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(receive_buffer).unwrap();
    let mut stream = soon(socket.connect(server.local_addr())).await.unwrap();
    soon(stream.write_all(raw::HANDSHAKE.as_bytes())).await.unwrap();
    assert_eq!(raw::status(&raw::read_head(&mut stream).await), 101);
    stream
}

#[tokio::test]
async fn all_that_is_taken_for_a_reader_that_pauses_arrives_in_order() {
    let mut rig = Rig::start(Config { backpressure_limit: 64 * 1024, ..config() });
    let stream = open_with(&rig.server, 256 * 1024).await;
    let id = rig.next().await.id;
    let (state, watched) = watch::channel(Sender::Sends);
    let reader = tokio::spawn(read(stream, watched));
    let mut outbox = rig.server.outbox();
    let mut dropped = 0;
    for n in 0..MESSAGES {
        while outbox.send(id, MessageKind::Text, message(n).as_bytes()) != Ok(SendStatus::Ok) {
            dropped += 1;
            outbox.flush();
            state.send_replace(Sender::WaitsForDrain);
            assert_eq!(rig.next().await.seen, Seen::Drain);
            state.send_replace(Sender::Sends);
        }
        if n % 64 == 0 {
            outbox.flush();
            tokio::task::yield_now().await;
        }
    }
    outbox.flush();
    state.send_replace(Sender::IsDone);
    let (pauses, _stream) = soon(reader).await.unwrap();
    assert!(pauses > 3 && dropped > 3, "{pauses} pauses, {dropped} dropped");
    let stats = rig.server.stats();
    assert_eq!((stats.messages_out, stats.dropped), (MESSAGES as u64, dropped));
    assert_eq!(stats.buffered_bytes, 0);
    assert!(rig.try_next().is_none(), "a Drain for each refusal, and nothing else");
}
