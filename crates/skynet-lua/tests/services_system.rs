//! The system services in Lua (spec/02-lua-api.md §11, §15, spec/04 §5): what the
//! vectors and the Lua suite do not reach, on a booted node in virtual time.

mod common;

use common::{Line, start_with};
use skynet_core::Driver;

/// Helpers of the services below.
const CHECK: &str = r#"
local skynet = require "skynet"
local check = {}
local function show(...)
	local t = table.pack(...)
	for i = 1, t.n do
		t[i] = type(t[i]) == "string" and string.format("%q", t[i]) or tostring(t[i])
	end
	return table.concat(t, ", ")
end
-- Logs what f(...) gives; of an error the first line without positions.
function check.log(name, f, ...)
	local t = table.pack(pcall(f, ...))
	if t[1] then
		skynet.error("= " .. name .. ": " .. show(table.unpack(t, 2, t.n)))
	else
		local text = tostring(t[2]):match "^[^\n]*"
		text = text:gsub("%S+:%d+: ", "")
		skynet.error("= " .. name .. ": error " .. text)
	end
end
return check
"#;

/// A `skynet` library in Lua, and the files that it has in common with ours.
const LIBRARY: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../tests/fixtures/lualib/?.lua;",
    env!("CARGO_MANIFEST_DIR"),
    "/../../lualib/?.lua",
);

/// Runs `main` as the start service of a whole node until it says DONE, with the
/// native library and with one in Lua, and compares the lines of `check.log`.
/// Returns the logs.
fn run(main: &str, files: &[(&str, &str)], expected: &[&str]) -> [Vec<Line>; 2] {
    let mut all = vec![("main.lua", main), ("check.lua", CHECK)];
    all.extend_from_slice(files);
    [false, true].map(|in_lua| {
        let node = start_with(&all, Driver::Sim { seed: 3 }, |builder| {
            let builder = builder
                .env("bootstrap", "snlua bootstrap")
                .env("start", "main");
            match in_lua {
                false => builder,
                true => builder.env("lua_path", LIBRARY),
            }
        });
        node.wait_for("DONE");
        let log = node.stop();
        let got: Vec<&str> = log
            .iter()
            .filter_map(|(_, line)| line.strip_prefix("= "))
            .collect();
        assert_eq!(got, expected, "library in Lua: {in_lua}, in {log:#?}");
        log
    })
}

#[test]
fn datacenter_rules() {
    run(
        r#"
local skynet = require "skynet"
local dc = require "skynet.datacenter"
local check = dofile(SERVICE_PATH .. "check.lua")
skynet.start(function()
	check.log("get of nothing", dc.get)
	check.log("set of nothing", dc.set)
	check.log("keys of all types", function()
		dc.set(1, true, 2.5, "value")
		return dc.get(1, true, 2.5), dc.get(1).x, dc.get(1)[true][2.5]
	end)
	dc.set("text", "a string")
	check.log("through a string", dc.get, "text", "len")
	check.log("through a string that is set", dc.set, "text", "len", 1)
	dc.set("number", 1)
	check.log("through a number", dc.get, "number", "x")
	check.log("a key alone deletes", dc.set, "number")
	check.log("deleted", dc.get, "number")

	local order = {}
	for i = 1, 3 do
		skynet.fork(function()
			local value = dc.wait("a", "b")
			order[#order + 1] = i .. value
		end)
	end
	skynet.yield()
	check.log("wait above", dc.wait, "a")
	check.log("wait below", dc.wait, "a", "b", "c")
	dc.set("a", { b = "in a table" })
	skynet.yield()
	check.log("a table does not wake", table.concat, order, " ")
	dc.set("a", "b", nil)
	dc.set("a", "b", "!")
	skynet.yield()
	check.log("in order", table.concat, order, " ")
	check.log("wait of what is there", dc.wait, "a", "b")
	check.log("wait for nothing", dc.wait)
	-- The tree of waiters is empty again.
	skynet.fork(check.log, "later", dc.wait, "a", "b", "c")
	dc.set("a", nil)
	skynet.fork(check.log, "again", dc.wait, "a", "b", "c")
	skynet.yield()
	dc.set("a", "b", "c", false)
	skynet.yield()
	skynet.error "DONE"
end)
"#,
        &[],
        &[
            "get of nothing: ",
            "set of nothing: error call failed",
            "keys of all types: \"value\", nil, \"value\"",
            "through a string: nil",
            "through a string that is set: error call failed",
            "through a number: error call failed",
            "a key alone deletes: 1",
            "deleted: nil",
            "wait above: error call failed",
            "wait below: error call failed",
            "a table does not wake: \"\"",
            "in order: \"1! 2! 3!\"",
            "wait of what is there: \"!\"",
            "wait for nothing: error call failed",
            "later: false",
            "again: false",
        ],
    );
}

#[test]
fn the_service_manager() {
    let logs = run(
        r#"
local skynet = require "skynet"
require "skynet.manager"
local check = dofile(SERVICE_PATH .. "check.lua")
local function manager(...)
	return skynet.call(".service", "lua", ...)
end
skynet.start(function()
	check.log("a second one", skynet.newservice, "service_mgr")
	check.log("unknown command", manager, "NOPE")
	check.log("no command", manager)
	-- One that exits in its start is no failure, and may be tried again.
	skynet.fork(function()
		skynet.yield()
		check.log("waiter of one that exits", skynet.uniqueservice, "gone")
	end)
	check.log("one that exits", manager, "LAUNCH", "gone")
	skynet.yield()
	check.log("not in the list", function() return manager("LIST").gone end)
	skynet.setenv("stay", "1")
	check.log("again", function() return type(skynet.uniqueservice "gone") end)
	-- One that fails stays so.
	local failed, text = manager("LAUNCH", "fails")
	check.log("one that fails", function() return failed, text:match "call failed" end)
	skynet.setenv("works", "1")
	check.log("and would work now", function() 
		local again, same = manager("LAUNCH", "fails")
		local query, too = manager("QUERY", "fails")
		return again, query, same:match "call failed", too:match "call failed"
	end)
	-- Services of the network are another set.
	local g = manager("GLAUNCH", "gone")
	check.log("of the network", function()
		return g ~= manager("LAUNCH", "gone"), g == manager("GQUERY", "gone"), g == manager("QUERY", "@gone")
	end)
	-- Lists of other managers.
	local other = skynet.newservice "other_manager"
	check.log("a report", manager, "REPORT", other)
	local list = manager "LIST"
	check.log("its list", function() return list["theirs@0"], list.gone ~= nil, list["@gone"] == skynet.address(g) end)
	skynet.kill(other)
	check.log("when it is dead", function()
		list = manager "LIST"
		return list["theirs@0"], list.gone ~= nil
	end)
	-- A requester that does not answer questions holds nobody up.
	local mute = skynet.newservice "mute"
	skynet.fork(skynet.uniqueservice, "hangs")
	skynet.send(mute, "lua")
	skynet.sleep(1)
	list = manager "LIST"
	check.log("hanging", function()
		return list.hangs:match "Init as" ~= nil, list.hangs:match("Querying:\n" .. skynet.address(mute) .. " TIMEOUT") ~= nil
	end)
	skynet.error "DONE"
end)
"#,
        &[
            (
                "gone.lua",
                r#"
local skynet = require "skynet"
skynet.start(function()
	if not skynet.getenv "stay" then
		skynet.sleep(1)
		skynet.exit()
	end
end)
"#,
            ),
            (
                "fails.lua",
                r#"
local skynet = require "skynet"
skynet.start(function() assert(skynet.getenv "works") end)
"#,
            ),
            (
                "hangs.lua",
                r#"local skynet = require "skynet" skynet.start(function() skynet.wait() end)"#,
            ),
            (
                "other_manager.lua",
                r#"
local skynet = require "skynet"
skynet.start(function()
	skynet.dispatch("lua", function() skynet.retpack { theirs = ":01000001" } end)
end)
"#,
            ),
            (
                "mute.lua",
                r#"
local skynet = require "skynet"
skynet.start(function()
	skynet.dispatch("lua", function()
		skynet._proto.debug.dispatch = function() skynet.ignoreret() end
		skynet.uniqueservice "hangs"
	end)
end)
"#,
            ),
        ],
        &[
            "a second one: ",
            "unknown command: nil, \"Invalid command NOPE\"",
            "no command: nil, \"Invalid command nil\"",
            "one that exits: nil",
            "waiter of one that exits: error assertion failed!",
            "not in the list: nil",
            "again: \"number\"",
            "one that fails: nil, \"call failed\"",
            "and would work now: nil, nil, \"call failed\", \"call failed\"",
            "of the network: true, true, true",
            "a report: nil",
            "its list: \":01000001\", true, true",
            "when it is dead: nil, true",
            "hanging: true, true",
        ],
    );
    for log in logs {
        assert!(log.iter().any(
            |(_, line)| line.starts_with(".service is already register by ")
                && line.ends_with(":00000007")
        ));
    }
}

#[test]
fn the_service_provider_and_its_cells() {
    run(
        r#"
local skynet = require "skynet"
local service = require "skynet.service"
local check = dofile(SERVICE_PATH .. "check.lua")
skynet.start(function()
	local provider = skynet.uniqueservice "service_provider"
	local function ask(...)
		return skynet.call(provider, "lua", ...)
	end
	local function info()
		return skynet.call(provider, "debug", "INFO")
	end
	check.log("unknown", ask, "test", "one")
	check.log("close of an unknown one", ask, "close", "one")
	local slow = string.dump(function(...)
		local skynet = require "skynet"
		local args = table.pack(...)
		skynet.start(function()
			skynet.sleep(10)
			skynet.dispatch("lua", function() skynet.retpack(table.unpack(args, 1, args.n)) end)
		end)
	end)
	skynet.fork(function()
		local handle = ask("launch", "one", slow, "a", nil, 2)
		check.log("its arguments", skynet.call, handle, "lua")
	end)
	skynet.fork(check.log, "queried meanwhile", function() return type(ask("query", "one")) end)
	skynet.fork(check.log, "launched meanwhile", function() return type(ask("launch", "one", "", "other")) end)
	skynet.yield()
	check.log("booting", ask, "test", "one")
	check.log("closed while it boots", ask, "close", "one")
	check.log("its entry", function()
		local one = info().one
		return one.name, one.init, one.status, type(one.time)
	end)
	skynet.sleep(20)
	local one = ask("test", "one")
	check.log("its entry", function()
		local entry = info()[skynet.address(one)]
		return entry.name, entry.status, entry.time:match "^%d%d%d%d %a%a%a %d%d %d%d:%d%d:%d%d [+-]%d%d%d%d$" ~= nil
	end)
	-- Queried, never launched: forgotten by close, and who waits is told.
	skynet.fork(check.log, "queried", ask, "query", "never")
	skynet.yield()
	check.log("its entry", function() return info().never.status end)
	check.log("closed", ask, "close", "never")
	skynet.yield()
	-- A failure.
	check.log("fails", service.new, "bad", function() error "on purpose" end)
	check.log("its test", ask, "test", "bad")
	check.log("its entry", function() return info().bad.name end)
	check.log("closed", service.close, "bad")
	check.log("works", function() return type(service.new("bad", function() require "skynet" end)) end)
	check.log("is no text of a chunk", ask, "launch", "text", "no chunk")
	-- Cells.
	local cell = skynet.newservice("service_cell", "mine")
	check.log("before", skynet.call, cell, "lua", "anything")
	check.log("init", skynet.call, cell, "lua", "init", "chunk = ...", "argument")
	check.log("init again", skynet.call, cell, "lua", "init", "")
	check.log("closed", service.close, "one")
	check.log("dead", skynet.call, one, "lua")
	skynet.error "DONE"
end)
"#,
        &[],
        &[
            "unknown: ",
            "close of an unknown one: ",
            "booting: nil, true",
            "closed while it boots: ",
            "its entry: \"one\", \"a,nil,2\", \"waiting(2)\", \"string\"",
            "queried meanwhile: \"number\"",
            "launched meanwhile: \"number\"",
            "its arguments: \"a\", nil, 2",
            "its entry: \"one\", nil, true",
            "its entry: \"waiting(1)\"",
            "queried: error call failed",
            "closed: nil",
            "fails: error call failed",
            "its test: error call failed",
            "its entry: \"bad\"",
            "closed: false",
            "works: \"number\"",
            "is no text of a chunk: error call failed",
            "before: error call failed",
            "init: ",
            "init again: error call failed",
            "closed: true",
            "dead: error call to invalid address :0000000a",
        ],
    );
}

#[test]
fn the_launcher() {
    run(
        r#"
local skynet = require "skynet"
require "skynet.manager"
local check = dofile(SERVICE_PATH .. "check.lua")
local function launcher(...)
	return skynet.call(".launcher", "lua", ...)
end
skynet.start(function()
	check.log("no module", launcher, "LAUNCH")
	check.log("an unknown module", launcher, "LAUNCH", "no_such_module")
	check.log("a boolean", launcher, "LAUNCH", "snlua", "peer", true)
	local peer = skynet.newservice("peer", "a", 1)
	local name = skynet.address(peer)
	check.log("list", function() return launcher("LIST")[name], launcher("LIST")[skynet.address(skynet.self())] end)
	check.log("not in it", function() return launcher("LIST")[":00000003"], launcher("LIST")[":00000002"] end)
	-- One that does not answer, and one that is dead but in the list.
	local never
	skynet.fork(check.log, "one that never starts", skynet.newservice, "never")
	repeat
		skynet.yield()
		for address, text in pairs(launcher "LIST") do
			never = text:find "never" and address or never
		end
	until never
	skynet.register ".peer"
	local dead = skynet.newservice "peer"
	skynet.name(".dead", dead)
	require "skynet.core".command("KILL", ".dead")
	local stat, mem = launcher("STAT", 50), launcher("MEM", 50)
	check.log("stat", function() return type(stat[name]), stat[never], stat[skynet.address(dead)] end)
	check.log("mem", function()
		return mem[name]:gsub("%d+%.%d%d Kb", "N Kb"), mem[never], mem[skynet.address(dead)]
	end)
	check.log("gc", function() return launcher("GC", 50)[never] end)
	check.log("kill", function() return launcher("KILL", peer)[name], launcher("KILL", peer)[name] end)
	-- A launch that is refused: by REMOVE with true; with false it gives nothing.
	launcher("KILL", tonumber(never:sub(2), 16))
	skynet.send(".launcher", "lua", "REMOVE", tonumber(never:sub(2), 16), true)
	skynet.sleep(1)
	check.log("removed", function() return launcher("LIST")[never] end)
	check.log("unknown", function() return launcher("NOPE")[1] end)
	skynet.sleep(1)
	skynet.error "DONE"
end)
"#,
        &[
            (
                "peer.lua",
                r#"local skynet = require "skynet" skynet.start(function() end)"#,
            ),
            ("never.lua", ""),
        ],
        &[
            "no module: error call failed",
            "an unknown module: error call failed",
            "a boolean: error call failed",
            "list: \"snlua peer a 1\", \"snlua main\"",
            "not in it: nil, nil",
            "stat: \"table\", \"TIMEOUT\", \"ERROR\"",
            "mem: \"N Kb (snlua peer a 1)\", \"TIMEOUT (snlua never)\", \"ERROR (snlua peer)\"",
            "gc: \"TIMEOUT (snlua never)\"",
            "kill: \"snlua peer a 1\", \"nil\"",
            "one that never starts: error call failed",
            "removed: nil",
            "unknown: \"Unknown command\"",
        ],
    );
}

#[test]
fn snax_services_by_a_loader_and_over_lua() {
    run(
        r#"
local skynet = require "skynet"
local snax = require "skynet.snax"
local check = dofile(SERVICE_PATH .. "check.lua")
skynet.start(function()
	skynet.setenv("snax", SERVICE_PATH .. "?.lua")
	skynet.setenv("snax_loader", SERVICE_PATH .. "snax_loader.lua")
	local s = snax.newservice "counter"
	check.log("req", s.req.add, 5)
	local id = snax.interface "counter".response.add
	check.log("over lua, refused", skynet.call, s.handle, "lua", id, 1)
	check.log("cluster", s.req.cluster)
	check.log("over lua", skynet.call, s.handle, "lua", id, 1)
	-- A patch that does not fit replaces nothing.
	check.log("a bad patch", snax.hotfix, s, [[
		function response.add() return "patched" end
		function response.nowhere() end
	]])
	check.log("as before", s.req.add, 0)
	check.log("a patch", snax.hotfix, s, [[
		local total
		function response.add(n) total = total + 10 * n return total end
		function hotfix(n) total = total + n return total end
	]], 100)
	check.log("patched", s.req.add, 1)
	local count = snax.profile_info(s).add
	check.log("profile", function() return count.count, math.type(count.time) end)
	check.log("exit", snax.kill, s, "reason")
	check.log("gone", s.req.add, 1)
	skynet.error "DONE"
end)
"#,
        &[
            (
                "snax_loader.lua",
                r#"
return function(path, name, env)
	require "skynet".error("= loaded by the loader: " .. name)
	local pattern = path:match "[^;]+"
	return assert(loadfile((pattern:gsub("?", name)), "bt", env)), pattern
end
"#,
            ),
            (
                "counter.lua",
                r#"
local skynet = require "skynet"
local snax = require "skynet.snax"
local total = 0
function response.add(n)
	total = total + n
	return total
end
function response.cluster()
	snax.enablecluster()
end
function exit(reason)
	skynet.error("= exit: " .. reason)
end
"#,
            ),
        ],
        &[
            "loaded by the loader: counter",
            "req: 5",
            "over lua, refused: error call failed",
            "cluster: ",
            "over lua: 6",
            "a bad patch: error Patch mismatch response.nowhere",
            "as before: 6",
            "a patch: 106",
            "patched: 116",
            "profile: 4, \"float\"",
            "exit: reason",
            "exit: ",
            "gone: error call to invalid address :00000009",
        ],
    );
}

#[test]
fn debug_agents() {
    run(
        r#"
local skynet = require "skynet"
local check = dofile(SERVICE_PATH .. "check.lua")
skynet.start(function()
	local agent = skynet.newservice "debug_agent"
	check.log("ping", skynet.call, agent, "lua", "ping")
	check.log("unknown", skynet.call, agent, "lua", "nothing")
	check.log("a dead service", skynet.call, agent, "lua", "start", 0xffff, 1)
	check.log("it has ended", skynet.call, agent, "lua", "ping")
	skynet.error "DONE"
end)
"#,
        &[],
        &[
            "ping: ",
            "unknown: error call failed",
            "a dead service: false, \"Debugger attach failed\"",
            "it has ended: error call to invalid address :00000009",
        ],
    );
}
