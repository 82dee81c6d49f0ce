//! The opening handshake, as far as a load needs it.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use crate::Failure;

/// How long a server may take to answer, in loads that do not measure that. Longer than any block of `stall`.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The key of RFC 6455 section 1.3's example, and the only answer to it.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &[u8] = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// The client's request.
pub(crate) fn request(address: SocketAddr) -> Vec<u8> {
    format!(
        "GET / HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    .into_bytes()
}

/// Looks at what the server has answered so far. `true`: the socket is open. `false`: more has to come.
///
/// # Errors
/// The answer is another one, or bytes follow it: these servers never speak first.
pub(crate) fn is_open(answer: &[u8]) -> Result<bool, Failure> {
    match end_of_head(answer) {
        None if answer.len() < 4096 => Ok(false),
        Some(end)
            if end == answer.len()
                && answer.starts_with(b"HTTP/1.1 101 ")
                && answer.windows(ACCEPT.len()).any(|part| part == ACCEPT) =>
        {
            Ok(true)
        }
        _ => {
            let text = String::from_utf8_lossy(answer);
            Err(format!("no handshake: {}", text.lines().next().unwrap_or_default()).into())
        }
    }
}

fn end_of_head(answer: &[u8]) -> Option<usize> {
    answer.windows(4).position(|part| part == b"\r\n\r\n").map(|at| at + 4)
}

/// Opens a socket, and waits for that.
pub(crate) fn open(address: SocketAddr) -> Result<TcpStream, Failure> {
    let mut stream = connect(address)?;
    stream.write_all(&request(address))?;
    let mut answer = Vec::with_capacity(512);
    while !is_open(&answer)? {
        read_some(&mut stream, &mut answer)?;
    }
    Ok(stream)
}

/// Gets the page, and waits until its head has come.
pub(crate) fn get_page(address: SocketAddr) -> Result<(), Failure> {
    let mut stream = connect(address)?;
    let request = format!("GET / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::with_capacity(4096);
    while end_of_head(&answer).is_none() {
        read_some(&mut stream, &mut answer)?;
    }
    if answer.starts_with(b"HTTP/1.1 200 ") { Ok(()) } else { Err("the page is no 200".into()) }
}

fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

fn read_some(stream: &mut TcpStream, into: &mut Vec<u8>) -> io::Result<()> {
    let mut buffer = [0; 4096];
    let count = stream.read(&mut buffer)?;
    if count == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    into.extend_from_slice(&buffer[..count]);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_answer_opens() {
        let right = b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: \
                      s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
        assert!(is_open(right).unwrap());
        assert!(!is_open(&right[..right.len() - 1]).unwrap());
        assert!(is_open(b"HTTP/1.1 503 Service Unavailable\r\n\r\n").is_err());
        assert!(is_open(b"HTTP/1.1 101 Switching Protocols\r\n\r\n").is_err());
        assert!(is_open(&[&right[..], b"x"].concat()).is_err());
    }
}
