//! Many short lists in two allocations.

/// Lists of numbers by key, each in the order in which its values were given.
#[derive(Debug, Default)]
pub(super) struct Lists {
    /// Where the list of each key starts in `values`; one more entry than there are keys.
    starts: Vec<u32>,
    values: Vec<u32>,
}

impl Lists {
    /// Groups `pairs` of key and value; keys are below `keys`.
    pub(super) fn group(keys: usize, pairs: impl Iterator<Item = (u32, u32)> + Clone) -> Self {
        let mut starts = vec![0_u32; keys + 1];
        for (key, _) in pairs.clone() {
            starts[key as usize + 1] += 1;
        }
        let mut total = 0;
        for start in &mut starts {
            total += *start;
            *start = total;
        }
        let mut next = starts.clone();
        let mut values = vec![0; total as usize];
        for (key, value) in pairs {
            let place = &mut next[key as usize];
            values[*place as usize] = value;
            *place += 1;
        }
        Self { starts, values }
    }

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

    /// Where the list of `key` lies in the concatenation of all lists.
    pub(super) fn range(&self, key: u32) -> std::ops::Range<usize> {
        self.starts[key as usize] as usize..self.starts[key as usize + 1] as usize
    }
}
