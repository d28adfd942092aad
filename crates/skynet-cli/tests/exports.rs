//! What the executable exports, and a Lua C module that uses it.

mod util;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

use util::{Dir, Process, source_tree};

const LUA: &str = include_str!("../exports/lua.txt");

/// libc's allocator names; they belong to the executable's allocator.
const ALLOCATOR: &[&str] = &[
    "malloc",
    "free",
    "calloc",
    "realloc",
    "posix_memalign",
    "aligned_alloc",
];

fn dynamic_symbols() -> BTreeSet<String> {
    let output = Command::new("nm")
        .args(["-D", "--defined-only", env!("CARGO_BIN_EXE_skynet")])
        .output()
        .expect("nm runs");
    assert!(output.status.success());
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| line.split_whitespace().nth(2))
        .map(|name| name.split('@').next().unwrap_or(name).to_owned())
        .collect()
}

#[test]
fn the_whole_lua_api_is_exported_and_nothing_of_other_libraries() {
    let symbols = dynamic_symbols();
    let lua: BTreeSet<String> = LUA.lines().map(str::to_owned).collect();
    let missing: Vec<_> = lua.difference(&symbols).collect();
    assert!(missing.is_empty(), "not exported: {missing:?}");
    // All of the API: 156 functions, the code cache's 7, and one that is data.
    assert_eq!(lua.len(), 156 + 7 + 1);
    assert!(lua.contains("lua_ident"));
    let allocator = |name: &str| {
        name.contains("alloc")
            || name.contains("memalign")
            || name.contains("free")
            || name == "strdup"
            || name == "strndup"
    };
    let others: Vec<_> = symbols
        .difference(&lua)
        .filter(|name| !allocator(name))
        .collect();
    assert!(others.is_empty(), "exported by accident: {others:?}");
    if cfg!(feature = "mimalloc") {
        for name in ALLOCATOR {
            assert!(
                symbols.contains(*name),
                "{name} is not the executable's own"
            );
        }
    }
}

/// Builds the module against the headers of this tree.
fn build(dir: &Dir) -> PathBuf {
    let library = dir.file("counter.so");
    let source = source_tree().join("crates/skynet-cli/tests/cmodule/counter.c");
    let status = Command::new(std::env::var_os("CC").unwrap_or_else(|| "cc".into()))
        .args(["-O2", "-Wall", "-Werror", "-fPIC", "-shared", "-o"])
        .arg(&library)
        .arg(source)
        .arg("-I")
        .arg(source_tree().join("include/lua"))
        .status()
        .expect("a C compiler");
    assert!(status.success());
    library
}

#[test]
fn the_headers_in_include_are_those_of_the_build() {
    for name in ["lua.h", "luaconf.h", "lauxlib.h", "lualib.h"] {
        let built = std::fs::read(PathBuf::from(env!("SKYNET_LUA_INCLUDE")).join(name));
        let shipped = std::fs::read(source_tree().join("include/lua").join(name));
        assert!(
            built.expect("built") == shipped.expect("shipped"),
            "{name} differs"
        );
    }
}

#[test]
fn a_lua_c_module_loads_and_shares_the_allocator() {
    let dir = Dir::new();
    build(&dir);
    dir.service(
        "local skynet = require 'skynet'
        require 'skynet.manager'
        local counter = require 'test.counter'
        skynet.register_protocol { name = 'text', id = 0, unpack = skynet.tostring,
            dispatch = function(_, _, text) skynet.error('got ' .. text) skynet.abort() end }
        skynet.start(function()
            local c = counter.new(40)
            skynet.error('count ' .. c:add(2))
            local big = string.rep('x', 100000)
            for _ = 1, 100 do skynet.trash(counter.block(big)) end
            skynet.redirect(skynet.self(), 0, 'text', 0, counter.block 'a block')
        end)",
        "",
    );
    // `test.counter` is found by its root, as upstream finds skynet.core in skynet.so.
    std::fs::rename(dir.file("counter.so"), dir.file("test.so")).expect("renamed");
    let config = dir.read("config") + "lua_cpath = \"./?.so\"\n";
    dir.write("config", &config);
    let mut node = Process::start(dir.path(), &["config"]);
    node.expect("count 42");
    node.expect("got a block");
    assert_eq!(node.wait().code(), Some(0), "{}", node.output());
}
