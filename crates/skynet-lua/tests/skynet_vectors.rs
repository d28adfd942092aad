//! Small services with the output that upstream gives: vectors/lua-semantics.json.
//!
//! Every service prints lines that start with `T` and logs; both are compared
//! with what upstream printed and logged. Where we differ on purpose, the
//! difference is in [`ACCEPTED`] or [`COMMON`], with its reason.

mod common;
#[path = "common/vector_cases.rs"]
mod vector_cases;

use vector_cases::{COMMON, Difference, In, vector_tests};

const FRAMES: &str = "frames of upstream's Lua library are not in tracebacks: ours is native";
const CAUSE: &str = "an error reply carries its cause as payload";
const REFUSED: &str = "a request that cannot be unpacked, or whose answer cannot be sent, is refused at once (spec 02 §23.2)";

const ACCEPTED: &[Difference] = &[
    (
        "e02_args",
        In::Log,
        "[:00000008] lua call [0 to :8 : ",
        "[:00000008] lua call [0 to :8 : 8 msgsz = 0] error : \x1b[31mattempt to call a nil value*",
        FRAMES,
    ),
    (
        "e14_svc",
        In::Log,
        "[:00000009] lua call [b to :9 : 5 ",
        "[:00000009] lua call [b to :9 : 5 msgsz = *] error : \x1b[31m*call failed",
        CAUSE,
    ),
    (
        "e15_misc",
        In::T,
        "thread: PTR session: 7 => ",
        "thread: PTR session: 7 => stack traceback:\\n\t[C]: in field 'sleep'\\n\t./my/e15_misc.lua:35: in function <./my/e15_misc.lua:35>",
        FRAMES,
    ),
    (
        "e15_misc",
        In::T,
        "uniq\t1\tsessions:[A]\\n\tstack traceback:\\n\t[C]",
        "uniq\t1\tsessions:[A]\\n\tstack traceback:\\n\t[C]: in field 'sleep'\\n\t./my/e15_misc.lua:*",
        FRAMES,
    ),
    (
        "e15_misc",
        In::T,
        "uniq\t1\tsessions:[A]\\n\tstack traceback:\\n\t[C]",
        "uniq\t1\tsessions:[A]\\n\tstack traceback:\\n\t[C]: in field 'sleep'\\n\t./my/e15_misc.lua:*",
        FRAMES,
    ),
    (
        "e45_malformed",
        In::T,
        "",
        "pending until the peer is reported dead: malformed request\tfalse\t*: call failed",
        REFUSED,
    ),
    (
        "e45_malformed",
        In::T,
        "",
        "pending until the peer is reported dead: no unpack\tfalse\t*: call failed",
        REFUSED,
    ),
    ("e45_malformed", In::T, "tasks\t3", "tasks\t1", REFUSED),
    (
        "e45_malformed",
        In::T,
        "peer reported dead\tfalse",
        "pending until the peer is reported dead: retnum\tfalse\t*: call failed",
        "calls to a dead peer fail in the order in which they were made",
    ),
    (
        "e45_malformed",
        In::T,
        "pending until the peer is reported dead: retnum\tfalse",
        "peer reported dead\tfalse\t*: call failed",
        "calls to a dead peer fail in the order in which they were made",
    ),
    (
        "e45_malformed",
        In::T,
        "pending until the peer is reported dead: malformed request\tfalse",
        "",
        REFUSED,
    ),
    (
        "e45_malformed",
        In::T,
        "pending until the peer is reported dead: no unpack\tfalse",
        "",
        REFUSED,
    ),
];
fn run(name: &str) {
    vector_cases::run(name, &[COMMON, ACCEPTED].concat(), &[]);
}

vector_tests!(run);
