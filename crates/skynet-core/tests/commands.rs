//! Text commands: results, log lines, notices, message logs (spec/01-core.md §10, §12.4).

mod common;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use common::{collect_log, lines, module, sim};
use parking_lot::Mutex;
use skynet_core::{Context, InitError, Message, Payload, Service, SignalTarget, SimEnd, ptype};

/// Runs `body` in the init of the bootstrap service (:2), then the node until it is idle.
/// Returns what was logged.
fn in_boot(
    builder: skynet_core::NodeBuilder,
    body: impl Fn(&Context) + Send + Sync + 'static,
) -> Vec<String> {
    let (builder, log): (_, Receiver<String>) = collect_log(builder);
    let builder = module(
        builder,
        "boot",
        move |cx, _| {
            body(cx);
            Ok(())
        },
        |_, _| {},
    );
    let node = builder
        .env("bootstrap", "boot")
        .quiet_launch()
        .build()
        .unwrap();
    node.start().unwrap();
    assert_eq!(node.sim().unwrap().run(), SimEnd::Idle);
    lines(&log)
}

fn text(result: Option<Vec<u8>>) -> Option<String> {
    result.map(|bytes| String::from_utf8(bytes).unwrap())
}

fn run(cx: &Context, name: &str, parameter: &str) -> Option<String> {
    text(cx.command(name.as_bytes(), Some(parameter.as_bytes())))
}

/// A directory that is removed at the end.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("skynet-core-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn launch_takes_a_word_and_the_rest_of_its_line() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let args = seen.clone();
    let b = sim(1).module("echo", move || {
        struct Echo(Arc<Mutex<Vec<Option<String>>>>);
        impl Service for Echo {
            fn init(&mut self, _: &Context, args: Option<&[u8]>) -> Result<(), InitError> {
                self.0
                    .lock()
                    .push(args.map(|a| String::from_utf8_lossy(a).into_owned()));
                Ok(())
            }
            fn dispatch(&mut self, _: &Context, _: Message) {}
        }
        Ok(Box::new(Echo(args.clone())) as Box<dyn Service>)
    });
    let log = in_boot(b, |cx| {
        assert_eq!(run(cx, "LAUNCH", "echo"), Some(":00000003".into()));
        assert_eq!(run(cx, "LAUNCH", "echo "), Some(":00000004".into()));
        assert_eq!(
            run(cx, "LAUNCH", "echo  a\tb \r\nrest"),
            Some(":00000005".into())
        );
        assert_eq!(
            run(cx, "LAUNCH", "echo\nnext line"),
            Some(":00000006".into())
        );
        assert_eq!(run(cx, "LAUNCH", "echo\tx"), Some(":00000007".into()));
        assert_eq!(run(cx, "LAUNCH", "nosuch x"), None);
        assert_eq!(run(cx, "LAUNCH", ""), None);
        assert_eq!(text(cx.command(b"LAUNCH", None)), None);
    });
    let some = |s: &str| Some(s.to_owned());
    assert_eq!(
        *seen.lock(),
        [None, some(""), some(" a\tb "), some("next line"), some("x")]
    );
    assert!(log[0].contains("error: launch nosuch : "), "{log:?}");
}

#[test]
fn exit_and_kill_tell_the_monitor_first() {
    let notices = Arc::new(Mutex::new(Vec::new()));
    let seen = notices.clone();
    let b = module(
        sim(1),
        "monitor",
        |_, _| Ok(()),
        move |cx, m| {
            seen.lock().push((
                m.kind(),
                m.session,
                m.source,
                m.payload.is_null(),
                cx.node().context(m.source).is_some(),
            ));
        },
    );
    let b = module(b, "exits", |_, _| Ok(()), |cx, _| cx.exit());
    let log = in_boot(b, |cx| {
        assert_eq!(run(cx, "LAUNCH", "monitor"), Some(":00000003".into()));
        assert_eq!(text(cx.command(b"MONITOR", None)), None);
        assert_eq!(run(cx, "NAME", ".m :3"), Some("m".into()));
        assert_eq!(run(cx, "MONITOR", ".m"), None);
        assert_eq!(run(cx, "MONITOR", ""), Some(":3".into()));
        assert_eq!(run(cx, "LAUNCH", "exits"), Some(":00000004".into()));
        cx.send(4, ptype::LUA, 0, Payload::null()).unwrap();
        assert_eq!(run(cx, "LAUNCH", "exits"), Some(":00000005".into()));
        assert_eq!(run(cx, "KILL", ":5"), None);
        assert_eq!(run(cx, "KILL", ":abcd"), None);
        assert_eq!(run(cx, "KILL", ":0"), None);
        assert_eq!(run(cx, "KILL", ".nobody"), None);
        assert_eq!(run(cx, "KILL", "nobody"), None);
    });
    assert_eq!(
        *notices.lock(),
        [5, 0xabcd, 4].map(|source| (ptype::CLIENT, 0, source, true, false))
    );
    assert_eq!(
        log,
        [
            "[:00000002] KILL :5",
            "[:00000002] KILL :abcd",
            "[:00000002] error: Can't convert nobody to handle",
            "[:00000004] KILL self",
        ]
    );
}

#[test]
fn an_address_that_is_none_clears_the_monitor() {
    let log = in_boot(sim(1), |cx| {
        for clears in [":0", ".nobody", "text"] {
            assert_eq!(run(cx, "MONITOR", ":2"), None);
            assert_eq!(run(cx, "MONITOR", ""), Some(":2".into()));
            assert_eq!(run(cx, "MONITOR", clears), None);
            assert_eq!(run(cx, "MONITOR", ""), None, "{clears}");
        }
    });
    assert_eq!(log, ["[:00000002] error: Can't convert text to handle"]);
}

#[test]
fn names_are_bound_once_and_go_with_their_service() {
    let b = module(sim(1), "s", |_, _| Ok(()), |_, _| {});
    let log = in_boot(b, |cx| {
        assert_eq!(run(cx, "REG", ""), Some(":2".into()));
        assert_eq!(text(cx.command(b"REG", None)), Some(":2".into()));
        assert_eq!(run(cx, "REG", ".me"), Some("me".into()));
        assert_eq!(run(cx, "REG", ".me"), None);
        assert_eq!(run(cx, "REG", "."), Some(String::new()));
        assert_eq!(run(cx, "REG", "global"), None);
        assert_eq!(run(cx, "QUERY", ".me"), Some(":2".into()));
        assert_eq!(run(cx, "QUERY", "me"), None);
        assert_eq!(run(cx, "LAUNCH", "s"), Some(":00000003".into()));
        assert_eq!(
            run(cx, "NAME", " \x0b.s\x0b:3 more words"),
            Some("s".into())
        );
        assert_eq!(run(cx, "NAME", ".s :2"), None);
        assert_eq!(run(cx, "NAME", ".t 2"), None);
        assert_eq!(run(cx, "NAME", ".t :0"), None);
        assert_eq!(run(cx, "NAME", ".t"), None);
        assert_eq!(run(cx, "NAME", "t :2"), None);
        assert_eq!(run(cx, "KILL", ".s"), None);
        assert_eq!(run(cx, "QUERY", ".s"), None);
        // A handle that nobody has keeps its name.
        assert_eq!(run(cx, "NAME", ".ghost :99"), Some("ghost".into()));
        assert_eq!(run(cx, "QUERY", ".ghost"), Some(":99".into()));
    });
    assert_eq!(
        log,
        [
            "[:00000002] error: Can't register global name global in C",
            "[:00000002] error: Can't set global name t in C",
            "[:00000002] KILL :3",
        ]
    );
}

#[test]
fn the_environment_is_set_once() {
    let log = in_boot(sim(1), |cx| {
        assert_eq!(run(cx, "SETENV", "k  a b"), None);
        assert_eq!(run(cx, "GETENV", "k"), Some(" a b".into()));
        assert_eq!(run(cx, "SETENV", "k other"), None);
        assert_eq!(run(cx, "GETENV", "k"), Some(" a b".into()));
        assert_eq!(run(cx, "SETENV", "nothing"), None);
        assert_eq!(run(cx, "GETENV", "nothing"), None);
        assert_eq!(run(cx, "SETENV", "empty "), None);
        assert_eq!(run(cx, "GETENV", "empty"), Some(String::new()));
        assert_eq!(run(cx, "GETENV", "thread"), Some("2".into()));
        assert_eq!(run(cx, "NOSUCH", "x"), None);
        assert_eq!(run(cx, "getenv", "k"), None);
    });
    assert_eq!(log, ["[:00000002] error: Can't setenv exist key : k"]);
}

#[test]
fn signals_carry_their_number() {
    struct Target(Arc<Mutex<Vec<(u32, i32)>>>);
    impl SignalTarget for Target {
        fn signal(&self, cx: &Context, signal: i32) {
            self.0.lock().push((cx.handle(), signal));
        }
    }
    struct Signalled(Arc<Target>);
    impl Service for Signalled {
        fn init(&mut self, _: &Context, _: Option<&[u8]>) -> Result<(), InitError> {
            Ok(())
        }
        fn dispatch(&mut self, _: &Context, _: Message) {}
        fn signal_target(&self) -> Option<Arc<dyn SignalTarget>> {
            Some(self.0.clone())
        }
    }
    let got = Arc::new(Mutex::new(Vec::new()));
    let target = Arc::new(Target(got.clone()));
    let b = sim(1).module("s", move || {
        Ok(Box::new(Signalled(target.clone())) as Box<dyn Service>)
    });
    in_boot(b, |cx| {
        assert_eq!(run(cx, "LAUNCH", "s"), Some(":00000003".into()));
        run(cx, "NAME", ".x :3");
        for parameter in [":3", ":3 9", ":3 0x10", ":3 010", ":3 -1", ".x"] {
            assert_eq!(run(cx, "SIGNAL", parameter), None);
        }
        // The whole rest is the name; nobody has it. Nor these.
        for parameter in [".x 5", ":77 5", "x"] {
            assert_eq!(run(cx, "SIGNAL", parameter), None);
        }
    });
    assert_eq!(*got.lock(), [0, 9, 16, 8, -1, 0].map(|signal| (3, signal)));
}

#[test]
fn statistics_of_the_service_itself() {
    let b = module(
        sim(1).env("profile", "false"),
        "s",
        |_, _| Ok(()),
        |cx, m| {
            if m.session == 1 {
                assert_eq!(run(cx, "STAT", "mqlen"), Some("2".into()));
                assert_eq!(run(cx, "STAT", "message"), Some("1".into()));
                assert_eq!(run(cx, "STAT", "endless"), Some("0".into()));
                assert_eq!(run(cx, "STAT", "cpu"), Some("0.000000".into()));
                assert_eq!(run(cx, "STAT", "time"), Some("0".into()));
                assert_eq!(run(cx, "STAT", "other"), Some(String::new()));
                cx.log("looked");
            }
        },
    );
    let log = in_boot(b, |cx| {
        let to = cx.node().launch("s", None).unwrap();
        for session in 1..=3 {
            cx.send(to, ptype::LUA, session, Payload::null()).unwrap();
        }
    });
    assert_eq!(log, ["[:00000003] looked"]);
}

#[test]
fn a_message_log_is_opened_written_and_closed() {
    let directory = Directory::new("msglog");
    let path = directory.0.clone();
    let file = path.join("00000003.log");
    let b = module(
        sim(1).env("logpath", path.to_str().unwrap()),
        "s",
        |_, _| Ok(()),
        |cx, m| {
            if m.session == 2 {
                run(cx, "LOGOFF", ":3");
            }
        },
    );
    let log = in_boot(b, |cx| {
        let to = cx.node().launch("s", None).unwrap();
        run(cx, "LOGON", ":3");
        run(cx, "LOGON", ":3");
        run(cx, "LOGON", ":99");
        for session in 1..=3 {
            cx.send(to, ptype::LUA, session, Payload::from("hi"))
                .unwrap();
        }
    });
    let content = std::fs::read_to_string(&file).unwrap();
    let mut content = content.lines();
    let first = content.next().unwrap();
    assert!(first.starts_with("open time: 0 "), "{first}");
    assert_eq!(
        content.collect::<Vec<_>>(),
        [
            ":00000002 10 1 0 6869",
            ":00000002 10 2 0 6869",
            "close time: 0"
        ]
    );
    assert_eq!(
        log,
        [
            format!("[:00000002] Open log file {}", file.display()),
            "[:00000003] Close log file :00000003".to_owned(),
        ]
    );
}

#[test]
fn a_message_log_ends_with_its_service() {
    let directory = Directory::new("msglog-end");
    let path = directory.0.clone();
    let b = module(
        sim(1).env("logpath", path.to_str().unwrap()),
        "s",
        |_, _| Ok(()),
        |cx, _| cx.exit(),
    );
    let log = in_boot(b, |cx| {
        let to = cx.node().launch("s", None).unwrap();
        run(cx, "LOGON", ":3");
        cx.send(to, ptype::LUA, 1, Payload::null()).unwrap();
    });
    assert!(!log.iter().any(|line| line.contains("Close")), "{log:?}");
    let content = std::fs::read_to_string(path.join("00000003.log")).unwrap();
    assert_eq!(content.lines().count(), 2, "{content}");
    assert!(content.ends_with(":00000002 10 1 0 \n"));
}

#[test]
fn a_message_log_that_cannot_be_opened_is_reported() {
    let b = sim(1).env("logpath", "/nonexistent/directory");
    let log = in_boot(b, |cx| {
        assert_eq!(run(cx, "LOGON", ":2"), None);
        assert_eq!(run(cx, "LOGOFF", ":2"), None);
    });
    assert_eq!(log.len(), 1);
    assert!(
        log[0].starts_with("[:00000002] Open log file /nonexistent/directory/00000002.log fail")
    );
}

#[test]
fn the_log_file_is_reopened_and_keeps_every_byte() {
    let directory = Directory::new("logger");
    let file = directory.0.join("node.log");
    let moved = directory.0.join("node.log.1");
    let (from, to) = (file.clone(), moved.clone());
    let blocked = file.clone();
    let b = module(
        sim(1).quiet_launch().env("logger", file.to_str().unwrap()),
        "boot",
        |cx, _| {
            cx.log(b"bytes \xff\0 end");
            assert_eq!(cx.command(b"KILL", Some(b"\xce\xde")), None);
            cx.timeout(100, 1);
            Ok(())
        },
        move |cx, m| {
            let node = cx.node();
            match m.session {
                1 => {
                    std::fs::rename(&from, &to).unwrap();
                    cx.send(1, ptype::SYSTEM, 0, Payload::null()).unwrap();
                    cx.log("in the new file");
                    cx.timeout(100, 2);
                }
                2 => {
                    // No file can be opened where a directory is: the old one stays in use.
                    std::fs::rename(&blocked, blocked.with_extension("2")).unwrap();
                    std::fs::create_dir(&blocked).unwrap();
                    cx.send(1, ptype::SYSTEM, 0, Payload::null()).unwrap();
                    cx.log("still there");
                    cx.timeout(100, 3);
                }
                _ => node.abort(),
            }
        },
    );
    let node = b.env("bootstrap", "boot").build().unwrap();
    node.start().unwrap();
    assert_eq!(node.sim().unwrap().run(), SimEnd::Stopped);
    let read = |path: &PathBuf| -> Vec<Vec<u8>> {
        let content = std::fs::read(path).unwrap();
        content
            .strip_suffix(b"\n")
            .unwrap()
            .split(|&b| b == b'\n')
            .map(|line| {
                // `dd/mm/yy HH:MM:SS.cc [:xxxxxxxx] text`
                let (stamp, text) = line.split_at(21);
                assert!(stamp.ends_with(b" ") && stamp[17] == b'.', "{stamp:?}");
                text.to_vec()
            })
            .collect()
    };
    assert_eq!(
        read(&moved),
        [
            &b"[:00000002] bytes \xff\0 end"[..],
            b"[:00000002] error: Can't convert \xce\xde to handle"
        ]
    );
    let second = read(&file.with_extension("2"));
    assert_eq!(second[0], b"[:00000002] in the new file");
    assert_eq!(second.len(), 3);
    assert!(second.contains(&b"[:00000002] still there".to_vec()));
    let reports = second
        .iter()
        .filter(|line| line.starts_with(b"[:00000001] error: Can't reopen log file"));
    assert_eq!(reports.count(), 1);
}

#[test]
fn a_log_file_that_cannot_be_opened_ends_the_start() {
    let node = sim(1)
        .env("logger", "/nonexistent/directory/node.log")
        .build()
        .unwrap();
    let error = node.start().unwrap_err().to_string();
    assert!(error.starts_with("Can't launch logger service"), "{error}");
    assert!(error.contains("/nonexistent/directory/node.log"), "{error}");
}
