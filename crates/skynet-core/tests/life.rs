//! Life of services and of the node, under the deterministic driver.

mod common;

use std::sync::Arc;
use std::sync::mpsc::channel;

use common::{builder, collect_log, lines, module, sim, with_release};
use parking_lot::Mutex;
use skynet_core::{
    Context, InitError, LaunchError, Message, Node, Payload, SendError, Service, SignalTarget,
    SimEnd, StartError, ptype,
};

#[test]
fn log_service_has_handle_1_and_launch_lines_come_from_the_new_service() {
    let (b, log) = collect_log(sim(1));
    let b = module(
        b,
        "boot",
        |cx, args| {
            cx.log(format!("init {args}"));
            Ok(())
        },
        |_, _| {},
    );
    let node = b.env("bootstrap", "boot a  b ").build().unwrap();
    node.start().unwrap();
    assert_eq!(node.sim().unwrap().run(), SimEnd::Idle);
    assert_eq!(
        lines(&log),
        ["[:00000002] init a  b ", "[:00000002] LAUNCH boot a  b "]
    );
    assert_eq!(node.find_name(b"logger"), Some(1));
}

#[test]
fn a_failed_init_retires_the_handle_and_answers_what_was_queued() {
    let errors = Arc::new(Mutex::new(Vec::new()));
    let seen = errors.clone();
    let (b, log) = collect_log(sim(1));
    let b = module(
        b,
        "bad",
        |cx, _| {
            // To itself: it will never be read.
            cx.node()
                .send(2, cx.handle(), ptype::LUA, 7, Payload::from("x"))
                .unwrap();
            Err(InitError::new("no"))
        },
        |_, _| {},
    );
    let b = module(
        b,
        "boot",
        |cx, _| {
            let result = cx.node().launch("bad", Some(b"arg"));
            assert_eq!(result, Err(LaunchError::Init(InitError::new("no"))));
            Ok(())
        },
        move |_, m| {
            seen.lock()
                .push((m.kind(), m.session, m.source, m.payload.len()))
        },
    );
    let node = b.env("bootstrap", "boot").build().unwrap();
    node.start().unwrap();
    node.sim().unwrap().run();
    let got = errors.lock().clone();
    assert_eq!(got.len(), 1);
    assert_eq!((got[0].0, got[0].1, got[0].2), (ptype::ERROR, 7, 3));
    assert!(lines(&log).contains(&"[:00000003] error: launch bad FAILED".to_owned()));
}

#[test]
fn start_errors_are_told_apart() {
    let text = |b: skynet_core::NodeBuilder| {
        let node = b.build()?;
        node.start()
    };
    assert_eq!(
        text(builder().env("thread", "0")),
        Err(StartError::Threads(0))
    );
    assert_eq!(
        text(builder().env("thread", "1025"))
            .unwrap_err()
            .to_string(),
        "Invalid thread 1025 , should be in [1,1024]"
    );
    let error = text(builder().env("logservice", "nosuch")).unwrap_err();
    assert!(error.to_string().starts_with("Can't launch nosuch service"));
    let error = text(builder().env("bootstrap", "nosuch foo bar")).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("Bootstrap error : nosuch foo bar")
    );
}

#[test]
fn sends_to_the_dead_fail_and_queued_messages_are_answered() {
    let replies = Arc::new(Mutex::new(Vec::new()));
    let seen = replies.clone();
    let b = module(sim(3), "sink", |_, _| Ok(()), |_, _| {});
    let b = module(
        b,
        "boot",
        |cx, _| {
            let node = cx.node();
            let sink = node.launch("sink", None).unwrap();
            for (kind, session) in [
                (ptype::LUA, 5),
                (ptype::TEXT, 0),
                (ptype::RESPONSE, 6),
                (ptype::ERROR, 8),
            ] {
                cx.send(sink, kind, session, Payload::from("q")).unwrap();
            }
            assert!(node.retire(sink));
            assert!(!node.retire(sink));
            assert_eq!(
                cx.send(sink, ptype::LUA, 9, Payload::null()),
                Err(SendError::Dead)
            );
            assert_eq!(
                cx.send(0, ptype::LUA, 9, Payload::null()),
                Err(SendError::NoDestination)
            );
            assert_eq!(
                cx.send(0x0500_0001, ptype::LUA, 9, Payload::null()),
                Err(SendError::NoHarbor)
            );
            assert_eq!(
                cx.send_name(b".nobody", 0, ptype::LUA, 1, Payload::null()),
                Err(SendError::Dead)
            );
            Ok(())
        },
        move |_, m| seen.lock().push((m.kind(), m.session, m.source)),
    );
    let node = b.env("bootstrap", "boot").build().unwrap();
    node.start().unwrap();
    node.sim().unwrap().run();
    // Requests and sends are answered, unread answers are not bounced.
    assert_eq!(
        *replies.lock(),
        [(ptype::ERROR, 5, 3), (ptype::ERROR, 0, 3)]
    );
}

#[test]
fn handles_follow_the_measured_allocation() {
    // spec/vectors/core-handle-alloc.json
    let text = include_str!("handle_alloc.txt");
    let b = module(sim(1), "boot", |_, _| Ok(()), |_, _| {});
    let b = module(b, "s", |_, _| Ok(()), |_, _| {});
    let node = b.env("bootstrap", "boot").build().unwrap();
    node.start().unwrap();
    for _ in 3..=8 {
        node.launch("s", None).unwrap();
    }
    for line in text.lines() {
        let (op, handle) = line.split_once(' ').unwrap();
        let handle: u32 = handle.parse().unwrap();
        match op {
            "launch" => assert_eq!(node.launch("s", None), Ok(handle), "{line}"),
            // The vectors also kill handles that nobody has.
            _ => {
                node.retire(handle);
            }
        }
    }
}

#[test]
fn a_panic_ends_only_its_service_and_its_caller_hears_of_it() {
    let got = Arc::new(Mutex::new(Vec::new()));
    let seen = got.clone();
    let (tx, released) = channel();
    let (b, log) = collect_log(sim(1));
    let b = with_release(b, "bomb", Some(tx), |_, _| Ok(()), |_, _| panic!("boom"));
    let b = module(
        b,
        "boot",
        |cx, _| {
            let bomb = cx.node().launch("bomb", None).unwrap();
            cx.send(bomb, ptype::LUA, 4, Payload::null()).unwrap();
            Ok(())
        },
        move |_, m| {
            let text = String::from_utf8_lossy(m.payload.as_slice()).into_owned();
            seen.lock().push((m.kind(), m.session, text));
        },
    );
    let node = b.env("bootstrap", "boot").build().unwrap();
    node.start().unwrap();
    node.sim().unwrap().run();
    assert_eq!(
        *got.lock(),
        [(
            ptype::ERROR,
            4,
            "service :00000003 panicked: boom".to_owned()
        )]
    );
    assert_eq!(released.try_iter().count(), 1);
    assert!(lines(&log).iter().any(|l| l.contains("panicked: boom")));
}

#[test]
fn abort_writes_what_was_logged_before_it_stops() {
    for seed in 0..20 {
        let (b, log) = collect_log(sim(seed));
        let b = module(
            b,
            "boot",
            |cx, _| {
                for i in 0..50 {
                    cx.log(format!("line {i}"));
                }
                cx.node().abort();
                assert_eq!(cx.node().launch("boot", None), Err(LaunchError::Stopping));
                Ok(())
            },
            |_, _| {},
        );
        let node = b.env("bootstrap", "boot").build().unwrap();
        node.start().unwrap();
        assert_eq!(node.sim().unwrap().run(), SimEnd::Stopped);
        assert_eq!(lines(&log).len(), 51, "seed {seed}");
        assert_eq!(node.live_services(), 0);
        assert_eq!(node.handles(), []);
        assert_eq!(node.find_name(b"logger"), None);
    }
}

#[test]
fn timers_of_an_hour_pass_in_a_moment_and_keep_their_order() {
    let fired = Arc::new(Mutex::new(Vec::new()));
    let seen = fired.clone();
    let b = module(
        sim(1),
        "boot",
        |cx, _| {
            cx.timeout(360_000, 1);
            cx.timeout(100, 2);
            cx.timeout(0, 3);
            cx.timeout(-5, 4);
            Ok(())
        },
        move |cx, m| {
            assert_eq!((m.kind(), m.source), (ptype::RESPONSE, 0));
            seen.lock().push((m.session, cx.node().now()));
            if m.session == 2 {
                cx.timeout(359_900, 5);
            }
        },
    );
    let node = b.env("bootstrap", "boot").build().unwrap();
    node.start().unwrap();
    assert_eq!(node.sim().unwrap().run(), SimEnd::Idle);
    assert_eq!(
        *fired.lock(),
        [(3, 0), (4, 0), (2, 100), (1, 360_000), (5, 360_000)]
    );
}

#[test]
fn one_seed_gives_one_trace_and_another_seed_another() {
    let run = |seed: u64| {
        let b = module(
            sim(seed).record_trace(),
            "node",
            |_, _| Ok(()),
            |cx, m| {
                let peers = &cx.node().handles()[2..];
                if m.session < 200 {
                    let next = peers[cx.node().random() as usize % peers.len()];
                    let _ = cx.send(next, ptype::LUA, m.session + 1, Payload::from("hop"));
                    cx.timeout((m.session % 3) + 1, 1_000_000);
                }
            },
        );
        let b = module(
            b,
            "boot",
            |cx, _| {
                for _ in 0..8 {
                    let peer = cx.node().launch("node", None).unwrap();
                    cx.send(peer, ptype::LUA, 1, Payload::null()).unwrap();
                }
                Ok(())
            },
            |_, _| {},
        );
        let node = b.env("bootstrap", "boot").build().unwrap();
        node.start().unwrap();
        node.sim().unwrap().run();
        node.trace().unwrap().entries()
    };
    let first = run(42);
    assert!(first.len() > 1000);
    assert_eq!(first, run(42));
    assert_ne!(first, run(43));
}

#[test]
fn a_node_that_was_never_stopped_releases_its_services_when_dropped() {
    let (tx, released) = channel();
    let b = with_release(sim(1), "boot", Some(tx), |_, _| Ok(()), |_, _| {});
    let node: Arc<Node> = b.env("bootstrap", "boot").build().unwrap();
    node.start().unwrap();
    drop(node);
    assert_eq!(released.try_iter().count(), 1);
}

#[test]
fn a_panic_before_init_fails_the_launch_only() {
    struct Odd;
    impl Service for Odd {
        fn init(&mut self, _: &Context, _: Option<&[u8]>) -> Result<(), InitError> {
            Ok(())
        }
        fn dispatch(&mut self, _: &Context, _: Message) {}
        fn signal_target(&self) -> Option<Arc<dyn SignalTarget>> {
            panic!("no target")
        }
    }
    let b = sim(1)
        .module("create", || panic!("no service"))
        .module("odd", || Ok(Box::new(Odd) as Box<dyn Service>));
    let b = module(
        b,
        "boot",
        |cx, _| {
            let node = cx.node();
            assert_eq!(
                node.launch("create", None),
                Err(LaunchError::Create(InitError::new("no service")))
            );
            assert_eq!(
                node.launch("odd", None),
                Err(LaunchError::Init(InitError::new("no target")))
            );
            // Neither has left anything that would keep the node alive.
            node.abort();
            Ok(())
        },
        |_, _| {},
    );
    let node = b.env("bootstrap", "boot").build().unwrap();
    node.start().unwrap();
    assert_eq!(node.sim().unwrap().run(), SimEnd::Stopped);
}

#[test]
fn a_service_can_end_itself_in_its_init() {
    let (tx, released) = channel();
    let (b, log) = collect_log(sim(1));
    let b = with_release(
        b,
        "brief",
        Some(tx),
        |cx, _| {
            cx.exit();
            assert_eq!(
                cx.send(cx.handle(), ptype::LUA, 1, Payload::null()),
                Err(SendError::Dead)
            );
            Ok(())
        },
        |_, _| panic!("nothing can be sent to it"),
    );
    let b = module(
        b,
        "boot",
        |cx, _| {
            assert_eq!(cx.node().launch("brief", None), Ok(3));
            assert!(cx.node().context(3).is_none());
            Ok(())
        },
        |_, _| {},
    );
    let node = b.env("bootstrap", "boot").build().unwrap();
    node.start().unwrap();
    assert_eq!(node.sim().unwrap().run(), SimEnd::Idle);
    assert_eq!(released.try_iter().count(), 1);
    assert_eq!(node.live_services(), 2);
    assert_eq!(
        lines(&log),
        [
            "[:00000003] KILL self",
            "[:00000003] LAUNCH brief ",
            "[:00000002] LAUNCH boot "
        ]
    );
}

#[test]
fn a_service_that_misbehaves_while_a_node_is_dropped_harms_nobody() {
    struct Rude(std::sync::mpsc::Sender<()>);
    impl Drop for Rude {
        fn drop(&mut self) {
            let _ = self.0.send(());
            panic!("in a release");
        }
    }
    impl Service for Rude {
        fn init(&mut self, _: &Context, _: Option<&[u8]>) -> Result<(), InitError> {
            Ok(())
        }
        fn dispatch(&mut self, _: &Context, _: Message) {}
    }
    let (tx, released) = channel();
    let sender = Mutex::new(tx);
    let b = sim(1).module("rude", move || {
        Ok(Box::new(Rude(sender.lock().clone())) as Box<dyn Service>)
    });
    let node = b.env("bootstrap", "rude").build().unwrap();
    node.start().unwrap();
    node.launch("rude", None).unwrap();
    drop(node);
    assert_eq!(released.try_iter().count(), 2);
}

#[test]
fn a_code_given_to_the_first_abort_is_the_exit_code() {
    let b = module(
        sim(1),
        "boot",
        |cx, _| {
            cx.node().abort_with(3);
            cx.node().abort_with(4);
            cx.node().abort();
            Ok(())
        },
        |_, _| {},
    );
    let node = b.env("bootstrap", "boot").build().unwrap();
    node.start().unwrap();
    assert_eq!(node.sim().unwrap().run(), SimEnd::Stopped);
    assert_eq!(node.exit_code(), 3);
}
