//! The bare executable: what of the program is the process's. It counts the time, raises the limit on open files, starts
//! the log, and passes signals on. All else is the library's.

use std::{env, io, io::Write, process::ExitCode, time::Instant};

use pocketsocket_cli::{Running, Started, exit, start};
use tokio::{runtime, task};

fn main() -> ExitCode {
    // The start of the process, as far as a program can see it: only the loader runs before.
    let started = Instant::now();
    pocketsocket::raise_open_file_limit();
    pocketsocket::init_logging();
    ExitCode::from(run(started).unwrap_or_else(|error| {
        // If this cannot be written either, the exit code has to say it.
        let _ = writeln!(io::stderr(), "pocketsocket: signals cannot be caught: {error}");
        exit::FAILURE
    }))
}

fn run(started: Instant) -> io::Result<u8> {
    let runtime = runtime::Builder::new_current_thread().enable_io().build()?;
    let code = runtime.block_on(async {
        // Caught before the server starts: whoever reads that it serves may stop it at once.
        let signals = Signals::catch()?;
        let args = env::args_os().skip(1);
        Ok(match start(args, started, &mut io::stdout(), &mut io::stderr()) {
            Started::Finished(code) => code,
            Started::Running(running) => until_stopped(running, signals).await,
        })
    });
    // After a second signal a thread still waits for the server: nobody waits for that one.
    runtime.shutdown_background();
    code
}

/// Waits for the end. The first signal asks for it, the second does not wait.
async fn until_stopped(running: Running, mut signals: Signals) -> u8 {
    let waiting = running.clone();
    let mut stopped = task::spawn_blocking(move || waiting.wait());
    let mut stopping = false;
    loop {
        tokio::select! {
            code = &mut stopped => return code.unwrap_or(exit::FAILURE),
            () = signals.next() => {
                if stopping {
                    return exit::INTERRUPTED;
                }
                stopping = true;
                running.begin_stop();
            }
        }
    }
}

/// The signals that ask for the end: SIGINT, which is Ctrl-C, and SIGTERM.
#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn catch() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// What asks for the end where there are no signals: Ctrl-C, Ctrl-Break, and the closing of the window.
#[cfg(windows)]
struct Signals {
    interrupt: tokio::signal::windows::CtrlC,
    interrupt_break: tokio::signal::windows::CtrlBreak,
    close: tokio::signal::windows::CtrlClose,
}

#[cfg(windows)]
impl Signals {
    fn catch() -> io::Result<Self> {
        use tokio::signal::windows::{ctrl_break, ctrl_c, ctrl_close};
        Ok(Self { interrupt: ctrl_c()?, interrupt_break: ctrl_break()?, close: ctrl_close()? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.interrupt_break.recv() => {}
            _ = self.close.recv() => {}
        }
    }
}
