//! The command line as a table of data, which also makes the help text.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

/// What the program is asked to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Run a node as a config file says.
    Node {
        /// The file.
        config: PathBuf,
    },
    /// Run the demo node.
    Demo,
    /// Run a Lua script.
    Script {
        /// The script.
        file: PathBuf,
        /// What it gets as `...`.
        args: Vec<OsString>,
    },
    /// Print the help text.
    Help,
    /// Print name and version.
    Version,
}

/// One way to start the program: words that select it, what follows them, what it does.
struct Entry {
    names: &'static [&'static str],
    operands: &'static str,
    doc: &'static str,
    mode: fn(&mut dyn Iterator<Item = OsString>) -> Result<Mode, String>,
}

/// Ways that are not selected by a word.
const PLAIN: &[(&str, &str)] = &[
    ("", "run the demo: a small multi-player game server"),
    (
        "CONFIG",
        "run a node as the config file CONFIG says (docs/config.md); further arguments are ignored",
    ),
];

const ENTRIES: &[Entry] = &[
    Entry {
        names: &["lua"],
        operands: "FILE [ARG ...]",
        doc: "run a plain Lua 5.5 script that can require the client-side libraries (client.socket)",
        mode: |rest| {
            let file = rest.next().ok_or("lua: which script?")?;
            Ok(Mode::Script {
                file: file.into(),
                args: rest.collect(),
            })
        },
    },
    Entry {
        names: &["--help", "-h"],
        operands: "",
        doc: "print this text",
        mode: |_| Ok(Mode::Help),
    },
    Entry {
        names: &["--version", "-V"],
        operands: "",
        doc: "print the version",
        mode: |_| Ok(Mode::Version),
    },
];

/// Reads the arguments (without the program's name).
pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Mode, String> {
    let mut args = args.into_iter();
    let Some(first) = args.next() else {
        return Ok(Mode::Demo);
    };
    if let Some(word) = first.to_str() {
        if let Some(entry) = ENTRIES.iter().find(|entry| entry.names.contains(&word)) {
            return (entry.mode)(&mut args);
        }
        if word == "--" {
            let config = args.next().ok_or("which config file?")?;
            return Ok(Mode::Node {
                config: config.into(),
            });
        }
        if word.len() > 1 && word.starts_with('-') {
            return Err(format!("unknown option {word}"));
        }
    }
    Ok(Mode::Node {
        config: first.into(),
    })
}

/// Prints a text; a reader that has gone away is no error.
pub(crate) fn print(text: &str) -> Result<ExitCode, String> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.to_string()),
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// `skynet VERSION (Lua VERSION)`
pub(crate) fn version() -> String {
    format!("skynet {} (Lua 5.5.1)\n", env!("CARGO_PKG_VERSION"))
}

/// The help text.
pub(crate) fn help() -> String {
    let mut text =
        "An actor runtime for online game servers, compatible with skynet.\n\nUsage:\n".to_owned();
    let plain = PLAIN
        .iter()
        .map(|(operands, doc)| ((*operands).to_owned(), *doc));
    let entries = ENTRIES.iter().map(|entry| {
        (
            format!("{} {}", entry.names.join(", "), entry.operands),
            entry.doc,
        )
    });
    for (left, doc) in plain.chain(entries) {
        let _ = writeln!(text, "  skynet {:<22}{doc}", left.trim());
    }
    text.push_str(
        "\nSignals: TERM and INT end the node in order, a second one at once; HUP reopens the log file.\n\
         Exit codes: 0 ended in order, 1 could not start (or the script failed), 2 wrong command line.\n",
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(words: &[&str]) -> Result<Mode, String> {
        parse(words.iter().map(OsString::from))
    }

    #[test]
    fn arguments_select_a_mode() {
        let node = |config: &str| {
            Ok(Mode::Node {
                config: config.into(),
            })
        };
        assert_eq!(of(&[]), Ok(Mode::Demo));
        assert_eq!(of(&["etc/config"]), node("etc/config"));
        assert_eq!(of(&["config", "ignored"]), node("config"));
        assert_eq!(of(&["--", "--help"]), node("--help"));
        assert_eq!(of(&["-"]), node("-"));
        assert_eq!(of(&["-h"]), Ok(Mode::Help));
        assert_eq!(of(&["--version"]), Ok(Mode::Version));
        assert_eq!(
            of(&["lua", "x.lua", "--help"]),
            Ok(Mode::Script {
                file: "x.lua".into(),
                args: vec!["--help".into()],
            })
        );
    }

    #[test]
    fn wrong_arguments_are_named() {
        assert_eq!(of(&["--frob"]), Err("unknown option --frob".to_owned()));
        assert_eq!(of(&["lua"]), Err("lua: which script?".to_owned()));
        assert_eq!(of(&["--"]), Err("which config file?".to_owned()));
    }

    #[test]
    fn help_names_every_entry() {
        let text = help();
        for name in ENTRIES.iter().flat_map(|entry| entry.names) {
            assert!(text.contains(name), "{name} is missing in:\n{text}");
        }
    }
}
