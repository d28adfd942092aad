//! Large text messages that become strings of the receiver without a copy.

mod common;

use common::{DRIVERS, start};

#[test]
fn text_of_any_size_arrives_whole() {
    for driver in DRIVERS {
        let node = start(
            &[
                (
                    "main.lua",
                    r#"
local skynet = require "skynet"
skynet.register_protocol { name = "text", id = skynet.PTYPE_TEXT, pack = function(...) return ... end, unpack = skynet.tostring }
skynet.start(function()
	local echo = skynet.launch and skynet.launch("snlua", "echo")
		or tonumber(require "skynet.core".command("LAUNCH", "snlua echo"):sub(2), 16)
	for _, size in ipairs { 0, 1, 24, 25, 1000, 1023, 1024, 1025, 70000, 1 << 20 } do
		local text = ("%08d"):format(size):rep(size // 8 + 1):sub(1, size)
		local answer = skynet.call(echo, "text", text)
		assert(answer == text, size)
	end
	skynet.error("all sizes arrived")
end)
"#,
                ),
                (
                    "echo.lua",
                    r#"
local skynet = require "skynet"
skynet.register_protocol { name = "text", id = skynet.PTYPE_TEXT, pack = function(...) return ... end, unpack = skynet.tostring }
local kept = {}
-- Before the start: the first message may be there already.
skynet.dispatch("text", function(session, source, text)
	kept[#kept + 1] = text
	collectgarbage()
	skynet.ret(text)
	-- It stays whole when the message is long gone.
	skynet.yield()
	for _, text in ipairs(kept) do
		if #text > 8 then assert(text:sub(1, 8) == ("%08d"):format(#text)) end
	end
end)
skynet.start(function() end)
"#,
                ),
            ],
            driver,
        );
        node.wait_for("all sizes arrived");
        let lines = node.stop();
        assert!(
            lines.iter().all(|(_, l)| !l.contains("error")),
            "{lines:#?}"
        );
    }
}
