//! The codec of Lua values: fuzz targets over their corpora and over seeded inputs,
//! and bounds on what hostile bytes may cost.

#[path = "../../../fuzz/src/replay.rs"]
mod replay;
#[path = "../../../fuzz/src/seri.rs"]
mod seri;
#[path = "../../../fuzz/src/seri_vm.rs"]
mod seri_vm;
// Each test uses a part of it.
#[allow(dead_code)]
#[path = "../../../fuzz/src/source.rs"]
mod source;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use replay::check;
use skynet_lua::seri::value::{Value, decode, encode};

/// Counts what each thread holds and has held.
struct Counting;

thread_local! {
    static HELD: Cell<(isize, isize)> = const { Cell::new((0, 0)) };
}

fn count(change: isize) {
    // A thread that ends has no counter any more.
    let _ = HELD.try_with(|held| {
        let (now, peak) = held.get();
        held.set((now + change, peak.max(now + change)));
    });
}

// SAFETY: the system's allocator does the work; counting does not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the caller's contract.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The most bytes that `f` held at once.
fn peak(f: impl FnOnce()) -> usize {
    let (before, _) = HELD.get();
    HELD.set((before, before));
    f();
    (HELD.get().1 - before) as usize
}

fn corpus(target: &str) -> String {
    format!("{}/tests/corpus/{target}", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn seri_bytes() {
    check(corpus("seri_bytes"), 1, 6000, seri::fuzz_seri_bytes);
}

#[test]
fn seri_values() {
    check(corpus("seri_values"), 2, 3000, seri::fuzz_seri_values);
}

#[test]
fn seri_vm() {
    check(corpus("seri_bytes"), 3, 6000, seri_vm::fuzz_seri_vm);
    check(corpus("seri_vm"), 4, 6000, seri_vm::fuzz_seri_vm);
}

#[test]
fn seri_memory() {
    check(corpus("seri_memory"), 5, 4000, seri_vm::fuzz_seri_memory);
}

/// Values made from seeded inputs, through a VM.
#[test]
fn made_values_pass_through_a_vm() {
    fn target(data: &[u8]) {
        let values = seri::values(&mut source::Source::new(data));
        seri_vm::fuzz_seri_vm(&seri::encoded(&values));
    }
    check(corpus("seri_values"), 6, 2000, target);
}

#[test]
fn every_cut_of_every_size_class_is_an_error() {
    let long = |length| Value::String(vec![b'x'; length]);
    let table = |size| Value::Table(vec![Value::Boolean(true); size], Vec::new());
    for value in [
        Value::Nil,
        Value::Boolean(true),
        Value::Integer(0),
        Value::Integer(0xff),
        Value::Integer(0x100),
        Value::Integer(0x1_0000),
        Value::Integer(i64::MIN),
        Value::Real(0.5),
        Value::Pointer(u64::MAX),
        long(0),
        long(31),
        long(32),
        long(0xffff),
        long(0x1_0000),
        table(0),
        table(30),
        table(31),
        table(0x100),
        Value::Table(vec![table(1)], vec![(long(2), table(0))]),
    ] {
        let bytes = seri::encoded(std::slice::from_ref(&value));
        assert!(seri::all_same(&decode(&bytes).unwrap(), &[value]));
        for cut in 1..bytes.len() {
            let error = decode(&bytes[..cut]).expect_err("it is cut");
            assert!(error.left < cut);
        }
    }
}

#[test]
fn the_deepest_table_packs_and_one_deeper_does_not() {
    // The target holds the VM to MAX_DEPTH; the plain codec has no such limit.
    for levels in [1, 31, 32, 33, 34, 199, 200, 201, 2000] {
        let mut value = Value::Integer(1);
        for _ in 0..levels {
            value = Value::Table(vec![value], Vec::new());
        }
        let mut bytes = Vec::new();
        encode(std::slice::from_ref(&value), &mut bytes).unwrap();
        seri_vm::fuzz_seri_vm(&bytes);
        assert_eq!(seri::encoded(&decode(&bytes).unwrap()), bytes);
    }
}

#[test]
fn hostile_sizes_cost_nothing_in_the_plain_codec() {
    let sizes: [&[u8]; 5] = [
        b"\xfe\x22\xff\xff\xff\x7f",
        b"\xfe\x32\xff\xff\xff\x7f\0\0\0\0",
        b"\xfe\x32\xff\xff\xff\xff\xff\xff\xff\x7f",
        b"\x25\xff\xff\xff\xff",
        b"\x15\xff\xff",
    ];
    for size in sizes {
        for times in [1, 100, 10_000] {
            let bytes = size.repeat(times);
            let cost = peak(|| drop(decode(&bytes)));
            let bound = 4096 + 300 * bytes.len();
            assert!(cost <= bound, "{cost} bytes for {} bytes", bytes.len());
        }
    }
}

#[test]
fn seeded_bytes_cost_memory_in_proportion() {
    fn target(data: &[u8]) {
        let cost = peak(|| drop(decode(data)));
        let bound = 4096 + 300 * data.len();
        assert!(cost <= bound, "{cost} bytes for {} bytes", data.len());
    }
    check(corpus("seri_bytes"), 7, 4000, target);
}
