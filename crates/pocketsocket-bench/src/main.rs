//! The load client of the benchmark: one thread, so cheap that the server is what is measured.
//!
//! `pocketsocket-bench LOAD --url ws://127.0.0.1:PORT/ [options]` puts one load on a server that runs, and prints one
//! report. It speaks just enough WebSocket for that, by hand: frames are encoded once and sent again and again, with a
//! mask of zero, and what comes back is compared byte by byte with what has to come. A wrong or missing message is an
//! error, and an error is exit code 1. Latencies go into an HDR histogram; under a set rate they count from the time at
//! which the message was due, so that a server that stands still is not measured less.
//!
//! It only ever speaks to this machine. `benchmark/run.mjs` drives it.

mod alarm;
mod args;
mod frame;
mod handshake;
mod load;
mod meter;
mod native;
mod pump;
mod report;
mod swarm;
mod times;

use std::{
    env,
    io::{self, Write},
    process::ExitCode,
};

use args::Args;
use report::Report;

/// What stops a run: told to the user, and exit code 1.
pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

const HELP: &str = "\
Puts one load on a WebSocket server of this machine and prints what it took.

usage: pocketsocket-bench LOAD [options]

Loads, against a server that echoes (broadcast: that relays to all but the sender):
  echo       --sockets 100 --size 64 --in-flight 1 [--binary] [--rate MESSAGES_A_SECOND]
  broadcast  --receivers 1000 --size 64 --in-flight 1 [--binary]    one more socket sends
  idle       --sockets 10000 [--echo-bytes 0]    prints 'ready', holds until stdin is closed
  churn      --parallel 50 --size 64    connect, one echo, reset
  flood      --flooders 8 --victims 50 --rate 10    64 KiB blocks of small frames beside echoes at a rate a victim
  stall      --block 3000    pings, pages and handshakes while the server's JavaScript is busy for so many ms
Others:
  startup    --command 'PROGRAM ARGUMENTS' [--url http://127.0.0.1:PORT/] [--times 10]
             from starting it to the first HTTP 200, without --url to its line 'ready MS'; {port} in both is a free one
  native     [--port 0] [--shards N] [--broadcast] [--max-payload BYTES] [--max-fragments N]
             a server without JavaScript, until stdin is closed

Options of all loads:
  --url ws://127.0.0.1:PORT/    the server
  --seconds 5 --warmup 1        how long is measured, and what before that is not
  --pid PID                     the server's process, whose CPU time is told too (Linux)
  --json                        one line of JSON";

fn main() -> ExitCode {
    pocketsocket::raise_open_file_limit();
    match run() {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(failure) => {
            // If this cannot be written either, the exit code has to say it.
            let _ = writeln!(io::stderr(), "pocketsocket-bench: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// Runs what the arguments ask for; gives the number of errors that the load met.
fn run() -> Result<u64, Failure> {
    let Some((name, mut args)) = Args::parse(env::args_os().skip(1))? else {
        writeln!(io::stdout(), "{HELP}")?;
        return Ok(0);
    };
    let json = args.flag("json");
    let report: Report = match name.as_str() {
        "echo" => load::echo(args)?,
        "broadcast" => load::broadcast(args)?,
        "idle" => load::idle(args)?,
        "churn" => load::churn(args)?,
        "flood" => load::flood(args)?,
        "stall" => load::stall(args)?,
        "startup" => load::startup(args)?,
        "native" => {
            native::serve(args)?;
            return Ok(0);
        }
        other => return Err(format!("no load is called '{other}': see --help").into()),
    };
    writeln!(io::stdout(), "{}", if json { report.json() } else { report.text() })?;
    Ok(report.errors())
}
