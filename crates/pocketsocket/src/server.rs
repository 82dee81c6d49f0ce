//! A running server: starts the threads, is asked and told from any thread, and ends them.

use std::{
    fmt,
    net::SocketAddr,
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
        mpsc::sync_channel,
    },
    thread,
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use crate::{
    BrokerStats, Config, Error, Host, Lane, Outbox, Pending, SocketId, Stats, Uuid,
    addresses::Addresses,
    broker::{self, Broker},
    handshake::Guard,
    mailbox::{Control, Item, Mailbox},
    page::Page,
    print::Printing,
    registry::Registry,
    shard,
    spares::Spares,
    stats::Counters,
    stream::Listener,
    sync::lock,
    timers::Moment,
};

/// A server. Clones are handles to the same one; it runs until [`Server::shutdown`], whoever holds handles.
///
/// See the [crate's example](crate).
#[derive(Clone, Debug)]
pub struct Server {
    pub(crate) shared: Arc<Shared>,
}

/// What the threads of a server share.
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) address: SocketAddr,
    pub(crate) host: Box<dyn Host>,
    pub(crate) registry: Registry,
    /// The way to other nodes.
    pub(crate) broker: Option<Arc<Broker>>,
    pub(crate) mailboxes: Box<[Mailbox]>,
    pub(crate) spares: Spares,
    /// One for each shard, then one for all other threads.
    counters: Box<[Counters]>,
    /// TCP connections of each shard, sockets and requests alike: the acceptor picks the least.
    pub(crate) load: Box<[AtomicUsize]>,
    /// Bytes in the queues of all sockets that wait for the host.
    pub(crate) inbound: AtomicUsize,
    /// Bytes of requests that wait to be authorized.
    pub(crate) asked: AtomicUsize,
    pub(crate) addresses: Addresses,
    pub(crate) page: Page,
    pub(crate) guard: Guard,
    /// Tells the acceptor to stop.
    pub(crate) stop: Notify,
    started: Instant,
    /// Threads that run. The last to end tells the host, and then the waiters.
    running: AtomicUsize,
    ended: Mutex<bool>,
    waiters: Condvar,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Shared {
    pub(crate) fn counters(&self, shard: u8) -> &Counters {
        &self.counters[usize::from(shard)]
    }

    /// For threads that are no shard.
    pub(crate) fn caller_counters(&self) -> &Counters {
        &self.counters[self.mailboxes.len()]
    }

    /// The time, as sockets keep it.
    pub(crate) fn now(&self) -> Moment {
        Moment::after(self.started)
    }

    pub(crate) fn stats(&self) -> Stats {
        let mut stats = Stats {
            connections: self.registry.len() as u64,
            buffered_bytes: self.registry.buffered_total() as u64,
            waiting_bytes: self.inbound.load(Ordering::Relaxed) as u64,
            threads: self.mailboxes.len() as u64,
            uptime: self.started.elapsed().as_millis() as u64,
            ..Stats::default()
        };
        for counters in &self.counters {
            counters.add_to(&mut stats);
        }
        stats
    }

    pub(crate) fn new(
        config: Config,
        address: SocketAddr,
        host: Box<dyn Host>,
        page: Page,
        registry: Registry,
        broker: Option<Arc<Broker>>,
    ) -> Arc<Self> {
        let threads = config.threads;
        Arc::new(Shared {
            address,
            host,
            registry,
            broker,
            mailboxes: (0..threads).map(|_| Mailbox::default()).collect(),
            spares: Spares::default(),
            counters: (0..=threads).map(|_| Counters::default()).collect(),
            load: (0..threads).map(|_| AtomicUsize::new(0)).collect(),
            inbound: AtomicUsize::new(0),
            asked: AtomicUsize::new(0),
            addresses: Addresses::new(config.max_connections_per_address),
            page,
            guard: Guard::new(address, &config.allowed_origins),
            stop: Notify::new(),
            started: Instant::now(),
            running: AtomicUsize::new(0),
            ended: Mutex::new(false),
            waiters: Condvar::new(),
            config,
        })
    }

    /// Runs `body` on a thread of its own; the last thread to end ends the server.
    fn spawn(
        self: &Arc<Self>,
        name: String,
        body: impl FnOnce(&Arc<Self>) + Send + 'static,
    ) -> Result<(), Error> {
        let running = Running::new(self);
        thread::Builder::new()
            .name(name)
            .spawn(move || body(&running.shared))
            .map(drop)
            .map_err(|source| Error::Thread { source })
    }
}

/// A thread that runs: counted as ended even if its body panics.
pub(crate) struct Running {
    pub(crate) shared: Arc<Shared>,
}

impl Running {
    pub(crate) fn new(shared: &Arc<Shared>) -> Self {
        shared.running.fetch_add(1, Ordering::AcqRel);
        Self { shared: Arc::clone(shared) }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let shared = &self.shared;
        match (shared.running.fetch_sub(1, Ordering::AcqRel), &shared.broker) {
            (1, _) => {
                shared.host.stopped();
                *lock(&shared.ended) = true;
                shared.waiters.notify_all();
            }
            // Only the broker's own thread is left.
            (2, Some(broker)) => broker.end(),
            _ => {}
        }
    }
}

impl Server {
    /// Binds, starts the threads and returns: from here on clients are served.
    ///
    /// # Errors
    /// Any [`Error`] of [`Config::validate`] and [`Config::bind`], [`Error::Template`], [`Error::Thread`],
    /// [`Error::BrokerUnreachable`].
    pub fn start(config: Config, host: impl Host) -> Result<Self, Error> {
        config.validate()?;
        let page = Page::new(config.read_template()?);
        let listener = Listener::bind(&config)?;
        let address = listener.local_addr().map_err(|source| Error::Bind {
            address: ([0, 0, 0, 0], config.port).into(),
            source,
        })?;
        let host: Box<dyn Host> =
            if config.print { Box::new(Printing::new(host)?) } else { Box::new(host) };
        let threads = config.threads;
        let registry = Registry::new(
            config.max_connections,
            config.backpressure_limit,
            config.backpressure_total,
        );
        // Before anything else runs: without its broker this server would serve half of what it should.
        let starting = broker::start(&config, registry.node())?;
        let broker = starting.as_ref().map(|starting| Arc::clone(&starting.broker));
        let shared = Shared::new(config, address, host, page, registry, broker);
        let server = Self { shared: Arc::clone(&shared) };
        shared.host.started(&server);
        if let Some(starting) = starting {
            starting.go(&shared);
        }
        // What started before something failed ends again.
        server.spawn_threads(listener).inspect_err(|_| server.begin_shutdown(Duration::ZERO))?;
        let place = server.url();
        log::info!(
            "listening on {} with {threads} I/O threads",
            place.trim_start_matches("http://")
        );
        Ok(server)
    }

    fn spawn_threads(&self, listener: Listener) -> Result<(), Error> {
        let shared = &self.shared;
        let thread = |source| Error::Thread { source };
        let mut listener = Some(listener);
        let threads = shared.mailboxes.len();
        let (ready, started) = sync_channel(threads);
        for index in 0..threads as u8 {
            let (ready, listener) = (ready.clone(), listener.take());
            shared.spawn(format!("pocketsocket-io-{index}"), move |shared| {
                shard::run(shared, index, listener, &ready);
            })?;
        }
        // A thread that ends without a word has panicked, which it tells by itself.
        for outcome in started.iter().take(threads) {
            outcome.map_err(thread)?;
        }
        Ok(())
    }

    /// Where the server listens, with the port that was picked for port 0; `0.0.0.0:0` for a server on a Unix socket,
    /// whose path is in its settings.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.shared.address
    }

    /// Where a client finds it: `http://127.0.0.1:8090`, or `unix:/run/chat.sock`.
    #[must_use]
    pub fn url(&self) -> String {
        match &self.shared.config.unix {
            // A socket address writes IPv6 in the brackets that URLs need.
            None => format!("http://{}", self.shared.address),
            Some(path) => format!("unix:{}", path.display()),
        }
    }

    /// The settings that the server runs with.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.shared.config
    }

    /// A queue of commands for the calling thread.
    #[must_use]
    pub fn outbox(&self) -> Outbox {
        Outbox::new(Arc::clone(&self.shared))
    }

    /// Which socket a uuid names; `None` if it is not an open one of this server.
    #[must_use]
    pub fn resolve(&self, uuid: Uuid) -> Option<SocketId> {
        self.shared.registry.resolve(uuid)
    }

    /// The uuid of a socket whose Close was not delivered yet.
    #[must_use]
    pub fn uuid(&self, id: SocketId) -> Option<Uuid> {
        self.shared.registry.uuid(id)
    }

    /// The uuids of all open sockets.
    #[must_use]
    pub fn clients(&self) -> Vec<Uuid> {
        self.shared.registry.uuids()
    }

    /// What a socket subscribed to, sorted; empty for a closed one.
    #[must_use]
    pub fn topics(&self, id: SocketId) -> Vec<Arc<str>> {
        self.shared.registry.topics(id)
    }

    /// Bytes that wait to be sent to a socket, with 16 a message for its keep; 0 for a closed one.
    #[must_use]
    pub fn buffered_amount(&self, id: SocketId) -> usize {
        self.shared.registry.buffered(id)
    }

    /// Figures of the connection to the broker; `None` without one.
    #[must_use]
    pub fn broker_stats(&self) -> Option<BrokerStats> {
        self.shared.broker.as_ref().map(|broker| broker.stats())
    }

    /// The server's figures.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.shared.stats()
    }

    /// For hosts: a lane that answered [`Offer::Full`](crate::Offer::Full) takes events again.
    pub fn room(&self, lane: Lane) {
        for mailbox in &self.shared.mailboxes {
            mailbox.room(lane);
        }
    }

    /// For hosts: the sockets of `from` need another lane, which [`Host::assign`] gives. `returned` are events that the
    /// lane had taken and not begun, by socket and in order.
    pub fn rehome(&self, from: Lane, returned: Vec<(Uuid, Vec<Pending>)>) {
        let mut by_shard: Vec<Vec<_>> = self.shared.mailboxes.iter().map(|_| Vec::new()).collect();
        for (uuid, events) in returned {
            let shard = usize::from(self.shared.registry.shard_of(uuid.id.slot));
            by_shard[shard].push((uuid, events));
        }
        for (mailbox, returned) in self.shared.mailboxes.iter().zip(by_shard) {
            mailbox.post(Item::Control(Control::Rehome { from, returned }));
        }
    }

    /// For hosts: the Close of a socket was delivered.
    pub fn release(&self, id: SocketId) {
        self.shared.registry.release(id);
    }

    /// Stops accepting, sends every socket a Close with 1001, and cuts those that are left after `timeout`. Returns at
    /// once; the host's [`Host::stopped`] tells of the end.
    pub fn begin_shutdown(&self, timeout: Duration) {
        self.shared.stop.notify_one();
        for mailbox in &self.shared.mailboxes {
            mailbox.post(Item::Control(Control::Shutdown { timeout }));
        }
    }

    /// [`Server::begin_shutdown`], and waits for the end. Not to be called on the server's own threads.
    pub fn shutdown(&self, timeout: Duration) {
        self.begin_shutdown(timeout);
        self.wait();
    }

    /// Waits until the server has stopped.
    pub fn wait(&self) {
        let mut ended = lock(&self.shared.ended);
        while !*ended {
            ended = self.shared.waiters.wait(ended).unwrap_or_else(PoisonError::into_inner);
        }
    }
}
