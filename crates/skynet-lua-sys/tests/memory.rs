//! Every allocation of a VM may fail, at any point of a load: the load fails
//! with a memory error, nothing leaks, and the VM goes on.

mod common;

use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::mem::ManuallyDrop;

use common::{Vm, space};
use skynet_lua_sys::*;

/// Fails when `left` comes to 0; counts the bytes in use.
#[derive(Default)]
struct Budget {
    left: Cell<Option<usize>>,
    used: Cell<usize>,
}

unsafe extern "C" fn alloc(
    ud: *mut c_void,
    ptr: *mut c_void,
    osize: usize,
    nsize: usize,
) -> *mut c_void {
    // SAFETY: `ud` is the Budget given to skl_newvm, used by one thread.
    let budget = unsafe { &*ud.cast::<Budget>() };
    let osize = if ptr.is_null() { 0 } else { osize };
    if nsize > osize {
        match budget.left.get() {
            Some(0) => return std::ptr::null_mut(),
            Some(n) => budget.left.set(Some(n - 1)),
            None => {}
        }
    }
    budget.used.set(budget.used.get() - osize + nsize);
    // SAFETY: the contract of lua_Alloc is passed on.
    unsafe { skl_alloc(std::ptr::null_mut(), ptr, osize, nsize) }
}

unsafe extern "C-unwind" fn load(l: *mut lua_State) -> c_int {
    // SAFETY: called by Lua with a Job as light userdata.
    unsafe {
        let job = &*lua_touserdata(l, 1).cast::<Job>();
        let status = match job {
            Job::Embedded(key, code) => skl_loadembedded(
                l,
                key.as_ptr(),
                code.as_ptr().cast(),
                code.len(),
                c"@code".as_ptr(),
            ),
            Job::Clone(fp) => {
                lua_clonefunction(l, *fp);
                LUA_OK
            }
            Job::Share => {
                lua_getglobal(l, c"shareme".as_ptr());
                lua_sharefunction(l, -1);
                LUA_OK
            }
        };
        if status != LUA_OK {
            lua_error(l);
        }
        1
    }
}

enum Job {
    Embedded(std::ffi::CString, &'static str),
    Clone(*const c_void),
    Share,
}

const CODE: &str = "local t = {} t.hitpoints = 1 t.mana = 2 return t.hitpoints + t.mana";

/// Runs the job with the n-th allocation failing, in a VM that `prepare` has
/// seen. Whether it succeeded.
fn attempt(space: &Space, job: &Job, n: usize, prepare: impl Fn(&Vm)) -> bool {
    let budget = Budget::default();
    // SAFETY: the budget outlives the VM, which is closed below.
    let l = unsafe { skl_newvm(space.as_ptr(), alloc, (&raw const budget).cast_mut().cast()) };
    let vm = ManuallyDrop::new(Vm { l });
    // SAFETY: a fresh state; `job` outlives the call; then the state is
    // closed, once.
    let status = unsafe {
        luaL_openlibs(l);
        prepare(&vm);
        lua_gc(l, LUA_GCCOLLECT);
        lua_pushcfunction(l, load);
        lua_pushlightuserdata(l, (&raw const *job).cast_mut().cast());
        budget.left.set(Some(n));
        let status = lua_pcall(l, 1, 1, 0);
        budget.left.set(None);
        if status != LUA_OK {
            assert_eq!(status, LUA_ERRMEM, "allocation {n}");
            assert_eq!(lua_tostring_(l), "not enough memory");
        }
        lua_settop(l, 0);
        status
    };
    assert_eq!(vm.embedded("after", "return 'goes on'").unwrap(), "goes on");
    assert_eq!(vm.embedded("code", CODE).unwrap(), "3");
    // SAFETY: closed once; `vm` is never dropped.
    unsafe { skl_close(l) };
    assert_eq!(budget.used.get(), 0, "allocation {n}");
    status == LUA_OK
}

/// Attempts for every n until the job succeeds; that n.
fn sweep(space: &Space, job: &Job, prepare: impl Fn(&Vm)) -> usize {
    (0..)
        .find(|n| attempt(space, job, *n, &prepare))
        .expect("succeeds at last")
}

/// The string on top of the stack.
///
/// # Safety
/// It is a string.
unsafe fn lua_tostring_(l: *mut lua_State) -> String {
    // SAFETY: by the caller.
    unsafe { std::ffi::CStr::from_ptr(lua_tostring(l, -1)) }
        .to_string_lossy()
        .into_owned()
}

fn embedded() -> Job {
    Job::Embedded(c"code".to_owned(), CODE)
}

#[test]
fn a_load_from_the_cache() {
    let space = space();
    Vm::new(&space).embedded("code", CODE).unwrap();
    let n = sweep(&space, &embedded(), |_| {});
    assert!((2..20).contains(&n), "{n} allocations");
    space.clear_cache();
    assert_eq!(space.stats().chunks, 0);
}

#[test]
fn a_load_that_compiles() {
    let space = space();
    let n = sweep(&space, &embedded(), |_| space.clear_cache());
    assert!(
        (2..20).contains(&n),
        "{n} allocations: compiling is not on the VM's account"
    );
    space.clear_cache();
    assert_eq!(space.stats().chunks, 0);
}

#[test]
fn a_load_of_a_private_copy() {
    for n in 0.. {
        let space = space(); // where the name is no atom yet
        let done = attempt(&space, &embedded(), n, |vm| {
            vm.eval("data = {['hit' .. 'points'] = 1}").unwrap();
        });
        assert!(space.stats().private_loads >= 2, "{:?}", space.stats());
        space.clear_cache();
        assert_eq!(space.stats().chunks, 0);
        if done {
            assert!(n > 10, "{n} allocations");
            break;
        }
    }
}

#[test]
fn a_syntax_error() {
    let space = space();
    let job = Job::Embedded(c"bad".to_owned(), "x = = 1");
    for n in 0..40 {
        let budget = Budget::default();
        // SAFETY: as in `sweep`.
        unsafe {
            let l = skl_newvm(space.as_ptr(), alloc, (&raw const budget).cast_mut().cast());
            lua_pushcfunction(l, load);
            lua_pushlightuserdata(l, (&raw const job).cast_mut().cast());
            budget.left.set(Some(n));
            let status = lua_pcall(l, 1, 1, 0);
            let message = lua_tostring_(l);
            if n == 0 {
                assert_eq!(
                    (status, message.as_str()),
                    (LUA_ERRMEM, "not enough memory")
                );
            } else if n >= 20 {
                assert_eq!(status, LUA_ERRRUN);
                assert_eq!(message, "code:1: unexpected symbol near '='");
            }
            skl_close(l);
        }
        assert_eq!(budget.used.get(), 0);
        assert_eq!(
            space.stats().vms,
            0,
            "the compiling VM is closed in any case"
        );
    }
}

#[test]
fn sharing_and_cloning_a_function() {
    let space = space();
    let owner = Vm::new(&space);
    owner.eval("function f(t) return t.hitpoints end").unwrap();
    // SAFETY: a function, anchored by sharing it.
    let fp = unsafe {
        lua_getglobal(owner.l, c"f".as_ptr());
        lua_sharefunction(owner.l, -1);
        lua_topointer(owner.l, -1)
    };
    sweep(&space, &Job::Clone(fp), |_| {});
    sweep(&space, &Job::Clone(fp), |vm| {
        vm.eval("data = {['hit' .. 'points'] = 1}").unwrap();
    });
    let define = |vm: &Vm| {
        vm.eval("function shareme() return x.y.z end").unwrap();
    };
    sweep(&space, &Job::Share, define);
    drop(owner);
    space.clear_cache();
    assert_eq!(space.stats().chunks, 0);
}

/// Refuses to make a block smaller, every other time it is asked.
unsafe extern "C" fn reluctant(
    ud: *mut c_void,
    ptr: *mut c_void,
    osize: usize,
    nsize: usize,
) -> *mut c_void {
    // SAFETY: `ud` is a counter that outlives the VM, used by one thread.
    let asked = unsafe { &*ud.cast::<Cell<usize>>() };
    if !ptr.is_null() && nsize > 0 && nsize < osize {
        asked.set(asked.get() + 1);
        if asked.get() % 2 == 1 {
            return std::ptr::null_mut();
        }
    }
    // SAFETY: the contract of lua_Alloc is passed on.
    unsafe { skl_alloc(std::ptr::null_mut(), ptr, osize, nsize) }
}

/// Stock Lua 5.5.1 sweeps its string table half moved when that happens.
#[test]
fn the_string_table_survives_a_block_that_does_not_shrink() {
    let space = space();
    let asked = Cell::new(0usize);
    // SAFETY: the counter outlives the VM.
    let l = unsafe {
        skl_newvm(
            space.as_ptr(),
            reluctant,
            (&raw const asked).cast_mut().cast(),
        )
    };
    let vm = Vm { l };
    // SAFETY: a fresh state.
    unsafe { luaL_openlibs(l) };
    let code = "
        collectgarbage('generational')
        for round = 1, 4 do
          local keep = {}
          for i = 1, 300 do keep[i] = 'kept' .. i end
          collectgarbage() -- they are old now: only a full collection frees them
          collectgarbage('stop')
          for i = 1, 3000 do local s = 'string' .. i end
          keep = nil
          collectgarbage('step') -- frees the young ones, so the table shrinks
          collectgarbage('restart')
        end
        local t = {}
        for i = 1, 3000 do t['string' .. i] = i end
        for i = 1, 3000 do assert(t['string' .. i] == i) end
        return 'sound'";
    assert_eq!(vm.eval(code).unwrap(), "sound");
    drop(vm);
    assert!(asked.get() > 4, "{}", asked.get());
}
