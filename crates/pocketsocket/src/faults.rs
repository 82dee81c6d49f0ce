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

#[cfg(test)]
mod tests {
    use std::{
        panic::{AssertUnwindSafe, catch_unwind},
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        time::Duration,
    };

    use crate::{
        Config, Event, EventKind, Host, Lane, Offer, SocketId,
        client::{About, Client},
        limits::ENTRY_BYTES,
        mailbox::{Batch, Command},
        page::Page,
        registry::{Registry, Reserved},
        server::Shared,
        shard::Shard,
    };

    /// Counts what it takes; panics at a Close if asked to.
    struct Counting {
        closes: Arc<AtomicUsize>,
        panics: bool,
    }

    impl Host for Counting {
        fn assign(&self) -> Lane {
            Lane::host(0)
        }

        fn offer(&self, _lane: Lane, event: &Event<'_>) -> Offer {
            if matches!(event.kind, EventKind::Close(_)) {
                self.closes.fetch_add(1, Ordering::Relaxed);
                assert!(!self.panics, "as the test asked");
            }
            Offer::Taken
        }
    }

    fn shard(slots: usize, panics: bool) -> (Shard, Arc<AtomicUsize>) {
        let closes = Arc::new(AtomicUsize::new(0));
        let host = Box::new(Counting { closes: Arc::clone(&closes), panics });
        let registry = Registry::new(slots, 1000, 1 << 20);
        let address = ([127, 0, 0, 1], 0).into();
        let shared = Shared::new(Config::default(), address, host, Page::new(None), registry, None);
        (Shard::new(shared, 0), closes)
    }

    fn open(shard: &mut Shard) -> SocketId {
        let uuid = shard.shared.registry.open(0).unwrap();
        let now = shard.shared.now();
        shard.insert(Client::new(uuid, Lane::host(0), About::default(), None, now));
        uuid.id
    }

    #[test]
    fn bytes_of_sends_that_a_panic_leaves_undone_are_given_back_once() {
        let (mut shard, _) = shard(4, false);
        let id = open(&mut shard);
        let registry = &shard.shared.registry;
        for _ in 0..4 {
            assert_eq!(registry.reserve(id, 6 + ENTRY_BYTES), Reserved::Ok);
        }
        let send = || Command::Send { id, unused: 8, len: 16 };
        let give = Command::Give { id, frame: vec![0x82, 6, 0, 0, 0, 0, 0, 0].into(), payload: 6 };
        // The bytes of the second are missing, which is what a mistake of ours would look like.
        let batch = Batch { bytes: vec![0; 16], commands: vec![send(), send(), give, send()] };
        assert!(catch_unwind(AssertUnwindSafe(|| shard.execute(batch))).is_err());
        assert_eq!(shard.shared.registry.buffered_total(), 6 + ENTRY_BYTES, "of the first");
        shard.fail_all();
        assert_eq!(shard.shared.registry.buffered_total(), 0);
    }

    #[test]
    fn a_host_that_panics_at_each_close_costs_no_other_socket_its_end() {
        let (mut shard, closes) = shard(4, true);
        for _ in 0..3 {
            open(&mut shard);
        }
        shard.fail_all();
        assert_eq!(closes.load(Ordering::Relaxed), 3, "each was told of once");
        assert_eq!((shard.population, shard.shared.registry.len()), (0, 0));
        assert!(shard.shared.registry.open(0).is_some());
    }

    #[test]
    fn the_last_of_many_sockets_may_be_any_of_them_when_all_are_ended() {
        for fails in [false, true] {
            let (mut shard, closes) = shard(2000, false);
            let ids: Vec<_> = (0..2000).map(|_| open(&mut shard)).collect();
            for id in ids.into_iter().skip(1) {
                shard.fail(id);
            }
            closes.store(0, Ordering::Relaxed);
            if fails {
                shard.fail_all();
            } else {
                shard.shut_down(Duration::ZERO);
                assert!(shard.has_stopped());
            }
            assert_eq!((closes.load(Ordering::Relaxed), shard.population), (1, 0));
        }
    }
}
