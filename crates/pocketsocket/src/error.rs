//! Every error of the server, each with a stable code and a word on what to do.

use std::{
    error, fmt, io,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use crate::BrokerUrl;

/// What can go wrong when a server is configured, started, or runs.
///
/// The state of a socket is never an error: sends to closed sockets give a status.
///
/// ```
/// let taken = std::net::TcpListener::bind("127.0.0.1:0")?;
/// let port = taken.local_addr()?.port();
/// let config = pocketsocket::Config { port, ..Default::default() };
/// let error = config.bind().unwrap_err();
/// assert_eq!(error.code(), "EADDRINUSE");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The address is not an IP address, nor a name that resolves to one.
    InvalidAddress {
        /// The address as given.
        address: String,
    },
    /// The address and port cannot be bound.
    Bind {
        /// Where the server wanted to listen.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The Unix socket cannot be bound.
    BindUnix {
        /// Where the server wanted to listen.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// An option is outside of what is allowed.
    InvalidOption {
        /// The option's name, in camelCase as users write it.
        name: &'static str,
        /// The value as given.
        value: String,
        /// What is allowed, with its unit.
        allowed: String,
    },
    /// The page's template cannot be read.
    Template {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A thread or its runtime could not be started.
    Thread {
        /// What the system said.
        source: io::Error,
    },
    /// Connections cannot be accepted for now; the server retries by itself.
    Accept {
        /// What the system said.
        source: io::Error,
    },
    /// A client's address has as many connections as it may have; told once a minute at most.
    AddressFull {
        /// Whose.
        address: IpAddr,
        /// How many it may have.
        limit: usize,
    },
    /// The broker did not answer in time, or refused us, when the server started.
    BrokerUnreachable {
        /// Where it was looked for.
        url: BrokerUrl,
        /// What was wrong at the last attempt.
        reason: String,
    },
    /// The connection to the broker broke. Sockets of this server are served on; it is being reconnected.
    BrokerLost {
        /// Where it was.
        url: BrokerUrl,
        /// What was wrong.
        reason: String,
    },
    /// The broker is back. What other nodes sent meanwhile did not come, and what this one sent did not leave.
    BrokerGap {
        /// Where it is.
        url: BrokerUrl,
        /// For how long it was not connected, as far as this node noticed.
        lasted: Duration,
        /// Messages of this node that were not handed over; those in flight when it broke may be lost too.
        dropped: u64,
    },
    /// A thread of the server panicked. Its sockets were closed, the server goes on.
    Panicked {
        /// The thread's name.
        thread: String,
        /// The panic's message.
        message: String,
    },
}

impl Error {
    /// The stable code that programs compare. System errors keep the names that Node.js users know.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::InvalidAddress { .. } => "ERR_INVALID_ADDRESS",
            Self::Bind { source, .. } | Self::BindUnix { source, .. } => match source.kind() {
                io::ErrorKind::AddrInUse => "EADDRINUSE",
                io::ErrorKind::AddrNotAvailable => "EADDRNOTAVAIL",
                io::ErrorKind::PermissionDenied => "EACCES",
                _ => "ERR_BIND",
            },
            Self::InvalidOption { .. } => "ERR_INVALID_OPTION",
            Self::Template { .. } => "ERR_TEMPLATE",
            Self::Thread { .. } => "ERR_THREAD",
            Self::Accept { .. } => "ERR_ACCEPT",
            Self::AddressFull { .. } => "ERR_ADDRESS_FULL",
            Self::BrokerUnreachable { .. } => "ERR_BROKER_UNREACHABLE",
            Self::BrokerLost { .. } => "ERR_BROKER_LOST",
            Self::BrokerGap { .. } => "ERR_BROKER_GAP",
            Self::Panicked { .. } => "ERR_PANICKED",
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidAddress { address } => {
                write!(
                    f,
                    "address '{address}' is not an IP address, nor a name that resolves to one"
                )
            }
            Self::Bind { address, source } => match source.kind() {
                io::ErrorKind::AddrInUse => write!(
                    f,
                    "{address} is taken: stop the program that listens there, or choose another port (0 picks a free one)"
                ),
                io::ErrorKind::AddrNotAvailable => {
                    write!(f, "{} is not an address of this machine", address.ip())
                }
                io::ErrorKind::PermissionDenied => {
                    write!(f, "no permission to listen on {address}: choose a port from 1024 up")
                }
                _ => write!(f, "cannot listen on {address}: {source}"),
            },
            Self::BindUnix { path, source } => {
                let path = path.display();
                match source.kind() {
                    io::ErrorKind::AddrInUse => write!(
                        f,
                        "'{path}' is taken: stop the server that listens there, remove the file if it is none, or choose another path"
                    ),
                    io::ErrorKind::PermissionDenied => {
                        write!(
                            f,
                            "no permission to create '{path}': choose a folder that this user may write to"
                        )
                    }
                    io::ErrorKind::NotFound => {
                        write!(f, "cannot listen on '{path}': create its folder first")
                    }
                    _ => write!(f, "cannot listen on '{path}': {source}"),
                }
            }
            Self::InvalidOption { name, value, allowed } => {
                write!(f, "option '{name}' is {value}: allowed is {allowed}")
            }
            Self::Template { path, source } => {
                write!(f, "template '{}' cannot be read: {source}", path.display())
            }
            Self::Thread { source } => write!(
                f,
                "a server thread cannot start: {source}: lower option 'threads' or the number of open files"
            ),
            Self::Accept { source } => {
                write!(f, "connections cannot be accepted for now: {source}: the server retries")
            }
            Self::AddressFull { address, limit } => write!(
                f,
                "{address} has {limit} connections and gets no more: if it is a proxy's, set option 'trustProxy', else raise \
                 option 'maxConnectionsPerAddress'"
            ),
            Self::BrokerUnreachable { url, reason } => write!(
                f,
                "broker {url} cannot be used: {reason}: start it, or correct option 'broker'"
            ),
            Self::BrokerLost { url, reason } => write!(
                f,
                "broker {url} is lost: {reason}: this server's own sockets are served, and it is being reconnected"
            ),
            Self::BrokerGap { url, lasted, dropped } => write!(
                f,
                "broker {url} is back after {} ms: {dropped} messages were not sent to other nodes, and theirs of that \
                 time did not come",
                lasted.as_millis()
            ),
            Self::Panicked { thread, message } => write!(
                f,
                "thread '{thread}' panicked ({message}): its sockets were closed, the server goes on; please report this"
            ),
        }
    }
}

impl error::Error for Error {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Bind { source, .. }
            | Self::BindUnix { source, .. }
            | Self::Template { source, .. }
            | Self::Thread { source }
            | Self::Accept { source } => Some(source),
            Self::InvalidAddress { .. }
            | Self::InvalidOption { .. }
            | Self::BrokerUnreachable { .. }
            | Self::BrokerLost { .. }
            | Self::BrokerGap { .. }
            | Self::AddressFull { .. }
            | Self::Panicked { .. } => None,
        }
    }
}
