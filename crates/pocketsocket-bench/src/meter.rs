//! What a load measures between the end of its warm-up and its own end.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::{
    Failure,
    report::Report,
    times::{self, ServerTimes},
};

/// Latencies from 1 ns to 10 minutes, to three digits.
pub(crate) fn histogram() -> Result<Histogram<u64>, Failure> {
    Ok(Histogram::new_with_bounds(1, 600_000_000_000, 3)?)
}

/// The measured time, with what was counted in it.
pub(crate) struct Meter {
    latencies: Histogram<u64>,
    messages: u64,
    pid: Option<u32>,
    /// Set when the warm-up ends.
    begun: Option<Mark>,
    begin: Instant,
    end: Instant,
    ended: Option<Mark>,
}

#[derive(Clone, Copy)]
struct Mark {
    at: Instant,
    own: Duration,
    server: Option<ServerTimes>,
}

impl Mark {
    fn now(pid: Option<u32>) -> Self {
        Self { at: Instant::now(), own: times::own(), server: pid.and_then(times::server) }
    }
}

impl Meter {
    /// Measures for `length`, from `warmup` on.
    pub(crate) fn new(
        warmup: Duration,
        length: Duration,
        pid: Option<u32>,
    ) -> Result<Self, Failure> {
        let begin = Instant::now() + warmup;
        let (latencies, end) = (histogram()?, begin + length);
        Ok(Self { latencies, messages: 0, pid, begun: None, begin, end, ended: None })
    }

    /// When the next thing happens that [`Meter::is_over`] has to see.
    pub(crate) fn next(&self) -> Instant {
        if self.begun.is_none() { self.begin } else { self.end }
    }

    /// Begins and ends the measuring when it is time; tells whether it has ended. To be asked at each turn.
    pub(crate) fn is_over(&mut self) -> bool {
        let now = Instant::now();
        if self.begun.is_none() && now >= self.begin {
            self.begun = Some(Mark::now(self.pid));
        }
        if self.ended.is_none() && now >= self.end {
            self.ended = Some(Mark::now(self.pid));
        }
        self.ended.is_some()
    }

    /// Counts messages that took as long.
    #[inline]
    pub(crate) fn record(&mut self, latency: Duration, messages: u64) {
        if self.begun.is_some() && self.ended.is_none() {
            self.messages += messages;
            self.latencies.saturating_record_n(latency.as_nanos() as u64, messages);
        }
    }

    /// Notes how long a message took, or has waited in vain, that was due while it was measured and is not counted. Left
    /// out, those that waited longest would be missing from the latencies.
    pub(crate) fn record_late(&mut self, latency: Duration) {
        self.latencies.saturating_record(latency.as_nanos() as u64);
    }

    /// Writes the figures down. `what` is counted: `messages`, `deliveries`, `connections`.
    pub(crate) fn report(&self, report: &mut Report, what: &str) {
        let (Some(begun), Some(ended)) = (self.begun, self.ended) else {
            report.error("it ended before it was measured");
            return;
        };
        let elapsed = ended.at - begun.at;
        report.number("seconds", elapsed.as_secs_f64());
        report.count(what, self.messages);
        report.number(&format!("{what}_per_second"), self.messages as f64 / elapsed.as_secs_f64());
        latencies(report, "latency", &self.latencies);
        let each = |time: Duration| time.as_secs_f64() * 1e6 / self.messages.max(1) as f64;
        report.number("client_cpu_us", each(ended.own.saturating_sub(begun.own)));
        if let (Some(from), Some(to)) = (begun.server, ended.server) {
            report.number("server_cpu_us", each(to.all.saturating_sub(from.all)));
            report.number("main_thread_cpu_us", each(to.main.saturating_sub(from.main)));
            let cores = to.all.saturating_sub(from.all).as_secs_f64() / elapsed.as_secs_f64();
            report.number("server_cores", cores);
        }
        if self.messages == 0 {
            report.error("nothing came back");
        }
    }
}

/// Writes down a histogram's quantiles, in microseconds.
pub(crate) fn latencies(report: &mut Report, name: &str, latencies: &Histogram<u64>) {
    for (suffix, quantile) in [("p50", 0.5), ("p99", 0.99), ("p999", 0.999)] {
        let micros = latencies.value_at_quantile(quantile) as f64 / 1e3;
        report.number(&format!("{name}_{suffix}_us"), micros);
    }
    report.number(&format!("{name}_max_us"), latencies.max() as f64 / 1e3);
}
