//! What goes on while the application does not: pings, pages and handshakes while the server's JavaScript is busy.
//!
//! The benchmark's servers spin for so many milliseconds when they get the text `block MILLISECONDS`. Each kind of
//! request has a thread that sends it when it is due, and counts from then.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;

use crate::{
    Failure,
    args::Args,
    frame::{EMPTY_PING, EMPTY_PONG, Message},
    handshake, meter,
    report::Report,
};

/// How often each is asked.
const EVERY: Duration = Duration::from_millis(20);
/// From the message that blocks until the server surely is blocked.
const SETTLE: Duration = Duration::from_millis(200);

/// `stall`: see the program's help.
pub(crate) fn stall(mut args: Args) -> Result<Report, Failure> {
    let address = args.url()?;
    let block = Duration::from_millis(args.count("block", 3000)? as u64);
    args.finish()?;
    if !(3 * SETTLE..handshake::PATIENCE / 2).contains(&block) {
        return Err("--block has to be from 600 to 10000 ms".into());
    }

    // Once before, so that nothing is measured that happens only the first time.
    let mut pinged = handshake::open(address)?;
    ping(&mut pinged)?;
    handshake::get_page(address)?;

    let mut blocker = handshake::open(address)?;
    let message = Message::text(&format!("block {}", block.as_millis()));
    blocker.write_all(&message.out[..message.out_len])?;
    thread::sleep(SETTLE);
    let until = Instant::now() + block - 2 * SETTLE;

    let pings = thread::spawn(move || timed(until, || ping(&mut pinged)));
    let pages = thread::spawn(move || timed(until, || handshake::get_page(address)));
    let opens = thread::spawn(move || timed(until, || handshake::open(address).map(drop)));
    let mut report = Report::new("stall");
    for (name, thread) in [("ping", pings), ("page", pages), ("handshake", opens)] {
        let (took, failed) = thread.join().map_err(|_| format!("the {name} thread panicked"))??;
        report.count(&format!("{name}s"), took.len());
        meter::latencies(&mut report, name, &took);
        report.add_errors(failed, format!("a {name} failed"));
    }
    answers_again(&mut blocker, address, &mut report)?;
    Ok(report)
}

/// The server's JavaScript has to be back: what blocked it has to be answered, or at least a new client's message.
fn answers_again(
    blocker: &mut TcpStream,
    address: SocketAddr,
    report: &mut Report,
) -> Result<(), Failure> {
    let mut done = [0; 6];
    if blocker.read_exact(&mut done).is_err() || done != *b"\x81\x04done" {
        report.error("the block did not end with 'done': the server was not blocked");
        return Ok(());
    }
    let message = Message::new(16, false);
    let mut socket = handshake::open(address)?;
    socket.write_all(&message.out[..message.out_len])?;
    let mut answer = vec![0; message.back.len()];
    socket.read_exact(&mut answer)?;
    if answer != message.back {
        report.error("a message came back changed");
    }
    Ok(())
}

/// Does something again and again; gives how long each took from when it was due, and how many failed.
fn timed(
    until: Instant,
    mut body: impl FnMut() -> Result<(), Failure>,
) -> Result<(Histogram<u64>, u64), Failure> {
    let (mut took, mut failed) = (meter::histogram()?, 0);
    let mut due = Instant::now();
    while due < until {
        match body() {
            Ok(()) => took.saturating_record(due.elapsed().as_nanos() as u64),
            Err(_) => failed += 1,
        }
        due += EVERY;
        thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    Ok((took, failed))
}

fn ping(socket: &mut TcpStream) -> Result<(), Failure> {
    socket.write_all(&EMPTY_PING)?;
    let mut pong = EMPTY_PONG;
    socket.read_exact(&mut pong)?;
    if pong == EMPTY_PONG { Ok(()) } else { Err("a ping was not answered by its pong".into()) }
}
