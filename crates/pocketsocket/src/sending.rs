//! The way out of one connection: what its client has queued, onto the wire.
//!
//! What came from other threads is written by the shard itself, as soon as it has taken all that was in its mailbox: a
//! socket that takes its bytes costs one call of the system and wakes no task. One that does not is left to its task, which
//! waits for the system.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use tokio::io::AsyncWrite;

use crate::{
    CloseInfo, Pending, SocketId,
    client::Client,
    connection::{Connection, Outcome},
    frame::{encode_close, opcode},
    limits::ENTRY_BYTES,
    outgoing::Pool,
    shard::{Shard, ShardRef},
};

/// Sockets that are written to before others get a turn.
const TURN_SOCKETS: usize = 256;

/// How far writing went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Written {
    /// Nothing is left.
    All,
    /// The system takes no more for now.
    Blocked,
    /// The connection is gone.
    Broken,
}

/// Writes to the sockets for which something was queued. After each turn of them the shard's other tasks have theirs.
pub(crate) async fn write_dirty(shard: &ShardRef) {
    loop {
        let more = shard.borrow_mut().write_some_dirty();
        if !more {
            return;
        }
        tokio::task::yield_now().await;
    }
}

impl Shard {
    /// Has a socket written to at the end of the mailbox's turn. While the system takes no more, its task waits for that.
    pub(crate) fn mark_dirty(client: &mut Client, dirty: &mut Vec<SocketId>) {
        if !client.dirty && !client.blocked {
            client.dirty = true;
            dirty.push(client.uuid.id);
        }
    }

    fn write_some_dirty(&mut self) -> bool {
        let mut dirty = std::mem::take(&mut self.dirty);
        let turn = dirty.len().min(TURN_SOCKETS);
        for id in dirty.drain(..turn) {
            let Some(client) = self.client(id) else { continue };
            client.dirty = false;
            if client.blocked || client.ended {
                continue;
            }
            if self.write(id, None) != Written::All
                && let Some(client) = self.client(id)
            {
                // Its task finds the same, and is woken when that changes.
                client.wake();
            }
        }
        let more = !dirty.is_empty();
        if more || dirty.capacity() <= 4 * TURN_SOCKETS {
            // Nobody was marked meanwhile: writing marks none.
            self.dirty = dirty;
        }
        more
    }

    /// Gives the system what is queued for a socket. With `cx` its task is woken when the system takes more.
    fn write(&mut self, id: SocketId, mut cx: Option<&mut Context<'_>>) -> Written {
        loop {
            let Some(client) = self.client(id) else { return Written::Broken };
            let Some(out) = client.out.as_deref() else {
                client.blocked = false;
                return Written::All;
            };
            let Some(stream) = client.stream.as_mut() else { return Written::Broken };
            let written = out.with_slices(|slices| match (&mut cx, slices) {
                (Some(cx), [slice]) => Pin::new(stream).poll_write(cx, slice),
                (Some(cx), slices) => Pin::new(stream).poll_write_vectored(cx, slices),
                (None, [slice]) => ready_unless_blocked(stream.try_write(slice)),
                (None, slices) => ready_unless_blocked(stream.try_write_vectored(slices)),
            });
            client.moved |= client.blocked != written.is_pending();
            client.blocked = written.is_pending();
            match written {
                Poll::Pending => return Written::Blocked,
                Poll::Ready(Ok(bytes)) => self.sent(id, bytes),
                Poll::Ready(Err(_)) => return Written::Broken,
            }
        }
    }

    /// The system has taken `bytes` of what is queued.
    fn sent(&mut self, id: SocketId, bytes: usize) {
        let Some(client) = self.clients.get_mut(id.slot as usize).and_then(Option::as_deref_mut)
        else {
            return;
        };
        let Some(mut out) = client.out.take() else { return };
        let sent = out.sent(bytes, |chunk| self.shared.spares.give_bytes(chunk));
        if out.is_empty() {
            self.pool.give_back(out);
        } else {
            client.out = Some(out);
        }
        if sent.messages == 0 {
            return;
        }
        let counters = self.shared.counters(self.index);
        counters.messages_out.add(sent.messages);
        counters.bytes_out.add(sent.cost - sent.messages * ENTRY_BYTES);
        if self.shared.registry.unreserve(id, sent.cost) {
            self.deliver(id, Pending::Drain);
        }
    }
}

fn ready_unless_blocked(written: io::Result<usize>) -> Poll<io::Result<usize>> {
    match written {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
        written => Poll::Ready(written),
    }
}

impl Connection {
    /// Gives the system what is queued, and what the server itself has to say.
    pub(crate) fn write(&mut self, cx: &mut Context<'_>, shard: &mut Shard) -> Poll<Outcome> {
        let Shard { clients, pool, .. } = shard;
        let client = clients.get_mut(self.id.slot as usize).and_then(Option::as_deref_mut);
        let Some(client) = client else { return Poll::Pending };
        self.queue_own_frames(client, pool);
        match shard.write(self.id, Some(cx)) {
            Written::All | Written::Blocked => Poll::Pending,
            Written::Broken => Poll::Ready(self.broken()),
        }
    }

    /// Queues what the server itself has to say.
    fn queue_own_frames(&mut self, client: &mut Client, pool: &mut Pool) {
        if self.closing.is_some() {
            client.pongs = None;
            return;
        }
        if client.blocked {
            // The pongs of one turn, one more and one ping at most wait for a client that does not read.
        } else if let Some(pongs) = client.pongs.take() {
            client.out.get_or_insert_with(|| pool.take()).push_copy(&pongs, 0);
        } else if std::mem::take(&mut client.ping_due) {
            let ping = [0x80 | opcode::PING, 0];
            client.out.get_or_insert_with(|| pool.take()).push_copy(&ping, 0);
        }
        if let Some((info, _)) = client.closing.as_deref() {
            let close = encode_close(info.code, &info.reason);
            client.out.get_or_insert_with(|| pool.take()).push_copy(&close, 0);
            self.closing = Some(info.clone());
        }
    }

    /// What is left to send of our Close, which was queued: nothing if the system has taken it. Frames before it are given
    /// up, as nobody waits for them any more.
    pub(crate) fn our_close(&self, shard: &mut Shard, ours: &CloseInfo) -> Bytes {
        let left =
            shard.client(self.id).and_then(|client| client.out.as_ref()).map_or(0, |out| out.len());
        let close = encode_close(ours.code, &ours.reason);
        // It is the last that was queued.
        if left <= close.len() {
            return close[close.len() - left..].to_vec().into();
        }
        self.after_frame(shard, &close)
    }

    pub(crate) fn after_frame(&self, shard: &mut Shard, frame: &[u8]) -> Bytes {
        let out = shard.client(self.id).and_then(|client| client.out.as_deref());
        [out.map_or(&[][..], |out| out.rest_of_frame()), frame].concat().into()
    }
}
