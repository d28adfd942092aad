//! What the VMs of one node have in common.

use std::sync::OnceLock;

use skynet_core::Node;

use crate::ffi::Space;

/// The Lua side of a node: an extension of it.
#[derive(Debug, Default)]
pub struct LuaHost {
    space: OnceLock<Space>,
}

impl LuaHost {
    /// The space of the node's VMs, made at the first use with a seed of the node.
    pub(crate) fn space(&self, node: &Node) -> &Space {
        self.space.get_or_init(|| {
            let seed = (node.random() as u32).max(1);
            Space::new(seed).unwrap_or_else(|| {
                std::alloc::handle_alloc_error(std::alloc::Layout::new::<Space>())
            })
        })
    }
}
