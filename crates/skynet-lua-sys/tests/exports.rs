//! The static library defines every function its headers declare, so that an
//! executable can export the whole Lua API to C modules.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

/// The functions a header declares with one of Lua's API macros.
fn declared(header: &str) -> BTreeSet<String> {
    let path = Path::new(env!("OUT_DIR")).join("lua").join(header);
    let text = std::fs::read_to_string(path).expect("header");
    let mut names = BTreeSet::new();
    for macro_name in ["LUA_API", "LUALIB_API", "LUAMOD_API"] {
        for part in text.split(&format!("\n{macro_name}")).skip(1) {
            let end = part.find(';').expect("declaration ends");
            let name = part[..end]
                .split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
                .find(|word| {
                    ["lua_", "luaL_", "luaopen_", "skl_"]
                        .iter()
                        .any(|p| word.starts_with(p))
                        && word.chars().any(|c| c.is_lowercase())
                        && ![
                            "lua_State",
                            "lua_Number",
                            "lua_Integer",
                            "lua_Unsigned",
                            "lua_CFunction",
                            "lua_Alloc",
                            "lua_Hook",
                        ]
                        .contains(word)
                })
                .unwrap_or_else(|| panic!("no name in {header}: {part:.80}"));
            names.insert(name.to_owned());
        }
    }
    names
}

#[test]
fn the_library_defines_all_that_its_headers_declare() {
    let archive = Path::new(env!("OUT_DIR")).join("liblua5.5.a");
    let Ok(output) = Command::new("nm").arg("-g").arg(&archive).output() else {
        println!("skipped: no nm");
        return;
    };
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let defined: BTreeSet<String> = String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| {
            let words: Vec<_> = line.split_whitespace().collect();
            (words.len() == 3 && "TDR".contains(words[1])).then(|| words[2].to_owned())
        })
        .collect();
    let mut stock = 0;
    for header in ["lua.h", "lauxlib.h", "lualib.h", "skl.h"] {
        let names = declared(header);
        if header != "skl.h" {
            stock += names.len();
        }
        for name in names {
            assert!(defined.contains(&name), "{header} declares {name}");
        }
    }
    // Lua 5.5's 156 functions and our line in lualib.h
    assert_eq!(stock, 157);
    for name in [
        "lua_ident",
        "luaL_loadfilex_",
        "luaL_initcodecache",
        "lua_sharefunction",
        "lua_sharestring",
        "lua_clonefunction",
        "lua_clonetable",
    ] {
        assert!(defined.contains(name), "{name}");
    }
}
