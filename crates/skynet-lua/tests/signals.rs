//! Signals to Lua services, above all interrupting one that runs.

mod common;

use common::start;
use skynet_core::Driver;

/// Sends signal 0 to whoever asks for it, from another worker.
const MAIN: &str = r#"
local c = require "skynet.core"
c.callback(function(type, msg, sz, session, source)
	local text = c.tostring(msg, sz)
	if text == "interrupt me" then
		c.command("SIGNAL", (":%x 0"):format(source))
	else
		c.error("main got " .. text)
	end
end)
c.command("LAUNCH", "snlua subject")
"#;

fn threads(subject: &str) -> common::TestNode {
    start(
        &[("main.lua", MAIN), ("subject.lua", subject)],
        Driver::Threads,
    )
}

#[test]
fn a_loop_in_the_main_chunk_is_interrupted() {
    let node = threads(
        r#"
local c = require "skynet.core"
c.send(2, 0, 0, "interrupt me")
while true do end
"#,
    );
    node.wait_for("recv a signal 0");
    let error = node.wait_for("lua loader error : ");
    assert!(error.contains("signal 0\nstack traceback:"), "{error}");
    node.wait_for("KILL self");
    node.stop();
}

#[test]
fn a_loop_in_a_coroutine_is_interrupted_and_the_error_can_be_caught() {
    let node = threads(
        r#"
local c = require "skynet.core"
c.callback(function(type, msg, sz)
	local co = coroutine.wrap(function()
		local ok, err = pcall(function() while true do end end)
		coroutine.yield(ok, err)
		return "and goes on"
	end)
	c.send(2, 0, 0, "interrupt me")
	c.error("caught", co())
	c.error("then it ends", co())
end)
c.send(tonumber(c.command("REG"):sub(2), 16), 0, 0, "go")
"#,
    );
    let caught = node.wait_for("caught false ");
    assert!(caught.ends_with("signal 0"), "{caught}");
    node.wait_for("then it ends and goes on");
    node.stop();
}

#[test]
fn an_idle_service_is_not_affected() {
    let node = start(
        &[
            (
                "main.lua",
                r#"
local c = require "skynet.core"
local subject = c.addresscommand("LAUNCH", "snlua subject")
c.callback(function(type, msg, sz)
	-- The subject has answered, so it is idle or about to be.
	c.command("TIMEOUT", "10")
	c.callback(function(type, msg, sz)
		c.command("SIGNAL", (":%x 0"):format(subject))
		c.send(subject, 0, 0, "two")
		c.callback(function(type, msg, sz) c.error("answer " .. c.tostring(msg, sz)) end)
	end)
end)
c.send(subject, 0, 0, "one")
"#,
            ),
            (
                "subject.lua",
                r#"
local c = require "skynet.core"
c.callback(function(type, msg, sz, session, source)
	local n = 0
	for i = 1, 1000 do n = n + i end
	c.send(source, 0, 0, c.tostring(msg, sz) .. n)
end)
"#,
            ),
        ],
        Driver::Threads,
    );
    node.wait_for("recv a signal 0");
    node.wait_for("answer two500500");
    let lines = node.stop();
    assert!(
        lines.iter().all(|(_, l)| !l.contains("error")),
        "{lines:#?}"
    );
}

#[test]
fn a_hook_of_the_script_is_put_back() {
    let node = threads(
        r#"
local c = require "skynet.core"
c.callback(function(type, msg, sz)
	local function mine() end
	debug.sethook(mine, "c", 1000)
	c.send(2, 0, 0, "interrupt me")
	local ok, err = pcall(function() while true do end end)
	local f, mask, count = debug.gethook()
	c.error("hook", err:match "signal 0", f == mine, mask, count)
	debug.sethook()
end)
c.send(tonumber(c.command("REG"):sub(2), 16), 0, 0, "go")
"#,
    );
    node.wait_for("hook signal 0 true c 1000");
    node.stop();
}

#[test]
fn a_wish_that_comes_too_late_does_no_harm() {
    // Interrupts while C code runs and the dispatch then ends: whatever the
    // moment, the service goes on, and answers what is not interrupted.
    let node = threads(
        r#"
local c = require "skynet.core"
local me = tonumber(c.command("REG"):sub(2), 16)
local n = 0
c.callback(function(type, msg, sz, session, source)
	n = n + 1
	if n < 300 then
		pcall(function()
			c.command("SIGNAL", (":%x 0"):format(me))
			string.rep("x", 10000)
		end)
		c.send(me, 0, 0, "again")
	else
		c.error("survived", n)
	end
end)
c.send(me, 0, 0, "go")
"#,
    );
    node.wait_for("survived 300");
    node.stop();
}

#[test]
fn signal_1_tells_the_memory_and_others_are_logged() {
    let node = start(
        &[(
            "main.lua",
            r#"
local c = require "skynet.core"
local me = c.command "REG"
c.callback(function()
	c.command("SIGNAL", me .. " 1")
	c.command("SIGNAL", me .. " 17")
end)
c.command("TIMEOUT", "1")
"#,
        )],
        Driver::Sim { seed: 1 },
    );
    node.wait_for("recv a signal 17");
    let line = node.wait_for("Current Memory ");
    let number: f64 = line["Current Memory ".len()..line.len() - 1]
        .parse()
        .unwrap();
    assert!(
        line.ends_with('K') && number > 5.0 && number < 200.0,
        "{line}"
    );
    node.stop();
}
