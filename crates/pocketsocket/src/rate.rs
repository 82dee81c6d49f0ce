//! How many messages a socket may bring in: a token bucket, of which each text and binary message takes one token.
//!
//! A socket without a token is not read, so TCP slows its client down: nothing is lost, and nobody is closed. A server
//! without a limit has no buckets.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use tokio::time::{Sleep, sleep_until};

/// How many messages a socket may bring in, in the long run and at once.
///
/// ```
/// use pocketsocket::{Config, RateLimit};
///
/// let rate_limit = Some(RateLimit { messages_per_second: 50, burst: 200 });
/// assert!(Config { rate_limit, ..Config::default() }.validate().is_ok());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// Text and binary messages a second, 1 to 1,000,000.
    pub messages_per_second: u32,
    /// How many may come at once after a silence, 1 to 1,000,000. The server's clock of waits ticks once a millisecond: a burst
    /// of less than some milliseconds' worth of messages lowers the rate.
    pub burst: u32,
}

/// One token, in the unit of a bucket's level: a nanosecond adds as many as there are messages a second, without a remainder.
const TOKEN: u64 = 1_000_000_000;

/// The tokens of one socket.
#[derive(Debug)]
pub(crate) struct Bucket {
    per_second: u64,
    most: u64,
    level: u64,
    /// When `level` was right.
    at: Instant,
    /// Wakes the socket's task when the next token is due; made when the bucket is empty for the first time.
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Bucket {
    /// A full one.
    pub(crate) fn new(limit: RateLimit, now: Instant) -> Self {
        let most = u64::from(limit.burst) * TOKEN;
        let per_second = u64::from(limit.messages_per_second);
        Self { per_second, most, level: most, at: now, sleep: None }
    }

    /// Whether there is a token; if not, the task is woken when there is one.
    pub(crate) fn poll_token(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(due) = self.due(Instant::now()) else { return Poll::Ready(()) };
        let due = due.into();
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(due)));
        if sleep.deadline() != due {
            sleep.as_mut().reset(due);
        }
        if sleep.as_mut().poll(cx).is_ready() {
            // It became due since the clock was read: the next look at the clock finds the token.
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// A message has come.
    pub(crate) fn take(&mut self) {
        self.level = self.level.saturating_sub(TOKEN);
    }

    /// When the next token is due; `None` if there is one.
    fn due(&mut self, now: Instant) -> Option<Instant> {
        let elapsed = now.saturating_duration_since(self.at).as_nanos();
        let gained = u64::try_from(elapsed).unwrap_or(u64::MAX).saturating_mul(self.per_second);
        self.level = self.level.saturating_add(gained).min(self.most);
        self.at = self.at.max(now);
        let missing = TOKEN.checked_sub(self.level).filter(|&missing| missing > 0)?;
        Some(self.at + Duration::from_nanos(missing.div_ceil(self.per_second)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Takes what there is.
    fn drain(bucket: &mut Bucket, now: Instant) -> u64 {
        let mut taken = 0;
        while bucket.due(now).is_none() {
            bucket.take();
            taken += 1;
        }
        taken
    }

    fn bucket(messages_per_second: u32, burst: u32) -> (Bucket, Instant) {
        let now = Instant::now();
        (Bucket::new(RateLimit { messages_per_second, burst }, now), now)
    }

    #[test]
    fn the_burst_comes_at_once_then_the_rate_and_a_silence_saves_up_no_more_than_the_burst() {
        let (mut bucket, start) = bucket(3, 10);
        assert_eq!(drain(&mut bucket, start), 10);
        assert_eq!(drain(&mut bucket, start + SECOND), 3);
        assert_eq!(drain(&mut bucket, start + SECOND), 0);
        assert_eq!(drain(&mut bucket, start + 3600 * SECOND), 10);
        assert_eq!(drain(&mut bucket, start), 0, "a clock that goes back gives none");
    }

    #[test]
    fn a_token_is_there_when_it_is_due_and_not_a_nanosecond_before() {
        for per_second in [1, 3, 7, 999_983, 1_000_000] {
            let (mut bucket, start) = bucket(per_second, 1);
            assert_eq!(drain(&mut bucket, start), 1);
            let mut now = start;
            for _ in 0..1000 {
                let due = bucket.due(now).unwrap();
                assert!(bucket.due(due - Duration::from_nanos(1)).is_some());
                assert_eq!(drain(&mut bucket, due), 1);
                now = due;
            }
            // Each wait is rounded up to a nanosecond, which the level makes good.
            let exact = 1000.0 / f64::from(per_second);
            let took = (now - start).as_secs_f64();
            assert!(took >= exact && took - exact < 0.000_002, "{took} {exact}");
        }
    }

    #[test]
    fn the_largest_limits_and_times_do_not_overflow() {
        let (mut bucket, start) = bucket(1_000_000, 1_000_000);
        assert_eq!(drain(&mut bucket, start), 1_000_000);
        let later = start + Duration::from_secs(100 * 365 * 24 * 60 * 60);
        assert_eq!(drain(&mut bucket, later), 1_000_000);
    }

    #[tokio::test]
    async fn whoever_waits_is_woken_when_the_token_is_due_and_seldom_before() {
        let (mut bucket, start) = bucket(20, 1);
        let mut polls = 0;
        for _ in 0..3 {
            std::future::poll_fn(|cx| {
                polls += 1;
                bucket.poll_token(cx)
            })
            .await;
            bucket.take();
        }
        assert!(start.elapsed() >= Duration::from_millis(100));
        assert!(polls < 10, "{polls}");
    }
}
