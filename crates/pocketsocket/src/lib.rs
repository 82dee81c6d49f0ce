//! WebSockets you do not manage.
//!
//! [`Server::start`] binds an address and runs everything that a socket needs on threads of its own: handshakes,
//! frames, pings, limits, slow clients, fan-out and a page for browsers. The application sees only events, through
//! the [`Host`] trait, and answers through an [`Outbox`].
//!
//! Data flows one way round: client → acceptor → shard → http → connection → host → outbox → mailbox → shard →
//! connection → client. Nothing calls back against the stream.
//!
//! ```
//! use pocketsocket::{Config, Event, EventKind, Host, Lane, Offer, Server};
//!
//! /// Prints what comes in.
//! struct Printer;
//!
//! impl Host for Printer {
//!     fn assign(&self) -> Lane {
//!         Lane::host(0)
//!     }
//!     fn offer(&self, _lane: Lane, event: &Event<'_>) -> Offer {
//!         if let EventKind::Text(text) = event.kind {
//!             println!("{}: {text}", event.uuid);
//!         }
//!         Offer::Taken
//!     }
//! }
//!
//! let server = Server::start(Config { port: 0, ..Config::default() }, Printer)?;
//! assert_ne!(server.local_addr().port(), 0);
//! server.shutdown(std::time::Duration::from_secs(1));
//! # Ok::<(), pocketsocket::Error>(())
//! ```

#![forbid(unsafe_code)]

mod acceptor;
mod addresses;
mod authorize;
#[cfg(feature = "benching")]
#[doc(hidden)]
pub mod benching;
#[cfg_attr(not(any(feature = "nats", feature = "redis")), allow(dead_code))]
mod broker;
mod client;
mod commands;
mod config;
mod connection;
mod decoder;
mod delivery;
mod error;
mod event;
#[cfg(feature = "faults")]
#[doc(hidden)]
pub mod faults;
mod frame;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod handshake;
mod host;
mod http;
mod id;
mod inbound;
mod limits;
mod linger;
mod logging;
mod mailbox;
#[cfg(any(test, feature = "fuzzing"))]
mod model;
mod outbox;
mod outgoing;
mod page;
mod print;
mod proxy;
mod rate;
mod registry;
mod sending;
mod server;
mod shard;
mod spares;
mod stats;
mod stream;
mod sync;
mod timers;
mod topics;

pub use authorize::{Asked, Reply, Verdict};
pub use broker::{BrokerStats, BrokerUrl};
pub use config::{Config, DropPolicy, Template};
pub use error::Error;
pub use event::{CloseInfo, Event, EventKind, MessageKind, Pending, Request};
pub use host::{Host, Lane, Offer};
pub use id::{InvalidUuid, SocketId, Uuid};
pub use limits::raise_open_file_limit;
pub use logging::init as init_logging;
pub use outbox::{InvalidMessage, Outbox, SendStatus, check_message};
pub use print::Printing;
pub use proxy::{Network, TrustProxy};
pub use rate::RateLimit;
pub use server::Server;
pub use stats::Stats;
