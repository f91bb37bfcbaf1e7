//! A finite-state machine over tokens.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use amphora_error::{Error, Result};

use super::{Constraint, Progress, ValueTree, keep_only};

/// What may be written at one place of a text. States are named by their place in the list.
#[derive(Debug, Clone)]
pub enum State {
    /// One of the alternatives.
    Values {
        /// The alternatives.
        values: ValueTree,
        /// The token that ends the value, where one does. Without it the value ends as soon as it is
        /// complete.
        end: Option<u32>,
        /// The state that follows.
        next: usize,
    },
    /// Anything else.
    Free {
        /// Tokens that may not come.
        blocked: BTreeSet<u32>,
        /// Tokens that lead to another state.
        exits: BTreeMap<u32, usize>,
        /// After how many tokens which of the exits is forced.
        forced: Option<Forced>,
        /// Whether the text may end here.
        may_end: bool,
    },
    /// The end: nothing may follow.
    End,
}

/// What ends a [`State::Free`] that has gone on for long enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forced {
    /// Most tokens in the state before it.
    pub after: usize,
    /// The token, one of the exits.
    pub token: u32,
}

/// A text that goes from state to state. Cloning it starts another text at the same place.
#[derive(Debug, Clone)]
pub struct TokenMachine {
    states: Arc<[State]>,
    state: usize,
    /// In a [`State::Values`], the place in the tree; in a [`State::Free`], how many tokens were
    /// written.
    place: usize,
}

impl TokenMachine {
    /// A text that begins in the first of `states`.
    ///
    /// # Errors
    ///
    /// [`amphora_error::ErrorKind::Usage`] listing every fault: a state that does not exist, a forced
    /// token that is no exit, alternatives without an end token of which one begins another, no
    /// state at all.
    pub fn new(states: Vec<State>) -> Result<Self> {
        let mut faults = Vec::new();
        if states.is_empty() {
            faults.push("there is no state".to_owned());
        }
        for (number, state) in states.iter().enumerate() {
            let mut led_to = Vec::new();
            match state {
                State::Values { values, end, next } => {
                    led_to.push(*next);
                    if end.is_none() && values.is_ambiguous() {
                        faults.push(format!(
                            "state {number}: one alternative begins another, and no token ends them"
                        ));
                    }
                }
                State::Free { exits, forced, .. } => {
                    led_to.extend(exits.values());
                    if forced.is_some_and(|forced| !exits.contains_key(&forced.token)) {
                        faults.push(format!("state {number}: the forced token is no exit"));
                    }
                }
                State::End => {}
            }
            led_to.retain(|next| *next >= states.len());
            let missing = led_to.iter();
            faults.extend(missing.map(|next| format!("state {number}: there is no state {next}")));
        }
        if !faults.is_empty() {
            return Err(
                Error::usage("token-machine", "the states do not fit each other").faults(faults),
            );
        }
        Ok(Self {
            states: states.into(),
            state: 0,
            place: 0,
        })
    }

    /// The state that the text is in.
    pub fn state(&self) -> usize {
        self.state
    }

    fn enter(&mut self, state: usize) {
        self.state = state;
        self.place = 0;
    }

    fn allows(&self, token: u32) -> bool {
        match &self.states[self.state] {
            State::Values { values, end, .. } => {
                values.next(self.place, token).is_some()
                    || (*end == Some(token) && values.is_complete(self.place))
            }
            State::Free {
                blocked, forced, ..
            } => match forced {
                Some(forced) if self.place >= forced.after => token == forced.token,
                _ => !blocked.contains(&token),
            },
            State::End => false,
        }
    }
}

impl Constraint for TokenMachine {
    fn mask(&mut self, logits: &mut [f32]) -> Result<()> {
        keep_only(logits, |token| self.allows(token));
        Ok(())
    }

    fn update(&mut self, token: u32) -> Result<()> {
        if !self.allows(token) {
            return Err(
                Error::usage("constraint-token", "the token may not come here")
                    .at(format!("token {token}, state {}", self.state)),
            );
        }
        let states = self.states.clone();
        match &states[self.state] {
            State::Values { values, end, next } => match values.next(self.place, token) {
                Some(place) => {
                    self.place = place;
                    if end.is_none() && values.is_leaf(place) {
                        self.enter(*next);
                    }
                }
                None => self.enter(*next),
            },
            State::Free { exits, .. } => match exits.get(&token) {
                Some(next) => self.enter(*next),
                None => self.place += 1,
            },
            State::End => {}
        }
        Ok(())
    }

    fn progress(&mut self) -> Progress {
        match &self.states[self.state] {
            State::End => Progress::Ended,
            State::Free { may_end: true, .. } => Progress::MayEnd,
            State::Free { .. } | State::Values { .. } => Progress::Unfinished,
        }
    }
}
