//! What one thread asks of sockets of other nodes: handed to the broker with the rest of its commands.

use super::{InvalidMessage, Outbox, SendStatus, check_message};
use crate::{
    MessageKind, Uuid,
    broker::{Broker, Outgoing},
    limits::ENTRY_BYTES,
};

impl Outbox {
    /// Whether a uuid names a socket of another node, and there is a broker to reach it.
    #[must_use]
    pub fn is_remote(&self, uuid: Uuid) -> bool {
        self.broker.as_ref().is_some_and(|broker| broker.node != uuid.node)
    }

    /// Sends to a socket of another node. [`SendStatus::Ok`]: handed to the broker, and lost if the socket is not there any
    /// more. [`SendStatus::Unknown`]: it is not [`Outbox::is_remote`], or the broker is not connected.
    /// [`SendStatus::Dropped`]: too much waits for the broker, or it does not take messages of this size.
    ///
    /// # Errors
    /// [`InvalidMessage`]: nothing was sent.
    pub fn send_remote(
        &mut self,
        uuid: Uuid,
        kind: MessageKind,
        data: &[u8],
    ) -> Result<SendStatus, InvalidMessage> {
        check_message(kind, data, kind == MessageKind::Text)?;
        Ok(self.remotely(uuid, data.len(), |broker, into| {
            broker.to_sockets(uuid.node, vec![uuid], kind, data, into)
        }))
    }

    /// Closes a socket of another node, as [`Outbox::close`]; the status is as of [`Outbox::send_remote`].
    pub fn close_remote(&mut self, uuid: Uuid, code: u16, reason: &str) -> SendStatus {
        let status = self
            .remotely(uuid, reason.len(), |broker, into| broker.close(uuid, code, reason, into));
        self.flush();
        status
    }

    /// Changes a topic of a socket of another node; the status is as of [`Outbox::send_remote`].
    pub fn change_topic_remote(&mut self, uuid: Uuid, topic: &str, subscribe: bool) -> SendStatus {
        self.remotely(uuid, topic.len(), |broker, into| {
            broker.change_topic(uuid, topic, subscribe, into)
        })
    }

    fn remotely(
        &mut self,
        uuid: Uuid,
        len: usize,
        add: impl FnOnce(&Broker, &mut Vec<Outgoing>) -> SendStatus,
    ) -> SendStatus {
        let Some(broker) = self.broker.as_ref().filter(|broker| broker.node != uuid.node) else {
            return SendStatus::Unknown;
        };
        let status = add(broker, &mut self.remote);
        self.bytes += len + ENTRY_BYTES;
        self.flush_if_due();
        status
    }
}
