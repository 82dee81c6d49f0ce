//! What all JavaScript threads of the process share: the one server, and the table of inboxes through which it speaks.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering},
    },
    time::Duration,
};

use pocketsocket::{Asked, Config, Error, Event, Host, Lane, Offer, Pending, Server, Uuid};

use crate::{
    authorizer,
    inbox::INBOXES,
    slab::{Slab, kind},
};

/// The server of the process.
static SERVER: Mutex<Slot> = Mutex::new(Slot { server: None, number: 0, stopping: false });
/// Counts the changes of `SERVER`: a thread looks there again only when it has changed.
static EPOCH: AtomicU32 = AtomicU32::new(0);
/// The last hook was taken away on purpose: events are discarded instead of kept.
static DISCARD: AtomicBool = AtomicBool::new(false);
/// Threads that have not handled the last event of a server that stopped.
static UNFINISHED: AtomicUsize = AtomicUsize::new(0);

/// The place of the one server.
struct Slot {
    /// Until its last thread has ended.
    server: Option<Server>,
    /// Of the server that was started last, from 1 on.
    number: u32,
    /// A shutdown was begun: nobody can join it any more.
    stopping: bool,
}

fn server_slot() -> MutexGuard<'static, Slot> {
    SERVER.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The server of the process, if one runs.
pub fn server() -> Option<Server> {
    server_slot().server.clone()
}

/// The number of the server that runs, 0 without one.
pub fn running() -> u32 {
    let slot = server_slot();
    if slot.server.is_some() { slot.number } else { 0 }
}

/// Whether the server that runs shares its port. A thread that says nothing of that joins it either way: the threads of a
/// process of Node's `cluster` cannot know that they are in one.
pub fn shares_port() -> bool {
    server_slot().server.as_ref().is_some_and(|server| server.config().reuse_port)
}

/// Begins to shut the server down; false if none runs.
pub fn begin_shutdown(timeout: Duration) -> bool {
    let mut slot = server_slot();
    let Some(server) = &slot.server else { return false };
    server.begin_shutdown(timeout);
    slot.stopping = true;
    true
}

/// Changes whenever [`server`] does.
pub fn epoch() -> u32 {
    EPOCH.load(Ordering::Acquire)
}

/// Why a server is not started.
pub enum StartError {
    /// Another runs, with other settings.
    Running(Server),
    /// One is being shut down.
    Stopping(Server),
    /// It cannot start.
    Failed(Error),
}

/// Starts the server of the process, or joins the one that runs with equal settings. Tells whether it was started.
///
/// `prepare` runs before a server is started, and not if one is joined.
pub fn start(config: Config, prepare: impl FnOnce()) -> Result<(Server, bool), StartError> {
    let mut slot = server_slot();
    if let Some(running) = &slot.server {
        if slot.stopping {
            return Err(StartError::Stopping(running.clone()));
        }
        let actual = Config { port: running.local_addr().port(), ..running.config().clone() };
        if config == *running.config() || config == actual {
            return Ok((running.clone(), false));
        }
        return Err(StartError::Running(running.clone()));
    }
    let relays = config.broadcast;
    prepare();
    let server = Server::start(config, JsHost { relays }).map_err(StartError::Failed)?;
    *slot = Slot {
        server: Some(server.clone()),
        number: slot.number.wrapping_add(1).max(1),
        stopping: false,
    };
    EPOCH.fetch_add(1, Ordering::AcqRel);
    Ok((server, true))
}

/// The host: lanes are inboxes.
struct JsHost {
    /// `broadcast`: the sockets are served without a hook too, so nothing may wait for one.
    relays: bool,
}

impl Host for JsHost {
    fn assign(&self) -> Lane {
        let least = (0..INBOXES.len())
            .filter(|&lane| INBOXES[lane].is_hooked())
            .min_by_key(|&lane| INBOXES[lane].sockets.load(Ordering::Relaxed));
        match least {
            Some(lane) => {
                INBOXES[lane].sockets.fetch_add(1, Ordering::Relaxed);
                Lane::host(lane)
            }
            None if self.relays || DISCARD.load(Ordering::Acquire) => Lane::DISCARD,
            None => Lane::NONE,
        }
    }

    fn unassign(&self, lane: Lane) {
        if let Some(index) = lane.index() {
            let sockets = &INBOXES[index].sockets;
            // A hook that left has set it to 0 already.
            let _ =
                sockets.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1));
        }
    }

    fn offer(&self, lane: Lane, event: &Event<'_>) -> Offer {
        lane.index().map_or(Offer::Gone, |index| INBOXES[index].offer(event, false))
    }

    fn offer_first(&self, lane: Lane, event: &Event<'_>) -> Offer {
        lane.index().map_or(Offer::Gone, |index| INBOXES[index].offer(event, true))
    }

    fn flush(&self, lane: Lane) {
        if let Some(index) = lane.index() {
            INBOXES[index].ring();
        }
    }

    fn authorize(&self, asked: Asked) {
        authorizer::ask(asked);
    }

    fn error(&self, error: &Error) {
        for inbox in &INBOXES {
            inbox.error(error);
        }
    }

    fn stopped(&self) {
        // One more than the threads, so that none of them can finish before all were told.
        UNFINISHED.fetch_add(1, Ordering::SeqCst);
        for inbox in &INBOXES {
            UNFINISHED.fetch_add(1, Ordering::SeqCst);
            if !inbox.notify(kind::STOPPED) {
                UNFINISHED.fetch_sub(1, Ordering::SeqCst);
            }
        }
        authorizer::close();
        // After that: the next server's events come behind the end of this one.
        server_slot().server = None;
        EPOCH.fetch_add(1, Ordering::AcqRel);
        finish_one();
    }
}

/// A thread has handled the last event of the server that stopped. The last one tells all.
pub fn finish_one() {
    if UNFINISHED.fetch_sub(1, Ordering::SeqCst) == 1 {
        for inbox in &INBOXES {
            inbox.notify(kind::FINISHED);
        }
    }
}

/// The thread of `lane` has its first hook: sockets that waited, or were discarded, come to it or to another.
pub fn attach(lane: usize) {
    DISCARD.store(false, Ordering::Release);
    INBOXES[lane].set_hooked(true);
    if let Some(server) = server() {
        server.rehome(Lane::NONE, Vec::new());
        server.rehome(Lane::DISCARD, Vec::new());
    }
}

/// The thread of `lane` has no hook any more. `waiting` are events that it swapped out and did not begin, `rest` is
/// what its inbox held: both go to another hook. `on_purpose`: without another, they are discarded; else they wait.
pub fn detach(lane: usize, mut waiting: Vec<(Uuid, Vec<Pending>)>, on_purpose: bool, rest: &Slab) {
    INBOXES[lane].sockets.store(0, Ordering::Relaxed);
    if on_purpose && !INBOXES.iter().any(crate::inbox::Inbox::is_hooked) {
        DISCARD.store(true, Ordering::Release);
    }
    if let Some(server) = server() {
        collect(&server, rest, 0, &mut waiting);
        server.rehome(Lane::host(lane), waiting);
    }
}

/// Adds the records of `slab` from `first` on to `waiting`, by socket and in order.
pub fn collect(
    server: &Server,
    slab: &Slab,
    first: usize,
    waiting: &mut Vec<(Uuid, Vec<Pending>)>,
) {
    let mut places: std::collections::HashMap<Uuid, usize> =
        waiting.iter().enumerate().map(|(at, (uuid, _))| (*uuid, at)).collect();
    for record in slab.records.iter().skip(first) {
        let Some(event) = slab.event(record) else { continue };
        let Some(uuid) = server.uuid(record.id) else { continue };
        let at = *places.entry(uuid).or_insert_with(|| {
            waiting.push((uuid, Vec::new()));
            waiting.len() - 1
        });
        waiting[at].1.push(event);
    }
}

/// The process ends: sockets get what was sent to them and a Close with 1001, as far as that goes in a moment.
pub fn end_process() {
    /// Long enough for clients that answer, too short to be noticed.
    const GRACE: Duration = Duration::from_millis(100);
    let running = server();
    if let Some(server) = running {
        DISCARD.store(true, Ordering::Release);
        server.shutdown(GRACE);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::TcpStream,
        time::Instant,
    };

    use pocketsocket::{SocketId, faults};

    use super::*;
    use crate::inbox::MIN_RECORDS;

    const HANDSHAKE: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
        Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
        Sec-WebSocket-Version: 13\r\n\r\n";

    /// Of Node-API alone this is called here: nobody hears the door-bell.
    #[unsafe(no_mangle)]
    extern "C" fn napi_call_threadsafe_function(_: *mut u8, _: *mut u8, _: u32) -> u32 {
        0
    }

    /// A thread with a hook, as far as the server sees of one, and what was put into its inbox.
    struct Hooked {
        records: Vec<(SocketId, Option<Pending>)>,
        errors: Vec<[u8; 12]>,
    }

    impl Hooked {
        /// Takes what comes, as a drain does, until there are so many records and errors.
        fn wait_for(&mut self, records: usize, errors: usize) {
            let deadline = Instant::now() + Duration::from_secs(10);
            while self.records.len() < records || self.errors.len() < errors {
                assert!(Instant::now() < deadline, "{:?} {:?}", self.records, self.errors);
                let mut slab = Slab::default();
                INBOXES[0].swap(&mut slab, MIN_RECORDS);
                for record in &slab.records {
                    if record.kind == kind::ERROR {
                        self.errors.push(slab.ascii(record).unwrap());
                    } else {
                        self.records.push((record.id, slab.event(record)));
                    }
                }
                std::thread::yield_now();
            }
        }
    }

    fn open(server: &Server) -> TcpStream {
        let mut stream = TcpStream::connect(server.local_addr()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.write_all(HANDSHAKE).unwrap();
        let mut head = [0; 12];
        stream.read_exact(&mut head).unwrap();
        assert_eq!(&head, b"HTTP/1.1 101");
        stream
    }

    #[test]
    fn a_shard_that_panics_is_an_error_for_the_hook_and_one_close_with_1011_a_socket() {
        let config = Config { port: 0, threads: 1, ..Config::default() };
        let Ok((server, true)) = start(config, || {}) else { panic!("a server runs already") };
        attach(0);
        let mut hooked = Hooked { records: Vec::new(), errors: Vec::new() };
        let streams = [(); 3].map(|()| open(&server));
        hooked.wait_for(3, 0);
        faults::in_shard(&server, 0, || panic!("as the test asked"));
        hooked.wait_for(6, 1);
        assert_eq!(hooked.errors, [*b"ERR_PANICKED"]);
        for (n, (id, event)) in hooked.records.iter().enumerate() {
            let connected = hooked.records[..3].iter().position(|(other, _)| other == id);
            match event {
                Some(Pending::Connect { resumed: false, .. }) => assert_eq!(connected, Some(n)),
                Some(Pending::Close(info)) => {
                    assert!(n >= 3 && connected.is_some() && info.code == 1011, "{event:?}");
                    // As a drain does once the hook was told.
                    server.release(*id);
                }
                _ => panic!("{event:?}"),
            }
        }
        let closed = hooked.records[3..].iter().map(|(id, _)| id.slot);
        assert_eq!(closed.collect::<std::collections::BTreeSet<_>>().len(), 3, "each once");
        drop(streams);
        // Whoever comes now is served by the shard that started anew.
        let _new = open(&server);
        hooked.wait_for(7, 1);
        assert!(matches!(hooked.records[6].1, Some(Pending::Connect { .. })));
        assert_eq!(INBOXES[0].sockets.load(Ordering::Relaxed), 1);
        INBOXES[0].set_hooked(false);
        server.shutdown(Duration::ZERO);
        assert!(super::server().is_none());
    }
}
