//! What the tests of faults do to a running server, and nothing else can.

use std::fmt;

use crate::{
    Server,
    mailbox::{Control, Item},
};

/// Something that a shard is made to do in its own loop.
pub(crate) struct Fault(Box<dyn FnOnce() + Send>);

impl Fault {
    pub(crate) fn strike(self) {
        (self.0)();
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fault")
    }
}

/// Runs `fault` in the loop of the shard `index`, between what was asked of the shard before and what is asked of it after: it
/// may panic, or hold the shard up.
pub fn in_shard(server: &Server, index: usize, fault: impl FnOnce() + Send + 'static) {
    server.shared.mailboxes[index].post(Item::Control(Control::Fault(Fault(Box::new(fault)))));
}

/// TCP connections that each shard counts.
#[must_use]
pub fn loads(server: &Server) -> Vec<usize> {
    let loads = server.shared.load.iter();
    loads.map(|load| load.load(std::sync::atomic::Ordering::Relaxed)).collect()
}
