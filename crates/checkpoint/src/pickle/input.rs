//! The bytes of a pickle, read instruction by instruction.

use amphora_error::{Error, Result};

/// A pickle and how far it has been read.
pub(super) struct Input<'a> {
    bytes: &'a [u8],
    /// What the pickle is, for messages.
    what: &'static str,
    position: usize,
    /// Where the current instruction starts, for messages.
    start: usize,
}

impl<'a> Input<'a> {
    pub(super) fn new(bytes: &'a [u8], what: &'static str) -> Self {
        Self {
            bytes,
            what,
            position: 0,
            start: 0,
        }
    }

    pub(super) fn position(&self) -> usize {
        self.position
    }

    /// The code of the next instruction.
    pub(super) fn instruction(&mut self) -> Result<u8> {
        self.start = self.position;
        let [code] = self.array()?;
        Ok(code)
    }

    pub(super) fn array<const LENGTH: usize>(&mut self) -> Result<[u8; LENGTH]> {
        match self.bytes[self.position..].first_chunk() {
            Some(bytes) => {
                self.position += LENGTH;
                Ok(*bytes)
            }
            None => Err(self.truncated()),
        }
    }

    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        match self.bytes[self.position..].split_at_checked(length) {
            Some((bytes, _)) => {
                self.position += length;
                Ok(bytes)
            }
            None => Err(self.truncated()),
        }
    }

    /// The bytes after a little-endian length of `length_bytes` (at most 8) bytes.
    pub(super) fn prefixed(&mut self, length_bytes: usize) -> Result<&'a [u8]> {
        let mut length = [0; 8];
        length[..length_bytes].copy_from_slice(self.take(length_bytes)?);
        let length = usize::try_from(u64::from_le_bytes(length)).map_err(|_| self.truncated())?;
        self.take(length)
    }

    /// Text up to the next line feed.
    pub(super) fn line(&mut self) -> Result<&'a str> {
        let rest = &self.bytes[self.position..];
        let length = rest.iter().position(|byte| *byte == b'\n');
        let line = self.take(length.ok_or_else(|| self.truncated())?)?;
        self.position += 1;
        std::str::from_utf8(line).map_err(|_| self.malformed("pickle-text", "a name is not UTF-8"))
    }

    /// Checks that at least `length` bytes follow.
    pub(super) fn expect(&self, length: u64) -> Result<()> {
        let left = self.bytes.len() - self.position;
        if length > left as u64 {
            return Err(self.truncated());
        }
        Ok(())
    }

    pub(super) fn place(&self) -> String {
        format!("byte {} of {}", self.start, self.what)
    }

    pub(super) fn malformed(&self, rule: &'static str, message: impl Into<String>) -> Error {
        Error::malformed(rule, message).at(self.place())
    }

    fn truncated(&self) -> Error {
        self.malformed("pickle-truncated", "the pickle ends inside an instruction")
    }
}
