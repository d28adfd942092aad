//! The rules that make sharing sound, one test each; the first ones are faults
//! that an earlier design had.

mod common;

use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};

use common::{Vm, space};
use skynet_lua_sys::*;

const MODULE: &str = "
    local M = {}
    function M.set(t, v) t.hitpoints = v; return t end
    function M.get(t) return t.hitpoints end
    M.long = 'a string constant that is far too long to be interned by a VM'
    return M";

/// Fault 1: collections in the VM that compiled repainted frozen objects, and
/// it wrote to strings that others used. The VM that compiles is private and
/// gone at once; no collection anywhere changes what is shared.
#[test]
fn collections_leave_shared_code_alone() {
    let space = space();
    let use_it = "
        local M = ...
        local t = M.set({}, 7)
        assert(t['hit' .. 'points'] == 7 and M.get(t) == 7)
        assert(M.long == 'a string constant that is far too long ' .. 'to be interned by a VM')";
    let mut vms = Vec::new();
    for round in 0..6 {
        let vm = Vm::new(&space);
        assert_eq!(vm.load_embedded("m", MODULE), LUA_OK);
        assert_eq!(
            space.stats().vms,
            vms.len() + 1,
            "the compiling VM is closed"
        );
        // SAFETY: a function is on the stack, the calls return.
        unsafe {
            lua_call(vm.l, 0, 1);
            lua_setglobal(vm.l, c"M".as_ptr());
        }
        vms.push(vm);
        for (i, vm) in vms.iter().enumerate() {
            let mode = ["generational", "incremental"][(i + round) % 2];
            vm.eval(&format!(
                "collectgarbage('{mode}') collectgarbage() collectgarbage('step')
                 for i = 1, 3000 do local s = 'garbage' .. i end
                 collectgarbage()"
            ))
            .unwrap();
            vm.eval(&format!("return (function (...) {use_it} end)(M)"))
                .unwrap();
        }
        if round == 2 {
            vms.remove(0); // the first one that loaded it
        }
    }
    assert_eq!(space.stats().chunks, 1);
    assert_eq!(space.stats().private_loads, 0);
}

/// Fault 2: two files compiled at the same time gave two objects for one text,
/// and a field written by one read nil in the other.
#[test]
fn one_text_is_one_object() {
    let space = Arc::new(space());
    for round in 0..300 {
        let barrier = Arc::new(Barrier::new(2));
        let threads: Vec<_> = ["set", "get"]
            .into_iter()
            .map(|what| {
                let (space, barrier) = (space.clone(), barrier.clone());
                std::thread::spawn(move || {
                    let vm = Vm::new(&space);
                    let code = match what {
                        "set" => format!("return function (t) t.f{round} = 1 t.g{round} = 2 end"),
                        _ => format!("return function (t) return t.f{round}, t.g{round} end"),
                    };
                    barrier.wait();
                    assert_eq!(vm.load_embedded(&format!("{what}{round}"), &code), LUA_OK);
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        let vm = Vm::new(&space);
        for what in ["set", "get"] {
            assert_eq!(
                vm.load_embedded(&format!("{what}{round}"), ""),
                LUA_OK,
                "from the cache"
            );
            // SAFETY: a function is on the stack.
            unsafe {
                lua_call(vm.l, 0, 1);
                lua_setglobal(vm.l, [c"set", c"get"][usize::from(what == "get")].as_ptr());
            }
        }
        assert_eq!(vm.eval("local t = {} set(t) return get(t)").unwrap(), "1 2");
        assert_eq!(vm.stats().private_loads, 0);
    }
}

/// Fault 3: a VM that started during a parse made `global` a reserved word in
/// the other one.
#[test]
fn global_stays_a_name_while_vms_start() {
    let space = Arc::new(space());
    let stop = Arc::new(AtomicBool::new(false));
    let starter = {
        let (space, stop) = (space.clone(), stop.clone());
        std::thread::spawn(move || {
            let mut n = 0;
            while !stop.load(Ordering::Relaxed) {
                drop(Vm::bare(&space));
                n += 1;
            }
            n
        })
    };
    let vm = Vm::new(&space);
    let code = "local global = {1} global[2] = global return #global";
    for _ in 0..20_000 {
        assert_eq!(vm.eval(code).unwrap(), "2");
    }
    stop.store(true, Ordering::Relaxed);
    assert!(starter.join().unwrap() > 0);
    // and the words that are reserved stay so, also when they come as data
    assert!(vm.eval("local while = 1").is_err());
    vm.eval("local t = {['end'] = 1, ['whi' .. 'le'] = 2} assert(t['e' .. 'nd'] == 1)")
        .unwrap();
    assert!(vm.eval("local while = 1").is_err());
    assert!(vm.eval("end = 1").is_err());
}

/// Rule 4: a VM that has a string of its own for a name of the chunk runs a
/// private copy, and counts it.
#[test]
fn a_name_that_was_data_first_makes_the_load_private() {
    let space = space();
    let vm = Vm::new(&space);
    vm.eval("data = {} data['hit' .. 'points'] = 5").unwrap();
    assert_eq!(vm.load_embedded("m", MODULE), LUA_OK);
    // SAFETY: a function is on the stack.
    unsafe {
        lua_call(vm.l, 0, 1);
        lua_setglobal(vm.l, c"M".as_ptr());
    }
    assert_eq!(vm.eval("return M.get(data)").unwrap(), "5");
    assert_eq!(
        vm.eval("return M.get(M.set({}, 3)), debug.getinfo(M.get, 'S').short_src")
            .unwrap(),
        "3 m"
    );
    assert_eq!(vm.stats().private_loads, 1);
    assert_eq!(vm.stats().chunks, 0);
    assert_eq!(space.stats().private_loads, 1);
    // a VM that meets the name in the code first shares it
    let other = Vm::new(&space);
    other.embedded("m", MODULE).unwrap();
    other.eval("data = {} data['hit' .. 'points'] = 5").unwrap();
    assert_eq!(other.stats().private_loads, 0);
    assert_eq!(other.stats().chunks, 1);
}

/// Rule 4, the hard half: a string that is dead but not swept comes back to
/// life when its text is interned again. The load happens at every point of a
/// collection in turn.
#[test]
fn a_dead_string_that_is_not_swept_counts_as_the_vms_own() {
    let mut private = 0;
    for steps in 0..400 {
        let space = space();
        let vm = Vm::new(&space);
        vm.eval(
            "collectgarbage('incremental') collectgarbage() collectgarbage('stop')
             collectgarbage('param', 'stepmul', 40) collectgarbage('param', 'stepsize', 64)
             local s = 'hit' .. 'points' s = nil
             keep = {} for i = 1, 300 do keep[i] = {} end -- swept before the string",
        )
        .unwrap();
        for _ in 0..steps {
            // SAFETY: a step of the collector; no finalizer of ours can raise.
            unsafe { lua_gc(vm.l, LUA_GCSTEP, 0usize) };
        }
        assert_eq!(vm.load_embedded("m", MODULE), LUA_OK);
        // SAFETY: a function is on the stack.
        unsafe {
            lua_call(vm.l, 0, 1);
            lua_setglobal(vm.l, c"M".as_ptr());
        }
        let result = vm.eval("local t = {} t['hit' .. 'points'] = 9 return M.get(t)");
        assert_eq!(result.unwrap(), "9", "after {steps} steps");
        private += vm.stats().private_loads;
    }
    assert!(private > 1, "some loads came before the sweep ({private})");
    assert!(private < 400, "some loads came after it ({private})");
}

/// Rule 3: names of the libraries, metamethods and reserved words are atoms;
/// a VM of the space makes hardly any string of its own.
#[test]
fn names_of_the_libraries_are_atoms() {
    let space = space();
    let before = space.stats().atoms;
    assert!(before > 150, "{before}");
    let shared = Vm::new(&space);
    let count = "collectgarbage() return math.floor(collectgarbage('count') * 1024)";
    let stock: usize = Vm::foreign().eval(count).unwrap().parse().unwrap();
    let ours: usize = shared.eval(count).unwrap().parse().unwrap();
    assert!(ours + 6000 < stock, "{ours} bytes against {stock}");
    assert_eq!(
        space.stats().atoms,
        before,
        "opening libraries makes no atoms"
    );
}

/// Rule 3: a host can make its own names atoms before its VMs meet them.
#[test]
fn names_made_atoms_ahead_are_shared_from_the_start() {
    let space = space();
    assert!(space.atom("hitpoints"));
    assert!(space.atom("hitpoints"));
    assert!(!space.atom("a name that is longer than a short string may be"));
    let vm = Vm::new(&space);
    vm.eval("data = {} data['hit' .. 'points'] = 5").unwrap();
    vm.embedded("m", MODULE).unwrap();
    assert_eq!(vm.stats().private_loads, 0);
}

/// Rule 3: one VM can stand for all later ones.
#[test]
fn what_one_vm_did_first_is_learned() {
    let space = space();
    let prepare = |vm: &Vm| vm.eval("hitpoints = 1 return mana").unwrap();
    let first = Vm::new(&space);
    prepare(&first);
    // SAFETY: a live state.
    assert_eq!(unsafe { skl_learn(first.l) }, 1);
    drop(first);
    let vm = Vm::new(&space);
    let atoms = space.stats().atoms;
    prepare(&vm);
    vm.embedded("m", MODULE).unwrap();
    assert_eq!(vm.stats().private_loads, 0);
    assert!(
        space.stats().atoms > atoms,
        "the module's own names come later"
    );
    // SAFETY: a live state.
    assert_eq!(unsafe { skl_learn(Vm::foreign().l) }, 0);
    vm.eval("local global = 1").unwrap();
    assert!(vm.eval("local end = 1").is_err());
}

/// Rule 5: files that are all data do not fill the atoms, and are still
/// compiled only once.
#[test]
fn data_files_are_kept_out_of_the_atoms() {
    let space = space();
    let mut code = String::from("return {\n");
    for i in 0..400 {
        code.push_str(&format!("  {{ id = {i}, name = 'item_{i}' }},\n"));
    }
    code.push('}');
    let atoms = space.stats().atoms;
    let vms: Vec<_> = (0..3).map(|_| Vm::new(&space)).collect();
    for vm in &vms {
        assert_eq!(vm.load_embedded("items", &code), LUA_OK);
        // SAFETY: a function is on the stack.
        unsafe {
            lua_call(vm.l, 0, 1);
            lua_setglobal(vm.l, c"items".as_ptr());
        }
        assert_eq!(
            vm.eval("return #items, items[400].name").unwrap(),
            "400 item_399"
        );
    }
    let stats = space.stats();
    assert_eq!((stats.data_chunks, stats.misses, stats.hits), (1, 1, 2));
    assert_eq!(stats.atoms, atoms);
    assert_eq!(stats.private_loads, 0, "not what that counter means");
}

/// Rule 5: past the budget nothing is shared any more, and everything works.
#[test]
fn the_budget_of_the_atoms_holds() {
    let space = space();
    space.set_budget(space.stats().atom_bytes + 400);
    let vm = Vm::new(&space);
    for i in 0..40 {
        let code = format!("local t = {{}} t.name_{i} = {i} return t['name_' .. {i}]");
        assert_eq!(vm.embedded(&format!("f{i}"), &code).unwrap(), i.to_string());
    }
    let stats = space.stats();
    assert!(stats.atom_bytes <= stats.atom_budget, "{stats:?}");
    assert!(stats.over_budget > 25, "{stats:?}");
    assert!(stats.over_budget < 40, "{stats:?}");
    assert!(!space.atom("one_more_name_that_does_not_fit_in_there"));
    // what needs no new names is shared as before
    assert_eq!(
        vm.embedded("plain", "return #tostring(math.type(1))")
            .unwrap(),
        "7"
    );
    assert_eq!(space.stats().over_budget, stats.over_budget);
}

/// Rule 6: a chunk lives while a VM that loaded it does, up to the last
/// finalizer, and not longer.
#[test]
fn chunks_live_until_the_last_vm_is_closed() {
    static FINALIZED: AtomicUsize = AtomicUsize::new(0);
    unsafe extern "C-unwind" fn finalized(l: *mut lua_State) -> c_int {
        // SAFETY: called by Lua with one integer argument; does not raise.
        let n = unsafe { lua_tointegerx(l, 1, std::ptr::null_mut()) };
        FINALIZED.store(n as usize, Ordering::SeqCst);
        0
    }
    let space = space();
    assert!(space.atom("finalized"));
    let vm = Vm::new(&space);
    // SAFETY: pushing a light function and naming it.
    unsafe {
        lua_pushcfunction(vm.l, finalized);
        lua_setglobal(vm.l, c"finalized".as_ptr());
    }
    vm.embedded(
        "last",
        "local finalized = finalized
         local config = { answer = 42 }
         keep = setmetatable({}, { __gc = function () finalized(config.answer) end })",
    )
    .unwrap();
    assert_eq!(vm.stats().retired, 0);
    space.clear_cache();
    let stats = space.stats();
    assert_eq!((stats.cached, stats.chunks), (0, 1));
    assert_eq!((vm.stats().chunks, vm.stats().retired), (1, 1));
    assert_eq!(vm.stats().retired_bytes, stats.chunk_bytes);
    // loaded again: a new version beside the old one
    vm.embedded("last", "return 1").unwrap();
    assert_eq!((vm.stats().chunks, vm.stats().retired), (2, 1));
    drop(vm);
    assert_eq!(FINALIZED.load(Ordering::SeqCst), 42);
    let stats = space.stats();
    assert_eq!((stats.cached, stats.chunks, stats.vms), (1, 1, 0));
    space.clear_cache();
    assert_eq!((space.stats().chunks, space.stats().chunk_bytes), (0, 0));
}

/// Rule 6: what `lua_close` frees is the same as what `skl_close` frees.
#[test]
fn a_plain_lua_close_drops_the_chunks_too() {
    let space = space();
    let vm = Vm::new(&space);
    vm.embedded("m", MODULE).unwrap();
    space.clear_cache();
    assert_eq!(space.stats().chunks, 1);
    let l = vm.l;
    std::mem::forget(vm);
    // SAFETY: the state is alive and nobody closes it later.
    unsafe { lua_close(l) };
    assert_eq!((space.stats().chunks, space.stats().vms), (0, 0));
}

/// A VM keeps its space alive.
#[test]
fn a_space_can_be_let_go_before_its_vms() {
    let space = space();
    let vm = Vm::new(&space);
    vm.embedded("m", MODULE).unwrap();
    drop(space);
    assert_eq!(
        vm.embedded("m", "not looked at")
            .map(|s| s.starts_with("table")),
        Ok(true)
    );
    vm.embedded("n", "return function (t) return t.mana end")
        .unwrap();
}

/// Rule 7: a small heap is not collected all the time.
#[test]
fn the_collector_keeps_its_pace_on_a_small_heap() {
    let count = "
        local cycles = 0
        local function arm()
          setmetatable({}, {__gc = function () cycles = cycles + 1 arm() end})
        end
        MODE()
        collectgarbage()
        arm()
        for i = 1, 50000 do local t = {i} end
        return cycles";
    let space = space();
    for mode in ["generational", "incremental"] {
        let code = count.replace("MODE()", &format!("collectgarbage('{mode}')"));
        let code = format!(
            "local arm {}",
            code.replace("local function arm", "function arm")
        );
        let run = |vm: Vm| -> usize { vm.eval(&code).unwrap().parse().unwrap() };
        let ours = run(Vm::new(&space));
        // 50,000 tables of 72 bytes are 110 times 32 KiB
        assert!(ours > 20, "{mode}: collected {ours} times");
        assert!(ours <= 130, "{mode}: collected {ours} times");
        if mode == "generational" {
            let stock = run(Vm::foreign());
            assert!(stock > 3 * ours, "{stock} in stock Lua, {ours} here");
        }
    }
}

/// Rule 8: sharing a function copies it; the one it was copied from, and its
/// VM, stay as they are.
#[test]
fn a_shared_function_is_a_copy() {
    let space = space();
    let owner = Vm::new(&space);
    let user = Vm::new(&space);
    owner
        .eval("function f(t) t.hitpoints = 3 return t end own = f({})")
        .unwrap();
    // SAFETY: the function stays anchored in the global and by the sharing.
    let fp: *const c_void = unsafe {
        lua_getglobal(owner.l, c"f".as_ptr());
        lua_sharefunction(owner.l, -1);
        lua_sharefunction(owner.l, -1); // twice is once
        let fp = lua_topointer(owner.l, -1);
        lua_settop(owner.l, 0);
        fp
    };
    owner
        .eval("f = nil collectgarbage() collectgarbage('generational') collectgarbage()")
        .unwrap();
    let clone = |vm: &Vm| {
        // SAFETY: `fp` is shared by a VM that is open.
        unsafe {
            lua_clonefunction(vm.l, fp);
            lua_setglobal(vm.l, c"g".as_ptr());
        }
    };
    clone(&user);
    assert_eq!(
        user.eval("return g({})['hit' .. 'points'], g({}).hitpoints")
            .unwrap(),
        "3 3"
    );
    assert_eq!(
        user.stats(),
        SklVmStats {
            chunks: 1,
            ..Default::default()
        }
    );
    // in the VM of the original, whose strings are its own, a private copy
    clone(&owner);
    assert_eq!(
        owner
            .eval("return g(own).hitpoints, own['hit' .. 'points']")
            .unwrap(),
        "3 3"
    );
    assert_eq!(owner.stats().private_loads, 1);
    drop(owner);
    assert_eq!(user.eval("return g({}).hitpoints").unwrap(), "3");
    drop(user);
    assert_eq!(space.stats().chunks, 0);
}

/// A VM with a seed of its own never sees an atom, and can use the same files.
#[test]
fn foreign_vms_share_nothing() {
    let space = space();
    let vm = Vm::new(&space);
    vm.embedded("m", MODULE).unwrap();
    let stats = space.stats();
    let foreign = Vm::foreign();
    assert_eq!(foreign.load_embedded("m", MODULE), LUA_OK);
    foreign
        .eval("local t = {} t['hit' .. 'points'] = 1 assert(t.hitpoints == 1)")
        .unwrap();
    assert_eq!(foreign.stats(), SklVmStats::default());
    assert_eq!(space.stats(), stats);
    // SAFETY: a live state.
    unsafe {
        assert!(skl_space(foreign.l).is_null());
        assert_eq!(skl_space(vm.l), space.as_ptr());
        assert_eq!(skl_cachemode(foreign.l), SKL_CACHE_OFF);
    }
}
