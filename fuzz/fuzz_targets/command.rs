//! See `skynet_fuzz::command::fuzz_command`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| skynet_fuzz::command::fuzz_command(data));
