//! The way out: how events leave the server for whatever runs the application.
//!
//! A host has lanes, one for each consumer (a JavaScript thread, say). A socket belongs to one lane at a time, so that
//! its order holds. A lane takes events until it is full; what it does not take waits in the socket's own bounded
//! queue, until the host calls [`Server::room`](crate::Server::room).

use crate::{Asked, Error, Event, Server};

/// A consumer of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Lane(pub(crate) u8);

impl Lane {
    /// No consumer yet: the events wait, within bounds, until [`Server::rehome`](crate::Server::rehome).
    pub const NONE: Self = Self(0);
    /// No consumer wanted: the events are counted and discarded.
    pub const DISCARD: Self = Self(1);
    /// How many lanes a host can have.
    pub const MAX: usize = 62;

    /// The host's own lane `index`, below [`Lane::MAX`].
    ///
    /// # Panics
    /// If `index` is not below [`Lane::MAX`].
    #[must_use]
    pub const fn host(index: usize) -> Self {
        assert!(index < Self::MAX, "lane index out of range");
        Self(index as u8 + 2)
    }

    /// The index given to [`Lane::host`], or `None` for the two that are not the host's.
    #[must_use]
    pub const fn index(self) -> Option<usize> {
        if self.0 < 2 { None } else { Some(self.0 as usize - 2) }
    }
}

/// What became of an event that was offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offer {
    /// Delivered.
    Taken,
    /// Taken on for delivery. After a Close was delivered the host calls [`Server::release`](crate::Server::release):
    /// until then the socket's slot is not used again.
    Kept,
    /// No room: the event waits in the socket's queue until [`Server::room`](crate::Server::room).
    Full,
    /// The lane's consumer is gone: the event waits until [`Server::rehome`](crate::Server::rehome).
    Gone,
}

/// Whatever runs the application. Called on the server's I/O threads: it must not block.
pub trait Host: Send + Sync + 'static {
    /// The server is about to start its threads: its handle, for [`Server::room`](crate::Server::room) and the like.
    fn started(&self, _server: &Server) {}

    /// Chooses the lane of a socket that opened or lost its lane.
    fn assign(&self) -> Lane;

    /// Takes an event, or refuses it. Connect and Close have reserved room: they are never refused as
    /// [`Offer::Full`].
    fn offer(&self, lane: Lane, event: &Event<'_>) -> Offer;

    /// Takes a message while others wait for room, if its socket has none in the lane: so that a socket which sends now and then
    /// does not wait behind a flood. A lane that does not tell sockets apart refuses, as here.
    fn offer_first(&self, _lane: Lane, _event: &Event<'_>) -> Offer {
        Offer::Full
    }

    /// The lane was offered events, and for now that was the last: a burst of a shard's sockets ends here. A host that has to
    /// wake somebody does it here, once for all of them.
    fn flush(&self, _lane: Lane) {}

    /// A socket has left the lane that [`Host::assign`] gave it.
    fn unassign(&self, _lane: Lane) {}

    /// An event was discarded, because no consumer is wanted.
    fn discarded(&self, _event: &Event<'_>) {}

    /// A handshake waits for the application, because the settings ask for that. It is answered from any thread; one that is
    /// dropped is refused with 503, which is what happens here.
    fn authorize(&self, _asked: Asked) {}

    /// Something went wrong that no single socket can be told of.
    fn error(&self, _error: &Error) {}

    /// The server has stopped: every Close was offered, nothing comes after this.
    fn stopped(&self) {}
}
