//! Leaves a model alone that keeps failing.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// When a model is left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerSettings {
    /// After so many failures in a row.
    pub failures: u32,
    /// For so long; then one decision tries it again.
    pub rest: Duration,
}

impl Default for BreakerSettings {
    fn default() -> Self {
        Self {
            failures: 3,
            rest: Duration::from_secs(30),
        }
    }
}

#[derive(Debug, Default)]
struct State {
    failures: u32,
    rests_until: Option<Instant>,
}

#[derive(Debug)]
pub(super) struct Breaker {
    settings: BreakerSettings,
    state: Mutex<State>,
}

impl Breaker {
    pub(super) fn new(settings: BreakerSettings) -> Self {
        Self {
            settings,
            state: Mutex::default(),
        }
    }

    /// Whether the model may be asked now. After a rest only one decision is let through; the others
    /// wait for what becomes of it.
    pub(super) fn lets_through(&self) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(until) = state.rests_until else {
            return true;
        };
        let now = Instant::now();
        if now < until {
            return false;
        }
        state.rests_until = now.checked_add(self.settings.rest);
        true
    }

    /// What became of asking it.
    pub(super) fn record(&self, answered: bool) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if answered {
            *state = State::default();
            return;
        }
        state.failures = state.failures.saturating_add(1);
        if state.failures >= self.settings.failures {
            state.rests_until = Instant::now().checked_add(self.settings.rest);
        }
    }
}
