//! Our server without JavaScript, for the row that tells what the Rust side alone costs.

use std::{
    cell::RefCell,
    io::{self, Read, Write},
    sync::OnceLock,
    time::Duration,
};

use pocketsocket::{Config, Event, EventKind, Host, Lane, MessageKind, Offer, Outbox, Server};

use crate::{Failure, args::Args};

thread_local! {
    /// The outbox of this I/O thread.
    static OUTBOX: RefCell<Option<Outbox>> = const { RefCell::new(None) };
}

/// Sends each message back.
#[derive(Default)]
struct Echo {
    server: OnceLock<Server>,
    /// The server relays by itself, and nothing comes back.
    broadcast: bool,
}

impl Echo {
    fn send(&self, event: &Event<'_>, kind: MessageKind, data: &[u8]) {
        let Some(server) = self.server.get() else { return };
        OUTBOX.with_borrow_mut(|outbox| {
            let outbox = outbox.get_or_insert_with(|| server.outbox());
            // What the server took from a client, a client may get; a socket that ended meanwhile gets nothing.
            let _ = outbox.send(event.id, kind, data);
        });
    }
}

impl Host for Echo {
    fn started(&self, server: &Server) {
        let _ = self.server.set(server.clone());
    }

    fn assign(&self) -> Lane {
        Lane::host(0)
    }

    fn offer(&self, _lane: Lane, event: &Event<'_>) -> Offer {
        match event.kind {
            _ if self.broadcast => {}
            EventKind::Text(text) => self.send(event, MessageKind::Text, text.as_bytes()),
            EventKind::Binary(bytes) => self.send(event, MessageKind::Binary, bytes),
            _ => {}
        }
        Offer::Taken
    }

    fn flush(&self, _lane: Lane) {
        OUTBOX.with_borrow_mut(|outbox| {
            if let Some(outbox) = outbox {
                outbox.flush();
            }
        });
    }
}

/// `native`: see the program's help.
pub(crate) fn serve(mut args: Args) -> Result<(), Failure> {
    let defaults = Config::default();
    let config = Config {
        port: args.or("port", 0)?,
        threads: args.count("shards", defaults.threads)?,
        broadcast: args.flag("broadcast"),
        max_payload: args.count("max-payload", defaults.max_payload)?,
        max_fragments: args.count("max-fragments", defaults.max_fragments)?,
        ..defaults
    };
    args.finish()?;
    let host = Echo { broadcast: config.broadcast, ..Echo::default() };
    let server = Server::start(config, host)?;
    writeln!(io::stdout(), "listening {}", server.local_addr().port())?;
    io::stdout().flush()?;
    io::copy(&mut io::stdin().lock().take(u64::MAX), &mut io::sink())?;
    server.shutdown(Duration::from_secs(1));
    Ok(())
}
