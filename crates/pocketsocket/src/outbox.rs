//! The way in: what one thread of the application asks of the sockets, in the order of its calls.
//!
//! Commands are gathered here and handed to the shards in batches: at 64 KiB, once the oldest is 1 ms old, at
//! [`Outbox::flush`], and when the outbox is dropped. Whether a message is taken is known at once, from the registry.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    DropPolicy, MessageKind, SocketId, Uuid,
    broker::{Broker, Outgoing},
    frame::{MAX_SENT_HEADER, encode, write_header},
    limits::{ENTRY_BYTES, MAX_TOPIC_BYTES, TOO_SLOW},
    mailbox::{Batch, Budget, Command, Item, Receivers, SharedFrame},
    registry::Reserved,
    server::Shared,
};

mod pausing;
mod remote;

/// What became of a message, or of another command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum SendStatus {
    /// Taken.
    Ok = 0,
    /// The socket is closed, or never was.
    Unknown = 1,
    /// A limit was reached: the message was dropped. A socket's own limit is followed by a Drain event, or by the socket's end
    /// with [`DropPolicy::Close`].
    Dropped = 2,
}

/// A message that no socket could be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvalidMessage {
    /// Text must be UTF-8 (RFC 6455 section 5.6).
    NotUtf8,
    /// Pings and pongs carry at most 125 bytes (RFC 6455 section 5.5).
    ControlTooLong,
    /// A message has at most 4 GiB - 1.
    TooLong,
}

impl fmt::Display for InvalidMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotUtf8 => "bytes sent as text are not UTF-8: send them as binary",
            Self::ControlTooLong => "a ping or pong carries at most 125 bytes",
            Self::TooLong => "a message has at most 4294967295 bytes: send it in parts",
        })
    }
}

impl std::error::Error for InvalidMessage {}

/// Bytes gathered before they are handed over.
const FLUSH_BYTES: usize = 64 * 1024;
/// How old the oldest command may get while others follow.
const FLUSH_AGE: Duration = Duration::from_millis(1);
/// Sends after which the clock is read while they are quick: reading it at each is a tenth of what a small send costs.
const CLOCK_EVERY: u8 = 8;

/// One thread's ordered queue of commands.
///
/// ```
/// # use pocketsocket::*;
/// # struct Quiet;
/// # impl Host for Quiet {
/// #     fn assign(&self) -> Lane { Lane::DISCARD }
/// #     fn offer(&self, _: Lane, _: &Event<'_>) -> Offer { Offer::Taken }
/// # }
/// let server = Server::start(Config { port: 0, ..Config::default() }, Quiet)?;
/// let mut outbox = server.outbox();
/// assert_eq!(outbox.send_all(MessageKind::Text, b"to nobody", None), Ok(SendStatus::Ok));
/// outbox.flush();
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug)]
pub struct Outbox {
    shared: Arc<Shared>,
    batches: Box<[Batch]>,
    /// For other nodes; without a broker always empty.
    remote: Vec<Outgoing>,
    /// The way to them: none for what came from there.
    broker: Option<Arc<Broker>>,
    bytes: usize,
    oldest: Option<Instant>,
    /// Sends since the clock was read, and after how many it is.
    unclocked: u8,
    clock_every: u8,
}

impl Outbox {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let broker = shared.broker.clone();
        let mut outbox = Self::local(shared);
        outbox.broker = broker;
        outbox
    }

    /// For what came from other nodes: it reaches sockets of this one alone.
    pub(crate) fn local(shared: Arc<Shared>) -> Self {
        let batches = shared.mailboxes.iter().map(|_| Batch::default()).collect();
        Self {
            shared,
            batches,
            remote: Vec::new(),
            broker: None,
            bytes: 0,
            oldest: None,
            unclocked: 0,
            clock_every: 1,
        }
    }

    /// Which socket a uuid names; `None` if it is not an open one of this server.
    #[must_use]
    pub fn resolve(&self, uuid: Uuid) -> Option<SocketId> {
        self.shared.registry.resolve(uuid)
    }

    /// Sends to one socket.
    ///
    /// # Errors
    /// [`InvalidMessage`]: nothing was sent.
    pub fn send(
        &mut self,
        id: SocketId,
        kind: MessageKind,
        data: &[u8],
    ) -> Result<SendStatus, InvalidMessage> {
        self.send_with(id, kind, |bytes| {
            bytes.extend_from_slice(data);
            kind == MessageKind::Text
        })
    }

    /// Sends to one socket what `write` appends, so that the caller can write into place.
    ///
    /// `write` gives whether to check that the bytes are UTF-8: if it does not ask for that, it vouches for text.
    ///
    /// # Errors
    /// [`InvalidMessage`]: nothing was sent.
    pub fn send_with(
        &mut self,
        id: SocketId,
        kind: MessageKind,
        write: impl FnOnce(&mut Vec<u8>) -> bool,
    ) -> Result<SendStatus, InvalidMessage> {
        let shard = usize::from(self.shared.registry.shard_of(id.slot));
        let Some(batch) = self.batches.get_mut(shard) else { return Ok(SendStatus::Unknown) };
        let start = batch.bytes.len();
        // The header comes before the payload, whose length is known only then: it gets the end of this space.
        batch.bytes.extend_from_slice(&[0; MAX_SENT_HEADER]);
        let check = write(&mut batch.bytes);
        let Some((space, payload)) = batch.bytes[start..].split_first_chunk_mut() else {
            return Ok(SendStatus::Unknown);
        };
        let cost = payload.len() + ENTRY_BYTES;
        // Checked on our own copy: the caller's bytes may change meanwhile.
        let outcome = check_message(kind, payload, check)
            .map(|len| (len, self.shared.registry.reserve(id, cost)));
        if let Ok((len, Reserved::Ok)) = outcome {
            let unused = write_header(space, kind as u8, payload.len()) as u8;
            let len = len + MAX_SENT_HEADER as u32;
            batch.commands.push(Command::Send { id, unused, len });
            self.bytes += cost;
        } else {
            batch.bytes.truncate(start);
        }
        if let Ok((_, reserved @ (Reserved::Full | Reserved::Starved))) = outcome {
            self.shared.caller_counters().dropped.add(1);
            self.dropped_for(id, reserved);
        }
        self.unclocked += 1;
        if self.unclocked >= self.clock_every || self.bytes >= FLUSH_BYTES || self.oldest.is_none()
        {
            self.flush_if_due();
        }
        outcome.map(|(_, reserved)| reserved.status())
    }

    /// Sends to every socket but `origin`, which may be one of another node; encoded once.
    ///
    /// [`SendStatus::Ok`] also without receivers; a receiver that is behind misses it, gets a Drain later and is counted.
    /// [`SendStatus::Dropped`] only if the process has no room for it at all.
    ///
    /// # Errors
    /// [`InvalidMessage`]: nothing was sent.
    pub fn send_all(
        &mut self,
        kind: MessageKind,
        data: &[u8],
        origin: Option<Uuid>,
    ) -> Result<SendStatus, InvalidMessage> {
        self.share_checked(&Receivers::All, kind, data, origin)
    }

    /// Sends to every socket of a topic but `origin`, as [`Outbox::send_all`].
    ///
    /// # Errors
    /// [`InvalidMessage`]: nothing was sent.
    pub fn publish(
        &mut self,
        topic: &str,
        kind: MessageKind,
        data: &[u8],
        origin: Option<Uuid>,
    ) -> Result<SendStatus, InvalidMessage> {
        self.share_checked(&Receivers::Topic(Arc::from(topic)), kind, data, origin)
    }

    /// Sends to every socket of any of the topics but `origin`, as [`Outbox::send_all`]; to each once.
    ///
    /// # Errors
    /// [`InvalidMessage`]: nothing was sent.
    pub fn publish_many<'a>(
        &mut self,
        topics: impl IntoIterator<Item = &'a str>,
        kind: MessageKind,
        data: &[u8],
        origin: Option<Uuid>,
    ) -> Result<SendStatus, InvalidMessage> {
        let to = Receivers::Topics(topics.into_iter().map(Arc::from).collect());
        self.share_checked(&to, kind, data, origin)
    }

    fn share_checked(
        &mut self,
        to: &Receivers,
        kind: MessageKind,
        data: &[u8],
        origin: Option<Uuid>,
    ) -> Result<SendStatus, InvalidMessage> {
        check_message(kind, data, kind == MessageKind::Text)?;
        let except = origin.and_then(|uuid| self.resolve(uuid));
        Ok(self.share(to, kind, data, except, origin))
    }

    /// Sends to each of `ids`, encoded once, as so many [`Outbox::send`] would; `told` gets the status of each in turn. `None`
    /// is a socket that is not open.
    ///
    /// # Errors
    /// [`InvalidMessage`]: nothing was sent.
    pub fn send_many(
        &mut self,
        ids: impl IntoIterator<Item = Option<SocketId>>,
        kind: MessageKind,
        data: &[u8],
        mut told: impl FnMut(SendStatus),
    ) -> Result<(), InvalidMessage> {
        let payload = check_message(kind, data, kind == MessageKind::Text)?;
        let cost = data.len() + ENTRY_BYTES;
        let frame = bytes::Bytes::from(encode(kind as u8, data));
        let mut dropped = 0;
        for id in ids {
            let reserved =
                id.map_or(Reserved::Unknown, |id| self.shared.registry.reserve(id, cost));
            if let (Reserved::Ok, Some(id)) = (reserved, id) {
                let shard = usize::from(self.shared.registry.shard_of(id.slot));
                let give = Command::Give { id, frame: frame.clone(), payload };
                match self.batches.get_mut(shard) {
                    Some(batch) => batch.commands.push(give),
                    None => drop(self.shared.registry.unreserve(id, cost)),
                }
                self.bytes += ENTRY_BYTES;
            }
            if let (Reserved::Full | Reserved::Starved, Some(id)) = (reserved, id) {
                dropped += 1;
                self.dropped_for(id, reserved);
            }
            told(reserved.status());
        }
        self.bytes += data.len();
        if dropped > 0 {
            self.shared.caller_counters().dropped.add(dropped);
        }
        self.flush_if_due();
        Ok(())
    }

    /// As [`Outbox::send_all`], for a payload that is checked already. `origin` is told to other nodes.
    pub(crate) fn share(
        &mut self,
        to: &Receivers,
        kind: MessageKind,
        data: &[u8],
        except: Option<SocketId>,
        origin: Option<Uuid>,
    ) -> SendStatus {
        if let Some(broker) = &self.broker {
            match to {
                Receivers::All => broker.to_all(kind, data, origin, &mut self.remote),
                Receivers::Topic(topic) => {
                    let topics = std::slice::from_ref(topic);
                    broker.to_topics(topics, kind, data, origin, &mut self.remote);
                }
                Receivers::Topics(topics) => {
                    broker.to_topics(topics, kind, data, origin, &mut self.remote);
                }
            }
        }
        let cost = data.len() + ENTRY_BYTES;
        if !self.shared.registry.reserve_shared(cost) {
            self.shared.caller_counters().dropped.add(1);
            return SendStatus::Dropped;
        }
        let budget = Arc::new(Budget { shared: Arc::clone(&self.shared), bytes: cost });
        let bytes = encode(kind as u8, data).into();
        let frame = SharedFrame { bytes, len: data.len(), _budget: budget };
        for batch in &mut self.batches {
            batch.commands.push(Command::Share { to: to.clone(), frame: frame.clone(), except });
        }
        self.bytes += cost;
        self.flush_if_due();
        SendStatus::Ok
    }

    /// Whether a topic's name is 1 to 256 bytes long.
    #[must_use]
    pub fn is_topic(name: &str) -> bool {
        (1..=MAX_TOPIC_BYTES).contains(&name.len())
    }

    /// Adds a socket to a topic. [`SendStatus::Dropped`]: it has 256 topics already.
    pub fn subscribe(&mut self, id: SocketId, topic: &str) -> SendStatus {
        let topic = Arc::from(topic);
        let outcome = self.shared.registry.subscribe(id, &topic);
        self.change_topic(id, topic, true, outcome)
    }

    /// Takes a socket from a topic; [`SendStatus::Ok`] also if it was not in it.
    pub fn unsubscribe(&mut self, id: SocketId, topic: &str) -> SendStatus {
        let outcome = self.shared.registry.unsubscribe(id, topic);
        self.change_topic(id, Arc::from(topic), false, outcome)
    }

    fn change_topic(
        &mut self,
        id: SocketId,
        topic: Arc<str>,
        subscribe: bool,
        outcome: Result<bool, SendStatus>,
    ) -> SendStatus {
        match outcome {
            Err(status) => status,
            Ok(false) => SendStatus::Ok,
            Ok(true) => {
                self.bytes += topic.len() + ENTRY_BYTES;
                self.command(id, Command::Subscribe { id, topic, subscribe });
                SendStatus::Ok
            }
        }
    }

    /// Starts the closing handshake. What was sent before goes out first; what is sent later is
    /// [`SendStatus::Unknown`].
    ///
    /// The code is one that an endpoint may send (RFC 6455 section 7.4), the reason has at most 123 bytes.
    pub fn close(&mut self, id: SocketId, code: u16, reason: &str) -> SendStatus {
        if !self.shared.registry.close(id) {
            return SendStatus::Unknown;
        }
        self.command(id, Command::Close { id, code, reason: reason.into() });
        self.flush();
        SendStatus::Ok
    }

    /// A message was dropped for this socket: [`DropPolicy::Close`] ends it, if it is the one that does not read.
    #[cold]
    fn dropped_for(&mut self, id: SocketId, reserved: Reserved) {
        let closes =
            self.shared.config.drop_policy == DropPolicy::Close && reserved == Reserved::Full;
        if closes && self.close(id, TOO_SLOW.0, TOO_SLOW.1) == SendStatus::Ok {
            self.shared.caller_counters().too_slow(1);
        }
    }

    fn command(&mut self, id: SocketId, command: Command) {
        let shard = usize::from(self.shared.registry.shard_of(id.slot));
        if let Some(batch) = self.batches.get_mut(shard) {
            batch.commands.push(command);
        }
        self.flush_if_due();
    }

    /// Whether commands wait for a flush.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.remote.is_empty() && self.batches.iter().all(|batch| batch.commands.is_empty())
    }

    /// Whether sends follow each other within microseconds for now: then the age of what waits is looked at only at some.
    pub fn set_quick(&mut self, quick: bool) {
        self.clock_every = if quick { CLOCK_EVERY } else { 1 };
    }

    /// Hands over what has waited for 1 ms, or has grown to 64 KiB. Called at each command.
    pub fn flush_if_due(&mut self) {
        self.unclocked = 0;
        if self.bytes >= FLUSH_BYTES {
            self.flush();
            return;
        }
        match self.oldest {
            Some(oldest) if oldest.elapsed() >= FLUSH_AGE => self.flush(),
            None if !self.is_empty() => self.oldest = Some(Instant::now()),
            _ => {}
        }
    }

    /// Hands all that waits to the shards, and to the broker.
    pub fn flush(&mut self) {
        if !self.remote.is_empty()
            && let Some(broker) = &self.broker
        {
            broker.post(&mut self.remote);
        }
        for (batch, mailbox) in self.batches.iter_mut().zip(&self.shared.mailboxes) {
            if !batch.commands.is_empty() {
                let next = self.shared.spares.take(batch);
                mailbox.post(Item::Batch(std::mem::replace(batch, next)));
            }
        }
        self.bytes = 0;
        self.oldest = None;
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        self.flush();
    }
}

/// Checks a payload as a send does, whether there is a server or not; gives its length as frames and commands count it.
///
/// # Errors
/// [`InvalidMessage`].
pub fn check_message(kind: MessageKind, payload: &[u8], text: bool) -> Result<u32, InvalidMessage> {
    if kind.is_control() && payload.len() > 125 {
        return Err(InvalidMessage::ControlTooLong);
    }
    if text && str::from_utf8(payload).is_err() {
        return Err(InvalidMessage::NotUtf8);
    }
    // With room for the header, so that a frame's length fits too.
    u32::try_from(payload.len())
        .ok()
        .filter(|len| *len <= u32::MAX - MAX_SENT_HEADER as u32)
        .ok_or(InvalidMessage::TooLong)
}
