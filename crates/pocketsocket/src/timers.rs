//! Pings, idle and close timeouts: one coarse look at all sockets of a shard instead of a timer for each.

use std::time::{Duration, Instant};

use crate::{Config, Pending, limits::TOO_SLOW, shard::Shard};

/// How often the timers look: a quarter of the shortest timeout, within reason.
pub(crate) fn tick(config: &Config) -> Duration {
    [config.idle_timeout, config.ping_interval, config.close_timeout]
        .into_iter()
        .filter(|timeout| !timeout.is_zero())
        .min()
        .map_or(Duration::from_secs(1), |shortest| shortest / 4)
        .clamp(Duration::from_millis(10), Duration::from_secs(1))
}

/// A time as the timers see it: in ms since the server's start, a quarter of an Instant's size. It wraps after 49 days, which no
/// timeout comes near.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moment(u32);

impl Moment {
    pub(crate) fn after(start: Instant) -> Self {
        Self(start.elapsed().as_millis() as u32)
    }

    /// How long ago `earlier` was.
    fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::from(self.0.wrapping_sub(earlier.0)))
    }
}

impl Shard {
    /// What a burst used, and nobody has needed since, is not kept while nothing happens.
    pub(crate) fn give_back_spares(&mut self) {
        self.shared.spares.clear();
        self.pool.clear();
    }

    /// One look at every socket. At 20,000 sockets and one look a second this is far cheaper than a timer for each.
    pub(crate) fn check_timers(&mut self) {
        self.give_back_spares();
        let (now, clock) = (self.shared.now(), Instant::now());
        let config = &self.shared.config;
        let due = |since: Moment, after: Duration| !after.is_zero() && now.since(since) >= after;
        for client in self.clients.iter_mut().flatten().filter(|client| !client.ended) {
            if !client.blocked || client.paused || client.moved {
                client.moved = false;
                client.last_moved = now;
            }
            if client.paused {
                // It is we who do not read: its silence says nothing, and it may wait for us with its reading.
                client.last_read = now;
            } else if due(client.last_read, config.idle_timeout) {
                if client.closing.is_none() {
                    log::debug!("{} sent nothing for {:?}", client.uuid, config.idle_timeout);
                    self.shared.counters(self.index).faults.add(1);
                }
                self.shared.registry.close(client.uuid.id);
                client.close(1001, "idle timeout", clock + config.close_timeout);
            } else if due(client.last_moved, config.idle_timeout) {
                if client.closing.is_none() {
                    log::debug!("{} read nothing for {:?}", client.uuid, config.idle_timeout);
                    self.shared.counters(self.index).too_slow(1);
                }
                self.shared.registry.close(client.uuid.id);
                client.close(TOO_SLOW.0, TOO_SLOW.1, clock + config.close_timeout);
            } else if due(client.last_read, config.ping_interval)
                && due(client.last_ping, config.ping_interval)
            {
                client.last_ping = now;
                client.ping_due = true;
                client.wake();
            }
            if client.closing.as_ref().is_some_and(|closing| clock >= closing.1) {
                client.wake();
            }
        }
        self.tell_of_room();
    }

    /// After too much waited in all: sockets that lost a message for that, and have no bytes of their own on the way whose end
    /// would be noticed.
    fn tell_of_room(&mut self) {
        if !self.shared.registry.may_send_again(self.index) {
            return;
        }
        for slot in 0..self.clients.len() {
            let Some(client) = self.clients[slot].as_deref().filter(|client| !client.ended) else {
                continue;
            };
            let id = client.uuid.id;
            if self.shared.registry.has_room_again(id) {
                self.deliver(id, Pending::Drain);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_before_the_wrap_is_a_moment_ago() {
        assert_eq!(Moment(5).since(Moment(u32::MAX - 4)), Duration::from_millis(10));
        assert_eq!(Moment(15).since(Moment(5)), Duration::from_millis(10));
        let start = Instant::now();
        assert!(Moment::after(start).since(Moment(0)) < Duration::from_secs(10));
    }
}
