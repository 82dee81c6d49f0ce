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

impl Shard {
    /// One look at every socket. At 20,000 sockets and one look a second this is far cheaper than a timer for each.
    pub(crate) fn check_timers(&mut self) {
        let now = Instant::now();
        let config = &self.shared.config;
        let due = |since: Instant, after: Duration| {
            !after.is_zero() && now.saturating_duration_since(since) >= after
        };
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
                client.close(1001, "idle timeout", now + config.close_timeout);
            } else if due(client.last_moved, config.idle_timeout) {
                if client.closing.is_none() {
                    log::debug!("{} read nothing for {:?}", client.uuid, config.idle_timeout);
                    self.shared.counters(self.index).too_slow(1);
                }
                self.shared.registry.close(client.uuid.id);
                client.close(TOO_SLOW.0, TOO_SLOW.1, now + config.close_timeout);
            } else if due(client.last_read.max(client.last_ping), config.ping_interval) {
                client.last_ping = now;
                client.ping_due = true;
                client.wake();
            }
            if client.closing.as_ref().is_some_and(|(_, deadline)| now >= *deadline) {
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
