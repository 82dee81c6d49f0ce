//! CPU time: the client's own, and a server's.

use std::time::Duration;

/// The CPU time of this process.
#[cfg(unix)]
pub(crate) fn own() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

/// Not told here.
#[cfg(not(unix))]
pub(crate) fn own() -> Duration {
    Duration::ZERO
}

/// CPU time of a server so far.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ServerTimes {
    /// All threads together.
    pub(crate) all: Duration,
    /// The main thread alone, which is the one of JavaScript.
    pub(crate) main: Duration,
}

/// Reads them, in the kernel's ticks of mostly 10 ms. `None` where `/proc` is not.
#[cfg(target_os = "linux")]
pub(crate) fn server(pid: u32) -> Option<ServerTimes> {
    let tick =
        Duration::from_secs(1) / u32::try_from(rustix::param::clock_ticks_per_second()).ok()?;
    let read = |path: String| {
        let ticks = ticks_in(&std::fs::read_to_string(path).ok()?)?;
        Some(tick * ticks)
    };
    // In this order, so that the part is never more than the whole.
    let main = read(format!("/proc/{pid}/task/{pid}/stat"))?;
    Some(ServerTimes { all: read(format!("/proc/{pid}/stat"))?, main })
}

/// Not told here.
#[cfg(not(target_os = "linux"))]
pub(crate) fn server(_pid: u32) -> Option<ServerTimes> {
    None
}

/// utime and stime, the 14th and 15th field of proc_pid_stat(5); the second may contain spaces and parentheses.
#[cfg(target_os = "linux")]
fn ticks_in(stat: &str) -> Option<u32> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let user: u32 = fields.next()?.parse().ok()?;
    let system: u32 = fields.next()?.parse().ok()?;
    Some(user + system)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_found_behind_any_name() {
        let stat = "7 (a) b (c) R 1 2 3 4 5 6 7 8 9 10 30 12 0 0 20 0";
        assert_eq!(ticks_in(stat), Some(42));
        assert_eq!(ticks_in("7 (a"), None);
    }

    #[test]
    fn the_own_process_has_times() {
        let times = server(std::process::id()).unwrap();
        assert!(times.main <= times.all);
        assert!(own() > Duration::ZERO);
    }
}
