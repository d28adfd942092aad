//! See `skynet_fuzz::netpack::fuzz_netpack`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| skynet_fuzz::netpack::fuzz_netpack(data));
