//! A node with Lua services from a temporary directory, for tests.
//!
//! Lua code reports through the log: `skynet.core.error(...)` lines are
//! collected by a log service of the test.

#![allow(dead_code)]

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use skynet_core::{Context, Driver, InitError, Message, Node, NodeBuilder, Service, SimEnd, ptype};

/// A log line: who wrote it, and the text.
pub type Line = (u32, String);

#[derive(Default)]
struct Lines {
    all: Mutex<Vec<Line>>,
    changed: Condvar,
}

struct Collector(Arc<Lines>);

impl Service for Collector {
    fn init(&mut self, _: &Context, _: Option<&[u8]>) -> Result<(), InitError> {
        Ok(())
    }

    fn dispatch(&mut self, _: &Context, message: Message) {
        if message.kind() == ptype::TEXT {
            let text = String::from_utf8_lossy(message.payload.as_slice()).into_owned();
            self.0.all.lock().push((message.source, text));
            self.0.changed.notify_all();
        }
    }
}

/// A directory that is removed at the end.
pub struct Dir(pub PathBuf);

impl Dir {
    pub fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("skynet-lua-{}-{n}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn write(&self, name: &str, text: &str) {
        let path = self.0.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A node under test.
pub struct TestNode {
    pub node: Arc<Node>,
    lines: Arc<Lines>,
    pub dir: Dir,
}

/// How long a threaded test waits before it fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// Starts a node whose first service is `main` among `files` (name, text; names are
/// relative to the test's directory, services are looked for there).
pub fn start(files: &[(&str, &str)], driver: Driver) -> TestNode {
    start_with(files, driver, |builder| builder)
}

/// As [`start`], with changes to the builder.
pub fn start_with(
    files: &[(&str, &str)],
    driver: Driver,
    change: impl FnOnce(NodeBuilder) -> NodeBuilder,
) -> TestNode {
    let dir = Dir::new();
    for (name, text) in files {
        dir.write(name, text);
    }
    let lines = Arc::new(Lines::default());
    let sink = lines.clone();
    let builder = Node::builder()
        .env("thread", "2")
        .env("harbor", "0")
        .env("bootstrap", "snlua main")
        .env("logservice", "collector")
        .env("luaservice", dir.path("?.lua"))
        .env("lua_path", dir.path("?.lua"))
        .env("lua_cpath", dir.path("?.so"))
        .driver(driver)
        .module("collector", move || {
            Ok(Box::new(Collector(sink.clone())) as Box<dyn Service>)
        });
    let builder = change(builder);
    let node = skynet_lua::install(builder).build().unwrap();
    node.start().unwrap();
    TestNode { node, lines, dir }
}

/// Starts a node whose builder has all keys but the log service.
pub fn start_builder(builder: NodeBuilder, driver: Driver) -> TestNode {
    let lines = Arc::new(Lines::default());
    let sink = lines.clone();
    let builder = builder.driver(driver).module("logger", move || {
        Ok(Box::new(Collector(sink.clone())) as Box<dyn Service>)
    });
    let node = skynet_lua::install(builder).build().unwrap();
    node.start().unwrap();
    TestNode {
        node,
        lines,
        dir: Dir::new(),
    }
}

impl TestNode {
    /// Waits until there is a new log line, or the time has passed.
    pub fn wait_for_change(&self, most: Duration) {
        let mut lines = self.lines.all.lock();
        self.lines.changed.wait_for(&mut lines, most);
    }

    /// Lets a node of the deterministic driver run for this many centiseconds.
    pub fn run_for(&self, centiseconds: u64) -> SimEnd {
        self.node
            .sim()
            .expect("a node of the deterministic driver")
            .run_for(centiseconds)
    }

    /// Waits until a log line contains `text`, and returns it.
    pub fn wait_for(&self, text: &str) -> String {
        if self.node.sim().is_some() {
            self.run_for(100_000);
        }
        let mut lines = self.lines.all.lock();
        loop {
            if let Some((_, line)) = lines.iter().find(|(_, line)| line.contains(text)) {
                return line.clone();
            }
            let late = self.node.sim().is_some()
                || self
                    .lines
                    .changed
                    .wait_for(&mut lines, PATIENCE)
                    .timed_out();
            assert!(!late, "no log line with {text:?} in {:#?}", *lines);
        }
    }

    /// Waits until a log line contains one of `texts`; returns the line.
    pub fn wait_for_any(&self, texts: &[&str]) -> String {
        if self.node.sim().is_some() {
            self.run_for(100_000);
        }
        let mut lines = self.lines.all.lock();
        loop {
            let found = lines
                .iter()
                .find(|(_, line)| texts.iter().any(|text| line.contains(text)));
            if let Some((_, line)) = found {
                return line.clone();
            }
            let late = self.node.sim().is_some()
                || self
                    .lines
                    .changed
                    .wait_for(&mut lines, PATIENCE)
                    .timed_out();
            assert!(!late, "none of {texts:?} in {:#?}", *lines);
        }
    }

    /// All log lines so far.
    pub fn lines(&self) -> Vec<Line> {
        self.lines.all.lock().clone()
    }

    /// The texts so far of the lines that start with `prefix`, without it.
    pub fn texts(&self, prefix: &str) -> Vec<String> {
        self.lines()
            .iter()
            .filter_map(|(_, line)| line.strip_prefix(prefix).map(str::to_owned))
            .collect()
    }

    /// Ends the node and waits for it.
    pub fn stop(self) -> Vec<Line> {
        self.node.abort();
        match self.node.sim() {
            Some(sim) => {
                sim.run();
            }
            None => assert!(self.node.wait_timeout(PATIENCE), "the node does not stop"),
        }
        self.lines()
    }
}

/// Both drivers, for tests that hold under both.
pub const DRIVERS: [Driver; 2] = [Driver::Threads, Driver::Sim { seed: 7 }];

/// A file of measured vectors.
pub fn vectors(name: &str) -> serde_json::Value {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/vectors")
        .join(name);
    let text = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap()
}

/// The text of a JSON string.
pub fn text(value: &serde_json::Value) -> &str {
    value.as_str().expect("a string")
}

/// A text as a Lua string literal.
pub fn literal(text: &str) -> String {
    let mut out = String::from("\"");
    for byte in text.bytes() {
        out.push_str(&format!("\\{byte:03}"));
    }
    out.push('"');
    out
}
