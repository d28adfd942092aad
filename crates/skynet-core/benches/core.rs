//! Figures of the core alone, with services in Rust: one `name value unit` line each.
//!
//! `cargo bench -p skynet-core`

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use skynet_core::{Context, InitError, Message, Node, NodeBuilder, Payload, Service, ptype};

/// A service made of a closure.
struct Closure<F>(F);

impl<F: FnMut(&Context, Message) + Send> Service for Closure<F> {
    fn init(&mut self, context: &Context, _args: Option<&[u8]>) -> Result<(), InitError> {
        context.timeout(0, 0);
        Ok(())
    }

    fn dispatch(&mut self, context: &Context, message: Message) {
        (self.0)(context, message);
    }
}

fn module<F>(
    builder: NodeBuilder,
    name: &str,
    make: impl Fn() -> F + Send + Sync + 'static,
) -> NodeBuilder
where
    F: FnMut(&Context, Message) + Send + 'static,
{
    builder.module(name, move || {
        Ok(Box::new(Closure(make())) as Box<dyn Service>)
    })
}

fn run(builder: NodeBuilder, threads: &str) -> Duration {
    let node = builder
        .env("thread", threads)
        .env("harbor", "0")
        .env("bootstrap", "boot")
        .env("logger", "/dev/null")
        .quiet_launch()
        .build()
        .expect("the node can be built");
    let began = Instant::now();
    node.start().expect("the node starts");
    node.wait();
    began.elapsed()
}

fn report(name: &str, value: f64, unit: &str) {
    println!("{name} {value:.0} {unit}");
}

/// `pairs` callers, each with an echo of its own, `calls` calls each.
fn calls(name: &str, threads: &str, pairs: u64, calls: i32) {
    let left = Arc::new(AtomicU64::new(pairs));
    let b = module(Node::builder(), "echo", || {
        |cx: &Context, m: Message| {
            if m.source != 0 {
                let _ = cx.send(m.source, ptype::RESPONSE, m.session, m.payload);
            }
        }
    });
    let b = module(b, "caller", move || {
        let left = left.clone();
        let mut echo = 0;
        let mut done = 0;
        move |cx: &Context, m: Message| {
            if m.source == 0 {
                echo = cx.node().launch("echo", None).expect("launched");
            } else {
                done += 1;
            }
            if done == calls {
                if left.fetch_sub(1, Ordering::Relaxed) == 1 {
                    cx.node().abort();
                }
                return;
            }
            let _ = cx.send(
                echo,
                ptype::LUA,
                cx.new_session(),
                Payload::from("0123456789"),
            );
        }
    });
    let b = module(b, "boot", move || {
        move |cx: &Context, _: Message| {
            for _ in 0..pairs {
                cx.node().launch("caller", None).expect("launched");
            }
        }
    });
    let time = run(b, threads);
    report(
        name,
        pairs as f64 * f64::from(calls) / time.as_secs_f64(),
        "calls/s",
    );
}

/// Four producers and one consumer.
fn fan_in(name: &str, threads: &str, count: u64) {
    let b = module(Node::builder(), "consumer", move || {
        let mut got = 0;
        move |cx: &Context, m: Message| {
            got += u64::from(m.source != 0);
            if got == 4 * count {
                cx.node().abort();
            }
        }
    });
    let b = module(b, "producer", move || {
        move |cx: &Context, _: Message| {
            for _ in 0..count {
                let _ = cx.send(3, ptype::LUA, 0, Payload::from("12345"));
            }
        }
    });
    let b = module(b, "boot", || {
        |cx: &Context, _: Message| {
            assert_eq!(cx.node().launch("consumer", None), Ok(3));
            for _ in 0..4 {
                cx.node().launch("producer", None).expect("launched");
            }
        }
    });
    let time = run(b, threads);
    report(name, 4.0 * count as f64 / time.as_secs_f64(), "messages/s");
}

fn spawn(count: u64) {
    let b = module(Node::builder(), "trivial", || |_: &Context, _: Message| {});
    let b = module(b, "boot", move || {
        move |cx: &Context, _: Message| {
            for _ in 0..count {
                cx.node().launch("trivial", None).expect("launched");
            }
            cx.node().abort();
        }
    });
    report(
        "spawn",
        count as f64 / run(b, "2").as_secs_f64(),
        "services/s",
    );
}

fn timers(count: i32) {
    let b = module(Node::builder(), "boot", move || {
        let mut fired = -1;
        move |cx: &Context, _: Message| {
            fired += 1;
            if fired == 0 {
                for i in 0..count {
                    cx.timeout(1 + i % 10, i);
                }
            } else if fired == count {
                cx.node().abort();
            }
        }
    });
    report(
        "timers",
        f64::from(count) / run(b, "2").as_secs_f64(),
        "timers/s",
    );
}

fn main() {
    calls("pingpong_1", "1", 1, 1_000_000);
    calls("pingpong_2", "2", 1, 1_000_000);
    calls("pairs_1", "1", 100, 20_000);
    calls("pairs_2", "2", 100, 20_000);
    calls("pairs_8", "8", 100, 20_000);
    fan_in("fanin_1", "1", 500_000);
    fan_in("fanin_2", "2", 500_000);
    spawn(200_000);
    timers(500_000);
}
