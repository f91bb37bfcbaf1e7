//! Strings that end a text.

use amphora_error::{Error, Result};

/// Looks for strings that end a text while the text comes in pieces, however the pieces are cut.
#[derive(Debug, Clone)]
pub struct StopStrings {
    stops: Vec<String>,
    /// Text that may be the beginning of one of them.
    held: String,
}

/// What became of a piece of text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scanned {
    /// Text that is certain now, in front of any stop.
    pub text: String,
    /// The string that ended the text, by its place in the list.
    pub stopped: Option<usize>,
}

impl StopStrings {
    /// A search for `stops`.
    ///
    /// # Errors
    ///
    /// [`amphora_error::ErrorKind::Usage`] when one of them is empty.
    pub fn new(stops: &[String]) -> Result<Self> {
        if stops.iter().any(String::is_empty) {
            return Err(Error::usage(
                "stop-empty",
                "an empty string cannot end a text",
            ));
        }
        Ok(Self {
            stops: stops.to_vec(),
            held: String::new(),
        })
    }

    /// Takes the next piece. Of several strings in it the one that begins first ends the text, of
    /// those the longest.
    pub fn push(&mut self, piece: &str) -> Scanned {
        self.held.push_str(piece);
        let found = self.stops.iter().enumerate().filter_map(|(index, stop)| {
            let place = self.held.find(stop.as_str())?;
            Some((place, std::cmp::Reverse(stop.len()), index))
        });
        if let Some((place, _, index)) = found.min() {
            self.held.truncate(place);
            return Scanned {
                text: std::mem::take(&mut self.held),
                stopped: Some(index),
            };
        }
        let certain = self.held.len() - self.begun();
        let rest = self.held.split_off(certain);
        Scanned {
            text: std::mem::replace(&mut self.held, rest),
            stopped: None,
        }
    }

    /// The text that was held back, when nothing comes any more.
    pub fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }

    /// The length of the longest end of the held text that a stop begins with.
    fn begun(&self) -> usize {
        let begins = |start: &usize| {
            let end = &self.held[*start..];
            self.stops.iter().any(|stop| stop.starts_with(end))
        };
        let longest = self.stops.iter().map(String::len).max().unwrap_or(0);
        let from = self.held.len().saturating_sub(longest);
        let starts = self.held.char_indices().map(|(start, _)| start);
        let start = starts.filter(|start| *start >= from).find(begins);
        start.map_or(0, |start| self.held.len() - start)
    }
}
