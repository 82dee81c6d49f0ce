//! One socket as its shard knows it: what waits to be sent, what waits for the host, and what the timers look at.
//!
//! There are many, and nearly all are idle: what only a busy or ending one needs is behind a pointer.

use std::{net::IpAddr, task::Waker, time::Instant};

use crate::{
    CloseInfo, Config, Lane, Pending, Request, Uuid, inbound::Inbound, limits::INBOUND_MESSAGE,
    outgoing::Outgoing, stream::Stream, timers::Moment,
};

/// What is kept of the request for a host that takes the socket over; headers are not.
#[derive(Debug, Default)]
pub(crate) struct About {
    /// Url, protocol and data, one behind the other; where the latter two begin.
    texts: Box<str>,
    protocol: u32,
    data: u32,
    remote_address: Option<IpAddr>,
    /// It has a place among the connections of its address.
    placed: bool,
}

impl About {
    pub(crate) fn of(request: &Request) -> Self {
        // Their lengths are bounded far below that.
        let at = |len: usize| u32::try_from(len).unwrap_or(u32::MAX);
        Self {
            texts: [&request.url[..], &request.protocol, &request.data].concat().into(),
            protocol: at(request.url.len()),
            data: at(request.url.len() + request.protocol.len()),
            remote_address: request.remote_address,
            placed: true,
        }
    }

    /// The address whose place is to be given up, once.
    pub(crate) fn take_place(&mut self) -> Option<IpAddr> {
        std::mem::take(&mut self.placed).then_some(self.remote_address)?
    }

    fn request(&self) -> Box<Request> {
        let part = |start: u32, end: usize| {
            self.texts.get(start as usize..end).unwrap_or_default().to_owned()
        };
        Box::new(Request {
            url: part(0, self.protocol as usize),
            headers: Vec::new(),
            remote_address: self.remote_address,
            protocol: part(self.protocol, self.data as usize),
            data: part(self.data, self.texts.len()),
        })
    }
}

/// A socket's place in its shard. It outlives the connection until its Close was taken by the host.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) uuid: Uuid,
    /// The host's consumer of its events.
    pub(crate) lane: Lane,
    /// Wakes the connection's task.
    pub(crate) waker: Option<Waker>,
    /// The connection, until it ends or is left to linger.
    pub(crate) stream: Option<Stream>,
    /// Frames that the system has not taken yet; none of an idle socket.
    pub(crate) out: Option<Box<Outgoing>>,
    /// It stands in the shard's list of those to write to.
    pub(crate) dirty: bool,
    /// The system takes no more for now.
    pub(crate) blocked: bool,
    /// `blocked` has changed since the timers looked: each byte that the system takes changes it.
    pub(crate) moved: bool,
    /// Answers to the pings of a turn, frame by frame. A client that does not read gets the latest alone: earlier ones need
    /// none (RFC 6455 section 5.5.3).
    #[expect(clippy::box_collection, reason = "a third of its size while there are none")]
    pub(crate) pongs: Option<Box<Vec<u8>>>,
    /// Set once: send this Close after what is queued, and be done by the deadline.
    pub(crate) closing: Option<Box<(CloseInfo, Instant)>>,
    /// Events that the host had no room for, in order.
    pub(crate) inbound: Inbound,
    /// Whether it stands in its lane's round.
    pub(crate) in_round: bool,
    /// The connection does not read: it waits for room in `inbound` or for a token, or is held.
    pub(crate) paused: bool,
    /// The application has paused it: it is not read until it is resumed, closed, or given another lane.
    pub(crate) held: bool,
    /// A host was told of the Connect.
    pub(crate) introduced: bool,
    /// The connection is gone; Close is the last of `inbound`.
    pub(crate) ended: bool,
    /// The timers ask for a ping.
    pub(crate) ping_due: bool,
    pub(crate) last_read: Moment,
    pub(crate) last_ping: Moment,
    /// When the timers last saw that the system takes what is queued, or that nothing is.
    pub(crate) last_moved: Moment,
    pub(crate) about: About,
}

impl Client {
    pub(crate) fn new(
        uuid: Uuid,
        lane: Lane,
        about: About,
        stream: Option<Stream>,
        now: Moment,
    ) -> Self {
        Self {
            uuid,
            lane,
            waker: None,
            stream,
            out: None,
            dirty: false,
            blocked: false,
            moved: false,
            pongs: None,
            closing: None,
            inbound: Inbound::default(),
            in_round: false,
            paused: false,
            held: false,
            introduced: false,
            ended: false,
            ping_due: false,
            last_read: now,
            last_ping: now,
            last_moved: now,
            about,
        }
    }

    pub(crate) fn wake(&self) {
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
    }

    /// Whether more is taken from the wire, with `waiting` bytes in the queues of all.
    pub(crate) fn may_read(&self, config: &Config, waiting: usize) -> bool {
        !self.held
            && (self.inbound.is_empty()
                || (self.inbound.cost() < config.inbound_limit
                    && self.inbound.len() * INBOUND_MESSAGE < config.inbound_limit
                    && waiting < config.inbound_total))
    }

    /// Pauses the socket, or lets it be read again. One that closes is read in any case: its client's Close is awaited.
    pub(crate) fn hold(&mut self, held: bool) {
        if self.ended || self.closing.is_some() {
            return;
        }
        if held {
            self.held = true;
            // Its task may not run again until it is resumed, and the timers look at this.
            self.paused = true;
        } else {
            self.resume();
        }
    }

    /// Ends a pause, if there is one: the task looks by itself whether it may read.
    pub(crate) fn resume(&mut self) {
        if std::mem::take(&mut self.held) {
            self.wake();
        }
    }

    /// The Connect that a new lane gets of a socket that another had before.
    pub(crate) fn introduction(&self) -> Pending {
        Pending::Connect { request: self.about.request(), resumed: self.introduced }
    }

    /// Starts the closing handshake, unless one has been started.
    pub(crate) fn close(&mut self, code: u16, reason: &str, deadline: Instant) {
        if self.closing.is_none() {
            let info = CloseInfo { code, reason: reason.to_owned(), was_clean: false };
            self.closing = Some(Box::new((info, deadline)));
            self.held = false;
            self.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_socket_is_small() {
        assert!(size_of::<Client>() <= 208, "{}", size_of::<Client>());
    }

    #[test]
    fn what_is_kept_of_a_request_is_all_but_its_headers() {
        let request = Request {
            url: "/é?b".into(),
            headers: vec![("host".into(), "x".into())],
            remote_address: "::1".parse().ok(),
            protocol: "chat".into(),
            data: "a\nb".into(),
        };
        let kept = *About::of(&request).request();
        assert_eq!(kept, Request { headers: Vec::new(), ..request });
        assert_eq!(*About::default().request(), Request::default());
    }
}
