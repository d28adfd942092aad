//! What the documents say is there.

mod util;

use std::fs;
use std::path::Path;

use util::source_tree;

/// The text of all test sources: Rust below `crates`, Lua below `tests`.
fn sources(directory: &Path, text: &mut String) {
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().and_then(|name| name.to_str());
        if path.is_dir() {
            if !matches!(name, Some("target" | ".git")) {
                sources(&path, text);
            }
        } else if name.is_some_and(|name| name.ends_with(".rs") || name.ends_with(".lua")) {
            text.push_str(&fs::read_to_string(path).expect("a source"));
        }
    }
}

#[test]
fn every_guarantee_has_a_test_of_its_name() {
    let tree = source_tree();
    let mut text = String::new();
    sources(&tree.join("crates"), &mut text);
    sources(&tree.join("tests"), &mut text);
    let document = fs::read_to_string(tree.join("docs/semantics.md")).expect("the document");
    let mut count = 0;
    for line in document.lines().filter_map(|line| line.strip_prefix("- ")) {
        let (wanted, name) = if let Some(rest) = line.strip_prefix('`') {
            let name = rest.split('`').next().unwrap_or_default();
            (format!("fn {name}("), name)
        } else if let Some(rest) = line.strip_prefix('"') {
            let name = rest.split('"').next().unwrap_or_default();
            (format!("\"{name}\""), name)
        } else {
            panic!("a guarantee without a test: {line}");
        };
        assert!(text.contains(&wanted), "no test is named {name}");
        count += 1;
    }
    assert!(count > 30, "only {count} guarantees were found");
}

/// Files and folders that the READMEs link to.
#[test]
fn links_lead_somewhere() {
    let tree = source_tree();
    for name in ["README.md", "README.zh-CN.md"] {
        let text = fs::read_to_string(tree.join(name)).expect("a document");
        let mut count = 0;
        // Every other part is outside of code blocks.
        let prose: String = text.split("```").step_by(2).collect();
        for part in prose.split("](").skip(1) {
            let target = part.split(')').next().unwrap_or_default();
            if target.starts_with("http") {
                continue;
            }
            assert!(tree.join(target).exists(), "{name} links to {target}");
            count += 1;
        }
        assert!(count > 5, "{name}: only {count} links were found");
    }
}
