//! npm's bin: the program of `pocketsocket-cli`, inside of Node.
//!
//! Node catches the signals and passes them on, since two handlers in one process would fight over them.

use std::{
    ffi::OsString,
    io::Write,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use napi::{Env, JsValue, Unknown};
use napi_derive::napi;
use pocketsocket_cli::{Running, Started};

use crate::js::Doorbell;

static RUNNING: Mutex<Option<Running>> = Mutex::new(None);
static EXIT_CODE: AtomicU8 = AtomicU8::new(0);

/// Runs the program. Gives its exit code if it has ended, else -1: then `ended` is called once it has, and the thread is
/// kept alive until then.
///
/// `uptime_ms`: how long the process has run, for TTL.
#[napi]
pub fn cli_start(
    env: Env,
    args: Vec<String>,
    uptime_ms: f64,
    ended: Unknown<'_>,
) -> napi::Result<i32> {
    let now = Instant::now();
    let started = Duration::try_from_secs_f64(uptime_ms / 1000.0)
        .ok()
        .and_then(|uptime| now.checked_sub(uptime))
        .unwrap_or(now);
    let args = args.into_iter().map(OsString::from);
    let mut out = std::io::stdout();
    let mut err = std::io::stderr();
    let running = match pocketsocket_cli::start(args, started, &mut out, &mut err) {
        Started::Finished(code) => return Ok(i32::from(code)),
        Started::Running(running) => running,
    };
    // Before the wait: Node's own streams write to the same files.
    let _ = out.flush();
    // SAFETY: values of the running callback.
    let doorbell = unsafe { Doorbell::new(env.raw(), ended.raw()) }
        .ok_or_else(|| napi::Error::from_reason("Node-API refused a function"))?;
    // SAFETY: on the environment's thread; the handle is live. It is referenced, so it keeps the thread alive.
    unsafe { napi::sys::napi_ref_threadsafe_function(env.raw(), doorbell.handle()) };
    *RUNNING.lock().unwrap_or_else(PoisonError::into_inner) = Some(running.clone());
    thread::Builder::new()
        .name("pocketsocket-wait".to_owned())
        .spawn(move || {
            EXIT_CODE.store(running.wait(), Ordering::Release);
            doorbell.ring();
        })
        .map_err(|error| napi::Error::from_reason(error.to_string()))?;
    Ok(-1)
}

/// Begins to drain; does nothing the second time.
#[napi]
pub fn cli_stop() {
    if let Some(running) = &*RUNNING.lock().unwrap_or_else(PoisonError::into_inner) {
        running.begin_stop();
    }
}

/// The exit code, once `ended` was called.
#[napi]
pub fn cli_exit_code() -> i32 {
    i32::from(EXIT_CODE.load(Ordering::Acquire))
}
