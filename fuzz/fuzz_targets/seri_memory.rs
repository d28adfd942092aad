//! See `skynet_fuzz::seri_vm::fuzz_seri_memory`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| skynet_fuzz::seri_vm::fuzz_seri_memory(data));
