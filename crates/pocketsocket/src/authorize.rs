//! A handshake that the application decides about: the request goes out to the host, and waits for its verdict.
//!
//! Nothing is opened before the answer: no slot, no Connect. A request whose client has left, or that nobody answers in
//! time, is forgotten.

use std::sync::{Arc, atomic::Ordering};

use tokio::sync::oneshot;

use crate::{Request, limits::ASKED_BYTES, server::Shared};

/// A handshake that waits for the application: given to [`Host::authorize`](crate::Host::authorize), answered from any thread.
///
/// Dropped without an answer it is refused with 503.
#[derive(Debug)]
pub struct Asked {
    request: Request,
    reply: Reply,
    _room: Room,
}

/// The way back to a handshake that waits.
#[derive(Debug)]
pub struct Reply(oneshot::Sender<Verdict>);

/// What the application says of a handshake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The socket is opened.
    Accept {
        /// One of the subprotocols that the client offered; empty: none. `None`: the first that it offered. One that it did not
        /// offer is a [`Verdict::Failed`].
        protocol: Option<String>,
        /// What the socket's Connect carries as [`Request::data`], at most 4,096 bytes; longer is a [`Verdict::Failed`].
        data: String,
    },
    /// The request is answered with this, and no socket is opened.
    Refuse {
        /// 200 to 599; another one is a [`Verdict::Failed`].
        status: u16,
        /// Names and values; one that is no header is a [`Verdict::Failed`].
        headers: Vec<(String, String)>,
        /// May be empty.
        body: Vec<u8>,
    },
    /// The application has failed over it: 500.
    Failed,
}

impl Asked {
    /// What the client asks for. Its `protocol` is empty as yet: what is offered stands in the headers.
    #[must_use]
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// Answers it.
    pub fn answer(self, verdict: Verdict) {
        self.reply.send(verdict);
    }

    /// Keeps the way back alone: the request is read, and its room is given back.
    #[must_use]
    pub fn into_reply(self) -> Reply {
        self.reply
    }

    /// Whether nobody waits for the answer any more.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.reply.is_gone()
    }
}

impl Reply {
    /// Answers. Whoever asked may have left meanwhile: then nothing happens.
    pub fn send(self, verdict: Verdict) {
        let _ = self.0.send(verdict);
    }

    /// Whether nobody waits for the answer any more.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.0.is_closed()
    }
}

/// What a header costs beside its text, in bytes: two strings of their own.
const HEADER: usize = 64;

/// Bytes of requests that wait to be read by the application, until dropped.
#[derive(Debug)]
struct Room {
    shared: Arc<Shared>,
    bytes: usize,
}

impl Room {
    fn take(shared: &Arc<Shared>, bytes: usize) -> Option<Self> {
        let room = Self { shared: Arc::clone(shared), bytes };
        // Counted before it is judged: a refused one is given back by its drop.
        let before = shared.asked.fetch_add(bytes, Ordering::Relaxed);
        (before + bytes <= ASKED_BYTES).then_some(room)
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.shared.asked.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Asks the host; `None` if too many requests wait for it already.
pub(crate) fn ask(shared: &Arc<Shared>, request: Request) -> Option<oneshot::Receiver<Verdict>> {
    let headers = request.headers.iter();
    let bytes: usize = headers.map(|(name, value)| name.len() + value.len() + HEADER).sum();
    let room = Room::take(shared, request.url.len() + bytes)?;
    let (reply, verdict) = oneshot::channel();
    shared.host.authorize(Asked { request, reply: Reply(reply), _room: room });
    Some(verdict)
}
