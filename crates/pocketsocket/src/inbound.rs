//! What waits of one socket for its host, in order, and what it costs.

use std::collections::VecDeque;

use crate::Pending;

/// The queue. A socket of which nothing waits, as nearly always, carries no more than a pointer for it.
#[derive(Debug, Default)]
pub(crate) struct Inbound(Option<Box<Waiting>>);

#[derive(Debug, Default)]
struct Waiting {
    events: VecDeque<Pending>,
    cost: usize,
}

impl Inbound {
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |waiting| waiting.events.len())
    }

    /// Of all that waits, in bytes.
    pub(crate) fn cost(&self) -> usize {
        self.0.as_ref().map_or(0, |waiting| waiting.cost)
    }

    pub(crate) fn front(&self) -> Option<&Pending> {
        self.0.as_ref()?.events.front()
    }

    pub(crate) fn back(&self) -> Option<&Pending> {
        self.0.as_ref()?.events.back()
    }

    pub(crate) fn push_back(&mut self, event: Pending) {
        let waiting = self.0.get_or_insert_default();
        waiting.cost += event.cost();
        waiting.events.push_back(event);
    }

    pub(crate) fn push_front(&mut self, event: Pending) {
        let waiting = self.0.get_or_insert_default();
        waiting.cost += event.cost();
        waiting.events.push_front(event);
    }

    pub(crate) fn pop_front(&mut self) -> Option<Pending> {
        let waiting = self.0.as_mut()?;
        let event = waiting.events.pop_front()?;
        waiting.cost -= event.cost();
        Some(event)
    }

    /// Gives up all that waits, and the memory for it.
    pub(crate) fn clear(&mut self) {
        self.0 = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_out_in_order_and_the_cost_is_of_what_is_left() {
        let text = |text: &str| Pending::Text(text.into());
        let mut inbound = Inbound::default();
        assert!(inbound.is_empty() && inbound.pop_front().is_none());
        inbound.push_back(text("b"));
        inbound.push_back(text("cc"));
        inbound.push_front(text("a"));
        let one = text("").cost();
        assert_eq!((inbound.len(), inbound.cost()), (3, 3 * one + 4));
        assert!(matches!(inbound.front(), Some(Pending::Text(text)) if *text == "a"));
        assert!(matches!(inbound.back(), Some(Pending::Text(text)) if *text == "cc"));
        for (expected, left) in [("a", 2 * one + 3), ("b", one + 2), ("cc", 0)] {
            assert!(matches!(inbound.pop_front(), Some(Pending::Text(text)) if *text == *expected));
            assert_eq!(inbound.cost(), left);
        }
        inbound.push_back(text("d"));
        inbound.clear();
        assert_eq!((inbound.len(), inbound.cost()), (0, 0));
    }
}
