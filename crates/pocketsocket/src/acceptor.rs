//! One thread accepts TCP connections and hands each to the least-loaded shard.

use std::{
    io,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::runtime;

use crate::{
    Error,
    mailbox::{Control, Item},
    server::Shared,
    stream::{Listener, Polled},
};

/// How long to wait before accepting again when the process or the system is out of files: the clients wait in the
/// kernel's backlog meanwhile.
const BACK_OFF: Duration = Duration::from_millis(100);

/// TCP connections that may be open beside `max_connections`: requests that are answered with a page, or with 503.
const REQUESTS: usize = 64;

/// A bound listener with the runtime that polls it.
pub(crate) struct Acceptor {
    listener: Listener,
    runtime: runtime::Runtime,
}

impl Acceptor {
    pub(crate) fn new(listener: Listener) -> io::Result<Self> {
        let runtime = runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
        Ok(Self { listener, runtime })
    }

    /// Accepts until the server stops.
    pub(crate) fn run(self, shared: &Arc<Shared>) {
        let Self { listener, runtime } = self;
        runtime.block_on(async {
            let accepting = async {
                match listener.register() {
                    // The file of a Unix socket goes before its listener: who finds it can connect.
                    Ok((listener, _file)) => accept(&listener, shared).await,
                    Err(source) => shared.host.error(&Error::Thread { source }),
                }
            };
            tokio::select! {
                () = shared.stop.notified() => {}
                () = accepting => {}
            }
        });
        log::debug!("stopped accepting on {}", shared.address);
    }
}

async fn accept(listener: &Polled, shared: &Shared) {
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
        let shard = least.unwrap_or(0);
        shared.load[shard].fetch_add(1, Ordering::Relaxed);
        shared.caller_counters().accepted.add(1);
        shared.mailboxes[shard].post(Item::Control(Control::Accept(stream, address)));
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
