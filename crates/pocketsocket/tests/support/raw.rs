//! Raw bytes: requests and frames that a client which keeps the protocol would not send.

use std::time::Duration;

use pocketsocket::Server;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

use super::soon;

/// The request of a handshake, with the key of RFC 6455.
pub const HANDSHAKE: &str = "GET / HTTP/1.1\r\n\
    Host: localhost\r\n\
    Upgrade: websocket\r\n\
    Connection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Version: 13\r\n\r\n";

pub async fn tcp(server: &Server) -> TcpStream {
    let stream = soon(TcpStream::connect(server.local_addr())).await.unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// Sends a request and gives all that comes back until the end of the connection, which must not be a reset.
pub async fn request(server: &Server, request: &[u8]) -> String {
    let mut stream = tcp(server).await;
    soon(stream.write_all(request)).await.unwrap();
    read_to_end(&mut stream).await
}

pub async fn read_to_end(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    soon(stream.read_to_end(&mut answer)).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

/// The status of an answer.
#[track_caller]
pub fn status(answer: &str) -> u16 {
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    status.unwrap_or_else(|| panic!("no HTTP answer: {answer:?}"))
}

/// The value of a header, if it is there once.
#[track_caller]
pub fn header<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
    let head = answer.split("\r\n\r\n").next().unwrap();
    let mut values = head.lines().skip(1).filter_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim())
    });
    let value = values.next();
    assert_eq!(values.next(), None, "{name} is there twice: {head}");
    value
}

pub fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").unwrap().1
}

/// The head of an answer, byte by byte: what follows stays in the stream.
pub async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(soon(stream.read_u8()).await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

/// A socket whose handshake is done.
pub async fn open(server: &Server) -> TcpStream {
    let mut stream = tcp(server).await;
    soon(stream.write_all(HANDSHAKE.as_bytes())).await.unwrap();
    assert_eq!(status(&read_head(&mut stream).await), 101);
    stream
}

/// A socket with the smallest buffers that the system gives: it blocks soon when one side does not read.
pub async fn open_narrow(server: &Server) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.set_send_buffer_size(4096).unwrap();
    let mut stream = soon(socket.connect(server.local_addr())).await.unwrap();
    soon(stream.write_all(HANDSHAKE.as_bytes())).await.unwrap();
    assert_eq!(status(&read_head(&mut stream).await), 101);
    stream
}

/// Writes until nothing was taken for a while, or `bytes` end; gives how many were taken.
pub async fn write_until_blocked(stream: &mut TcpStream, bytes: &[u8]) -> usize {
    let mut written = 0;
    while written < bytes.len() {
        match timeout(Duration::from_millis(300), stream.write(&bytes[written..])).await {
            Ok(taken) => written += taken.unwrap(),
            Err(_) => break,
        }
    }
    written
}

/// A masked frame with a key of zeros: first byte as given, length in its shortest form.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        len @ 0..126 => frame.push(0x80 | len as u8),
        len @ 126..0x1_0000 => {
            frame.push(0x80 | 126);
            frame.extend((len as u16).to_be_bytes());
        }
        len => {
            frame.push(0x80 | 127);
            frame.extend((len as u64).to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

/// The next frame of the server: its first byte and payload; `None` at the end of the connection.
pub async fn read_frame(stream: &mut TcpStream) -> Option<(u8, Vec<u8>)> {
    let first = soon(stream.read_u8()).await.ok()?;
    let len = match soon(stream.read_u8()).await.ok()? {
        126 => usize::from(soon(stream.read_u16()).await.ok()?),
        127 => soon(stream.read_u64()).await.ok()? as usize,
        len => usize::from(len),
    };
    let mut payload = vec![0; len];
    soon(stream.read_exact(&mut payload)).await.ok()?;
    Some((first, payload))
}

/// The code of the server's Close frame, after whatever comes before; `None` if the connection ends without one.
pub async fn read_close_code(stream: &mut TcpStream) -> Option<u16> {
    while let Some((first, payload)) = read_frame(stream).await {
        if first == 0x88 {
            return Some(
                payload.get(..2).map_or(1005, |code| u16::from(code[0]) << 8 | u16::from(code[1])),
            );
        }
    }
    None
}
