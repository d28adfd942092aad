//! See `skynet_fuzz::config::fuzz_config_values`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| skynet_fuzz::config::fuzz_config_values(data));
