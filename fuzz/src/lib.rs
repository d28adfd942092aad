//! The fuzz targets, as plain functions from bytes.
//!
//! A target panics when a property does not hold. The programs in
//! `fuzz_targets/` give them to libFuzzer; the `codec_*.rs` tests of the crates
//! include these files, replay the corpora and add seeded inputs.

pub mod address;
pub mod command;
pub mod config;
pub mod netpack;
pub mod seri;
pub mod seri_vm;
pub mod source;
