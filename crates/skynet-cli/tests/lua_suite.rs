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

/// Runs one suite; its output and how it ended.
fn run(name: &str, workers: usize) -> (ExitStatus, String) {
    let dir = Dir::new();
    let lua = source_tree()
        .canonicalize()
        .expect("the source tree")
        .join("tests/lua");
    let lua = lua.display();
    dir.write(
        "config",
        &format!(
            "harbor = 0\nthread = {workers}\nstart = \"{name}\"\n\
             luaservice = \"{lua}/?.lua;{lua}/service/?.lua;./service/?.lua\"\n\
             lua_path = \"{lua}/lib/?.lua;./lualib/?.lua;./lualib/?/init.lua\"\n\
             snax = \"{lua}/service/?.lua\"\nlogpath = \".\"\n"
        ),
    );
    let mut node = Process::start(dir.path(), &["config"]);
    let status = node.wait();
    (status, node.output())
}

fn run_all(workers: usize) {
    let queue = Mutex::new(suites());
    let failures = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..PARALLEL {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().expect("names").pop();
                    let Some(name) = next else { return };
                    let (status, output) = run(&name, workers);
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
    run_all(1);
}

#[test]
fn passes_with_forty_workers() {
    run_all(40);
}
