//! Births and deaths of services (spec/01-core.md §6).

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;
use std::sync::atomic::Ordering;

use crate::builder::LaunchError;
use crate::context::{Context, panic_text};
use crate::mailbox::Pushed;
use crate::message::Handle;
use crate::module::InitError;
use crate::node::Node;
use crate::stable::Stable;

impl Node {
    /// Launches a service (spec/01-core.md §6): creates it, gives it a handle, initialises it on this thread.
    ///
    /// # Errors
    /// See [`LaunchError`].
    pub fn launch(&self, module: &str, args: Option<&[u8]>) -> Result<Handle, LaunchError> {
        if self.is_stopping() {
            return Err(LaunchError::Stopping);
        }
        let module_of = self.modules.query(module).map_err(LaunchError::Module)?;
        let service = catch_unwind(AssertUnwindSafe(|| module_of.create()))
            .unwrap_or_else(|panic| Err(InitError(panic_text(&*panic))))
            .map_err(LaunchError::Create)?;
        let context = self.slot();
        // Counted before it can be found: an abort that retires it waits for its release.
        self.live.fetch_add(1, Ordering::AcqRel);
        let Ok(handle) = self.table.register(context) else {
            self.recycle(context, false);
            return Err(LaunchError::NoHandle);
        };
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
                    .push(Stable::new(Context::vacant(NonNull::from(self), index)));
                index
            }
        };
        let slot = slab.all[index].pointer();
        // SAFETY: slots are freed only with the node.
        unsafe { slot.as_ref() }
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
        if let Some(Pushed::Schedule) = context.mailbox.retire(handle) {
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
}
