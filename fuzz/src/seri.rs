//! The format of Lua values, without Lua: reader, writer and plain values.

use skynet_lua::seri::read::Invalid;
use skynet_lua::seri::value::{Value, decode, encode};

use super::source::Source;

/// Every place of the format that can be broken, as upstream's texts number them.
const LINES: [u32; 15] = [
    378, 386, 394, 402, 407, 417, 427, 437, 450, 455, 503, 510, 514, 527, 538,
];
/// Those that no further bytes can mend.
const FINAL: [u32; 4] = [407, 455, 510, 527];

/// Integers at the borders of the widths, and around them.
const INTEGERS: [i64; 14] = [
    0,
    1,
    0xff,
    0x100,
    0xffff,
    0x1_0000,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x1_0000_0000,
    -1,
    -0x8000_0000,
    -0x8000_0001,
    i64::MIN,
];

const REALS: [f64; 10] = [
    0.0,
    -0.0,
    1.0,
    -1.5,
    f64::NAN,
    f64::INFINITY,
    f64::NEG_INFINITY,
    f64::MIN_POSITIVE / 4.0,
    9_007_199_254_740_993.0,
    f64::MAX,
];

/// Lengths at the borders of the string forms.
const LENGTHS: [usize; 8] = [0, 1, 31, 32, 33, 0xffff, 0x1_0000, 0x1_0001];

/// Array sizes at the border of the table forms.
const SIZES: [usize; 6] = [0, 1, 30, 31, 32, 300];

/// Makes values of every kind from an input.
struct Maker<'a, 'b> {
    source: &'a mut Source<'b>,
    /// Values that may still be made.
    values: usize,
    /// Bytes that strings may still have.
    bytes: usize,
}

/// Values made from an input: at most 2,000, nested at most 48 deep.
pub fn values(source: &mut Source<'_>) -> Vec<Value> {
    let mut maker = Maker {
        source,
        values: 2000,
        bytes: 200_000,
    };
    let count = maker.source.below(6);
    (0..count).map(|_| maker.value(0)).collect()
}

impl Maker<'_, '_> {
    fn value(&mut self, depth: usize) -> Value {
        if self.values == 0 {
            return Value::Boolean(true);
        }
        self.values -= 1;
        match self.source.below(10) {
            0 => Value::Nil,
            1 => Value::Boolean(self.source.below(2) == 1),
            2 => {
                let near = self.source.below(3) as i64 - 1;
                Value::Integer(self.source.pick(&INTEGERS).wrapping_add(near))
            }
            3 => Value::Integer(self.source.number() as i64),
            4 => Value::Real(match self.source.below(4) {
                0 => f64::from_bits(self.source.number()),
                _ => self.source.pick(&REALS),
            }),
            5 => Value::Pointer(self.source.number()),
            6 | 7 => self.string(),
            8 if depth < 40 => {
                // A chain, to come near the deepest that can be packed.
                let levels = self.source.below(48 - depth);
                let mut value = self.value(depth + levels);
                for level in 0..levels {
                    value = match level % 3 {
                        2 => Value::Table(Vec::new(), vec![(Value::Boolean(true), value)]),
                        1 => Value::Table(Vec::new(), vec![(not_nil(value), Value::Integer(1))]),
                        _ => Value::Table(vec![value], Vec::new()),
                    };
                }
                value
            }
            _ if depth < 48 => self.table(depth),
            _ => Value::Integer(7),
        }
    }

    fn string(&mut self) -> Value {
        let length = match self.source.below(4) {
            0 => self.source.pick(&LENGTHS),
            _ => self.source.below(40),
        };
        let length = length.min(self.bytes);
        self.bytes -= length;
        let mut bytes = self.source.bytes(length.min(8)).to_vec();
        bytes.resize(length, b'z');
        Value::String(bytes)
    }

    fn table(&mut self, depth: usize) -> Value {
        let size = match self.source.below(4) {
            0 => self.source.pick(&SIZES).min(self.values),
            _ => self.source.below(4),
        };
        let array = (0..size).map(|_| self.value(depth + 1)).collect();
        let pairs = self.source.below(4);
        let pairs = (0..pairs)
            .map(|_| {
                let key = not_nil(self.value(depth + 1));
                (key, self.value(depth + 1))
            })
            .collect();
        Value::Table(array, pairs)
    }
}

/// A nil cannot be a key: it ends the table.
fn not_nil(value: Value) -> Value {
    match value {
        Value::Nil => Value::Integer(-9),
        value => value,
    }
}

/// Whether two values are the same, floats by their bits.
pub fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Real(a), Value::Real(b)) => a.to_bits() == b.to_bits(),
        (Value::Table(array, pairs), Value::Table(other, others)) => {
            all_same(array, other)
                && pairs.len() == others.len()
                && pairs
                    .iter()
                    .zip(others)
                    .all(|((k, v), (l, w))| same(k, l) && same(v, w))
        }
        _ => a == b,
    }
}

/// Whether two lists of values are the same.
pub fn all_same(a: &[Value], b: &[Value]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
}

/// The bytes of values; there is memory enough in a target.
pub fn encoded(values: &[Value]) -> Vec<u8> {
    let mut out = Vec::new();
    encode(values, &mut out).expect("memory, and strings below 4 GiB");
    out
}

/// Places to cut at: all of a short message, some of a long one.
fn cuts(length: usize) -> impl Iterator<Item = usize> {
    (0..length).step_by((length / 300).max(1))
}

/// Arbitrary bytes: a value list or an error that names a known place; what
/// was understood has one canonical form, which is no longer than the bytes.
pub fn fuzz_seri_bytes(data: &[u8]) {
    let values = match decode(data) {
        Ok(values) => values,
        Err(invalid) => return check_error(data, invalid),
    };
    let canonical = encoded(&values);
    assert!(canonical.len() <= data.len(), "longer than what it was");
    let again = decode(&canonical).expect("what was written can be read");
    assert_eq!(again.len(), values.len());
    assert_eq!(
        encoded(&again),
        canonical,
        "the canonical form is not fixed"
    );
    check_prefixes(data, &values, &canonical);
}

/// Each prefix of a message is an error or its first values.
fn check_prefixes(data: &[u8], values: &[Value], canonical: &[u8]) {
    for cut in cuts(data.len()) {
        match decode(&data[..cut]) {
            Ok(first) => {
                assert!(first.len() < values.len(), "cut at {cut}: nothing is lost");
                assert!(canonical.starts_with(&encoded(&first)), "cut at {cut}");
            }
            Err(invalid) => check_error(&data[..cut], invalid),
        }
    }
}

fn check_error(data: &[u8], invalid: Invalid) {
    assert!(invalid.left <= data.len(), "{invalid:?}");
    assert!(LINES.contains(&invalid.line), "{invalid:?}");
    if FINAL.contains(&invalid.line) {
        let longer = decode(&[data, &[0; 3]].concat()).expect_err("the fault stays");
        assert_eq!(longer.line, invalid.line);
        assert_eq!(longer.left, invalid.left + 3);
    }
}

/// Values made from the input survive writing and reading; no cut of their
/// bytes is taken for something else.
pub fn fuzz_seri_values(data: &[u8]) {
    let values = values(&mut Source::new(data));
    let bytes = encoded(&values);
    let read = decode(&bytes).expect("what was written can be read");
    assert!(all_same(&values, &read), "{values:?} became {read:?}");
    assert_eq!(encoded(&read), bytes);
    check_prefixes(&bytes, &values, &bytes);
    for value in &values {
        check_size(value);
    }
}

/// The bytes of a scalar are as many as the format says, no more.
fn check_size(value: &Value) {
    let expected = match value {
        Value::Nil | Value::Boolean(_) | Value::Integer(0) => 1,
        Value::Integer(1..=0xff) => 2,
        Value::Integer(0x100..=0xffff) => 3,
        Value::Integer(-0x8000_0000..=0x7fff_ffff) => 5,
        Value::Integer(_) | Value::Real(_) | Value::Pointer(_) => 9,
        Value::String(bytes) => match bytes.len() {
            length @ 0..32 => length + 1,
            length @ 32..0x1_0000 => length + 3,
            length => length + 5,
        },
        Value::Table(..) => return,
    };
    let bytes = encoded(std::slice::from_ref(value));
    assert_eq!(bytes.len(), expected, "{value:?}");
}
