//! Functions on shared code are ordinary functions to everything that looks
//! into them.

mod common;

use common::{Vm, space};
use skynet_lua_sys::*;

const MODULE: &str = r#"local counter = 0
local step = 1
local M = {}
function M.count(by, ...)
  local total = counter + step * by
  counter = total
  return counter, ...
end
function M.fail(object)
  return object.inner.outer
end
function M.callfield() M.missing.thing() end
function M.varargs(...)
  local n = select('#', ...)
  return n, ...
end
M.numbers = {1, 2.5, -7, 0x7fffffffffffffff, "short", [[
a long string over
several lines, which is no atom]]}
return M"#;

/// Two VMs that share the module; `M` is a global of both.
fn pair() -> (Space, Vm, Vm) {
    let space = space();
    let vms = [Vm::new(&space), Vm::new(&space)].map(|vm| {
        assert_eq!(vm.load_embedded("mod.lua", MODULE), LUA_OK);
        // SAFETY: a function is on the stack.
        unsafe {
            lua_call(vm.l, 0, 1);
            lua_setglobal(vm.l, c"M".as_ptr());
        }
        assert_eq!(vm.stats().chunks, 1, "shared, not a copy");
        vm
    });
    let [a, b] = vms;
    (space, a, b)
}

#[test]
fn upvalues_belong_to_the_vm() {
    let (_space, a, b) = pair();
    assert_eq!(a.eval("M.count(2) return M.count(3, 'x')").unwrap(), "5 x");
    assert_eq!(b.eval("return M.count(1)").unwrap(), "1");
}

#[test]
fn errors_name_file_line_and_variable() {
    let (_space, a, _b) = pair();
    assert_eq!(
        a.eval("M.fail({})").unwrap_err(),
        "mod.lua:10: attempt to index a nil value (field 'inner')"
    );
    assert_eq!(
        a.eval("M.callfield()").unwrap_err(),
        "mod.lua:12: attempt to index a nil value (field 'missing')"
    );
    assert_eq!(
        a.eval("M.count()").unwrap_err(),
        "mod.lua:5: attempt to perform arithmetic on a nil value (local 'by')"
    );
    let trace = a
        .eval("local co = coroutine.create(M.fail) coroutine.resume(co) return debug.traceback(co)")
        .unwrap();
    assert!(
        trace.contains("mod.lua:10: in function <mod.lua:9>"),
        "{trace}"
    );
}

#[test]
fn debug_information_is_complete() {
    let (_space, a, _b) = pair();
    let code = "
        local i = debug.getinfo(M.count, 'SuL')
        local lines = {}
        for line in pairs(i.activelines) do lines[#lines + 1] = line end
        table.sort(lines)
        return i.source, i.short_src, i.linedefined, i.lastlinedefined, i.nups, i.nparams,
          i.isvararg, table.concat(lines, ','), debug.getlocal(M.count, 1),
          (debug.getupvalue(M.count, 1)), (debug.getupvalue(M.count, 2))";
    assert_eq!(
        a.eval(code).unwrap(),
        "@mod.lua mod.lua 4 8 2 1 true 5,6,7,8 by counter step"
    );
}

#[test]
fn line_and_call_hooks_run() {
    let (_space, a, _b) = pair();
    let code = "
        local lines = {}
        debug.sethook(function (_, line)
          if debug.getinfo(2, 'S').source == '@mod.lua' then lines[#lines + 1] = line end
        end, 'l')
        M.count(1)
        debug.sethook()
        local calls = 0
        debug.sethook(function () calls = calls + 1 end, 'cr')
        M.varargs(1, 2)
        debug.sethook()
        return table.concat(lines, ','), calls >= 4";
    assert_eq!(a.eval(code).unwrap(), "5,6,7 true");
}

#[test]
fn upvalues_can_be_set_and_joined() {
    let (_space, a, b) = pair();
    let code = "
        assert(debug.setupvalue(M.count, 1, 100) == 'counter')
        assert(M.count(1) == 101)
        local cell = 7
        local function mine() cell = cell + 1 return cell end
        debug.upvaluejoin(M.count, 1, mine, 1)
        assert(debug.upvalueid(M.count, 1) == debug.upvalueid(mine, 1))
        assert(M.count(1) == 8)
        return mine()";
    assert_eq!(a.eval(code).unwrap(), "9");
    assert_eq!(b.eval("return M.count(1)").unwrap(), "1");
}

#[test]
fn functions_can_be_dumped() {
    let (_space, a, b) = pair();
    let code = "
        local f = load(string.dump(M.varargs))
        local g = load(string.dump(M.varargs, true))
        assert(f(1, 2, 3) == 3 and g(nil, nil) == 2)
        assert(debug.getinfo(f, 'S').short_src == 'mod.lua')
        return string.dump(M.count):byte(1, -1)";
    assert_eq!(a.eval(code).unwrap(), b.eval(code).unwrap());
    let stock = Vm::foreign();
    assert_eq!(stock.load_embedded("mod.lua", MODULE), LUA_OK);
    // SAFETY: a function is on the stack.
    unsafe {
        lua_call(stock.l, 0, 1);
        lua_setglobal(stock.l, c"M".as_ptr());
    }
    assert_eq!(
        a.eval(code).unwrap(),
        stock.eval(code).unwrap(),
        "as stock Lua dumps it"
    );
}

#[test]
fn constants_of_all_kinds_arrive() {
    let (_space, a, _b) = pair();
    let code = "
        local n = M.numbers
        assert(math.type(n[1]) == 'integer' and math.type(n[2]) == 'float')
        local key = {[n[6]] = 'found'}
        return n[1], n[2], n[3], n[4] == math.maxinteger, n[5],
          key['a long string over\\nseveral lines, which is no atom']";
    assert_eq!(a.eval(code).unwrap(), "1 2.5 -7 true short found");
}

#[test]
fn tables_with_shared_names_behave() {
    let (_space, a, _b) = pair();
    let code = "
        local keys = setmetatable({}, {__mode = 'k'})
        local values = setmetatable({}, {__mode = 'v'})
        keys['counter'] = {} values[1] = 'counter' keys['total'] = 'total'
        collectgarbage() collectgarbage()
        assert(keys.counter and values[1] == 'counter' and keys.total == 'total')
        local t = {counter = 1, total = 2, step = 3}
        for k in pairs(t) do t[k] = nil collectgarbage('step') end
        assert(next(t) == nil)
        t.counter = 4
        return ('coun' .. 'ter') == 'counter', t['cou' .. 'nter'], #('total' .. 'step')";
    assert_eq!(a.eval(code).unwrap(), "true 4 9");
}

/// Equal histories give equal orders in all VMs of a space (one seed).
#[test]
fn table_order_is_the_same_in_all_vms() {
    let (_space, a, b) = pair();
    let code = "
        local t = {}
        for i = 1, 50 do t['key' .. i * 7] = i end
        local keys = {}
        for k in pairs(t) do keys[#keys + 1] = k end
        return table.concat(keys, ' ')";
    assert_eq!(a.eval(code).unwrap(), b.eval(code).unwrap());
}
