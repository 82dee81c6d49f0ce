//! Models of what threads of the server do without a lock between them: loom runs each in the orders in which its threads may
//! take turns, and with all values that an atomic may give. `npm run test:loom`.
//!
//! The files of the server are compiled as they are, with loom's types in place of the standard library's. Loom takes
//! `SeqCst` for `AcqRel`: what holds here holds with less than the server asks for. It does not know that nothing comes between
//! what a swap reads and what it writes if that is a plain store: where the server takes a flag back, it swaps.

#![allow(dead_code)]

#[path = "../../crates/pocketsocket-node/src/bell.rs"]
mod bell;
#[path = "../../crates/pocketsocket/src/id.rs"]
mod id;
#[path = "../../crates/pocketsocket/src/mailbox/queue.rs"]
mod queue;
#[path = "../../crates/pocketsocket/src/registry.rs"]
mod registry;

mod models;
mod sync;

pub(crate) use id::{SocketId, Uuid};

/// As much of `host` as the files need.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lane(pub(crate) u8);

/// As much of `outbox` as the files need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SendStatus {
    Ok,
    Unknown,
    Dropped,
}

mod limits {
    pub(crate) const MAX_SLOTS: usize = (1 << 22) - 1;
    pub(crate) const MAX_TOPICS: usize = 256;
    /// Each slot of a chunk costs a model time.
    pub(crate) const CHUNK: usize = 1;
}

/// How often threads are stopped in the middle, beside where they wait. Each more makes about ten times as many orders; all
/// mistakes that were made on purpose showed with 3.
const SWITCHES: usize = 4;

/// Runs those models whose name has one of the arguments in it; without arguments all.
fn main() {
    let chosen: Vec<String> = std::env::args().skip(1).collect();
    for (name, model) in models::ALL {
        if !chosen.is_empty() && !chosen.iter().any(|part| name.contains(part.as_str())) {
            continue;
        }
        use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
        static RUNS: AtomicUsize = AtomicUsize::new(0);
        RUNS.store(0, Relaxed);
        let started = std::time::Instant::now();
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(SWITCHES);
        builder.check(move || {
            RUNS.fetch_add(1, Relaxed);
            model();
        });
        println!("{name}: holds in {} orders, {:.1?}", RUNS.load(Relaxed), started.elapsed());
    }
}
