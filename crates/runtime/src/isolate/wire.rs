//! The messages between a session and the process that runs its engine.
//!
//! A message is a frame: its length in bytes (u64, little-endian), then its fields in order. Numbers
//! are u64, byte strings and texts are a length and their bytes, lists a count and their items. Both
//! ends are the same program; still, the parent trusts no length that a child sends, for the engine in
//! it may have been overrun.

use std::io::{ErrorKind as Os, Read, Write};

use amphora_error::{Error, ErrorKind, Result};
use amphora_onnx::Dtype;
use bytes::Bytes;

use crate::Tensor;
use crate::tensor::Data;

/// Frames beyond this many bytes are not read; models are limited to less.
pub(super) const LARGEST: u64 = 64 << 30;

/// Rules that an error keeps on its way; others become `isolated-engine`.
const RULES: [&str; 20] = [
    "chat-continue",
    "chat-date",
    "chat-prompt-size",
    "chat-refused",
    "chat-template",
    "chat-template-name",
    "chat-template-stack",
    "chat-template-steps",
    "engine-absent",
    "engine-dtype",
    "engine-input",
    "engine-load",
    "engine-operators",
    "engine-panic",
    "engine-range",
    "engine-run",
    "engine-value",
    "ort-library",
    "ort-version",
    "outputs",
];

/// A message being written. Weights are sent from where they are.
#[derive(Default)]
pub(super) struct Writer {
    parts: Vec<Bytes>,
    last: Vec<u8>,
}

impl Writer {
    pub(super) fn number(&mut self, number: u64) {
        self.last.extend(number.to_le_bytes());
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.last.extend(bytes);
    }

    /// As [`Writer::bytes`], without a copy.
    pub(super) fn shared(&mut self, bytes: &Bytes) {
        self.number(bytes.len() as u64);
        self.parts.push(std::mem::take(&mut self.last).into());
        self.parts.push(bytes.clone());
    }

    pub(super) fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    pub(super) fn texts<'a>(&mut self, texts: impl ExactSizeIterator<Item = &'a str>) {
        self.number(texts.len() as u64);
        texts.for_each(|text| self.text(text));
    }

    /// Element type and shape.
    pub(super) fn form(&mut self, dtype: Dtype, shape: &[usize]) {
        self.number(dtype.to_onnx() as u64);
        self.number(shape.len() as u64);
        shape.iter().for_each(|&dim| self.number(dim as u64));
    }

    pub(super) fn tensor(&mut self, tensor: &Tensor) {
        self.form(tensor.dtype(), tensor.shape());
        match tensor.data() {
            Data::String(elements) => self.texts(elements.iter().map(String::as_str)),
            _ => self.bytes(&tensor.to_le_bytes().unwrap_or_default()),
        }
    }

    pub(super) fn error(&mut self, error: &Error) {
        self.text(error.kind().word());
        self.text(error.rule());
        // Expected and found are part of the text, the place is not.
        let text = error.to_string();
        let (first, _) = text.split_once("\n  - ").unwrap_or((&text, ""));
        self.text(first);
        self.texts(error.fault_list().iter().map(String::as_str));
        self.text(error.hint_text().unwrap_or_default());
    }

    /// Sends the message.
    pub(super) fn send(self, output: &mut dyn Write) -> std::io::Result<()> {
        let parts = self.parts.iter().map(|part| part.len() as u64);
        let length = parts.sum::<u64>() + self.last.len() as u64;
        output.write_all(&length.to_le_bytes())?;
        for part in &self.parts {
            output.write_all(part)?;
        }
        output.write_all(&self.last)?;
        output.flush()
    }
}

/// A message being read. Byte strings are parts of it.
pub(super) struct Reader {
    frame: Bytes,
    position: usize,
}

impl Reader {
    /// Receives a message of at most `largest` bytes; `None` when the other end has closed the pipe
    /// between two messages.
    pub(super) fn receive(input: &mut dyn Read, largest: u64) -> std::io::Result<Option<Self>> {
        let mut length = [0; 8];
        let mut filled = 0;
        while let Some(rest) = length.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match input.read(rest) {
                Ok(0) if filled == 0 => return Ok(None),
                Ok(0) => return Err(Os::UnexpectedEof.into()),
                Ok(count) => filled += count,
                Err(error) if error.kind() == Os::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let length = u64::from_le_bytes(length);
        if length > largest {
            return Err(Os::InvalidData.into());
        }
        // Grows with what arrives, so that a length alone costs nothing.
        let mut frame = Vec::new();
        input.take(length).read_to_end(&mut frame)?;
        if frame.len() as u64 != length {
            return Err(Os::UnexpectedEof.into());
        }
        frame.shrink_to_fit();
        Ok(Some(Self {
            frame: frame.into(),
            position: 0,
        }))
    }

    /// The bytes of the whole message.
    pub(super) fn len(&self) -> u64 {
        self.frame.len() as u64
    }

    fn take(&mut self, count: u64) -> Result<Bytes> {
        let range = usize::try_from(count)
            .ok()
            .and_then(|count| self.position.checked_add(count))
            .map(|end| self.position..end);
        let range = range.filter(|range| range.end <= self.frame.len());
        let range = range.ok_or_else(damaged)?;
        self.position = range.end;
        Ok(self.frame.slice(range))
    }

    pub(super) fn number(&mut self) -> Result<u64> {
        let bytes = self.take(8)?;
        let bytes: [u8; 8] = bytes.as_ref().try_into().map_err(|_| damaged())?;
        Ok(u64::from_le_bytes(bytes))
    }

    pub(super) fn bytes(&mut self) -> Result<Bytes> {
        let length = self.number()?;
        self.take(length)
    }

    pub(super) fn text(&mut self) -> Result<String> {
        String::from_utf8(self.bytes()?.into()).map_err(|_| damaged())
    }

    pub(super) fn texts(&mut self) -> Result<Vec<String>> {
        let count = self.number()?;
        (0..count).map(|_| self.text()).collect()
    }

    pub(super) fn form(&mut self) -> Result<(Dtype, Vec<usize>)> {
        let dtype = i32::try_from(self.number()?).map_err(|_| damaged())?;
        let dtype = Dtype::from_onnx(dtype)?;
        let rank = self.number()?;
        let shape: Result<Vec<usize>> = (0..rank)
            .map(|_| usize::try_from(self.number()?).map_err(|_| damaged()))
            .collect();
        Ok((dtype, shape?))
    }

    pub(super) fn tensor(&mut self) -> Result<Tensor> {
        let (dtype, shape) = self.form()?;
        match dtype {
            Dtype::String => Tensor::new(shape, self.texts()?),
            _ => {
                let length = self.number()?;
                Tensor::from_le_bytes(dtype, shape, &self.take(length)?)
            }
        }
    }

    pub(super) fn error(&mut self) -> Result<Error> {
        let word = self.text()?;
        let kind = ErrorKind::ALL.into_iter().find(|kind| kind.word() == word);
        let rule = self.text()?;
        let rule = RULES.into_iter().find(|known| *known == rule);
        let message = self.text()?;
        let faults = self.texts()?;
        let hint = self.text()?;
        let kind = kind.unwrap_or(ErrorKind::Unsupported);
        let error = Error::new(kind, rule.unwrap_or("isolated-engine"), message).faults(faults);
        Ok(if hint.is_empty() {
            error
        } else {
            error.hint(hint)
        })
    }
}

fn damaged() -> Error {
    Error::limit(
        "isolated-answer",
        "the process that runs the engine answered something unreadable",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensors_and_errors_survive_the_way() {
        let tensors = [
            Tensor::new([2, 2], vec![1.0_f32, f32::INFINITY, -0.0, 2.5]).unwrap(),
            Tensor::scalar("text".to_owned()),
            Tensor::new([0], Vec::<i64>::new()).unwrap(),
            Tensor::from_le_bytes(Dtype::Int4, [3], &[1, 2]).unwrap(),
        ];
        let error = Error::unsupported("engine-dtype", "no")
            .expected("a")
            .found("b")
            .faults(vec!["one".into(), "two".into()])
            .hint("try");
        let mut message = Writer::default();
        tensors.iter().for_each(|tensor| message.tensor(tensor));
        message.error(&error);
        let mut pipe = Vec::new();
        message.send(&mut pipe).unwrap();

        let mut input = pipe.as_slice();
        let mut reader = Reader::receive(&mut input, LARGEST).unwrap().unwrap();
        for tensor in &tensors {
            assert_eq!(reader.tensor().unwrap(), *tensor);
        }
        let back = reader.error().unwrap();
        assert_eq!(back.to_string(), error.to_string());
        assert_eq!((back.kind(), back.rule()), (error.kind(), "engine-dtype"));
        assert_eq!(back.hint_text(), Some("try"));
        assert!(Reader::receive(&mut input, LARGEST).unwrap().is_none());
        for end in 0..pipe.len() {
            let cut = Reader::receive(&mut &pipe[..end], LARGEST);
            assert!(cut.is_err() || cut.unwrap().is_none(), "cut at {end}");
        }
    }

    #[test]
    fn a_length_beyond_the_frame_is_refused() {
        let mut message = Writer::default();
        message.number(u64::MAX);
        let mut pipe = Vec::new();
        message.send(&mut pipe).unwrap();
        let mut reader = Reader::receive(&mut pipe.as_slice(), LARGEST)
            .unwrap()
            .unwrap();
        assert_eq!(reader.bytes().unwrap_err().rule(), "isolated-answer");
    }
}
