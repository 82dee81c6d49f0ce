//! How other threads reach a shard: batches of commands, one wake a batch.
//!
//! A producer locks, pushes and unlocks; the first after a drain also wakes the shard, which takes all there is at once.
//! What can pile up here is bounded elsewhere: messages by their sockets' byte counters, broadcasts and commands by the
//! process's budget, accepted connections by `max_connections`.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use tokio::sync::Notify;

use crate::{
    Lane, Pending, SocketId, Uuid,
    acceptor::Load,
    stream::{self, Accepted},
    sync::lock,
};

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

#[derive(Debug, Default)]
struct Queue {
    items: Vec<Item>,
    closed: bool,
}

/// The way into one shard.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    queue: Mutex<Queue>,
    /// Lanes that have room again, a bit each.
    room: AtomicU64,
    /// Whether the shard was woken and has not drained yet.
    scheduled: AtomicBool,
    notify: Notify,
}

impl Mailbox {
    pub(crate) fn post(&self, item: Item) {
        let mut queue = lock(&self.queue);
        if queue.closed {
            return;
        }
        queue.items.push(item);
        drop(queue);
        self.wake();
    }

    /// A lane takes events again.
    pub(crate) fn room(&self, lane: Lane) {
        self.room.fetch_or(1 << lane.0, Ordering::SeqCst);
        self.wake();
    }

    /// Wakes the shard's loop, which then looks at its own state too.
    pub(crate) fn wake(&self) {
        if !self.scheduled.swap(true, Ordering::SeqCst) {
            self.notify.notify_one();
        }
    }

    /// Waits for the next wake.
    pub(crate) async fn woken(&self) {
        self.notify.notified().await;
    }

    /// Takes all there is: items in order, and the lanes that have room.
    pub(crate) fn drain(&self, into: &mut Vec<Item>) -> u64 {
        // Before the take: who posts after it wakes again.
        self.scheduled.store(false, Ordering::SeqCst);
        std::mem::swap(&mut lock(&self.queue).items, into);
        self.room.swap(0, Ordering::SeqCst)
    }

    /// The shard has ended: what is left is given up, and what comes is not kept.
    pub(crate) fn close(&self) {
        let mut queue = lock(&self.queue);
        queue.closed = true;
        let left = std::mem::take(&mut queue.items);
        drop(queue);
        drop(left);
    }
}
