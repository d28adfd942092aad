//! Tells the linker what the executable exports: the C API of Lua, for Lua C
//! modules, and the allocator, so that a block may be freed by whoever has it.
//! Nothing else: a module must not bind to a C library that happens to be linked in.

use std::path::PathBuf;
use std::{env, fs};

/// One name a line.
const LUA: &str = include_str!("exports/lua.txt");

/// What an allocator that replaces libc's must offer together.
const ALLOCATOR: &[&str] = &[
    "malloc",
    "free",
    "calloc",
    "realloc",
    "reallocarray",
    "aligned_alloc",
    "memalign",
    "posix_memalign",
    "valloc",
    "pvalloc",
    "malloc_usable_size",
    "cfree",
];

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=exports/lua.txt");
    // For the test that builds a Lua C module.
    if let Some(include) = env::var_os("DEP_SKYNET_LUA_INCLUDE") {
        println!("cargo:rustc-env=SKYNET_LUA_INCLUDE={}", include.display());
    }
    if env::var("CARGO_CFG_TARGET_OS").as_deref() != Ok("linux") {
        return;
    }
    let lua: Vec<&str> = LUA.lines().filter(|line| !line.is_empty()).collect();
    // Pull every function out of the archive, used by us or not.
    for name in &lua {
        println!("cargo:rustc-link-arg-bins=-Wl,-u,{name}");
    }
    let mut names = lua;
    if env::var_os("CARGO_FEATURE_MIMALLOC").is_some() {
        names.extend(ALLOCATOR);
    }
    let body: String = names.iter().map(|name| format!("{name};\n")).collect();
    let out = env::var_os("OUT_DIR").map_or_else(|| PathBuf::from("."), PathBuf::from);
    let list = out.join("exports.list");
    fs::write(&list, format!("{{\n{body}}};\n")).expect("OUT_DIR can be written");
    println!(
        "cargo:rustc-link-arg-bins=-Wl,--dynamic-list={}",
        list.display()
    );
}
