//! What comes from other nodes, on its way to the shards.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, atomic::Ordering},
};

use tokio::sync::Notify;

use super::{
    Broker,
    wire::{Body, Message},
};
use crate::{Outbox, server::Shared, sync::lock};

/// How many messages to several topics are remembered: their copies come close to each other.
const RECENT: usize = 64;

/// Where a connection puts what it reads.
#[derive(Debug, Default)]
pub(super) struct Inlet {
    /// Set once the server has its threads: before that nothing is subscribed to.
    inbound: Mutex<Option<Inbound>>,
    /// Something came and is not flushed.
    pub(super) burst: Notify,
    /// The connection has ended.
    pub(super) broken: Notify,
}

impl Inlet {
    pub(super) fn open(&self, shared: &Arc<Shared>, broker: &Arc<Broker>) {
        let (broker, outbox) = (Arc::clone(broker), Outbox::local(Arc::clone(shared)));
        *lock(&self.inbound) = Some(Inbound { broker, outbox, recent: VecDeque::new() });
    }

    pub(super) fn take(&self, bytes: &[u8]) {
        if let Some(inbound) = &mut *lock(&self.inbound) {
            inbound.take(bytes);
            self.burst.notify_one();
        }
    }

    /// Hands what came to the shards: one batch each.
    pub(super) fn flush(&self) {
        if let Some(inbound) = &mut *lock(&self.inbound) {
            inbound.outbox.flush();
        }
    }
}

#[derive(Debug)]
struct Inbound {
    broker: Arc<Broker>,
    /// Reaches sockets of this node alone: nothing that came goes out again.
    outbox: Outbox,
    recent: VecDeque<(u64, u64)>,
}

impl Inbound {
    fn take(&mut self, bytes: &[u8]) {
        let message = match Message::decode(bytes) {
            // Our own: its sockets have it already.
            Ok(message) if message.node == self.broker.node => return,
            Ok(message) => message,
            Err(_) => return self.malformed(),
        };
        self.broker.received.fetch_add(1, Ordering::Relaxed);
        let outbox = &mut self.outbox;
        let sent = match message.body {
            Body::All { kind, data } => outbox.send_all(kind, data, message.origin).map(drop),
            Body::Topics { topics, kind, data } => {
                if topics.len() > 1 {
                    let copy = (message.node, message.number);
                    if self.recent.contains(&copy) {
                        return;
                    }
                    self.recent.truncate(RECENT - 1);
                    self.recent.push_front(copy);
                }
                outbox.publish_many(topics, kind, data, message.origin).map(drop)
            }
            Body::Sockets { uuids, kind, data } => uuids.into_iter().try_for_each(|uuid| {
                let Some(id) = outbox.resolve(uuid) else { return Ok(()) };
                outbox.send(id, kind, data).map(drop)
            }),
            Body::Close { uuid, code, reason } => {
                if let Some(id) = outbox.resolve(uuid) {
                    outbox.close(id, code, reason);
                }
                Ok(())
            }
            Body::Topic { uuid, topic, subscribe } => {
                if let Some(id) = outbox.resolve(uuid) {
                    if subscribe {
                        outbox.subscribe(id, topic);
                    } else {
                        outbox.unsubscribe(id, topic);
                    }
                }
                Ok(())
            }
        };
        if sent.is_err() {
            // Text that is not UTF-8, say.
            self.malformed();
        }
    }

    fn malformed(&self) {
        if self.broker.malformed.fetch_add(1, Ordering::Relaxed) == 0 {
            log::warn!(
                "a message from {} is none of ours: does another program use this prefix?",
                self.broker.url
            );
        }
    }
}
