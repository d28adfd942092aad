//! The code cache: what is cached, under which name, and what a load says.

mod common;

use std::ffi::CString;
use std::ptr;

use common::{Dir, Vm, space};
use skynet_lua_sys::*;

fn quoted(path: &str) -> String {
    format!("{path:?}")
}

#[test]
fn a_file_is_compiled_once_and_not_looked_at_again() {
    let (space, dir) = (space(), Dir::new("once"));
    let path = dir.write("f.lua", "return 1");
    let (a, b) = (Vm::new(&space), Vm::new(&space));
    let code = format!("return dofile({})", quoted(&path));
    assert_eq!(a.eval(&code).unwrap(), "1");
    std::fs::remove_file(&path).unwrap();
    assert_eq!(a.eval(&code).unwrap(), "1");
    assert_eq!(b.eval(&code).unwrap(), "1");
    let stats = space.stats();
    assert_eq!(
        (stats.misses, stats.hits, stats.cached, stats.chunks),
        (1, 2, 1, 1)
    );
    // the mode argument is ignored on a hit, and the name is literal
    let loadfile = format!("return loadfile({}, 'b')()", quoted(&path));
    assert_eq!(b.eval(&loadfile).unwrap(), "1");
    let other = path.replace("/f.lua", "/./f.lua");
    assert!(
        b.eval(&format!("return loadfile({})", quoted(&other)))
            .unwrap()
            .starts_with("nil cannot open")
    );
}

#[test]
fn clear_makes_the_next_load_read_the_file() {
    let (space, dir) = (space(), Dir::new("clear"));
    let path = dir.write(
        "f.lua",
        "local n = 0 return function () n = n + 1 return n end",
    );
    let (a, b) = (Vm::new(&space), Vm::new(&space));
    let load = format!("f = dofile({})", quoted(&path));
    a.eval(&load).unwrap();
    dir.write("f.lua", "return function () return 'new' end");
    b.eval(&load).unwrap();
    assert_eq!(b.eval("return f()").unwrap(), "1");
    b.eval("codecache.clear()").unwrap();
    b.eval(&load).unwrap();
    assert_eq!(b.eval("return f()").unwrap(), "new");
    assert_eq!(
        a.eval("f() return f()").unwrap(),
        "2",
        "loaded functions keep working"
    );
    a.eval(&load).unwrap();
    assert_eq!(a.eval("return f()").unwrap(), "new");
}

#[test]
fn modes_decide_who_looks_and_who_stores() {
    let (space, dir) = (space(), Dir::new("modes"));
    let path = dir.write("f.lua", "return 'old'");
    let load = format!("return dofile({})", quoted(&path));
    let (on, exist, off) = (Vm::new(&space), Vm::new(&space), Vm::new(&space));
    assert_eq!(on.eval("return codecache.mode()").unwrap(), "ON");
    assert_eq!(
        exist
            .eval("return select('#', codecache.mode('EXIST')), codecache.mode()")
            .unwrap(),
        "0 EXIST"
    );
    assert_eq!(
        off.eval("codecache.mode('OFF') return codecache.mode()")
            .unwrap(),
        "OFF"
    );
    // EXIST does not store
    assert_eq!(exist.eval(&load).unwrap(), "old");
    assert_eq!(off.eval(&load).unwrap(), "old");
    assert_eq!(space.stats().cached, 0);
    assert_eq!(on.eval(&load).unwrap(), "old");
    dir.write("f.lua", "return 'new'");
    assert_eq!(on.eval(&load).unwrap(), "old");
    assert_eq!(exist.eval(&load).unwrap(), "old", "EXIST looks");
    assert_eq!(off.eval(&load).unwrap(), "new", "OFF does not");
    let message = on.eval("codecache.mode('on')").unwrap_err();
    assert!(
        message.contains("bad argument #1 to 'mode' (invalid option 'on')"),
        "{message}"
    );
    assert_eq!(
        on.eval("return codecache.loadfile == loadfile").unwrap(),
        "true"
    );
}

#[test]
fn require_goes_through_the_cache_and_load_does_not() {
    let (space, dir) = (space(), Dir::new("require"));
    dir.write("mod.lua", "return {name = ...}");
    let code = format!(
        "package.path = {} return require('mod').name, load('return 1')()",
        quoted(&format!("{}/?.lua", dir.0.display()))
    );
    for _ in 0..3 {
        assert_eq!(Vm::new(&space).eval(&code).unwrap(), "mod 1");
    }
    let stats = space.stats();
    assert_eq!((stats.misses, stats.hits, stats.cached), (1, 2, 1));
}

/// Statuses and messages of every kind of failure are those of stock Lua, and
/// what failed is tried again.
#[test]
fn failures_are_those_of_stock_lua() {
    let (space, dir) = (space(), Dir::new("failures"));
    let missing = format!("{}/missing.lua", dir.0.display());
    let syntax = dir.write("syntax.lua", "local x = = 1");
    let unfinished = dir.write("unfinished.lua", "local t = {\n  'abc");
    let binary = dir.write("binary.lua", b"\x1bLua\x55\x00garbage");
    let directory = dir.0.display().to_string();
    let long = format!("{}/{}.lua", dir.0.display(), "x".repeat(300));
    let text = dir.write("text.lua", "return 1");
    let (vm, stock) = (Vm::new(&space), Vm::foreign());
    let mut count = 0;
    for (path, mode) in [
        (&missing, None),
        (&syntax, None),
        (&unfinished, Some("t")),
        (&binary, None),
        (&binary, Some("t")),
        (&directory, None),
        (&long, None),
        (&text, Some("b")),
    ] {
        let path = CString::new(path.as_str()).unwrap();
        let mode = mode.map(|m| CString::new(m).unwrap());
        let mode = mode.as_ref().map_or(ptr::null(), |m| m.as_ptr());
        for _ in 0..2 {
            // SAFETY: the strings live over the calls.
            let (ours, theirs) = unsafe {
                (
                    skl_loadfile(vm.l, path.as_ptr(), mode),
                    luaL_loadfilex(stock.l, path.as_ptr(), mode),
                )
            };
            assert_eq!(ours, theirs);
            assert_ne!(ours, LUA_OK);
            assert_eq!(vm.finish(ours), stock.finish(theirs));
            count += 1;
        }
    }
    let stats = space.stats();
    assert_eq!((stats.cached, stats.chunks, stats.misses), (0, 0, count));
    dir.write("syntax.lua", "return 'repaired'");
    assert_eq!(
        vm.eval(&format!("return dofile({})", quoted(&syntax)))
            .unwrap(),
        "repaired"
    );
}

#[test]
fn first_lines_and_byte_order_marks_are_skipped() {
    let (space, dir) = (space(), Dir::new("firstline"));
    let script = dir.write("script.lua", "#!/usr/bin/env lua\nerror('here')");
    let marked = dir.write("marked.lua", "\u{feff}return 'marked'");
    let vm = Vm::new(&space);
    let message = vm
        .eval(&format!("dofile({})", quoted(&script)))
        .unwrap_err();
    assert!(message.ends_with("script.lua:2: here"), "{message}");
    assert_eq!(
        vm.eval(&format!("return dofile({})", quoted(&marked)))
            .unwrap(),
        "marked"
    );
}

#[test]
fn precompiled_files_are_shared_too() {
    let (space, dir) = (space(), Dir::new("binary"));
    let maker = Vm::foreign();
    let path = format!("{}/b.luac", dir.0.display());
    maker
        .eval(&format!(
            "local f = io.open({}, 'wb')
             f:write(string.dump(load('local t = {{}} t.somewhere = ... return t[\"some\" .. \"where\"]')))
             f:close()",
            quoted(&path)
        ))
        .unwrap();
    for _ in 0..2 {
        let vm = Vm::new(&space);
        assert_eq!(
            vm.eval(&format!("return loadfile({})(5)", quoted(&path)))
                .unwrap(),
            "5"
        );
        assert_eq!(vm.stats().chunks, 1);
    }
}

#[test]
fn embedded_sources_have_names_of_their_own() {
    let (space, dir) = (space(), Dir::new("embedded"));
    let path = dir.write("f.lua", "return 'file'");
    let vm = Vm::new(&space);
    assert_eq!(vm.embedded(&path, "return 'embedded'").unwrap(), "embedded");
    assert_eq!(
        vm.eval(&format!("return dofile({})", quoted(&path)))
            .unwrap(),
        "file"
    );
    assert_eq!(vm.embedded(&path, "not looked at").unwrap(), "embedded");
    assert_eq!(
        vm.embedded("broken.lua", "x = = 1").unwrap_err(),
        "broken.lua:1: unexpected symbol near '='"
    );
    assert_eq!(space.stats().cached, 2);
}

/// `loadfile`'s third argument replaces the first upvalue of this function
/// only.
#[test]
fn the_environment_argument_is_honoured() {
    let (space, dir) = (space(), Dir::new("env"));
    let path = dir.write("f.lua", "seen = (seen or 0) + 1 return seen");
    let vm = Vm::new(&space);
    let code = format!(
        "local env = {{seen = 10}}
         local f, g = loadfile({0}, 't', env), loadfile({0})
         return f(), f(), g(), env.seen, seen",
        quoted(&path)
    );
    assert_eq!(vm.eval(&code).unwrap(), "11 12 1 12 1");
}

/// Many threads load the same files at the same time: each is cached once.
#[test]
fn threads_that_race_agree_on_one_chunk() {
    let space = std::sync::Arc::new(space());
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let space = space.clone();
            std::thread::spawn(move || {
                for i in 0..200 {
                    let vm = Vm::bare(&space);
                    let code = format!(
                        "local t = {{}} t.key{} = {i} return t.key{}",
                        i % 20,
                        i % 20
                    );
                    let result = vm.embedded(&format!("k{}", i % 20), &code).unwrap();
                    assert_eq!(result.parse::<usize>().unwrap() % 20, i % 20);
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    let stats = space.stats();
    assert_eq!((stats.cached, stats.chunks, stats.vms), (20, 20, 0));
    assert_eq!(stats.hits + stats.misses, 1600);
}
