//! Signals: orderly stop, twice, during the start; reopening the log; daemon mode.

mod util;

use std::fs;
use std::time::{Duration, Instant};

use util::{Dir, PATIENCE, Process, run};

const READY: &str =
    "local skynet = require 'skynet' skynet.start(function() skynet.error 'READY' end)";

/// Never gives its worker back.
const ENDLESS: &str = "local skynet = require 'skynet'
skynet.start(function() skynet.error 'READY' while true do end end)";

#[test]
fn term_and_int_end_the_node_in_order() {
    for signal in [libc::SIGTERM, libc::SIGINT] {
        let dir = Dir::new();
        // The finalizer shows that the VM was closed, not lost.
        dir.service(
            "local skynet = require 'skynet'
            KEEP = setmetatable({}, { __gc = function() io.open('closed', 'w'):close() end })
            skynet.start(function() skynet.error 'READY' end)",
            "",
        );
        let mut node = Process::start(dir.path(), &["config"]);
        node.expect("READY");
        node.signal(signal);
        assert_eq!(node.wait().code(), Some(0));
        assert!(dir.file("closed").exists());
        node.expect("received, stopping");
    }
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let dir = Dir::new();
    dir.service(ENDLESS, "");
    let mut node = Process::start(dir.path(), &["config"]);
    node.expect("READY");
    node.signal(libc::SIGTERM);
    node.expect("SIGTERM received, stopping");
    node.signal(libc::SIGTERM);
    assert_eq!(node.wait().code(), Some(128 + libc::SIGTERM));
}

#[test]
fn a_signal_during_the_start_ends_it_in_order() {
    // At many moments: each process must end, by the signal itself before it is
    // caught or in order after.
    for step in 0..60 {
        let dir = Dir::new();
        dir.service(READY, "");
        let mut node = Process::start(dir.path(), &["config"]);
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_micros(200 * step) {
            std::hint::spin_loop();
        }
        node.signal(libc::SIGTERM);
        let status = node.wait();
        let by_signal = std::os::unix::process::ExitStatusExt::signal(&status);
        assert!(
            status.code() == Some(0) || by_signal == Some(libc::SIGTERM),
            "{status} after step {step}:\n{}",
            node.output()
        );
    }
}

fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn hup_reopens_the_log_file() {
    let dir = Dir::new();
    dir.service(READY, "logger = \"./log\"");
    let mut node = Process::start(dir.path(), &["config"]);
    wait_until("READY in the log", || dir.read("log").contains("READY"));
    fs::rename(dir.file("log"), dir.file("log.1")).expect("renamed");
    node.signal(libc::SIGHUP);
    wait_until("a new log file", || dir.file("log").exists());
    node.signal(libc::SIGTERM);
    assert_eq!(node.wait().code(), Some(0));
    assert!(
        dir.read("log").contains("SIGTERM received"),
        "{}",
        dir.read("log")
    );
    assert!(
        !dir.read("log.1").contains("SIGTERM"),
        "{}",
        dir.read("log.1")
    );
    // dd/mm/yy HH:MM:SS.cc [:handle] text
    let log = dir.read("log");
    let line = log.lines().next().expect("a line");
    assert_eq!(&line[2..3], "/", "{line}");
    assert_eq!(&line[20..22], " [", "{line}");
}

fn daemon_pid(dir: &Dir) -> Option<i32> {
    dir.read("pid").trim().parse().ok()
}

#[test]
fn a_daemon_detaches_and_keeps_its_pid_file_locked() {
    let dir = Dir::new();
    dir.service(READY, "daemon = \"./pid\"\nlogger = \"./log\"");
    let parent = run(dir.path(), &["config"]);
    assert_eq!(parent.status.code(), Some(0), "{}", parent.stderr);
    wait_until("READY in the log", || dir.read("log").contains("READY"));
    let pid = daemon_pid(&dir).expect("a process id");
    let second = run(dir.path(), &["config"]);
    assert_eq!(second.status.code(), Some(1));
    assert_eq!(
        second.stderr,
        format!("Skynet is already running, pid = {pid}.\n")
    );
    for (fd, name) in [(0, "stdin"), (1, "stdout"), (2, "stderr")] {
        let target = fs::read_link(format!("/proc/{pid}/fd/{fd}")).expect("open");
        assert_eq!(target.to_str(), Some("/dev/null"), "{name}");
    }
    // SAFETY: signals the daemon this test has started.
    assert_eq!(unsafe { libc::kill(pid, libc::SIGTERM) }, 0);
    wait_until("the pid file is removed", || !dir.file("pid").exists());
}

#[test]
fn an_old_pid_file_is_no_obstacle() {
    let dir = Dir::new();
    // No process has this id: it is above any pid_max.
    dir.service(READY, "daemon = \"./pid\"\nlogger = \"./log\"")
        .write("pid", "2000000000\n");
    assert_eq!(run(dir.path(), &["config"]).status.code(), Some(0));
    wait_until("READY in the log", || dir.read("log").contains("READY"));
    let pid = daemon_pid(&dir).expect("only the new process id is in it");
    // SAFETY: signals the daemon this test has started.
    assert_eq!(unsafe { libc::kill(pid, libc::SIGTERM) }, 0);
    wait_until("the pid file is removed", || !dir.file("pid").exists());
}

#[test]
fn a_pid_file_that_cannot_be_made_is_an_error() {
    let dir = Dir::new();
    dir.service(READY, "daemon = \"./no/dir/pid\"");
    let run = run(dir.path(), &["config"]);
    assert_eq!(run.status.code(), Some(1));
    assert_eq!(run.stderr, "Can't create pidfile [./no/dir/pid].\n");
}
