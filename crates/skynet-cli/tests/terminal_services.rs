//! The services that work with the terminal (spec/02-lua-api.md §15.3): `console`,
//! `dbg`, `cmemory`.

mod util;

use std::io::Write;
use std::process::Stdio;

use util::{Dir, Process, command};

/// A node whose log goes to standard output.
fn node(start: &str) -> Dir {
    let dir = Dir::new();
    dir.write(
        "config",
        &format!(
            "harbor = 0\nthread = 2\nstart = \"{start}\"\n\
             luaservice = \"./?.lua;./service/?.lua\"\nsnax = \"./?.lua\"\n"
        ),
    );
    dir
}

const ECHO: &str = r#"
local skynet = require "skynet"
require "skynet.manager"
local words = table.concat({ ... }, "|")
skynet.start(function()
	skynet.error("echo of " .. words)
	if words == "stop" then
		skynet.abort()
	end
end)
"#;

const SNAX: &str = r#"
function init(...)
	require "skynet".error("snax echo of " .. table.concat({ ... }, "|"))
end
"#;

fn type_in(node: &mut Process, text: &str) {
    node.stdin().write_all(text.as_bytes()).expect("a pipe");
}

#[test]
fn console_launches_what_is_typed() {
    let dir = node("console");
    dir.write("echo.lua", ECHO)
        .write("snax_echo.lua", SNAX)
        .write("broken.lua", "error 'broken on purpose'");
    let mut node = Process::spawn(command(dir.path(), &["config"]).stdin(Stdio::piped()));
    node.expect("LAUNCH snlua console");
    // Halves of lines, empty lines, blanks around words; what fails stops nothing.
    type_in(&mut node, "echo one  two\n\n   \nec");
    type_in(
        &mut node,
        "ho three\r\nbroken\nno_such_service\nsnax no_such_snax\nsnax\nsnax snax_echo a b\n",
    );
    node.expect("snax echo of a|b");
    type_in(&mut node, "echo stop\n");
    assert_eq!(node.wait().code(), Some(0));
    let output = node.output();
    for line in [
        "echo of one|two",
        "echo of three",
        "broken on purpose",
        "LAUNCH snlua no_such_service",
        "echo of stop",
    ] {
        assert!(output.contains(line), "{line:?} in:\n{output}");
    }
    // They came in the order of the lines.
    let at = |text: &str| output.find(text).expect("found above");
    assert!(at("echo of one|two") < at("echo of three"));
    assert!(at("echo of three") < at("broken on purpose"));
    assert!(at("broken on purpose") < at("snax echo of a|b"));
}

#[test]
fn console_stays_at_the_end_of_standard_input() {
    let dir = node("console");
    dir.write("echo.lua", ECHO);
    let mut command = command(dir.path(), &["config"]);
    let mut node = Process::spawn(command.stdin(Stdio::piped()));
    type_in(&mut node, "echo last\necho not a whole line");
    node.close_stdin();
    node.expect("echo of last");
    node.signal(libc::SIGTERM);
    assert_eq!(node.wait().code(), Some(0));
    let output = node.output();
    assert!(!output.contains("whole"), "{output}");
    assert!(!output.contains("lua call"), "{output}");
}

#[test]
fn dbg_prints_what_the_launcher_answers() {
    for (start, expected) in [
        ("dbg list", ":00000006\tsnlua datacenterd"),
        ("dbg nope", "1\tUnknown command"),
        ("dbg query 5", "nil"),
    ] {
        let dir = node(start);
        let mut node = Process::start(dir.path(), &["config"]);
        node.expect(expected);
        node.expect("[:00000008] KILL self");
        node.signal(libc::SIGTERM);
        assert_eq!(node.wait().code(), Some(0));
    }
    let dir = node("dbg stat");
    let mut node = Process::start(dir.path(), &["config"]);
    let line = node.expect(":00000007\tcpu:");
    let keys: Vec<&str> = line
        .split('\t')
        .skip(1)
        .filter_map(|field| field.split_once(':'))
        .map(|(key, value)| {
            value.parse::<f64>().expect("a number");
            key
        })
        .collect();
    assert_eq!(keys, ["cpu", "message", "mqlen", "task"]);
    node.signal(libc::SIGTERM);
    node.wait();
}

#[test]
fn cmemory_prints_what_services_hold_and_ends() {
    let dir = node("cmemory");
    let mut node = Process::start(dir.path(), &["config"]);
    for text in ["Total memory:", "Total block:"] {
        let line = node.expect(text);
        let (_, number) = line.split_once('\t').expect("a tab");
        number.trim().parse::<u64>().expect("a number");
    }
    node.expect("[:00000008] KILL self");
    node.signal(libc::SIGTERM);
    assert_eq!(node.wait().code(), Some(0));
}
