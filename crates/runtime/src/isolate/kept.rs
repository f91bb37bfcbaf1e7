//! Values that stay in the process of an engine from one run to the next.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use amphora_error::{Error, Result};

use super::parent::Process;
use super::wire::{Reader, Writer};
use super::{FETCH, STEP};
use crate::cache::Held;
use crate::{Executable, Fed, Kept, Ran, Tensor};

/// How a value comes to the child.
const INSIDE: u64 = 0;
const THERE: u64 = 1;

/// A process that keeps values, and the numbers of those that nobody wants any more: it is told with
/// the next run.
#[derive(Clone)]
pub(super) struct Shared {
    process: Arc<Mutex<Process>>,
    unwanted: Arc<Mutex<Vec<u64>>>,
}

impl Shared {
    pub(super) fn new(process: Process) -> Self {
        Self {
            process: Arc::new(Mutex::new(process)),
            unwanted: Arc::default(),
        }
    }

    pub(super) fn exchange(&self, request: Writer, action: &str) -> Result<Reader> {
        let mut process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        process.exchange(request, action)
    }

    /// Runs the model on inputs that are sent and on values that are there already.
    pub(super) fn step(
        &self,
        inputs: &[(&str, &Tensor)],
        fed: Vec<Fed>,
        outputs: &[&str],
        kept: &[&str],
    ) -> Result<Ran> {
        let mut request = Writer::default();
        request.number(STEP);
        request.numbers(&std::mem::take(
            &mut *self.unwanted.lock().unwrap_or_else(PoisonError::into_inner),
        ));
        request.inputs(inputs);
        request.number(fed.len() as u64);
        let mut copied = 0;
        let mut there = Vec::new();
        for Fed {
            name,
            value,
            axis,
            room,
        } in fed
        {
            request.text(&name);
            request.number(axis as u64);
            request.number(room as u64);
            let bytes = value.bytes();
            match value.held {
                Held::Apart(slot) if Arc::ptr_eq(&slot.of.process, &self.process) => {
                    request.number(THERE);
                    request.number(slot.number);
                    there.push(slot);
                }
                _ => {
                    copied += bytes;
                    request.number(INSIDE);
                    request.tensor(&value.into_tensor()?);
                }
            }
        }
        request.texts(outputs.iter().copied());
        request.texts(kept.iter().copied());
        let mut answer = self.exchange(request, "running the model")?;
        drop(there);
        copied += answer.number()?;
        let outputs = answer.tensors()?;
        let count = answer.number()?;
        let kept: Result<Vec<Kept>> = (0..count).map(|_| self.kept(&mut answer)).collect();
        Ok(Ran {
            outputs,
            kept: kept?,
            copied,
        })
    }

    fn kept(&self, answer: &mut Reader) -> Result<Kept> {
        let slot = Slot {
            of: self.clone(),
            number: answer.number()?,
        };
        let (dtype, shape) = answer.form()?;
        Ok(Kept {
            dtype,
            shape,
            held: Held::Apart(slot),
        })
    }
}

/// The parent's hold on a value in a child.
pub(crate) struct Slot {
    of: Shared,
    number: u64,
}

impl Slot {
    /// The value, out of the child.
    pub(crate) fn fetch(&self) -> Result<Tensor> {
        let mut request = Writer::default();
        request.number(FETCH);
        request.number(self.number);
        let mut answer = self.of.exchange(request, "giving back a value")?;
        answer.tensor()
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut unwanted = self
            .of
            .unwanted
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        unwanted.push(self.number);
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slot")
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

/// The child's side: the values that were kept, by their numbers, which are never given twice.
#[derive(Default)]
pub(super) struct Slots {
    values: BTreeMap<u64, Kept>,
    next: u64,
}

impl Slots {
    /// Answers [`STEP`].
    pub(super) fn step(
        &mut self,
        executable: &mut dyn Executable,
        request: &mut Reader,
        answer: &mut Writer,
    ) -> Result<()> {
        for number in request.numbers()? {
            self.values.remove(&number);
        }
        let inputs = request.inputs()?;
        let count = request.number()?;
        let fed: Result<Vec<Fed>> = (0..count).map(|_| self.fed(request)).collect();
        let fed = fed?;
        let (outputs, kept) = (request.texts()?, request.texts()?);
        let given: Vec<(&str, &Tensor)> = inputs.iter().map(|(n, t)| (n.as_str(), t)).collect();
        let wanted: Vec<&str> = outputs.iter().map(String::as_str).collect();
        let kept: Vec<&str> = kept.iter().map(String::as_str).collect();
        let ran = executable.run_kept(&given, fed, &wanted, &kept)?;
        answer.number(ran.copied);
        answer.tensors(&ran.outputs);
        answer.number(ran.kept.len() as u64);
        for value in ran.kept {
            answer.number(self.next);
            answer.form(value.dtype, &value.shape);
            self.values.insert(self.next, value);
            self.next += 1;
        }
        Ok(())
    }

    fn fed(&mut self, request: &mut Reader) -> Result<Fed> {
        let name = request.text()?;
        let [axis, room] = [request.number()?, request.number()?]
            .map(|number| usize::try_from(number).unwrap_or(usize::MAX));
        let value = match request.number()? {
            INSIDE => request.tensor()?.into(),
            _ => self.take(request.number()?)?,
        };
        Ok(Fed {
            name,
            value,
            axis,
            room,
        })
    }

    /// Answers [`FETCH`].
    pub(super) fn fetch(&mut self, request: &mut Reader, answer: &mut Writer) -> Result<()> {
        let value = self.take(request.number()?)?;
        answer.tensor(&value.into_tensor()?);
        Ok(())
    }

    fn take(&mut self, number: u64) -> Result<Kept> {
        let value = self.values.remove(&number);
        value.ok_or_else(|| {
            Error::internal("isolated-order", "a value was asked for that is not kept")
        })
    }
}

impl Writer {
    fn numbers(&mut self, numbers: &[u64]) {
        self.number(numbers.len() as u64);
        numbers.iter().for_each(|number| self.number(*number));
    }

    /// Named tensors.
    pub(super) fn inputs(&mut self, inputs: &[(&str, &Tensor)]) {
        self.number(inputs.len() as u64);
        for (name, tensor) in inputs {
            self.text(name);
            self.tensor(tensor);
        }
    }

    pub(super) fn tensors(&mut self, tensors: &[Tensor]) {
        self.number(tensors.len() as u64);
        tensors.iter().for_each(|tensor| self.tensor(tensor));
    }
}

impl Reader {
    fn numbers(&mut self) -> Result<Vec<u64>> {
        let count = self.number()?;
        (0..count).map(|_| self.number()).collect()
    }

    pub(super) fn inputs(&mut self) -> Result<Vec<(String, Tensor)>> {
        let count = self.number()?;
        (0..count)
            .map(|_| Ok((self.text()?, self.tensor()?)))
            .collect()
    }

    pub(super) fn tensors(&mut self) -> Result<Vec<Tensor>> {
        let count = self.number()?;
        (0..count).map(|_| self.tensor()).collect()
    }
}
