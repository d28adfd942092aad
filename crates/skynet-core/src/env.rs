//! The node's environment: a map from key to text, filled from the config.
//! Existing keys can neither be changed nor removed (spec/01-core.md §11).

use std::collections::HashMap;

use parking_lot::RwLock;

/// The environment of a node.
#[derive(Debug, Default)]
pub struct Env(RwLock<HashMap<Vec<u8>, Vec<u8>>>);

impl Env {
    /// The value of `key`.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Option<Vec<u8>> {
        self.0.read().get(cut(key.as_ref())).cloned()
    }

    /// The value of `key` as text.
    pub fn text(&self, key: &str) -> Option<String> {
        self.get(key)
            .map(|value| String::from_utf8_lossy(&value).into_owned())
    }

    /// Sets `key`; false if it is set already.
    pub fn set(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> bool {
        let mut map = self.0.write();
        let key = cut(key.as_ref());
        if map.contains_key(key) {
            return false;
        }
        map.insert(key.to_vec(), value.as_ref().to_vec());
        true
    }

    /// The value of `key`, which is set to `default` if it is unset.
    pub fn text_or(&self, key: &str, default: &str) -> String {
        self.set(key, default);
        self.text(key).unwrap_or_default()
    }
}

/// Keys are byte strings up to the first NUL.
fn cut(key: &[u8]) -> &[u8] {
    key.split(|&b| b == 0).next().unwrap_or_default()
}

/// C's `isspace`: with the vertical tab, which [`u8::is_ascii_whitespace`] leaves out.
pub(crate) fn is_blank(byte: &u8) -> bool {
    byte.is_ascii_whitespace() || *byte == 0x0b
}

/// What C's `strtol` reads first: blanks and one sign. Whether it is a minus, and the rest.
pub(crate) fn sign_and_digits(text: &[u8]) -> (bool, &[u8]) {
    let blanks = text.iter().take_while(|byte| is_blank(byte)).count();
    match &text[blanks..] {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    }
}

/// C's `strtol(text, NULL, 10)` for config values (`"3abc"` is 3, `"x"` is 0).
pub fn leading_integer(text: &[u8]) -> i64 {
    let (negative, digits) = sign_and_digits(text);
    let mut value: i64 = 0;
    for byte in digits.iter().take_while(|b| b.is_ascii_digit()) {
        let digit = i64::from(byte - b'0');
        value = value.saturating_mul(10);
        value = if negative {
            value.saturating_sub(digit)
        } else {
            value.saturating_add(digit)
        };
    }
    value
}
