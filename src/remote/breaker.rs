//! Gives a place up that fails again and again, so that a server that is gone costs a run a few failures and not one
//! each node. Knows nothing of what fails.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// Failures in a row after which a place is given up for the rest of this process.
pub const PATIENCE: u32 = 3;

/// Counts failures in a row.
#[derive(Debug, Default)]
pub struct Breaker {
    in_a_row: AtomicU32,
    is_open: AtomicBool,
}

/// What a failure led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    GoesOn,
    /// This failure was the last one: said once.
    GivenUp,
}

impl Breaker {
    pub fn is_open(&self) -> bool {
        self.is_open.load(Ordering::Acquire)
    }

    pub fn worked(&self) {
        self.in_a_row.store(0, Ordering::Release);
    }

    pub fn failed(&self) -> After {
        let failures = self.in_a_row.fetch_add(1, Ordering::AcqRel) + 1;
        if failures >= PATIENCE && !self.is_open.swap(true, Ordering::AcqRel) {
            After::GivenUp
        } else {
            After::GoesOn
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_failures_in_a_row_count_and_the_end_is_told_once() {
        let breaker = Breaker::default();
        assert_eq!([breaker.failed(), breaker.failed()], [After::GoesOn; 2]);
        breaker.worked();
        assert_eq!([breaker.failed(), breaker.failed()], [After::GoesOn; 2]);
        assert!(!breaker.is_open());
        assert_eq!(breaker.failed(), After::GivenUp);
        assert!(breaker.is_open());
        assert_eq!(breaker.failed(), After::GoesOn);
    }
}
