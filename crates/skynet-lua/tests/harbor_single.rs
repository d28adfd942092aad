//! The harbor service of a node without a network.

mod common;

use common::start;
use skynet_core::Driver;

#[test]
fn names_are_delivered_and_other_nodes_do_not_exist() {
    let node = start(
        &[(
            "main.lua",
            r#"
local c = require "skynet.core"
local me = tonumber(c.command("REG"):sub(2), 16)
local harbor
c.callback(function(type, msg, sz, session, source)
	c.error(("got type=%d session=%d source=%x [%s]"):format(type, session, source, c.tostring(msg, sz) or ""))
	if type == 0 and c.tostring(msg, sz) == "Q WAITED" then
		-- As the slave service does it.
		c.redirect(harbor, me, 5, 0, "N WAITED")
	end
end)
c.error("without a harbor service", c.send("GLOBAL", 10, 1, "x") == nil)
harbor = c.addresscommand("LAUNCH", "harbor 0 " .. me)
c.redirect(harbor, me, 5, 0, "N GLOBAL")
c.send("GLOBAL", 10, 11, "by name")
c.send("WAITED", 10, 12, "waits for its name")
c.send(0x05000001, 10, 13, "far")
c.send(0x05000001, 10, 0, "far")
c.send(0x05000001, 1, 14, "an answer")
c.redirect(harbor, me, 5, 0, "N a name that is too long")
c.redirect(harbor, me, 5, 0, "X what")
c.send(harbor, 10, 15, "a request")
"#,
        )],
        Driver::Sim { seed: 5 },
    );
    node.wait_for("without a harbor service true");
    node.wait_for("got type=10 session=11 source=2 [by name]");
    node.wait_for("got type=10 session=12 source=2 [waits for its name]");
    node.wait_for("Drop message to harbor 5 from 2 to 5000001 (session = 13, msgsz = 3)");
    node.wait_for("got type=7 session=13 source=5000001 [harbor 5 does not exist]");
    node.wait_for("got type=7 session=0 source=5000001 [harbor 5 does not exist]");
    node.wait_for("Drop message to harbor 5 from 2 to 5000001 (session = 14, msgsz = 9)");
    node.wait_for("Invalid global name a name that is too long");
    node.wait_for("Unknown command X what");
    node.wait_for("recv invalid message from 2,  type = 10");
    node.wait_for("got type=7 session=15");
    let lines = node.stop();
    assert!(
        lines.iter().all(|(_, l)| !l.contains("session=14")),
        "answers are not answered: {lines:#?}"
    );
}

#[test]
fn bad_arguments_are_refused() {
    let node = start(
        &[(
            "main.lua",
            r#"
local c = require "skynet.core"
for _, args in ipairs { "", "0", "0 0", "1 2", "0 2 3" } do
	c.error("[" .. args .. "]", c.command("LAUNCH", "harbor " .. args))
end
c.error "DONE"
"#,
        )],
        Driver::Sim { seed: 5 },
    );
    node.wait_for("DONE");
    for args in ["", "0", "0 0", "1 2", "0 2 3"] {
        node.wait_for(&format!("[{args}]"));
    }
    let lines = node.stop();
    assert!(
        lines.iter().all(|(_, l)| !l.contains("LAUNCH harbor")),
        "{lines:#?}"
    );
}
