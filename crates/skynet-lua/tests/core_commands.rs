//! `skynet.core` by the measured list of calls.

mod common;

use std::fmt::Write as _;

use common::{literal, start_with, vectors};
use serde_json::Value;
use skynet_core::{Context, Driver, InitError, Message, Service};

/// The C service of the measurement: it has only an init function.
struct Nothing;

impl Service for Nothing {
    fn init(&mut self, _: &Context, _: Option<&[u8]>) -> Result<(), InitError> {
        Ok(())
    }

    fn dispatch(&mut self, _: &Context, _: Message) {}

    fn has_callback(&self) -> bool {
        false
    }
}

/// Brings the node into the state of the measurement: the subject is :8.
const MAIN: &str = r#"
local core = require "skynet.core"
core.callback(function() end)
core.command("LAUNCH", "snlua filler")
core.command("NAME", ".launcher :3")
core.command("LAUNCH", "snlua filler")
core.command("LAUNCH", "harbor 0 4")
core.command("LAUNCH", "snlua filler")
core.command("LAUNCH", "snlua filler")
assert(core.command("LAUNCH", "snlua subject") == ":00000008")
"#;

const FILLER: &str = r#"require "skynet.core".callback(function() end)"#;

const PRELUDE: &str = r#"
local core = require "skynet.core"
core.callback(function() end)
local count = 0
local function show(v)
	if math.type(v) == "float" then return "float " .. v end
	return type(v) == "string" and ("%q"):format(v) or tostring(v)
end
local function list(t)
	local out = {}
	for i = 1, t.n do out[i] = show(t[i]) end
	return table.concat(out, ", ")
end
-- The function's name in an argument error is not fixed.
local function neutral(text)
	return (text:gsub("to '[%w_.]+'", "to 'f'"))
end
local function call(what, fn, args, returns, err)
	local r = table.pack(pcall(core[fn], table.unpack(args, 1, args.n)))
	count = count + 1
	if r[1] then
		r = table.pack(table.unpack(r, 2, r.n))
		if err or list(r) ~= list(returns) then
			core.error("FAIL", what, "returned", list(r))
		end
	elseif not err or neutral(r[2]) ~= neutral(err) then
		core.error("FAIL", what, "raised", r[2])
	end
end
"#;

fn lua_value(value: &Value) -> String {
    match value {
        Value::Null => "nil".to_owned(),
        Value::String(s) if s == "<table>" => "{}".to_owned(),
        Value::String(s) => literal(s),
        Value::Object(o) => match o["float"].as_str().unwrap() {
            "inf" => "math.huge".to_owned(),
            number => number.to_owned(),
        },
        other => other.to_string(),
    }
}

fn lua_list(values: &Value) -> String {
    let values = values.as_array().unwrap();
    let mut out = format!("{{ n = {}", values.len());
    for (i, value) in values.iter().enumerate() {
        write!(out, ", [{}] = {}", i + 1, lua_value(value)).unwrap();
    }
    out + " }"
}

#[test]
fn calls_return_as_measured() {
    let mut body = PRELUDE.to_owned();
    let mut count = 0;
    for call in vectors("core-commands.json")["calls"].as_array().unwrap() {
        let Some(function) = call["fn"].as_str() else {
            // The session counter is at 2 from here on.
            body.push_str("core.genid() core.genid()\n");
            continue;
        };
        count += 1;
        let what = literal(&format!("{function} {}", call["args"]));
        let (returns, error) = match call["error"].as_str() {
            Some(error) => ("nil".to_owned(), literal(error)),
            None => (lua_list(&call["returns"]), "nil".to_owned()),
        };
        writeln!(
            body,
            "call({what}, '{function}', {}, {returns}, {error})",
            lua_list(&call["args"])
        )
        .unwrap();
    }
    body.push_str("core.error('DONE', count)\n");
    let files = [
        ("main.lua", MAIN),
        ("filler.lua", FILLER),
        ("subject.lua", &body),
    ];
    let node = start_with(&files, Driver::Sim { seed: 3 }, |builder| {
        builder.module("nocreate2", || Ok(Box::new(Nothing) as Box<dyn Service>))
    });
    let done = node.wait_for("DONE");
    let failures = node.texts("FAIL ");
    assert!(failures.is_empty(), "{failures:#?}");
    assert_eq!(done, format!("DONE {count}"));
    let lines: Vec<String> = node.lines().into_iter().map(|(_, line)| line).collect();
    for expected in [
        "error: Can't register global name glob in C",
        "error: Can't convert xx to handle",
        "KILL :9",
        "nil",
        "a 1 true nil",
        "error: Destination address can't be 0",
    ] {
        assert!(
            lines.iter().any(|l| l == expected),
            "{expected}: {lines:#?}"
        );
    }
    assert!(
        lines
            .iter()
            .any(|l| l.starts_with("<TRACE tag> ") && l.ends_with(" user"))
    );
    node.stop();
}
