//! What producers ask of a shard: batches of commands, done in order.

use std::{ops::Range, sync::Arc, time::Instant};

use bytes::Bytes;

use crate::{
    DropPolicy, SocketId,
    client::Client,
    frame::MAX_SENT_HEADER,
    limits::{COPY_FRAMES, ENTRY_BYTES, TOO_SLOW},
    mailbox::{Batch, Command, Receivers, SharedFrame},
    registry::Reserved,
    server::Shared,
    shard::Shard,
};

impl Shard {
    /// Does what one producer asked for, in order.
    pub(crate) fn execute(&mut self, batch: Batch) {
        let bytes = Bytes::from(batch.bytes);
        let mut end = 0;
        let mut rest = Rest { shared: Arc::clone(&self.shared), commands: batch.commands, done: 0 };
        while let Some(command) = rest.commands.get(rest.done) {
            match *command {
                Command::Send { id, unused, len } => {
                    let payload = len as usize - MAX_SENT_HEADER;
                    let start = end + usize::from(unused);
                    end += len as usize;
                    self.enqueue(id, &bytes, start..end, payload);
                }
                Command::Give { id, ref frame, payload } => {
                    self.enqueue(id, frame, 0..frame.len(), payload as usize);
                }
                Command::Share { ref to, ref frame, except } => self.fan_out(to, frame, except),
                Command::Subscribe { id, ref topic, subscribe } => {
                    // One that has ended leaves all the same: the end took it out of those topics alone that it still had.
                    if !subscribe {
                        self.leave_topic(id, topic);
                    } else if self.client(id).is_some_and(|client| !client.ended) {
                        self.join_topic(id, Arc::clone(topic));
                    }
                }
                Command::Close { id, code, ref reason } => {
                    let deadline = Instant::now() + self.shared.config.close_timeout;
                    if let Some(client) = self.client(id) {
                        client.close(code, reason, deadline);
                    }
                }
                Command::Hold { id, held } => {
                    if let Some(client) = self.client(id) {
                        client.hold(held);
                    }
                }
            }
            rest.done += 1;
        }
        self.shared.spares.give_commands(std::mem::take(&mut rest.commands));
        self.shared.spares.give_bytes(bytes);
    }

    /// Queues one message, whose payload is reserved already.
    pub(crate) fn enqueue(
        &mut self,
        id: SocketId,
        bytes: &Bytes,
        frame: Range<usize>,
        payload: usize,
    ) {
        let cost = payload + ENTRY_BYTES;
        let client = self.clients.get_mut(id.slot as usize).and_then(Option::as_deref_mut);
        match client.filter(|client| client.uuid.id == id) {
            // After a Close nothing may be sent (RFC 6455 section 5.5.1): another thread may have been late.
            Some(client) if !client.ended && client.closing.is_none() => {
                let out = client.out.get_or_insert_with(|| self.pool.take());
                if frame.len() <= COPY_FRAMES {
                    out.push_copy(&bytes[frame], cost);
                } else {
                    out.push(&bytes.slice(frame), cost);
                }
                Self::mark_dirty(client, &mut self.dirty);
            }
            // It ended, or was closed, after the message was taken.
            _ => {
                self.shared.registry.unreserve(id, cost);
            }
        }
    }

    /// Queues one message for many: the same bytes, counted for each.
    fn fan_out(&mut self, to: &Receivers, frame: &SharedFrame, except: Option<SocketId>) {
        let cost = frame.len + ENTRY_BYTES;
        let (mut dropped, mut closed) = (0, 0);
        let Self { clients, pool, dirty, .. } = self;
        let Shared { registry, config, .. } = &*self.shared;
        let mut give = |client: &mut Client| {
            let id = client.uuid.id;
            if client.ended || client.closing.is_some() || Some(id) == except {
                return;
            }
            match registry.reserve_in_order(id, cost) {
                Reserved::Ok => {
                    client.out.get_or_insert_with(|| pool.take()).push(&frame.bytes, cost);
                    Self::mark_dirty(client, dirty);
                }
                Reserved::Full | Reserved::Starved => {
                    dropped += 1;
                    if config.drop_policy == DropPolicy::Close {
                        closed += usize::from(registry.close(id));
                        let deadline = Instant::now() + config.close_timeout;
                        client.close(TOO_SLOW.0, TOO_SLOW.1, deadline);
                    }
                }
                Reserved::Unknown => {}
            }
        };
        if let Receivers::All = to {
            clients.iter_mut().flatten().for_each(|client| give(client));
        }
        let give_to = |id: SocketId| {
            let client = clients.get_mut(id.slot as usize).and_then(Option::as_deref_mut);
            if let Some(client) = client.filter(|client| client.uuid.id == id) {
                give(client);
            }
        };
        match to {
            Receivers::All => {}
            Receivers::Topic(topic) => self.topics.members(topic).for_each(give_to),
            Receivers::Topics(topics) => {
                self.topics.members_of_any(topics).into_iter().for_each(give_to);
            }
        }
        if dropped > 0 {
            let counters = self.shared.counters(self.index);
            counters.dropped.add(dropped);
            counters.too_slow(closed);
        }
    }

    /// Takes a socket that has ended out of the topics.
    pub(crate) fn leave_topics(&mut self, id: SocketId) {
        for topic in self.shared.registry.take_topics(id) {
            self.leave_topic(id, &topic);
        }
    }

    /// Other nodes send to this one what is for its topics.
    fn join_topic(&mut self, id: SocketId, topic: Arc<str>) {
        match &self.shared.broker {
            None => {
                self.topics.subscribe(id, topic);
            }
            Some(broker) => {
                if self.topics.subscribe(id, Arc::clone(&topic)) {
                    broker.topic_came(&topic);
                }
            }
        }
    }

    fn leave_topic(&mut self, id: SocketId, topic: &str) {
        if self.topics.unsubscribe(id, topic)
            && let Some(broker) = &self.shared.broker
        {
            broker.topic_went(topic);
        }
    }
}

/// Commands of a batch that are not done yet. Bytes of sends that a panic leaves undone are given back.
struct Rest {
    shared: Arc<Shared>,
    commands: Vec<Command>,
    done: usize,
}

impl Drop for Rest {
    fn drop(&mut self) {
        for command in self.commands.iter().skip(self.done) {
            let (id, payload) = match *command {
                Command::Send { id, len, .. } => (id, len as usize - MAX_SENT_HEADER),
                Command::Give { id, payload, .. } => (id, payload as usize),
                _ => continue,
            };
            self.shared.registry.unreserve(id, payload + ENTRY_BYTES);
        }
    }
}
