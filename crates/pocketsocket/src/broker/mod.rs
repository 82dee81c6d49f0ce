//! Other nodes: what reaches their sockets travels through a broker, Redis or NATS.
//!
//! A node is a server process; its id is in the uuids of its sockets. Each listens to three kinds of channels: one for all
//! nodes, one of its own, and one for each topic that a socket of its own subscribed to. One thread with one connection does
//! all of it, so what one node sends arrives in order, at most once. Producers hand it batches, one wake a batch, as they do
//! with shards; what comes from the broker enters the shards as what a producer shares.
//!
//! A broken connection stops nothing here: it is made anew, what could not be handed over is counted, and the host is told.

mod inbound;
#[cfg(feature = "nats")]
mod nats;
#[cfg(feature = "redis")]
mod redis;
mod run;
mod url;
mod wire;

use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use tokio::sync::Notify;

use crate::{
    Config, MessageKind, SendStatus, Uuid,
    limits::{BROKER_QUEUE, ENTRY_BYTES},
    sync::lock,
};

pub(crate) use run::start;
pub use url::BrokerUrl;
use wire::{Body, Message};

/// Figures of the connection to the broker, read at one moment. All count from the server's start unless said.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BrokerStats {
    /// Whether the broker is connected now; else it is being reconnected.
    pub connected: bool,
    /// Microseconds that the broker took to answer the last ping, behind what was sent before it.
    pub lag: u64,
    /// Bytes that wait to be sent to the broker, now.
    pub waiting_bytes: u64,
    /// Messages handed to the broker.
    pub sent: u64,
    /// Messages of other nodes that came.
    pub received: u64,
    /// Messages that were not handed over: no connection, a full queue, or larger than the broker takes.
    pub dropped: u64,
    /// Messages that came and were none of ours, or of another version.
    pub malformed: u64,
    /// How often the connection broke.
    pub gaps: u64,
}

/// Where a message goes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Channel {
    /// Every node.
    All,
    /// One node.
    Node(u64),
    /// Every node with a socket in the topic.
    Topic(Arc<str>),
}

impl Channel {
    /// Its name at the broker. Topics may hold anything: what a broker could take for a wildcard or an end is escaped.
    fn name(&self, prefix: &str) -> String {
        match self {
            Self::All => format!("{prefix}.all"),
            Self::Node(node) => format!("{prefix}.node.{node:012x}"),
            Self::Topic(topic) => {
                let mut name = format!("{prefix}.topic.");
                for byte in topic.bytes() {
                    if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_') {
                        name.push(byte.into());
                    } else {
                        name.push_str(&format!("={byte:02x}"));
                    }
                }
                name
            }
        }
    }
}

/// A message on its way to the broker.
#[derive(Debug, Clone)]
pub(crate) struct Outgoing {
    channel: Channel,
    message: Bytes,
}

impl Outgoing {
    fn cost(&self) -> usize {
        self.message.len() + ENTRY_BYTES
    }
}

#[derive(Debug, Default)]
struct Queue {
    outgoing: Vec<Outgoing>,
    /// How many shards have members of a topic.
    topics: HashMap<Arc<str>, usize>,
    /// Topics that came or went since the broker was told.
    changed: HashSet<Arc<str>>,
    /// The server's other threads have ended.
    ending: bool,
}

/// The way to the other nodes, for all threads.
pub(crate) struct Broker {
    url: BrokerUrl,
    prefix: String,
    /// How long the broker may take to answer.
    timeout: Duration,
    pub(crate) node: u64,
    queue: Mutex<Queue>,
    /// Bytes reserved by senders and not yet handed over.
    waiting: AtomicUsize,
    scheduled: AtomicBool,
    wake: Notify,
    connected: AtomicBool,
    /// The largest message that the broker takes, bytes.
    max_message: AtomicUsize,
    number: AtomicU64,
    lag: AtomicU64,
    sent: AtomicU64,
    received: AtomicU64,
    dropped: AtomicU64,
    malformed: AtomicU64,
    gaps: AtomicU64,
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broker").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Broker {
    fn new(url: BrokerUrl, config: &Config, node: u64) -> Self {
        Self {
            url,
            prefix: config.broker_prefix.clone(),
            timeout: config.broker_timeout,
            node,
            queue: Mutex::default(),
            waiting: AtomicUsize::new(0),
            scheduled: AtomicBool::new(false),
            wake: Notify::new(),
            connected: AtomicBool::new(false),
            max_message: AtomicUsize::new(BROKER_QUEUE),
            number: AtomicU64::new(0),
            lag: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            received: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            malformed: AtomicU64::new(0),
            gaps: AtomicU64::new(0),
        }
    }

    pub(crate) fn stats(&self) -> BrokerStats {
        BrokerStats {
            connected: self.connected.load(Ordering::Relaxed),
            lag: self.lag.load(Ordering::Relaxed),
            waiting_bytes: self.waiting.load(Ordering::Relaxed) as u64,
            sent: self.sent.load(Ordering::Relaxed),
            received: self.received.load(Ordering::Relaxed),
            dropped: self.dropped.load(Ordering::Relaxed),
            malformed: self.malformed.load(Ordering::Relaxed),
            gaps: self.gaps.load(Ordering::Relaxed),
        }
    }

    /// A message to every other node.
    pub(crate) fn to_all(
        &self,
        kind: MessageKind,
        data: &[u8],
        origin: Option<Uuid>,
        into: &mut Vec<Outgoing>,
    ) {
        self.add([Channel::All].into_iter(), origin, Body::All { kind, data }, into);
    }

    /// A message to every other node that has sockets in the topics.
    pub(crate) fn to_topics(
        &self,
        topics: &[Arc<str>],
        kind: MessageKind,
        data: &[u8],
        origin: Option<Uuid>,
        into: &mut Vec<Outgoing>,
    ) {
        let channels = topics.iter().cloned().map(Channel::Topic);
        let topics = topics.iter().map(|topic| &**topic).collect();
        self.add(channels, origin, Body::Topics { topics, kind, data }, into);
    }

    /// A message to sockets of another node.
    pub(crate) fn to_sockets(
        &self,
        node: u64,
        uuids: Vec<Uuid>,
        kind: MessageKind,
        data: &[u8],
        into: &mut Vec<Outgoing>,
    ) -> SendStatus {
        self.add([Channel::Node(node)].into_iter(), None, Body::Sockets { uuids, kind, data }, into)
    }

    /// Closes a socket of another node.
    pub(crate) fn close(
        &self,
        uuid: Uuid,
        code: u16,
        reason: &str,
        into: &mut Vec<Outgoing>,
    ) -> SendStatus {
        self.add(
            [Channel::Node(uuid.node)].into_iter(),
            None,
            Body::Close { uuid, code, reason },
            into,
        )
    }

    /// Changes a topic of a socket of another node.
    pub(crate) fn change_topic(
        &self,
        uuid: Uuid,
        topic: &str,
        subscribe: bool,
        into: &mut Vec<Outgoing>,
    ) -> SendStatus {
        let body = Body::Topic { uuid, topic, subscribe };
        self.add([Channel::Node(uuid.node)].into_iter(), None, body, into)
    }

    /// Encodes a message once, for one or several channels. Whether it can be handed over is known at once.
    fn add(
        &self,
        channels: impl Iterator<Item = Channel>,
        origin: Option<Uuid>,
        body: Body<'_>,
        into: &mut Vec<Outgoing>,
    ) -> SendStatus {
        if !self.connected.load(Ordering::Relaxed) {
            self.drop_messages(channels.count());
            return SendStatus::Unknown;
        }
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        let message: Bytes = Message { node: self.node, number, origin, body }.encode().into();
        let mut status = SendStatus::Ok;
        for channel in channels {
            let outgoing = Outgoing { channel, message: message.clone() };
            if self.reserve(&outgoing) {
                into.push(outgoing);
            } else {
                self.drop_messages(1);
                status = SendStatus::Dropped;
            }
        }
        status
    }

    fn reserve(&self, outgoing: &Outgoing) -> bool {
        if outgoing.message.len() > self.max_message.load(Ordering::Relaxed) {
            return false;
        }
        let cost = outgoing.cost();
        let before = self.waiting.fetch_add(cost, Ordering::Relaxed);
        // An empty queue takes one message of any size.
        let fits = before == 0 || before + cost <= BROKER_QUEUE;
        if !fits {
            self.waiting.fetch_sub(cost, Ordering::Relaxed);
        }
        fits
    }

    fn drop_messages(&self, count: usize) {
        self.dropped.fetch_add(count as u64, Ordering::Relaxed);
    }

    /// Hands over what was gathered: one wake for all of it.
    pub(crate) fn post(&self, outgoing: &mut Vec<Outgoing>) {
        lock(&self.queue).outgoing.append(outgoing);
        self.wake();
    }

    fn wake(&self) {
        if !self.scheduled.swap(true, Ordering::SeqCst) {
            self.wake.notify_one();
        }
    }

    /// A shard has its first member of a topic.
    pub(crate) fn topic_came(&self, topic: &Arc<str>) {
        let mut queue = lock(&self.queue);
        let shards = queue.topics.entry(Arc::clone(topic)).or_default();
        *shards += 1;
        if *shards == 1 {
            queue.changed.insert(Arc::clone(topic));
            drop(queue);
            self.wake();
        }
    }

    /// A shard has lost its last member of a topic.
    pub(crate) fn topic_went(&self, topic: &str) {
        let mut queue = lock(&self.queue);
        let Some(shards) = queue.topics.get_mut(topic) else { return };
        *shards -= 1;
        if *shards == 0
            && let Some((topic, _)) = queue.topics.remove_entry(topic)
        {
            queue.changed.insert(topic);
            drop(queue);
            self.wake();
        }
    }

    /// The server's other threads have ended: what is queued is handed over, then the connection ends.
    pub(crate) fn end(&self) {
        lock(&self.queue).ending = true;
        self.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_of_any_characters_makes_one_plain_name() {
        let name = |topic: &str| Channel::Topic(topic.into()).name("app");
        assert_eq!(name("news-1_A"), "app.topic.news-1_A");
        assert_eq!(name("a.b *>=\r\n"), "app.topic.a=2eb=20=2a=3e=3d=0d=0a");
        assert_ne!(name("a=2e"), name("a."));
        assert_eq!(Channel::Node(0xab).name("app"), "app.node.0000000000ab");
    }
}
