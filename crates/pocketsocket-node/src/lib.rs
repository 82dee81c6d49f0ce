//! JavaScript <-> server, and nothing else.
//!
//! The way of an event: a shard offers it to the [`bridge`], which appends it to the [`inbox`] of the socket's JavaScript
//! thread and rings its door-bell if nobody has. On that thread [`drain`] takes all there is and calls JavaScript with
//! up to sixteen events a call. What JavaScript sends goes through [`send`] into the thread's outbox, which is handed to
//! the shards once a batch. Handshakes that wait for an answer lie
//! in the [`authorizer`]. Rarely used calls are in [`calls`], by napi's macros; the hot ones are raw Node-API.

// napi's macros register nothing in a test build, where then nobody calls what they would export.
#![cfg_attr(test, allow(dead_code))]

mod authorizer;
mod bell;
mod bridge;
mod calls;
mod cli;
mod drain;
mod inbox;
mod instance;
mod js;
mod send;
mod slab;
mod sync;
mod text;

use napi::{Env, bindgen_prelude::Object};
use napi_derive::napi;

/// Runs when a JavaScript thread loads the addon: once for the main thread, and once for each worker.
#[napi(module_exports)]
pub fn init(exports: Object<'_>, env: Env) -> napi::Result<()> {
    pocketsocket::init_logging();
    instance::create(env.raw(), exports)
}

/// The addon's version. What loads it checks that it is its own.
#[napi]
pub fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}
