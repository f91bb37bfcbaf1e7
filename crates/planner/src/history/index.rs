//! The inverted index over the runs that one filter lets through.
//!
//! A score depends on a run's set of tags, its set of failure signals and its age. Many runs share
//! their sets, so the index keeps every distinct set once: from a tag or signal to the sets that have
//! it, and from a set (or a pair of both) to its runs by time. Among the runs of one set a later run
//! never scores less, so the last few of each are enough; a query touches the sets that share a tag or
//! a signal with it, rarest tags first, and stops when no set left could matter.

use std::collections::HashMap;

use super::lists::Lists;
use super::score::{Best, combined, jaccard, recency};

/// The distinct sets of interned words that runs have.
#[derive(Debug, Default)]
pub(super) struct Sets {
    /// From the set to its words, ascending.
    pub(super) words: Lists,
    /// From the run to its set.
    pub(super) of_run: Vec<u32>,
}

/// What the index needs of each run, by its position: runs are ordered by start, ascending, then by
/// id, descending, so that among equal scores the later position comes first.
#[derive(Debug, Default)]
pub(super) struct Runs {
    pub(super) started_ms: Vec<u64>,
    /// The first moment at which a query may know how the run ended.
    pub(super) known_from_ms: Vec<u64>,
    /// The decision that the run is part of, or [`NO_DECISION`].
    pub(super) decision: Vec<u32>,
    pub(super) tags: Sets,
    pub(super) signals: Sets,
}

/// The decision of a run that stands alone, and of a query without siblings.
pub(super) const NO_DECISION: u32 = u32::MAX;

impl Runs {
    /// Whether a query at `now_ms` may know the run, and it is no sibling in `decision`.
    pub(super) fn is_eligible(&self, position: u32, now_ms: u64, decision: u32) -> bool {
        let at = position as usize;
        self.known_from_ms[at] <= now_ms
            && (decision == NO_DECISION || self.decision[at] != decision)
    }
}

/// A set that a query asks about: the words that the history knows, ascending, and the number of all.
#[derive(Debug, Default)]
pub(super) struct Asked {
    pub(super) known: Vec<u32>,
    pub(super) size: usize,
}

impl Asked {
    /// How alike a set of words is.
    fn likeness(&self, words: &[u32]) -> f64 {
        let common = words
            .iter()
            .filter(|word| self.known.binary_search(word).is_ok())
            .count();
        jaccard(common, words.len(), self.size)
    }
}

/// What a query asks, interned.
pub(super) struct Question<'a> {
    pub(super) tags: &'a Asked,
    pub(super) signals: &'a Asked,
    pub(super) started_ms: u64,
    /// The decision whose runs do not count.
    pub(super) decision: u32,
    pub(super) limit: usize,
}

/// One of the two kinds of sets, for the runs of this index.
#[derive(Debug)]
struct Side {
    /// From the global set to the set of this index.
    local: HashMap<u32, u32>,
    /// From the set to its words.
    words: Lists,
    /// From the set to its runs, by position.
    runs: Lists,
    /// From the word to the sets that contain it.
    sets: HashMap<u32, Vec<u32>>,
}

impl Side {
    fn new(positions: &[u32], all: &Sets) -> Self {
        let mut side = Self {
            local: HashMap::new(),
            words: Lists::default(),
            runs: Lists::default(),
            sets: HashMap::new(),
        };
        for position in positions {
            let global = all.of_run[*position as usize];
            let next = side.local.len() as u32;
            if *side.local.entry(global).or_insert(next) == next {
                let words = all.words.of(global);
                side.words.push(words);
                for word in words {
                    side.sets.entry(*word).or_default().push(next);
                }
            }
        }
        let local = &side.local;
        let pairs = positions
            .iter()
            .map(|position| (local[&all.of_run[*position as usize]], *position));
        side.runs = Lists::group(local.len(), pairs);
        side
    }

    /// How alike the set is to what is asked.
    fn likeness(&self, set: u32, asked: &Asked) -> f64 {
        asked.likeness(self.words.of(set))
    }

    /// The asked words that some set here has, the rarest first.
    fn rarest_first(&self, asked: &Asked) -> Vec<u32> {
        let frequency = |word: &u32| self.sets.get(word).map_or(0, Vec::len);
        let mut words: Vec<u32> = asked.known.clone();
        words.retain(|word| frequency(word) > 0);
        words.sort_by_key(|word| (frequency(word), *word));
        words
    }

    /// The sets that contain `words[rank]` and none of the words before it.
    fn first_met_at<'a>(&'a self, words: &'a [u32], rank: usize) -> impl Iterator<Item = u32> + 'a {
        let sets = self.sets.get(&words[rank]).map_or(&[][..], Vec::as_slice);
        sets.iter().copied().filter(move |set| {
            let own = self.words.of(*set);
            !words[..rank].iter().any(|word| own.contains(word))
        })
    }
}

/// The runs that have one set of tags and one set of signals.
#[derive(Debug, Clone, Copy)]
struct Pair {
    signals: u32,
    start: u32,
    end: u32,
}

/// The index over the runs at some positions of the history.
#[derive(Debug)]
pub(super) struct Index {
    positions: Vec<u32>,
    tags: Side,
    signals: Side,
    /// Positions by set of tags, then set of signals, then position.
    by_pair: Vec<u32>,
    /// From the set of tags to its [`Pair`]s, by set of signals.
    pairs: Vec<Vec<Pair>>,
}

impl Index {
    /// An index over the runs at `positions`, which ascend.
    pub(super) fn new(positions: Vec<u32>, tags: &Sets, signals: &Sets) -> Self {
        let tag_side = Side::new(&positions, tags);
        let signal_side = Side::new(&positions, signals);
        let signals_of = |position: &u32| signal_side.local[&signals.of_run[*position as usize]];
        let mut by_pair = Vec::with_capacity(positions.len());
        let mut pairs = Vec::with_capacity(tag_side.runs.len());
        for set in 0..tag_side.runs.len() as u32 {
            let start = by_pair.len();
            by_pair.extend_from_slice(tag_side.runs.of(set));
            by_pair[start..].sort_by_key(signals_of);
            let mut own: Vec<Pair> = Vec::new();
            for (at, position) in by_pair.iter().enumerate().skip(start) {
                let signals = signals_of(position);
                match own.last_mut() {
                    Some(pair) if pair.signals == signals => pair.end += 1,
                    _ => own.push(Pair {
                        signals,
                        start: at as u32,
                        end: at as u32 + 1,
                    }),
                }
            }
            pairs.push(own);
        }
        Self {
            positions,
            tags: tag_side,
            signals: signal_side,
            by_pair,
            pairs,
        }
    }

    /// The positions of the best runs, best first.
    pub(super) fn search(&self, runs: &Runs, question: &Question) -> Vec<u32> {
        let mut walk = Walk {
            index: self,
            all: runs,
            question,
            end: runs
                .started_ms
                .partition_point(|started| *started < question.started_ms) as u32,
            best: Best::new(question.limit),
        };
        let met = self.signals_met(question);
        let alike = met.first().map_or(0.0, |(alike, _)| *alike);
        let words = self.tags.rarest_first(question.tags);
        for rank in 0..words.len() {
            // A set not met yet shares at most the words that are left.
            let left = jaccard(words.len() - rank, words.len() - rank, question.tags.size);
            if !walk.best.admits(combined(left, alike, 1.0)) {
                return walk.best.into_positions();
            }
            let mut sets: Vec<(f64, u32)> = self
                .tags
                .first_met_at(&words, rank)
                .map(|set| (self.tags.likeness(set, question.tags), set))
                .filter(|(tags, _)| walk.best.admits(combined(*tags, alike, 1.0)))
                .collect();
            // Sorting all would cost more than it saves: the likeliest few raise the bar.
            if sets.len() > question.limit {
                sets.select_nth_unstable_by(question.limit, |a, b| b.0.total_cmp(&a.0));
            }
            for (tags, set) in sets {
                if walk.best.admits(combined(tags, alike, 1.0)) {
                    walk.tag_set(set, tags, &met);
                }
            }
        }
        for (signals, set) in met {
            if !walk.best.admits(combined(0.0, signals, 1.0)) {
                break;
            }
            walk.runs(self.signals.runs.of(set), 0.0, signals);
        }
        walk.runs(&self.positions, 0.0, 0.0);
        walk.best.into_positions()
    }

    /// The sets that share a signal with the query, the most alike first.
    fn signals_met(&self, question: &Question) -> Vec<(f64, u32)> {
        let words = self.signals.rarest_first(question.signals);
        let mut met: Vec<(f64, u32)> = (0..words.len())
            .flat_map(|rank| self.signals.first_met_at(&words, rank))
            .map(|set| (self.signals.likeness(set, question.signals), set))
            .collect();
        met.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        met
    }
}

/// One search under way.
struct Walk<'a> {
    index: &'a Index,
    all: &'a Runs,
    question: &'a Question<'a>,
    /// Runs from this position on started at or after the query.
    end: u32,
    best: Best,
}

impl Walk<'_> {
    /// The runs of one set of tags: those without a common signal by time alone, the others by pair.
    fn tag_set(&mut self, set: u32, tags: f64, met: &[(f64, u32)]) {
        let index = self.index;
        self.runs(index.tags.runs.of(set), tags, 0.0);
        let pairs = &index.pairs[set as usize];
        if met.len() < pairs.len() {
            for (signals, other) in met {
                if !self.best.admits(combined(tags, *signals, 1.0)) {
                    break;
                }
                if let Ok(at) = pairs.binary_search_by_key(other, |pair| pair.signals) {
                    self.pair(pairs[at], tags, *signals);
                }
            }
        } else if !met.is_empty() {
            for pair in pairs {
                let signals = index.signals.likeness(pair.signals, self.question.signals);
                if signals > 0.0 {
                    self.pair(*pair, tags, signals);
                }
            }
        }
    }

    fn pair(&mut self, pair: Pair, tags: f64, signals: f64) {
        let index = self.index;
        let runs = &index.by_pair[pair.start as usize..pair.end as usize];
        self.runs(runs, tags, signals);
    }

    /// The latest eligible runs of `positions`, each of which is at least as alike as `tags` and
    /// `signals` say: none beyond the limit can be better than all of those before it.
    fn runs(&mut self, positions: &[u32], tags: f64, signals: f64) {
        let question = self.question;
        if !self.best.admits(combined(tags, signals, 1.0)) {
            return;
        }
        let before = positions.partition_point(|position| *position < self.end);
        let mut taken = 0;
        for position in positions[..before].iter().rev() {
            if taken == question.limit {
                return;
            }
            let started_ms = self.all.started_ms[*position as usize];
            let recency = recency(question.started_ms - started_ms);
            if !self.best.admits(combined(tags, signals, recency)) {
                return;
            }
            if self
                .all
                .is_eligible(*position, question.started_ms, question.decision)
            {
                taken += 1;
                self.best.offer(self.score(*position, recency), *position);
            }
        }
    }

    fn score(&self, position: u32, recency: f64) -> f64 {
        let alike = |sets: &Sets, asked: &Asked| {
            asked.likeness(sets.words.of(sets.of_run[position as usize]))
        };
        combined(
            alike(&self.all.tags, self.question.tags),
            alike(&self.all.signals, self.question.signals),
            recency,
        )
    }
}
