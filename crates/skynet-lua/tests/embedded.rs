//! Files inside the executable and files on the configured paths.

mod common;

use common::{start, start_with};
use skynet_core::Driver;

const SIM: Driver = Driver::Sim { seed: 1 };

#[test]
fn the_built_in_family_serves_when_no_file_does() {
    let node = start(
        &[(
            "main.lua",
            r#"
local c = require "skynet.core"
local skynet = require "skynet"
c.error("start is C:", debug.getinfo(skynet.start).what)
local queue = require "skynet.queue"
c.error("queue from", debug.getinfo(queue, "S").source)
c.error("again", require "skynet.queue" == queue)
local ok, err = pcall(require, "no.such.module")
c.error("missing", ok, (err:gsub("\n.*", "")))
c.error("preload", (err:match "no field package.preload%['no.such.module'%]"))
package.preload.mine = function(...) return table.concat({ "mine", ... }, " ") end
c.error("preloaded", require "mine")
c.error "DONE"
"#,
        )],
        SIM,
    );
    node.wait_for("DONE");
    node.wait_for("skynet library: built in");
    node.wait_for("start is C: C");
    node.wait_for("queue from @lualib/skynet/queue.lua");
    node.wait_for("again true");
    node.wait_for("missing false ");
    node.wait_for("preload no field package.preload['no.such.module']");
    node.wait_for("preloaded mine mine :preload:");
    node.stop();
}

#[test]
fn a_skynet_lua_on_the_path_wins_as_one_family() {
    let files = [
        (
            "main.lua",
            r#"
local c = require "skynet.core"
c.error("skynet is", require "skynet".name)
c.error("coroutine is", require "skynet.coroutine".name)
c.error("require is", require "skynet.require".name)
c.error "DONE"
"#,
        ),
        ("skynet.lua", r#"return { name = "from a file" }"#),
        ("skynet/coroutine.lua", r#"return { name = "from a file" }"#),
        (
            "skynet/require.lua",
            r#"return { name = "from a file", require = require }"#,
        ),
    ];
    let node = start(&files, SIM);
    node.wait_for("DONE");
    let line = node.wait_for("skynet library: ");
    assert_eq!(
        line,
        format!("skynet library: {}", node.dir.path("skynet.lua"))
    );
    for module in ["skynet", "coroutine", "require"] {
        node.wait_for(&format!("{module} is from a file"));
    }
    node.stop();

    let node = start_with(&files, SIM, |b| b.env("builtin_lualib", "prefer"));
    node.wait_for("DONE");
    node.wait_for("skynet library: built in (builtin_lualib = \"prefer\"");
    for module in ["skynet", "coroutine", "require"] {
        node.wait_for(&format!("{module} is nil"));
    }
    node.stop();
}

#[test]
fn an_unknown_value_of_builtin_lualib_is_reported() {
    let node = start_with(&[("main.lua", "")], SIM, |b| b.env("builtin_lualib", "yes"));
    node.wait_for("error: builtin_lualib = \"yes\" is not known");
    node.stop();
}

#[test]
fn files_on_the_paths_win_over_embedded_ones() {
    let node = start(
        &[
            (
                "main.lua",
                r#"
local c = require "skynet.core"
c.error("queue is", require "skynet.queue")
c.command("LAUNCH", "snlua console")
"#,
            ),
            ("skynet/queue.lua", r#"return "a file""#),
            (
                "console.lua",
                r#"require "skynet.core".error("console is a file", SERVICE_PATH)"#,
            ),
        ],
        SIM,
    );
    node.wait_for("queue is a file");
    node.wait_for("console is a file");
    node.stop();
}

#[test]
fn a_path_whose_tail_names_an_embedded_file_uses_it() {
    let root = "/nowhere/at/all/";
    let node = start_with(&[("main.lua", "")], SIM, |builder| {
        builder
            .env("bootstrap", "snlua cdummy")
            .env("lualoader", format!("{root}lualib/loader.lua"))
            .env("luaservice", format!("{root}service/?.lua"))
            .env(
                "lua_path",
                format!("{root}lualib/?.lua;{root}lualib/compat10/?.lua"),
            )
    });
    // cdummy launches the harbor service.
    node.wait_for("LAUNCH harbor 0 2");
    node.stop();
}

#[test]
fn a_missing_loader_is_reported() {
    let node = start_with(&[("main.lua", "")], SIM, |b| {
        b.env("lualoader", "/nowhere/loader.lua")
    });
    let line = node.wait_for("Can't load ");
    assert_eq!(
        line,
        "Can't load /nowhere/loader.lua : cannot open /nowhere/loader.lua: No such file or directory"
    );
    node.wait_for("KILL self");
    node.stop();
}

#[test]
fn services_that_do_not_start_are_reported() {
    let node = start(
        &[
            (
                "main.lua",
                r#"
local c = require "skynet.core"
c.callback(function(type, msg, sz, session, source)
	c.error(("report from :%x %d [%s]"):format(source, type, c.tostring(msg, sz)))
end)
c.command("REG", ".launcher")
c.command("LAUNCH", "snlua nosuch")
c.command("LAUNCH", "snlua broken arg")
c.command("LAUNCH", "snlua raises")
c.command("LAUNCH", "snlua raises_table")
c.error(c.command("LAUNCH", "snlua") == nil and "no arguments, no service")
"#,
            ),
            ("broken.lua", "local x = = 1"),
            ("raises.lua", "error 'boom'"),
            ("raises_table.lua", "error {}"),
        ],
        SIM,
    );
    node.wait_for("no arguments, no service");
    for handle in 3..=6 {
        node.wait_for(&format!("report from :{handle:x} 0 [ERROR]"));
    }
    node.wait_for("nosuch.lua: No such file or directory");
    node.wait_for("broken.lua:1: unexpected symbol near '='");
    node.wait_for("raises.lua:1: boom\nstack traceback:");
    node.wait_for("lua loader error : (no error message)");
    node.stop();
}

#[test]
fn clearing_the_code_cache_finds_new_files() {
    let node = start(
        &[
            (
                "main.lua",
                r#"
local c = require "skynet.core"
local cache = require "skynet.codecache"
local path = package.searchpath("version", package.path)
local function load() return dofile(path) end
c.error("first", load())
local f = io.open(path, "w") f:write "return 2" f:close()
c.error("cached", load())
cache.clear()
c.error("cleared", load())
c.error("mode", cache.mode())
cache.mode "OFF"
local f = io.open(path, "w") f:write "return 3" f:close()
c.error("off", load(), cache.mode())
c.error "DONE"
"#,
            ),
            ("version.lua", "return 1"),
        ],
        SIM,
    );
    node.wait_for("DONE");
    for line in ["first 1", "cached 1", "cleared 2", "mode ON", "off 3 OFF"] {
        node.wait_for(line);
    }
    node.stop();
}

#[test]
fn a_service_sees_the_globals_of_the_specification() {
    let node = start(
        &[(
            "main.lua",
            r#"
local c = require "skynet.core"
local names = {}
for k in pairs(_G) do names[#names + 1] = k end
table.sort(names)
c.error("globals " .. table.concat(names, " "))
names = {}
for k in pairs(package.loaded) do names[#names + 1] = k end
table.sort(names)
c.error("loaded " .. table.concat(names, " "))
local profile = require "skynet.profile"
c.error("resume", coroutine.resume == profile.resume, coroutine.wrap == profile.wrap)
c.error("path", SERVICE_NAME, SERVICE_PATH ~= nil, LUA_PATH, LUA_CPATH, LUA_SERVICE, LUA_PRELOAD)
c.error("gc", collectgarbage "isrunning", collectgarbage "incremental")
c.error("noenv", debug.getregistry().LUA_NOENV)
"#,
        )],
        SIM,
    );
    let globals = node.wait_for("globals ");
    assert_eq!(
        globals,
        "globals SERVICE_NAME SERVICE_PATH _G _VERSION assert collectgarbage coroutine debug dofile \
         error getmetatable io ipairs load loadfile math next os package pairs pcall print rawequal \
         rawget rawlen rawset require select setmetatable string table tonumber tostring type utf8 \
         warn xpcall"
    );
    let loaded = node.wait_for("loaded ");
    assert_eq!(
        loaded,
        "loaded _G coroutine debug io math os package skynet.codecache skynet.core skynet.profile \
         skynet.require string table utf8"
    );
    node.wait_for("resume true true");
    node.wait_for("path main true nil nil nil nil");
    node.wait_for("gc false generational");
    node.wait_for("noenv true");
    node.stop();
}
