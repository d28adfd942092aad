//! See `skynet_fuzz::seri::fuzz_seri_bytes`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| skynet_fuzz::seri::fuzz_seri_bytes(data));
