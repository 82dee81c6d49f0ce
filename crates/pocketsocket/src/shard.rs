//! One I/O thread: its runtime, its sockets, and its mailbox.
//!
//! All of it runs on one thread, so the state is one `RefCell`: a task borrows it for the length of a poll and never
//! across a wait. Nothing here blocks, and nothing here calls JavaScript.

use std::{
    cell::RefCell,
    collections::VecDeque,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    sync::{
        Arc,
        atomic::Ordering,
        mpsc::{SyncSender, TrySendError},
    },
    time::{Duration, Instant},
};

use tokio::{
    runtime::{self, LocalOptions},
    sync::Notify,
    time::{MissedTickBehavior, interval, sleep_until},
};

use crate::{
    CloseInfo, Error, Lane, Outbox, SocketId, acceptor,
    client::Client,
    http,
    limits::TURN_BYTES,
    mailbox::{Control, Item},
    outgoing::Pool,
    sending::write_dirty,
    server::Shared,
    stream::Listener,
    timers::tick,
    topics::Topics,
};

/// A shard as its tasks hold it.
pub(crate) type ShardRef = Rc<RefCell<Shard>>;

/// The state of one I/O thread.
pub(crate) struct Shard {
    pub(crate) index: u8,
    pub(crate) shared: Arc<Shared>,
    /// By slot.
    pub(crate) clients: Vec<Option<Box<Client>>>,
    /// Sockets with events that wait, by lane: each in turn gives one event to its lane.
    pub(crate) rounds: Vec<VecDeque<u32>>,
    /// Sockets that ended while no host had come, oldest first.
    pub(crate) orphans: VecDeque<SocketId>,
    pub(crate) topics: Topics,
    /// For `broadcast`: the relay is a producer like any other.
    pub(crate) relay: Outbox,
    /// Lanes that were offered events and not flushed, a bit each.
    pub(crate) offered: u64,
    /// Has [`flush_host`] run.
    pub(crate) burst_ended: Rc<Notify>,
    /// What its sockets read into, one at a time: none of them keeps a buffer of its own.
    pub(crate) read_buffer: Box<[u8]>,
    /// For sockets that get something to send.
    pub(crate) pool: Pool,
    /// Sockets for which something was queued since the last turn of the mailbox.
    pub(crate) dirty: Vec<SocketId>,
    /// Entries in `clients`, ended ones included.
    pub(crate) population: usize,
    stopping: Option<Instant>,
}

/// Runs shard `index` until the server stops. A panic closes its sockets with 1011; the shard starts anew. One of the
/// shards accepts: that has the listener.
///
/// `ready` is told once whether the shard could start; after that it serves.
pub(crate) fn run(
    shared: &Arc<Shared>,
    index: u8,
    listener: Option<Listener>,
    ready: &SyncSender<io::Result<()>>,
) {
    let source = Rc::new(RefCell::new(listener));
    let mut stopping = None;
    // What a panic interrupted: a shutdown or a lane's end that was asked for still comes.
    let mut left = Vec::new();
    loop {
        let shard = Rc::new(RefCell::new(Shard::new(Arc::clone(shared), index)));
        shard.borrow_mut().stopping = stopping;
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            let runtime = runtime::Builder::new_current_thread()
                .enable_io()
                .enable_time()
                .build_local(LocalOptions::default());
            let (runtime, outcome) = match runtime {
                Ok(runtime) => (Some(runtime), Ok(())),
                Err(source) => (None, Err(source)),
            };
            // Of the starts after a panic nobody asks any more: the host is told of one that fails.
            if let Err(TrySendError::Disconnected(Err(source)) | TrySendError::Full(Err(source))) =
                ready.try_send(outcome)
            {
                log::error!("pocketsocket-io-{index} cannot start anew: {source}");
                shared.host.error(&Error::Thread { source });
            }
            if let Some(runtime) = runtime {
                runtime.block_on(main(&shard, &source, &mut left));
            }
        }));
        let Err(panic) = outcome else {
            shared.mailboxes[usize::from(index)].close();
            return;
        };
        stopping = shard.borrow().stopping;
        let message = panic
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| panic.downcast_ref::<String>().cloned())
            .unwrap_or_default();
        let thread = format!("pocketsocket-io-{index}");
        log::error!("{thread} panicked: {message}");
        let error = Error::Panicked { thread, message };
        // It may be the host that panics.
        let _ = catch_unwind(AssertUnwindSafe(|| shared.host.error(&error)));
        // Those that were told of by the end of their tasks are gone already.
        shard.borrow_mut().fail_all();
        shard.borrow_mut().flush_host();
    }
}

/// The shard's own loop: the mailbox and the timers.
async fn main(shard: &ShardRef, source: &acceptor::Source, left: &mut Vec<Item>) {
    let shared = Arc::clone(&shard.borrow().shared);
    let mailbox = &shared.mailboxes[usize::from(shard.borrow().index)];
    let mut timer = interval(tick(&shared.config));
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut items = std::mem::take(left);
    tokio::task::spawn_local(flush_host(Rc::clone(shard)));
    tokio::task::spawn_local(acceptor::run(Rc::clone(source), Rc::clone(shard)));
    do_all(shard, &mut items, left);
    loop {
        if shard.borrow_mut().has_stopped() {
            shard.borrow_mut().flush_host();
            return;
        }
        // An empty shard has nothing to time: the process sleeps.
        let idle = shard.borrow().is_idle();
        if idle {
            shard.borrow_mut().give_back_spares();
        }
        let stop_at = shard.borrow().stopping;
        tokio::select! {
            () = mailbox.woken() => {
                let room = mailbox.drain(&mut items);
                do_all(shard, &mut items, left);
                shard.borrow_mut().give_turns(room);
                write_dirty(shard).await;
            }
            _ = timer.tick(), if !idle => shard.borrow_mut().check_timers(),
            () = sleep_until(stop_at.unwrap_or_else(Instant::now).into()), if stop_at.is_some() => {}
        }
        // One burst of a producer must not keep its items' memory.
        if items.capacity() > 1024 {
            items = Vec::new();
        }
    }
}

/// Does what was asked for. If one item's panic ends it, the others are in `left`.
fn do_all(shard: &ShardRef, items: &mut Vec<Item>, left: &mut Vec<Item>) {
    struct Turn<'a>(std::vec::Drain<'a, Item>, &'a mut Vec<Item>);
    impl Drop for Turn<'_> {
        fn drop(&mut self) {
            self.1.extend(self.0.by_ref());
        }
    }
    let mut turn = Turn(items.drain(..), left);
    for item in turn.0.by_ref() {
        match item {
            Item::Batch(batch) => shard.borrow_mut().execute(batch),
            Item::Control(control) => obey(shard, control),
        }
    }
}

/// Tells the host of the end of each burst. A task of its own, since the runtime takes tasks in turn: it runs once those
/// that were ready before it have.
async fn flush_host(shard: ShardRef) {
    let burst_ended = Rc::clone(&shard.borrow().burst_ended);
    loop {
        burst_ended.notified().await;
        shard.borrow_mut().flush_host();
    }
}

fn obey(shard: &ShardRef, control: Control) {
    match control {
        Control::Accept(stream, address, load) => {
            // Registers with this thread's runtime; a socket that cannot be is closed by the drop.
            match stream.register() {
                Ok(stream) => {
                    tokio::task::spawn_local(http::serve(Rc::clone(shard), stream, address, load));
                }
                Err(error) => log::warn!("{address} cannot be served: {error}"),
            }
        }
        Control::Rehome { from, returned } => shard.borrow_mut().rehome(from, returned),
        Control::Shutdown { timeout } => shard.borrow_mut().shut_down(timeout),
        #[cfg(feature = "faults")]
        Control::Fault(fault) => fault.strike(),
    }
}

impl Shard {
    pub(crate) fn new(shared: Arc<Shared>, index: u8) -> Self {
        Self {
            index,
            relay: Outbox::new(Arc::clone(&shared)),
            shared,
            clients: Vec::new(),
            rounds: (0..Lane::MAX + 2).map(|_| VecDeque::new()).collect(),
            orphans: VecDeque::new(),
            topics: Topics::default(),
            offered: 0,
            burst_ended: Rc::default(),
            read_buffer: vec![0; TURN_BYTES].into(),
            pool: Pool::default(),
            dirty: Vec::new(),
            population: 0,
            stopping: None,
        }
    }

    /// The socket's place, if it is still this socket's.
    pub(crate) fn client(&mut self, id: SocketId) -> Option<&mut Client> {
        self.clients.get_mut(id.slot as usize)?.as_deref_mut().filter(|client| client.uuid.id == id)
    }

    /// Puts a client into its place.
    pub(crate) fn insert(&mut self, client: Client) {
        let slot = client.uuid.id.slot as usize;
        if self.clients.len() <= slot {
            self.clients.resize_with(slot + 1, || None);
        }
        self.clients[slot] = Some(Box::new(client));
        self.population += 1;
        if self.population == 1 {
            // The loop sleeps without timers while there is nobody.
            self.wake_loop();
        }
    }

    /// A TCP connection of this shard is gone.
    pub(crate) fn connection_ended(&self) {
        self.shared.load[usize::from(self.index)].fetch_sub(1, Ordering::Relaxed);
    }

    /// Has the shard's loop look at whether there is something to time, and whether a shutdown is complete.
    pub(crate) fn wake_loop(&self) {
        self.shared.mailboxes[usize::from(self.index)].wake();
    }

    fn flush_host(&mut self) {
        let mut offered = std::mem::take(&mut self.offered);
        while offered != 0 {
            let lane = offered.trailing_zeros() as u8;
            offered &= offered - 1;
            self.shared.host.flush(Lane(lane));
        }
    }

    fn is_idle(&self) -> bool {
        self.population == 0 && self.stopping.is_none()
    }

    /// Closes every socket with 1001 and lets the loop end when all have.
    pub(crate) fn shut_down(&mut self, timeout: Duration) {
        let deadline = Instant::now() + timeout;
        if self.stopping.is_some_and(|earlier| earlier <= deadline) {
            return;
        }
        self.stopping = Some(deadline);
        let deadline = deadline.min(Instant::now() + self.shared.config.close_timeout);
        for client in self.clients.iter_mut().flatten().filter(|client| !client.ended) {
            self.shared.registry.close(client.uuid.id);
            client.close(1001, "server shutdown", deadline);
        }
    }

    /// Whether a shutdown is complete, or out of time: then what is left is cut.
    pub(crate) fn has_stopped(&mut self) -> bool {
        match self.stopping {
            None => false,
            Some(_) if self.population == 0 => true,
            // Sockets that ended while no host had come: nobody is there for their Close.
            Some(deadline)
                if self.population == self.orphans.len() || Instant::now() >= deadline =>
            {
                self.end_all(1006, "");
                true
            }
            Some(_) => false,
        }
    }

    /// Whether new sockets are turned away.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.is_some()
    }

    /// Ends what is left and gives up what no host took.
    fn end_all(&mut self, code: u16, reason: &str) {
        for slot in 0..self.clients.len() {
            // The last one that goes may take the places of all with it.
            let Some(client) = self.clients.get(slot).and_then(Option::as_deref) else { continue };
            let id = client.uuid.id;
            if !client.ended {
                let info = match client.closing.as_deref() {
                    Some((ours, _)) => ours.clone(),
                    None => CloseInfo { code, reason: reason.to_owned(), was_clean: false },
                };
                self.end(id, info);
            }
            self.cut_short(id);
        }
    }

    /// The same after a panic of the shard, with 1011. The host may be what panics: that ends no thread.
    pub(crate) fn fail_all(&mut self) {
        for slot in 0..self.clients.len() {
            let Some(client) = self.clients.get(slot).and_then(Option::as_deref) else { continue };
            let id = client.uuid.id;
            let told = catch_unwind(AssertUnwindSafe(|| {
                self.fail(id);
                self.cut_short(id);
            }));
            if told.is_err() {
                log::error!("the host panicked at a Close");
                self.discard(id);
            }
        }
    }
}
