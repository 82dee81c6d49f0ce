//! One socket sends, all others have to get it. A message is on the way until the last receiver has it.

use std::{collections::VecDeque, time::Instant};

use super::DRAIN;
use crate::{Failure, args::Args, frame::Message, meter::Meter, report::Report, swarm::Swarm};

/// The sender's index; it gets nothing.
const SENDER: usize = 0;

/// The messages on the way, oldest first.
struct Sent {
    /// When each left, and how many receivers lack it.
    messages: VecDeque<(Instant, usize)>,
    /// The number of the oldest of them.
    first: u64,
    /// For each socket, the number of the message that comes next.
    next: Vec<u64>,
    receivers: usize,
}

impl Sent {
    fn new(receivers: usize) -> Self {
        Self { messages: VecDeque::new(), first: 0, next: vec![0; receivers + 1], receivers }
    }

    fn sent(&mut self, at: Instant, count: usize) {
        self.messages.extend(std::iter::repeat_n((at, self.receivers), count));
    }

    /// A socket got messages; gives how many of all are now complete.
    fn came(
        &mut self,
        index: usize,
        count: usize,
        mut each: impl FnMut(Instant),
    ) -> Result<usize, Failure> {
        if index == SENDER {
            return Err("the sender got its own message".into());
        }
        for _ in 0..count {
            // A number below `first` cannot be: that message lacked this receiver.
            let place = (self.next[index] - self.first) as usize;
            let Some((at, lacking)) = self.messages.get_mut(place) else {
                return Err("a receiver got more than was sent".into());
            };
            each(*at);
            *lacking -= 1;
            self.next[index] += 1;
        }
        let mut complete = 0;
        while let Some((_, 0)) = self.messages.front() {
            self.messages.pop_front();
            self.first += 1;
            complete += 1;
        }
        Ok(complete)
    }

    fn lacking(&self) -> u64 {
        self.messages.iter().map(|&(_, lacking)| lacking as u64).sum()
    }
}

/// `broadcast`: see the program's help.
pub(crate) fn broadcast(mut args: Args) -> Result<Report, Failure> {
    let address = args.url()?;
    let receivers = args.count("receivers", 1000)?;
    let message = Message::new(args.count("size", 64)?, args.flag("binary"));
    let in_flight = args.count("in-flight", 1)?;
    let (warmup, length) = (args.seconds("warmup", 1.0)?, args.seconds("seconds", 5.0)?);
    let pid = args.optional("pid")?;
    args.finish()?;

    let mut swarm = Swarm::open(address, receivers + 1)?;
    let mut sent = Sent::new(receivers);
    let mut meter = Meter::new(warmup, length, pid)?;
    let mut free = in_flight;
    while !meter.is_over() {
        if free > 0 {
            sent.sent(Instant::now(), free);
            swarm.sockets[SENDER].send(&message, free)?;
            free = 0;
        }
        swarm.turn(meter.next(), &message, |index, _, messages, now| {
            free += sent.came(index, messages, |at| meter.record(now - at, 1))?;
            Ok(())
        })?;
    }
    let end = Instant::now() + DRAIN;
    while sent.lacking() > 0 && Instant::now() < end {
        swarm.turn(end, &message, |index, _, messages, _| {
            sent.came(index, messages, |_| {}).map(drop)
        })?;
    }
    let mut report = Report::new("broadcast");
    meter.report(&mut report, "deliveries");
    let missing = sent.lacking();
    report.add_errors(missing, format!("{missing} deliveries are missing"));
    Ok(report)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_complete_once_the_last_receiver_has_it() {
        let mut sent = Sent::new(2);
        sent.sent(Instant::now(), 2);
        assert_eq!(sent.came(1, 2, |_| {}).unwrap(), 0);
        assert_eq!(sent.came(2, 1, |_| {}).unwrap(), 1);
        assert_eq!(sent.lacking(), 1);
        assert!(sent.came(1, 1, |_| {}).is_err(), "nothing more was sent");
        assert!(sent.came(SENDER, 1, |_| {}).is_err());
    }
}
