//! Asks a model in a thread of its own, and waits no longer than the deadline.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use amphora_error::Result;

use super::policy::{Predict, Prediction, ask};
use crate::contracts::PlannerInput;

/// Most threads, those included that wait for a model which did not answer in time.
const MAX_THREADS: usize = 16;

struct Job {
    input: PlannerInput,
    answer: Sender<Result<Prediction>>,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum NoAnswer {
    /// The deadline passed, or every thread still waits for an earlier answer.
    Late,
    /// No thread could be started.
    Dead(String),
}

/// Threads for one question at a time each. One that is late is given up: it ends when its model
/// answers.
pub(super) struct Workers {
    predict: Predict,
    idle: Mutex<Vec<Sender<Job>>>,
    threads: Arc<AtomicUsize>,
}

impl Workers {
    pub(super) fn new(predict: Predict) -> Self {
        Self {
            predict,
            idle: Mutex::default(),
            threads: Arc::default(),
        }
    }

    pub(super) fn ask(
        &self,
        input: &PlannerInput,
        deadline: Duration,
    ) -> Result<Result<Prediction>, NoAnswer> {
        let (answer, answers) = mpsc::channel();
        let input = input.clone();
        let waiting = self.idle().pop();
        let worker = match waiting {
            Some(worker) => worker,
            None => self.start()?,
        };
        worker
            .send(Job { input, answer })
            .map_err(|_| NoAnswer::Dead("the thread ended".to_owned()))?;
        match answers.recv_timeout(deadline) {
            Ok(answer) => {
                self.idle().push(worker);
                Ok(answer)
            }
            Err(RecvTimeoutError::Timeout) => Err(NoAnswer::Late),
            Err(RecvTimeoutError::Disconnected) => Err(NoAnswer::Dead(
                "the thread ended without an answer".to_owned(),
            )),
        }
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Sender<Job>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn start(&self) -> Result<Sender<Job>, NoAnswer> {
        let place = Place(Arc::clone(&self.threads));
        if self.threads.fetch_add(1, Ordering::AcqRel) >= MAX_THREADS {
            return Err(NoAnswer::Late);
        }
        let (worker, jobs) = mpsc::channel();
        let predict = Arc::clone(&self.predict);
        thread::Builder::new()
            .name("planner".to_owned())
            .spawn(move || serve(&predict, &jobs, place))
            .map_err(|source| NoAnswer::Dead(source.to_string()))?;
        Ok(worker)
    }
}

/// One of the threads that may run; free again when dropped.
struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

fn serve(predict: &Predict, jobs: &Receiver<Job>, _place: Place) {
    while let Ok(job) = jobs.recv() {
        // An answer that nobody waits for any more is dropped.
        let _ = job.answer.send(ask(predict, &job.input));
    }
}
