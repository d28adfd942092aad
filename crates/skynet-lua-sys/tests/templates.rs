//! VMs and tables made from templates: they are what they would be if the
//! libraries had been opened step by step, and stay apart from each other.

mod common;

use std::ffi::{c_int, c_void};
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{Vm, space};
use skynet_lua_sys::*;

/// A template of a VM with all libraries.
fn template(space: &Space) -> *mut SklTemplate {
    let vm = Vm::new(space);
    // SAFETY: index 0 is the whole VM, whose libraries were just opened.
    let template = unsafe { skl_template(vm.l, 0) };
    assert!(!template.is_null());
    template
}

fn made_from(space: &Space, template: *const SklTemplate) -> Vm {
    // SAFETY: the template is of this space, which outlives the VM.
    let l = unsafe { skl_newvmfrom(space.as_ptr(), template, skl_alloc, ptr::null_mut()) };
    assert!(!l.is_null());
    Vm { l }
}

/// Everything that can be reached, in the order of `pairs`, with addresses of
/// functions (all C functions) and names in the place of the other objects.
const SURVEY: &str = "
    local lines, names = {}, {}
    local function name(v, path)
        if type(v) == 'function' then return 'C function ' .. debug.getinfo(v, 'u').nups end
        if type(v) == 'string' then return string.format('%q', v) end
        if type(v) == 'table' or type(v) == 'userdata' or type(v) == 'thread' then
            if not names[v] then names[v] = path return type(v) .. ' new' end
            return type(v) .. ' ' .. names[v]
        end
        return tostring(v)
    end
    local walk
    local function note(path, v)
        local known = names[v]
        lines[#lines + 1] = path .. ' = ' .. name(v, path)
        if not known then walk(path, v) end
    end
    function walk(path, v)
        local mt = type(v) ~= 'string' and debug.getmetatable(v)
        if mt then note(path .. '.metatable', mt) end
        if type(v) == 'table' then
            for k, e in next, v do note(path .. '.' .. name(k, path .. '.key'), e) end
        elseif type(v) == 'function' then
            for i = 1, debug.getinfo(v, 'u').nups do
                note(path .. '.upvalue' .. i, select(2, debug.getupvalue(v, i)))
            end
        end
    end
    note('registry', debug.getregistry())
    note('string', debug.getmetatable(''))
    return table.concat(lines, '\\n')";

/// The lines of [`SURVEY`]. Run twice, since the first run leaves the metatable
/// of string buffers in the registry.
fn survey(vm: &Vm) -> Vec<String> {
    vm.eval(SURVEY).unwrap();
    let text = vm.eval(SURVEY).unwrap();
    text.lines().map(String::from).collect()
}

#[track_caller]
fn assert_same(found: &[String], expected: &[String], when: &str) {
    if let Some(at) =
        (0..found.len().max(expected.len())).find(|&i| found.get(i) != expected.get(i))
    {
        panic!("{when}: {:?} is not {:?}", found.get(at), expected.get(at));
    }
}

#[test]
fn a_vm_from_a_template_is_as_one_opened_step_by_step() {
    let space = space();
    let template = template(&space);
    let expected = survey(&Vm::new(&space));
    assert!(expected.len() > 200);
    for _ in 0..3 {
        let vm = made_from(&space, template);
        assert_same(&survey(&vm), &expected, "new");
        vm.eval("collectgarbage() collectgarbage('generational') collectgarbage()")
            .unwrap();
        assert_same(&survey(&vm), &expected, "collected");
    }
}

#[test]
fn c_functions_are_the_same_ones() {
    let space = space();
    let template = template(&space);
    let all = "local t = {} for n, lib in pairs(package.loaded) do for k, v in pairs(lib) do
                 if type(v) == 'function' and debug.getinfo(v, 'u').nups == 0 then
                   t[#t + 1] = n .. k .. tostring(v) end end end
               table.sort(t) return #t > 100 and table.concat(t, ' ')";
    assert_eq!(
        made_from(&space, template).eval(all),
        Vm::new(&space).eval(all)
    );
}

#[test]
fn the_mode_of_the_collector_comes_along() {
    let space = space();
    for mode in ["generational", "incremental"] {
        let vm = Vm::new(&space);
        vm.eval(&format!("collectgarbage('{mode}')")).unwrap();
        // SAFETY: a live state, index 0 is the whole VM.
        let template = unsafe { skl_template(vm.l, 0) };
        assert!(!template.is_null());
        let vm = made_from(&space, template);
        let code = "local t = {} for i = 1, 20000 do t[i % 100] = { 'x' .. i } end
                    return collectgarbage('incremental')";
        assert_eq!(vm.eval(code), Ok(mode.into()));
    }
}

/// Writes of all kinds to tables whose hash part is shared: the VM that writes
/// sees them, no other does, and metamethods are called as ever.
#[test]
fn a_change_stays_in_its_vm() {
    let space = space();
    let template = template(&space);
    let before = made_from(&space, template);
    let untouched = survey(&before);
    for code in [
        "string.format = 1 assert(string.format == 1 and string.rep)",
        "string.new = 2 assert(string.new == 2 and string.rep)",
        "string.rep = nil assert(string.rep == nil and string.len)",
        "rawset(table, 'concat', 5) assert(table.concat == 5 and table.insert)",
        "rawset(table, 'other', 5) assert(table.other == 5 and table.insert)",
        "table[1] = 'a' table[2] = 'b' table[2.0] = 'c' assert(#table == 2 and table[2] == 'c')",
        "rawset(os, 1, 7) os[1] = 8 os[1 << 40] = 9 assert(os[1] == 8 and os[1 << 40] == 9)",
        "debug[1.5] = 1 debug[debug] = 2 debug[('x'):rep(100)] = 3
         assert(debug[1.5] == 1 and debug[debug] == 2 and debug[('x'):rep(100)] == 3)",
        "local called
         setmetatable(os, { __newindex = function (t, k, v) called = k rawset(t, k, v) end })
         os.time = 1 assert(os.time == 1 and not called)
         os.fresh = 2 assert(os.fresh == 2 and called == 'fresh')",
        "local called
         setmetatable(os, { __newindex = function (t, k, v) called = k end })
         os.fresh = 2 assert(not rawget(os, 'fresh') and called == 'fresh')
         os.time = nil assert(os.time == nil) called = nil
         os.time = 5 assert(called == 'time' and os.time == nil)",
        "local proxy = setmetatable({}, { __newindex = utf8 })
         proxy.char = 'c' proxy.added = 'a'
         assert(utf8.char == 'c' and utf8.added == 'a' and next(proxy) == nil)",
        "for k in pairs(coroutine) do coroutine[k] = nil end assert(next(coroutine) == nil)",
        "setmetatable(math, { __mode = 'kv' }) collectgarbage() assert(math.pi)
         math.t = {} collectgarbage() assert(math.t == nil and math.pi)",
        "setmetatable({}, string) string.__index = function () return 7 end
         assert(setmetatable({}, string).x == 7)",
        "_G.x = 1 for i = 1, 200 do string['k' .. i] = i end
         for i = 1, 200 do assert(string['k' .. i] == i) end assert(string.rep)",
        "table.move({ 1, 2, 3 }, 1, 3, 1, utf8) assert(#utf8 == 3 and utf8.char)",
        "collectgarbage('generational') string.x = {} collectgarbage('step') collectgarbage()
         assert(type(string.x) == 'table')",
    ] {
        let vm = made_from(&space, template);
        vm.eval(code).unwrap_or_else(|e| panic!("{code}: {e}"));
        vm.eval("collectgarbage() collectgarbage()").unwrap();
        assert_same(&survey(&before), &untouched, code);
        assert_same(&survey(&made_from(&space, template)), &untouched, code);
    }
}

#[test]
fn random_numbers_differ_between_vms_and_can_be_repeated() {
    let space = space();
    let template = template(&space);
    let vms: Vec<Vm> = (0..8).map(|_| made_from(&space, template)).collect();
    let mut seen: Vec<String> = vms
        .iter()
        .map(|vm| vm.eval("return math.random(0)").unwrap())
        .collect();
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 8);
    let drawn = "math.randomseed(42, 7) return math.random(0), math.random(0), math.random(10)";
    let expected = Vm::foreign().eval(drawn).unwrap();
    for vm in &vms {
        assert_eq!(vm.eval(drawn).unwrap(), expected);
    }
    assert_eq!(
        vms[0].eval("return select('#', math.randomseed())"),
        Ok("2".into())
    );
}

#[test]
fn the_files_of_io_work_and_libraries_can_be_loaded() {
    let space = space();
    let vm = made_from(&space, template(&space));
    vm.eval(
        "assert(io.type(io.stdout) == 'file' and io.output() == io.stdout)
         local f = assert(io.tmpfile()) f:write('text') f:seek('set') assert(f:read('a') == 'text')
         f:close() assert(io.type(f) == 'closed file')
         assert(not pcall(require, 'no.such.module'))
         package.preload.m = function () return 'loaded' end assert(require 'm' == 'loaded')
         assert(('x'):rep(3) == 'xxx')
         assert(coroutine.wrap(function () coroutine.yield(1) end)() == 1)
         collectgarbage() assert(io.type(io.stdout) == 'file')",
    )
    .unwrap();
}

/// A template of one table, made again in VMs that know its names and in one
/// that has own strings for them.
#[test]
fn a_table_can_be_made_again() {
    let space = space();
    let template = {
        let vm = Vm::bare(&space);
        // SAFETY: a fresh state with room for some slots.
        unsafe {
            lua_createtable(vm.l, 0, 0);
            lua_pushinteger(vm.l, 5);
            lua_setfield(vm.l, -2, c"peculiar_name".as_ptr());
            lua_createtable(vm.l, 2, 0);
            lua_pushstring(vm.l, c"peculiar_value".as_ptr());
            lua_rawseti(vm.l, -2, 1);
            lua_pushvalue(vm.l, -2);
            lua_rawseti(vm.l, -2, 2);
            lua_setfield(vm.l, -2, c"list".as_ptr());
            let template = skl_template(vm.l, -1);
            assert_eq!(lua_gettop(vm.l), 1);
            template
        }
    };
    assert!(!template.is_null());
    let check = "assert(made.peculiar_name == 5 and made.list[1] == 'peculiar_value')
                 assert(made.list[2] == made and #made.list == 2) made.list[1] = nil";
    for _ in 0..2 {
        let vm = Vm::new(&space);
        // SAFETY: a slot is free.
        unsafe {
            assert_eq!(skl_instantiate(vm.l, template), 1);
            lua_setglobal(vm.l, c"made".as_ptr());
        }
        vm.eval(check).unwrap();
    }
}

#[test]
fn own_strings_of_a_vm_keep_a_template_out() {
    let space = space();
    let late = Vm::new(&space);
    late.eval("kept = 'a' .. 'name' .. 'of' .. 'late'").unwrap();
    let maker = Vm::bare(&space);
    // SAFETY: slots are free.
    unsafe {
        lua_createtable(maker.l, 0, 0);
        lua_pushboolean(maker.l, 1);
        lua_setfield(maker.l, -2, c"anameoflate".as_ptr());
        let template = skl_template(maker.l, -1);
        assert!(!template.is_null());
        let top = lua_gettop(late.l);
        assert_eq!(skl_instantiate(late.l, template), 0);
        assert_eq!(lua_gettop(late.l), top);
        assert_eq!(skl_instantiate(Vm::new(&space).l, template), 1);
    }
}

#[test]
fn what_cannot_be_copied_makes_no_template() {
    let space = space();
    for code in [
        "return { function () end }",
        "return { coroutine.create(print) }",
        "return { [{}] = 1 }",
        "return setmetatable({}, { __gc = os.time })",
        "return 5",
    ] {
        let vm = Vm::new(&space);
        // SAFETY: the text is read up to its length, the call returns.
        unsafe {
            luaL_loadbufferx(
                vm.l,
                code.as_ptr().cast(),
                code.len(),
                c"=c".as_ptr(),
                ptr::null(),
            );
            lua_call(vm.l, 0, 1);
            assert!(skl_template(vm.l, -1).is_null(), "{code}");
        }
    }
    // SAFETY: a live state.
    assert!(unsafe { skl_template(Vm::foreign().l, 0) }.is_null());
}

static LEFT: AtomicUsize = AtomicUsize::new(usize::MAX);

unsafe extern "C" fn limited(
    _: *mut c_void,
    ptr: *mut c_void,
    osize: usize,
    nsize: usize,
) -> *mut c_void {
    if nsize > 0 && (ptr.is_null() || nsize > osize) {
        let left = LEFT.load(Ordering::Relaxed);
        if left == 0 {
            return ptr::null_mut();
        }
        LEFT.store(left - 1, Ordering::Relaxed);
    }
    // SAFETY: the arguments are those of a `lua_Alloc`.
    unsafe { skl_alloc(ptr::null_mut(), ptr, osize, nsize) }
}

unsafe extern "C-unwind" fn write_to_shared(l: *mut lua_State) -> c_int {
    // SAFETY: called by lua_pcall in a VM with libraries.
    unsafe {
        lua_getglobal(l, c"string".as_ptr());
        lua_pushinteger(l, 1);
        lua_setfield(l, -2, c"format".as_ptr());
        lua_pushinteger(l, 1);
        lua_rawseti(l, -2, 1);
    }
    0
}

/// Memory may run out at every allocation: of a VM being made, and of a shared
/// part becoming a table's own.
#[test]
fn memory_may_run_out_anywhere() {
    let space = space();
    let template = template(&space);
    let mut made = 0;
    for allocations in 0.. {
        LEFT.store(allocations, Ordering::Relaxed);
        // SAFETY: as `made_from`; the allocator is used by this test alone.
        let l = unsafe { skl_newvmfrom(space.as_ptr(), template, limited, ptr::null_mut()) };
        if l.is_null() {
            continue;
        }
        made += 1;
        let vm = Vm { l };
        // SAFETY: pushing a light C function does not allocate.
        let status = unsafe {
            lua_pushcfunction(l, write_to_shared);
            lua_pcall(l, 0, 0, 0)
        };
        LEFT.store(usize::MAX, Ordering::Relaxed);
        if status == LUA_OK {
            assert_eq!(vm.eval("return string.format, string[1]"), Ok("1 1".into()));
            break;
        }
        assert_eq!(status, LUA_ERRMEM);
        // SAFETY: the message is on the stack.
        unsafe { lua_settop(l, 0) };
        vm.eval("assert(string.rep) string.format = 2 assert(string.format == 2)")
            .unwrap();
    }
    assert!(made > 1);
    assert_eq!(space.stats().vms, 0);
}
