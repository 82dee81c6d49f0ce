//! A server that the program started: where it is, how it is stopped, and what it tells meanwhile.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use pocketsocket::{Error, Event, Host, Lane, Offer, Server};

use crate::{console::Console, exit};

/// How long clients have to answer the Close.
const DRAIN: Duration = Duration::from_secs(5);
/// How long the end of the process waits for whoever reads our last lines.
const LAST_LINES: Duration = Duration::from_secs(1);

/// A server that [`start`](crate::start) started. Clones are handles to the same one, for whichever thread waits and
/// whichever catches signals.
///
/// See the example of [`start`](crate::start).
#[derive(Debug, Clone)]
pub struct Running {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    server: Server,
    console: Arc<Console>,
    /// Somebody asked for the end.
    asked: AtomicBool,
    /// Set by the first of those who wait.
    code: OnceLock<u8>,
}

impl Running {
    pub(crate) fn new(server: Server, console: Arc<Console>) -> Self {
        let (asked, code) = (AtomicBool::new(false), OnceLock::new());
        Self { shared: Arc::new(Shared { server, console, asked, code }) }
    }

    /// Where the page is, with the port that was picked for port 0: `http://127.0.0.1:8090`; `unix:` and the path of a Unix socket.
    #[must_use]
    pub fn url(&self) -> String {
        self.shared.server.url()
    }

    /// Starts to stop, and tells so: no socket is accepted any more, and those that are open get a Close with 1001.
    ///
    /// Returns at once, so it can be called where signals are caught; [`Running::wait`] tells of the end. Further calls
    /// do nothing.
    pub fn begin_stop(&self) {
        let Shared { server, console, asked, .. } = &*self.shared;
        if asked.swap(true, Ordering::AcqRel) {
            return;
        }
        let sockets = server.stats().connections;
        console.out(format!("Draining {sockets} socket{}", if sockets == 1 { "" } else { "s" }));
        server.begin_shutdown(DRAIN);
    }

    /// Waits until the server has stopped, tells so, and returns the process's exit code. Any number of threads may
    /// wait.
    ///
    /// The code is 0 after [`Running::begin_stop`], and 1 for a server that ended by itself: whatever supervises the
    /// process may want to start it again.
    #[must_use = "the process should end with this exit code"]
    pub fn wait(&self) -> u8 {
        let Shared { server, console, asked, code } = &*self.shared;
        server.wait();
        *code.get_or_init(|| {
            // From here on there is nothing to stop, so a late `begin_stop` tells nothing.
            let asked = asked.swap(true, Ordering::AcqRel);
            console.out("Stopped".to_owned());
            console.flush(LAST_LINES);
            if asked { exit::SUCCESS } else { exit::FAILURE }
        })
    }

    /// The server itself, for its figures.
    #[must_use]
    pub fn server(&self) -> &Server {
        &self.shared.server
    }
}

/// The program's host. It takes every event: what is done with them, relaying and printing, is the server's own work.
pub(crate) struct Terminal {
    console: Arc<Console>,
}

impl Terminal {
    pub(crate) fn new(console: Arc<Console>) -> Self {
        Self { console }
    }
}

impl Host for Terminal {
    fn assign(&self) -> Lane {
        Lane::host(0)
    }

    fn offer(&self, _lane: Lane, _event: &Event<'_>) -> Offer {
        Offer::Taken
    }

    fn error(&self, error: &Error) {
        self.console.err(error);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_thread_can_wait_while_another_stops() {
        fn shared_between_threads<T: Send + Sync + Clone + 'static>() {}
        shared_between_threads::<Running>();
    }
}
