//! The format of Lua values, through a Lua VM: bytes to a stack and back.
//!
//! The plain decoder is the model: both must agree on every input.

// Lua's own name for a Lua thread.
#![allow(non_snake_case)]

use std::collections::BTreeMap;
use std::ffi::{c_int, c_void};
use std::ptr::null_mut;

use skynet_lua::ffi::*;
use skynet_lua::seri::value::{Value, decode};
use skynet_lua::seri::{MAX_DEPTH, PackError, UnpackError, pack_from_stack, unpack_to_stack};

use super::source::Source;

/// Longer inputs find nothing that shorter ones do not.
const LONGEST: usize = 8192;

/// What the VM's allocator counts and allows.
#[derive(Default)]
struct Meter {
    used: usize,
    peak: usize,
    limit: Option<usize>,
}

/// A VM without libraries, whose memory is counted.
struct Vm {
    L: *mut lua_State,
    meter: Box<Meter>,
}

unsafe extern "C" fn allocate(
    ud: *mut c_void,
    block: *mut c_void,
    old: usize,
    new: usize,
) -> *mut c_void {
    // SAFETY: `ud` is the Vm's Meter, which outlives the VM and is not
    // borrowed while Lua runs; blocks come from here only.
    unsafe {
        let meter = &mut *ud.cast::<Meter>();
        let old = if block.is_null() { 0 } else { old };
        if new == 0 {
            meter.used -= old;
            libc::free(block);
            return null_mut();
        }
        let used = meter.used - old + new;
        if new > old && meter.limit.is_some_and(|limit| used > limit) {
            return null_mut();
        }
        let moved = libc::realloc(block, new);
        if !moved.is_null() {
            meter.used = used;
            meter.peak = meter.peak.max(used);
        }
        moved
    }
}

impl Vm {
    fn new() -> Self {
        let mut meter = Box::new(Meter::default());
        // SAFETY: the allocator keeps Lua's contract; the box does not move.
        let L = unsafe { lua_newstate(allocate, (&raw mut *meter).cast(), 1) };
        assert!(!L.is_null(), "there is memory for a VM");
        Self { L, meter }
    }

    /// Runs one job; what is left on the stack is dropped.
    fn run(&mut self, job: &mut Job<'_>) -> End {
        // SAFETY: the VM is ours; everything that may raise is in `body`; the
        // string of the error is copied before it is popped.
        unsafe {
            lua_pushcfunction(self.L, body);
            lua_pushlightuserdata(self.L, (&raw mut *job).cast());
            let status = lua_pcall(self.L, 1, 0, 0);
            let end = if status == LUA_OK {
                job.end
            } else {
                let text = string_at(self.L, -1).unwrap_or_default();
                End::Raised(status, String::from_utf8_lossy(text).contains("NaN"))
            };
            lua_settop(self.L, 0);
            end
        }
    }

    /// Closes the VM; it must give back all its memory.
    fn close(self) {
        // SAFETY: closed once, as `self` is consumed.
        unsafe { lua_close(self.L) };
        assert_eq!(self.meter.used, 0, "bytes that the VM did not give back");
    }
}

/// Bytes to unpack, and where to pack what they were.
struct Job<'a> {
    bytes: &'a [u8],
    out: Vec<u8>,
    end: End,
}

impl<'a> Job<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            out: Vec::new(),
            end: End::Done(0),
        }
    }
}

/// How a job ended.
#[derive(Debug, Clone, Copy, PartialEq)]
enum End {
    /// So many values were unpacked, then packed.
    Done(c_int),
    /// They could not be unpacked.
    Unpack(UnpackError),
    /// They could not be packed.
    Pack(PackError),
    /// A success left this many values more or fewer than it says.
    Unbalanced(c_int),
    /// Lua raised an error with this status; whether it concerns a NaN.
    Raised(c_int, bool),
}

unsafe extern "C-unwind" fn body(L: *mut lua_State) -> c_int {
    // SAFETY: `Vm::run` called us with its job, which owns the bytes and the
    // buffer; nothing here has a destructor.
    unsafe {
        let job = lua_touserdata(L, 1).cast::<Job<'_>>();
        (*job).end = match unpack_to_stack(L, (*job).bytes) {
            Err(error) => End::Unpack(error),
            Ok(count) if lua_gettop(L) != 1 + count => End::Unbalanced(lua_gettop(L) - 1 - count),
            Ok(count) => match pack_from_stack(L, 2, 1 + count, &raw mut (*job).out) {
                Err(error) => End::Pack(error),
                Ok(()) if lua_gettop(L) != 1 + count => End::Unbalanced(lua_gettop(L) - 1 - count),
                Ok(()) => End::Done(count),
            },
        };
    }
    0
}

/// What Lua makes of a value.
struct Seen {
    /// A text that is equal for equal values, whatever the order of their pairs.
    text: Vec<u8>,
    /// The deepest item below it; 0 for what has none.
    depth: u32,
}

/// A NaN was a key.
struct NanKey;

/// A list of values as Lua sees it.
fn seen_all(values: &[Value]) -> Result<Vec<Seen>, NanKey> {
    values.iter().map(seen).collect()
}

fn seen(value: &Value) -> Result<Seen, NanKey> {
    let scalar = |text: String| Seen {
        text: text.into_bytes(),
        depth: 0,
    };
    Ok(match value {
        Value::Nil => scalar("n".into()),
        Value::Boolean(v) => scalar(format!("b{v}")),
        Value::Integer(v) => scalar(format!("i{v}")),
        Value::Real(v) => scalar(format!("r{:x}", v.to_bits())),
        Value::Pointer(v) => scalar(format!("p{v}")),
        Value::String(v) => {
            let mut text = format!("s{}:", v.len()).into_bytes();
            text.extend_from_slice(v);
            Seen { text, depth: 0 }
        }
        Value::Table(array, pairs) => seen_table(array, pairs)?,
    })
}

fn seen_table(array: &[Value], pairs: &[(Value, Value)]) -> Result<Seen, NanKey> {
    let mut entries: BTreeMap<Vec<u8>, (u32, Seen)> = BTreeMap::new();
    let mut by_tables: Vec<(Seen, Seen)> = Vec::new();
    let integers = (1..).map(Value::Integer);
    let elements = integers.zip(array).collect::<Vec<_>>();
    let all = elements
        .iter()
        .map(|(key, value)| (key, *value))
        .chain(pairs.iter().map(|(key, value)| (key, value)));
    for (key, value) in all {
        let key_seen = match key {
            Value::Real(v) if v.is_nan() => return Err(NanKey),
            Value::Real(v) => match whole(*v) {
                Some(integer) => seen(&Value::Integer(integer))?,
                None => seen(key)?,
            },
            _ => seen(key)?,
        };
        let value_seen = seen(value)?;
        let is_nil = matches!(value, Value::Nil);
        if let Value::Table(..) = key {
            // Each table is a key of its own.
            if !is_nil {
                by_tables.push((key_seen, value_seen));
            }
        } else if is_nil {
            entries.remove(&key_seen.text);
        } else {
            entries.insert(key_seen.text, (key_seen.depth, value_seen));
        }
    }
    let mut depth = 0;
    let mut lines: Vec<Vec<u8>> = Vec::new();
    for (key, (key_depth, value)) in entries {
        depth = depth.max(1 + key_depth.max(value.depth));
        lines.push([&key[..], b"=", &value.text].concat());
    }
    for (key, value) in by_tables {
        depth = depth.max(1 + key.depth.max(value.depth));
        lines.push([&key.text[..], b"=", &value.text].concat());
    }
    lines.sort();
    let mut text = format!("t{}{{", lines.len()).into_bytes();
    lines.iter().for_each(|line| text.extend_from_slice(line));
    text.push(b'}');
    Ok(Seen { text, depth })
}

/// The integer that Lua takes for a float as a key.
fn whole(value: f64) -> Option<i64> {
    let in_range = (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&value);
    (in_range && value.trunc() == value).then_some(value as i64)
}

/// How deep the brackets of the bytes are, for values from [`decode`].
fn nesting(values: &[Value]) -> usize {
    let mut deepest = 0;
    let mut open: Vec<(&Value, usize)> = values.iter().map(|value| (value, 0)).collect();
    while let Some((value, depth)) = open.pop() {
        deepest = deepest.max(depth);
        if let Value::Table(array, pairs) = value {
            let pairs = pairs.iter().flat_map(|(key, value)| [key, value]);
            open.extend(array.iter().chain(pairs).map(|value| (value, depth + 1)));
        }
    }
    deepest
}

/// Checks how a job ended against the plain decoder.
fn check(bytes: &[u8], end: End, out: &[u8]) {
    let values = match decode(bytes) {
        Ok(values) => values,
        Err(invalid) => {
            match end {
                End::Unpack(UnpackError::Invalid(found)) => assert_eq!(found, invalid),
                // A NaN as key came before the fault.
                End::Raised(LUA_ERRRUN, true) => {}
                other => panic!("{other:?}, but the bytes are {invalid:?}"),
            }
            return;
        }
    };
    if nesting(&values) > 200 {
        // The model recurses; that such a value cannot be packed is all there is to see
        // (what is nested so deep may have been overwritten).
        assert!(
            matches!(
                end,
                End::Pack(PackError::TooDeep) | End::Raised(LUA_ERRRUN, true) | End::Done(_)
            ),
            "{end:?}"
        );
        return;
    }
    let Ok(expected) = seen_all(&values) else {
        assert_eq!(end, End::Raised(LUA_ERRRUN, true), "a NaN is a key");
        return;
    };
    if expected.iter().any(|value| value.depth > MAX_DEPTH) {
        assert_eq!(end, End::Pack(PackError::TooDeep));
        return;
    }
    assert_eq!(end, End::Done(values.len() as c_int));
    let back = decode(out).expect("what was packed can be read");
    let Ok(back) = seen_all(&back) else {
        panic!("a NaN became a key")
    };
    assert_eq!(back.len(), expected.len());
    for (a, b) in expected.iter().zip(&back) {
        assert_eq!(
            String::from_utf8_lossy(&a.text),
            String::from_utf8_lossy(&b.text)
        );
    }
}

/// Arbitrary bytes through a VM: as the plain decoder says, and in memory that
/// is bounded by their number.
pub fn fuzz_seri_vm(data: &[u8]) {
    let data = &data[..data.len().min(LONGEST)];
    let mut vm = Vm::new();
    let before = vm.meter.used;
    let mut job = Job::new(data);
    let end = vm.run(&mut job);
    check(data, end, &job.out);
    let cost = vm.meter.peak - before;
    assert!(
        cost <= 4096 + 400 * data.len(),
        "{cost} bytes for {} bytes",
        data.len()
    );
    // What was packed holds the same values, though a table without this
    // history may have its pairs in another order.
    if let End::Done(_) = end {
        let packed = std::mem::take(&mut job.out);
        let mut job = Job::new(&packed);
        assert_eq!(vm.run(&mut job), end);
        check(&packed, end, &job.out);
    }
    vm.close();
}

/// The same with too little memory: an error, nothing leaks, and the VM works on.
pub fn fuzz_seri_memory(data: &[u8]) {
    let mut source = Source::new(data);
    let more = usize::from(source.byte()) << source.below(8);
    let bytes = source.bytes(LONGEST);
    let mut vm = Vm::new();
    vm.meter.limit = Some(vm.meter.used + more);
    let mut job = Job::new(bytes);
    match vm.run(&mut job) {
        End::Raised(LUA_ERRMEM, _)
        | End::Unpack(UnpackError::Stack)
        | End::Pack(PackError::Stack) => {}
        // It was enough.
        end => check(bytes, end, &job.out),
    }
    vm.meter.limit = None;
    let mut job = Job::new(bytes);
    let end = vm.run(&mut job);
    check(bytes, end, &job.out);
    vm.close();
}
