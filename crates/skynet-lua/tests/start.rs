//! The start of a Lua service.

mod common;

use common::{DRIVERS, start};

const ECHO: &str = r#"
local c = require "skynet.core"
c.callback(function(type, msg, sz, session, source)
	c.error("got " .. type .. " " .. tostring(c.tostring(msg, sz)))
	if type == 10 then
		c.error("unpacked", c.unpack(msg, sz))
		c.send(source, 1, session, c.pack("answer"))
	elseif type == 1 then
		c.error("answered " .. c.unpack(msg, sz))
	end
end)
c.send(tonumber(c.command("REG"):sub(2), 16), 10, nil, c.pack(1, "two", { 3, x = true }))
c.error("main done", SERVICE_NAME, SERVICE_PATH ~= nil, ...)
"#;

#[test]
fn a_service_starts_and_talks_to_itself() {
    for driver in DRIVERS {
        let node = start(&[("main.lua", ECHO)], driver);
        node.wait_for("answered answer");
        node.wait_for("unpacked 1 two table");
        let lines = node.stop();
        assert!(
            lines.iter().any(|(_, l)| l == "main done main true"),
            "{lines:#?}"
        );
    }
}
