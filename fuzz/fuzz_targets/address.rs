//! See `skynet_fuzz::address::fuzz_address`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| skynet_fuzz::address::fuzz_address(data));
