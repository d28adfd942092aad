//! Signals become messages and an orderly stop.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;
use signal_hook::iterator::Signals as Iterator;
use skynet_core::{Node, Payload, ptype};

/// The signals that were caught and not yet delivered.
pub(crate) struct Signals {
    caught: Iterator,
}

impl Signals {
    /// Catches HUP, TERM and INT from now on. A second TERM or INT ends the
    /// process at once, whatever it is doing, with the exit code a shell gives
    /// for that signal.
    pub(crate) fn catch() -> io::Result<Self> {
        // First: a signal that comes before the rest is set up is delivered all the same.
        let caught = Iterator::new([SIGHUP, SIGTERM, SIGINT])?;
        let stop_asked = Arc::new(AtomicBool::new(false));
        for signal in [SIGTERM, SIGINT] {
            // Runs in the handler, before the flag is set that it looks at.
            flag::register_conditional_shutdown(signal, 128 + signal, stop_asked.clone())?;
            flag::register(signal, stop_asked.clone())?;
        }
        Ok(Self { caught })
    }

    /// Delivers what was caught and what comes to `node`, on a thread of its own.
    pub(crate) fn deliver_to(mut self, node: &Arc<Node>) -> io::Result<()> {
        let node = Arc::downgrade(node);
        std::thread::Builder::new()
            .name("signals".to_owned())
            .stack_size(64 << 10)
            .spawn(move || {
                for signal in self.caught.forever() {
                    let Some(node) = node.upgrade() else { return };
                    deliver(&node, signal);
                }
            })?;
        Ok(())
    }
}

fn deliver(node: &Node, signal: i32) {
    if signal == SIGHUP {
        if let Some(logger) = node.find_name(b"logger") {
            // A log service that has just ended needs no reopening.
            let _ = node.send(0, logger, ptype::SYSTEM, 0, Payload::null());
        }
    } else {
        let name = if signal == SIGINT {
            "SIGINT"
        } else {
            "SIGTERM"
        };
        node.log(0, format!("{name} received, stopping").as_bytes());
        node.abort();
    }
}
