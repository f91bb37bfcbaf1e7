//! Many short lists in two allocations.

use std::ops::Range;

/// Lists of numbers by key, each in the order in which its values were given.
#[derive(Debug, Default)]
pub(super) struct Lists {
    /// Where the list of each key starts in `values`; one more entry than there are keys.
    starts: Vec<u32>,
    values: Vec<u32>,
}

impl Lists {
    /// Appends the list of the next key.
    pub(super) fn push(&mut self, values: &[u32]) {
        if self.starts.is_empty() {
            self.starts.push(0);
        }
        self.values.extend_from_slice(values);
        self.starts.push(self.values.len() as u32);
    }

    /// The number of keys.
    pub(super) fn len(&self) -> usize {
        self.starts.len().saturating_sub(1)
    }

    /// The list of `key`.
    pub(super) fn of(&self, key: u32) -> &[u32] {
        let range = self.range(key);
        &self.values[range]
    }

    fn range(&self, key: u32) -> Range<usize> {
        self.starts[key as usize] as usize..self.starts[key as usize + 1] as usize
    }
}

/// Numbers by an outer and an inner key.
#[derive(Debug, Default)]
pub(super) struct Groups {
    /// Sorted by outer key, then inner key; equal ones as they were given.
    values: Vec<u32>,
    /// Where the groups of each outer key start in `groups`; one more entry than there are keys.
    starts: Vec<u32>,
    /// Inner key, and where the group ends in `values`: it starts where the one before ends.
    groups: Vec<(u32, u32)>,
}

impl Groups {
    /// Groups values, each given after its outer and its inner key.
    pub(super) fn new(mut keyed: Vec<(u32, u32, u32)>) -> Self {
        keyed.sort_by_key(|(outer, inner, _)| (*outer, *inner));
        let keys = keyed.last().map_or(0, |(outer, ..)| *outer as usize + 1);
        let mut starts = vec![0; keys + 1];
        let mut groups: Vec<(u32, u32)> = Vec::new();
        let mut last = None;
        for (end, (outer, inner, _)) in (1_u32..).zip(&keyed) {
            if last == Some((outer, inner)) {
                groups.pop();
            } else {
                starts[*outer as usize + 1] += 1;
                last = Some((outer, inner));
            }
            groups.push((*inner, end));
        }
        let mut total = 0;
        for start in &mut starts {
            total += *start;
            *start = total;
        }
        Self {
            values: keyed.into_iter().map(|(_, _, value)| value).collect(),
            starts,
            groups,
        }
    }

    /// The groups of the outer key: inner key and values.
    pub(super) fn of(&self, outer: u32) -> impl Iterator<Item = (u32, &[u32])> {
        let range = self.starts[outer as usize] as usize..self.starts[outer as usize + 1] as usize;
        range.map(|group| {
            let start = group
                .checked_sub(1)
                .map_or(0, |before| self.groups[before].1);
            let (inner, end) = self.groups[group];
            (inner, &self.values[start as usize..end as usize])
        })
    }
}
