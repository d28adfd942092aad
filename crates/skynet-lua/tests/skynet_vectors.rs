//! Small services with the output that upstream gives: vectors/lua-semantics.json.
//!
//! Every service prints lines that start with `T` and logs; both are compared
//! with what upstream printed and logged. Where we differ on purpose, the
//! difference is in [`ACCEPTED`], with its reason.
mod common;
#[path = "common/vector_cases.rs"]
mod vector_cases;

use vector_cases::{Difference, In, vector_tests};

const FRAMES: &str = "frames of upstream's Lua library are not in tracebacks: ours is native";
const NO_LEAK: &str =
    "upstream leaks the session of a sleeper whose token is taken (spec 02 §23.4)";
const SWALLOWED: &str = "the timer of a killed coroutine is swallowed (spec 02 §23.5)";
const CAUSE: &str = "an error reply carries its cause as payload";
const LAUNCH: &str = "the cause of a failed launch is logged, upstream writes it to stderr";
const REFUSED: &str = "a request that cannot be unpacked, or whose answer cannot be sent, is refused at once (spec 02 §23.2)";
const MQUEUE: &str = "upstream's mqueue has bugs here (spec 02 §23.25)";
const PRINT: &str = "the print of injected code shows all values (spec 02 §23.33)";

const ACCEPTED: &[Difference] = &[
    (
        "e02_args",
        In::Log,
        "[:00000008] lua call [0 to :8 : ",
        "[:00000008] lua call [0 to :8 : 8 msgsz = 0] error : \x1b[31mattempt to call a nil value*",
        FRAMES,
    ),
    ("e03_wakeup", In::T, "tasks\t3", "tasks\t2", NO_LEAK),
    ("e03_wakeup", In::T, "D2 wait\ttrue", "", NO_LEAK),
    ("e03_wakeup", In::T, "D2 elapsed<10\ttrue", "", NO_LEAK),
    (
        "e07_kill",
        In::Log,
        "[:00000008] Response message : ",
        "",
        SWALLOWED,
    ),
    (
        "e07_kill",
        In::Log,
        "[:00000008] lua call [0 to :8 : 11",
        "",
        SWALLOWED,
    ),
    (
        "e07_kill",
        In::Log,
        "[:00000009] Response message : ",
        "",
        SWALLOWED,
    ),
    (
        "e07_kill",
        In::Log,
        "[:00000009] lua call [0 to :9 : 2 ",
        "",
        SWALLOWED,
    ),
    (
        "e07_kill",
        In::Log,
        "[:00000008] Response message : ",
        "",
        SWALLOWED,
    ),
    (
        "e07_kill",
        In::Log,
        "[:00000008] lua call [0 to :8 : 13",
        "",
        SWALLOWED,
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
        "e15_misc",
        In::T,
        "time\tinteger",
        "time\tinteger\tinteger\tfloat\tinteger\tfalse",
        "of this test, not of the product: the deterministic driver has a date of its own",
    ),
    (
        "e16_core",
        In::Log,
        "",
        "[:00000008] error: launch nosuchmodule : *",
        LAUNCH,
    ),
    (
        "e19_launcher",
        In::Log,
        "",
        "[:00000003] error: launch nosuch : *",
        LAUNCH,
    ),
    (
        "e20_debugproto",
        In::T,
        "RUN\ttrue\ttrue\tout\t1",
        "RUN\ttrue\ttrue\tout\t1\tnil\ttrue\ta\tb",
        PRINT,
    ),
    (
        "e20_debugproto",
        In::T,
        "RUN env\ttrue\ttrue\t",
        "RUN env\ttrue\ttrue\tnil",
        PRINT,
    ),
    ("e22_mqueue", In::T, "run\tb", "run\tb\tnil\t1", MQUEUE),
    (
        "e22_mqueue",
        In::Log,
        "[:00000009] Maybe forgot response session 3",
        "",
        MQUEUE,
    ),
    (
        "e22_mqueue",
        In::Log,
        "[:00000009] Maybe forgot response session 4",
        "",
        MQUEUE,
    ),
    (
        "e22_mqueue",
        In::Log,
        "[:00000009] Maybe forgot response session 5",
        "",
        MQUEUE,
    ),
    (
        "e22_mqueue",
        In::Log,
        "[:00000009] lua call [0 to :9 : 9 ",
        "[:00000009] lua call [0 to :9 : * msgsz = 0] error : * send a message to [:9] return something",
        MQUEUE,
    ),
    (
        "e22_mqueue",
        In::Log,
        "[:00000009] lua call [0 to :9 : 10 ",
        "[:00000009] lua call [0 to :9 : * msgsz = 0] error : * send a message to [:9] throw an error : *",
        MQUEUE,
    ),
    (
        "e24_memlimit",
        In::Log,
        "[:0000000a] Memory warning 40.04 M",
        "[:0000000a] Memory warning 40.*",
        "the value depends on the allocator (notes of the case)",
    ),
    (
        "e24_memlimit",
        In::Log,
        "[:0000000a] Memory warning 80.04 M",
        "[:0000000a] Memory warning 80.*",
        "the value depends on the allocator (notes of the case)",
    ),
    (
        "e27_endless",
        In::Log,
        "",
        "[:00000009] error: endless loop in :00000009, *",
        "the warning shows what the service is doing",
    ),
    (
        "e41_mainchunk",
        In::Log,
        "[:0000000a] Response message : \x06",
        "[:0000000a] Response message : *snlua*",
        "packed tables have no fixed order",
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
    (
        "e47_killrep",
        In::T,
        "kill replied\tfalse",
        "kill replied\ttrue\tthread: *",
        "a coroutine that has answered can be killed (spec 02 §23.5)",
    ),
    (
        "e47_killrep",
        In::T,
        "replied coroutine finished",
        "",
        "a coroutine that has answered can be killed (spec 02 §23.5)",
    ),
];
fn run(name: &str) {
    vector_cases::run(name, ACCEPTED, &[]);
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
