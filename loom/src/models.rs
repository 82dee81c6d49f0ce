//! What must hold, however threads take turns. A thread that waits for what never comes is a deadlock, which loom finds.

use loom::{sync::Arc, thread};

use crate::{
    Lane, SocketId,
    bell::Bell,
    queue::Mailbox,
    registry::{Registry, Reserved},
    sync::{AtomicBool, Mutex, Notify, Ordering, block_on, lock},
};

type Model = fn();

pub(crate) const ALL: [(&str, Model); 7] = [
    ("bell: no event is left without a ring, and one ring at most is out", bell_rings),
    ("bell: nobody rings once it is taken down", bell_is_taken_down),
    ("mailbox: each item is taken, in the order of its producer", mailbox_gives_all),
    ("mailbox: room is told of beside items", mailbox_tells_of_room),
    ("registry: who is refused for its own queue is told of room", full_is_told),
    ("registry: two who are refused are told of room", two_are_told),
    ("registry: who is refused for the queues of all is told of room", starved_is_told),
];

/// A bell, and what lies in the inbox.
struct Inbox {
    bell: Bell<Arc<Notify>>,
    events: Mutex<Vec<u8>>,
}

impl Inbox {
    fn new(ear: &Arc<Notify>) -> Arc<Self> {
        let bell = Bell { rung: AtomicBool::new(false), doorbell: Mutex::new(None) };
        bell.hang(Arc::clone(ear));
        Arc::new(Self { bell, events: Mutex::new(Vec::new()) })
    }

    fn is_empty(&self) -> bool {
        lock(&self.events).is_empty()
    }

    /// As a shard does: an event, and then the end of its burst.
    fn give(&self, event: u8) {
        lock(&self.events).push(event);
        self.bell.ring(|| self.is_empty(), |ear| ear.notify_one());
    }

    /// As `drain` does, until nothing is left.
    fn drain(&self, into: &mut Vec<u8>) {
        loop {
            let events = std::mem::take(&mut *lock(&self.events));
            if events.is_empty() && self.bell.sleep(|| self.is_empty()) {
                return;
            }
            into.extend(events);
        }
    }
}

fn bell_rings() {
    let ear = Arc::new(Notify::new());
    let inbox = Inbox::new(&ear);
    for event in [1, 2] {
        let inbox = Arc::clone(&inbox);
        thread::spawn(move || inbox.give(event));
    }
    let mut seen = Vec::new();
    while seen.len() < 2 {
        block_on(ear.notified());
        inbox.drain(&mut seen);
    }
    seen.sort_unstable();
    assert_eq!(seen, [1, 2]);
}

fn bell_is_taken_down() {
    let alive = Arc::new(AtomicBool::new(true));
    let bell = Bell { rung: AtomicBool::new(false), doorbell: Mutex::new(None) };
    bell.hang(Arc::clone(&alive));
    let bell = Arc::new(bell);
    let ringing = {
        let bell = Arc::clone(&bell);
        thread::spawn(move || {
            bell.ring(
                || false,
                |alive| assert!(alive.load(Ordering::Acquire), "rung after its end"),
            );
        })
    };
    bell.take_down();
    alive.store(false, Ordering::Release);
    ringing.join().unwrap();
}

fn mailbox_gives_all() {
    let mailbox = Arc::new(Mailbox::<u8>::default());
    for items in [&[10, 11][..], &[20]] {
        let mailbox = Arc::clone(&mailbox);
        thread::spawn(move || items.iter().for_each(|item| mailbox.post(*item)));
    }
    let (mut taken, mut items) = (Vec::new(), Vec::new());
    while taken.len() < 3 {
        block_on(mailbox.woken());
        mailbox.drain(&mut items);
        taken.append(&mut items);
    }
    let place = |item| taken.iter().position(|&taken| taken == item).unwrap();
    assert!(place(10) < place(11) && place(20) < 3);
}

fn mailbox_tells_of_room() {
    let mailbox = Arc::new(Mailbox::<u8>::default());
    let posting = Arc::clone(&mailbox);
    thread::spawn(move || posting.post(1));
    let making_room = Arc::clone(&mailbox);
    thread::spawn(move || making_room.room(Lane(3)));
    let (mut items, mut taken, mut room) = (Vec::new(), 0, 0);
    while taken == 0 || room == 0 {
        block_on(mailbox.woken());
        room |= mailbox.drain(&mut items);
        taken += items.drain(..).count();
    }
    assert_eq!((taken, room), (1, 1 << 3));
}

/// Sends one message; if it is taken it leaves again. Gives whether it was refused, and whether somebody was told of room.
fn send(registry: &Registry, id: SocketId, bytes: usize) -> (bool, bool) {
    match registry.reserve(id, bytes) {
        Reserved::Ok => (false, registry.unreserve(id, bytes)),
        Reserved::Full | Reserved::Starved => (true, false),
        Reserved::Unknown => unreachable!("it is open"),
    }
}

/// All is quiet: nothing waits, and nobody waits to be told.
fn assert_quiet(registry: &Registry, id: SocketId) {
    assert_eq!((registry.buffered(id), registry.buffered_total()), (0, 0));
    assert!(!registry.has_room_again(id), "refused, and not told of room");
}

fn full_is_told() {
    let registry = Arc::new(Registry::new(1, 4, 1000));
    let id = registry.open(0).unwrap().id;
    for _ in 0..2 {
        assert_eq!(registry.reserve(id, 2), Reserved::Ok);
    }
    let sending = {
        let registry = Arc::clone(&registry);
        thread::spawn(move || send(&registry, id, 2))
    };
    let told = [registry.unreserve(id, 2), registry.unreserve(id, 2)];
    let (refused, told_itself) = sending.join().unwrap();
    assert!(!refused || told.contains(&true) || told_itself);
    assert_quiet(&registry, id);
}

fn two_are_told() {
    let registry = Arc::new(Registry::new(1, 4, 1000));
    let id = registry.open(0).unwrap().id;
    assert_eq!(registry.reserve(id, 4), Reserved::Ok);
    let sending = [1, 4].map(|bytes| {
        let registry = Arc::clone(&registry);
        thread::spawn(move || send(&registry, id, bytes))
    });
    registry.unreserve(id, 4);
    for thread in sending {
        thread.join().unwrap();
    }
    assert_quiet(&registry, id);
}

fn starved_is_told() {
    let registry = Arc::new(Registry::new(2, 100, 4));
    let (other, id) = (registry.open(0).unwrap().id, registry.open(1).unwrap().id);
    assert_eq!(registry.reserve(other, 4), Reserved::Ok);
    let sending = {
        let registry = Arc::clone(&registry);
        thread::spawn(move || send(&registry, id, 2))
    };
    registry.unreserve(other, 4);
    // The timers of the socket's shard: once meanwhile, and once after it.
    let look = || registry.may_send_again(1) && registry.has_room_again(id);
    let told = look();
    let (refused, told_itself) = sending.join().unwrap();
    let told = look() || told || told_itself;
    assert!(!refused || told);
    assert!(!look());
    assert_quiet(&registry, id);
}
