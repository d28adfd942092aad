//! Addresses, commands and the texts of the native modules: fuzz targets over
//! their corpora and over seeded inputs.

#[path = "../../../fuzz/src/address.rs"]
mod address;
#[path = "../../../fuzz/src/command.rs"]
mod command;
#[path = "../../../fuzz/src/replay.rs"]
mod replay;

use replay::check;

fn corpus(target: &str) -> String {
    format!("{}/tests/corpus/{target}", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn address() {
    check(corpus("address"), 1, 20_000, address::fuzz_address);
}

#[test]
fn command() {
    check(corpus("command"), 2, 1500, command::fuzz_command);
}

#[test]
fn core_text() {
    check(corpus("core_text"), 3, 1500, command::fuzz_core_text);
}
