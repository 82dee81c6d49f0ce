//! `POCKETSOCKET_LOG=debug`: a readable log on standard error.

use std::{
    env,
    io::Write,
    sync::OnceLock,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use log::{LevelFilter, Log, Metadata, Record};

/// Writes the server's own records, one line each.
struct StderrLog;

static START: OnceLock<Instant> = OnceLock::new();

impl Log for StderrLog {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // Libraries below log each frame: not what a reader of this log looks for.
        metadata.target().starts_with("pocketsocket")
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let start = START.get_or_init(Instant::now);
        let wall =
            SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() % 86_400;
        let line = format!(
            "{:02}:{:02}:{:02} +{:.3}s {:5} {}\n",
            wall / 3600,
            wall / 60 % 60,
            wall % 60,
            start.elapsed().as_secs_f64(),
            record.level().as_str().to_ascii_lowercase(),
            record.args()
        );
        // A closed standard error must not stop the server.
        let _ = std::io::stderr().write_all(line.as_bytes());
    }

    fn flush(&self) {}
}

/// Reads `POCKETSOCKET_LOG` (`error`, `warn`, `info`, `debug`, `trace`; unset or anything else is off) once a process.
///
/// A program that has its own logger keeps it.
pub fn init() {
    let Ok(level) = env::var("POCKETSOCKET_LOG") else { return };
    let level = level.parse().unwrap_or(LevelFilter::Off);
    if level != LevelFilter::Off && log::set_logger(&StderrLog).is_ok() {
        START.get_or_init(Instant::now);
        log::set_max_level(level);
    }
}
