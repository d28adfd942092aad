//! The socket thread: waits for readiness and deals with it.

use std::time::Duration;

use crate::event::Left;
use crate::io::Readiness;
use crate::net::Net;
use crate::os::{Poller, Reserve};
use crate::socket::Cx;

/// How often a listener that ran out of descriptors tries again.
const RETRY: Duration = Duration::from_millis(100);

/// Runs until the layer stops.
pub(crate) fn run(net: &Net, cx: Cx<'_>, mut poller: Poller) {
    let mut reserve = Reserve::new();
    // Sockets that had more than their budget, and listeners that wait for descriptors.
    let mut more: Vec<(i32, Readiness)> = Vec::new();
    let mut later: Vec<i32> = Vec::new();
    let listener = Readiness {
        readable: true,
        ..Readiness::default()
    };
    loop {
        let timeout = if !more.is_empty() {
            Some(Duration::ZERO)
        } else if !later.is_empty() {
            Some(RETRY)
        } else {
            None
        };
        let waited = poller.wait(timeout);
        if net.is_stopping() {
            return;
        }
        if let Err(error) = waited {
            let line = format!("socket-server error: {error}");
            cx.node.log(0, line.as_bytes());
            // It will not get better at once; do not fill the log.
            std::thread::sleep(RETRY);
            continue;
        }
        let mut any = false;
        let (again, waiting) = (std::mem::take(&mut more), std::mem::take(&mut later));
        let retries = waiting.into_iter().map(|id| (id, listener));
        for (id, ready) in poller.events().chain(again).chain(retries) {
            any = true;
            match net.event(cx, &mut reserve, id, ready) {
                Left::Nothing => {}
                Left::More(ready) => more.push((id, ready)),
                Left::Later if !later.contains(&id) => later.push(id),
                Left::Later => {}
            }
        }
        if any {
            // The processor goes first to the workers that just got something to do
            // and to peers on this machine: then events come in larger groups, with
            // fewer sleeps and wake-ups between them (a fifth more echoes per second).
            std::thread::yield_now();
        }
    }
}
