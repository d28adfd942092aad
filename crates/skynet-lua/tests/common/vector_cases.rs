//! Runs the cases of vectors/lua-semantics.json and compares what they print
//! and log with what upstream printed and logged. A part of the tests that
//! need it (not of `common`, whose other users would compile it too).

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::common::{Dir, Line, TestNode, start_builder, text, vectors};
use serde_json::Value;
use skynet_core::{Driver, Node};

/// Which output a difference is in.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum In {
    /// Printed lines.
    T,
    /// The log.
    Log,
}

/// A difference: case, output, upstream's line ("" = we have one more), our
/// line ("" = we have none; `*` at its end stands for anything), the reason.
/// Lines of upstream are looked up by their beginning.
pub type Difference = (&'static str, In, &'static str, &'static str, &'static str);
const NO_LEAK: &str =
    "upstream leaks the session of a sleeper whose token is taken (spec 02 §23.4)";
const SWALLOWED: &str = "the timer of a killed coroutine is swallowed (spec 02 §23.5)";
const LAUNCH: &str = "the cause of a failed launch is logged, upstream writes it to stderr";
const MQUEUE: &str = "upstream's mqueue has bugs here (spec 02 §23.25)";
const PRINT: &str = "the print of injected code shows all values (spec 02 §23.33)";

/// Differences that do not come from module `skynet`, or that every such module
/// of ours has.
pub const COMMON: &[Difference] = &[
    ("e03_wakeup", In::T, "tasks\t3", "tasks\t2", NO_LEAK),
    ("e03_wakeup", In::T, "D2 wait\ttrue", "", NO_LEAK),
    ("e03_wakeup", In::T, "D2 elapsed<10\ttrue", "", NO_LEAK),
    (
        "e07_kill",
        In::Log,
        "[:00000008] Response message : ",
        "",
        SWALLOWED,
    ),
    (
        "e07_kill",
        In::Log,
        "[:00000008] lua call [0 to :8 : 11",
        "",
        SWALLOWED,
    ),
    (
        "e07_kill",
        In::Log,
        "[:00000009] Response message : ",
        "",
        SWALLOWED,
    ),
    (
        "e07_kill",
        In::Log,
        "[:00000009] lua call [0 to :9 : 2 ",
        "",
        SWALLOWED,
    ),
    (
        "e07_kill",
        In::Log,
        "[:00000008] Response message : ",
        "",
        SWALLOWED,
    ),
    (
        "e07_kill",
        In::Log,
        "[:00000008] lua call [0 to :8 : 13",
        "",
        SWALLOWED,
    ),
    (
        "e16_core",
        In::Log,
        "",
        "[:00000008] error: launch nosuchmodule : *",
        LAUNCH,
    ),
    (
        "e19_launcher",
        In::Log,
        "",
        "[:00000003] error: launch nosuch : *",
        LAUNCH,
    ),
    (
        "e20_debugproto",
        In::T,
        "RUN\ttrue\ttrue\tout\t1",
        "RUN\ttrue\ttrue\tout\t1\tnil\ttrue\ta\tb",
        PRINT,
    ),
    (
        "e20_debugproto",
        In::T,
        "RUN env\ttrue\ttrue\t",
        "RUN env\ttrue\ttrue\tnil",
        PRINT,
    ),
    ("e22_mqueue", In::T, "run\tb", "run\tb\tnil\t1", MQUEUE),
    (
        "e22_mqueue",
        In::Log,
        "[:00000009] Maybe forgot response session 3",
        "",
        MQUEUE,
    ),
    (
        "e22_mqueue",
        In::Log,
        "[:00000009] Maybe forgot response session 4",
        "",
        MQUEUE,
    ),
    (
        "e22_mqueue",
        In::Log,
        "[:00000009] Maybe forgot response session 5",
        "",
        MQUEUE,
    ),
    (
        "e22_mqueue",
        In::Log,
        "[:00000009] lua call [0 to :9 : 9 ",
        "[:00000009] lua call [0 to :9 : * msgsz = 0] error : * send a message to [:9] return something",
        MQUEUE,
    ),
    (
        "e22_mqueue",
        In::Log,
        "[:00000009] lua call [0 to :9 : 10 ",
        "[:00000009] lua call [0 to :9 : * msgsz = 0] error : * send a message to [:9] throw an error : *",
        MQUEUE,
    ),
    (
        "e24_memlimit",
        In::Log,
        "[:0000000a] Memory warning 40.04 M",
        "[:0000000a] Memory warning 40.*",
        "the value depends on the allocator (notes of the case)",
    ),
    (
        "e24_memlimit",
        In::Log,
        "[:0000000a] Memory warning 80.04 M",
        "[:0000000a] Memory warning 80.*",
        "the value depends on the allocator (notes of the case)",
    ),
    (
        "e27_endless",
        In::Log,
        "",
        "[:00000009] error: endless loop in :00000009, *",
        "the warning shows what the service is doing",
    ),
    (
        "e41_mainchunk",
        In::Log,
        "[:0000000a] Response message : \x06",
        "[:0000000a] Response message : *snlua*",
        "packed tables have no fixed order",
    ),
    (
        "e47_killrep",
        In::T,
        "kill replied\tfalse",
        "kill replied\ttrue\tthread: *",
        "a coroutine that has answered can be killed (spec 02 §23.5)",
    ),
    (
        "e47_killrep",
        In::T,
        "replied coroutine finished",
        "",
        "a coroutine that has answered can be killed (spec 02 §23.5)",
    ),
];

/// The exit monitor of upstream's examples, as its description has it.
const SIMPLE_MONITOR: &str = r#"
local skynet = require "skynet"
local watchers = {}
skynet.register_protocol {
	name = "client",
	id = skynet.PTYPE_CLIENT,
	unpack = function() end,
	dispatch = function(_, address)
		for watcher in pairs(watchers[address] or {}) do
			skynet.redirect(watcher, address, "error", 0, "")
		end
		watchers[address] = false
	end,
}
skynet.start(function()
	skynet.dispatch("lua", function(_, source, _, address)
		local known = watchers[address]
		if known == false then
			return skynet.ret(skynet.pack(false))
		end
		watchers[address] = known or {}
		watchers[address][source] = true
		skynet.ret(skynet.pack(true))
	end)
end)
"#;

/// Run in every service: what is printed goes to the log, marked.
/// The reserve lets it print at the limit of the memory, too. `os.clock` is that
/// of the process, which all cases share: the CPU time of the message serves.
const PRELOAD: &str = r#"
local core = require "skynet.core"
function os.clock() return tonumber(core.command("STAT", "time")) end
local reserve = string.rep("x", 1 << 14)
function print(...)
	reserve = nil
	local t = table.pack(...)
	for i = 1, t.n do t[i] = tostring(t[i]) end
	core.error("\1" .. table.concat(t, "\t"))
	pcall(function() reserve = string.rep("x", 1 << 14) end)
end
"#;

/// The cases spin on the CPU clock or need threads of their own.
const THREADED: &[&str] = &["e19_launcher", "e27_endless", "e43_bounce", "e44_channel"];

/// Lines of several services whose order between them nothing defines.
const UNORDERED: &[(&str, In)] = &[
    ("e14_svc", In::Log),
    ("e19_launcher", In::Log),
    ("e41_mainchunk", In::Log),
];

/// How long a threaded case may take.
const PATIENCE: Duration = Duration::from_secs(25);

/// The directory of all cases, which is the current one.
pub fn directory() -> &'static Dir {
    static DIR: OnceLock<Dir> = OnceLock::new();
    DIR.get_or_init(|| {
        let dir = Dir::new();
        for case in cases() {
            for (name, source) in case["files"].as_object().unwrap() {
                dir.write(name, text(source));
            }
        }
        dir.write("preload.lua", PRELOAD);
        dir.write("examples/simplemonitor.lua", SIMPLE_MONITOR);
        std::env::set_current_dir(&dir.0).unwrap();
        dir
    })
}

/// All cases of the file.
pub fn cases() -> &'static [Value] {
    static ALL: OnceLock<Value> = OnceLock::new();
    ALL.get_or_init(|| vectors("lua-semantics.json"))["cases"]
        .as_array()
        .unwrap()
}

fn lines_of(value: &Value) -> Vec<String> {
    // The first line is enough: tracebacks are cut in the vectors.
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|line| text(line).lines().next().unwrap_or("").to_owned())
        .collect()
}

/// One element of a pattern.
#[derive(Debug, Clone)]
enum Piece {
    Text(String),
    /// A position `file:line: `, or nothing.
    Position,
    /// A position of a library frame with a blank before it, or nothing.
    Library,
    Pointer,
    Number,
    Anything,
}

/// A line of the vectors as a pattern.
fn pattern(line: &str, wild: bool) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut rest = line;
    let marks: [(&str, Piece); 8] = [
        ("<pos> ", Piece::Position),
        ("<pos>", Piece::Position),
        (" <lib>", Piece::Library),
        ("<lib>", Piece::Anything),
        ("PTR", Piece::Pointer),
        ("<NS>", Piece::Number),
        ("<N>", Piece::Number),
        ("*", Piece::Anything),
    ];
    let mut literal = String::new();
    while !rest.is_empty() {
        if let Some(tail) = rest.strip_prefix("<RED>") {
            literal.push_str("\x1b[31m");
            rest = tail;
        } else if let Some(tail) = rest.strip_prefix("<RESET>") {
            rest = tail;
        } else if let Some((mark, piece)) = marks
            .iter()
            .find(|(mark, _)| rest.starts_with(mark) && (wild || *mark != "*"))
        {
            pieces.push(Piece::Text(std::mem::take(&mut literal)));
            pieces.push(piece.clone());
            rest = &rest[mark.len()..];
        } else {
            let c = rest.chars().next().unwrap();
            literal.push(c);
            rest = &rest[c.len_utf8()..];
        }
    }
    pieces.push(Piece::Text(literal));
    pieces
}

/// Lengths that a piece may take at the start of `line`.
fn lengths(piece: &Piece, line: &str) -> Vec<usize> {
    let run = |f: fn(char) -> bool| line.find(|c| !f(c)).unwrap_or(line.len());
    match piece {
        Piece::Text(text) => line
            .starts_with(text.as_str())
            .then_some(text.len())
            .into_iter()
            .collect(),
        Piece::Position => {
            let mut all = vec![0];
            let word = run(|c| !c.is_whitespace());
            let head = &line[..word];
            let is_position = head.strip_suffix(':').is_some_and(|head| {
                head.rsplit_once(':')
                    .is_some_and(|(_, n)| n.parse::<u32>().is_ok())
            });
            if is_position {
                all.push(word);
                all.push((word + 1).min(line.len()));
            }
            all
        }
        Piece::Library => {
            let mut all = vec![0];
            if let Some(tail) = line.strip_prefix(' ') {
                all.push(1 + tail.find(' ').unwrap_or(tail.len()));
            }
            all
        }
        Piece::Pointer => {
            let plain = line.strip_prefix("0x").map_or(0, |_| 2);
            let digits = line[plain..]
                .find(|c: char| !c.is_ascii_hexdigit())
                .unwrap_or(line.len() - plain);
            let mut all: Vec<usize> = (digits > 0).then_some(plain + digits).into_iter().collect();
            if line.starts_with("PTR") {
                all.push(3);
            }
            all
        }
        Piece::Number => {
            let n = run(|c| c.is_ascii_digit() || c == '.');
            (n > 0).then_some(n).into_iter().collect()
        }
        Piece::Anything => (0..=line.len())
            .filter(|&n| line.is_char_boundary(n))
            .collect(),
    }
}

fn matches(pieces: &[Piece], line: &str) -> bool {
    match pieces {
        [] => matches!(line.trim_end(), "" | "\x1b[0m"),
        [piece, rest @ ..] => lengths(piece, line)
            .into_iter()
            .any(|n| matches(rest, &line[n..])),
    }
}

/// Takes out what depends on the implementation: the function named in a wrong
/// argument, and session numbers of failed messages.
fn neutral(line: &str) -> String {
    let mut out = line.to_owned();
    if let Some(at) = out.find("bad argument #")
        && let Some(end) = out[at..].find("' (")
    {
        out.replace_range(at + 12..at + end + 1, "");
    }
    if let Some(at) = out.find("lua call [")
        && let Some(colon) = out[at..].find(" : ")
        && let Some(end) = out[at + colon..].find(" msgsz")
    {
        out.replace_range(at + colon + 3..at + colon + end, "S");
    }
    out
}

struct Expected {
    lines: Vec<(String, Vec<Piece>)>,
    ordered: bool,
}

impl Expected {
    fn new(case: &Value, which: In, accepted: &[Difference]) -> Self {
        let name = text(&case["name"]);
        let (lines, order) = match which {
            In::T => ("T", "T_order"),
            In::Log => ("log", "log_order"),
        };
        let mut out: Vec<(String, bool)> = lines_of(&case[lines])
            .into_iter()
            .map(|line| (line, false))
            .collect();
        for &(_, _, theirs, ours, _) in accepted
            .iter()
            .filter(|(of, output, ..)| *of == name && *output == which)
        {
            if theirs.is_empty() {
                out.push((ours.to_owned(), true));
                continue;
            }
            let at = out
                .iter()
                .position(|(line, replaced)| !replaced && line.starts_with(theirs))
                .unwrap_or_else(|| panic!("{name}: no line of upstream starts with {theirs:?}"));
            if ours.is_empty() {
                out.remove(at);
            } else {
                out[at] = (ours.to_owned(), true);
            }
        }
        let added = accepted
            .iter()
            .any(|(of, output, theirs, ..)| *of == name && *output == which && theirs.is_empty());
        Self {
            lines: out
                .into_iter()
                .map(|(line, wild)| {
                    let pieces = pattern(&neutral(&line), wild);
                    (line, pieces)
                })
                .collect(),
            // Where a line of ours belongs is not said.
            ordered: text(&case[order]) == "stable"
                && !added
                && !UNORDERED.contains(&(name, which)),
        }
    }

    /// What is missing or too much.
    fn compare(&self, got: &[String]) -> Result<(), String> {
        let got: Vec<String> = got.iter().map(|line| neutral(line)).collect();
        let mut wrong = String::new();
        if self.ordered {
            for at in 0..got.len().max(self.lines.len()) {
                let fits = match (self.lines.get(at), got.get(at)) {
                    (Some((_, pieces)), Some(line)) => matches(pieces, line),
                    _ => false,
                };
                if !fits {
                    let expected = self.lines.get(at).map_or("(nothing)", |(line, _)| line);
                    let line = got.get(at).map_or("(nothing)", |line| line);
                    wrong = format!("line {at}:\n  expected {expected:?}\n  got      {line:?}");
                    break;
                }
            }
        } else {
            let mut left = got.clone();
            for (line, pieces) in &self.lines {
                match left.iter().position(|got| matches(pieces, got)) {
                    Some(at) => drop(left.remove(at)),
                    None => wrong.push_str(&format!("  missing {line:?}\n")),
                }
            }
            for line in left {
                wrong.push_str(&format!("  too much {line:?}\n"));
            }
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    }
}

/// What the node has printed and logged so far.
fn outputs(node: &TestNode) -> (Vec<String>, Vec<String>) {
    let (mut printed, mut log) = (Vec::new(), Vec::new());
    for (source, line) in node.lines() {
        let first = line.lines().next().unwrap_or("");
        if let Some(line) = first.strip_prefix("\x01T\t") {
            printed.push(line.to_owned());
        } else if first.starts_with('\x01') || first.starts_with("skynet library: ") {
            // Other prints, and ours about the library in use.
        } else {
            let is_boot = first.starts_with("LAUNCH ")
                && [
                    "logger",
                    "collector",
                    "harbor",
                    "snlua bootstrap",
                    "snlua launcher",
                    "snlua cdummy",
                    "snlua datacenterd",
                    "snlua service_mgr",
                ]
                .iter()
                .any(|boot| first["LAUNCH ".len()..].starts_with(boot));
            if !is_boot {
                log.push(format!("[:{source:08x}] {first}"));
            }
        }
    }
    (printed, log)
}

/// Runs one case; `settings` go before those of the vectors. Returns the
/// log.
pub fn run(name: &str, accepted: &[Difference], settings: &[(&str, &str)]) -> Vec<Line> {
    directory();
    // The threaded cases set processor time against the clock (a loop of 0.4 s beside a
    // sleep of 0.8 s): on a machine that stands still for a moment such a
    // program prints something else, so it may try again.
    let attempts = if THREADED.contains(&name) { 4 } else { 1 };
    let mut result = Ok(Vec::new());
    for _ in 0..attempts {
        result = attempt(name, accepted, settings);
        if result.is_ok() {
            break;
        }
    }
    result.unwrap_or_else(|difference| panic!("{name}: {difference}"))
}

/// One run of a case: its log, or what was different.
fn attempt(
    name: &str,
    accepted: &[Difference],
    settings: &[(&str, &str)],
) -> Result<Vec<Line>, String> {
    let case = cases()
        .iter()
        .find(|case| case["name"] == name)
        .expect("a case of this name");
    let all = vectors("lua-semantics.json");
    let threaded = THREADED.contains(&name);
    let driver = if threaded {
        Driver::Threads
    } else {
        Driver::Sim { seed: 1 }
    };
    let mut builder = Node::builder();
    for (key, value) in all["config"].as_object().unwrap() {
        if key != "logger" && !value.is_null() {
            let value = value.as_str().map_or(value.to_string(), str::to_owned);
            builder = builder.env(key, value);
        }
    }
    builder = builder
        .env("start", text(&case["start"]))
        .env("preload", "preload.lua")
        .env("bootstrap", "snlua bootstrap")
        .env_all(settings.iter().copied());
    let node = start_builder(builder, driver);
    let (printed, log) = (
        Expected::new(case, In::T, accepted),
        Expected::new(case, In::Log, accepted),
    );
    let check = |node: &TestNode| {
        let (got_printed, got_log) = outputs(node);
        let a = printed.compare(&got_printed).map_err(|e| format!("T: {e}"));
        let b = log.compare(&got_log).map_err(|e| format!("log: {e}"));
        match (a, b) {
            (Ok(()), Ok(())) => Ok(()),
            (a, b) => Err([a, b]
                .into_iter()
                .filter_map(Result::err)
                .collect::<Vec<_>>()
                .join("\n")
                + &format!("\nprinted: {got_printed:#?}\nlogged: {got_log:#?}")),
        }
    };
    let seconds = case["run_seconds"].as_f64().unwrap();
    let mut result;
    if threaded {
        let end = Instant::now() + PATIENCE;
        loop {
            result = check(&node);
            if result.is_ok() || Instant::now() > end {
                break;
            }
            node.wait_for_change(Duration::from_millis(200));
        }
    } else {
        // Programs that compute for long get more virtual time.
        let mut rounds = 0;
        loop {
            node.run_for((seconds * 100.0) as u64 + 1);
            result = check(&node);
            rounds += 1;
            if result.is_ok() || rounds == 20 {
                break;
            }
        }
    }
    let log = node.stop();
    result.map(|()| log)
}

/// A test function per case, which calls `$run` with its name, and one that
/// finds cases without a test.
macro_rules! vector_tests {
    ($run:ident) => {
        crate::vector_cases::vector_tests! {
            $run
            order "e01_order"
            arguments "e02_args"
            wakeup "e03_wakeup"
            call "e04_call"
            response "e05_response"
            exit "e06_exit"
            kill "e07_kill"
            select "e08_select"
            queue "e09_queue"
            coroutine "e10_coroutine"
            protocols "e11_proto"
            services "e12_service"
            require "e13"
            service "e14_svc"
            misc "e15_misc"
            core "e16_core"
            snax "e17_snax"
            trace "e18_trace"
            launcher "e19_launcher"
            debug_protocol "e20_debugproto"
            forward "e21_forward"
            mqueue "e22_mqueue"
            harbor "e23_harbor"
            memory_limit "e24_memlimit"
            monitor "e25_monitor"
            simple_monitor "e26_simplemonitor"
            endless "e27_endless"
            service_path "e30"
            service_name_with_slash "sub/svc"
            snax_interface "e31_snaxg"
            main_chunk "e41_mainchunk"
            errors "e42_errors"
            bounce "e43_bounce"
            malformed "e45_malformed"
            kill_after_answer "e47_killrep"
            channel_and_profile "e44_channel"
        }
    };
    ($run:ident $($function:ident $name:literal)*) => {
        $(
            #[test]
            fn $function() {
                $run($name);
            }
        )*

        #[test]
        fn every_case_has_a_test() {
            let tested = [$($name),*];
            for case in crate::vector_cases::cases() {
                let name = crate::common::text(&case["name"]);
                assert!(tested.contains(&name), "{name}");
            }
        }
    };
}
pub(crate) use vector_tests;
