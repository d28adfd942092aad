//! Modules: where services come from.
//!
//! A module creates services of one kind. Rust modules are registered by name
//! in the [`NodeBuilder`](crate::NodeBuilder); a name that is not registered is asked of the
//! builder's [`ModuleLoader`] (shared libraries), once. The life cycle is that of a
//! C module (spec/01-core.md §6, §7): create, init, callback, signal, release (= drop).

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::context::Context;
use crate::message::Message;

/// Why a service could not be created or initialised; the text is logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InitError(pub String);

impl InitError {
    /// An error with this text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for InitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for InitError {}

/// Makes services of one kind.
pub trait Module: Send + Sync {
    /// A new service, before it has a handle.
    ///
    /// # Errors
    /// No service is made and no handle used; the launcher's log gets the text.
    fn create(&self) -> Result<Box<dyn Service>, InitError>;
}

impl<F> Module for F
where
    F: Fn() -> Result<Box<dyn Service>, InitError> + Send + Sync,
{
    fn create(&self) -> Result<Box<dyn Service>, InitError> {
        self()
    }
}

/// One service. Its methods never run at the same time as each other; they may
/// run on another thread each time. Dropping it is the release.
pub trait Service: Send {
    /// Runs on the launcher's thread before any message is dispatched; messages
    /// that arrive meanwhile wait.
    ///
    /// # Errors
    /// The service is released and the launch fails.
    fn init(&mut self, context: &Context, args: Option<&[u8]>) -> Result<(), InitError>;

    /// One message. A panic ends the service: it is logged and the caller gets an error reply.
    fn dispatch(&mut self, context: &Context, message: Message);

    /// False as long as there is no callback: then messages are discarded
    /// without a reply and are not counted (spec/01-core.md §4.7).
    fn has_callback(&self) -> bool {
        true
    }

    /// Wake-ups that are not messages: the bits given to [`Context::notify`] since the last call.
    fn notified(&mut self, context: &Context, bits: u8) {
        let _ = (context, bits);
    }

    /// What receives signals; asked for once, after `create`.
    fn signal_target(&self) -> Option<Arc<dyn SignalTarget>> {
        None
    }
}

/// Receives `SIGNAL` commands, on the sender's thread, at the same time as the
/// service may be running.
pub trait SignalTarget: Send + Sync {
    /// Signal number `signal` for the service of `context`.
    fn signal(&self, context: &Context, signal: i32);
}

/// Finds modules that were not registered, such as shared libraries on `cpath`.
pub trait ModuleLoader: Send + Sync {
    /// The module called `name`.
    ///
    /// # Errors
    /// What was tried and why it failed, for the log.
    fn load(&self, name: &str) -> Result<Arc<dyn Module>, InitError>;
}

/// The modules of a node.
pub(crate) struct Modules {
    known: Mutex<HashMap<String, Arc<dyn Module>>>,
    loader: Option<Arc<dyn ModuleLoader>>,
}

impl Modules {
    pub(crate) fn new(
        known: HashMap<String, Arc<dyn Module>>,
        loader: Option<Arc<dyn ModuleLoader>>,
    ) -> Self {
        Self {
            known: Mutex::new(known),
            loader,
        }
    }

    /// The module called `name`, loaded at most once.
    pub(crate) fn query(&self, name: &str) -> Result<Arc<dyn Module>, InitError> {
        if let Some(module) = self.known.lock().get(name) {
            return Ok(module.clone());
        }
        let Some(loader) = &self.loader else {
            return Err(InitError::new(format!("no module named {name}")));
        };
        let module = loader.load(name)?;
        Ok(self
            .known
            .lock()
            .entry(name.to_owned())
            .or_insert(module)
            .clone())
    }
}
