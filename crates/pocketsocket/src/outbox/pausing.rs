//! For an application that is behind with one socket: that socket is not read until it has caught up.

use super::{Outbox, SendStatus};
use crate::{SocketId, mailbox::Command};

impl Outbox {
    /// Stops reading a socket: TCP then slows its client down. What was read before may still be delivered, and it can be sent
    /// to. It is not idle meanwhile and gets no pings, so that a client which vanishes is noticed by a failed write, at
    /// [`Outbox::resume`], or at a close.
    ///
    /// The pause ends with [`Outbox::resume`], when the socket is closed, and when it is given another lane. Paused twice is
    /// paused once. [`SendStatus::Unknown`]: it is closed, or never was.
    pub fn pause(&mut self, id: SocketId) -> SendStatus {
        self.hold(id, true)
    }

    /// Reads a paused socket again; does nothing to one that is not paused. [`SendStatus::Unknown`]: it is closed, or never
    /// was.
    pub fn resume(&mut self, id: SocketId) -> SendStatus {
        self.hold(id, false)
    }

    fn hold(&mut self, id: SocketId, held: bool) -> SendStatus {
        if !self.shared.registry.is_open(id) {
            return SendStatus::Unknown;
        }
        self.command(id, Command::Hold { id, held });
        // At once: until then the socket brings in more.
        self.flush();
        SendStatus::Ok
    }
}
