//! `skynet.profile`, and the coroutine functions that are part of it.

mod common;

use common::start;
use skynet_core::Driver;

fn run(body: &str) {
    let main = format!(
        "local c = require 'skynet.core'\nlocal profile = require 'skynet.profile'\n{body}\nc.error 'DONE'"
    );
    let node = start(&[("main.lua", &main)], Driver::Sim { seed: 1 });
    node.wait_for("DONE");
    node.stop();
}

#[test]
fn time_counts_only_inside_the_coroutine() {
    run(r##"
local function burn()
	local n = 0
	for i = 1, 200000 do n = n + i % 7 end
	return n
end
local inside
local co = coroutine.create(function()
	profile.start()
	burn()
	coroutine.yield()
	burn()
	inside = profile.stop()
end)
assert(coroutine.resume(co))
for _ = 1, 50 do burn() end
assert(coroutine.resume(co))
assert(math.type(inside) == "float" and inside > 0)
-- The same work outside takes 25 times as long and was not counted.
profile.start()
for _ = 1, 50 do burn() end
local outside = profile.stop()
assert(outside > inside * 5, outside .. " " .. inside)
"##);
}

#[test]
fn misuse_is_an_error() {
    run(r##"
local ok, err = pcall(profile.stop)
assert(not ok and err:find "Call profile.start%(%) before profile.stop%(%)$", err)
profile.start()
ok, err = pcall(profile.start)
assert(not ok and err:find "Thread 0x%x+ start profile more than once$", err)
profile.stop()
for _, f in ipairs { profile.start, profile.stop } do
	ok, err = pcall(f, nil)
	assert(not ok and err:find "coroutine expected" or err:find "thread expected", err)
end
local co = coroutine.create(function() coroutine.yield() end)
profile.start(co)
assert(coroutine.resume(co))
assert(profile.stop(co) >= 0)
"##);
}

#[test]
fn resume_and_wrap_do_what_lua_does() {
    run(r##"
local function check(f)
	-- both profiled and not
	f()
	profile.start()
	f()
	profile.stop()
end
check(function()
	local co = coroutine.create(function(a, b)
		local c = coroutine.yield(a + b)
		error { c }
	end)
	local ok, v = coroutine.resume(co, 1, 2)
	assert(ok and v == 3)
	ok, v = coroutine.resume(co, "x")
	assert(not ok and v[1] == "x")
	ok, v = coroutine.resume(co)
	assert(not ok and v == "cannot resume dead coroutine")
	assert(select("#", coroutine.resume(coroutine.create(function() end))) == 1)
	ok, v = coroutine.resume(coroutine.running())
	assert(not ok and v == "cannot resume non-suspended coroutine")
	ok, v = pcall(coroutine.resume, 1)
	assert(not ok and v:find "coroutine expected" or v:find "thread expected", v)
	local f = coroutine.wrap(function(...)
		coroutine.yield(...)
		error "in wrap"
	end)
	assert(select("#", f(1, nil, nil)) == 3)
	ok, v = pcall(f)
	assert(not ok and v:find "in wrap$", v)
	-- As measured on upstream.
	ok, v = pcall(f)
	assert(not ok and v:find "attempt to call a string value", v)
	local closed
	local g = coroutine.wrap(function()
		local x <close> = setmetatable({}, { __close = function() closed = true end })
		error "closing"
	end)
	assert(not pcall(g) and closed)
	for v in coroutine.wrap(function() for i = 1, 3 do coroutine.yield(i) end end) do assert(v <= 3) end
	ok, v = pcall(coroutine.wrap, 1)
	assert(not ok and v:find "function expected", v)
	-- Many values.
	local many = coroutine.wrap(function(...) return select("#", ...) end)
	assert(many(table.unpack({}, 1, 5000)) == 5000)
end)
"##);
}
