//! What is known of one issue's earlier runs at any moment.

use std::collections::BTreeMap;

use super::index::NO_DECISION;

/// The runs of one issue.
#[derive(Debug, Default)]
pub(super) struct IssueRuns {
    /// For each run the moment from which it is known, and its decision; sorted once sealed.
    runs: Vec<(u64, u32)>,
    /// For each failure signal the two runs that showed it first, of different decisions: whatever
    /// decision asks, one of the two is no sibling.
    signals: BTreeMap<u32, Vec<(u64, u32)>>,
}

impl IssueRuns {
    /// Notes a run with its failure signals.
    pub(super) fn add(&mut self, signals: &[u32], known_from_ms: u64, decision: u32) {
        self.runs.push((known_from_ms, decision));
        for signal in signals {
            let first = self.signals.entry(*signal).or_default();
            first.push((known_from_ms, decision));
            first.sort_unstable();
            if let Some(earliest) = first.first().map(|(_, decision)| *decision) {
                let other = first[1..]
                    .iter()
                    .find(|(_, decision)| *decision != earliest)
                    .copied();
                first.truncate(1);
                first.extend(other);
            }
        }
    }

    /// Ends the adding of runs.
    pub(super) fn seal(&mut self) {
        self.runs.sort_unstable();
    }

    /// How many runs are known at `now_ms`, without those of `decision`.
    pub(super) fn attempts(&self, now_ms: u64, decision: u32) -> u32 {
        let known = self
            .runs
            .partition_point(|(known_from, _)| *known_from <= now_ms);
        let known = &self.runs[..known];
        let siblings = match decision {
            NO_DECISION => 0,
            _ => known.iter().filter(|(_, other)| *other == decision).count(),
        };
        u32::try_from(known.len() - siblings).unwrap_or(u32::MAX)
    }

    /// The signals of the runs known at `now_ms`, without those of `decision`, ascending.
    pub(super) fn signals(&self, now_ms: u64, decision: u32) -> Vec<u32> {
        let counts = |(known_from, other): &(u64, u32)| {
            *known_from <= now_ms && (decision == NO_DECISION || *other != decision)
        };
        self.signals
            .iter()
            .filter(|(_, first)| first.iter().any(counts))
            .map(|(signal, _)| *signal)
            .collect()
    }
}
