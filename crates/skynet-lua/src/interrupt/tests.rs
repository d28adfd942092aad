//! Reports of endless loops, without waiting for the monitor's period.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use skynet_core::{Context, Endless, Hooks, InitError, Message, Node, Service, ptype};

use super::LoopReporter;

/// The log of a node.
#[derive(Default)]
struct Log {
    lines: Mutex<Vec<String>>,
    changed: Condvar,
}

struct Collector(Arc<Log>);

impl Service for Collector {
    fn init(&mut self, _: &Context, _: Option<&[u8]>) -> Result<(), InitError> {
        Ok(())
    }

    fn dispatch(&mut self, _: &Context, message: Message) {
        let text = String::from_utf8_lossy(message.payload.as_slice()).into_owned();
        self.0.lines.lock().push(text);
        self.0.changed.notify_all();
    }
}

impl Log {
    fn wait_for(&self, text: &str) -> String {
        let mut lines = self.lines.lock();
        loop {
            if let Some(line) = lines.iter().find(|line| line.contains(text)) {
                return line.clone();
            }
            let late = self
                .changed
                .wait_for(&mut lines, Duration::from_secs(60))
                .timed_out();
            assert!(!late, "no line with {text:?} in {lines:#?}");
        }
    }
}

/// Runs `main` as the only service; its handle is 2.
fn start(name: &str, main: &str) -> (Arc<Node>, Arc<Log>, PathBuf) {
    let dir = std::env::temp_dir().join(format!("skynet-lua-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("main.lua"), main).unwrap();
    let log = Arc::new(Log::default());
    let sink = log.clone();
    let node = crate::install(Node::builder())
        .env("thread", "2")
        .env("harbor", "0")
        .env("bootstrap", "snlua main")
        .env("luaservice", format!("{}/?.lua", dir.display()))
        .module("logger", move || {
            Ok(Box::new(Collector(sink.clone())) as Box<dyn Service>)
        })
        .build()
        .unwrap();
    node.start().unwrap();
    (node, log, dir)
}

fn report(kind: u8, session: i32) -> Endless {
    Endless {
        handle: 2,
        source: 9,
        kind,
        session,
        thread: 0,
    }
}

#[test]
fn the_report_shows_where_the_lua_code_is() {
    let (node, log, dir) = start(
        "loop",
        r#"local core = require "skynet.core"
local function spin()
	core.error "spinning"
	while true do end
end
local function outer()
	spin()
	return 1
end
core.error(pcall(outer))
"#,
    );
    log.wait_for("spinning");
    LoopReporter.endless(&node, &report(ptype::LUA, 7));
    let line = log.wait_for("error: endless loop in :00000002");
    assert!(
        line.contains("message type 10 session 7 from :00000009"),
        "{line}"
    );
    assert!(line.contains("main.lua:4: in "), "{line}");
    assert!(line.contains("main.lua:7: in "), "{line}");
    // It goes on undisturbed, until it is interrupted.
    node.context(2).unwrap().command(b"SIGNAL", Some(b":2 0"));
    log.wait_for("signal 0");
    node.abort();
    node.wait();
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn the_report_says_that_it_is_inside_c() {
    let (node, log, dir) = start(
        "stuck",
        r#"local core = require "skynet.core"
local blocked = io.popen "sleep 2"
core.error "blocking"
blocked:read "a"
blocked:close()
core.error "free"
"#,
    );
    log.wait_for("blocking");
    LoopReporter.endless(&node, &report(ptype::TEXT, 0));
    let line = log.wait_for("error: endless loop in :00000002");
    assert!(line.ends_with("it is inside a C function"), "{line}");
    log.wait_for("free");
    // A service that is gone, or is not a Lua one: nothing to report.
    let gone = Endless {
        handle: 99,
        ..report(ptype::TEXT, 0)
    };
    LoopReporter.endless(&node, &gone);
    let reports = || {
        let lines = log.lines.lock();
        lines.iter().filter(|l| l.contains("endless loop")).count()
    };
    assert_eq!(reports(), 1);
    node.abort();
    node.wait();
    std::fs::remove_dir_all(dir).unwrap();
}
