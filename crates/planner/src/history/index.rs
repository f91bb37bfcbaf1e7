//! The inverted index over the runs that one filter lets through.
//!
//! A score depends on a run's set of tags, its set of failure signals and its age. Many runs share
//! their sets, so the index keeps every distinct set once, and from a tag or signal the sets that have
//! it. Runs are in groups whose members a query scores alike but for their age: in a group a later run
//! never scores less, so a walk through it from the latest run on ends as soon as the next one could
//! not be among the best. Three kinds of groups cover every run:
//!
//! * A **rare** signal leads to few sets. Where one of them is asked about, the runs of its sets are in
//!   groups of one set of signals and one set of tags.
//! * The few **frequent** signals are in too many sets. For runs that share no rare signal with the
//!   query only the frequent ones of a set and its size matter: the set's *kind*. The runs of each set
//!   of tags that shares a tag with the query are in groups of one kind. Rare tags come first, and
//!   tags end when no set that is left could matter.
//! * Runs that share no tag are in groups of one kind over all sets of tags.

use std::cmp::Reverse;
use std::collections::HashMap;

use super::lists::{Groups, Lists};
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

/// Signals in more sets than this can be frequent.
const FREQUENT_FROM: usize = 32;
/// Most frequent signals: their presence in a set is one bit each.
const MOST_FREQUENT: usize = u16::BITS as usize;

/// The distinct sets of tags, or of signals, of the runs of this index.
#[derive(Debug, Default)]
struct Side {
    /// From the set to its words.
    words: Lists,
    /// From the word to the sets that contain it.
    sets: HashMap<u32, Vec<u32>>,
}

impl Side {
    /// The sets, and which of them each of `positions` has.
    fn new(positions: &[u32], all: &Sets) -> (Self, Vec<u32>) {
        let mut side = Self::default();
        let mut met: HashMap<u32, u32> = HashMap::new();
        let mut of_run = Vec::with_capacity(positions.len());
        for position in positions {
            let global = all.of_run[*position as usize];
            let next = met.len() as u32;
            let set = *met.entry(global).or_insert(next);
            if set == next {
                let words = all.words.of(global);
                side.words.push(words);
                for word in words {
                    side.sets.entry(*word).or_default().push(next);
                }
            }
            of_run.push(set);
        }
        (side, of_run)
    }

    fn frequency(&self, word: u32) -> usize {
        self.sets.get(&word).map_or(0, Vec::len)
    }

    /// How alike the set is to what is asked.
    fn likeness(&self, set: u32, asked: &Asked) -> f64 {
        asked.likeness(self.words.of(set))
    }

    /// The words that some set here has, the rarest first.
    fn rarest_first(&self, words: impl Iterator<Item = u32>) -> Vec<u32> {
        let mut words: Vec<u32> = words.filter(|word| self.frequency(*word) > 0).collect();
        words.sort_by_key(|word| (self.frequency(*word), *word));
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

/// What a set of signals is for a query that asks about none of its rare ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Kind {
    /// Which of the frequent signals it has.
    frequent: u16,
    /// How many signals it has.
    size: u32,
}

/// The index over the runs at some positions of the history.
#[derive(Debug)]
pub(super) struct Index {
    tags: Side,
    signals: Side,
    /// At most [`MOST_FREQUENT`].
    frequent: Vec<u32>,
    kinds: Vec<Kind>,
    /// Runs by set of signals, then set of tags.
    by_signals: Groups,
    /// Runs by set of tags, then kind of signals.
    by_tags: Groups,
    /// Runs by kind of signals.
    by_kind: Groups,
}

impl Index {
    /// An index over the runs at `positions`, which ascend.
    pub(super) fn new(positions: &[u32], runs: &Runs) -> Self {
        let (tags, tags_of) = Side::new(positions, &runs.tags);
        let (signals, signals_of) = Side::new(positions, &runs.signals);
        let mut frequent: Vec<u32> = signals.sets.keys().copied().collect();
        frequent.retain(|word| signals.frequency(*word) > FREQUENT_FROM);
        frequent.sort_by_key(|word| (Reverse(signals.frequency(*word)), *word));
        frequent.truncate(MOST_FREQUENT);

        let mut kinds = Vec::new();
        let mut ids: HashMap<Kind, u32> = HashMap::new();
        let kind_of_set: Vec<u32> = (0..signals.words.len() as u32)
            .map(|set| {
                let words = signals.words.of(set);
                let kind = Kind {
                    frequent: mask(&frequent, |word| words.contains(word)),
                    size: words.len() as u32,
                };
                *ids.entry(kind).or_insert_with(|| {
                    kinds.push(kind);
                    kinds.len() as u32 - 1
                })
            })
            .collect();
        let kinds_of: Vec<u32> = signals_of
            .iter()
            .map(|set| kind_of_set[*set as usize])
            .collect();
        let of = |outer: &[u32], inner: &[u32]| {
            let keys = outer.iter().copied().zip(inner.iter().copied());
            let keyed = keys
                .zip(positions)
                .map(|((outer, inner), at)| (outer, inner, *at));
            Groups::new(keyed.collect())
        };
        Self {
            by_signals: of(&signals_of, &tags_of),
            by_tags: of(&tags_of, &kinds_of),
            by_kind: of(&kinds_of, &vec![0; positions.len()]),
            tags,
            signals,
            frequent,
            kinds,
        }
    }

    /// The positions of the best runs, best first.
    pub(super) fn search(&self, runs: &Runs, question: &Question) -> Vec<u32> {
        let started_before = |started: &u64| *started < question.started_ms;
        let mut walk = Walk {
            runs,
            question,
            end: runs.started_ms.partition_point(started_before) as u32,
            best: Best::new(question.limit),
        };
        self.with_rare_signals(&mut walk);
        let likeness = self.likeness_of_kinds(question.signals);
        let most = likeness.iter().copied().fold(0.0, f64::max);
        if self.with_tags(&mut walk, &likeness, most) {
            let mut kinds: Vec<(f64, u32)> = likeness.into_iter().zip(0..).collect();
            kinds.retain(|(signals, _)| walk.best.admits(combined(0.0, *signals, 1.0)));
            kinds.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
            for (signals, kind) in kinds {
                for (_, positions) in self.by_kind.of(kind) {
                    walk.group(positions, 0.0, signals);
                }
            }
        }
        walk.best.into_positions()
    }

    /// Runs that share a rare signal with the query.
    fn with_rare_signals(&self, walk: &mut Walk) {
        let question = walk.question;
        let asked = question.signals.known.iter().copied();
        let rare = asked.filter(|word| !self.frequent.contains(word));
        let words = self.signals.rarest_first(rare);
        let mut sets: Vec<(f64, u32)> = (0..words.len())
            .flat_map(|rank| self.signals.first_met_at(&words, rank))
            .map(|set| (self.signals.likeness(set, question.signals), set))
            .collect();
        sets.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        for (signals, set) in sets {
            if !walk.best.admits(combined(1.0, signals, 1.0)) {
                return;
            }
            for (tags, positions) in self.by_signals.of(set) {
                let tags = self.tags.likeness(tags, question.tags);
                walk.group(positions, tags, signals);
            }
        }
    }

    /// How alike each kind is, as long as no rare signal is shared.
    fn likeness_of_kinds(&self, asked: &Asked) -> Vec<f64> {
        let frequent = mask(&self.frequent, |word| {
            asked.known.binary_search(word).is_ok()
        });
        let likeness = |kind: &Kind| {
            let common = (kind.frequent & frequent).count_ones() as usize;
            jaccard(common, kind.size as usize, asked.size)
        };
        self.kinds.iter().map(likeness).collect()
    }

    /// Runs that share a tag with the query; false when those that share none cannot matter.
    fn with_tags(&self, walk: &mut Walk, likeness: &[f64], most: f64) -> bool {
        let question = walk.question;
        let words = self.tags.rarest_first(question.tags.known.iter().copied());
        for rank in 0..words.len() {
            // A set not met yet shares at most the words that are left.
            let left = words.len() - rank;
            let tags = jaccard(left, left, question.tags.size);
            if !walk.best.admits(combined(tags, most, 1.0)) {
                return false;
            }
            let mut sets: Vec<(f64, u32)> = self
                .tags
                .first_met_at(&words, rank)
                .map(|set| (self.tags.likeness(set, question.tags), set))
                .filter(|(tags, _)| walk.best.admits(combined(*tags, most, 1.0)))
                .collect();
            // Sorting all would cost more than it saves: the likeliest few raise the bar.
            if sets.len() > question.limit {
                sets.select_nth_unstable_by(question.limit, |a, b| b.0.total_cmp(&a.0));
            }
            for (tags, set) in sets {
                if walk.best.admits(combined(tags, most, 1.0)) {
                    for (kind, positions) in self.by_tags.of(set) {
                        walk.group(positions, tags, likeness[kind as usize]);
                    }
                }
            }
        }
        true
    }
}

/// Which of the `frequent` words are present, one bit each.
fn mask(frequent: &[u32], is_present: impl Fn(&u32) -> bool) -> u16 {
    let bits = frequent.iter().zip(0..MOST_FREQUENT);
    bits.filter(|(word, _)| is_present(word))
        .fold(0, |mask, (_, bit)| mask | 1 << bit)
}

/// One search under way.
struct Walk<'a> {
    runs: &'a Runs,
    question: &'a Question<'a>,
    /// Runs from this position on started at or after the query.
    end: u32,
    best: Best,
}

impl Walk<'_> {
    /// Looks at the runs of a group, the latest first. Each is at least as alike as `tags` and
    /// `signals` say, and one that is more so is in another group too.
    fn group(&mut self, positions: &[u32], tags: f64, signals: f64) {
        let question = self.question;
        if !self.best.admits(combined(tags, signals, 1.0)) {
            return;
        }
        let before = positions.partition_point(|position| *position < self.end);
        for position in positions[..before].iter().rev() {
            let started_ms = self.runs.started_ms[*position as usize];
            let recency = recency(question.started_ms - started_ms);
            if !self
                .best
                .admits_at(combined(tags, signals, recency), *position)
            {
                return;
            }
            if self
                .runs
                .is_eligible(*position, question.started_ms, question.decision)
            {
                self.best.offer(self.score(*position, recency), *position);
            }
        }
    }

    fn score(&self, position: u32, recency: f64) -> f64 {
        let alike = |sets: &Sets, asked: &Asked| {
            asked.likeness(sets.words.of(sets.of_run[position as usize]))
        };
        combined(
            alike(&self.runs.tags, self.question.tags),
            alike(&self.runs.signals, self.question.signals),
            recency,
        )
    }
}
