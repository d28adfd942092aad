//! A node that has nothing to do does nothing.

mod util;

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use util::{Dir, Process};

/// Context switches of each thread so far, by id, with its name.
fn switches(pid: u32) -> BTreeMap<String, (String, u64)> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("the process runs");
    tasks
        .filter_map(|task| {
            let path = task.ok()?.path();
            let name = fs::read_to_string(path.join("comm")).ok()?;
            let status = fs::read_to_string(path.join("status")).ok()?;
            let count = status
                .lines()
                .filter(|line| line.contains("ctxt_switches"))
                .filter_map(|line| line.split_whitespace().last()?.parse::<u64>().ok())
                .sum();
            let id = path.file_name()?.to_str()?.to_owned();
            Some((id, (name.trim().to_owned(), count)))
        })
        .collect()
}

/// What has changed, but for the monitor: "name: switches".
fn busy(
    before: &BTreeMap<String, (String, u64)>,
    after: &BTreeMap<String, (String, u64)>,
) -> Vec<String> {
    after
        .iter()
        .filter(|(_, (name, _))| name != "monitor")
        .filter_map(|(id, (name, count))| {
            let old = before.get(id).map_or(0, |(_, count)| *count);
            (*count != old).then(|| format!("{name}: {}", count - old))
        })
        .collect()
}

#[test]
fn an_idle_node_makes_no_context_switches() {
    let dir = Dir::new();
    dir.write(
        "worker.lua",
        "local skynet = require 'skynet' skynet.start(function() skynet.dispatch('lua', print) end)",
    );
    dir.service(
        "local skynet = require 'skynet'
        skynet.start(function()
            for _ = 1, 100 do skynet.newservice 'worker' end
            skynet.error 'READY'
        end)",
        "",
    );
    let mut node = Process::start(dir.path(), &["config"]);
    node.expect("READY");
    // What follows a start (collecting garbage once) may take its time.
    let mut before = switches(node.id());
    for attempt in 0.. {
        std::thread::sleep(Duration::from_secs(2));
        let now = switches(node.id());
        let busy = busy(&before, &now);
        if busy.is_empty() {
            break;
        }
        assert!(attempt < 30, "it never comes to rest: {busy:?}");
        before = now;
    }
    let before = switches(node.id());
    std::thread::sleep(Duration::from_secs(10));
    let after = switches(node.id());
    assert_eq!(busy(&before, &after), Vec::<String>::new());
    let monitor: u64 = after
        .iter()
        .filter(|(_, (name, _))| name == "monitor")
        .map(|(id, (_, count))| count - before.get(id).map_or(0, |(_, count)| *count))
        .sum();
    assert!(
        monitor <= 12,
        "the monitor switched {monitor} times in 10 s"
    );
    node.signal(libc::SIGTERM);
    assert_eq!(node.wait().code(), Some(0));
}
