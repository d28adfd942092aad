//! The `skynet` executable: parse, run, map what happened to an exit code.

#![deny(unsafe_code)]

mod daemon;
mod demo;
mod flags;
mod node;
mod script;
mod signals;
mod sys;

use std::process::ExitCode;

use flags::Mode;

/// One allocator for the whole process: what Lua or a C module gets from
/// `malloc` may be freed in Rust and the other way round.
#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The command line was wrong.
const EXIT_USAGE: u8 = 2;

fn main() -> ExitCode {
    let mode = match flags::parse(std::env::args_os().skip(1)) {
        Ok(mode) => mode,
        Err(error) => {
            eprintln!("skynet: {error}\nTry 'skynet --help'.");
            return ExitCode::from(EXIT_USAGE);
        }
    };
    let result = match mode {
        Mode::Help => flags::print(&flags::help()),
        Mode::Version => flags::print(&flags::version()),
        Mode::Demo => node::run(demo::settings()),
        Mode::Node { config } => node::run_config(&config),
        Mode::Script { file, args } => script::run(&file, &args),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
