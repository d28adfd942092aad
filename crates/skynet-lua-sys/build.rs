//! Builds Lua 5.5.1 from the sources in the `lua-src` crate, edited as
//! `build/edits.rs` lists, together with our own files in `csrc`.

#[path = "build/edits.rs"]
mod edits;

use edits::EDITS;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// How Lua and our files are compiled. `tests/stress.sh` and the benchmarks use
/// the same list (`lua/FLAGS` in the output folder).
const DEFINES: &[(&str, Option<&str>)] = &[
    ("LUA_USE_LINUX", None),
    ("LUA_COMPAT_GLOBAL", Some("1")),
    // Most of what fills a VM's own string table are atoms here.
    ("MINSTRTABSIZE", Some("32")),
    ("STRCACHE_N", Some("23")),
    ("STRCACHE_M", Some("2")),
];

/// The folder of the `lua-src` crate, as cargo resolved it.
fn lua_source_dir() -> PathBuf {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let metadata = |network: &[&str]| {
        Command::new(&cargo)
            .args(["metadata", "--format-version", "1", "--locked"])
            .args(network)
            .current_dir(env::var_os("CARGO_MANIFEST_DIR").expect("set by cargo"))
            .output()
            .expect("cargo metadata runs")
    };
    // It wants every package that any platform or test needs; a plain build has
    // downloaded only its own. So the first build may have to go online again.
    let mut output = metadata(&["--offline"]);
    if !output.status.success() {
        output = metadata(&[]);
    }
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

/// The text of a file of Lua with our edits applied.
fn edited(name: &str, mut text: String) -> String {
    for edit in EDITS.iter().filter(|e| e.file == name) {
        let found = text.matches(edit.old).count();
        assert!(
            found == 1,
            "{name}: expected exactly once, found {found} times: {:?}",
            edit.old
        );
        text = text.replacen(edit.old, edit.new, 1);
    }
    text
}

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=build");
    println!("cargo:rerun-if-changed=csrc");
    let source = lua_source_dir();
    let manifest = env::var_os("CARGO_MANIFEST_DIR").expect("set by cargo");
    let ours = Path::new(&manifest).join("csrc");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("set by cargo")).join("lua");
    if out.exists() {
        fs::remove_dir_all(&out).expect("OUT_DIR can be cleared");
    }
    fs::create_dir_all(&out).expect("OUT_DIR can be written");
    let mut files = Vec::new();
    let mut unedited: Vec<&str> = EDITS.iter().map(|e| e.file).collect();
    for dir in [&source, &ours] {
        for entry in fs::read_dir(dir).expect("sources can be listed") {
            let path = entry.expect("directory entry").path();
            let Some(name) = path.file_name().and_then(|n| n.to_str()) else {
                continue;
            };
            if !(name.ends_with(".c") || name.ends_with(".h")) {
                continue;
            }
            let text = fs::read_to_string(&path).expect("sources can be read");
            unedited.retain(|file| *file != name);
            fs::write(out.join(name), edited(name, text)).expect("OUT_DIR can be written");
            let program = ["lua.c", "luac.c", "onelua.c", "ltests.c"].contains(&name);
            if name.ends_with(".c") && !program {
                files.push(out.join(name));
            }
        }
    }
    assert!(unedited.is_empty(), "no such files in Lua: {unedited:?}");
    // The tests and benchmarks in C build the same files with other options.
    let flags: Vec<String> = DEFINES
        .iter()
        .map(|(name, value)| format!("-D{name}={}", value.unwrap_or("1")))
        .collect();
    fs::write(out.join("FLAGS"), flags.join(" ")).expect("OUT_DIR can be written");
    fs::write(out.join("SOURCE"), source.display().to_string()).expect("OUT_DIR can be written");
    files.sort();
    let mut build = cc::Build::new();
    build
        .files(&files)
        .include(&out)
        .flag_if_supported("-fwrapv")
        .warnings(false)
        .opt_level(2)
        // An executable that exports the Lua API for C modules must hold all of
        // it, also what no Rust code refers to.
        .link_lib_modifier("+whole-archive");
    for (name, value) in DEFINES {
        build.define(name, *value);
    }
    build.compile("lua5.5");
    println!("cargo:include={}", out.display());
}
