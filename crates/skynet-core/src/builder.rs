//! Building a node: configuration, modules, components, driver.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use crate::clock::{Clock, SystemClock, VirtualClock};
use crate::env::{Env, leading_integer};
use crate::module::{InitError, Module, ModuleLoader};
use crate::node::{Component, Hooks, Node, Parts};
use crate::rng::Random;
use crate::sched::sim::SimState;
use crate::sched::worker::Workers;
use crate::trace::Trace;

/// The most worker threads a node can have.
pub const MAX_THREADS: i64 = 1024;

/// Who runs the services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Driver {
    /// Worker threads, as many as the key `thread` says.
    Threads,
    /// One thread, virtual time; the seed decides every choice.
    Sim {
        /// The seed.
        seed: u64,
    },
}

/// Why a node could not be built or started. The texts are upstream's where it has one.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum StartError {
    /// The key `thread` is out of range.
    Threads(i64),
    /// The log service could not be launched.
    Logger {
        /// The module.
        name: String,
        /// Why.
        cause: String,
    },
    /// The bootstrap service could not be launched.
    Bootstrap {
        /// The key `bootstrap`.
        command: String,
        /// Why.
        cause: String,
    },
    /// A thread could not be made.
    Thread(String),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Threads(n) => {
                write!(f, "Invalid thread {n} , should be in [1,{MAX_THREADS}]")
            }
            Self::Logger { name, cause } => write!(f, "Can't launch {name} service\n{cause}"),
            Self::Bootstrap { command, cause } => {
                write!(f, "Bootstrap error : {command}\n{cause}")
            }
            Self::Thread(cause) => write!(f, "Create thread failed: {cause}"),
        }
    }
}

impl std::error::Error for StartError {}

/// Collects what a node is made of.
pub struct NodeBuilder {
    env: Vec<(Vec<u8>, Vec<u8>)>,
    modules: HashMap<String, Arc<dyn Module>>,
    loader: Option<Arc<dyn ModuleLoader>>,
    components: Vec<Arc<dyn Component>>,
    extensions: HashMap<TypeId, Arc<dyn Any + Send + Sync>>,
    hooks: Option<Arc<dyn Hooks>>,
    driver: Driver,
    trace: bool,
    quiet: bool,
}

impl Default for NodeBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for NodeBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeBuilder({:?}, {} keys)", self.driver, self.env.len())
    }
}

impl NodeBuilder {
    /// A node with the module `logger`, no others, and the defaults of every key.
    pub fn new() -> Self {
        let builder = Self {
            env: Vec::new(),
            modules: HashMap::new(),
            loader: None,
            components: Vec::new(),
            extensions: HashMap::new(),
            hooks: None,
            driver: Driver::Threads,
            trace: false,
            quiet: false,
        };
        builder.module("logger", crate::logger::create)
    }

    /// Sets a key of the environment; the last setting of a key counts.
    #[must_use]
    pub fn env(mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.env
            .push((key.as_ref().to_vec(), value.as_ref().to_vec()));
        self
    }

    /// Sets many keys of the environment.
    #[must_use]
    pub fn env_all<K: AsRef<[u8]>, V: AsRef<[u8]>>(
        mut self,
        pairs: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        for (key, value) in pairs {
            self = self.env(key, value);
        }
        self
    }

    /// Registers a module by name; a later one of the same name replaces it.
    #[must_use]
    pub fn module(mut self, name: &str, module: impl Module + 'static) -> Self {
        self.modules.insert(name.to_owned(), Arc::new(module));
        self
    }

    /// What finds modules that are not registered.
    #[must_use]
    pub fn module_loader(mut self, loader: Arc<dyn ModuleLoader>) -> Self {
        self.loader = Some(loader);
        self
    }

    /// Adds a component (the socket layer).
    #[must_use]
    pub fn component(mut self, component: Arc<dyn Component>) -> Self {
        self.components.push(component);
        self
    }

    /// Makes a value reachable by its type through [`Node::extension`].
    #[must_use]
    pub fn extension<T: Any + Send + Sync>(mut self, value: Arc<T>) -> Self {
        self.extensions.insert(TypeId::of::<T>(), value);
        self
    }

    /// What is told of events that concern more than one service.
    #[must_use]
    pub fn hooks(mut self, hooks: Arc<dyn Hooks>) -> Self {
        self.hooks = Some(hooks);
        self
    }

    /// Who runs the services (default: worker threads).
    #[must_use]
    pub fn driver(mut self, driver: Driver) -> Self {
        self.driver = driver;
        self
    }

    /// Records every dispatched message (for tests).
    #[must_use]
    pub fn record_trace(mut self) -> Self {
        self.trace = true;
        self
    }

    /// No `LAUNCH` line in the log for each new service.
    #[must_use]
    pub fn quiet_launch(mut self) -> Self {
        self.quiet = true;
        self
    }

    /// Builds the node; nothing runs yet.
    ///
    /// # Errors
    /// A key with an impossible value.
    pub fn build(self) -> Result<Arc<Node>, StartError> {
        let env = Env::default();
        for (key, value) in self.env.iter().rev() {
            env.set(key, value);
        }
        let threads = leading_integer(env.text_or("thread", "8").as_bytes());
        env.text_or("cpath", "./cservice/?.so");
        let harbor = leading_integer(env.text_or("harbor", "1").as_bytes());
        env.text_or("bootstrap", "snlua bootstrap");
        env.text_or("logservice", "logger");
        let profile = env.text_or("profile", "true") == "true";
        if !(1..=MAX_THREADS).contains(&threads) {
            return Err(StartError::Threads(threads));
        }
        let (workers, sim, clock, seed): (_, _, Arc<dyn Clock>, u64) = match self.driver {
            Driver::Threads => (
                Some(Workers::new(threads as usize)),
                None,
                Arc::new(SystemClock::new()),
                Random::entropy(),
            ),
            Driver::Sim { seed } => {
                // A fixed date, so that runs compare.
                let clock = Arc::new(VirtualClock::new(1_700_000_000_000_000_000));
                (None, Some(SimState::new(clock.clone())), clock, seed)
            }
        };
        Ok(Node::assemble(Parts {
            env,
            harbor: harbor as u32,
            profile,
            modules: self.modules,
            loader: self.loader,
            components: self.components,
            extensions: self.extensions,
            hooks: self.hooks,
            workers,
            sim,
            clock,
            seed,
            trace: self.trace.then(Trace::default),
            quiet: self.quiet,
        }))
    }
}

/// The words of a `bootstrap` command: module and arguments.
pub(crate) fn split_bootstrap(command: &str) -> (&str, &str) {
    let command = command.trim_start();
    let end = command
        .find(|c: char| c.is_ascii_whitespace())
        .unwrap_or(command.len());
    (&command[..end], command[end..].trim_start_matches(' '))
}

/// A launch that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum LaunchError {
    /// The node is stopping.
    Stopping,
    /// The module could not be found or loaded.
    Module(InitError),
    /// `create` failed.
    Create(InitError),
    /// `init` failed; the service has been released.
    Init(InitError),
    /// All handles are in use.
    NoHandle,
}

impl fmt::Display for LaunchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stopping => f.write_str("the node is stopping"),
            Self::Module(error) | Self::Create(error) | Self::Init(error) => error.fmt(f),
            Self::NoHandle => f.write_str("all handles are in use"),
        }
    }
}

impl std::error::Error for LaunchError {}

#[cfg(test)]
mod tests {
    use super::split_bootstrap;

    #[test]
    fn bootstrap_is_a_word_and_the_rest() {
        assert_eq!(split_bootstrap("snlua bootstrap"), ("snlua", "bootstrap"));
        assert_eq!(split_bootstrap("  snlua   a b "), ("snlua", "a b "));
        assert_eq!(split_bootstrap("x"), ("x", ""));
    }
}
