//! The socket thread: waits for readiness and deals with it.

use std::time::Duration;

use crate::event::Left;
use crate::io::Readiness;
use crate::net::Net;
use crate::os::{Poller, Reserve};
use crate::socket::Cx;

/// How often a listener that ran out of descriptors tries again.
const RETRY: Duration = Duration::from_millis(100);

/// Giving the processor away after a batch of events.
///
/// The workers that just got something to do, and peers on this machine, run
/// first then, and events come in larger groups with fewer sleeps and wake-ups
/// between them: a fifth more echoes per second. But where a busy process takes
/// the processor, it comes back milliseconds later. So the time away is
/// measured, and after a long one many batches go by before the next try.
#[derive(Default)]
struct Courtesy {
    /// Batches to go before the next try.
    wait: u32,
    /// `wait` after the last try that took long.
    last_wait: u32,
}

impl Courtesy {
    /// A time away that cannot have been of use.
    const LONG_NS: u64 = 1_000_000;
    const WAITS: std::ops::RangeInclusive<u32> = 64..=16_384;

    fn after_batch(&mut self, cx: Cx<'_>, events: usize) {
        if events < 2 {
            return;
        }
        if self.wait > 0 {
            self.wait -= 1;
            return;
        }
        let before = cx.node.monotonic_ns();
        std::thread::yield_now();
        if cx.node.monotonic_ns() - before < Self::LONG_NS {
            self.last_wait /= 2;
        } else {
            let longer = self.last_wait.saturating_mul(4);
            self.last_wait = longer.clamp(*Self::WAITS.start(), *Self::WAITS.end());
            self.wait = self.last_wait;
        }
    }
}

/// Runs until the layer stops.
pub(crate) fn run(net: &Net, cx: Cx<'_>, mut poller: Poller) {
    let mut reserve = Reserve::new();
    // Sockets that had more than their budget, and listeners that wait for descriptors.
    let mut more: Vec<(i32, Readiness)> = Vec::new();
    let mut later: Vec<i32> = Vec::new();
    let mut courtesy = Courtesy::default();
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
        let mut count = 0;
        let (again, waiting) = (std::mem::take(&mut more), std::mem::take(&mut later));
        let retries = waiting.into_iter().map(|id| (id, listener));
        for (id, ready) in poller.events().chain(again).chain(retries) {
            count += 1;
            match net.event(cx, &mut reserve, id, ready) {
                Left::Nothing => {}
                Left::More(ready) => more.push((id, ready)),
                Left::Later if !later.contains(&id) => later.push(id),
                Left::Later => {}
            }
        }
        courtesy.after_batch(cx, count);
    }
}
