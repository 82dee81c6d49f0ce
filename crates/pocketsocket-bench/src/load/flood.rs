//! Victims at a modest rate beside flooders without limit: does the server still serve them, and those who come?

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;

use crate::{
    Failure,
    args::Args,
    frame::Message,
    handshake,
    meter::{self, Meter},
    pump::Flood,
    report::Report,
    swarm::Swarm,
};

/// How often a new client comes.
const NEWCOMER: Duration = Duration::from_millis(100);

/// `flood`: see the program's help.
pub(crate) fn flood(mut args: Args) -> Result<Report, Failure> {
    let address = args.url()?;
    let flooders = args.count("flooders", 8)?;
    let victims = args.count("victims", 50)?;
    let rate: f64 = args.or("rate", 10.0)?;
    let message = Message::new(args.count("size", 64)?, args.flag("binary"));
    let (warmup, length) = (args.seconds("warmup", 1.0)?, args.seconds("seconds", 5.0)?);
    let pid = args.optional("pid")?;
    args.finish()?;
    if !(rate > 0.0 && rate < 1e6) {
        return Err("--rate has to be above 0".into());
    }

    let mut swarm = Swarm::open(address, victims)?;
    let flood = Flood::start(address, flooders)?;
    let over = Arc::new(AtomicBool::new(false));
    let newcomers = thread::spawn({
        let over = Arc::clone(&over);
        move || newcomers(address, &over)
    });

    let mut meter = Meter::new(warmup, length, pid)?;
    let every = Duration::from_secs_f64(1.0 / (rate * victims as f64));
    let (mut due, mut turns) = (Instant::now(), (0..victims).cycle());
    let mut outstanding = vec![VecDeque::<Instant>::new(); victims];
    let (mut sent, mut came) = (0_u64, 0_u64);
    let flooded_before = flood.messages();
    while !meter.is_over() {
        let now = Instant::now();
        while due <= now {
            let Some(index) = turns.next() else { break };
            outstanding[index].push_back(due);
            swarm.sockets[index].send(&message, 1)?;
            sent += 1;
            due += every;
        }
        swarm.turn_until(due.min(meter.next()), &message, |index, _, messages, now| {
            for _ in 0..messages {
                let due = outstanding[index].pop_front().ok_or("more came back than was sent")?;
                came += 1;
                meter.record(now.saturating_duration_since(due), 1);
            }
            Ok(())
        })?;
    }
    for due in outstanding.iter().flatten() {
        meter.record_late(due.elapsed());
    }
    let flooded = flood.messages() - flooded_before;
    over.store(true, Ordering::Release);
    flood.stop()?;

    let mut report = Report::new("flood");
    meter.report(&mut report, "messages");
    report.number("victims_goodput_percent", came as f64 * 100.0 / sent.max(1) as f64);
    report.number("flood_per_second", flooded as f64 / (warmup + length).as_secs_f64());
    let (handshakes, failed) = newcomers.join().map_err(|_| "the newcomers' thread panicked")??;
    report.count("handshakes", handshakes.len());
    meter::latencies(&mut report, "handshake", &handshakes);
    report.add_errors(failed, "a new client was not let in");
    Ok(report)
}

/// Opens a socket every now and then; gives how long each took from when it was due, and how many failed.
fn newcomers(address: SocketAddr, over: &AtomicBool) -> Result<(Histogram<u64>, u64), Failure> {
    let (mut took, mut failed) = (meter::histogram()?, 0);
    let mut due = Instant::now();
    while !over.load(Ordering::Acquire) {
        match handshake::open(address) {
            Ok(_) => took.saturating_record(due.elapsed().as_nanos() as u64),
            Err(_) => failed += 1,
        }
        due += NEWCOMER;
        thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    // Those that were due and whose turn did not come have waited at least so long.
    while due < Instant::now() {
        took.saturating_record(due.elapsed().as_nanos() as u64);
        due += NEWCOMER;
    }
    Ok((took, failed))
}
