//! The way out of one connection: what its client has queued, onto the wire.
//!
//! Small frames are put together in the shard's buffer, large ones are written from where they are, so that a burst costs
//! one call of the system and no copy that is not cheaper than a call.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Buf, Bytes};
use tokio::io::AsyncWrite;

use crate::{
    Pending,
    client::{Client, Outgoing},
    connection::{Connection, Outcome},
    frame::{encode_close, opcode},
    limits::{COPY_FRAMES, ENTRY_BYTES, TURN_BYTES},
    shard::Shard,
    stream::Stream,
};

/// Large frames that one call of the system may take.
const SLICES: usize = 16;

impl Connection {
    /// Gives the system what is queued.
    pub(crate) fn write(&mut self, cx: &mut Context<'_>, shard: &mut Shard) -> Poll<Outcome> {
        loop {
            let mut buffer = std::mem::take(&mut shard.write_buffer);
            let Some(client) = shard.client(self.id) else { return Poll::Pending };
            self.queue_own_frames(client);
            let written = send(&mut self.stream, cx, client, &mut buffer);
            client.blocked = written.is_pending();
            shard.write_buffer = buffer;
            match written {
                Poll::Pending => return Poll::Pending,
                // Nothing was left to send.
                Poll::Ready(Ok(0)) => return Poll::Pending,
                Poll::Ready(Ok(bytes)) => self.sent(shard, bytes),
                Poll::Ready(Err(_)) => return Poll::Ready(self.broken()),
            }
        }
    }

    /// Queues what the server itself has to say. Pongs go first, but never into the middle of a frame.
    fn queue_own_frames(&mut self, client: &mut Client) {
        if self.closing.is_some() {
            client.pongs = Vec::new();
            return;
        }
        if client.blocked {
            // The pongs of one turn, one more and one ping at most wait for a client that does not read.
        } else if !client.pongs.is_empty() {
            let frame = std::mem::take(&mut client.pongs).into();
            let place = usize::from(client.written > 0);
            client.out.insert(place, Outgoing { frame, cost: 0 });
        } else if std::mem::take(&mut client.ping_due) {
            let frame = Bytes::from_static(&[0x80 | opcode::PING, 0]);
            client.out.push_back(Outgoing { frame, cost: 0 });
        }
        if let Some((info, _)) = &client.closing {
            let frame = encode_close(info.code, &info.reason).into();
            client.out.push_back(Outgoing { frame, cost: 0 });
            self.closing = Some(info.clone());
        }
    }

    /// The system has taken `bytes` of what is queued.
    fn sent(&self, shard: &mut Shard, mut bytes: usize) {
        let (mut messages, mut payloads, mut costs) = (0, 0, 0);
        let Some(client) = shard.client(self.id) else { return };
        while let Some(first) = client.out.front() {
            let left = first.frame.len() - client.written;
            if bytes < left {
                client.written += bytes;
                break;
            }
            bytes -= left;
            client.written = 0;
            if first.cost > 0 {
                messages += 1;
                payloads += first.cost - ENTRY_BYTES;
                costs += first.cost;
            }
            client.out.pop_front();
        }
        if client.out.is_empty() {
            // An idle socket keeps no queue.
            client.out = VecDeque::new();
        }
        let counters = shard.shared.counters(shard.index);
        counters.messages_out.add(messages);
        counters.bytes_out.add(payloads);
        if shard.shared.registry.unreserve(self.id, costs) {
            shard.deliver(self.id, Pending::Drain);
        }
    }

    /// What the system has not taken of the frame that it has begun to take.
    fn rest_of_frame(&self, shard: &mut Shard) -> Bytes {
        let Some(client) = shard.client(self.id) else { return Bytes::new() };
        let written = client.written;
        match client.out.front_mut() {
            Some(first) if written > 0 => first.frame.split_off(written),
            _ => Bytes::new(),
        }
    }

    /// What is left to send of our Close, which was queued: nothing if the system has taken it. Frames before it are given
    /// up, as nobody waits for them any more.
    pub(crate) fn our_close(&self, shard: &mut Shard) -> Bytes {
        let Some(client) = shard.client(self.id) else { return Bytes::new() };
        let Some(mut close) = client.out.pop_back() else { return Bytes::new() };
        if client.out.is_empty() {
            return close.frame.split_off(client.written);
        }
        self.after_frame(shard, &close.frame)
    }

    pub(crate) fn after_frame(&self, shard: &mut Shard, frame: &[u8]) -> Bytes {
        [&self.rest_of_frame(shard)[..], frame].concat().into()
    }
}

/// One call of the system for what a client has queued: 0 if there is nothing.
fn send(
    stream: &mut Stream,
    cx: &mut Context<'_>,
    client: &mut Client,
    buffer: &mut Vec<u8>,
) -> Poll<io::Result<usize>> {
    let Some(first) = client.out.front() else { return Poll::Ready(Ok(0)) };
    let stream = Pin::new(stream);
    if first.frame.len() > COPY_FRAMES {
        let mut slices = [IoSlice::new(&[]); SLICES];
        let mut skip = client.written;
        let mut count = 0;
        for (slice, out) in slices.iter_mut().zip(&client.out) {
            let mut frame = &out.frame[..];
            frame.advance(std::mem::take(&mut skip));
            *slice = IoSlice::new(frame);
            count += 1;
        }
        return stream.poll_write_vectored(cx, &slices[..count]);
    }
    if client.out.len() == 1 {
        return stream.poll_write(cx, &first.frame[client.written..]);
    }
    buffer.clear();
    let mut skip = client.written;
    for out in &client.out {
        if out.frame.len() > COPY_FRAMES || buffer.len() + out.frame.len() > TURN_BYTES {
            break;
        }
        buffer.extend_from_slice(&out.frame[std::mem::take(&mut skip)..]);
    }
    stream.poll_write(cx, buffer)
}
