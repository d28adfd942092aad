//! What the C API has beyond stock Lua.

mod common;

use std::ffi::c_int;
use std::ptr;

use common::{Vm, space};
use skynet_lua_sys::*;

/// Appends the wanted number of results to the list in its upvalue.
unsafe extern "C-unwind" fn wanted(l: *mut lua_State) -> c_int {
    // SAFETY: called by Lua as a closure with one table as upvalue.
    unsafe {
        lua_pushinteger(l, skl_nresults(l).into());
        lua_rawseti(
            l,
            lua_upvalueindex(1),
            (lua_rawlen(l, lua_upvalueindex(1)) + 1) as _,
        );
    }
    0
}

#[test]
fn a_function_sees_how_many_results_are_wanted() {
    let space = space();
    let vm = Vm::new(&space);
    // SAFETY: a table, named and captured.
    unsafe {
        lua_newtable(vm.l);
        lua_pushvalue(vm.l, -1);
        lua_setglobal(vm.l, c"list".as_ptr());
        lua_pushcclosure(vm.l, wanted, 1);
        lua_setglobal(vm.l, c"f".as_ptr());
        // at the base level no function runs: all results
        assert_eq!(skl_nresults(vm.l), -1);
    }
    let code = "
        f()
        local a = f()
        local b, c, d = f()
        print(f()) ;
        (function () return f() end)()
        local t = {f()}
        t = {f(), 1}
        if f() then end
        pcall(f)
        coroutine.wrap(f)()
        for i in f do end
        return table.concat(list, ' ')";
    let code = format!("local print = function () end {code}");
    assert_eq!(vm.eval(&code).unwrap(), "0 1 3 -1 -1 -1 1 1 -1 -1 1");
    // SAFETY: the global is a function.
    unsafe {
        lua_getglobal(vm.l, c"f".as_ptr());
        lua_callk(vm.l, 0, 2, 0, None);
        lua_settop(vm.l, 0);
    }
    assert_eq!(vm.eval("return list[#list]").unwrap(), "2");
}

unsafe extern "C-unwind" fn share_function(l: *mut lua_State) -> c_int {
    // SAFETY: called by Lua; the index may be anything.
    unsafe { lua_sharefunction(l, 1) };
    0
}

unsafe extern "C-unwind" fn share_string(l: *mut lua_State) -> c_int {
    // SAFETY: called by Lua; the index may be anything.
    unsafe { lua_sharestring(l, 1) };
    0
}

unsafe extern "C-unwind" fn clone_function(l: *mut lua_State) -> c_int {
    // SAFETY: any pointer is only compared with those that are shared.
    unsafe { lua_clonefunction(l, lua_topointer(l, 1)) };
    1
}

unsafe extern "C-unwind" fn clone_table(l: *mut lua_State) -> c_int {
    // SAFETY: the pointer is not followed.
    unsafe { lua_clonetable(l, lua_topointer(l, 1)) };
    1
}

#[test]
fn sharing_single_objects_refuses_what_it_cannot_share() {
    let space = space();
    for (vm, foreign) in [(Vm::new(&space), false), (Vm::foreign(), true)] {
        // SAFETY: light functions, named.
        unsafe {
            for (name, f) in [
                (c"sharefunction", share_function as lua_CFunction),
                (c"sharestring", share_string),
                (c"clonefunction", clone_function),
                (c"clonetable", clone_table),
            ] {
                lua_pushcfunction(vm.l, f);
                lua_setglobal(vm.l, name.as_ptr());
            }
        }
        for (code, message) in [
            ("sharefunction(print)", "Only Lua function can share"),
            ("sharefunction(1)", "Only Lua function can share"),
            ("sharefunction()", "Only Lua function can share"),
            ("sharestring(1)", "need a string to share"),
            ("sharestring()", "need a string to share"),
            ("clonefunction(print)", "Not a shared function"),
            ("clonefunction(nil)", "Not a shared function"),
            ("clonefunction(function () end)", "Not a shared function"),
            ("clonetable({})", "Not a shared table"),
            ("clonetable(nil)", "Not a shared table"),
        ] {
            let error = vm.eval(code).unwrap_err();
            assert!(error.ends_with(message), "{code}: {error}");
        }
        vm.eval("sharestring('short') sharestring(('long'):rep(50)) sharestring('')")
            .unwrap();
        let shared = vm.eval("sharefunction(function () end)");
        assert_eq!(shared.is_err(), foreign, "{shared:?}");
    }
}

#[test]
fn a_shared_string_is_an_atom_for_later_vms() {
    let space = space();
    let atoms = space.stats().atoms;
    let vm = Vm::new(&space);
    // SAFETY: a string on the stack.
    unsafe {
        lua_pushlstring(vm.l, c"brandnew".as_ptr(), 8);
        lua_sharestring(vm.l, -1);
        lua_sharestring(vm.l, -1);
        lua_settop(vm.l, 0);
    }
    assert_eq!(space.stats().atoms, atoms + 1);
    assert_eq!(
        vm.eval("local t = {brandnew = 1} return t['brand' .. 'new']")
            .unwrap(),
        "1"
    );
    let later = Vm::new(&space);
    later
        .embedded("b", "return function (t) return t.brandnew end")
        .unwrap();
    later.eval("x = 'brand' .. 'new'").unwrap();
    assert_eq!(later.stats().private_loads, 0);
}

/// Part of a cached chunk can be shared on; it keeps the whole chunk alive.
#[test]
fn a_function_of_a_cached_chunk_is_shared_without_a_copy() {
    let space = space();
    let (owner, user) = (Vm::new(&space), Vm::new(&space));
    assert_eq!(
        owner.load_embedded("m", "return function (t) return t.wanted end"),
        LUA_OK
    );
    // SAFETY: a function is on the stack; its result is one too.
    let fp = unsafe {
        lua_call(owner.l, 0, 1);
        lua_sharefunction(owner.l, -1);
        lua_topointer(owner.l, -1)
    };
    assert_eq!(space.stats().chunks, 1);
    space.clear_cache();
    // SAFETY: `fp` is shared by a VM that is open.
    unsafe {
        lua_clonefunction(user.l, fp);
        lua_setglobal(user.l, c"get".as_ptr());
    }
    assert_eq!(user.eval("return get({wanted = 5})").unwrap(), "5");
    // a VM that had the name already gets a copy of this function alone
    let third = Vm::new(&space);
    third.eval("t = {['wan' .. 'ted'] = 6}").unwrap();
    // SAFETY: as above.
    unsafe {
        lua_clonefunction(third.l, fp);
        lua_setglobal(third.l, c"get".as_ptr());
    }
    assert_eq!(third.eval("return get(t)").unwrap(), "6");
    drop(owner);
    drop(third);
    assert_eq!(user.eval("return get({wanted = 7})").unwrap(), "7");
    drop(user);
    assert_eq!(space.stats().chunks, 0);
}

#[test]
fn spaces_are_independent() {
    let (a, b) = (Space::new(1).unwrap(), Space::new(2).unwrap());
    assert_eq!((a.seed(), b.seed()), (1, 2));
    let (x, y) = (Vm::new(&a), Vm::new(&b));
    x.embedded("k", "return 1").unwrap();
    assert_eq!(y.embedded("k", "return 2").unwrap(), "2");
    assert_eq!((a.stats().misses, b.stats().misses), (1, 1));
}

/// A VM that cannot be made leaves nothing behind.
#[test]
fn a_vm_without_memory_is_null() {
    unsafe extern "C" fn none(
        _ud: *mut std::ffi::c_void,
        _ptr: *mut std::ffi::c_void,
        _osize: usize,
        _nsize: usize,
    ) -> *mut std::ffi::c_void {
        ptr::null_mut()
    }
    let space = space();
    // SAFETY: an allocator that never has memory.
    assert!(unsafe { skl_newvm(space.as_ptr(), none, ptr::null_mut()) }.is_null());
    assert_eq!(space.stats().vms, 0);
}
