//! Many sockets on one thread: open all, then turn by turn tell the load what came back on each.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream as StdStream},
    time::{Duration, Instant},
};

use mio::{Events, Interest, Poll, Token, net::TcpStream};

use crate::{
    Failure,
    alarm::{ALARM, Alarm},
    frame::{Message, Reader},
    handshake,
};

/// Read at once, shared by all sockets.
const READ_BYTES: usize = 256 * 1024;

/// One open socket of a swarm.
pub(crate) struct Socket {
    stream: TcpStream,
    reader: Reader,
    /// Bytes of messages that have to be written. As each message is the same, this tells which bytes, too.
    unsent: usize,
    /// Answers to pings, which go out between two messages.
    pongs: Vec<u8>,
}

impl Socket {
    /// Takes over an open socket.
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self { stream, reader: Reader::default(), unsent: 0, pongs: Vec::new() }
    }

    /// The stream itself, for its registration and options.
    pub(crate) fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    /// Sends a message `count` times.
    #[inline]
    pub(crate) fn send(&mut self, message: &Message, count: usize) -> io::Result<()> {
        self.unsent += count * message.out_len;
        self.flush(message)
    }

    /// Writes what the socket takes; the rest goes out once it is writable again.
    pub(crate) fn flush(&mut self, message: &Message) -> io::Result<()> {
        loop {
            let begun = self.unsent % message.out_len;
            let control = begun == 0 && !self.pongs.is_empty();
            let bytes = if control {
                &self.pongs[..]
            } else {
                let start = if begun == 0 { 0 } else { message.out_len - begun };
                let end = (start + self.unsent).min(message.out.len());
                &message.out[start..end]
            };
            if bytes.is_empty() {
                return Ok(());
            }
            match self.stream.write(bytes) {
                Ok(count) if control => drop(self.pongs.drain(..count)),
                Ok(count) => self.unsent -= count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Reads all there is; gives how many messages are now complete. `ended`: the server's last byte is among it.
    pub(crate) fn receive(
        &mut self,
        message: &Message,
        buffer: &mut [u8],
        ended: bool,
    ) -> Result<usize, Failure> {
        let mut messages = 0;
        loop {
            match self.stream.read(buffer) {
                Ok(0) => return Err("the server cut a connection".into()),
                Ok(count) => {
                    let read =
                        self.reader.read(&buffer[..count], &message.back, &mut self.pongs)?;
                    messages += read;
                    // A short read has emptied the socket: more would be a new event. Windows wants the error.
                    if count < buffer.len() && !ended && cfg!(unix) {
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        if !self.pongs.is_empty() {
            self.flush(message)?;
        }
        Ok(messages)
    }
}

/// Open sockets, and the poll that they are in.
pub(crate) struct Swarm {
    poll: Poll,
    events: Events,
    alarm: Alarm,
    buffer: Vec<u8>,
    pub(crate) sockets: Vec<Socket>,
}

impl Swarm {
    /// Opens `count` sockets, one after the other, so that no server's backlog is the limit.
    pub(crate) fn open(address: SocketAddr, count: usize) -> Result<Self, Failure> {
        let poll = Poll::new()?;
        let alarm = Alarm::new(poll.registry())?;
        let mut sockets = Vec::with_capacity(count);
        for index in 0..count {
            let stream = handshake::open(address)
                .map_err(|failure| format!("socket {} of {count}: {failure}", index + 1))?;
            let mut stream = nonblocking(stream)?;
            let interest = Interest::READABLE | Interest::WRITABLE;
            poll.registry().register(&mut stream, Token(index), interest)?;
            sockets.push(Socket::new(stream));
        }
        let events = Events::with_capacity(1024);
        Ok(Self { poll, events, alarm, buffer: vec![0; READ_BYTES], sockets })
    }

    /// Waits until something comes, or until a time, give or take a millisecond. Calls `got` with each socket on which
    /// messages came, how many, and when.
    pub(crate) fn turn(
        &mut self,
        until: Instant,
        message: &Message,
        got: impl FnMut(usize, &mut Socket, usize, Instant) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let timeout = until.saturating_duration_since(Instant::now());
        self.wait(Some(timeout), message, got)
    }

    /// As [`Swarm::turn`], until a time to the microsecond; that costs a system call more.
    pub(crate) fn turn_until(
        &mut self,
        until: Instant,
        message: &Message,
        got: impl FnMut(usize, &mut Socket, usize, Instant) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let timeout = self.alarm.set(until)?;
        self.wait(timeout, message, got)
    }

    fn wait(
        &mut self,
        timeout: Option<Duration>,
        message: &Message,
        mut got: impl FnMut(usize, &mut Socket, usize, Instant) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let Self { poll, events, buffer, sockets, .. } = self;
        match poll.poll(events, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            polled => polled?,
        }
        for event in &*events {
            if event.token() == ALARM {
                continue;
            }
            let index = event.token().0;
            let socket = &mut sockets[index];
            if event.is_writable() && (socket.unsent > 0 || !socket.pongs.is_empty()) {
                socket.flush(message)?;
            }
            if event.is_readable() {
                let messages = socket.receive(message, buffer, event.is_read_closed())?;
                if messages > 0 {
                    got(index, socket, messages, Instant::now())?;
                }
            }
        }
        Ok(())
    }
}

/// Makes a socket fit for a poll.
fn nonblocking(stream: StdStream) -> io::Result<TcpStream> {
    stream.set_read_timeout(None)?;
    stream.set_nonblocking(true)?;
    Ok(TcpStream::from_std(stream))
}
