//! A time limit that counts running time only. Knows nothing of what it limits.

use std::time::Duration;

use tokio::time::Instant;

/// Time is taken in steps of this size. A step counts twice this at most: when it took longer, we were suspended.
const STEP: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Countdown {
    left: Duration,
    since: Instant,
}

impl Countdown {
    pub fn new(limit: Duration) -> Self {
        Self { left: limit, since: Instant::now() }
    }

    /// When to look again.
    pub fn wake(&self) -> Instant {
        self.since + self.left.min(STEP)
    }

    pub fn is_over(&mut self) -> bool {
        self.step(Instant::now())
    }

    fn step(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.since);
        self.since = now;
        self.left = self.left.saturating_sub(passed.min(STEP * 2));
        self.left.is_zero()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_counts_two_steps_at_most() {
        let mut countdown = Countdown::new(Duration::from_secs(10));
        let began = countdown.since;
        assert_eq!(countdown.wake(), began + STEP);
        assert!(!countdown.step(began + STEP));
        let awake = began + Duration::from_secs(3600);
        assert!(!countdown.step(awake));
        assert_eq!(countdown.left, Duration::from_secs(7));
        for second in 1..7 {
            assert!(!countdown.step(awake + STEP * second));
        }
        assert!(countdown.step(awake + STEP * 7));
    }

    #[test]
    fn a_short_limit_wakes_when_it_is_over() {
        let mut countdown = Countdown::new(Duration::from_millis(5));
        let began = countdown.since;
        assert_eq!(countdown.wake(), began + Duration::from_millis(5));
        assert!(countdown.step(began + Duration::from_millis(5)));
    }
}
