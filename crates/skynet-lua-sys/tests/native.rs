//! Runs the C stress driver (tests/stress.c) in all its variants: sanitizers,
//! Lua's assertions, its hard memory tests, valgrind. Each builds Lua anew, as
//! this crate edits it. `SKL_STRESS_SECONDS` makes the runs longer.

use std::path::Path;
use std::process::Command;

fn stress(variant: &str, seconds: u32) {
    let seconds = std::env::var("SKL_STRESS_SECONDS").unwrap_or_else(|_| seconds.to_string());
    let output = Command::new("sh")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stress.sh"))
        .arg(variant)
        .arg(Path::new(env!("OUT_DIR")).join("lua"))
        .arg(Path::new(env!("CARGO_TARGET_TMPDIR")).join("stress"))
        .args([&seconds, "1"])
        .output()
        .expect("sh runs");
    let text = String::from_utf8_lossy(&output.stdout);
    if output.status.code() == Some(77) {
        println!("{variant}: {text}");
        return;
    }
    assert!(
        output.status.success(),
        "{variant}: {}\n{text}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(text.starts_with("atoms "), "{variant}: {text}");
    println!("{variant}: {text}");
}

#[test]
fn thread_sanitizer() {
    stress("thread", 5);
}

#[test]
fn address_and_undefined_behaviour_sanitizers() {
    stress("address", 3);
}

#[test]
fn assertions_of_lua() {
    stress("assert", 3);
}

#[test]
fn hard_memory_and_stack_tests_of_lua() {
    stress("hard", 4);
}

#[test]
fn valgrind() {
    stress("valgrind", 4);
}
