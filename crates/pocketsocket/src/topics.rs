//! A shard's own list of who hears which topic. What a socket subscribed to is in the registry, where any thread asks.

use std::{collections::HashMap, sync::Arc};

/// Topic to slots, for the sockets of one shard.
#[derive(Debug, Default)]
pub(crate) struct Topics {
    members: HashMap<Arc<str>, Vec<u32>>,
}

impl Topics {
    pub(crate) fn subscribe(&mut self, slot: u32, topic: Arc<str>) {
        let members = self.members.entry(topic).or_default();
        if !members.contains(&slot) {
            members.push(slot);
        }
    }

    pub(crate) fn unsubscribe(&mut self, slot: u32, topic: &str) {
        let Some(members) = self.members.get_mut(topic) else { return };
        if let Some(at) = members.iter().position(|&member| member == slot) {
            members.swap_remove(at);
        }
        // A topic lives as long as its members: names that clients choose must not pile up.
        if members.is_empty() {
            self.members.remove(topic);
        }
    }

    pub(crate) fn members(&self, topic: &str) -> &[u32] {
        self.members.get(topic).map_or(&[], Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_ends_with_its_last_member() {
        let mut topics = Topics::default();
        topics.subscribe(1, "a".into());
        topics.subscribe(1, "a".into());
        topics.subscribe(2, "a".into());
        assert_eq!(topics.members("a"), [1, 2]);
        topics.unsubscribe(1, "a");
        topics.unsubscribe(3, "a");
        topics.unsubscribe(1, "unknown");
        assert_eq!(topics.members("a"), [2]);
        topics.unsubscribe(2, "a");
        assert!(topics.members.is_empty());
    }
}
