//! Making a node able to run Lua services.

use std::sync::Arc;

use skynet_core::{NodeBuilder, Service};

use crate::harbor_single::Harbor;
use crate::host::LuaHost;
use crate::interrupt::LoopReporter;
use crate::lib_debugchannel::Channels;
use crate::snlua::SnLua;

/// Registers the modules `snlua` and `harbor` and what they need.
#[must_use]
pub fn install(builder: NodeBuilder) -> NodeBuilder {
    let host = Arc::new(LuaHost::default());
    builder
        .extension(host.clone())
        .extension(Arc::new(Channels::default()))
        .hooks(Arc::new(LoopReporter))
        .module("snlua", move || {
            Ok(Box::new(SnLua::new(host.clone())) as Box<dyn Service>)
        })
        .module("harbor", || {
            Ok(Box::new(Harbor::default()) as Box<dyn Service>)
        })
}
