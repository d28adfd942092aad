//! The core of a skynet node: services, handles, mailboxes, the scheduler, the
//! timer, the monitor, modules, the environment, the log service.
//!
//! It knows nothing of Lua or sockets. Start at [`Node`] and [`Service`];
//! `docs/architecture.md` has the map.

#![deny(unsafe_code)]

mod builder;
mod clock;
mod command;
#[allow(unsafe_code)]
mod context;
#[allow(unsafe_code)]
mod cpu;
#[allow(unsafe_code)]
pub mod current;
mod env;
#[allow(unsafe_code)]
pub mod harbor;
#[allow(unsafe_code)]
mod logger;
mod mailbox;
mod message;
#[cfg(all(test, loom))]
mod models;
mod module;
mod monitor;
#[allow(unsafe_code)]
mod msglog;
#[allow(unsafe_code)]
mod node;
#[allow(unsafe_code)]
mod payload;
#[allow(unsafe_code)]
mod queue;
mod rng;
mod sched;
mod send;
#[allow(unsafe_code)]
mod stable;
#[allow(unsafe_code)]
mod sync;
#[allow(unsafe_code)]
mod table;
mod timer;
mod trace;

pub use builder::{Driver, LaunchError, MAX_THREADS, NodeBuilder, StartError};
pub use clock::{Clock, NS_PER_CS, SystemClock, VirtualClock};
pub use command::parse_base_0;
pub use context::{Context, ServiceStat, current_handle};
pub use cpu::thread_cpu_ns;
pub use env::{Env, leading_integer};
pub use message::{Handle, Message, ptype};
pub use module::{InitError, Module, ModuleLoader, Service, SignalTarget};
pub use monitor::Endless;
pub use node::{Component, Hooks, Node};
pub use payload::{FreeFn, INLINE, MallocBlock, Payload};
pub use sched::sim::{Sim, SimEnd};
pub use send::{Address, MAX_SIZE, SendError, parse_hex};
pub use table::{HANDLE_MASK, HARBOR_SHIFT};
pub use trace::{Trace, TraceEntry};
