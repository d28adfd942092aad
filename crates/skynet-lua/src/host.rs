//! What the VMs of one node have in common.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use skynet_core::{Handle, Node};

use crate::embed;
use crate::ffi::{SklTemplate, Space};
use crate::interrupt::Shared;

/// Search path of Lua modules when the configuration has none.
pub(crate) const DEFAULT_LUA_PATH: &str = "./lualib/?.lua;./lualib/?/init.lua";

/// An embedded module as some search path sees it: the file and the path shown in messages.
type EmbeddedModule = (&'static embed::File, Box<[u8]>);

/// What the VMs of services are made from. The pointers are of the host's space
/// and live as long as it does; the last two may be NULL.
#[derive(Debug)]
pub(crate) struct Templates {
    /// A VM with its libraries and the globals of the start.
    pub(crate) vm: *const SklTemplate,
    /// The table of module `skynet`.
    pub(crate) skynet: *const SklTemplate,
    /// `skynet._proto`.
    pub(crate) protocols: *const SklTemplate,
    /// Keys of the environment that were missing, and may have been set since.
    pub(crate) missing: Vec<&'static str>,
}

// SAFETY: a template never changes once it is made, and belongs to no thread.
unsafe impl Send for Templates {}
// SAFETY: as above.
unsafe impl Sync for Templates {}

/// The Lua side of a node: an extension of it.
#[derive(Debug, Default)]
pub struct LuaHost {
    space: OnceLock<Space>,
    /// What every VM begins with. Set when the names that every VM has are
    /// atoms of the space; `None` if there can be no templates.
    templates: OnceLock<Option<Templates>>,
    /// Whether the loader is an embedded file, until the code cache is cleared.
    loader: Mutex<Option<Option<&'static embed::File>>>,
    /// Whether module `skynet` is the native one.
    own_family: OnceLock<bool>,
    /// The launcher that runs is the embedded one.
    own_launcher: AtomicBool,
    /// Answers to "which embedded file is this module", by search path and name.
    modules: Mutex<HashMap<Box<[u8]>, Option<EmbeddedModule>>>,
    services: Mutex<HashMap<Handle, Arc<Shared>>>,
    /// Which requests calls were made for, while a service is serial.
    pub(crate) calls: crate::skynet::serial::CallGraph,
}

/// What `lua_resume` says without running anything. It makes these strings outside
/// of any protected call: without memory for them the error would go past the
/// coroutine that resumes, to the main thread. An atom needs no memory.
const RESUME_ERRORS: [&str; 3] = [
    "cannot resume non-suspended coroutine",
    "cannot resume dead coroutine",
    "C stack overflow",
];

impl LuaHost {
    /// The space of the node's VMs, made at the first use with a seed of the node.
    pub(crate) fn space(&self, node: &Node) -> &Space {
        self.space.get_or_init(|| {
            let seed = (node.random() as u32).max(1);
            let space = Space::new(seed).unwrap_or_else(|| {
                std::alloc::handle_alloc_error(std::alloc::Layout::new::<Space>())
            });
            for text in RESUME_ERRORS {
                space.atom(text);
            }
            space
        })
    }

    /// Runs `teach` once, before the first VM of a service.
    pub(crate) fn learn_once(&self, teach: impl FnOnce() -> Option<Templates>) {
        self.templates.get_or_init(teach);
    }

    /// The templates, if they have been made.
    pub(crate) fn templates(&self) -> Option<&Templates> {
        self.templates.get()?.as_ref()
    }

    /// The embedded file that is the loader; `None` if a file is there. As the
    /// code itself, the answer is kept until the code cache is cleared.
    pub(crate) fn embedded_loader(&self, path: &[u8]) -> Option<&'static embed::File> {
        *self
            .loader
            .lock()
            .get_or_insert_with(|| embed::find_tail(path).filter(|_| !embed::exists(path)))
    }

    /// Whether module `skynet` and its relatives are ours, not files on `lua_path`
    /// (default: files win; key `builtin_lualib` = `prefer` turns that round).
    pub(crate) fn own_family(&self) -> bool {
        self.own_family.get().copied().unwrap_or(true)
    }

    /// Decides [`own_family`](Self::own_family), once, and logs it.
    pub(crate) fn decide_family(&self, node: &Node) {
        self.own_family.get_or_init(|| {
            let prefer = node.env().get("builtin_lualib");
            let prefer = match prefer.as_deref() {
                None => false,
                Some(b"prefer") => true,
                Some(other) => {
                    node.log(
                        0,
                        format!(
                            "error: builtin_lualib = \"{}\" is not known (only \"prefer\" is)",
                            String::from_utf8_lossy(other)
                        )
                        .as_bytes(),
                    );
                    false
                }
            };
            let path = node.env().get("lua_path");
            let path = path.as_deref().unwrap_or(DEFAULT_LUA_PATH.as_bytes());
            let file = path
                .split(|&b| b == b';')
                .filter(|pattern| !pattern.is_empty())
                .map(|pattern| pattern.replacen_bytes(b'?', b"skynet"))
                .find(|path| embed::exists(path));
            let (own, text) = match file {
                Some(file) if !prefer => (
                    false,
                    format!("skynet library: {}", String::from_utf8_lossy(&file)),
                ),
                Some(file) => (
                    true,
                    format!(
                        "skynet library: built in (builtin_lualib = \"prefer\", {} is not used)",
                        String::from_utf8_lossy(&file)
                    ),
                ),
                None => (true, "skynet library: built in".to_owned()),
            };
            node.log(0, text.as_bytes());
            own
        });
    }

    /// The embedded launcher was loaded: it understands an `ERROR` with a cause.
    pub(crate) fn note_own_launcher(&self) {
        self.own_launcher.store(true, Ordering::Relaxed);
    }

    /// Whether the launcher that runs is ours.
    pub(crate) fn has_own_launcher(&self) -> bool {
        self.own_launcher.load(Ordering::Relaxed)
    }

    /// The embedded file that serves as module `name` under search path `path`; then
    /// `buffer` has its name for [`embed::load`]. The answer is kept, like the code itself, until
    /// the code cache is cleared.
    pub(crate) fn embedded_module(
        &self,
        path: &[u8],
        name: &[u8],
        buffer: &mut Vec<u8>,
    ) -> Option<&'static embed::File> {
        buffer.clear();
        buffer.extend_from_slice(path);
        buffer.push(0);
        buffer.extend_from_slice(name);
        let mut modules = self.modules.lock();
        if !modules.contains_key(&buffer[..]) {
            let answer = embed::module(path, name).map(|(file, path)| (file, path.into()));
            modules.insert(buffer[..].into(), answer);
        }
        let (file, path) = modules.get(&buffer[..])?.as_ref()?;
        embed::set_display(buffer, path);
        Some(file)
    }

    /// Empties the code cache.
    pub(crate) fn clear_cache(&self) {
        if let Some(space) = self.space.get() {
            space.clear_cache();
        }
        self.modules.lock().clear();
        *self.loader.lock() = None;
    }

    /// The space, if a VM was made.
    pub(crate) fn existing_space(&self) -> Option<&Space> {
        self.space.get()
    }

    pub(crate) fn add_service(&self, handle: Handle, shared: Arc<Shared>) {
        self.services.lock().insert(handle, shared);
    }

    pub(crate) fn remove_service(&self, handle: Handle) {
        self.services.lock().remove(&handle);
    }

    /// Bytes of each service's VM, about, in order of the handles.
    pub(crate) fn sizes(&self) -> Vec<(Handle, usize)> {
        let mut sizes: Vec<_> = self
            .services
            .lock()
            .iter()
            .map(|(&handle, shared)| (handle, shared.bytes.load(Ordering::Relaxed)))
            .collect();
        sizes.sort_unstable();
        sizes
    }

    pub(crate) fn service(&self, handle: Handle) -> Option<Arc<Shared>> {
        self.services.lock().get(&handle).cloned()
    }
}

/// Replacing a byte by a text.
trait ReplaceByte {
    fn replacen_bytes(&self, byte: u8, text: &[u8]) -> Vec<u8>;
}

impl ReplaceByte for [u8] {
    fn replacen_bytes(&self, byte: u8, text: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.len() + text.len());
        for &b in self {
            if b == byte {
                out.extend_from_slice(text);
            } else {
                out.push(b);
            }
        }
        out
    }
}
