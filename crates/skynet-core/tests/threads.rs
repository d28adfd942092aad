//! The same core on worker threads: ordering, exclusiveness, wake-ups, under load.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::time::Duration;

use common::{builder, collect_log, lines, module, wait};
use parking_lot::Mutex;
use skynet_core::{Payload, SendError, ptype};

/// Messages from each sender arrive in order, and a callback never runs twice at a time,
/// with more workers than cores and everybody sending to everybody.
#[test]
fn order_per_sender_and_no_concurrency_per_service() {
    const SERVICES: u32 = 12;
    const ROUNDS: i32 = 3_000;
    for threads in ["1", "2", "8", "40"] {
        struct Peer {
            busy: AtomicBool,
            last: [AtomicI32; 64],
        }
        let peers: Arc<Vec<Peer>> = Arc::new(
            (0..64)
                .map(|_| Peer {
                    busy: AtomicBool::new(false),
                    last: [const { AtomicI32::new(0) }; 64],
                })
                .collect(),
        );
        let received = Arc::new(AtomicUsize::new(0));
        let total = (SERVICES * SERVICES) as usize * ROUNDS as usize;
        let (seen, count) = (peers.clone(), received.clone());
        let b = module(
            builder().env("thread", threads),
            "peer",
            |_, _| Ok(()),
            move |cx, m| {
                let me = &seen[cx.handle() as usize];
                assert!(!me.busy.swap(true, Ordering::Acquire), "runs twice");
                if m.kind() == ptype::TEXT {
                    for i in 1..=ROUNDS {
                        for to in 3..3 + SERVICES {
                            cx.send(to, ptype::LUA, i, Payload::from("some bytes"))
                                .unwrap();
                        }
                    }
                } else {
                    let last = &me.last[m.source as usize];
                    assert_eq!(last.load(Ordering::Relaxed) + 1, m.session, "out of order");
                    last.store(m.session, Ordering::Relaxed);
                    if count.fetch_add(1, Ordering::Relaxed) + 1 == total {
                        cx.node().abort();
                    }
                }
                me.busy.store(false, Ordering::Release);
            },
        );
        let b = module(
            b,
            "boot",
            |cx, _| {
                let peers: Vec<_> = (0..SERVICES)
                    .map(|_| cx.node().launch("peer", None).unwrap())
                    .collect();
                assert_eq!(peers, (3..3 + SERVICES).collect::<Vec<_>>());
                for peer in peers {
                    cx.send(peer, ptype::TEXT, 0, Payload::null()).unwrap();
                }
                Ok(())
            },
            |_, _| {},
        );
        let (b, _log) = collect_log(b);
        let node = b.env("bootstrap", "boot").build().unwrap();
        node.start().unwrap();
        wait(&node);
        assert_eq!(received.load(Ordering::Relaxed), total, "messages lost");
    }
}

/// A service that was woken by a worker whose callback then runs long is taken over by another worker.
#[test]
fn what_waits_behind_a_long_callback_is_taken_by_another_worker() {
    let (tx, rx) = channel::<()>();
    let rx = Mutex::new(rx);
    let tx = Mutex::new(tx);
    let b = module(
        builder(),
        "helper",
        |_, _| Ok(()),
        move |_, _| tx.lock().send(()).unwrap(),
    );
    let b = module(
        b,
        "boot",
        |cx, _| {
            let helper = cx.node().launch("helper", None).unwrap();
            cx.timeout(0, helper as i32);
            Ok(())
        },
        move |cx, m| {
            // Runs on a worker: the helper goes into this worker's own slot.
            cx.send(m.session as u32, ptype::LUA, 0, Payload::null())
                .unwrap();
            // Only the helper can end this callback.
            rx.lock()
                .recv_timeout(Duration::from_secs(30))
                .expect("the helper was not run while this callback blocks");
            cx.node().abort();
        },
    );
    let node = b.env("bootstrap", "boot").build().unwrap();
    node.start().unwrap();
    wait(&node);
}

/// Services are born, sent to and killed from many threads; every request gets an answer or an error.
#[test]
fn requests_to_services_that_die_are_all_answered() {
    const REQUESTS: i32 = 20_000;
    let answered = Arc::new(AtomicI32::new(0));
    let refused = Arc::new(AtomicI32::new(0));
    let (count, dead) = (answered.clone(), refused.clone());
    let b = module(
        builder().env("thread", "8"),
        "mayfly",
        |_, _| Ok(()),
        |cx, m| {
            cx.send(m.source, ptype::RESPONSE, m.session, Payload::null())
                .unwrap();
            cx.node().retire(cx.handle());
        },
    );
    let (c2, d2) = (answered.clone(), refused.clone());
    let b = module(
        b,
        "boot",
        |cx, _| {
            cx.timeout(0, 0);
            Ok(())
        },
        move |cx, m| {
            if m.source == 0 {
                let mut session = 0;
                while session < REQUESTS {
                    let mayfly = cx.node().launch("mayfly", None).unwrap();
                    for _ in 0..4 {
                        session += 1;
                        match cx.send(mayfly, ptype::LUA, session, Payload::from("request")) {
                            Ok(()) => {}
                            Err(SendError::Dead) => {
                                d2.fetch_add(1, Ordering::Relaxed);
                            }
                            Err(error) => panic!("{error}"),
                        }
                    }
                }
            } else {
                c2.fetch_add(1, Ordering::Relaxed);
            }
            if count.load(Ordering::Relaxed) + dead.load(Ordering::Relaxed) == REQUESTS {
                cx.node().abort();
            }
        },
    );
    let (b, _log) = collect_log(b.quiet_launch());
    let node = b.env("bootstrap", "boot").build().unwrap();
    node.start().unwrap();
    wait(&node);
    assert!(answered.load(Ordering::Relaxed) > 0);
}

/// The timer thread wakes a sleeping node, again and again.
#[test]
fn timers_wake_an_idle_node() {
    let turns = Arc::new(AtomicU64::new(0));
    let seen = turns.clone();
    let b = module(
        builder(),
        "boot",
        |cx, _| {
            cx.timeout(1, 1);
            Ok(())
        },
        move |cx, m| {
            seen.fetch_add(1, Ordering::Relaxed);
            if m.session == 30 {
                cx.node().abort();
            } else {
                cx.timeout(1, m.session + 1);
            }
        },
    );
    let node = b.env("bootstrap", "boot").build().unwrap();
    node.start().unwrap();
    wait(&node);
    assert_eq!(turns.load(Ordering::Relaxed), 30);
}

/// Notices from foreign threads are delivered, coalesced, and are not messages.
#[test]
fn notices_are_not_messages() {
    struct Listener;
    impl skynet_core::Service for Listener {
        fn init(
            &mut self,
            _: &skynet_core::Context,
            _: Option<&[u8]>,
        ) -> Result<(), skynet_core::InitError> {
            Ok(())
        }
        fn dispatch(&mut self, _: &skynet_core::Context, _: skynet_core::Message) {}
        fn notified(&mut self, cx: &skynet_core::Context, bits: u8) {
            assert_eq!(cx.stat().message_count, 0);
            if bits & 2 != 0 {
                cx.node().abort();
            }
        }
    }
    let b = builder().module("boot", || {
        Ok(Box::new(Listener) as Box<dyn skynet_core::Service>)
    });
    let node = b.env("bootstrap", "boot").build().unwrap();
    node.start().unwrap();
    for _ in 0..100 {
        node.notify(2, 1);
    }
    assert!(node.notify(2, 2));
    assert!(!node.notify(99, 1));
    wait(&node);
}

/// An overloaded mailbox is reported once per doubling.
#[test]
fn overload_is_logged_by_the_service() {
    let b = module(
        builder().env("thread", "1"),
        "boot",
        |cx, _| {
            for i in 0..3001 {
                cx.send(cx.handle(), ptype::LUA, i, Payload::null())
                    .unwrap();
            }
            Ok(())
        },
        |cx, m| {
            if m.session == 3000 {
                cx.node().abort();
            }
        },
    );
    let (b, log) = collect_log(b);
    let node = b.env("bootstrap", "boot").build().unwrap();
    node.start().unwrap();
    wait(&node);
    assert_eq!(
        lines(&log)
            .iter()
            .filter(|l| l.contains("May overload"))
            .collect::<Vec<_>>(),
        ["[:00000002] error: May overload, message queue length = 3000"]
    );
}

/// An abort that runs while other threads launch leaves nothing that keeps the node alive.
#[test]
fn abort_while_services_are_launched_from_several_threads() {
    for _ in 0..50 {
        let b = module(builder(), "s", |_, _| Ok(()), |_, _| {});
        let (b, _log) = collect_log(b.quiet_launch());
        let node = b.env("bootstrap", "s").build().unwrap();
        node.start().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    while node.launch("s", None).is_ok() {}
                    node.abort();
                });
            }
            scope.spawn(|| {
                while node.live_services() < 20 {
                    std::thread::yield_now();
                }
                // From several threads at once.
                node.abort();
            });
        });
        wait(&node);
    }
}
