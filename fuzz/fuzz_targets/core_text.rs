//! See `skynet_fuzz::command::fuzz_core_text`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| skynet_fuzz::command::fuzz_core_text(data));
