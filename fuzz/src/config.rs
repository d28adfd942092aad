//! The configuration loader.

use std::cell::RefCell;
use std::ffi::OsString;
use std::path::PathBuf;

use skynet_lua::config::{Settings, load_with};

use super::source::Source;

/// What an endless or enormous configuration needs. One is code, and its
/// author is trusted, so the loader sets no limits; the target leaves these inputs out.
const UNBOUNDED: [&[u8]; 7] = [
    b"while",
    b"for",
    b"repeat",
    b"goto",
    b"function",
    // Methods of strings (`rep`, `gsub`), and doubling of strings.
    b":",
    b"..",
];

/// A file of this thread, removed at its end.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        let thread = format!("{:?}", std::thread::current().id());
        let thread: String = thread.chars().filter(char::is_ascii_digit).collect();
        let name = format!("skynet-config-{}-{thread}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch::new());
}

/// Loads `text` as a configuration: sorted settings or the text of the error.
fn load(text: &[u8]) -> Result<Settings, String> {
    SCRATCH.with_borrow(|scratch| {
        // A new file: some file systems write to the disk at once what is written over.
        let _ = std::fs::remove_file(&scratch.0);
        std::fs::write(&scratch.0, text).expect("the temporary directory can be written");
        let environment = [("HOME", "/home/me"), ("N", "42"), ("_x", ""), ("5", "]]")]
            .map(|(name, value)| (OsString::from(name), OsString::from(value)));
        let mut settings = load_with(&scratch.0, environment).map_err(|error| error.to_string())?;
        settings.sort();
        Ok(settings)
    })
}

/// Arbitrary text: settings whose keys differ, or an error that says something; twice the same.
pub fn fuzz_config_text(data: &[u8]) {
    let has = |word: &[u8]| data.windows(word.len()).any(|window| window == word);
    if UNBOUNDED.iter().any(|word| has(word)) {
        return;
    }
    let first = load(data);
    match &first {
        Ok(settings) => {
            let keys_differ = settings.windows(2).all(|pair| pair[0].0 != pair[1].0);
            assert!(keys_differ, "{settings:?}");
        }
        Err(text) => {
            // Lua's own texts for a number that is no key, and for the rest.
            let known = text.starts_with("[skynet config]:")
                || text.starts_with("Invalid config table")
                || text.contains("skynet-config-")
                || text.contains("bad argument")
                || text.contains("overflow");
            assert!(known, "{text:?}");
        }
    }
    assert_eq!(first, load(data));
}

/// A value as the author writes it, and as the node sees it.
fn value(source: &mut Source<'_>) -> (String, Vec<u8>) {
    match source.below(6) {
        0 => {
            let flag = source.below(2) == 1;
            (flag.to_string(), flag.to_string().into_bytes())
        }
        1 => {
            let number = source.number() as i64;
            (format!("{number:#x}"), number.to_string().into_bytes())
        }
        2 => {
            let number = source.byte();
            (format!("{number}.0"), format!("{number}.0").into_bytes())
        }
        3 => ("$N".to_owned(), b"42".to_vec()),
        4 => ("\"$HOME/$_x.\"".to_owned(), b"/home/me/.".to_vec()),
        _ => {
            let length = source.below(40);
            let bytes = source.bytes(length);
            let quoted: String = bytes.iter().map(|byte| format!("\\{byte:03}")).collect();
            (format!("\"{quoted}\""), bytes.to_vec())
        }
    }
}

/// Settings made from the input come back as they were written.
pub fn fuzz_config_values(data: &[u8]) {
    let mut source = Source::new(data);
    let mut text = String::new();
    let mut expected = Settings::new();
    for index in 0..source.below(20) {
        let key = format!("{}{index}", source.pick(&["key", "_", "Thread", "end_"]));
        let (shown, bytes) = value(&mut source);
        let form = source.pick(&[
            "@k = @v\n",
            "@k=@v;",
            "_ENV['@k'] = @v -- $N\n",
            "do @k = @v end ",
        ]);
        text.push_str(&form.replace("@k", &key).replace("@v", &shown));
        expected.push((key.into_bytes(), bytes));
    }
    expected.sort();
    assert_eq!(load(text.as_bytes()), Ok(expected), "{text}");
}
