//! Text commands of services, and the texts that the native Lua modules take,
//! each input on a node of its own under the deterministic driver.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Once};

use skynet_core::{
    Context, Driver, InitError, Message, Node, NodeBuilder, Payload, Service, SimEnd, ptype,
};
use skynet_net::Net;

/// Longer inputs find nothing that shorter ones do not.
const LONGEST: usize = 4096;

/// The most commands of one input.
const COMMANDS: usize = 60;

/// Centiseconds of virtual time that an input gets.
const TIME: u64 = 500;

/// Panics of the process so far. The runtime catches those of a service, so a
/// target must look here.
static PANICS: AtomicUsize = AtomicUsize::new(0);

fn count_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            PANICS.fetch_add(1, Ordering::Relaxed);
            before(info);
        }));
    });
}

/// A directory for message logs and services, removed at its end.
struct Dir(PathBuf);

impl Dir {
    fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("skynet-command-{}-{count}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).expect("the temporary directory can be written");
        Self(path)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Keeps the lines of the log. Stands in for `logger`, which opens the file that it is told.
struct Collector(Arc<Mutex<Vec<String>>>);

impl Service for Collector {
    fn init(&mut self, _: &Context, _: Option<&[u8]>) -> Result<(), InitError> {
        Ok(())
    }

    fn dispatch(&mut self, _: &Context, message: Message) {
        let text = String::from_utf8_lossy(message.payload.as_slice()).into_owned();
        self.0.lock().expect("not poisoned").push(text);
    }
}

/// Runs the commands that a text message holds.
struct Subject;

impl Service for Subject {
    fn init(&mut self, _: &Context, args: Option<&[u8]>) -> Result<(), InitError> {
        match args {
            Some(b"fail") => Err(InitError::new("as it was told")),
            _ => Ok(()),
        }
    }

    fn dispatch(&mut self, context: &Context, message: Message) {
        if message.kind() == ptype::TEXT {
            let lines = message.payload.as_slice().split(|&byte| byte == b'\n');
            lines.take(COMMANDS).for_each(|line| command(context, line));
        }
    }
}

/// A node and what it has logged.
struct Bed {
    node: Arc<Node>,
    lines: Arc<Mutex<Vec<String>>>,
    _dir: Dir,
}

impl Bed {
    /// A node whose first service is `bootstrap`. No input can name a file that is written:
    /// the keys that say where are set, and a key that is set stays.
    fn new(bootstrap: &str, main: Option<&str>) -> Self {
        count_panics();
        let dir = Dir::new();
        if let Some(main) = main {
            std::fs::write(dir.0.join("main.lua"), main).expect("a file of ours");
        }
        let path = |name: &str| dir.0.join(name).display().to_string();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let sink = lines.clone();
        let net = Net::new();
        let builder = Node::builder()
            .driver(Driver::Sim { seed: 1 })
            .component(net.clone())
            .extension(net);
        let builder: NodeBuilder = skynet_lua::install(builder)
            .env("thread", "1")
            .env("harbor", "0")
            .env("bootstrap", bootstrap)
            .env("logpath", path(""))
            .env("cpath", path("?.so"))
            .env("luaservice", path("?.lua"))
            .env("lua_path", path("?.lua"))
            .env("lua_cpath", path("?.so"))
            .module("logger", move || {
                Ok(Box::new(Collector(sink.clone())) as Box<dyn Service>)
            })
            .module("subject", || Ok(Box::new(Subject) as Box<dyn Service>));
        let node = builder.build().expect("valid keys");
        node.start().expect("the node starts");
        Self {
            node,
            lines,
            _dir: dir,
        }
    }

    /// Gives `data` to service 2 in a message of each of these types, lets the node
    /// run after each, ends it.
    fn run(self, data: &[u8], kinds: &[u8]) -> Vec<String> {
        let panics = PANICS.load(Ordering::Relaxed);
        let sim = self.node.sim().expect("the deterministic driver");
        sim.run_for(0);
        for &kind in kinds {
            let message = Message::new(0, 0, kind, Payload::from_slice(data));
            self.node.push(2, message).expect("service 2 lives");
            sim.run_for(TIME);
        }
        self.node.abort();
        let end = sim.run_for(TIME);
        let lines = std::mem::take(&mut *self.lines.lock().expect("not poisoned"));
        assert_eq!(PANICS.load(Ordering::Relaxed), panics, "{lines:#?}");
        assert_eq!(end, SimEnd::Stopped, "{lines:#?}");
        lines
    }
}

/// Whether a text is `:hex`.
fn is_handle(text: &[u8]) -> bool {
    let hex = text.strip_prefix(b":").unwrap_or_default();
    !hex.is_empty() && hex.iter().all(u8::is_ascii_hexdigit)
}

/// One command, `NAME` or `NAME PARAMETER`; checks what can be said of its result.
fn command(context: &Context, line: &[u8]) {
    let at = line.iter().position(|&byte| byte == b' ');
    let name = &line[..at.unwrap_or(line.len())];
    let parameter = at.map(|at| &line[at + 1..]);
    // A node that launches for ever is no finding.
    if name == b"LAUNCH" && context.node().live_services() > 30 {
        return;
    }
    let key = parameter.and_then(|text| text.split(|&byte| byte == b' ').next());
    let before = key.and_then(|key| context.node().env().get(key));
    let result = context.command(name, parameter);
    let text = result.as_deref();
    let good = match (name, text) {
        (b"QUERY" | b"LAUNCH" | b"MONITOR", Some(text)) => is_handle(text),
        (b"TIMEOUT" | b"STARTTIME", Some(text)) => {
            !text.is_empty() && text.iter().all(u8::is_ascii_digit)
        }
        (b"EXIT" | b"KILL" | b"SETENV" | b"ABORT" | b"LOGON" | b"LOGOFF" | b"SIGNAL", text) => {
            text.is_none()
        }
        _ => true,
    };
    assert!(good, "{:?}: {text:?}", String::from_utf8_lossy(line));
    if let (b"SETENV", Some(key)) = (name, key) {
        let after = context.node().env().get(key);
        match before {
            Some(_) => assert_eq!(after, before, "a key that was set has changed"),
            None => {
                let text = parameter.unwrap_or_default();
                let text = text.split(|&byte| byte == 0).next().unwrap_or_default();
                let value = text.iter().position(|&byte| byte == b' ');
                assert_eq!(after.as_deref(), value.map(|at| &text[at + 1..]));
            }
        }
    }
}

/// Arbitrary commands of a service, one a line: the node lives and ends in order.
pub fn fuzz_command(data: &[u8]) {
    let data = &data[..data.len().min(LONGEST)];
    Bed::new("subject", None).run(data, &[ptype::TEXT]);
}

/// The service that tries an input on the native modules.
const MAIN: &str = include_str!("texts.lua");

/// Arbitrary text as the argument of the functions of `skynet.core`, `skynet.socketdriver` and
/// `skynet.netpack`: a result or an error, and the byte queue and the framing agree with plain strings.
pub fn fuzz_core_text(data: &[u8]) {
    let data = &data[..data.len().min(LONGEST)];
    let lines = Bed::new("snlua main", Some(MAIN)).run(data, &[ptype::TEXT, ptype::CLIENT]);
    let broken: Vec<_> = lines
        .iter()
        .filter(|line| line.starts_with("BROKEN"))
        .collect();
    assert!(broken.is_empty(), "{broken:#?}");
    let done = lines.iter().any(|line| line == "DONE");
    assert!(done, "{lines:#?}");
}
