//! Declarations of `csrc/skl.h`: VMs that share compiled code and names.
//!
//! As everywhere in this crate, `extern "C-unwind"` means "may raise a Lua
//! error (longjmp)", `extern "C"` means "never".

use std::ffi::{c_char, c_int, c_uint, c_ulonglong, c_void};

use mlua_sys::{lua_Alloc, lua_Hook, lua_State};

/// What the VMs of one process share: the hash seed, the atoms and the code
/// cache. Opaque; see [`crate::Space`] for an owner.
#[repr(C)]
pub struct SklSpace {
    _opaque: [u8; 0],
    _pinned: std::marker::PhantomData<(*mut u8, std::marker::PhantomPinned)>,
}

/// What a VM or a table of it held once, to be made again in other VMs of the
/// space. Opaque.
#[repr(C)]
pub struct SklTemplate {
    _opaque: [u8; 0],
    _pinned: std::marker::PhantomData<(*mut u8, std::marker::PhantomPinned)>,
}

/// Code cache mode: look up, compile for all VMs on a miss.
pub const SKL_CACHE_ON: c_int = 0;
/// Code cache mode: look up, compile for this VM alone on a miss.
pub const SKL_CACHE_EXIST: c_int = 1;
/// Code cache mode: never look, always compile for this VM alone.
pub const SKL_CACHE_OFF: c_int = 2;

/// What is asked of a [`SklTime`]: nanoseconds since 1970.
pub const SKL_TIME_DATE: c_int = 0;
/// What is asked of a [`SklTime`]: nanoseconds that the program has used.
pub const SKL_TIME_USED: c_int = 1;

/// The time of a VM as its host has it. May not raise.
pub type SklTime = unsafe extern "C-unwind" fn(*mut lua_State, c_int) -> c_ulonglong;

/// Counters of a space.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SklSpaceStats {
    /// Names that are atoms.
    pub atoms: usize,
    /// Bytes of the atoms and their index.
    pub atom_bytes: usize,
    /// Bytes the atoms may use.
    pub atom_budget: usize,
    /// Shared chunks alive: cached ones and retired ones still in use.
    pub chunks: usize,
    /// Bytes of these.
    pub chunk_bytes: usize,
    /// Entries of the code cache.
    pub cached: usize,
    /// Loads served by the cache.
    pub hits: usize,
    /// Loads that compiled for the cache.
    pub misses: usize,
    /// Compiled files that are all data and therefore kept unshared.
    pub data_chunks: usize,
    /// Compiled files kept unshared because the budget was used up.
    pub over_budget: usize,
    /// Private copies made of shared chunks, by all VMs.
    pub private_loads: usize,
    /// VMs alive.
    pub vms: usize,
}

/// Counters of a VM.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SklVmStats {
    /// Shared chunks this VM runs.
    pub chunks: usize,
    /// Of these, chunks the cache has dropped since.
    pub retired: usize,
    /// Bytes of the latter.
    pub retired_bytes: usize,
    /// Shared chunks that were loaded as a private copy.
    pub private_loads: usize,
}

unsafe extern "C" {
    /// A new space; `seed` is the hash seed of all its VMs. Null: out of memory.
    pub fn skl_space_new(seed: c_uint) -> *mut SklSpace;
    /// Lets go of the space: it is freed when its last VM has been closed.
    /// Null is allowed.
    pub fn skl_space_free(space: *mut SklSpace);
    /// The seed of the space.
    pub fn skl_space_seed(space: *const SklSpace) -> c_uint;
    /// Bounds the bytes of atoms; files whose new names would go past it are
    /// compiled for each VM alone.
    pub fn skl_space_setbudget(space: *mut SklSpace, bytes: usize);
    /// Makes a text an atom ahead of its first use. 1, or 0 if it cannot be.
    pub fn skl_space_atom(space: *mut SklSpace, text: *const c_char, len: usize) -> c_int;
    /// Empties the code cache.
    pub fn skl_space_clear(space: *mut SklSpace);
    /// Fills in the counters of the space.
    pub fn skl_space_stats(space: *mut SklSpace, stats: *mut SklSpaceStats);

    /// `lua_newstate` for a VM of a space. Null: out of memory.
    pub fn skl_newvm(space: *mut SklSpace, alloc: lua_Alloc, ud: *mut c_void) -> *mut lua_State;
    /// Takes a template of the table at `idx`, or of all the VM holds if `idx`
    /// is 0; it lives as long as the space. Null: something in it cannot be in a
    /// template (see skl.h), or memory is out. Slots: 1.
    pub fn skl_template(L: *mut lua_State, idx: c_int) -> *mut SklTemplate;
    /// `skl_newvm` for a VM that holds what the VM of template `t` (taken with
    /// index 0) held, with its mode of the collector; null `t`: plain.
    pub fn skl_newvmfrom(
        space: *mut SklSpace,
        t: *const SklTemplate,
        alloc: lua_Alloc,
        ud: *mut c_void,
    ) -> *mut lua_State;
    /// `luaL_alloc`, the plain `realloc`/`free` allocator, with the type that
    /// `lua_newstate` and `skl_newvm` take.
    #[link_name = "luaL_alloc"]
    pub fn skl_alloc(ud: *mut c_void, ptr: *mut c_void, osize: usize, nsize: usize) -> *mut c_void;
    /// All seeds of the VM come from `seed` from now on: `luaL_makeseed`, and so
    /// `math.random`, `math.randomseed()` and the pivots of `table.sort`. No
    /// effect on a foreign VM.
    pub fn skl_setseed(L: *mut lua_State, seed: c_ulonglong);
    /// Where `os.time`, `os.date` and `os.clock` have the time from; `None`: the
    /// machine. No effect on a foreign VM.
    pub fn skl_settime(L: *mut lua_State, time: Option<SklTime>);
    /// The hook of thread `L` now, of all threads made from it, and of each
    /// thread whose hook is turned off; `debug.gethook` does not show it. No
    /// effect on a foreign VM.
    pub fn skl_setbasehook(L: *mut lua_State, hook: Option<lua_Hook>, mask: c_int, count: c_int);
    /// The space of the VM; null for a foreign one.
    pub fn skl_space(L: *mut lua_State) -> *mut SklSpace;
    /// Makes atoms of all names this VM has strings of its own for: for one VM
    /// that did what all later ones do first. 1, or 0 if not all could be.
    pub fn skl_learn(L: *mut lua_State) -> c_int;
    /// How many results the caller of the running C function wants; -1: all.
    pub fn skl_nresults(L: *mut lua_State) -> c_int;
    /// The mode of the VM's code cache; `SKL_CACHE_OFF` for a foreign VM.
    pub fn skl_cachemode(L: *mut lua_State) -> c_int;
    /// Sets it; no effect on a foreign VM or with a value that is no mode.
    pub fn skl_setcachemode(L: *mut lua_State, mode: c_int);
    /// Fills in the counters of the VM; zeros for a foreign one.
    pub fn skl_vmstats(L: *mut lua_State, stats: *mut SklVmStats);
}

unsafe extern "C-unwind" {
    /// Closes the VM and then drops its chunks; same as `lua_close`. Runs
    /// finalizers, does not raise.
    pub fn skl_close(L: *mut lua_State);
    /// `luaL_loadfilex` through the cache (as that function is itself): pushes
    /// the function or a message, returns the status. Slots: 1, up to 3 in
    /// between. May raise a memory error.
    pub fn skl_loadfile(L: *mut lua_State, filename: *const c_char, mode: *const c_char) -> c_int;
    /// Loads an embedded source through the cache. `key` names the entry, in a
    /// name space of its own; `chunkname` is Lua's. On a hit the buffer is not
    /// looked at. Slots, result and raising as `skl_loadfile`.
    pub fn skl_loadembedded(
        L: *mut lua_State,
        key: *const c_char,
        buff: *const c_char,
        size: usize,
        chunkname: *const c_char,
    ) -> c_int;

    /// Pushes a copy of the table of a template and returns 1, or pushes
    /// nothing and returns 0: strings of this VM stand in the way. Slots: 1.
    /// May raise a memory error.
    pub fn skl_instantiate(L: *mut lua_State, t: *const SklTemplate) -> c_int;

    /// The uncached `luaL_loadfilex`.
    pub fn luaL_loadfilex_(
        L: *mut lua_State,
        filename: *const c_char,
        mode: *const c_char,
    ) -> c_int;
    /// Nothing to do: spaces are made by `skl_space_new`.
    pub fn luaL_initcodecache();
    /// Opens the library `skynet.codecache`. May raise.
    pub fn luaopen_cache(L: *mut lua_State) -> c_int;
    /// Makes a shareable copy of the Lua function at `idx`. May raise.
    pub fn lua_sharefunction(L: *mut lua_State, idx: c_int);
    /// Makes the text of the string at `idx` an atom if it can be. May raise.
    pub fn lua_sharestring(L: *mut lua_State, idx: c_int);
    /// Pushes a new function with the code of the shared function `fp`. May raise.
    pub fn lua_clonefunction(L: *mut lua_State, fp: *const c_void);
    /// Raises `Not a shared table`.
    pub fn lua_clonetable(L: *mut lua_State, t: *const c_void);
}
