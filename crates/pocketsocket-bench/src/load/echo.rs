//! Messages that come back: as many at once as asked for, or at a set rate.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use super::DRAIN;
use crate::{Failure, args::Args, frame::Message, meter::Meter, report::Report, swarm::Swarm};

/// When the messages left that are not back yet, those of one write together.
#[derive(Debug, Default, Clone)]
struct Outstanding {
    writes: VecDeque<(Instant, usize)>,
}

impl Outstanding {
    fn sent(&mut self, at: Instant, messages: usize) {
        self.writes.push_back((at, messages));
    }

    /// Takes messages that came back off the oldest writes.
    #[inline]
    fn came(
        &mut self,
        mut messages: usize,
        mut each: impl FnMut(Instant, u64),
    ) -> Result<(), Failure> {
        while messages > 0 {
            let Some((at, left)) = self.writes.front_mut() else {
                return Err("more came back than was sent".into());
            };
            let taken = messages.min(*left);
            each(*at, taken as u64);
            messages -= taken;
            *left -= taken;
            if *left == 0 {
                self.writes.pop_front();
            }
        }
        Ok(())
    }

    fn len(&self) -> u64 {
        self.writes.iter().map(|&(_, messages)| messages as u64).sum()
    }
}

/// `echo`: see the program's help.
pub(crate) fn echo(mut args: Args) -> Result<Report, Failure> {
    let address = args.url()?;
    let sockets = args.count("sockets", 100)?;
    let message = Message::new(args.count("size", 64)?, args.flag("binary"));
    let in_flight = args.count("in-flight", 1)?;
    let rate: Option<f64> = args.optional("rate")?;
    let (warmup, length) = (args.seconds("warmup", 1.0)?, args.seconds("seconds", 5.0)?);
    let pid = args.optional("pid")?;
    args.finish()?;

    let mut swarm = Swarm::open(address, sockets)?;
    let mut outstanding = vec![Outstanding::default(); sockets];
    let meter = Meter::new(warmup, length, pid)?;
    let mut report = Report::new("echo");
    let run = Run { swarm: &mut swarm, outstanding: &mut outstanding, message: &message, meter };
    let meter = match rate {
        None => run.saturated(in_flight)?,
        Some(rate) => run.paced(rate)?,
    };
    meter.report(&mut report, "messages");
    let missing = outstanding.iter().map(Outstanding::len).sum();
    report.add_errors(missing, format!("{missing} messages did not come back"));
    Ok(report)
}

struct Run<'a> {
    swarm: &'a mut Swarm,
    outstanding: &'a mut [Outstanding],
    message: &'a Message,
    meter: Meter,
}

impl Run<'_> {
    /// Each socket has so many messages on the way, always.
    fn saturated(mut self, in_flight: usize) -> Result<Meter, Failure> {
        let Self { swarm, outstanding, message, meter } = &mut self;
        let now = Instant::now();
        for (socket, outstanding) in swarm.sockets.iter_mut().zip(outstanding.iter_mut()) {
            outstanding.sent(now, in_flight);
            socket.send(message, in_flight)?;
        }
        while !meter.is_over() {
            swarm.turn(meter.next(), message, |index, socket, messages, now| {
                let outstanding = &mut outstanding[index];
                outstanding.came(messages, |sent, count| meter.record(now - sent, count))?;
                outstanding.sent(now, messages);
                Ok(socket.send(message, messages)?)
            })?;
        }
        self.drained(false)
    }

    /// Messages leave when they are due, round robin over the sockets, whatever came back.
    fn paced(mut self, rate: f64) -> Result<Meter, Failure> {
        if !(rate > 0.0 && rate < 1e9) {
            return Err("--rate has to be above 0".into());
        }
        let Self { swarm, outstanding, message, meter } = &mut self;
        let every = Duration::from_secs_f64(1.0 / rate);
        let mut due = Instant::now();
        let mut turns = (0..outstanding.len()).cycle();
        while !meter.is_over() {
            let now = Instant::now();
            while due <= now {
                let Some(index) = turns.next() else { break };
                outstanding[index].sent(due, 1);
                swarm.sockets[index].send(message, 1)?;
                due += every;
            }
            swarm.turn_until(due.min(meter.next()), message, |index, _, messages, now| {
                outstanding[index].came(messages, |due, count| {
                    meter.record(now.saturating_duration_since(due), count);
                })
            })?;
        }
        self.drained(true)
    }

    /// Waits for what is still on the way; notes how late it came if that is asked for.
    fn drained(self, note: bool) -> Result<Meter, Failure> {
        let Self { swarm, outstanding, message, mut meter } = self;
        let end = Instant::now() + DRAIN;
        let mut left: u64 = outstanding.iter().map(Outstanding::len).sum();
        while left > 0 && Instant::now() < end {
            swarm.turn(end, message, |index, _, messages, now| {
                left = left.saturating_sub(messages as u64);
                outstanding[index].came(messages, |due, _| {
                    if note {
                        meter.record_late(now.saturating_duration_since(due));
                    }
                })
            })?;
        }
        Ok(meter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_taken_off_the_oldest_writes() {
        let (first, mut outstanding) = (Instant::now(), Outstanding::default());
        let second = first + Duration::from_micros(1);
        outstanding.sent(first, 3);
        outstanding.sent(second, 2);
        let mut taken = Vec::new();
        outstanding.came(4, |at, count| taken.push((at, count))).unwrap();
        assert_eq!(taken, [(first, 3), (second, 1)]);
        assert_eq!(outstanding.len(), 1);
        assert!(outstanding.came(2, |_, _| {}).is_err());
    }
}
