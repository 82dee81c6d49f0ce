//! A shard's own list of who hears which topic. What a socket subscribed to is in the registry, where any thread asks.

use std::{collections::HashMap, sync::Arc};

use crate::SocketId;

/// Topic to sockets of one shard. Two threads may race to subscribe and unsubscribe, so a member may be one that has
/// ended: whoever goes through a list compares the holder of the slot.
#[derive(Debug, Default)]
pub(crate) struct Topics {
    members: HashMap<Arc<str>, Vec<SocketId>>,
}

impl Topics {
    /// True if it is the topic's first member.
    pub(crate) fn subscribe(&mut self, id: SocketId, topic: Arc<str>) -> bool {
        let members = self.members.entry(topic).or_default();
        let is_first = members.is_empty();
        if !members.contains(&id) {
            members.push(id);
        }
        is_first
    }

    /// True if it was the topic's last member.
    pub(crate) fn unsubscribe(&mut self, id: SocketId, topic: &str) -> bool {
        let Some(members) = self.members.get_mut(topic) else { return false };
        if let Some(at) = members.iter().position(|&member| member == id) {
            members.swap_remove(at);
        }
        // A topic lives as long as its members: names that clients choose must not pile up.
        let is_empty = members.is_empty();
        if is_empty {
            self.members.remove(topic);
        }
        is_empty
    }

    pub(crate) fn members(&self, topic: &str) -> &[SocketId] {
        self.members.get(topic).map_or(&[], Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_ends_with_its_last_member() {
        let mut topics = Topics::default();
        let [one, two, three] = [1, 2, 3].map(|slot| SocketId { slot, generation: 1 });
        topics.subscribe(one, "a".into());
        topics.subscribe(one, "a".into());
        topics.subscribe(two, "a".into());
        assert_eq!(topics.members("a"), [one, two]);
        topics.unsubscribe(one, "a");
        topics.unsubscribe(three, "a");
        topics.unsubscribe(one, "unknown");
        assert_eq!(topics.members("a"), [two]);
        topics.unsubscribe(two, "a");
        assert!(topics.members.is_empty());
    }
}
