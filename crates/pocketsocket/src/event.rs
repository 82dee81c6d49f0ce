//! What happens to a socket, as the host is told of it.

use std::net::IpAddr;

use bytes::Bytes;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use crate::{SocketId, Uuid, limits::ENTRY_BYTES};

/// The kinds of message that can be sent: RFC 6455's opcodes, section 11.8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum MessageKind {
    /// UTF-8 text.
    Text = 1,
    /// Bytes.
    Binary = 2,
    /// A ping with up to 125 bytes. The server sends its own: only needed for a purpose of the application's own.
    Ping = 9,
    /// An unsolicited pong with up to 125 bytes.
    Pong = 10,
}

impl MessageKind {
    /// The kind of an opcode, if it is a kind that can be sent.
    #[must_use]
    pub fn from_opcode(opcode: u8) -> Option<Self> {
        Some(match opcode {
            1 => Self::Text,
            2 => Self::Binary,
            9 => Self::Ping,
            10 => Self::Pong,
            _ => return None,
        })
    }

    /// Whether RFC 6455 section 5.5 bounds its payload to 125 bytes.
    #[must_use]
    pub fn is_control(self) -> bool {
        matches!(self, Self::Ping | Self::Pong)
    }
}

/// The request that opened a socket.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// Path and query, as sent.
    pub url: String,
    /// Names in lower case, values as Latin-1, in the order sent.
    pub headers: Vec<(String, String)>,
    /// The address of the client, without its port: of its connection, or what a proxy that is trusted says.
    pub remote_address: Option<IpAddr>,
    /// The subprotocol that was agreed on, else empty.
    pub protocol: String,
    /// What [`Verdict::Accept`](crate::Verdict::Accept) said of the socket, else empty.
    pub data: String,
}

/// How a socket ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloseInfo {
    /// RFC 6455 section 7.4: the code received, or the code that we sent; 1005 for none, 1006 for a broken connection.
    pub code: u16,
    /// At most 123 bytes.
    pub reason: String,
    /// Whether the closing handshake was completed, both ways.
    pub was_clean: bool,
}

/// One event of one socket, borrowed from the shard that tells it.
#[derive(Debug, Clone, Copy)]
pub struct Event<'a> {
    /// The socket inside of the process.
    pub id: SocketId,
    /// The socket's name.
    pub uuid: Uuid,
    /// What happened.
    pub kind: EventKind<'a>,
}

/// What happened to a socket. First is always Connect, last and once is always Close.
#[derive(Debug, Clone, Copy)]
pub enum EventKind<'a> {
    /// The socket is open.
    Connect {
        /// What it asked for.
        request: &'a Request,
        /// Another host lane had this socket before; the headers are gone.
        resumed: bool,
    },
    /// A text message.
    Text(&'a str),
    /// A binary message.
    Binary(&'a [u8]),
    /// The socket has ended.
    Close(&'a CloseInfo),
    /// A socket for which messages were dropped has room again.
    Drain,
}

/// An event that waits for the host in its socket's queue.
#[derive(Debug, Clone)]
pub enum Pending {
    /// See [`EventKind::Connect`].
    Connect {
        /// What it asked for.
        request: Box<Request>,
        /// See [`EventKind::Connect`].
        resumed: bool,
    },
    /// A text message.
    Text(Utf8Bytes),
    /// A binary message.
    Binary(Bytes),
    /// The socket has ended.
    Close(Box<CloseInfo>),
    /// See [`EventKind::Drain`].
    Drain,
}

impl Pending {
    /// Borrows it as the host sees it.
    #[must_use]
    pub fn kind(&self) -> EventKind<'_> {
        match self {
            Self::Connect { request, resumed } => EventKind::Connect { request, resumed: *resumed },
            Self::Text(text) => EventKind::Text(text.as_str()),
            Self::Binary(bytes) => EventKind::Binary(bytes),
            Self::Close(info) => EventKind::Close(info),
            Self::Drain => EventKind::Drain,
        }
    }

    /// What it costs the queue, in bytes.
    pub(crate) fn cost(&self) -> usize {
        ENTRY_BYTES
            + match self {
                Self::Text(text) => text.len(),
                Self::Binary(bytes) => bytes.len(),
                _ => 0,
            }
    }
}
