//! See `skynet_fuzz::seri::fuzz_seri_values`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| skynet_fuzz::seri::fuzz_seri_values(data));
