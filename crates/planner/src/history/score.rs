//! The score of one earlier run, and the best of many.

use std::cmp::Ordering;

/// How alike two sets are: common elements over all elements; 0 for two empty sets.
pub(super) fn jaccard(common: usize, left: usize, right: usize) -> f64 {
    match left + right - common {
        0 => 0.0,
        union => common as f64 / union as f64,
    }
}

/// `0.6 tags + 0.3 signals + 0.1 recency`, in this order of operations: ties depend on it.
///
/// Rounding is monotone, so a bound on each part bounds the rounded sum.
pub(super) fn combined(tags: f64, signals: f64, recency: f64) -> f64 {
    0.6 * tags + 0.3 * signals + 0.1 * recency
}

/// 1 for a run that started less than a day before, 1/2 for a week, 1/3 for thirty days, else 1/4.
pub(super) fn recency(age_ms: u64) -> f64 {
    const DAY_MS: u64 = 86_400_000;
    let bucket = match age_ms {
        age if age < DAY_MS => 0.0,
        age if age < 7 * DAY_MS => 1.0,
        age if age < 30 * DAY_MS => 2.0,
        _ => 3.0,
    };
    1.0 / (1.0 + bucket)
}

/// The best runs met so far: by score, then the one that comes later in the history.
pub(super) struct Best {
    limit: usize,
    /// Best first.
    found: Vec<(f64, u32)>,
}

impl Best {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            found: Vec::with_capacity(limit.min(64)),
        }
    }

    /// Whether a run that scores at most `bound` could still be among the best.
    pub(super) fn admits(&self, bound: f64) -> bool {
        self.admits_at(bound, u32::MAX)
    }

    /// The same for a run that comes no later than `position`.
    pub(super) fn admits_at(&self, bound: f64, position: u32) -> bool {
        let worst = self.found.last().filter(|_| self.found.len() >= self.limit);
        worst.is_none_or(|(score, at)| bound > *score || (bound == *score && position > *at))
    }

    /// Takes note of a run; one that was met before changes nothing.
    pub(super) fn offer(&mut self, score: f64, position: u32) {
        let order = |(other, at): &(f64, u32)| -> Ordering {
            score.total_cmp(other).then(position.cmp(at))
        };
        if let Err(place) = self.found.binary_search_by(order)
            && place < self.limit
        {
            self.found.truncate(self.limit - 1);
            self.found.insert(place, (score, position));
        }
    }

    pub(super) fn into_positions(self) -> Vec<u32> {
        self.found
            .into_iter()
            .map(|(_, position)| position)
            .collect()
    }
}
