//! The allocator of a VM: plain `malloc` blocks, counted, under a limit.

use std::ffi::c_void;

use crate::vm::Vm;

/// First mark at which `Memory warning` is logged.
pub const FIRST_WARNING: usize = 32 << 20;

/// The accounts of a VM's memory (spec/01-core.md §14.3).
#[derive(Debug, Clone, Copy)]
pub struct Memory {
    /// Bytes of live blocks.
    pub bytes: usize,
    /// The most there may be; 0: no limit.
    pub limit: usize,
    /// The next warning comes above this.
    pub warning: usize,
    /// Bytes at the end of the last full collection by the host.
    pub collected: usize,
    /// Bytes ever asked for.
    pub allocated: u64,
}

impl Memory {
    pub(crate) const fn new() -> Self {
        Self {
            bytes: 0,
            limit: 0,
            warning: FIRST_WARNING,
            collected: 0,
            allocated: 0,
        }
    }
}

/// The `lua_Alloc` of every service VM; its user data is the [`Vm`].
///
/// # Safety
/// `ud` is a live `Vm`, `ptr` NULL or a block of `osize` bytes made here.
pub(crate) unsafe extern "C" fn allocate(
    ud: *mut c_void,
    ptr: *mut c_void,
    osize: usize,
    nsize: usize,
) -> *mut c_void {
    let vm = ud.cast::<Vm>();
    // SAFETY: nobody holds a reference to `memory` across a Lua call (rule of
    // `Vm`), so this exclusive borrow is the only one.
    let memory = unsafe { &mut (*vm).memory };
    // Without a block, `osize` says what kind of object is made.
    let old = if ptr.is_null() { 0 } else { osize };
    if nsize == 0 {
        memory.bytes = memory.bytes.wrapping_sub(old);
        // SAFETY: `ptr` is NULL or a malloc block of ours.
        unsafe { libc::free(ptr) };
        return std::ptr::null_mut();
    }
    let total = memory.bytes.wrapping_sub(old).wrapping_add(nsize);
    if nsize > old {
        #[cfg(test)]
        if failing::now() {
            return std::ptr::null_mut();
        }
        if memory.limit != 0 && total > memory.limit {
            return std::ptr::null_mut();
        }
        if nsize >= HUGE && nsize > machine_memory() {
            return std::ptr::null_mut();
        }
        memory.allocated += (nsize - old) as u64;
    }
    // SAFETY: as above; `nsize` is not 0.
    let block = unsafe {
        if ptr.is_null() {
            libc::malloc(nsize)
        } else {
            libc::realloc(ptr, nsize)
        }
    };
    if block.is_null() {
        if nsize <= old {
            // Lua takes it that shrinking never fails.
            return ptr;
        }
        return block;
    }
    memory.bytes = total;
    if total > memory.warning {
        // SAFETY: `vm` is live.
        unsafe { warn(vm) };
    }
    block
}

/// From here on a block is compared with the machine's memory.
const HUGE: usize = 1 << 30;

/// Bytes of the machine's memory. Some allocators hand out more than that (they
/// reserve addresses only), and the system would end the process when the block
/// is filled; a Lua memory error ends only what asked for it.
#[cold]
fn machine_memory() -> usize {
    static BYTES: std::sync::OnceLock<usize> = std::sync::OnceLock::new();
    *BYTES.get_or_init(|| {
        // SAFETY: no preconditions.
        let (pages, size) = unsafe {
            (
                libc::sysconf(libc::_SC_PHYS_PAGES),
                libc::sysconf(libc::_SC_PAGESIZE),
            )
        };
        match (usize::try_from(pages), usize::try_from(size)) {
            (Ok(pages), Ok(size)) if pages > 0 => pages.saturating_mul(size),
            // Not known: whatever the allocator says.
            _ => usize::MAX,
        }
    })
}

/// Doubles the mark and logs.
#[cold]
unsafe fn warn(vm: *mut Vm) {
    // SAFETY: as in `allocate`.
    let memory = unsafe { &mut (*vm).memory };
    while memory.bytes > memory.warning {
        memory.warning = memory.warning.saturating_mul(2);
    }
    let bytes = memory.bytes;
    // SAFETY: the context outlives the VM, or is NULL.
    if let Some(context) = unsafe { (*vm).context.as_ref() } {
        context.log(format!("Memory warning {:.2} M", mebibytes(bytes)));
    }
}

/// Bytes in MiB, for log lines.
pub(crate) fn mebibytes(bytes: usize) -> f64 {
    bytes as f64 / (1024.0 * 1024.0)
}

/// Making allocations fail, for tests.
#[cfg(test)]
pub(crate) mod failing {
    use std::cell::Cell;

    thread_local! {
        static LEFT: Cell<u64> = const { Cell::new(u64::MAX) };
        /// How many fail once it is so far.
        static FAILS: Cell<u64> = const { Cell::new(u64::MAX) };
        static FAILED: Cell<bool> = const { Cell::new(false) };
    }

    /// From the `n`-th allocation of this thread on all fail (n from 1); until [`stop`].
    pub(crate) fn from(n: u64) {
        LEFT.set(n - 1);
        FAILS.set(u64::MAX);
        FAILED.set(false);
    }

    /// The `n`-th allocation fails, and that with which Lua tries again after
    /// its emergency collection; until [`stop`].
    pub(crate) fn once(n: u64) {
        from(n);
        FAILS.set(2);
    }

    /// Allocations work again. True if one has failed.
    pub(crate) fn stop() -> bool {
        LEFT.set(u64::MAX);
        FAILED.replace(false)
    }

    /// Whether the allocation being made fails. (One that is reached counts.)
    pub(super) fn now() -> bool {
        match LEFT.get() {
            u64::MAX => false,
            0 => {
                FAILED.set(true);
                match FAILS.get() {
                    u64::MAX => {}
                    1 => LEFT.set(u64::MAX),
                    left => FAILS.set(left - 1),
                }
                true
            }
            left => {
                LEFT.set(left - 1);
                false
            }
        }
    }
}
