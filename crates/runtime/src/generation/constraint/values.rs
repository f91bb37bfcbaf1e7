//! Texts as sequences of tokens.

use std::collections::BTreeMap;

use amphora_error::{Error, Result, quoted};

/// The tokens that write `text`, one after the other, each of them the longest that fits: at every
/// place, the token of the longest beginning of the rest that `encode` makes a single token. Where no
/// beginning is a single token, those of the next character.
///
/// A tokenizer may cut the whole differently; this is the way that leaves a model no choice.
///
/// # Errors
///
/// Those of `encode`; [`amphora_error::ErrorKind::Unsupported`] when a character has no token.
pub fn fixed_tokens(
    text: &str,
    encode: &mut dyn FnMut(&str) -> Result<Vec<u32>>,
) -> Result<Vec<u32>> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let mut ends: Vec<usize> = rest.char_indices().skip(1).map(|(at, _)| at).collect();
        ends.push(rest.len());
        let mut single = None;
        for &end in ends.iter().rev() {
            if let [token] = encode(&rest[..end])?[..] {
                single = Some((token, end));
                break;
            }
        }
        match single {
            Some((token, end)) => {
                tokens.push(token);
                rest = &rest[end..];
            }
            None => {
                let (character, after) = rest.split_at(first.len_utf8());
                let written = encode(character)?;
                if written.is_empty() {
                    return Err(Error::unsupported(
                        "fixed-text",
                        "the tokenizer has no token for a character of a fixed text",
                    )
                    .at(quoted(character).to_string()));
                }
                tokens.extend(written);
                rest = after;
            }
        }
    }
    Ok(tokens)
}

/// Alternatives as sequences of tokens, found by what they begin with.
#[derive(Debug, Clone)]
pub struct ValueTree {
    /// The first is the root: nothing written yet.
    nodes: Vec<Node>,
}

#[derive(Debug, Clone, Default)]
struct Node {
    next: BTreeMap<u32, usize>,
    /// Whether an alternative ends here.
    complete: bool,
}

impl ValueTree {
    /// The place in front of the first token.
    pub(super) const ROOT: usize = 0;

    /// A tree of these sequences.
    ///
    /// # Errors
    ///
    /// [`amphora_error::ErrorKind::Usage`] when there is none, or one without a token.
    pub fn new(sequences: impl IntoIterator<Item = Vec<u32>>) -> Result<Self> {
        let mut tree = Self {
            nodes: vec![Node::default()],
        };
        for sequence in sequences {
            if sequence.is_empty() {
                return Err(Error::usage("value-empty", "an alternative has no token"));
            }
            let mut at = Self::ROOT;
            for token in sequence {
                let fresh = tree.nodes.len();
                let next = *tree.nodes[at].next.entry(token).or_insert(fresh);
                if next == fresh {
                    tree.nodes.push(Node::default());
                }
                at = next;
            }
            tree.nodes[at].complete = true;
        }
        if tree.nodes.len() == 1 {
            return Err(Error::usage("values", "there is no alternative"));
        }
        Ok(tree)
    }

    /// The one text, as [`fixed_tokens`] writes it.
    ///
    /// # Errors
    ///
    /// Those of [`fixed_tokens`] and [`ValueTree::new`].
    pub fn fixed(text: &str, encode: &mut dyn FnMut(&str) -> Result<Vec<u32>>) -> Result<Self> {
        Self::new([fixed_tokens(text, encode)?])
    }

    /// The values of a field that is written `name: value`, as they follow the tokens of `name:`. A
    /// tokenizer that joins the colon with what follows is asked for the value, with the blank in
    /// front of it, alone.
    ///
    /// # Errors
    ///
    /// Those of `encode` and [`ValueTree::new`].
    pub fn of_field(
        name: &str,
        values: &[String],
        encode: &mut dyn FnMut(&str) -> Result<Vec<u32>>,
    ) -> Result<Self> {
        let label = encode(&format!("{name}:"))?;
        let mut sequences = Vec::with_capacity(values.len());
        for value in values {
            let whole = encode(&format!("{name}: {value}"))?;
            sequences.push(match whole.strip_prefix(label.as_slice()) {
                Some(rest) => rest.to_vec(),
                None => encode(&format!(" {value}"))?,
            });
        }
        Self::new(sequences)
    }

    pub(super) fn next(&self, at: usize, token: u32) -> Option<usize> {
        self.nodes.get(at)?.next.get(&token).copied()
    }

    pub(super) fn is_complete(&self, at: usize) -> bool {
        self.nodes.get(at).is_some_and(|node| node.complete)
    }

    /// Whether nothing follows.
    pub(super) fn is_leaf(&self, at: usize) -> bool {
        self.nodes.get(at).is_none_or(|node| node.next.is_empty())
    }

    /// Whether one alternative is the beginning of another.
    pub(super) fn is_ambiguous(&self) -> bool {
        self.nodes
            .iter()
            .any(|node| node.complete && !node.next.is_empty())
    }
}
