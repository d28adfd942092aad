//! Memory limits, warnings, and the collection of idle services.

mod common;

use common::{DRIVERS, start};
use skynet_core::{Driver, SimEnd};

#[test]
fn a_service_over_its_limit_gets_an_error_and_others_live() {
    for driver in DRIVERS {
        let node = start(
            &[
                (
                    "main.lua",
                    r#"
local c = require "skynet.core"
local greedy = c.addresscommand("LAUNCH", "snlua greedy")
c.send(greedy, 0, 0, "eat")
c.send(greedy, 0, 0, "answer")
"#,
                ),
                (
                    "greedy.lua",
                    r#"
local c = require "skynet.core"
debug.getregistry().memlimit = 2 * 1024 * 1024
c.callback(function(type, msg, sz)
	if c.tostring(msg, sz) == "eat" then
		local t = {}
		for i = 1, math.huge do t[i] = { i } end
	else
		c.error("still here", collectgarbage "count" < 2048, debug.getregistry().memlimit)
	end
end)
"#,
                ),
            ],
            driver,
        );
        node.wait_for("Set memory limit to 2.00 M");
        let error = node.wait_for("lua memory error : [2 to :3 : 0]");
        assert!(error.contains("service :00000003"), "{error}");
        node.wait_for("still here true nil");
        node.stop();
    }
}

/// Whatever the allocator would hand out: filling it would end the process.
#[test]
fn a_block_larger_than_the_machine_is_a_memory_error() {
    let node = start(
        &[(
            "main.lua",
            r#"
local c = require "skynet.core"
c.error(pcall(string.rep, "x", 1 << 45))
c.error("still here")
"#,
        )],
        Driver::Sim { seed: 1 },
    );
    node.wait_for("false not enough memory");
    node.wait_for("still here");
    node.stop();
}

#[test]
fn growth_is_warned_about_at_each_doubling() {
    let node = start(
        &[(
            "main.lua",
            r#"
local c = require "skynet.core"
local keep = {}
for i = 1, 70 do keep[i] = ("x"):rep(1024 * 1024) .. i end
c.error("done")
"#,
        )],
        Driver::Sim { seed: 1 },
    );
    node.wait_for("done");
    let warnings = node.texts("Memory warning ");
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(
        warnings[0].starts_with("33.") || warnings[0].starts_with("32."),
        "{warnings:?}"
    );
    assert!(
        warnings[1].starts_with("64.") || warnings[1].starts_with("65."),
        "{warnings:?}"
    );
    node.stop();
}

#[test]
fn a_quiet_service_is_collected_once() {
    let node = start(
        &[(
            "main.lua",
            r#"
local c = require "skynet.core"
local function garbage(what)
	setmetatable({}, { __gc = function() c.error("collected " .. what) end })
end
c.callback(function(type, msg, sz)
	garbage "of the message"
end)
garbage "of the main chunk"
"#,
        )],
        Driver::Sim { seed: 1 },
    );
    // Quiet for less than the time: nothing happens.
    node.run_for(200);
    assert!(node.texts("collected ").is_empty());
    // Then it is collected, and afterwards nothing is left to do.
    assert_eq!(node.run_for(100_000), SimEnd::Idle);
    assert_eq!(node.texts("collected "), ["of the main chunk"]);
    assert_eq!(node.node.timer_count(), 0);
    // A message wakes it: the same once more.
    let source = 0;
    node.node
        .send(source, 2, 0, 0, skynet_core::Payload::from("x"))
        .unwrap();
    assert_eq!(node.run_for(100_000), SimEnd::Idle);
    assert_eq!(
        node.texts("collected "),
        ["of the main chunk", "of the message"]
    );
    node.stop();
}

#[test]
fn a_busy_service_is_left_alone() {
    let node = start(
        &[(
            "main.lua",
            r#"
local c = require "skynet.core"
c.callback(function()
	-- The collector has just run, and does not come back by itself so soon.
	collectgarbage()
	setmetatable({}, { __gc = function() c.error "collected" end })
	c.callback(function() c.command("TIMEOUT", "50") end)
	c.command("TIMEOUT", "50")
end)
c.command("TIMEOUT", "50")
"#,
        )],
        Driver::Sim { seed: 1 },
    );
    node.run_for(1000);
    assert!(node.texts("collected").is_empty());
    node.stop();
}

#[test]
fn a_stopped_collector_stays_stopped() {
    let node = start(
        &[(
            "main.lua",
            r#"
local c = require "skynet.core"
c.callback(function()
	collectgarbage "stop"
	setmetatable({}, { __gc = function() c.error "collected" end })
end)
c.command("TIMEOUT", "1")
"#,
        )],
        Driver::Sim { seed: 1 },
    );
    assert_eq!(node.run_for(100_000), SimEnd::Idle);
    assert!(node.texts("collected").is_empty());
    node.stop();
}
