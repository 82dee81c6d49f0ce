//! How many connections each client address has: one alone must not take the places of all.
//!
//! This machine's own addresses are not counted: proxies and load tests come from there. Of IPv6 the first 64 bits count,
//! since one client has all addresses with them (RFC 6177).

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use crate::{server::Shared, sync::lock};

/// Connections that an address may have beside its sockets, to be told that it has too many.
const REFUSALS: usize = 16;

/// What a connection is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entry {
    /// It may become a socket.
    Welcome,
    /// It may be told that its address has too many; it is counted.
    Over,
    /// Not even that; it is not counted.
    Shut,
}

/// How often a host is told that an address has too many, whichever it is: more often would help a flood.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// Connections by client address.
#[derive(Debug)]
pub(crate) struct Addresses {
    limit: usize,
    counts: Mutex<HashMap<IpAddr, usize>>,
    told: Mutex<Option<Instant>>,
}

impl Addresses {
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, counts: Mutex::default(), told: Mutex::default() }
    }

    /// Counts a connection.
    pub(crate) fn enter(&self, address: Option<IpAddr>) -> Entry {
        let Some(key) = address.and_then(key) else { return Entry::Welcome };
        let mut counts = lock(&self.counts);
        let count = counts.entry(key).or_insert(0);
        if *count >= self.limit.saturating_add(REFUSALS) {
            return Entry::Shut;
        }
        *count += 1;
        if *count > self.limit { Entry::Over } else { Entry::Welcome }
    }

    /// Whether the host is to be told now that an address has too many.
    pub(crate) fn tell(&self) -> bool {
        let mut told = lock(&self.told);
        let due = told.is_none_or(|told| told.elapsed() >= TELL_EVERY);
        if due {
            *told = Some(Instant::now());
        }
        due
    }

    /// A connection that was counted is gone.
    pub(crate) fn leave(&self, address: Option<IpAddr>) {
        let Some(key) = address.and_then(key) else { return };
        let mut counts = lock(&self.counts);
        if let Some(count) = counts.get_mut(&key) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                counts.remove(&key);
            }
        }
        // What a crowd of addresses made it grow to is given back once most of them have gone.
        if counts.capacity() > 1024 && counts.len() < counts.capacity() / 8 {
            counts.shrink_to_fit();
        }
    }
}

/// A connection that is counted, until this is dropped.
pub(crate) struct Place {
    shared: Arc<Shared>,
    address: Option<IpAddr>,
}

impl Place {
    /// Counts a connection; `None` if its address has far too many.
    pub(crate) fn enter(shared: &Arc<Shared>, address: Option<IpAddr>) -> Option<(Self, Entry)> {
        let entry = shared.addresses.enter(address);
        (entry != Entry::Shut).then(|| (Self::of(shared, address), entry))
    }

    /// The place of a connection that is counted already.
    pub(crate) fn of(shared: &Arc<Shared>, address: Option<IpAddr>) -> Self {
        Self { shared: Arc::clone(shared), address }
    }

    /// Somebody else has to see that it is given up.
    pub(crate) fn keep(mut self) {
        self.address = None;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shared.addresses.leave(self.address);
    }
}

/// What an address is counted by; `None` if it is not counted.
fn key(address: IpAddr) -> Option<IpAddr> {
    match address.to_canonical() {
        address if address.is_loopback() => None,
        IpAddr::V6(address) => Some(IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64))),
        address => Some(address),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Option<IpAddr> {
        text.parse().ok()
    }

    #[test]
    fn an_address_has_at_most_its_limit_and_another_is_not_touched() {
        let addresses = Addresses::new(2);
        assert_eq!(addresses.enter(at("192.0.2.1")), Entry::Welcome);
        assert_eq!(addresses.enter(at("::ffff:192.0.2.1")), Entry::Welcome, "the same, as IPv6");
        for _ in 0..REFUSALS {
            assert_eq!(addresses.enter(at("192.0.2.1")), Entry::Over);
        }
        assert_eq!(addresses.enter(at("192.0.2.1")), Entry::Shut);
        assert_eq!(addresses.enter(at("192.0.2.2")), Entry::Welcome);
        for _ in 0..=REFUSALS {
            addresses.leave(at("192.0.2.1"));
        }
        assert_eq!(addresses.enter(at("192.0.2.1")), Entry::Welcome);
        for address in ["192.0.2.1", "192.0.2.1", "192.0.2.2"] {
            addresses.leave(at(address));
        }
        assert!(lock(&addresses.counts).is_empty(), "who has gone leaves nothing behind");
    }

    #[test]
    fn a_host_is_told_once_and_again_a_minute_later() {
        let addresses = Addresses::new(1);
        assert!(addresses.tell());
        assert!(!addresses.tell());
        *lock(&addresses.told) = Instant::now().checked_sub(TELL_EVERY);
        assert!(addresses.tell());
        assert!(!addresses.tell());
    }

    #[test]
    fn what_a_crowd_needed_is_given_back_when_most_of_it_has_gone() {
        let addresses = Addresses::new(1);
        let capacity = || lock(&addresses.counts).capacity();
        let of = |n: u32| Some(IpAddr::from((0x0a00_0000 + n).to_be_bytes()));
        for n in 0..5000 {
            addresses.enter(of(n));
        }
        let crowded = capacity();
        (0..1000).for_each(|n| addresses.leave(of(n)));
        // Places that were left count as taken until the table is cleaned up.
        assert!(capacity() > crowded / 2, "most are there still");
        (1000..4990).for_each(|n| addresses.leave(of(n)));
        assert!(capacity() < 1500, "{}", capacity());
        let few = Addresses::new(1);
        for n in 0..100 {
            few.enter(of(n));
        }
        (0..100).for_each(|n| few.leave(of(n)));
        assert!(lock(&few.counts).capacity() > 0, "not worth it");
    }

    #[test]
    fn a_place_is_given_up_when_it_is_dropped_unless_somebody_else_sees_to_that() {
        struct Quiet;
        impl crate::Host for Quiet {
            fn assign(&self) -> crate::Lane {
                crate::Lane::DISCARD
            }
            fn offer(&self, _: crate::Lane, _: &crate::Event<'_>) -> crate::Offer {
                crate::Offer::Taken
            }
        }
        let config = crate::Config { max_connections_per_address: 1, ..Default::default() };
        let registry = crate::registry::Registry::new(1, 100, 1000);
        let page = crate::page::Page::new(None);
        let here = ([127, 0, 0, 1], 0).into();
        let shared = Shared::new(config, here, Box::new(Quiet), page, registry, None);
        let address = at("192.0.2.1");
        let enter = || Place::enter(&shared, address).map(|(place, entry)| (entry, place));
        let (entry, place) = enter().unwrap();
        assert_eq!(entry, Entry::Welcome);
        let over: Vec<_> = (0..REFUSALS).map(|_| enter().unwrap()).collect();
        assert!(over.iter().all(|(entry, _)| *entry == Entry::Over));
        assert!(enter().is_none());
        drop(over);
        place.keep();
        let (entry, _) = enter().unwrap();
        assert_eq!(entry, Entry::Over, "the kept one counts");
        drop(Place::of(&shared, address));
        assert_eq!(enter().unwrap().0, Entry::Welcome);
    }

    #[test]
    fn of_ipv6_the_network_counts() {
        let addresses = Addresses::new(1);
        assert_eq!(addresses.enter(at("2001:db8:0:1::5")), Entry::Welcome);
        assert_eq!(addresses.enter(at("2001:db8:0:1:ffff::6")), Entry::Over);
        assert_eq!(addresses.enter(at("2001:db8:0:2::5")), Entry::Welcome);
    }

    #[test]
    fn this_machine_and_unix_sockets_are_not_counted() {
        let addresses = Addresses::new(1);
        for address in [at("127.0.0.1"), at("127.9.9.9"), at("::1"), at("::ffff:127.0.0.1"), None] {
            assert_eq!(addresses.enter(address), Entry::Welcome);
            assert_eq!(addresses.enter(address), Entry::Welcome);
            addresses.leave(address);
        }
    }
}
