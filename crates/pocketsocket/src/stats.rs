//! What the server counts. Each thread has counters of its own, so that counting costs no shared cache line.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// Figures of a server, read at one moment without stopping it. All count from its start unless said.
        #[derive(Debug, Clone, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Stats {
            /// Sockets that are open now.
            pub connections: u64,
            /// Bytes that wait to be sent, now.
            pub buffered_bytes: u64,
            /// Bytes that wait for the host, now, in the queues of sockets.
            pub waiting_bytes: u64,
            /// I/O threads.
            pub threads: u64,
            /// Milliseconds since the start.
            pub uptime: u64,
            $($(#[$doc])* pub $name: u64,)*
        }

        /// The counters of one thread.
        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $(pub(crate) $name: Counter,)*
        }

        impl Counters {
            /// So many sockets are closed with 1013.
            pub(crate) fn too_slow(&self, sockets: usize) {
                self.faults.add(sockets);
                self.slow_closed.add(sockets);
            }

            /// Adds what this thread counted.
            pub(crate) fn add_to(&self, stats: &mut Stats) {
                $(stats.$name += self.$name.0.load(Relaxed);)*
            }
        }

        impl Stats {
            /// Every figure by name, camelCase names left to the caller, in order of declaration.
            pub fn fields(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [
                    ("connections", self.connections),
                    ("buffered_bytes", self.buffered_bytes),
                    ("waiting_bytes", self.waiting_bytes),
                    ("threads", self.threads),
                    ("uptime", self.uptime),
                    $((stringify!($name), self.$name),)*
                ].into_iter()
            }
        }
    };
}

counters! {
    /// TCP connections accepted.
    accepted,
    /// Sockets opened: handshakes that succeeded.
    opened,
    /// Sockets that have ended.
    closed,
    /// Pages and other HTTP answers served.
    pages,
    /// Requests refused with a 4xx or 5xx.
    refused,
    /// Messages received.
    messages_in,
    /// Bytes received in messages.
    bytes_in,
    /// Messages sent, each receiver counted.
    messages_out,
    /// Bytes sent in messages.
    bytes_out,
    /// Messages dropped because their socket's, or the process's, send limit was reached.
    dropped,
    /// Events that no host was there for.
    discarded,
    /// Sockets closed for a fault of their own: protocol, size, timeout, too slow.
    faults,
    /// Of these, sockets closed with 1013: they read nothing for too long, or too little for [`DropPolicy::Close`](crate::DropPolicy).
    slow_closed,
}

/// One figure, written by one thread and read by any.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, n: usize) {
        self.0.fetch_add(n as u64, Relaxed);
    }
}

/// Whether a figure is of now, and may fall.
pub(crate) fn is_gauge(name: &str) -> bool {
    matches!(name, "connections" | "buffered_bytes" | "waiting_bytes" | "threads" | "uptime")
}
