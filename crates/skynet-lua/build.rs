//! Embeds the trees `lualib/`, `service/` and `examples/` of the workspace, so that the
//! executable runs without a file beside it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default()).join("../..");
    let mut files = Vec::new();
    for tree in ["lualib", "service", "examples"] {
        collect(&root, tree, &mut files)?;
    }
    files.sort();
    let mut source = String::from("static FILES: &[File] = &[\n");
    for name in files {
        let path = root.join(&name).canonicalize()?;
        println!("cargo::rerun-if-changed={}", path.display());
        let _ = writeln!(
            source,
            "    File {{ name: {name:?}, text: include_bytes!({:?}) }},",
            path.display().to_string()
        );
    }
    source.push_str("];\n");
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default()).join("embedded.rs");
    fs::write(out, source)
}

/// Adds the Lua files below `directory` by their names relative to `root`.
fn collect(root: &Path, directory: &str, files: &mut Vec<String>) -> io::Result<()> {
    let path = root.join(directory);
    println!("cargo::rerun-if-changed={}", path.display());
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let name = format!("{directory}/{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            collect(root, &name, files)?;
        } else if name.ends_with(".lua") {
            files.push(name);
        }
    }
    Ok(())
}
