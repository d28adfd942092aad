//! The node: a value that holds everything of one process's skynet.
//!
//! There is no global state; several nodes can live in one process.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::builder::{LaunchError, NodeBuilder, StartError, split_bootstrap};
use crate::clock::{Calendar, Clock};
use crate::context::Context;
use crate::current::{self, thread_handle};
use crate::env::Env;
use crate::message::{Handle, Message, ptype};
use crate::module::{Module, ModuleLoader, Modules};
use crate::monitor::{Endless, Monitor};
use crate::payload::Payload;
use crate::rng::Random;
use crate::sched::sim::{Sim, SimState};
use crate::sched::worker::Workers;
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
    all: Vec<Box<Context>>,
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

const WORKER_STACK: usize = 8 << 20;

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
            stopped: Mutex::new(false),
            stopped_changed: Condvar::new(),
            exit_monitor: AtomicU32::new(0),
            harbor_service: AtomicU32::new(0),
            threads: Mutex::default(),
        })
    }

    // ---- life ----

    /// Starts the node: log service, bootstrap service, then the threads
    /// (spec/01-core.md §1.4). Under the deterministic driver nothing runs until [`sim`](Self::sim) drives it.
    ///
    /// # Errors
    /// What could not be started; the node cannot be used then.
    pub fn start(&self) -> Result<(), StartError> {
        let node = self.shared();
        for component in &self.components {
            component.start(&node).map_err(StartError::Thread)?;
        }
        let result = current::enter(self, usize::MAX, thread_handle::MAIN, || {
            self.start_services()
        });
        if let Err(error) = result {
            self.flush_log();
            self.stop_everything();
            return Err(error);
        }
        self.start_threads(&node)
    }

    fn start_services(&self) -> Result<(), StartError> {
        let service = self.env.text_or("logservice", "logger");
        let parameter = self.env.get("logger");
        let handle = self
            .launch(&service, parameter.as_deref())
            .map_err(|error| StartError::Logger {
                name: service.clone(),
                cause: error.to_string(),
            })?;
        self.table.bind(b"logger", handle);
        let bootstrap = self.env.text_or("bootstrap", "snlua bootstrap");
        let (module, args) = split_bootstrap(&bootstrap);
        self.launch(module, Some(args.as_bytes()))
            .map_err(|error| {
                self.log(0, format!("Bootstrap error : {bootstrap}\n").as_bytes());
                StartError::Bootstrap {
                    command: bootstrap.clone(),
                    cause: error.to_string(),
                }
            })?;
        Ok(())
    }

    fn start_threads(&self, node: &Arc<Self>) -> Result<(), StartError> {
        let Some(workers) = &self.workers else {
            return Ok(());
        };
        self.spawn("timer", 256 << 10, {
            let node = node.clone();
            move || node.run_timers()
        })?;
        self.spawn("monitor", 256 << 10, {
            let node = node.clone();
            move || {
                current::enter(&node, usize::MAX, thread_handle::MONITOR, || {
                    if let Some(workers) = &node.workers {
                        node.monitor.run(&node, workers);
                    }
                });
            }
        })?;
        for index in 0..workers.progress().len() {
            let node = node.clone();
            self.spawn(&format!("worker {index}"), WORKER_STACK, move || {
                if let Some(workers) = &node.workers {
                    workers.run(&node, index);
                }
            })?;
        }
        Ok(())
    }

    fn spawn(
        &self,
        name: &str,
        stack: usize,
        body: impl FnOnce() + Send + 'static,
    ) -> Result<(), StartError> {
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .stack_size(stack)
            .spawn(body)
            .map_err(|error| {
                self.stop_everything();
                StartError::Thread(error.to_string())
            })?;
        self.threads.lock().push(thread);
        Ok(())
    }

    fn run_timers(&self) {
        current::enter(self, usize::MAX, thread_handle::TIMER, || {
            self.timers.run(
                || self.now(),
                |tick| {
                    Duration::from_nanos(
                        self.calendar
                            .moment_of(tick)
                            .saturating_sub(self.clock.monotonic_ns()),
                    )
                },
                |due| self.fire(due),
            );
        });
    }

    /// Waits until all services have ended (command ABORT), then ends the threads.
    pub fn wait(&self) {
        let mut stopped = self.stopped.lock();
        while !*stopped {
            self.stopped_changed.wait(&mut stopped);
        }
        drop(stopped);
        let threads = std::mem::take(&mut *self.threads.lock());
        for thread in threads {
            let _ = thread.join();
        }
        for component in &self.components {
            component.stop();
        }
    }

    /// Waits like [`wait`](Self::wait) for at most `timeout`; false if it passed.
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        let mut stopped = self.stopped.lock();
        if !*stopped {
            self.stopped_changed.wait_for(&mut stopped, timeout);
        }
        let done = *stopped;
        drop(stopped);
        if done {
            self.wait();
        }
        done
    }

    /// Ends all services, the log service last, after it has written what it was sent; then
    /// the node stops. Returns at once (command ABORT).
    pub fn abort(&self) {
        if self.stopping.swap(true, Ordering::AcqRel) {
            return;
        }
        let logger = self.table.find(b"logger").unwrap_or(0);
        for handle in self.table.handles() {
            if handle != logger {
                self.retire(handle);
            }
        }
        self.check_end();
    }

    /// Whether [`abort`](Self::abort) was called.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Whether all services have ended.
    pub fn is_stopped(&self) -> bool {
        *self.stopped.lock()
    }

    /// A service does not keep the node alive any more.
    pub(crate) fn service_ended(&self) {
        self.live.fetch_sub(1, Ordering::AcqRel);
        self.check_end();
    }

    fn check_end(&self) {
        let live = self.live.load(Ordering::Acquire);
        if live == 0 {
            self.stop_everything();
        } else if live == 1
            && self.is_stopping()
            && let Some(logger) = self.table.find(b"logger").and_then(|h| self.table.get(h))
            && let Some(crate::mailbox::Pushed::Schedule) =
                logger.mailbox.retire_when_drained(logger.handle())
        {
            self.schedule(logger);
        }
    }

    fn stop_everything(&self) {
        self.stopping.store(true, Ordering::Release);
        self.timers.stop();
        self.monitor.stop();
        if let Some(workers) = &self.workers {
            workers.stop();
        }
        *self.stopped.lock() = true;
        self.stopped_changed.notify_all();
    }

    /// Runs the log service on this thread until it has nothing to do (failed start).
    fn flush_log(&self) {
        let Some(logger) = self.table.find(b"logger").and_then(|h| self.table.get(h)) else {
            return;
        };
        let progress = crate::sched::step::Progress::default();
        // No thread runs yet, so a service that has messages is held by nobody.
        while logger.mailbox.len() > 0 {
            crate::sched::step::run(self, logger, 0, &progress);
        }
    }

    // ---- services ----

    /// Launches a service (spec/01-core.md §6): creates it, gives it a handle, initialises it on this thread.
    ///
    /// # Errors
    /// See [`LaunchError`].
    pub fn launch(&self, module: &str, args: Option<&[u8]>) -> Result<Handle, LaunchError> {
        if self.is_stopping() {
            return Err(LaunchError::Stopping);
        }
        let service = self
            .modules
            .query(module)
            .map_err(LaunchError::Module)?
            .create()
            .map_err(LaunchError::Create)?;
        let context = self.slot();
        let Ok(handle) = self.table.register(context) else {
            self.slab_free(context);
            return Err(LaunchError::NoHandle);
        };
        context.mailbox.occupy(handle);
        self.live.fetch_add(1, Ordering::AcqRel);
        if let Err(error) = context.occupy(service, args) {
            context.log(format!("error: launch {module} FAILED"));
            self.table.unregister(handle);
            context.mailbox.retire(handle);
            let reserved = context.is_reserved();
            context.release();
            self.recycle(context, reserved);
            return Err(LaunchError::Init(error));
        }
        if !self.quiet {
            let mut line = format!("LAUNCH {module} ").into_bytes();
            line.extend_from_slice(args.unwrap_or_default());
            self.log(handle, &line);
        }
        if self.is_stopping() {
            // An abort that ran meanwhile may have missed it.
            self.retire(handle);
        }
        if context.mailbox.settle() {
            self.schedule(context);
        }
        Ok(handle)
    }

    fn slot(&self) -> &Context {
        let mut slab = self.slab.lock();
        let index = match slab.free.pop() {
            Some(index) => index,
            None => {
                let index = slab.all.len();
                slab.all
                    .push(Box::new(Context::vacant(NonNull::from(self), index)));
                index
            }
        };
        let pointer: *const Context = &raw const *slab.all[index];
        // SAFETY: the box is freed only with the node.
        unsafe { &*pointer }
    }

    fn slab_free(&self, context: &Context) {
        self.slab.lock().free.push(context.index);
    }

    /// A released service's slot may be used again.
    pub(crate) fn recycle(&self, context: &Context, reserved: bool) {
        self.slab_free(context);
        if !reserved {
            self.service_ended();
        }
    }

    /// Ends a service: its handle and names are gone at once, it is released
    /// when its current turn is over. False if it was not alive.
    pub fn retire(&self, handle: Handle) -> bool {
        let Some(context) = self.table.unregister(handle) else {
            return false;
        };
        if let Some(crate::mailbox::Pushed::Schedule) = context.mailbox.retire(handle) {
            self.schedule(context);
        }
        true
    }

    /// The service behind a handle.
    pub fn context(&self, handle: Handle) -> Option<&Context> {
        self.table.get(handle)
    }

    /// All live handles in ascending order.
    pub fn handles(&self) -> Vec<Handle> {
        self.table.handles()
    }

    /// Live services that keep the node alive.
    pub fn live_services(&self) -> usize {
        self.live.load(Ordering::Acquire)
    }

    pub(crate) fn schedule(&self, context: &Context) {
        match (&self.workers, &self.sim) {
            (Some(workers), _) => workers.schedule(self, context),
            (None, Some(sim)) => sim.schedule(context),
            (None, None) => {}
        }
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
        // node while they are released, so they go before the fields do.
        let mut slots = std::mem::take(&mut self.slab.get_mut().all);
        for slot in &mut slots {
            slot.drop_service();
        }
        self.slab.get_mut().all = slots;
    }
}
