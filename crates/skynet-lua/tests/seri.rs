//! The codec of Lua values, by the vectors and against hostile bytes.

mod common;

use std::fmt::Write as _;

use common::{literal, start, text, vectors};
use skynet_core::Driver;
use skynet_lua::seri::value::{Value, decode, encode};

/// Lua functions that the generated programs use.
const PRELUDE: &str = r#"
local core = require "skynet.core"
local failed, count = 0, 0
local function fail(...) failed = failed + 1 core.error("FAIL", ...) end
local function tohex(s) return (s:gsub(".", function(c) return ("%02x"):format(c:byte()) end)) end
local function fromhex(s) return (s:gsub("..", function(c) return string.char(tonumber(c, 16)) end)) end
local function short(t)
	if t.size <= 512 then return tohex(t.bytes) == t.hex end
	return tohex(t.bytes:sub(1, 80)) == t.head and tohex(t.bytes:sub(-32)) == t.tail
end
local function same(a, b, what)
	count = count + 1
	if a ~= b then fail(what, "got:", a, "expected:", b) end
end
local show
local function sorted(t)
	local out = {}
	local n = #t
	for i = 1, n do out[i] = show(t[i]) end
	local rest = {}
	for k, v in next, t do
		if not (math.type(k) == "integer" and k >= 1 and k <= n) then
			rest[#rest + 1] = (type(k) == "string" and k:match("^[%a_][%w_]*$") or "[" .. show(k) .. "]") .. "=" .. show(v)
		end
	end
	table.sort(rest)
	table.move(rest, 1, #rest, n + 1, out)
	return "{" .. table.concat(out, ",") .. "}"
end
function show(v)
	if type(v) == "table" then return sorted(v) end
	if type(v) == "string" then return '"' .. v .. '"' end
	if math.type(v) == "float" then return ("%a"):format(v) end
	if type(v) == "userdata" then return ("lightuserdata(%p)"):format(v) end
	return tostring(v)
end
"#;

/// Runs a service made of the prelude and `body`, under the deterministic driver.
fn run(body: &str) {
    let main = format!("{PRELUDE}{body}\ncore.error(\"DONE\", count, failed)\n");
    let node = start(&[("main.lua", &main)], Driver::Sim { seed: 1 });
    let done = node.wait_for("DONE");
    let failures = node.texts("FAIL ");
    assert!(failures.is_empty(), "{failures:#?}");
    assert!(!done.starts_with("DONE 0"), "nothing was checked");
    node.stop();
}

#[test]
fn packed_forms_are_as_measured() {
    let mut body = String::new();
    for vector in vectors("seri-pack.json")["vectors"].as_array().unwrap() {
        let lua = text(&vector["lua"]);
        let what = literal(lua);
        // A function of its own keeps each vector's constants apart.
        writeln!(
            body,
            "do local ok, s = pcall((function() return function() return core.packstring({lua}) end end)())"
        )
        .unwrap();
        if let Some(error) = vector["error"].as_str() {
            if error.starts_with('<') {
                writeln!(
                    body,
                    "same(ok, false, {what}) same(type(s), 'table', {what})"
                )
                .unwrap();
            } else {
                // In this chunk the caller is a Lua function, so there is a position.
                writeln!(
                    body,
                    "same(ok, false, {what}) same(tostring(s):gsub('^[^ ]*main.lua:%d+: ', ''), {}, {what})",
                    literal(error)
                )
                .unwrap();
            }
        } else {
            let size = vector["size"].as_u64().unwrap();
            let field = |name: &str| literal(vector[name].as_str().unwrap_or_default());
            writeln!(
                body,
                "same(ok and #s, {size}, {what}) same(ok and short {{ bytes = s, size = {size}, hex = {}, head = {}, tail = {} }}, true, {what})",
                field("hex"), field("hex_head"), field("hex_tail")
            )
            .unwrap();
            if vector["roundtrip_same"].as_bool() == Some(true) {
                writeln!(
                    body,
                    "same(core.packstring(core.unpack(s)) == s, true, 'round trip of ' .. {what}) same(select('#', core.unpack(s)), {}, {what})",
                    vector["nvalues"]
                )
                .unwrap();
            }
        }
        body.push_str("end\n");
    }
    run(&body);
}

#[test]
fn unpacked_values_are_as_measured() {
    let mut body = String::new();
    for vector in vectors("seri-unpack.json")["vectors"].as_array().unwrap() {
        let hex = text(&vector["hex"]);
        writeln!(
            body,
            "do local r = table.pack(pcall(core.unpack, fromhex '{hex}'))"
        )
        .unwrap();
        if let Some(error) = vector["error"].as_str() {
            // Upstream takes such a length for negative (docs/deviations.md).
            let error = match error {
                "memory allocation error: block too big" => "Invalid serialize stream 1 (line:437)",
                other => other,
            };
            writeln!(
                body,
                "same(r[1], false, '{hex}') same(r[2], {}, '{hex}')",
                literal(error)
            )
            .unwrap();
        } else {
            let values = vector["values"].as_array().unwrap();
            writeln!(
                body,
                "same(r[1], true, '{hex}') same(r.n - 1, {}, '{hex}')",
                values.len()
            )
            .unwrap();
            for (i, value) in values.iter().enumerate() {
                writeln!(
                    body,
                    "same(show(r[{}]), {}, '{hex}')",
                    i + 2,
                    literal(text(value))
                )
                .unwrap();
            }
        }
        body.push_str("end\n");
    }
    run(&body);
}

#[test]
fn random_arguments_pack_as_measured() {
    let vectors = vectors("seri-random.json");
    let mut body = String::new();
    for vector in vectors["vectors"].as_array().unwrap() {
        let (lua, hex) = (text(&vector["lua"]), text(&vector["hex"]));
        writeln!(
            body,
            "do local s = core.packstring({lua}) same(tohex(s), '{hex}', '{hex}') same(core.packstring(core.unpack(s)) == s, true, '{hex}') end"
        )
        .unwrap();
    }
    run(&body);
}

#[test]
fn the_plain_codec_writes_what_it_reads() {
    for vector in vectors("seri-random.json")["vectors"].as_array().unwrap() {
        let hex = text(&vector["hex"]);
        let bytes = unhex(hex);
        let values = decode(&bytes).unwrap();
        let mut again = Vec::new();
        encode(&values, &mut again).unwrap();
        assert_eq!(again, bytes, "{hex}");
    }
}

#[test]
fn the_plain_codec_reports_errors_like_lua() {
    for vector in vectors("seri-unpack.json")["vectors"].as_array().unwrap() {
        let hex = text(&vector["hex"]);
        let result = decode(&unhex(hex));
        match vector["error"].as_str() {
            Some(error) if error.starts_with("Invalid") => {
                let invalid = result.expect_err(hex);
                assert_eq!(
                    format!(
                        "Invalid serialize stream {} (line:{})",
                        invalid.left, invalid.line
                    ),
                    error,
                    "{hex}"
                );
            }
            // What only Lua objects to.
            Some(_) => {}
            None => assert_eq!(
                result.expect(hex).len(),
                vector["values"].as_array().unwrap().len(),
                "{hex}"
            ),
        }
    }
}

fn unhex(hex: &str) -> Vec<u8> {
    (0..hex.len() / 2)
        .map(|i| u8::from_str_radix(&hex[i * 2..i * 2 + 2], 16).unwrap())
        .collect()
}

#[test]
fn hostile_bytes_are_errors_and_cost_no_memory() {
    run(r#"
-- Sizes that are not there.
local function refused(bytes, what)
	collectgarbage()
	local before = collectgarbage "count"
	local ok, err = pcall(core.unpack, bytes)
	same(ok, false, what)
	same(collectgarbage "count" - before < 16 * #bytes / 1024 + 64, true, what .. " memory")
	return err
end
refused(fromhex "fe22ffffff7f", "array size")
refused(fromhex "fe32ffffff7f00000000", "array size in 64 bits")
refused(("\xfe\x22\xff\xff\xff\x7f"):rep(10000), "array size at each level")
refused(fromhex "25ffffffff" .. ("x"):rep(100), "string length")
refused(fromhex "2500000080", "string length of 2^31")
-- A million tables in each other end in an error or a value, not in a crash.
for _, n in ipairs { 1000, 20000, 1000000 } do
	for _, byte in ipairs { "\x06", "\x0e" } do
		local ok, err = pcall(core.unpack, byte:rep(n))
		same(ok, false, "unfinished nesting")
		local ok, v = pcall(core.unpack, byte:rep(n) .. ("\x00"):rep(n * 2))
		same(ok or v == "stack overflow" or v:find "Invalid" ~= nil or v:find "memory" ~= nil, true, "nesting " .. n .. tostring(v))
	end
end
-- Every prefix of a message is an error or fewer values.
local whole = core.packstring({ 1, 2, { "x", y = 1.5 }, [true] = ("z"):rep(40) }, 70000, -1, 2 ^ 53 | 0)
for i = 0, #whole do
	local ok, err = pcall(core.unpack, whole:sub(1, i))
	same(ok or err:find "^Invalid serialize stream %d+ %(line:%d+%)$" ~= nil, true, "prefix " .. i)
end
"#);
}

#[test]
fn packing_within_packing_keeps_both() {
    run(r#"
local inner
local t = setmetatable({}, { __pairs = function(t)
	inner = core.packstring("inner", { 1, 2 })
	pcall(core.packstring, "cut off", print)
	pcall(core.packstring, setmetatable({}, { __pairs = function() error "x" end }))
	return function(_, k) if not k then core.packstring("again") return "key", inner end end
end })
same(tohex(core.packstring("a", t, "b")), tohex(core.packstring("a", { key = inner }, "b")), "nested")
same(tohex(inner), tohex(core.packstring("inner", { 1, 2 })), "inner")
"#);
}

#[test]
fn deep_values_drop_without_recursion() {
    let values = decode(&[[6u8].repeat(200_000), [0u8].repeat(400_000)].concat());
    assert!(values.is_ok() || values.is_err());
    let mut value = Value::Nil;
    for _ in 0..200_000 {
        value = Value::Table(vec![value], Vec::new());
    }
    drop(value);
}
