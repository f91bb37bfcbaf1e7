//! The names that a node may refer to.

use std::collections::HashSet;

/// The names of one graph, and those of the graphs around it.
#[derive(Default)]
pub(super) struct Scope<'s, 'm> {
    names: HashSet<&'m str>,
    outer: Option<&'s Scope<'s, 'm>>,
    depth: usize,
}

impl<'s, 'm> Scope<'s, 'm> {
    /// An empty graph inside this one.
    pub(super) fn inside(outer: &'s Self) -> Self {
        Self {
            names: HashSet::new(),
            outer: Some(outer),
            depth: outer.depth + 1,
        }
    }

    /// How many graphs lie around this one.
    pub(super) fn depth(&self) -> usize {
        self.depth
    }

    /// Adds a name; false when this graph has it already.
    pub(super) fn add(&mut self, name: &'m str) -> bool {
        self.names.insert(name)
    }

    /// Whether this graph itself has the name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    /// Whether this graph or one around it has the name.
    pub(super) fn sees(&self, name: &str) -> bool {
        let mut scope = Some(self);
        while let Some(current) = scope {
            if current.has(name) {
                return true;
            }
            scope = current.outer;
        }
        false
    }
}
