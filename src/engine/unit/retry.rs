//! Whether another attempt is worth it, and how long to wait for it. Knows how an attempt ended, not what it did.

use std::time::Duration;

use super::attempt::Ran;
use crate::event::Outcome;
use crate::workflow::model::{Retry, RetryOn};

/// Longest wait between two attempts.
const MAX_DELAY: Duration = Duration::from_secs(86_400);

/// Whether a failure is one that the node wants another attempt for, and there is one left. What a process that ended
/// well does not keep of its promises is none.
pub fn is_worth_another(retry: &Retry, ran: &Ran) -> bool {
    ran.attempts <= retry.max && ran.outcome.is_failure() && matches(retry, ran.outcome, ran.exit_code)
}

fn matches(retry: &Retry, outcome: Outcome, exit_code: Option<i32>) -> bool {
    let matches = |on: &RetryOn| match on {
        RetryOn::Timeout => outcome == Outcome::TimedOut,
        RetryOn::ExitCode(code) => exit_code == Some(*code),
    };
    retry.on.is_empty() || retry.on.iter().any(matches)
}

/// The wait after this attempt: `delay * factor^(attempt - 1)`, plus up to `jitter` of it; at most a day.
pub fn delay(retry: &Retry, attempt: u32) -> Duration {
    backoff(retry, attempt, random_fraction())
}

fn backoff(retry: &Retry, attempt: u32, fraction: f64) -> Duration {
    let exponent = i32::try_from(attempt.saturating_sub(1)).unwrap_or(i32::MAX);
    // Bounded at each step: nothing is multiplied with infinity, which would be no number.
    let longest = MAX_DELAY.as_secs_f64();
    let growth = retry.factor.powi(exponent).min(f64::MAX);
    let base = (retry.delay.as_secs_f64() * growth).min(longest);
    Duration::from_secs_f64((base + base * retry.jitter * fraction).clamp(0.0, longest))
}

/// 0 to 1, from the seed of a standard hash map: good enough to keep retries apart.
fn random_fraction() -> f64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0_u8) as f64 / u64::MAX as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn retry(delay: Duration, factor: f64, jitter: f64) -> Retry {
        Retry { max: 3, delay, factor, jitter, on: Vec::new(), between: None }
    }

    #[test]
    fn the_wait_grows_by_the_factor_and_ends_at_a_day() {
        let seconds = Duration::from_secs;
        let growing = retry(seconds(2), 3.0, 0.0);
        let waits: Vec<Duration> = (1..=4).map(|attempt| backoff(&growing, attempt, 0.5)).collect();
        assert_eq!(waits, [2, 6, 18, 54].map(seconds));
        assert_eq!(backoff(&retry(seconds(2), 1.0, 0.0), 50, 1.0), seconds(2));
        assert_eq!(backoff(&retry(seconds(10), 2.0, 0.5), 1, 0.0), seconds(10));
        assert_eq!(backoff(&retry(seconds(10), 2.0, 0.5), 2, 1.0), seconds(30));
        assert_eq!(backoff(&growing, 100, 1.0), MAX_DELAY);
        assert_eq!(backoff(&retry(Duration::ZERO, 1000.0, 1.0), 1000, 1.0), Duration::ZERO);
    }

    #[test]
    fn only_what_on_names_is_worth_another_attempt() {
        let retry = |on: &[RetryOn]| Retry { on: on.to_vec(), ..retry(Duration::ZERO, 1.0, 0.0) };
        let (timeout, five) = (RetryOn::Timeout, RetryOn::ExitCode(5));
        for (on, outcome, code, expect) in [
            (&[][..], Outcome::Failed, Some(1), true),
            (&[], Outcome::Failed, None, true),
            (&[], Outcome::TimedOut, None, true),
            (&[five], Outcome::Failed, Some(5), true),
            (&[five], Outcome::Failed, Some(4), false),
            (&[five], Outcome::Failed, None, false),
            (&[five], Outcome::TimedOut, None, false),
            (&[timeout], Outcome::TimedOut, None, true),
            (&[timeout], Outcome::Failed, Some(5), false),
            (&[timeout, five], Outcome::Failed, Some(5), true),
        ] {
            assert_eq!(matches(&retry(on), outcome, code), expect, "{on:?} {outcome:?} {code:?}");
        }
    }

    proptest! {
        #[test]
        fn every_wait_is_between_its_bounds(
            delay in 0..u64::MAX, factor in 1.0..1000.0f64, jitter in 0.0..=1.0f64, attempt in 1..200u32,
            fraction in 0.0..=1.0f64,
        ) {
            let delay = Duration::from_millis(delay);
            let wait = backoff(&retry(delay, factor, jitter), attempt, fraction);
            prop_assert!(wait <= MAX_DELAY && wait + Duration::from_micros(1) >= delay.min(MAX_DELAY));
        }
    }
}
