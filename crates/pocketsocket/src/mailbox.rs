//! How other threads reach a shard: batches of commands, one wake a batch.
//!
//! A producer locks, pushes and unlocks; the first after a drain also wakes the shard, which takes all there is at once.
//! What can pile up here is bounded elsewhere: messages by their sockets' byte counters, broadcasts and commands by the
//! process's budget, accepted connections by `max_connections`.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use crate::{
    Lane, Pending, SocketId, Uuid,
    acceptor::Load,
    stream::{self, Accepted},
};

mod queue;

/// The way into one shard.
pub(crate) type Mailbox = queue::Mailbox<Item>;

/// Commands of one producer for one shard, in the order of the calls.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// The frames of all [`Command::Send`], one after the other.
    pub(crate) bytes: Vec<u8>,
    pub(crate) commands: Vec<Command>,
}

#[derive(Debug)]
pub(crate) enum Command {
    /// To one socket; takes the next `len` of the batch's bytes, of which the first `unused` are no part of the frame. Its
    /// payload is reserved in the registry.
    Send {
        id: SocketId,
        unused: u8,
        len: u32,
    },
    /// To one of many sockets that were named: the frame is the same for all of them. Its payload is reserved.
    Give {
        id: SocketId,
        frame: Bytes,
        payload: u32,
    },
    /// To many sockets: all, or those of topics.
    Share {
        to: Receivers,
        frame: SharedFrame,
        except: Option<SocketId>,
    },
    Subscribe {
        id: SocketId,
        topic: Arc<str>,
        subscribe: bool,
    },
    Close {
        id: SocketId,
        code: u16,
        reason: Box<str>,
    },
    /// The application pauses a socket, or resumes it.
    Hold {
        id: SocketId,
        held: bool,
    },
}

#[derive(Debug, Clone)]
pub(crate) enum Receivers {
    All,
    Topic(Arc<str>),
    /// A socket in several of them is sent it once.
    Topics(Arc<[Arc<str>]>),
}

/// The frame of a broadcast, encoded once. Its bytes count against the process's budget until the last shard has fanned it out.
#[derive(Debug, Clone)]
pub(crate) struct SharedFrame {
    pub(crate) bytes: Bytes,
    /// Of the payload.
    pub(crate) len: usize,
    /// Gives the budget back when the last clone is dropped.
    pub(crate) _budget: Arc<Budget>,
}

/// Bytes reserved for a broadcast.
#[derive(Debug)]
pub(crate) struct Budget {
    pub(crate) shared: Arc<crate::server::Shared>,
    pub(crate) bytes: usize,
}

impl Drop for Budget {
    fn drop(&mut self) {
        self.shared.registry.unreserve_shared(self.bytes);
    }
}

/// What the server itself tells a shard.
#[derive(Debug)]
pub(crate) enum Control {
    Accept(Accepted, stream::Client, Load),
    /// Sockets of a lane need another one, with the events that the lane's consumer had not begun.
    Rehome {
        from: Lane,
        returned: Vec<(Uuid, Vec<Pending>)>,
    },
    Shutdown {
        timeout: Duration,
    },
    #[cfg(feature = "faults")]
    Fault(crate::faults::Fault),
}

#[derive(Debug)]
pub(crate) enum Item {
    Batch(Batch),
    Control(Control),
}
