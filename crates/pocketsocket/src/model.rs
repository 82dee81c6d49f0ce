//! Commands against a plain model: the registry, an outbox, its mailboxes and two shards do what a few maps and vectors say.
//!
//! No threads and no clock: the model decides when a shard looks into its mailbox. Property tests and fuzzing run it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    CloseInfo, Config, Event, Host, Lane, MessageKind, Offer, Outbox, SendStatus, SocketId, Uuid,
    client::{About, Client},
    frame::encode,
    limits::ENTRY_BYTES,
    mailbox::Item,
    page::Page,
    server::Shared,
    shard::Shard,
};

const SHARDS: usize = 2;
const SOCKETS: usize = 6;
const LIMIT: usize = 300;
const TOTAL: usize = 1200;
const TOPICS: [&str; 3] = ["a", "b", "c"];

/// One step. Sockets are named by their number in the order of opening, and may have ended.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Op {
    Open,
    Send {
        to: u8,
        len: u8,
    },
    SendAll {
        except: u8,
        len: u8,
    },
    Publish {
        topic: u8,
        except: u8,
        len: u8,
    },
    Subscribe {
        id: u8,
        topic: u8,
    },
    Unsubscribe {
        id: u8,
        topic: u8,
    },
    Close {
        id: u8,
    },
    Hold {
        id: u8,
        held: bool,
    },
    /// The shards do what is in their mailboxes.
    Run,
    /// The system takes all that is queued for a socket.
    Take {
        id: u8,
    },
    /// The connection is gone.
    End {
        id: u8,
    },
}

impl Op {
    /// Any four bytes are a step.
    pub(crate) fn of([op, id, topic, len]: [u8; 4]) -> Self {
        match op % 13 {
            0 => Self::Open,
            1 | 2 => Self::Send { to: id, len },
            3 => Self::SendAll { except: id, len },
            4 => Self::Publish { topic, except: id, len },
            5 | 6 => Self::Subscribe { id, topic },
            7 => Self::Unsubscribe { id, topic },
            8 => Self::Close { id },
            9 => Self::Run,
            10 => Self::Take { id },
            11 => Self::End { id },
            _ => Self::Hold { id, held: topic % 2 == 0 },
        }
    }
}

struct Nobody;

impl Host for Nobody {
    fn assign(&self) -> Lane {
        Lane::DISCARD
    }

    fn offer(&self, _lane: Lane, _event: &Event<'_>) -> Offer {
        Offer::Taken
    }
}

/// A socket as the model has it.
struct Socket {
    uuid: Uuid,
    shard: usize,
    /// Takes messages.
    open: bool,
    /// Its shard has begun to close it.
    closing: bool,
    /// Its connection is gone.
    ended: bool,
    /// Its shard does not read it.
    held: bool,
    topics: BTreeSet<&'static str>,
    /// The topics that its shard has it in.
    heard: BTreeSet<&'static str>,
    buffered: usize,
    out: Vec<Vec<u8>>,
}

/// What waits in the mailboxes.
enum Command {
    Send { to: usize, frame: Vec<u8>, cost: usize },
    Share { topic: Option<&'static str>, except: Option<usize>, frame: Vec<u8>, cost: usize },
    Subscribe { id: usize, topic: &'static str, subscribe: bool },
    Close { id: usize },
    Hold { id: usize, held: bool },
}

struct Run {
    shared: Arc<Shared>,
    shards: Vec<Shard>,
    outbox: Outbox,
    sockets: Vec<Socket>,
    waiting: Vec<Command>,
}

/// Takes the steps one after the other; panics where the server and the model differ.
pub(crate) fn run(ops: &[Op]) {
    let config = Config {
        threads: SHARDS,
        max_connections: SOCKETS,
        backpressure_limit: LIMIT,
        backpressure_total: TOTAL,
        ..Config::default()
    };
    let address = ([127, 0, 0, 1], 0).into();
    let registry = crate::registry::Registry::new(SOCKETS, LIMIT, TOTAL);
    let shared = Shared::new(config, address, Box::new(Nobody), Page::new(None), registry, None);
    let shards = (0..SHARDS as u8).map(|index| Shard::new(Arc::clone(&shared), index)).collect();
    let outbox = Outbox::new(Arc::clone(&shared));
    let mut run = Run { shared, shards, outbox, sockets: Vec::new(), waiting: Vec::new() };
    for &op in ops {
        run.step(op);
        run.check();
    }
    run.execute();
    for index in 0..run.sockets.len() {
        run.end(index);
    }
    run.check();
    assert_eq!(run.shared.registry.buffered_total(), 0, "all bytes are given back");
    assert!(
        run.shards.iter().all(|shard| shard.topics.members.is_empty() && shard.population == 0)
    );
}

impl Run {
    fn step(&mut self, op: Op) {
        let fit = |id: u8| (!self.sockets.is_empty()).then(|| usize::from(id) % self.sockets.len());
        let name = |topic: u8| TOPICS[usize::from(topic) % TOPICS.len()];
        match op {
            Op::Open => self.open(),
            Op::Run => self.execute(),
            Op::Send { to, len } => {
                let Some(to) = fit(to) else { return };
                let (frame, cost) = message(len);
                let fits = self.total() + cost <= TOTAL;
                let socket = &mut self.sockets[to];
                let expected = match socket.open {
                    false => SendStatus::Unknown,
                    true if fits => socket.reserve(cost),
                    true => SendStatus::Dropped,
                };
                let payload = payload(len);
                let status = self.outbox.send(socket.uuid.id, MessageKind::Binary, &payload);
                assert_eq!(status, Ok(expected));
                if expected == SendStatus::Ok {
                    self.waiting.push(Command::Send { to, frame, cost });
                }
            }
            Op::SendAll { except, len } => {
                // An odd number excepts nobody.
                let except = fit(except / 2).filter(|_| except % 2 == 0);
                self.share(None, except, len);
            }
            Op::Publish { topic, except, len } => {
                let except = fit(except / 2).filter(|_| except % 2 == 0);
                self.share(Some(name(topic)), except, len);
            }
            Op::Subscribe { id, topic } | Op::Unsubscribe { id, topic } => {
                let (Some(id), topic) = (fit(id), name(topic)) else { return };
                let subscribe = matches!(op, Op::Subscribe { .. });
                let socket = &mut self.sockets[id];
                let expected = if socket.open { SendStatus::Ok } else { SendStatus::Unknown };
                let status = if subscribe {
                    self.outbox.subscribe(socket.uuid.id, topic)
                } else {
                    self.outbox.unsubscribe(socket.uuid.id, topic)
                };
                assert_eq!(status, expected);
                let changed = socket.open
                    && if subscribe {
                        socket.topics.insert(topic)
                    } else {
                        socket.topics.remove(topic)
                    };
                if changed {
                    self.waiting.push(Command::Subscribe { id, topic, subscribe });
                }
            }
            Op::Close { id } => {
                let Some(id) = fit(id) else { return };
                let socket = &mut self.sockets[id];
                let expected = if socket.open { SendStatus::Ok } else { SendStatus::Unknown };
                assert_eq!(self.outbox.close(socket.uuid.id, 1000, ""), expected);
                if std::mem::replace(&mut socket.open, false) {
                    self.waiting.push(Command::Close { id });
                }
            }
            Op::Hold { id, held } => {
                let Some(id) = fit(id) else { return };
                let socket = &self.sockets[id];
                let expected = if socket.open { SendStatus::Ok } else { SendStatus::Unknown };
                let uuid = socket.uuid;
                let status = match held {
                    true => self.outbox.pause(uuid.id),
                    false => self.outbox.resume(uuid.id),
                };
                assert_eq!(status, expected);
                if expected == SendStatus::Ok {
                    self.waiting.push(Command::Hold { id, held });
                }
            }
            Op::Take { id } => {
                let Some(id) = fit(id) else { return };
                let socket = &mut self.sockets[id];
                let shard = &mut self.shards[socket.shard];
                let Some(client) = shard.client(socket.uuid.id) else { return };
                let mut out = client.out.take().unwrap_or_default();
                let costs = out.cost();
                self.shared.registry.unreserve(socket.uuid.id, costs);
                let mut wire = Vec::new();
                while !out.is_empty() {
                    let taken = out.with_slices(|slices| {
                        slices.iter().for_each(|slice| wire.extend_from_slice(slice));
                        slices.iter().map(|slice| slice.len()).sum()
                    });
                    out.sent(taken, drop);
                }
                assert_eq!(wire, socket.out.concat(), "in the order of the calls");
                socket.out.clear();
                socket.buffered -= costs;
            }
            Op::End { id } => {
                if let Some(id) = fit(id) {
                    self.end(id);
                }
            }
        }
    }

    fn open(&mut self) {
        let alive = self.sockets.iter().filter(|socket| !socket.ended).count();
        let shard = self.sockets.len() % SHARDS;
        let uuid = self.shared.registry.open(shard as u8);
        assert_eq!(uuid.is_some(), alive < SOCKETS, "as many as the limit says");
        let Some(uuid) = uuid else { return };
        assert!(self.sockets.iter().all(|socket| socket.uuid != uuid), "a name is new");
        let now = self.shared.now();
        self.shards[shard].insert(Client::new(uuid, Lane::DISCARD, About::default(), None, now));
        self.sockets.push(Socket {
            uuid,
            shard,
            open: true,
            closing: false,
            ended: false,
            held: false,
            topics: BTreeSet::new(),
            heard: BTreeSet::new(),
            buffered: 0,
            out: Vec::new(),
        });
    }

    fn share(&mut self, topic: Option<&'static str>, except: Option<usize>, len: u8) {
        let origin = except.map(|index| self.sockets[index].uuid);
        let payload = payload(len);
        let status = match topic {
            None => self.outbox.send_all(MessageKind::Binary, &payload, origin),
            Some(topic) => self.outbox.publish(topic, MessageKind::Binary, &payload, origin),
        };
        let (frame, cost) = message(len);
        if self.total() + cost > TOTAL {
            assert_eq!(status, Ok(SendStatus::Dropped));
            return;
        }
        assert_eq!(status, Ok(SendStatus::Ok));
        self.waiting.push(Command::Share { topic, except, frame, cost });
    }

    /// What waits to be sent in all: broadcasts count once until they are fanned out, and then for each socket.
    fn total(&self) -> usize {
        let queued = self.sockets.iter().filter(|socket| !socket.ended);
        let waiting = self.waiting.iter().map(|command| match command {
            Command::Send { to, cost, .. } if self.sockets[*to].ended => *cost,
            Command::Share { cost, .. } => *cost,
            _ => 0,
        });
        queued.map(|socket| socket.buffered).sum::<usize>() + waiting.sum::<usize>()
    }

    /// Both sides do what waits.
    fn execute(&mut self) {
        self.outbox.flush();
        for (shard, mailbox) in self.shards.iter_mut().zip(&self.shared.mailboxes) {
            let mut items = Vec::new();
            mailbox.drain(&mut items);
            for item in items {
                if let Item::Batch(batch) = item {
                    shard.execute(batch);
                }
            }
        }
        for command in self.waiting.drain(..) {
            match command {
                Command::Send { to, frame, cost } => {
                    let socket = &mut self.sockets[to];
                    if socket.ended || socket.closing {
                        socket.buffered = socket.buffered.saturating_sub(cost);
                    } else {
                        socket.out.push(frame);
                    }
                }
                Command::Share { topic, except, frame, cost } => {
                    for (index, socket) in self.sockets.iter_mut().enumerate() {
                        let hears = topic.is_none_or(|topic| socket.heard.contains(topic));
                        if !hears || socket.ended || socket.closing || except == Some(index) {
                            continue;
                        }
                        if socket.reserve(cost) == SendStatus::Ok {
                            socket.out.push(frame.clone());
                        }
                    }
                }
                Command::Subscribe { id, topic, subscribe } => {
                    let socket = &mut self.sockets[id];
                    if subscribe && !socket.ended {
                        socket.heard.insert(topic);
                    } else {
                        socket.heard.remove(topic);
                    }
                }
                Command::Close { id } => {
                    self.sockets[id].closing = true;
                    self.sockets[id].held = false;
                }
                // What closes is read in any case.
                Command::Hold { id, held } => {
                    self.sockets[id].held = held && !self.sockets[id].closing;
                }
            }
        }
    }

    fn end(&mut self, index: usize) {
        let socket = &mut self.sockets[index];
        let info = CloseInfo { code: 1006, reason: String::new(), was_clean: false };
        self.shards[socket.shard].end(socket.uuid.id, info);
        if !std::mem::replace(&mut socket.ended, true) {
            for topic in std::mem::take(&mut socket.topics) {
                socket.heard.remove(topic);
            }
        }
        socket.open = false;
        socket.buffered = 0;
        socket.out.clear();
    }

    /// What other threads may ask, and what the shards have, is what the model says.
    fn check(&mut self) {
        let registry = &self.shared.registry;
        let open: Vec<_> = self.sockets.iter().filter(|socket| socket.open).collect();
        assert_eq!(registry.len(), open.len());
        assert_eq!(registry.buffered_total(), self.total());
        let mut uuids: Vec<_> = open.iter().map(|socket| socket.uuid.to_bits()).collect();
        let mut told: Vec<_> = registry.uuids().iter().map(|uuid| uuid.to_bits()).collect();
        uuids.sort_unstable();
        told.sort_unstable();
        assert_eq!(told, uuids);
        let mut heard = BTreeMap::<_, BTreeSet<_>>::new();
        for socket in &self.sockets {
            let id = socket.uuid.id;
            assert_eq!(registry.resolve(socket.uuid), socket.open.then_some(id));
            let topics: Vec<_> = registry.topics(id).iter().map(ToString::to_string).collect();
            let expected: Vec<_> = socket.topics.iter().copied().filter(|_| socket.open).collect();
            assert_eq!(topics, expected);
            if !socket.ended {
                assert_eq!(registry.buffered(id), socket.buffered);
            }
            for &topic in &socket.heard {
                heard.entry((socket.shard, topic)).or_default().insert(key(id));
            }
        }
        let mut members = BTreeMap::<_, BTreeSet<_>>::new();
        for (index, shard) in self.shards.iter_mut().enumerate() {
            for topic in TOPICS {
                let own: BTreeSet<_> = shard.topics.members(topic).map(key).collect();
                if !own.is_empty() {
                    members.insert((index, topic), own);
                }
            }
            for socket in self.sockets.iter().filter(|socket| socket.shard == index) {
                let Some(client) = shard.client(socket.uuid.id) else { continue };
                assert_eq!(client.held, socket.held);
                assert!(client.paused || !client.held, "the timers see a pause");
                assert!(!client.held || !client.may_read(&self.shared.config, 0));
            }
            let clients = shard.clients.iter().flatten().filter(|client| !client.ended).count();
            assert_eq!(clients, shard.population);
        }
        assert_eq!(members, heard);
    }
}

impl Socket {
    /// An empty queue takes one message of any size, any other what fits.
    fn reserve(&mut self, cost: usize) -> SendStatus {
        if self.buffered > 0 && self.buffered + cost > LIMIT {
            return SendStatus::Dropped;
        }
        self.buffered += cost;
        SendStatus::Ok
    }
}

fn key(id: SocketId) -> (u32, u32) {
    (id.slot, id.generation)
}

fn payload(len: u8) -> Vec<u8> {
    vec![len; usize::from(len) * 2]
}

fn message(len: u8) -> (Vec<u8>, usize) {
    let payload = payload(len);
    (encode(MessageKind::Binary as u8, &payload), payload.len() + ENTRY_BYTES)
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn registry_and_topics_do_what_the_model_says(
            ops in vec(any::<[u8; 4]>().prop_map(Op::of), 0..120),
        ) {
            run(&ops);
        }
    }

    #[test]
    fn a_socket_that_ends_before_its_unsubscribe_is_executed_leaves_no_member_behind() {
        let (id, topic) = (0, 0);
        run(&[
            Op::Open,
            Op::Subscribe { id, topic },
            Op::Run,
            Op::Unsubscribe { id, topic },
            Op::End { id },
        ]);
    }
}
