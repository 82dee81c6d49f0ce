//! Runs the real executable, on a port that the system picks, in a folder of its own: what is tested is what users see.
//!
//! Nothing here sleeps: the executable tells when it serves, when a socket connects and when it drains.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "clippy's exceptions for tests do not reach their helpers"
)]

mod discovery;
#[cfg(target_os = "linux")]
mod faults;
mod output;
mod program;
#[cfg(unix)]
mod signals;
mod sockets;
mod usage;
