//! Sockets that do nothing, for as long as whoever asked keeps standard input open: what do they weigh?

use std::{
    io::{self, Read, Write},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use super::DRAIN;
use crate::{Failure, args::Args, frame::Message, report::Report, swarm::Swarm};

/// How soon the end of standard input is seen.
const LOOK: Duration = Duration::from_millis(50);
/// Sockets that echo at once: all of them together would measure a burst.
const AT_ONCE: usize = 100;

/// `idle`: see the program's help.
pub(crate) fn idle(mut args: Args) -> Result<Report, Failure> {
    let address = args.url()?;
    let sockets = args.count("sockets", 10_000)?;
    let echo_bytes: usize = args.or("echo-bytes", 0)?;
    args.finish()?;

    let began = Instant::now();
    let mut swarm = Swarm::open(address, sockets)?;
    let opened = began.elapsed();
    let message = Message::new(echo_bytes, true);
    let mut echoes = 0;
    if echo_bytes > 0 {
        for first in (0..sockets).step_by(AT_ONCE) {
            let group = first..sockets.min(first + AT_ONCE);
            let due = group.end;
            for socket in &mut swarm.sockets[group] {
                socket.send(&message, 1)?;
            }
            let end = Instant::now() + DRAIN;
            while echoes < due {
                if Instant::now() > end {
                    return Err(format!("{} echoes did not come", due - echoes).into());
                }
                swarm.turn(end, &message, |_, _, messages, _| {
                    echoes += messages;
                    Ok(())
                })?;
            }
        }
    }
    writeln!(io::stdout(), "ready")?;
    io::stdout().flush()?;

    let closed = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&closed);
    thread::spawn(move || {
        // However it ends, nobody waits any more.
        let _ = io::copy(&mut io::stdin().lock().take(u64::MAX), &mut io::sink());
        seen.store(true, Ordering::Release);
    });
    while !closed.load(Ordering::Acquire) {
        // Pings are answered inside; a socket that the server closes is an error.
        swarm.turn(Instant::now() + LOOK, &message, |_, _, _, _| {
            Err("a message came that nobody sent".into())
        })?;
    }
    let mut report = Report::new("idle");
    report.count("sockets", sockets as u64);
    report.count("echoes", echoes as u64);
    report.number("seconds_to_open", opened.as_secs_f64());
    Ok(report)
}
