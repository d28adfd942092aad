//! The node: a value that holds everything of one process's skynet.
//!
//! There is no global state; several nodes can live in one process.

mod life;
mod services;

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;

use parking_lot::{Condvar, Mutex};

use crate::builder::NodeBuilder;
use crate::clock::{Calendar, Clock};
use crate::context::Context;
use crate::env::Env;
use crate::message::{Handle, Message, ptype};
use crate::module::{Module, ModuleLoader, Modules};
use crate::monitor::{Endless, Monitor};
use crate::payload::Payload;
use crate::rng::Random;
use crate::sched::sim::{Sim, SimState};
use crate::sched::worker::Workers;
use crate::stable::Stable;
use crate::table::HandleTable;
use crate::timer::{Due, Timers};
use crate::trace::Trace;

/// Something with a life of its own in the node, such as the socket layer.
pub trait Component: Send + Sync {
    /// The node starts: threads may be spawned.
    ///
    /// # Errors
    /// The text; the node does not start.
    fn start(&self, node: &Arc<Node>) -> Result<(), String>;
    /// All services have ended: stop threads, close what is open.
    fn stop(&self);
    /// A dispatch has ended on a thread that called [`current::at_dispatch_end`].
    fn dispatch_end(&self, node: &Node) {
        let _ = node;
    }
    /// Under the deterministic driver: do what can be done now; true if anything was.
    fn poll(&self, node: &Node) -> bool {
        let _ = node;
        false
    }
}

/// Told of events that concern more than one service.
pub trait Hooks: Send + Sync {
    /// The monitor found a worker that stays in one message; called on the monitor thread.
    fn endless(&self, node: &Node, report: &Endless);
}

/// What the builder makes.
pub(crate) struct Parts {
    pub(crate) env: Env,
    pub(crate) harbor: u32,
    pub(crate) profile: bool,
    pub(crate) modules: HashMap<String, Arc<dyn Module>>,
    pub(crate) loader: Option<Arc<dyn ModuleLoader>>,
    pub(crate) components: Vec<Arc<dyn Component>>,
    pub(crate) extensions: HashMap<TypeId, Arc<dyn Any + Send + Sync>>,
    pub(crate) hooks: Option<Arc<dyn Hooks>>,
    pub(crate) workers: Option<Workers>,
    pub(crate) sim: Option<SimState>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) seed: u64,
    pub(crate) trace: Option<Trace>,
    pub(crate) quiet: bool,
}

/// Slots for services; never shrinks.
#[derive(Default)]
struct Slab {
    all: Vec<Stable<Context>>,
    free: Vec<usize>,
}

/// A node.
pub struct Node {
    this: Weak<Node>,
    env: Env,
    table: HandleTable,
    slab: Mutex<Slab>,
    modules: Modules,
    components: Vec<Arc<dyn Component>>,
    extensions: HashMap<TypeId, Arc<dyn Any + Send + Sync>>,
    hooks: Option<Arc<dyn Hooks>>,
    workers: Option<Workers>,
    sim: Option<SimState>,
    clock: Arc<dyn Clock>,
    calendar: Calendar,
    timers: Timers,
    monitor: Monitor,
    random: Random,
    trace: Option<Trace>,
    profile: bool,
    quiet: bool,
    /// Services that keep the node alive.
    live: AtomicUsize,
    stopping: AtomicBool,
    /// The bootstrap service.
    bootstrap: AtomicU32,
    exit_code: AtomicU8,
    stopped: Mutex<bool>,
    stopped_changed: Condvar,
    exit_monitor: AtomicU32,
    pub(crate) harbor_service: AtomicU32,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Node({} services)", self.live.load(Ordering::Relaxed))
    }
}

impl Node {
    /// A builder with all defaults.
    pub fn builder() -> NodeBuilder {
        NodeBuilder::new()
    }

    pub(crate) fn assemble(parts: Parts) -> Arc<Self> {
        let calendar = Calendar::new(&*parts.clock);
        Arc::new_cyclic(|this| Self {
            this: this.clone(),
            env: parts.env,
            table: HandleTable::new(parts.harbor),
            slab: Mutex::default(),
            modules: Modules::new(parts.modules, parts.loader),
            components: parts.components,
            extensions: parts.extensions,
            hooks: parts.hooks,
            workers: parts.workers,
            sim: parts.sim,
            clock: parts.clock,
            calendar,
            timers: Timers::default(),
            monitor: Monitor::default(),
            random: Random::new(parts.seed),
            trace: parts.trace,
            profile: parts.profile,
            quiet: parts.quiet,
            live: AtomicUsize::new(0),
            stopping: AtomicBool::new(false),
            bootstrap: AtomicU32::new(0),
            exit_code: AtomicU8::new(0),
            stopped: Mutex::new(false),
            stopped_changed: Condvar::new(),
            exit_monitor: AtomicU32::new(0),
            harbor_service: AtomicU32::new(0),
            threads: Mutex::default(),
        })
    }

    // ---- messages ----

    /// Delivers a message on this node.
    ///
    /// # Errors
    /// The message, if no such service is alive.
    pub fn push(&self, destination: Handle, message: Message) -> Result<(), Message> {
        match self.table.get(destination) {
            Some(context) => context.push(destination, message),
            None => Err(message),
        }
    }

    /// Sends from outside the node's services.
    ///
    /// # Errors
    /// See [`crate::SendError`]; the payload is freed.
    pub fn send(
        &self,
        source: Handle,
        destination: Handle,
        kind: u8,
        session: i32,
        payload: Payload,
    ) -> Result<(), crate::SendError> {
        crate::send::deliver(
            self,
            destination,
            Message::new(source, session, kind, payload),
        )
    }

    /// Wakes a service without a message, from any thread; false if it is gone.
    pub fn notify(&self, handle: Handle, bits: u8) -> bool {
        self.table
            .get(handle)
            .is_some_and(|context| context.notify(handle, bits))
    }

    /// Writes a line to the log service.
    pub fn log(&self, source: Handle, text: &[u8]) {
        if let Some(logger) = self.table.find(b"logger") {
            let message = Message::new(source, 0, ptype::TEXT, Payload::from_slice(text));
            let _ = self.push(logger, message);
        }
    }

    /// Whether a handle belongs to another node (spec/01-core.md §3.1).
    pub fn is_remote(&self, handle: Handle) -> bool {
        let harbor = handle & !crate::table::HANDLE_MASK;
        harbor != 0 && harbor != self.table.harbor()
    }

    /// The node's harbor id.
    pub fn harbor(&self) -> u32 {
        self.table.harbor() >> crate::table::HARBOR_SHIFT
    }

    /// Makes `context` the service that gets all messages for other nodes. It does not
    /// keep the node alive any more.
    pub fn set_harbor_service(&self, context: &Context) {
        self.harbor_service
            .store(context.handle(), Ordering::Release);
        context.reserve();
    }

    // ---- names ----

    /// Binds a local name (without its dot); false if it is taken.
    pub fn bind_name(&self, name: &[u8], handle: Handle) -> bool {
        self.table.bind(name, handle)
    }

    /// The handle a local name (without its dot) is bound to.
    pub fn find_name(&self, name: &[u8]) -> Option<Handle> {
        self.table.find(name)
    }

    /// A name of a handle, if it has one.
    pub fn name_of(&self, handle: Handle) -> Option<Vec<u8>> {
        self.table.name_of(handle)
    }

    pub(crate) fn exit_monitor(&self) -> Handle {
        self.exit_monitor.load(Ordering::Acquire)
    }

    pub(crate) fn set_exit_monitor(&self, handle: Handle) {
        self.exit_monitor.store(handle, Ordering::Release);
    }

    // ---- time ----

    /// Centiseconds since the start second; starts at 0..99 (`skynet.now`).
    pub fn now(&self) -> u64 {
        self.calendar.now(self.clock.monotonic_ns())
    }

    /// Monotonic nanoseconds (`skynet.hpc`).
    pub fn monotonic_ns(&self) -> u64 {
        self.clock.monotonic_ns()
    }

    /// Seconds since 1970 when the node started (`skynet.starttime`).
    pub fn start_seconds(&self) -> u32 {
        self.calendar.start_seconds
    }

    pub(crate) fn calendar(&self) -> &Calendar {
        &self.calendar
    }

    pub(crate) fn timers(&self) -> &Timers {
        &self.timers
    }

    /// Timers that have not expired.
    pub fn timer_count(&self) -> usize {
        self.timers.len()
    }

    /// Sends `handle` a RESPONSE with `session` after `centiseconds` (<= 0: at once);
    /// lost if the service is gone by then.
    pub fn timeout(&self, handle: Handle, centiseconds: i32, session: i32) {
        let due = Due::Response { handle, session };
        match u64::try_from(centiseconds) {
            Ok(delay) if delay > 0 => self.timers.add(self.now() + delay, due),
            _ => self.fire(due),
        }
    }

    /// Wakes `handle` with a notice after `centiseconds`.
    pub fn notify_after(&self, handle: Handle, centiseconds: u32, bits: u8) {
        self.timers.add(
            self.now() + u64::from(centiseconds),
            Due::Notice { handle, bits },
        );
    }

    pub(crate) fn fire(&self, due: Due) {
        match due {
            Due::Response { handle, session } => {
                let message = Message::new(0, session, ptype::RESPONSE, Payload::null());
                let _ = self.push(handle, message);
            }
            Due::Notice { handle, bits } => {
                self.notify(handle, bits);
            }
        }
    }

    // ---- the rest ----

    /// The environment.
    pub fn env(&self) -> &Env {
        &self.env
    }

    /// Whether CPU time is accounted per service (key `profile`).
    pub fn profile(&self) -> bool {
        self.profile
    }

    /// A value given to the builder, by its type.
    pub fn extension<T: Any + Send + Sync>(&self) -> Option<&T> {
        self.extensions.get(&TypeId::of::<T>())?.downcast_ref()
    }

    /// A random number; under the deterministic driver from its seed.
    pub fn random(&self) -> u64 {
        self.random.next()
    }

    pub(crate) fn random_below(&self, bound: usize) -> usize {
        self.random.below(bound)
    }

    /// The record of dispatched messages, if the builder asked for one.
    pub fn trace(&self) -> Option<&Trace> {
        self.trace.as_ref()
    }

    /// The deterministic driver, if the node was built with it.
    pub fn sim(&self) -> Option<Sim<'_>> {
        self.sim.as_ref().map(|state| Sim { node: self, state })
    }

    /// Under the deterministic driver: lets `ns` pass (a running Lua loop uses up virtual time).
    pub fn pass_virtual_time(&self, ns: u64) {
        if let Some(sim) = &self.sim {
            sim.clock.advance_to(self.clock.monotonic_ns() + ns);
        }
    }

    /// The node as a shared value.
    pub fn shared(&self) -> Arc<Self> {
        self.this
            .upgrade()
            .expect("a node is only reached through its Arc")
    }

    pub(crate) fn dispatch_end(&self) {
        for component in &self.components {
            component.dispatch_end(self);
        }
    }

    pub(crate) fn poll_components(&self) -> bool {
        let mut any = false;
        for component in &self.components {
            any |= component.poll(self);
        }
        any
    }

    pub(crate) fn report_endless(&self, report: &Endless) {
        if let Some(hooks) = &self.hooks {
            hooks.endless(self, report);
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Services left over (a node that was never stopped) may still use the
        // node while they are released, so they go before the fields do. No new ones then.
        let node = &*self;
        node.stopping.store(true, Ordering::SeqCst);
        let slots: Vec<_> = node.slab.lock().all.iter().map(Stable::pointer).collect();
        for slot in slots {
            // SAFETY: slots are freed with the slab, after this.
            let context = unsafe { slot.as_ref() };
            // All threads of the node held it by an Arc and are gone: nobody runs a service.
            context.drop_service();
        }
    }
}
