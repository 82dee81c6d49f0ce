//! Accepts connections and gives each to the least-loaded shard.
//!
//! A task of the first shard, not a thread: on a machine of few cores, where that is the only shard, a connection then wakes
//! no other thread and is registered once.

use std::{
    cell::RefCell,
    io,
    rc::Rc,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use crate::{
    Error, http,
    mailbox::{Control, Item},
    server::Shared,
    shard::ShardRef,
    stream::{Listener, Polled},
};

/// How long to wait before accepting again when the process or the system is out of files: the clients wait in the
/// kernel's backlog meanwhile.
const BACK_OFF: Duration = Duration::from_millis(100);

/// TCP connections that may be open beside `max_connections`: requests that are answered with a page, or with 503.
const REQUESTS: usize = 64;

/// The listener, until the server stops accepting. The shard keeps it through a start anew.
pub(crate) type Source = Rc<RefCell<Option<Listener>>>;

/// A TCP connection that counts among those of its shard, until this is dropped: wherever that is, a panic included.
#[derive(Debug)]
pub(crate) struct Load {
    shared: Arc<Shared>,
    shard: usize,
    counted: bool,
}

impl Load {
    fn count(shared: &Arc<Shared>, shard: usize) -> Self {
        shared.load[shard].fetch_add(1, Ordering::Relaxed);
        Self { shared: Arc::clone(shared), shard, counted: true }
    }

    /// Somebody else has to see that it is counted out.
    pub(crate) fn keep(mut self) {
        self.counted = false;
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        if self.counted {
            self.shared.load[self.shard].fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Accepts until the server stops.
pub(crate) async fn run(source: Source, shard: ShardRef) {
    let shared = Arc::clone(&shard.borrow().shared);
    let polled = match source.borrow().as_ref().map(Listener::register) {
        Some(Ok(polled)) => polled,
        Some(Err(error)) => return shared.host.error(&Error::Thread { source: error }),
        None => return,
    };
    tokio::select! {
        () = shared.stop.notified() => {}
        () = accept(&polled, &shared, &shard) => {}
    }
    source.take();
    log::debug!("stopped accepting on {}", shared.address);
}

async fn accept(listener: &Polled, shared: &Arc<Shared>, own: &ShardRef) {
    let index = usize::from(own.borrow().index);
    // A host is told once of each trouble, not ten times a second.
    let mut in_trouble = false;
    loop {
        let (stream, address) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) if is_of_one_connection(&error) => continue,
            Err(source) => {
                log::warn!("cannot accept: {source}");
                if !std::mem::replace(&mut in_trouble, true) {
                    shared.host.error(&Error::Accept { source });
                }
                tokio::time::sleep(BACK_OFF).await;
                continue;
            }
        };
        in_trouble = false;
        // Requests that are under way take files too, beside the sockets that the registry counts.
        let load: usize = shared.load.iter().map(|load| load.load(Ordering::Relaxed)).sum();
        if load >= shared.config.max_connections.saturating_add(REQUESTS) {
            shared.caller_counters().refused.add(1);
            log::debug!("{address} was turned away: {load} connections are open");
            continue;
        }
        let least = (0..shared.load.len()).min_by_key(|&i| shared.load[i].load(Ordering::Relaxed));
        let shard = least.unwrap_or(index);
        if shard == index {
            let load = Load::count(shared, shard);
            shared.caller_counters().accepted.add(1);
            tokio::task::spawn_local(http::serve(Rc::clone(own), stream, address, load));
            continue;
        }
        match stream.release() {
            Ok(stream) => {
                let load = Load::count(shared, shard);
                shared.caller_counters().accepted.add(1);
                let accept = Control::Accept(stream, address, load);
                shared.mailboxes[shard].post(Item::Control(accept));
            }
            Err(error) => log::debug!("{address} was gone before it was served: {error}"),
        }
    }
}

/// Whether an accept failed for the connection's sake: the next may succeed at once.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}
