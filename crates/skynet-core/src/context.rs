//! A service's place in the node: mailbox, handle, counters, and what a service
//! can do with the node.
//!
//! Contexts are slots that the node never unmaps while it lives; a slot is used
//! again for a later service. The handle in it tells services apart: every
//! access by handle compares it, under the mailbox's lock where it matters.

use std::cell::UnsafeCell;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::current;
use crate::mailbox::{Mailbox, Pushed};
use crate::message::{Handle, Message, ptype};
use crate::module::{InitError, Service, SignalTarget};
use crate::node::Node;
use crate::payload::Payload;
use crate::send::SendError;
use crate::{command, msglog};

/// A service as seen by itself and by the node.
pub struct Context {
    pub(crate) mailbox: Mailbox,
    handle: AtomicU32,
    /// The node that owns this slot.
    node: NonNull<Node>,
    /// The slot's place in the node's slab.
    pub(crate) index: usize,
    /// Touched only by the thread that holds the service (mailbox state `scheduled`).
    service: UnsafeCell<Option<Box<dyn Service>>>,
    signal: Mutex<Option<Arc<dyn SignalTarget>>>,
    log_file: Mutex<Option<File>>,
    has_log_file: AtomicBool,
    session: AtomicI32,
    message_count: AtomicU64,
    /// CPU nanoseconds of finished dispatches.
    cpu_ns: AtomicU64,
    /// Counter (cpu.rs) at the start of the last dispatch.
    dispatch_began: AtomicU64,
    endless: AtomicBool,
    reserved: AtomicBool,
}

// SAFETY: `service` is reached only through `run`-side methods, which the
// mailbox's state machine gives to one thread at a time (mailbox.rs), with the
// mailbox lock ordering one holder before the next; `node` outlives the
// context, which it owns; all else is atomics and locks.
unsafe impl Sync for Context {}
// SAFETY: as above; nothing is tied to a thread.
unsafe impl Send for Context {}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Context(:{:08x})", self.handle())
    }
}

/// Counters of a service, kept at all times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServiceStat {
    /// Queued messages, without the one being dispatched.
    pub mailbox_length: usize,
    /// Dispatched messages, with the one being dispatched.
    pub message_count: u64,
    /// CPU nanoseconds of finished dispatches (0 with `profile` off).
    pub cpu_ns: u64,
    /// Nanoseconds since the last dispatch began.
    pub idle_ns: u64,
}

impl Context {
    /// An empty slot of `node`.
    pub(crate) fn vacant(node: NonNull<Node>, index: usize) -> Self {
        Self {
            mailbox: Mailbox::new(),
            handle: AtomicU32::new(0),
            node,
            index,
            service: UnsafeCell::new(None),
            signal: Mutex::new(None),
            log_file: Mutex::new(None),
            has_log_file: AtomicBool::new(false),
            session: AtomicI32::new(0),
            message_count: AtomicU64::new(0),
            cpu_ns: AtomicU64::new(0),
            dispatch_began: AtomicU64::new(0),
            endless: AtomicBool::new(false),
            reserved: AtomicBool::new(false),
        }
    }

    /// The service's own address.
    pub fn handle(&self) -> Handle {
        self.handle.load(Ordering::Acquire)
    }

    pub(crate) fn set_handle(&self, handle: Handle) {
        self.handle.store(handle, Ordering::Release);
    }

    /// The node this service lives in.
    pub fn node(&self) -> &Node {
        // SAFETY: the node owns the slot and outlives it.
        unsafe { self.node.as_ref() }
    }

    // ---- what a service does ----

    /// The next session number: 1 .. 0x7fffffff, then 1 again (spec/01-core.md §4.5).
    /// Only the thread that runs the service may call it.
    pub fn new_session(&self) -> i32 {
        let next = match self.session.load(Ordering::Relaxed) {
            i32::MAX => 1,
            session => session + 1,
        };
        self.session.store(next, Ordering::Relaxed);
        next
    }

    /// Sends to a handle, with the service as source.
    ///
    /// # Errors
    /// See [`SendError`]; the payload is freed.
    pub fn send(
        &self,
        destination: Handle,
        kind: u8,
        session: i32,
        payload: Payload,
    ) -> Result<(), SendError> {
        self.redirect(destination, self.handle(), kind, session, payload)
    }

    /// Sends to a handle in the name of `source` (spec/01-core.md §4.3).
    ///
    /// # Errors
    /// See [`SendError`]; the payload is freed.
    pub fn redirect(
        &self,
        destination: Handle,
        source: Handle,
        kind: u8,
        session: i32,
        payload: Payload,
    ) -> Result<(), SendError> {
        crate::send::to_handle(self, destination, source, kind, session, payload)
    }

    /// Sends to a textual address: `:hex`, `.local` or a global name (spec/01-core.md §4.4).
    ///
    /// # Errors
    /// See [`SendError`]; the payload is freed.
    pub fn send_name(
        &self,
        address: &[u8],
        source: Handle,
        kind: u8,
        session: i32,
        payload: Payload,
    ) -> Result<(), SendError> {
        crate::send::to_name(self, address, source, kind, session, payload)
    }

    /// Tells the sender of a request that it failed; `cause` is for people. Nothing for session 0 or source 0.
    pub fn reply_error(&self, destination: Handle, session: i32, cause: &[u8]) {
        if destination != 0 && session != 0 {
            let payload = if cause.is_empty() {
                Payload::null()
            } else {
                Payload::from_slice(cause)
            };
            let _ = self.send(destination, ptype::ERROR, session, payload);
        }
    }

    /// Asks for a RESPONSE message with `session` after `centiseconds`
    /// (<= 0: at the tail of the own mailbox at once).
    pub fn timeout(&self, centiseconds: i32, session: i32) {
        self.node().timeout(self.handle(), centiseconds, session);
    }

    /// Asks for [`Service::notified`] with `bits` after `centiseconds`; not a message.
    pub fn notify_after(&self, centiseconds: u32, bits: u8) {
        self.node().notify_after(self.handle(), centiseconds, bits);
    }

    /// Runs a text command of spec/01-core.md §10; `None` where upstream returns NULL.
    pub fn command(&self, name: &[u8], parameter: Option<&[u8]>) -> Option<Vec<u8>> {
        command::run(self, name, parameter)
    }

    /// Writes a line to the log service, with the service as source.
    pub fn log(&self, text: impl AsRef<[u8]>) {
        self.node().log(self.handle(), text.as_ref());
    }

    /// Ends the service when the current dispatch is over (command EXIT).
    pub fn exit(&self) {
        command::exit(self);
    }

    /// Queued messages.
    pub fn mailbox_length(&self) -> usize {
        self.mailbox.len()
    }

    /// The counters.
    pub fn stat(&self) -> ServiceStat {
        ServiceStat {
            mailbox_length: self.mailbox.len(),
            message_count: self.message_count.load(Ordering::Relaxed),
            cpu_ns: self.cpu_ns.load(Ordering::Relaxed),
            idle_ns: crate::cpu::wall_since(self.dispatch_began.load(Ordering::Relaxed)),
        }
    }

    /// CPU nanoseconds of the dispatch that runs now (0 with `profile` off).
    pub fn dispatch_cpu_ns(&self) -> u64 {
        if !self.node().profile() {
            return 0;
        }
        crate::cpu::so_far(self.dispatch_began.load(Ordering::Relaxed))
    }

    /// Whether the monitor found the service in one message for too long; reading clears it.
    pub fn take_endless(&self) -> bool {
        self.endless.swap(false, Ordering::Relaxed)
    }

    pub(crate) fn mark_endless(&self) {
        self.endless.store(true, Ordering::Relaxed);
    }

    /// Takes the service out of the count that keeps the node alive (the harbor service).
    pub fn reserve(&self) {
        if !self.reserved.swap(true, Ordering::AcqRel) {
            self.node().service_ended();
        }
    }

    pub(crate) fn is_reserved(&self) -> bool {
        self.reserved.load(Ordering::Acquire)
    }

    /// Gives an empty mailbox's memory back.
    pub fn shrink_mailbox(&self) {
        self.mailbox.shrink();
    }

    // ---- what the node does ----

    /// Delivers a message, or hands it back if the service is gone.
    pub(crate) fn push(&self, handle: Handle, message: Message) -> Result<(), Message> {
        if let Pushed::Schedule = self.mailbox.push(handle, message)? {
            self.node().schedule(self);
        }
        Ok(())
    }

    /// Wakes the service without a message, from any thread; false if it is gone.
    pub(crate) fn notify(&self, handle: Handle, bits: u8) -> bool {
        match self.mailbox.notify(handle, bits) {
            Some(Pushed::Schedule) => {
                self.node().schedule(self);
                true
            }
            Some(Pushed::Queued) => true,
            None => false,
        }
    }

    /// Moves a service in and initialises it. The slot is registered and held by the caller.
    pub(crate) fn occupy(
        &self,
        service: Box<dyn Service>,
        args: Option<&[u8]>,
    ) -> Result<(), InitError> {
        self.session.store(0, Ordering::Relaxed);
        self.message_count.store(0, Ordering::Relaxed);
        self.cpu_ns.store(0, Ordering::Relaxed);
        self.dispatch_began
            .store(crate::cpu::now(), Ordering::Relaxed);
        self.endless.store(false, Ordering::Relaxed);
        self.reserved.store(false, Ordering::Relaxed);
        // SAFETY: the slot is scheduled by the caller, so no other thread touches `service`.
        let slot = unsafe { &mut *self.service.get() };
        let service = slot.insert(service);
        let start = || {
            *self.signal.lock() = service.signal_target();
            service.init(self, args)
        };
        catch_unwind(AssertUnwindSafe(start))
            .unwrap_or_else(|panic| Err(InitError(panic_text(&*panic))))
    }

    /// Runs one message. The caller holds the service.
    pub(crate) fn dispatch(&self, message: Message) {
        // SAFETY: the caller holds the service (mailbox state `scheduled`).
        let Some(service) = (unsafe { &mut *self.service.get() }) else {
            return;
        };
        if !service.has_callback() {
            return;
        }
        if self.has_log_file.load(Ordering::Relaxed) {
            self.write_message_log(&message);
        }
        let node = self.node();
        let count = self.message_count.load(Ordering::Relaxed);
        self.message_count.store(count + 1, Ordering::Relaxed);
        if let Some(trace) = node.trace() {
            trace.record(self.handle(), &message);
        }
        let profile = node.profile();
        self.dispatch_began
            .store(crate::cpu::now(), Ordering::Relaxed);
        let (source, session, kind) = (message.source, message.session, message.kind());
        let result = catch_unwind(AssertUnwindSafe(|| service.dispatch(self, message)));
        if profile {
            let used = crate::cpu::since(self.dispatch_began.load(Ordering::Relaxed));
            let total = self.cpu_ns.load(Ordering::Relaxed);
            self.cpu_ns.store(total + used, Ordering::Relaxed);
        }
        if let Err(panic) = result {
            let cause = format!(
                "service :{:08x} panicked: {}",
                self.handle(),
                panic_text(&*panic)
            );
            self.log(format!("error: {cause}"));
            if kind != ptype::RESPONSE && kind != ptype::ERROR {
                self.reply_error(source, session, cause.as_bytes());
            }
            node.retire(self.handle());
        }
    }

    /// Hands notices to the service. The caller holds the service.
    pub(crate) fn deliver_notices(&self, bits: u8) {
        // SAFETY: the caller holds the service (mailbox state `scheduled`).
        let Some(service) = (unsafe { &mut *self.service.get() }) else {
            return;
        };
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| service.notified(self, bits))) {
            self.log(format!("error: service panicked: {}", panic_text(&*panic)));
            self.node().retire(self.handle());
        }
    }

    /// Releases the service and answers what it did not read. The caller holds the service, which is dying.
    pub(crate) fn release(&self) {
        let target = self.signal.lock().take();
        drop(target);
        // SAFETY: the caller holds the service (mailbox state `scheduled`).
        let service = unsafe { &mut *self.service.get() }.take();
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| drop(service))) {
            self.log(format!(
                "error: release of the service panicked: {}",
                panic_text(&*panic)
            ));
        }
        let mut rest = self.mailbox.take_rest();
        let cause = format!("service :{:08x} is dead", self.handle());
        while let Some(message) = rest.pop() {
            // An unread answer is not bounced: its sender waits for nothing
            // (spec/02-lua-api.md §23.6).
            let kind = message.kind();
            if kind == ptype::RESPONSE || kind == ptype::ERROR || message.source == 0 {
                continue;
            }
            let _ = self.send(
                message.source,
                ptype::ERROR,
                message.session,
                Payload::from(cause.as_str()),
            );
        }
        self.set_handle(0);
        // After the handle: a LOGON that found the service before cannot open the log of the next one.
        self.close_message_log();
        self.mailbox.vacate();
    }

    /// Drops a service that is left when the node is dropped. The caller holds the service.
    pub(crate) fn drop_service(&self) {
        // SAFETY: the caller holds the service.
        let service = unsafe { &mut *self.service.get() }.take();
        // No log service is left to be told; the panic hook has printed it.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(service)));
    }

    /// Sends a signal to the service `handle`, if it is (still) here, on this thread.
    pub(crate) fn signal(&self, handle: Handle, signal: i32) {
        let target = {
            let target = self.signal.lock();
            // A later service of this slot puts its own target in after its handle.
            target.clone().filter(|_| self.handle() == handle)
        };
        if let Some(target) = target {
            target.signal(self, signal);
        }
    }

    // ---- message log (LOGON, LOGOFF) ----

    /// Command LOGON of the service `by` for the service `handle`, if it is (still) here.
    pub(crate) fn log_on(&self, by: &Context, handle: Handle) {
        let mut file = self.log_file.lock();
        if file.is_some() || self.handle() != handle {
            return;
        }
        *file = msglog::open(by, handle);
        self.has_log_file.store(file.is_some(), Ordering::Release);
    }

    /// Command LOGOFF of the service `by` for the service `handle`, if it is (still) here.
    pub(crate) fn log_off(&self, by: &Context, handle: Handle) {
        if self.handle() != handle {
            return;
        }
        if let Some(file) = self.close_message_log() {
            msglog::close(by, file, handle);
        }
    }

    fn close_message_log(&self) -> Option<File> {
        let file = self.log_file.lock().take();
        self.has_log_file.store(false, Ordering::Release);
        file
    }

    fn write_message_log(&self, message: &Message) {
        if let Some(file) = self.log_file.lock().as_mut() {
            msglog::write(file, message, self.node().now());
        }
    }
}

/// What a panic said.
pub(crate) fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|s| (*s).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "unknown panic".to_owned())
}

/// The handle of the service that runs on this thread, or a pseudo-handle of
/// the thread (spec/01-core.md §2.2).
pub fn current_handle() -> Handle {
    current::handle()
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_place_for_a_service_is_small() {
        assert!(size_of::<Context>() <= 256, "{}", size_of::<Context>());
    }
}
