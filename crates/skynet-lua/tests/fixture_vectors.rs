//! The cases of vectors/lua-semantics.json with a Lua-side `skynet` library over
//! `skynet.core` (tests/fixtures/lualib), as projects have that carry their own.
//!
//! Where its output differs from upstream's on purpose, the difference is in
//! [`ACCEPTED`] or [`COMMON`], with its reason.

mod common;
#[path = "common/vector_cases.rs"]
mod vector_cases;

use std::path::Path;
use std::sync::OnceLock;

use vector_cases::{COMMON, Difference, In, vector_tests};

const FRAMES: &str = "the frames are those of the fixture's own functions";

const ACCEPTED: &[Difference] = &[
    (
        "e15_misc",
        In::T,
        "thread: PTR session: 7 => ",
        "thread: PTR session: 7 => stack traceback:\\n\t[C]: in *./my/e15_misc.lua:35: in *",
        FRAMES,
    ),
    (
        "e15_misc",
        In::T,
        "uniq\t1\tsessions:[A]\\n\tstack traceback:\\n\t[C]",
        "uniq\t1\tsessions:[A]\\n\tstack traceback:\\n\t[C]: in *./my/e15_misc.lua:43: in *",
        FRAMES,
    ),
    (
        "e15_misc",
        In::T,
        "uniq\t1\tsessions:[A]\\n\tstack traceback:\\n\t[C]",
        "uniq\t1\tsessions:[A]\\n\tstack traceback:\\n\t[C]: in *./my/e15_misc.lua:35: in *",
        FRAMES,
    ),
    (
        "e24_memlimit",
        In::Log,
        "[:0000000b] lua memory error : [8 to :b : 6]",
        "[:0000000b] lua call [8 to :b : 6 msgsz = 4] error : \x1b[31m*: not enough memory",
        "when the fixture reports the error, the coroutine is garbage and there is memory again",
    ),
];

/// Lays the library over the files that it has in common with ours, in the place
/// where the configuration of the vectors looks for files.
fn lay_out_library() {
    static DONE: OnceLock<()> = OnceLock::new();
    DONE.get_or_init(|| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let to = vector_cases::directory().0.join("lualib");
        copy(&root.join("lualib"), &to);
        copy(&root.join("tests/fixtures/lualib"), &to);
    });
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn run(name: &str) {
    lay_out_library();
    let log = vector_cases::run(name, &[COMMON, ACCEPTED].concat(), &[]);
    assert_eq!(log[0].1, "skynet library: ./lualib/skynet.lua");
}

#[test]
fn the_native_library_wins_where_it_is_preferred() {
    lay_out_library();
    let settings = [("builtin_lualib", "prefer")];
    let log = vector_cases::run("e01_order", COMMON, &settings);
    assert_eq!(
        log[0].1,
        "skynet library: built in (builtin_lualib = \"prefer\", ./lualib/skynet.lua is not used)"
    );
}

vector_tests!(run);
