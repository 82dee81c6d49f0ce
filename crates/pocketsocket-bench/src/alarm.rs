//! A timer that is finer than the milliseconds in which a poll can wait: latencies are tens of microseconds.

use std::{
    io,
    time::{Duration, Instant},
};

use mio::{Registry, Token};

/// The token of the alarm's events.
pub(crate) const ALARM: Token = Token(usize::MAX);

/// Wakes a poll at a time.
#[cfg(target_os = "linux")]
pub(crate) struct Alarm {
    timer: std::os::fd::OwnedFd,
}

#[cfg(target_os = "linux")]
impl Alarm {
    pub(crate) fn new(registry: &Registry) -> io::Result<Self> {
        use std::os::fd::AsRawFd as _;

        use rustix::time::{TimerfdClockId, TimerfdFlags, timerfd_create};
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK)?;
        let raw = timer.as_raw_fd();
        registry.register(&mut mio::unix::SourceFd(&raw), ALARM, mio::Interest::READABLE)?;
        Ok(Self { timer })
    }

    /// Sets the next wake; gives how long a poll may wait besides.
    pub(crate) fn set(&self, at: Instant) -> io::Result<Option<Duration>> {
        use rustix::time::{Itimerspec, TimerfdTimerFlags, Timespec, timerfd_settime};
        // A time of zero would stop the timer.
        let left = at.saturating_duration_since(Instant::now()).max(Duration::from_nanos(1));
        let spec = Itimerspec {
            it_interval: Timespec { tv_sec: 0, tv_nsec: 0 },
            it_value: Timespec {
                tv_sec: left.as_secs().cast_signed(),
                tv_nsec: left.subsec_nanos().into(),
            },
        };
        timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &spec)?;
        Ok(None)
    }
}

/// Elsewhere a poll's own timeout has to do: latencies under a rate are up to 1 ms too long there.
#[cfg(not(target_os = "linux"))]
pub(crate) struct Alarm;

#[cfg(not(target_os = "linux"))]
impl Alarm {
    pub(crate) fn new(_: &Registry) -> io::Result<Self> {
        Ok(Self)
    }

    /// Gives how long a poll may wait.
    pub(crate) fn set(&self, at: Instant) -> io::Result<Option<Duration>> {
        Ok(Some(at.saturating_duration_since(Instant::now())))
    }
}
