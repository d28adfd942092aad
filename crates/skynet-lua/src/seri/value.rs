//! The format without Lua, for tests and fuzzing.

use super::read::{Invalid, Item, Reader};
use super::write;

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// nil
    Nil,
    /// A boolean.
    Boolean(bool),
    /// An integer.
    Integer(i64),
    /// A float.
    Real(f64),
    /// A light userdata.
    Pointer(u64),
    /// A string.
    String(Vec<u8>),
    /// A table: array elements, then pairs, in the order of the bytes.
    Table(Vec<Value>, Vec<(Value, Value)>),
}

/// Tables are taken apart in a loop, so that no nesting overflows the stack.
impl Drop for Value {
    fn drop(&mut self) {
        fn empty(value: &mut Value, rest: &mut Vec<Value>) {
            if let Value::Table(array, pairs) = value {
                rest.append(array);
                rest.extend(pairs.drain(..).flat_map(|(key, value)| [key, value]));
            }
        }
        let mut rest = Vec::new();
        empty(self, &mut rest);
        while let Some(mut value) = rest.pop() {
            empty(&mut value, &mut rest);
        }
    }
}

/// A table that is being read.
struct Open {
    size: u32,
    array: Vec<Value>,
    pairs: Vec<(Value, Value)>,
    key: Option<Value>,
}

impl Open {
    fn new(size: u32) -> Self {
        Self {
            size,
            array: Vec::new(),
            pairs: Vec::new(),
            key: None,
        }
    }

    fn in_array(&self) -> bool {
        self.array.len() < self.size as usize
    }

    fn put(&mut self, value: Value) {
        if self.in_array() {
            self.array.push(value);
        } else if let Some(key) = self.key.take() {
            self.pairs.push((key, value));
        } else {
            self.key = Some(value);
        }
    }
}

/// All values of a message.
///
/// # Errors
/// Malformed bytes. Allocates in proportion to the bytes and does not recurse.
pub fn decode(bytes: &[u8]) -> Result<Vec<Value>, Invalid> {
    let mut reader = Reader::new(bytes);
    let mut values = Vec::new();
    let mut open: Vec<Open> = Vec::new();
    while !reader.is_empty() || !open.is_empty() {
        let mut value = match reader.item_or(538)? {
            Item::Nil => Value::Nil,
            Item::Boolean(v) => Value::Boolean(v),
            Item::Integer(v) => Value::Integer(v),
            Item::Real(v) => Value::Real(v),
            Item::Pointer(v) => Value::Pointer(v),
            Item::String(v) => Value::String(v.to_vec()),
            Item::Table(size) => {
                open.push(Open::new(size));
                continue;
            }
        };
        let ends = matches!(value, Value::Nil)
            && open
                .last()
                .is_some_and(|table| table.key.is_none() && !table.in_array());
        if ends && let Some(table) = open.pop() {
            value = Value::Table(table.array, table.pairs);
        }
        match open.last_mut() {
            Some(table) => table.put(value),
            None => values.push(value),
        }
    }
    Ok(values)
}

/// The bytes of values. A table of any depth can be written.
///
/// # Errors
/// No memory, or a string that is too long.
pub fn encode(values: &[Value], out: &mut Vec<u8>) -> Result<(), write::StringError> {
    enum Step<'a> {
        Value(&'a Value),
        End,
    }
    let mut steps: Vec<Step<'_>> = values.iter().rev().map(Step::Value).collect();
    while let Some(step) = steps.pop() {
        match step {
            Step::End | Step::Value(Value::Nil) => write::nil(out)?,
            Step::Value(Value::Boolean(v)) => write::boolean(out, *v)?,
            Step::Value(Value::Integer(v)) => write::integer(out, *v)?,
            Step::Value(Value::Real(v)) => write::real(out, *v)?,
            Step::Value(Value::Pointer(v)) => write::pointer(out, *v)?,
            Step::Value(Value::String(v)) => write::string(out, v)?,
            Step::Value(Value::Table(array, pairs)) => {
                write::table(out, array.len() as u32)?;
                steps.push(Step::End);
                for (key, value) in pairs.iter().rev() {
                    steps.push(Step::Value(value));
                    steps.push(Step::Value(key));
                }
                steps.extend(array.iter().rev().map(Step::Value));
            }
        }
    }
    Ok(())
}
