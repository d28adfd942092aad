//! The owner of a space.

use std::ffi::c_uint;
use std::ptr::NonNull;

use crate::skl::{
    SklSpace, SklSpaceStats, skl_space_atom, skl_space_clear, skl_space_free, skl_space_new,
    skl_space_seed, skl_space_setbudget, skl_space_stats,
};

/// What the VMs of one process share: hash seed, atoms, code cache.
///
/// VMs are made on it by `skl_newvm` with [`Space::as_ptr`]. They keep what they
/// need of it: dropping the `Space` lets go of it, the last VM to be closed frees
/// it.
#[derive(Debug)]
pub struct Space(NonNull<SklSpace>);

// SAFETY: every function on a space takes the locks it needs (csrc/skl.h: "may
// be called from any thread at any time") and nothing in it belongs to a thread.
unsafe impl Send for Space {}
// SAFETY: as above; the functions reached through `&Space` are those functions.
unsafe impl Sync for Space {}

impl Space {
    /// A new space, with the hash seed of all its VMs. `None`: out of memory.
    pub fn new(seed: c_uint) -> Option<Space> {
        // SAFETY: no preconditions; null means out of memory.
        NonNull::new(unsafe { skl_space_new(seed) }).map(Space)
    }

    /// The pointer for `skl_newvm`, valid while `self` lives.
    pub fn as_ptr(&self) -> *mut SklSpace {
        self.0.as_ptr()
    }

    /// The hash seed of its VMs.
    pub fn seed(&self) -> c_uint {
        // SAFETY: the space is alive as long as `self`.
        unsafe { skl_space_seed(self.as_ptr()) }
    }

    /// Bounds the bytes that atoms may use.
    pub fn set_budget(&self, bytes: usize) {
        // SAFETY: the space is alive as long as `self`.
        unsafe { skl_space_setbudget(self.as_ptr(), bytes) }
    }

    /// Makes a name an atom before VMs use it; `false` if it cannot be one.
    pub fn atom(&self, text: &str) -> bool {
        // SAFETY: the space is alive; the text is read up to its length only.
        unsafe { skl_space_atom(self.as_ptr(), text.as_ptr().cast(), text.len()) != 0 }
    }

    /// Empties the code cache; loaded functions keep working.
    pub fn clear_cache(&self) {
        // SAFETY: the space is alive as long as `self`.
        unsafe { skl_space_clear(self.as_ptr()) }
    }

    /// The counters.
    pub fn stats(&self) -> SklSpaceStats {
        let mut stats = SklSpaceStats::default();
        // SAFETY: the space is alive, `stats` has the layout of skl.h.
        unsafe { skl_space_stats(self.as_ptr(), &mut stats) };
        stats
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        // SAFETY: we own the reference that this gives up, once.
        unsafe { skl_space_free(self.as_ptr()) }
    }
}
