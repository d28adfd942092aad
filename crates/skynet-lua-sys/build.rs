//! Builds Lua 5.5.1 from the sources in the `lua-src` crate.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// The folder of the `lua-src` crate, as cargo resolved it.
fn lua_source_dir() -> PathBuf {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--offline", "--locked"])
        .current_dir(env::var_os("CARGO_MANIFEST_DIR").expect("set by cargo"))
        .output()
        .expect("cargo metadata runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let end = "/Cargo.toml\"";
    for part in text.split("\"manifest_path\":\"").skip(1) {
        let Some(stop) = part.find(end) else { continue };
        let dir = Path::new(&part[..stop]);
        if dir
            .file_name()
            .is_some_and(|n| n.to_string_lossy().starts_with("lua-src"))
        {
            return dir.join("lua-5.5.1");
        }
    }
    panic!(
        "cargo metadata does not name the lua-src crate: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let source = lua_source_dir();
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("set by cargo")).join("lua");
    fs::create_dir_all(&out).expect("OUT_DIR can be written");
    let mut files = Vec::new();
    for entry in fs::read_dir(&source).expect("lua-src sources") {
        let path = entry.expect("directory entry").path();
        let Some(name) = path.file_name().and_then(|n| n.to_str()) else {
            continue;
        };
        if !(name.ends_with(".c") || name.ends_with(".h")) {
            continue;
        }
        fs::copy(&path, out.join(name)).expect("copied");
        if name.ends_with(".c") && name != "lua.c" && name != "luac.c" && name != "onelua.c" && name != "ltests.c" {
            files.push(out.join(name));
        }
    }
    files.sort();
    cc::Build::new()
        .files(&files)
        .include(&out)
        .define("LUA_USE_LINUX", None)
        .define("LUA_COMPAT_GLOBAL", None)
        .flag_if_supported("-fwrapv")
        .warnings(false)
        .opt_level(2)
        .compile("lua5.5");
    println!("cargo:include={}", out.display());
}
