//! The configuration loader: fuzz targets over their corpora and over seeded inputs.

#[path = "../../../fuzz/src/config.rs"]
mod config;
#[path = "../../../fuzz/src/replay.rs"]
mod replay;
// Each test uses a part of it.
#[allow(dead_code)]
#[path = "../../../fuzz/src/source.rs"]
mod source;

use replay::check;

fn corpus(target: &str) -> String {
    format!("{}/tests/corpus/{target}", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn config_text() {
    check(corpus("config_text"), 1, 3000, config::fuzz_config_text);
}

#[test]
fn config_values() {
    check(corpus("config_values"), 2, 2000, config::fuzz_config_values);
}
