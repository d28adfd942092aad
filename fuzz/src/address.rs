//! Addresses and numbers in texts, against the C functions that define them.

use std::ffi::CString;
use std::ptr::null_mut;

use skynet_core::{Address, leading_integer, parse_base_0, parse_hex};

/// The text up to its first NUL, as C sees it.
fn c_text(data: &[u8]) -> CString {
    let end = data.iter().position(|&byte| byte == 0);
    CString::new(&data[..end.unwrap_or(data.len())]).expect("cut at the first NUL")
}

/// Arbitrary bytes as an address and as numbers: what `strtoul` and `strtol` say.
pub fn fuzz_address(data: &[u8]) {
    let text = c_text(data);
    // SAFETY: a NUL-terminated text; nothing else is read or written.
    let (hex, any, decimal) = unsafe {
        (
            libc::strtoul(text.as_ptr(), null_mut(), 16),
            libc::strtol(text.as_ptr(), null_mut(), 0),
            libc::strtol(text.as_ptr(), null_mut(), 10),
        )
    };
    let bytes = text.as_bytes();
    assert_eq!(parse_hex(bytes), hex as u32, "{text:?}");
    assert_eq!(parse_base_0(bytes), any, "{text:?}");
    assert_eq!(leading_integer(bytes), decimal, "{text:?}");
    match Address::parse(data) {
        Address::Handle(handle) => {
            assert_eq!(data[0], b':');
            assert_eq!(handle, parse_hex(&data[1..]));
            let shown = format!(":{handle:08x}");
            assert_eq!(Address::parse(shown.as_bytes()), Address::Handle(handle));
        }
        Address::Local(name) => assert_eq!([b".", name].concat(), data),
        Address::Global(name) => {
            assert_eq!(name, data);
            assert!(!matches!(name.first(), Some(b':' | b'.')));
        }
    }
}
