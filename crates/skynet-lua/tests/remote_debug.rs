//! The debugger of services (spec/02-lua-api.md §14.4): module
//! `skynet.debugchannel`, and sessions typed into a connection.
//!
//! A small service of the test plays the console: it passes the lines of a
//! connection to a `debug_agent`, as the debug console does.

mod common;

use common::{DRIVERS, TestNode, literal, start, text, vectors};
use skynet_core::Driver;
use skynet_net::Net;

const SIM: Driver = Driver::Sim { seed: 1 };

/// Plays the console and whoever types: `script.lua` has the steps, each a
/// connection and a text to send (none: the connection ends). What came back is
/// logged as `GOT <step>`, a newline, the text.
const CONSOLE: &str = r#"
local skynet = require "skynet"
local socket = require "skynet.socket"

local function handle_of(text)
	if text:sub(1, 1) == "." then
		return skynet.localname(text)
	end
	return tonumber(text, 16)
end

local command = {}

function command.list()
	local lines = {}
	for address, name in pairs(skynet.call(".launcher", "lua", "LIST")) do
		lines[#lines + 1] = address .. "\t" .. name .. "\n"
	end
	table.sort(lines)
	return true, table.concat(lines)
end

local function serve(id)
	socket.start(id)
	local agent
	function command.debug(name)
		agent = skynet.newservice "debug_agent"
		local ok, err = skynet.call(agent, "lua", "start", handle_of(name), id)
		agent = nil
		return ok, ok and "" or err .. "\n"
	end
	for line in function() return socket.readline(id) or nil end do
		if agent then
			skynet.send(agent, "lua", "cmd", line)
		else
			local name, argument = line:match "^(%S+)%s*(%S*)"
			skynet.fork(function()
				local ok, shown = command[name](argument)
				socket.write(id, shown .. (ok and "<CMD OK>\n" or "<CMD Error>\n"))
			end)
			-- The command may start a session, which the next line is for.
			skynet.sleep(1)
		end
	end
	if agent then
		skynet.send(agent, "lua", "cmd", "cont")
	end
end

local function connect(port)
	local id = socket.open("127.0.0.1", port)
	local got = {}
	skynet.fork(function()
		for part in function() return socket.read(id) or nil end do
			got[#got + 1] = part
		end
	end)
	return { id = id, got = got }
end

skynet.start(function()
	local listener, _, port = socket.listen("127.0.0.1", 0)
	socket.start(listener, function(id)
		skynet.fork(serve, id)
	end)
	skynet.fork(function()
		local connections = {}
		for i, step in ipairs(dofile(SERVICE_PATH .. "script.lua")) do
			local name, input = step[1], step[2]
			local c = connections[name] or connect(port)
			connections[name] = c
			if input then
				socket.write(c.id, input)
			else
				socket.close(c.id)
			end
			skynet.sleep(60)
			local all = table.concat(c.got)
			for k in pairs(c.got) do
				c.got[k] = nil
			end
			skynet.error(string.format("GOT %d\n%s", i, all))
		end
		skynet.error "TYPED"
	end)
end)
"#;

/// The service that is debugged, and who calls it.
const BOOT: &[(&str, &str)] = &[
    ("console.lua", CONSOLE),
    (
        "main.lua",
        r#"
local skynet = require "skynet"
require "skynet.manager"
skynet.start(function()
	skynet.newservice "console"
	local s = skynet.newservice "dc_dbg"
	skynet.name(".dbg", s)
	skynet.fork(function()
		while true do
			skynet.sleep(20)
			pcall(skynet.call, s, "lua", "work", 5)
		end
	end)
end)
"#,
    ),
];

/// Runs a node with these steps, (connection, text or none), until all are done.
/// `library`: the path of a `skynet` library in Lua.
fn typed(dbg: &str, library: Option<&str>, steps: &[(u32, Option<&str>)]) -> TestNode {
    let mut script = String::from("return {\n");
    for (connection, input) in steps {
        let input = input.map_or("nil".to_owned(), literal);
        script.push_str(&format!("\t{{ {connection}, {input} }},\n"));
    }
    script.push('}');
    let mut files = BOOT.to_vec();
    files.push(("dc_dbg.lua", dbg));
    files.push(("script.lua", &script));
    let node = common::start_with(&files, SIM, |builder| {
        let net = Net::new();
        let builder = match library {
            Some(path) => builder.env("lua_path", path),
            None => builder,
        };
        builder
            .component(net.clone())
            .extension(net)
            .env("bootstrap", "snlua bootstrap")
            .env("start", "main")
    });
    node.wait_for("TYPED");
    node
}

/// What came back for each step; file names without the directory.
fn answers(node: &TestNode) -> Vec<String> {
    let directory = format!("{}/", node.dir.0.display());
    node.texts("GOT ")
        .iter()
        .map(|got| {
            let (_, answer) = got.split_once('\n').unwrap();
            pointers_out(&answer.replace(&directory, "./my/"))
        })
        .collect()
}

/// The text with `PTR` for the addresses of threads.
fn pointers_out(text: &str) -> String {
    let mut parts = text.split("thread: 0x");
    let mut out = parts.next().unwrap().to_owned();
    for part in parts {
        out.push_str("thread: PTR");
        out.push_str(part.trim_start_matches(|c: char| c.is_ascii_hexdigit()));
    }
    out
}

/// Lines that are about the console itself, which is not there.
const CONSOLE_ONLY: &[&str] = &["debug .nope\n", "debug\n"];

/// One session of the vectors: the answers, and the log of the debugger.
fn measured_session(library: Option<&str>, at: usize) {
    let all = vectors("debug-console.json");
    let mut steps = Vec::new();
    let mut expected = Vec::new();
    let mut log = String::new();
    let mut before = "";
    for step in all["remote_debug"]["sessions"][at].as_array().unwrap() {
        let input = text(&step["send"]);
        if CONSOLE_ONLY.contains(&input) || before == "cont\n" && input == "cont\n" {
            continue;
        }
        before = input;
        steps.push((1, Some(input)));
        expected.push(
            text(&step["recv"])
                .replace("<pos> ", "")
                .replace("snlua dc_main2", "snlua main")
                .replace("snlua debug_console 8000", "snlua console"),
        );
        log.push_str(text(&step["log"]));
    }
    let node = typed(text(&all["files"]["dc_dbg.lua"]), library, &steps);
    let got = answers(&node);
    for (at, expected) in expected.iter().enumerate() {
        assert_eq!(&got[at], expected, "after {:?}", steps[at].1);
    }
    let logged: String = node
        .lines()
        .iter()
        .filter(|(source, line)| {
            *source >= 0xa && !line.starts_with("GOT ") && line != "LAUNCH snlua dc_dbg"
        })
        .map(|(source, line)| format!("[:{source:08x}] {line}\n"))
        .collect();
    assert_eq!(logged, log);
    node.stop();
}

#[test]
fn first_measured_session() {
    measured_session(None, 0);
}

#[test]
fn second_measured_session() {
    measured_session(None, 1);
}

#[test]
fn measured_sessions_with_a_library_in_lua() {
    let library = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../tests/fixtures/lualib/?.lua;",
        env!("CARGO_MANIFEST_DIR"),
        "/../../lualib/?.lua",
    );
    for at in 0..2 {
        measured_session(Some(library), at);
    }
}

/// Answers `work` slowly.
const SLOW: &str = r#"
local skynet = require "skynet"
local count = 0
local command = {}
function command.work(amount)
	count = count + 1
	skynet.sleep(1)
	return amount
end
skynet.start(function()
	skynet.dispatch("lua", function(_, _, cmd, ...)
		local result = command[cmd](...)
		skynet.retpack(result)
	end)
end)
"#;

#[test]
fn one_session_at_a_time_and_the_service_goes_on() {
    let node = typed(
        SLOW,
        None,
        &[
            (1, Some("debug .dbg\n")),
            (1, Some("\n")),
            (2, Some("debug .dbg\n")),
            (1, Some("watch('lua')\n")),
            (1, Some("s\n")),
            // Stopped: other messages are served, as that of the launcher.
            (2, Some("list\n")),
            (1, Some("amount = amount + 1\n")),
            (1, Some("n\n")),
            (1, Some("amount, count == nil\n")),
            (1, Some("n\n")),
            // A step over what waits: it goes on when the sleep is over.
            (1, Some("amount\n")),
            (1, Some("c\n")),
            (1, Some("cont\n")),
            (1, Some("list\n")),
        ],
    );
    let got = answers(&node);
    let list = ":00000004\tsnlua cdummy\n:00000006\tsnlua datacenterd\n:00000007\tsnlua service_mgr\n\
                :00000008\tsnlua main\n:00000009\tsnlua console\n:0000000a\tsnlua dc_dbg\n";
    let expected = [
        ":0000000a>",
        ":0000000a>",
        "Debugger attach failed\n<CMD Error>\n",
        "\n:0000000a>./my/dc_dbg.lua(12)>",
        "./my/dc_dbg.lua(6)>",
        &format!(
            "{list_1}<CMD OK>\n",
            list_1 = list.to_owned() + ":0000000b\tsnlua debug_agent\n"
        ),
        "\n./my/dc_dbg.lua(6)>",
        "./my/dc_dbg.lua(7)>",
        "6\tfalse\t\n./my/dc_dbg.lua(7)>",
        // The sleep gives the prompt of the running service, then it stops again.
        ":0000000a>./my/dc_dbg.lua(8)>",
        "6\t\n./my/dc_dbg.lua(8)>",
        ":0000000a>",
        "<CMD OK>\n",
        &format!("{list}<CMD OK>\n"),
    ];
    for (at, expected) in expected.iter().enumerate() {
        assert_eq!(got[at], *expected, "step {}", at + 1);
    }
    node.stop();
}

#[test]
fn the_end_of_the_connection_leaves_the_debugger() {
    let node = typed(
        SLOW,
        None,
        &[
            (1, Some("debug .dbg\n")),
            (1, Some("watch('lua')\n")),
            (1, None),
            // The request that was stopped has been answered, and the caller goes on.
            (2, Some("debug .dbg\n")),
            (2, Some("watch('lua')\n")),
            (2, Some("cont\n")),
            (2, Some("list\n")),
        ],
    );
    let got = answers(&node);
    assert_eq!(got[1], "\n:0000000a>./my/dc_dbg.lua(12)>");
    assert_eq!(got[3], ":0000000a>");
    assert_eq!(got[4], "\n:0000000a>./my/dc_dbg.lua(12)>");
    assert_eq!(got[5], "<CMD OK>\n");
    assert!(!got[6].contains("debug_agent"), "{}", got[6]);
    let lines = node.stop();
    for (line, times) in [("Enter debug mode", 2), ("Leave debug mode", 2)] {
        let found = lines.iter().filter(|(_, text)| text == line).count();
        assert_eq!(found, times, "{line}");
    }
}

#[test]
fn channels_check_their_arguments_and_do_not_wait_in_virtual_time() {
    let node = start(
        &[(
            "main.lua",
            r#"
local c = require "skynet.core"
local channel = require "skynet.debugchannel"
local a, handle = channel.create()
c.error("nothing", select('#', a:read(600)))
a:write "early"
local b = channel.connect(handle)
c.error("before the connection", b:read())
c.error("again", pcall(channel.connect, handle))
c.error("no pointer", pcall(channel.connect, "x"))
c.error("no text", (pcall(a.write, a)))
c.error("no channel", (pcall(a.read, io.stdout)))
b:write ""
c.error("empty", #a:read())
channel.release(a)
channel.release(a)
c.error("released", pcall(a.read, a))
local d, unused = channel.create()
channel.release(d)
c.error("released before", pcall(channel.connect, unused))
c.error("no function", (pcall(channel.sethook, 1, "l")))
c.error("no mask", (pcall(channel.sethook, print)))
c.error "DONE"
"#,
        )],
        SIM,
    );
    node.wait_for("DONE");
    for line in [
        "nothing 0",
        "before the connection early",
        "again false new channel failed",
        "no pointer false Invalid channel pointer",
        "no text false",
        "no channel false",
        "empty 0",
        "released false the channel is released",
        "released before false new channel failed",
        "no function false",
        "no mask false",
    ] {
        node.wait_for(line);
    }
    node.stop();
}

#[test]
fn a_waiting_read_is_woken_by_the_other_service() {
    let node = start(
        &[
            (
                "main.lua",
                r#"
local c = require "skynet.core"
local a, handle = require "skynet.debugchannel".create()
local other = c.command("LAUNCH", "snlua other")
c.send(other, 0, 0, c.pack(handle))
c.error("got", a:read(600))
"#,
            ),
            (
                "other.lua",
                r#"
local c = require "skynet.core"
c.callback(function(_, msg, sz)
	require "skynet.debugchannel".connect((c.unpack(msg, sz))):write "from the other"
end)
"#,
            ),
        ],
        Driver::Threads,
    );
    node.wait_for("got from the other");
    node.stop();
}

#[test]
fn hooks_see_events_and_stop_coroutines() {
    for driver in DRIVERS {
        let node = start(
            &[(
                "main.lua",
                r#"
local c = require "skynet.core"
local channel = require "skynet.debugchannel"
local function inner() return 1 end
local function traced(sethook, mask, count)
	local seen = {}
	local co = coroutine.create(function()
		local x = inner()
		return inner()
	end)
	sethook(co, function(event, line)
		seen[#seen + 1] = line and event .. ":" .. line or event
	end, mask, count)
	coroutine.resume(co)
	sethook(co)
	return table.concat(seen, " ")
end
for _, mask in ipairs { "c", "r", "l", "crl" } do
	local ours, plain = traced(channel.sethook, mask), traced(debug.sethook, mask)
	c.error("events", mask, ours == plain, ours)
end
c.error("counts", traced(channel.sethook, "", 1) == traced(debug.sethook, "", 1))
-- An error of the hook is one of the code that runs.
local co = coroutine.create(function() local y = 1 end)
channel.sethook(co, function() error "in the hook" end, "l")
c.error("error", coroutine.resume(co))
-- The running coroutine, and a stop where nothing can yield.
local lines = 0
channel.sethook(function() lines = lines + 1 return true end, "l")
local z = 1
channel.sethook()
c.error("main", lines > 0)
c.error "DONE"
"#,
            )],
            driver,
        );
        node.wait_for("DONE");
        node.wait_for("events c true call");
        node.wait_for("events r true return");
        node.wait_for("events l true line:8 line:4 line:9 line:4");
        node.wait_for("events crl true call");
        node.wait_for("tail call");
        node.wait_for("counts true");
        node.wait_for("error false ");
        node.wait_for("in the hook");
        node.wait_for("main true");
        node.stop();
    }
}
