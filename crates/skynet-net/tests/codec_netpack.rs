//! The framing of game clients: its fuzz target over the corpus and over seeded
//! inputs, and a bound on what headers alone may cost.

#[path = "../../../fuzz/src/netpack.rs"]
mod netpack;
#[path = "../../../fuzz/src/replay.rs"]
mod replay;
// Each test uses a part of it.
#[allow(dead_code)]
#[path = "../../../fuzz/src/source.rs"]
mod source;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use skynet_net::netpack::{Decoded, MAX_PACKET, Netpack, pack};

/// Bytes held by the whole process.
static HELD: AtomicUsize = AtomicUsize::new(0);

struct Counting;

// SAFETY: the system's allocator does the work.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HELD.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's contract.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn netpack() {
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus/netpack");
    replay::check(corpus, 1, 20_000, netpack::fuzz_netpack);
}

#[test]
fn every_size_at_a_border_passes_in_any_two_pieces() {
    for size in [
        0,
        1,
        2,
        0xff,
        0x100,
        0x101,
        0x7fff,
        MAX_PACKET - 1,
        MAX_PACKET,
    ] {
        let data = vec![size as u8; size];
        let packet = pack(&data).unwrap();
        let bytes = packet.as_slice();
        for cut in (0..bytes.len()).step_by((bytes.len() / 50).max(1)) {
            let mut codec = Netpack::new();
            assert!(matches!(codec.push(1, &bytes[..cut]), Decoded::Nothing));
            let Decoded::One(packet) = codec.push(1, &bytes[cut..]) else {
                panic!("{size} bytes cut at {cut}")
            };
            assert_eq!(packet.data.as_slice(), data);
        }
    }
}

/// A client that announces the longest packet and sends a byte of it must not pin 64 KiB.
#[test]
fn headers_alone_cost_little() {
    const CLIENTS: i32 = 20_000;
    let mut codec = Netpack::new();
    let before = HELD.load(Ordering::Relaxed);
    for fd in 0..CLIENTS {
        assert!(matches!(codec.push(fd, b"\xff\xffx"), Decoded::Nothing));
    }
    let each = HELD.load(Ordering::Relaxed).saturating_sub(before) / CLIENTS as usize;
    // The other tests of this process hold a few MiB at most.
    assert!(each < 4096, "{each} bytes for each client");
    codec.clear();
}
