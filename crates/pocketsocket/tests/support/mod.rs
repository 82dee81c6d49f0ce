//! What all tests need: a server with a host that records, clients, and raw bytes for what no client would send.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[cfg(unix)]
pub mod broker;
pub mod client;
pub mod raw;

use std::{
    future::Future,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use pocketsocket::{
    Asked, CloseInfo, Config, Error, Event, EventKind, Host, Lane, MessageKind, Offer, Outbox,
    Pending, Request, SendStatus, Server, SocketId, Uuid,
};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// No wait of a test should take this long: it ends one that would hang.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// The lane of [`Recorder`], unless a test says otherwise.
pub const LANE: Lane = Lane::host(0);

/// Waits for what must come soon.
pub async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("should have come within 10 s")
}

/// Waits for what no event tells of.
#[track_caller]
pub fn until(condition: impl FnMut() -> bool) -> impl Future<Output = ()> {
    let caller = std::panic::Location::caller();
    let mut condition = condition;
    async move {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while !condition() {
            assert!(tokio::time::Instant::now() < deadline, "never came true: {caller}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

/// An event, owned.
#[derive(Debug, Clone, PartialEq)]
pub enum Seen {
    Connect { request: Request, resumed: bool },
    Text(String),
    Binary(Vec<u8>),
    Close(CloseInfo),
    Drain,
}

impl Seen {
    fn of(kind: EventKind<'_>) -> Self {
        match kind {
            EventKind::Connect { request, resumed } => {
                Self::Connect { request: request.clone(), resumed }
            }
            EventKind::Text(text) => Self::Text(text.to_owned()),
            EventKind::Binary(bytes) => Self::Binary(bytes.to_vec()),
            EventKind::Close(info) => Self::Close(info.clone()),
            EventKind::Drain => Self::Drain,
        }
    }

    /// The event as a lane gives it back.
    pub fn pending(self) -> Pending {
        match self {
            Self::Connect { request, resumed } => {
                Pending::Connect { request: Box::new(request), resumed }
            }
            Self::Text(text) => Pending::Text(text.into()),
            Self::Binary(bytes) => Pending::Binary(bytes.into()),
            Self::Close(info) => Pending::Close(Box::new(info)),
            Self::Drain => Pending::Drain,
        }
    }

    #[track_caller]
    pub fn text(self) -> String {
        match self {
            Self::Text(text) => text,
            other => panic!("wanted a text: {other:?}"),
        }
    }

    #[track_caller]
    pub fn close(self) -> CloseInfo {
        match self {
            Self::Close(info) => info,
            other => panic!("wanted a Close: {other:?}"),
        }
    }
}

/// What the host was offered and took.
#[derive(Debug, Clone)]
pub struct Record {
    pub lane: Lane,
    pub id: SocketId,
    pub uuid: Uuid,
    pub seen: Seen,
}

/// A host that records, echoes if asked to, and stalls when its capacity is used up.
pub struct Recorder {
    events: UnboundedSender<Record>,
    asked: UnboundedSender<Asked>,
    /// Where the next socket goes.
    pub lane: Mutex<Lane>,
    /// Lanes that answer `Gone`.
    pub gone: Mutex<Vec<Lane>>,
    /// Messages that are taken before `Full`; `None` takes all.
    capacity: Mutex<Option<usize>>,
    /// Whether a Close is answered with `Kept`: then the test calls `release`.
    pub keeps_close: AtomicBool,
    echo: bool,
    server: Mutex<Option<Server>>,
    outbox: Mutex<Option<Outbox>>,
    pub discarded: AtomicUsize,
    pub stopped: AtomicUsize,
    pub errors: Mutex<Vec<String>>,
}

/// What the server gets of a [`Recorder`].
struct Handle(Arc<Recorder>);

impl Host for Handle {
    fn started(&self, server: &Server) {
        *self.0.outbox.lock().unwrap() = Some(server.outbox());
        *self.0.server.lock().unwrap() = Some(server.clone());
    }

    fn assign(&self) -> Lane {
        *self.0.lane.lock().unwrap()
    }

    fn offer(&self, lane: Lane, event: &Event<'_>) -> Offer {
        let host = &self.0;
        if host.gone.lock().unwrap().contains(&lane) {
            return Offer::Gone;
        }
        let message = match event.kind {
            EventKind::Text(text) => Some((MessageKind::Text, text.as_bytes())),
            EventKind::Binary(bytes) => Some((MessageKind::Binary, bytes)),
            _ => None,
        };
        if let Some((kind, data)) = message {
            // A test asks for this panic to see what a server makes of one.
            assert!(data != b"panic, please", "as the test asked");
            if let Some(left) = &mut *host.capacity.lock().unwrap() {
                if *left == 0 {
                    return Offer::Full;
                }
                *left -= 1;
            }
            if host.echo {
                let mut outbox = host.outbox.lock().unwrap();
                let outbox = outbox.as_mut().unwrap();
                assert_eq!(outbox.send(event.id, kind, data), Ok(SendStatus::Ok));
                outbox.flush();
            }
        }
        let record = Record { lane, id: event.id, uuid: event.uuid, seen: Seen::of(event.kind) };
        let is_close = matches!(event.kind, EventKind::Close(_));
        // A test that ends has no ear for the rest.
        let _ = host.events.send(record);
        if is_close && host.keeps_close.load(SeqCst) { Offer::Kept } else { Offer::Taken }
    }

    fn discarded(&self, _event: &Event<'_>) {
        self.0.discarded.fetch_add(1, SeqCst);
    }

    fn authorize(&self, asked: Asked) {
        let _ = self.0.asked.send(asked);
    }

    fn error(&self, error: &Error) {
        self.0.errors.lock().unwrap().push(error.to_string());
    }

    fn stopped(&self) {
        self.0.stopped.fetch_add(1, SeqCst);
        // The host holds the server that holds the host: this ends both.
        self.0.outbox.lock().unwrap().take();
        self.0.server.lock().unwrap().take();
    }
}

/// A running server, and its host's side.
pub struct Rig {
    pub server: Server,
    pub host: Arc<Recorder>,
    events: UnboundedReceiver<Record>,
    asked: UnboundedReceiver<Asked>,
}

impl Rig {
    /// A server whose host records.
    pub fn start(config: Config) -> Self {
        Self::new(config, false, LANE)
    }

    /// A server whose host echoes each message.
    pub fn echoing(config: Config) -> Self {
        Self::new(config, true, LANE)
    }

    /// A server whose host assigns `lane`.
    pub fn on_lane(config: Config, lane: Lane) -> Self {
        Self::new(config, false, lane)
    }

    fn new(config: Config, echo: bool, lane: Lane) -> Self {
        let (sender, events) = unbounded_channel();
        let (ask, asked) = unbounded_channel();
        let host = Arc::new(Recorder {
            events: sender,
            asked: ask,
            lane: Mutex::new(lane),
            gone: Mutex::default(),
            capacity: Mutex::default(),
            keeps_close: AtomicBool::new(false),
            echo,
            server: Mutex::default(),
            outbox: Mutex::default(),
            discarded: AtomicUsize::new(0),
            stopped: AtomicUsize::new(0),
            errors: Mutex::default(),
        });
        let server = Server::start(config, Handle(Arc::clone(&host))).unwrap();
        Self { server, host, events, asked }
    }

    /// The next event that the host took.
    pub async fn next(&mut self) -> Record {
        soon(self.events.recv()).await.expect("the host is there as long as the test")
    }

    /// The next event, if there is one already.
    pub fn try_next(&mut self) -> Option<Record> {
        self.events.try_recv().ok()
    }

    /// The next handshake that waits for a verdict.
    pub async fn next_asked(&mut self) -> Asked {
        soon(self.asked.recv()).await.expect("the host is there as long as the test")
    }

    /// The next Close of any socket; other events are skipped.
    pub async fn next_close(&mut self) -> CloseInfo {
        loop {
            if let Seen::Close(info) = self.next().await.seen {
                return info;
            }
        }
    }

    /// A client, and its socket's Connect.
    pub async fn connect(&mut self) -> (client::Client, Record) {
        let client = client::connect(&self.server).await;
        let connect = self.next().await;
        assert!(matches!(connect.seen, Seen::Connect { .. }), "{connect:?}");
        (client, connect)
    }

    /// The host takes this many messages more; `None` takes all.
    pub fn capacity(&self, messages: Option<usize>) {
        *self.host.capacity.lock().unwrap() = messages;
    }

    /// The host takes this many messages more, and says so.
    pub fn room(&self, messages: Option<usize>) {
        self.capacity(messages);
        self.server.room(LANE);
    }

    /// Shuts down while clients of this test's runtime go on.
    pub async fn shutdown(&self, timeout: Duration) {
        let server = self.server.clone();
        soon(tokio::task::spawn_blocking(move || server.shutdown(timeout))).await.unwrap();
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.server.shutdown(Duration::ZERO);
    }
}

/// The default settings on a free port.
pub fn config() -> Config {
    Config { port: 0, threads: 2, ..Config::default() }
}
