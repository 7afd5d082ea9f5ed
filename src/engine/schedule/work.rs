//! Stages at work: started where there is room, and taken back when they are
//! over.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::Scope;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, unbounded};

use super::node::Phase;
use super::peaks::Peaks;
use super::uploads::Uploads;
use super::{Scheduler, StageFailure, present};
use crate::engine::context::is_cpu;
use crate::engine::task::{Task, TaskEnd};
use crate::event::Outcome;

/// How often the scheduler looks at the stop flag.
const POLL: Duration = Duration::from_millis(100);
/// How often a run gives a sign of life.
const BEAT: Duration = Duration::from_secs(60);

/// What tasks say to the scheduler.
enum Message {
    /// A task asks for a process.
    Spawn(Command, Sender<io::Result<Child>>),
    /// A task is over.
    Over {
        index: usize,
        device: Option<String>,
        seconds: f64,
        end: Box<TaskEnd>,
    },
}

impl<'c> Scheduler<'c> {
    /// Computes what is queued, and what follows from it, and waits until the
    /// results are with the cache layers. All processes are started from this
    /// thread, which outlives them.
    pub(super) fn work(&mut self) {
        let (sender, messages) = unbounded();
        let context = self.context;
        std::thread::scope(|scope| {
            scope.spawn(|| context.remember_rows());
            let uploads = Uploads::start(scope, context);
            let mut beat = Instant::now();
            loop {
                if beat.elapsed() > BEAT {
                    context.journal.beat();
                    beat = Instant::now();
                }
                self.settle();
                self.start(scope, &sender);
                if self.running == 0 {
                    break;
                }
                self.take(&messages, &uploads);
            }
        });
    }

    /// True once nothing new is started.
    fn is_over(&self) -> bool {
        self.context.is_stopped() || (self.failed && self.context.options.fail_fast)
    }

    fn start<'s>(&mut self, scope: &'s Scope<'s, '_>, sender: &Sender<Message>)
    where
        'c: 's,
    {
        self.memory.look();
        let places: Vec<_> = self.queued.iter().copied().collect();
        for place in places {
            if self.running >= self.limit || self.is_over() {
                return;
            }
            let index = self.sequence[place];
            let device = match self.graph.stage(index).spec.runs_in_engine() {
                true => None,
                false => match self.free_device(index) {
                    Some(device) => Some(device),
                    None => continue,
                },
            };
            self.queued.remove(&place);
            if let Some(task) = self.task(index, device) {
                let sender = sender.clone();
                scope.spawn(move || run_task(&task, &sender));
            }
        }
    }

    /// What a queued stage starts with.
    fn task(&mut self, index: usize, device: Option<String>) -> Option<Task<'c>> {
        let (ready, reason) = self.nodes[index].ready.take()?;
        let expected = match &device {
            Some(device) if is_cpu(device) => self.expected(index),
            _ => None,
        };
        let seen = expected.map(|expected| self.memory.start(index, expected));
        let node = &mut self.nodes[index];
        node.phase = Phase::Running;
        node.tainted = Arc::default();
        self.running += 1;
        Some(Task {
            context: self.context,
            index,
            stage: self.graph.stage(index),
            ready,
            reason,
            forced: std::mem::take(&mut node.forced),
            device,
            seen: seen.unwrap_or_default(),
            tainted: Arc::clone(&node.tainted),
        })
    }

    /// Takes a device for a stage; none if none is free, or if the free ones
    /// lack the memory it needs.
    fn free_device(&mut self, index: usize) -> Option<String> {
        let is_full = self.memory.is_full();
        let mut lacked = None;
        for place in (0..self.devices.len()).rev() {
            if is_cpu(&self.devices[place]) {
                if is_full && self.memory.is_waited_for() || lacked.is_some() {
                    continue;
                }
                let need = self.expected(index).unwrap_or_default();
                if !self.memory.fits(need) {
                    lacked = Some(need);
                    continue;
                }
            }
            return Some(self.devices.remove(place));
        }
        if let Some(need) = lacked {
            self.memory.wait(index, need);
        }
        None
    }

    /// What a stage is expected to hold on a CPU, in MB: all there is if nothing
    /// is known. Nothing if memory is not limited.
    fn expected(&mut self, index: usize) -> Option<u64> {
        let limit = self.memory.limit()?;
        let session = self.context.session;
        let peaks = self.peaks.get_or_insert_with(|| Peaks::read(session));
        let present = || {
            let outputs = |from: usize| self.nodes[from].outputs.clone();
            present(self.graph, index, &self.context.sources, &outputs)
        };
        let expected = peaks.expected(index, self.graph.stage(index), present);
        Some(expected.unwrap_or(limit))
    }

    fn take(&mut self, messages: &Receiver<Message>, uploads: &Uploads) {
        match messages.recv_timeout(POLL) {
            Ok(Message::Spawn(mut command, reply)) => {
                let _ = reply.send(command.spawn());
            }
            Ok(Message::Over {
                index,
                device,
                seconds,
                end,
            }) => {
                self.running -= 1;
                self.memory.end(index);
                self.devices.extend(device);
                self.nodes[index].seconds = seconds;
                if let TaskEnd::Done { record, ran: true } = &*end
                    && !self.is_tainted(index)
                {
                    uploads.give(record);
                }
                self.over(index, *end);
            }
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
        }
    }

    /// True if something that a stage took was found damaged while it was at work.
    fn is_tainted(&self, index: usize) -> bool {
        self.nodes[index].tainted.load(Ordering::Relaxed)
    }

    fn over(&mut self, index: usize, end: TaskEnd) {
        let is_tainted = self.is_tainted(index);
        let node = &mut self.nodes[index];
        // Committed just before the damage was found: it is computed all the same.
        node.forced |= is_tainted && matches!(end, TaskEnd::Done { ran: true, .. });
        let is_stale = std::mem::take(&mut node.stale) | is_tainted;
        if is_stale && !matches!(end, TaskEnd::Stopped) {
            return self.look_again(index);
        }
        match end {
            TaskEnd::Done { record, ran: true } => {
                if let Some(peaks) = &mut self.peaks {
                    peaks.learn(&record);
                }
                self.done(index, Outcome::Ran, &record);
            }
            TaskEnd::Done { record, ran: false } => {
                self.nodes[index].seconds = 0.0;
                self.found(index, &record);
            }
            TaskEnd::Failed(failure) => self.fail(index, failure),
            TaskEnd::Stopped => self.nodes[index].phase = Phase::Waiting,
            TaskEnd::Lost { from } => self.rebuild(index, from),
            TaskEnd::Tainted => self.look_again(index),
        }
    }
}

/// The body of a task's thread.
fn run_task(task: &Task<'_>, sender: &Sender<Message>) {
    let clock = Instant::now();
    let spawn = |command| {
        let (reply, answer) = unbounded();
        let gone = || io::Error::other("the run is over");
        sender
            .send(Message::Spawn(command, reply))
            .map_err(|_| gone())?;
        answer.recv().map_err(|_| gone())?
    };
    // A thread that ends without a word would be waited for without end.
    let end = catch_unwind(AssertUnwindSafe(|| task.run(&spawn))).unwrap_or_else(|_| {
        let failure = StageFailure::new("the engine panicked: this is a bug");
        TaskEnd::Failed(failure)
    });
    let _ = sender.send(Message::Over {
        index: task.index,
        device: task.device.clone(),
        seconds: clock.elapsed().as_secs_f64(),
        end: Box::new(end),
    });
}
