//! The deterministic driver: one thread, a seed, virtual time.
//!
//! Which runnable service has the next turn is drawn from the node's seeded
//! generator; when nothing is runnable, the clock jumps to the next timer. Same
//! seed and same program: same messages in the same order.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::clock::VirtualClock;
use crate::context::Context;
use crate::current;
use crate::node::Node;
use crate::sched::step::{self, After, Progress};
use crate::sched::{Task, task_of};

/// The driver's part of a node.
pub(crate) struct SimState {
    ready: Mutex<Vec<Task>>,
    pub(crate) clock: Arc<VirtualClock>,
    progress: Progress,
}

impl SimState {
    pub(crate) fn new(clock: Arc<VirtualClock>) -> Self {
        Self {
            ready: Mutex::new(Vec::new()),
            clock,
            progress: Progress::default(),
        }
    }

    pub(crate) fn schedule(&self, context: &Context) {
        self.ready.lock().push(task_of(context));
    }
}

/// How a run of the driver ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SimEnd {
    /// The node stopped (all services ended).
    Stopped,
    /// Nothing is runnable and no timer waits.
    Idle,
    /// The virtual time given was used up.
    Time,
}

/// Drives a node that was built with [`Driver::Sim`](crate::Driver::Sim).
#[derive(Debug)]
pub struct Sim<'a> {
    pub(crate) node: &'a Node,
    pub(crate) state: &'a SimState,
}

impl std::fmt::Debug for SimState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SimState({} ready)", self.ready.lock().len())
    }
}

impl Sim<'_> {
    /// Gives one service one turn, or lets the components do something; false if nothing can be done now.
    pub fn turn(&self) -> bool {
        let task = {
            let mut ready = self.state.ready.lock();
            if ready.is_empty() {
                drop(ready);
                return self.node.poll_components();
            }
            let at = self.node.random_below(ready.len());
            // Order matters: the rest keeps its order, so that runs compare.
            ready.remove(at)
        };
        current::enter(self.node, 0, 0, || {
            // SAFETY: tasks are addresses of the node's contexts, which live as long as the node.
            let context = unsafe { &*(task as *const Context) };
            if step::run(self.node, context, -1, &self.state.progress) == After::Requeue {
                self.state.ready.lock().push(task);
            }
        });
        true
    }

    /// Fires what is due now; false if nothing was.
    fn fire(&self) -> bool {
        let due = self.node.timers().expire(self.node.now());
        let any = !due.is_empty();
        due.into_iter()
            .flatten()
            .for_each(|due| self.node.fire(due));
        any
    }

    /// Runs for at most `centiseconds` of virtual time.
    pub fn run_for(&self, centiseconds: u64) -> SimEnd {
        let end = self.node.now() + centiseconds;
        crate::cpu::mark();
        loop {
            if self.node.is_stopped() {
                return SimEnd::Stopped;
            }
            if self.node.now() > end {
                return SimEnd::Time;
            }
            if self.fire() || self.turn() {
                continue;
            }
            match self.node.timers().next_tick() {
                Some(tick) if tick <= end => self
                    .state
                    .clock
                    .advance_to(self.node.calendar().moment_of(tick)),
                Some(_) => {
                    self.state
                        .clock
                        .advance_to(self.node.calendar().moment_of(end));
                    return SimEnd::Time;
                }
                None => return SimEnd::Idle,
            }
        }
    }

    /// Runs until the node stops or nothing is left to do, for at most a year of virtual time.
    pub fn run(&self) -> SimEnd {
        self.run_for(365 * 86_400 * 100)
    }
}
