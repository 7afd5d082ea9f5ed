//! Stages at work: started where there is room, and taken back when they are
//! over.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Child, Command};
use std::thread::Scope;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, unbounded};

use super::node::Phase;
use super::{Scheduler, StageFailure};
use crate::engine::task::{Task, TaskEnd};
use crate::event::Outcome;

/// How often the scheduler looks at the stop flag.
const POLL: Duration = Duration::from_millis(100);

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
    /// Computes what is queued, and what follows from it. All processes are
    /// started from this thread, which outlives them.
    pub(super) fn work(&mut self) {
        let (sender, messages) = unbounded();
        let context = self.context;
        std::thread::scope(|scope| {
            scope.spawn(|| context.remember_rows());
            loop {
                self.settle();
                self.start(scope, &sender);
                if self.running == 0 {
                    break;
                }
                self.take(&messages);
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
        let places: Vec<_> = self.queued.iter().copied().collect();
        for place in places {
            if self.running >= self.limit || self.is_over() {
                return;
            }
            let index = self.graph.order()[place];
            let stage = self.graph.stage(index);
            let device = match stage.spec.runs_in_engine() {
                true => None,
                false => match self.devices.pop() {
                    Some(device) => Some(device),
                    None => continue,
                },
            };
            self.queued.remove(&place);
            let Some((ready, reason)) = self.nodes[index].ready.take() else {
                continue;
            };
            self.nodes[index].phase = Phase::Running;
            let forced = std::mem::take(&mut self.nodes[index].forced);
            self.running += 1;
            let task = Task {
                context: self.context,
                index,
                stage,
                ready,
                reason,
                forced,
                device,
            };
            let sender = sender.clone();
            scope.spawn(move || run_task(&task, index, &sender));
        }
    }

    fn take(&mut self, messages: &Receiver<Message>) {
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
                self.devices.extend(device);
                self.nodes[index].seconds = seconds;
                self.over(index, *end);
            }
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
        }
    }

    fn over(&mut self, index: usize, end: TaskEnd) {
        match end {
            TaskEnd::Done { record, ran: true } => self.done(index, Outcome::Ran, &record),
            TaskEnd::Done { record, ran: false } => {
                self.nodes[index].seconds = 0.0;
                self.found(index, &record);
            }
            TaskEnd::Failed(failure) => self.fail(index, failure),
            TaskEnd::Stopped => self.nodes[index].phase = Phase::Waiting,
            TaskEnd::Lost { from } => self.rebuild(index, from),
        }
    }
}

/// The body of a task's thread.
fn run_task(task: &Task<'_>, index: usize, sender: &Sender<Message>) {
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
        index,
        device: task.device.clone(),
        seconds: clock.elapsed().as_secs_f64(),
        end: Box::new(end),
    });
}
