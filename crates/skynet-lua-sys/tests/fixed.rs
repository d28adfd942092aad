//! VMs that run the same each time: seeds, time and a hook of the host.

mod common;

use std::collections::BTreeSet;
use std::ffi::{c_int, c_ulonglong};
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{Vm, space};
use skynet_lua_sys::*;

fn seeded(space: &Space, seed: u64) -> Vm {
    let vm = Vm::new(space);
    // SAFETY: the state is alive.
    unsafe { skl_setseed(vm.l, seed) };
    vm
}

/// Sorts against an adversary, who decides what an element is only when it is
/// compared, so that every partition is lopsided and `table.sort` asks for
/// random pivots. The number of comparisons, and their sequence as one number.
const SORT: &str = r#"
local n = 3000
local t = {}
for i = 1, n do t[i] = i end
local gas, solid, count, pivot = n + 1, 0, 0, 0
local value, hash = {}, 0
local function less(a, b)
    count = count + 1
    hash = (hash * 31 + a * 7919 + b) & 0xffffffffffff
    local x, y = value[a], value[b]
    if not x and not y then
        solid = solid + 1
        if a == pivot then value[a] = solid else value[b] = solid end
        x, y = value[a], value[b]
    end
    if not x then pivot = a elseif not y then pivot = b end
    return (x or gas) < (y or gas)
end
table.sort(t, less)
return count, hash
"#;

#[test]
fn sorting_compares_in_the_same_order() {
    let space = space();
    let of = |seed| seeded(&space, seed).eval(SORT).expect("sorts");
    assert_eq!(of(7), of(7));
    // Pivots that do not come from the seed are the same within a second.
    let all: BTreeSet<String> = (8..16).map(of).collect();
    assert_eq!(all.len(), 8);
}

#[test]
fn random_numbers_and_their_seeds_are_the_same() {
    let space = space();
    let code = "local t = { math.random(0), math.randomseed() }
        t[#t + 1] = math.random(0)
        table.move({ math.randomseed() }, 1, 2, #t + 1, t)
        return table.concat(t, ' ')";
    let of = |seed| seeded(&space, seed).eval(code).expect("runs");
    let first = of(7);
    assert_eq!(first, of(7));
    assert_ne!(first, of(8));
    assert_eq!(first.split(' ').count(), 6);

    // A seed that is given again begins again.
    let vm = seeded(&space, 7);
    vm.eval("math.random(0)").expect("runs");
    // SAFETY: the state is alive.
    unsafe { skl_setseed(vm.l, 7) };
    assert_eq!(vm.eval(code), Ok(first));
}

#[test]
fn without_a_seed_vms_differ() {
    let space = space();
    let (a, b) = (Vm::new(&space), Vm::new(&space));
    let code = "return math.random(0), math.random(0)";
    assert_ne!(a.eval(code), b.eval(code));
    // No effect on a VM without a record.
    let vm = Vm::foreign();
    // SAFETY: the state is alive.
    unsafe {
        skl_setseed(vm.l, 7);
        skl_settime(vm.l, Some(time));
        skl_setbasehook(vm.l, Some(foreign), LUA_MASKCOUNT, 1);
    }
    let code = "return (math.randomseed())";
    assert_ne!(vm.eval(code), seeded(&space, 7).eval(code));
    assert_ne!(vm.eval("return os.time()").as_deref(), Ok("90061"));
    assert_eq!(vm.eval("return debug.gethook()").as_deref(), Ok("nil"));
    assert_eq!(FOREIGN.load(Ordering::Relaxed), 0);
}

static FOREIGN: AtomicUsize = AtomicUsize::new(0);

unsafe extern "C-unwind" fn foreign(_: *mut lua_State, _: *mut lua_Debug) {
    FOREIGN.fetch_add(1, Ordering::Relaxed);
}

unsafe extern "C-unwind" fn time(_: *mut lua_State, which: c_int) -> c_ulonglong {
    match which {
        SKL_TIME_DATE => 90_061_999_999_999,
        SKL_TIME_USED => 2_500_000_000,
        _ => 0,
    }
}

#[test]
fn the_time_is_the_hosts() {
    let space = space();
    let vm = Vm::new(&space);
    // SAFETY: the state is alive.
    unsafe { skl_settime(vm.l, Some(time)) };
    assert_eq!(
        vm.eval("return os.time(), os.clock(), os.date('!%F %T'), os.date('!%F', 0)")
            .as_deref(),
        Ok("90061 2.5 1970-01-02 01:01:01 1970-01-01")
    );
    assert_eq!(
        vm.eval("return os.time(os.date('*t')), os.time(nil)")
            .as_deref(),
        Ok("90061 90061")
    );
    // SAFETY: the state is alive.
    unsafe { skl_settime(vm.l, None) };
    assert_eq!(
        vm.eval("return os.time() > 1700000000").as_deref(),
        Ok("true")
    );
}

static HOOKED: AtomicUsize = AtomicUsize::new(0);

unsafe extern "C-unwind" fn count(_: *mut lua_State, _: *mut lua_Debug) {
    HOOKED.fetch_add(1, Ordering::Relaxed);
}

#[test]
fn the_hosts_hook_stays_when_a_program_turns_its_own_off() {
    let space = space();
    let vm = Vm::new(&space);
    // SAFETY: the state is alive; the hook does nothing to it.
    unsafe { skl_setbasehook(vm.l, Some(count), LUA_MASKCOUNT, 1000) };
    let ran = |code: &str| {
        let before = HOOKED.load(Ordering::Relaxed);
        let result = vm.eval(code);
        (result, HOOKED.load(Ordering::Relaxed) - before)
    };
    let (result, hooked) = ran("for i = 1, 10000 do end return debug.gethook()");
    assert_eq!((result.as_deref(), hooked), (Ok("nil"), 10));
    let (result, hooked) = ran("local n = 0
        debug.sethook(function() n = n + 1 end, '', 1000)
        for i = 1, 10000 do end
        local hook, mask, count = debug.gethook()
        return n, type(hook), mask, count");
    assert_eq!((result.as_deref(), hooked), (Ok("10 function  1000"), 0));
    let (result, hooked) = ran("debug.sethook()
        local co = coroutine.wrap(function() for i = 1, 10000 do end end)
        co()
        for i = 1, 10000 do end
        return debug.gethook()");
    assert_eq!((result.as_deref(), hooked), (Ok("nil"), 20));
}
