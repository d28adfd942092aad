//! Services for the tests: closures as services, and a collector of what they report.

#![allow(dead_code)]

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use parking_lot::Mutex;
use skynet_core::{Context, Driver, InitError, Message, Node, NodeBuilder, Service};

type Init = dyn Fn(&Context, &str) -> Result<(), InitError> + Send + Sync;
type Dispatch = dyn Fn(&Context, Message) + Send + Sync;

/// A service made of two closures; reports its release on a channel.
struct Closures {
    init: Arc<Init>,
    dispatch: Arc<Dispatch>,
    released: Option<Sender<String>>,
}

impl Service for Closures {
    fn init(&mut self, context: &Context, args: Option<&[u8]>) -> Result<(), InitError> {
        (self.init)(context, &String::from_utf8_lossy(args.unwrap_or_default()))
    }

    fn dispatch(&mut self, context: &Context, message: Message) {
        (self.dispatch)(context, message);
    }
}

impl Drop for Closures {
    fn drop(&mut self) {
        if let Some(sender) = &self.released {
            let _ = sender.send("released".to_owned());
        }
    }
}

/// Adds a module whose services are made of closures.
pub fn module(
    builder: NodeBuilder,
    name: &str,
    init: impl Fn(&Context, &str) -> Result<(), InitError> + Send + Sync + 'static,
    dispatch: impl Fn(&Context, Message) + Send + Sync + 'static,
) -> NodeBuilder {
    with_release(builder, name, None, init, dispatch)
}

/// The same, with a channel that hears of releases.
pub fn with_release(
    builder: NodeBuilder,
    name: &str,
    released: Option<Sender<String>>,
    init: impl Fn(&Context, &str) -> Result<(), InitError> + Send + Sync + 'static,
    dispatch: impl Fn(&Context, Message) + Send + Sync + 'static,
) -> NodeBuilder {
    let init: Arc<Init> = Arc::new(init);
    let dispatch: Arc<Dispatch> = Arc::new(dispatch);
    let released = Mutex::new(released);
    builder.module(name, move || {
        Ok(Box::new(Closures {
            init: init.clone(),
            dispatch: dispatch.clone(),
            released: released.lock().clone(),
        }) as Box<dyn Service>)
    })
}

/// A log service that hands its lines to the test.
pub fn collect_log(builder: NodeBuilder) -> (NodeBuilder, Receiver<String>) {
    let (sender, receiver) = channel();
    let sender = Mutex::new(sender);
    let builder = module(
        builder,
        "collect",
        |_, _| Ok(()),
        move |_, message| {
            let _ = sender.lock().send(format!(
                "[:{:08x}] {}",
                message.source,
                String::from_utf8_lossy(message.payload.as_slice())
            ));
        },
    )
    .env("logservice", "collect");
    (builder, receiver)
}

/// A builder for tests: harbor 0, so that handles are small numbers.
pub fn builder() -> NodeBuilder {
    Node::builder().env("harbor", "0").env("thread", "2")
}

/// A builder for the deterministic driver.
pub fn sim(seed: u64) -> NodeBuilder {
    builder().driver(Driver::Sim { seed })
}

/// Waits for the node's end; panics after a generous while.
pub fn wait(node: &Node) {
    assert!(
        node.wait_timeout(Duration::from_secs(60)),
        "the node did not stop: {} services left",
        node.live_services()
    );
}

/// All lines that were logged (after the node's end).
pub fn lines(receiver: &Receiver<String>) -> Vec<String> {
    receiver.try_iter().collect()
}
