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

vector_tests! {
    run
    order "e01_order"
    arguments "e02_args"
    wakeup "e03_wakeup"
    call "e04_call"
    response "e05_response"
    exit "e06_exit"
    kill "e07_kill"
    select "e08_select"
    queue "e09_queue"
    coroutine "e10_coroutine"
    protocols "e11_proto"
    services "e12_service"
    require "e13"
    service "e14_svc"
    misc "e15_misc"
    core "e16_core"
    snax "e17_snax"
    trace "e18_trace"
    launcher "e19_launcher"
    debug_protocol "e20_debugproto"
    forward "e21_forward"
    mqueue "e22_mqueue"
    harbor "e23_harbor"
    memory_limit "e24_memlimit"
    monitor "e25_monitor"
    simple_monitor "e26_simplemonitor"
    endless "e27_endless"
    service_path "e30"
    service_name_with_slash "sub/svc"
    snax_interface "e31_snaxg"
    main_chunk "e41_mainchunk"
    errors "e42_errors"
    bounce "e43_bounce"
    malformed "e45_malformed"
    kill_after_answer "e47_killrep"
    channel_and_profile "e44_channel"
}
