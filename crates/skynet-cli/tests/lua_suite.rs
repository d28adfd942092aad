//! Runs the Lua suite of `tests/lua` in real nodes.

mod util;

use std::fs;
use std::process::ExitStatus;
use std::sync::Mutex;

use util::{Dir, Process, source_tree};

/// Suites that run at the same time.
const PARALLEL: usize = 2;

fn suites() -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(source_tree().join("tests/lua"))
        .expect("the suite is there")
        .filter_map(|entry| entry.expect("an entry").file_name().into_string().ok())
        .filter_map(|name| name.strip_suffix(".lua").map(str::to_owned))
        .collect();
    names.sort();
    assert!(!names.is_empty(), "no suites");
    names
}

/// Suites that do not run on a library in Lua: of what such a library lacks, of the
/// tracebacks of the native one, of what holds only when nothing in Lua allocates.
const NATIVE: &[&str] = &[
    "skynet_additions",
    "skynet_coverage",
    "skynet_inspect",
    "skynet_memory",
];

/// The native library, or one written in Lua, as projects carry one.
#[derive(Clone, Copy)]
enum Library {
    Native,
    Lua,
}

/// Runs one suite; its output and how it ended.
fn run(name: &str, workers: usize, library: Library) -> (ExitStatus, String) {
    let dir = Dir::new();
    let tree = source_tree().canonicalize().expect("the source tree");
    let lua = tree.join("tests/lua");
    let (tree, lua) = (tree.display(), lua.display());
    let path = match library {
        Library::Native => "./lualib/?.lua;./lualib/?/init.lua".to_owned(),
        Library::Lua => format!("{tree}/tests/fixtures/lualib/?.lua;{tree}/lualib/?.lua"),
    };
    dir.write(
        "config",
        &format!(
            "harbor = 0\nthread = {workers}\nstart = \"{name}\"\n\
             luaservice = \"{lua}/?.lua;{lua}/service/?.lua;./service/?.lua\"\n\
             lua_path = \"{lua}/lib/?.lua;{path}\"\n\
             snax = \"{lua}/service/?.lua\"\nlogpath = \".\"\nlogger = \"node.log\"\n\
             suites = \"{}\"\n",
            suites().join(" ")
        ),
    );
    let mut node = Process::start(dir.path(), &["config"]);
    let status = node.wait();
    let output = node.output() + &dir.read("node.log");
    (status, output)
}

fn run_all(names: Vec<String>, workers: usize, library: Library) {
    let queue = Mutex::new(names);
    let failures = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..PARALLEL {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().expect("names").pop();
                    let Some(name) = next else { return };
                    let (status, output) = run(&name, workers, library);
                    if !status.success() || !output.contains("SUITE PASSED") {
                        let text = format!("---- {name}, {status} ----\n{output}");
                        failures.lock().expect("texts").push(text);
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().expect("texts");
    assert!(
        failures.is_empty(),
        "with {workers} workers:\n{}",
        failures.join("\n")
    );
}

#[test]
fn passes_with_one_worker() {
    run_all(suites(), 1, Library::Native);
}

#[test]
fn passes_with_forty_workers() {
    run_all(suites(), 40, Library::Native);
}

#[test]
fn passes_on_a_library_in_lua() {
    let mut names = suites();
    let all = names.len();
    names.retain(|name| !NATIVE.contains(&name.as_str()));
    assert_eq!(names.len() + NATIVE.len(), all, "a suite has another name");
    run_all(names, 4, Library::Lua);
}
