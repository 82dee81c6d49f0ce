//! A shard's own list of who hears which topic. What a socket subscribed to is in the registry, where any thread asks.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use crate::SocketId;

/// Topic to sockets of one shard. Two threads may race to subscribe and unsubscribe, so a member may be one that has
/// ended: whoever goes through a list compares the holder of the slot.
#[derive(Debug, Default)]
pub(crate) struct Topics {
    /// Ordered by slot, as clients lie in memory; to join or leave a topic of any size takes a few comparisons.
    pub(crate) members: HashMap<Arc<str>, BTreeSet<SocketId>>,
}

impl Topics {
    /// True if it is the topic's first member.
    pub(crate) fn subscribe(&mut self, id: SocketId, topic: Arc<str>) -> bool {
        let members = self.members.entry(topic).or_default();
        let is_first = members.is_empty();
        members.insert(id);
        is_first
    }

    /// True if it was the topic's last member.
    pub(crate) fn unsubscribe(&mut self, id: SocketId, topic: &str) -> bool {
        let Some(members) = self.members.get_mut(topic) else { return false };
        members.remove(&id);
        // A topic lives as long as its members: names that clients choose must not pile up.
        let is_empty = members.is_empty();
        if is_empty {
            self.members.remove(topic);
        }
        is_empty
    }

    pub(crate) fn members(&self, topic: &str) -> impl Iterator<Item = SocketId> {
        self.members.get(topic).into_iter().flatten().copied()
    }

    /// The members of several topics, each once.
    pub(crate) fn members_of_any(&self, topics: &[Arc<str>]) -> BTreeSet<SocketId> {
        topics.iter().flat_map(|topic| self.members(topic)).collect()
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
        assert!(topics.members("a").eq([one, two]));
        topics.unsubscribe(one, "a");
        topics.unsubscribe(three, "a");
        topics.unsubscribe(one, "unknown");
        assert!(topics.members("a").eq([two]));
        topics.subscribe(two, "b".into());
        topics.subscribe(three, "b".into());
        assert!(
            topics
                .members_of_any(&["a".into(), "b".into(), "c".into()])
                .into_iter()
                .eq([two, three])
        );
        topics.unsubscribe(two, "b");
        topics.unsubscribe(three, "b");
        topics.unsubscribe(two, "a");
        assert!(topics.members.is_empty());
    }
}
