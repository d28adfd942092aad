//! The log service `logger`: lines to standard output or to a file
//! (spec/01-core.md §12.2).

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;

use crate::context::Context;
use crate::message::{Message, ptype};
use crate::module::{InitError, Service};

enum Output {
    Stdout,
    File(File),
}

/// The log service.
pub(crate) struct Logger {
    output: Output,
    path: Option<PathBuf>,
    line: Vec<u8>,
}

/// The module `logger`.
pub(crate) fn create() -> Result<Box<dyn Service>, InitError> {
    Ok(Box::new(Logger {
        output: Output::Stdout,
        path: None,
        line: Vec::new(),
    }))
}

fn open(path: &PathBuf) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

impl Logger {
    fn write_line(&mut self, context: &Context, message: &Message) {
        self.line.clear();
        if let Output::File(_) = self.output {
            let now = context.node().now();
            let seconds = u64::from(context.node().start_seconds()) + now / 100;
            stamp(&mut self.line, seconds, now % 100);
        }
        let _ = write!(self.line, "[:{:08x}] ", message.source);
        self.line.extend_from_slice(message.payload.as_slice());
        self.line.push(b'\n');
        // One write per line: other output of the process cannot split it. A
        // full disk or a closed pipe has nobody left to be told.
        let _ = match &mut self.output {
            Output::Stdout => {
                let mut stdout = io::stdout().lock();
                stdout.write_all(&self.line).and_then(|()| stdout.flush())
            }
            Output::File(file) => file.write_all(&self.line),
        };
        if self.line.capacity() > 64 * 1024 {
            self.line = Vec::new();
        }
    }

    fn reopen(&mut self, context: &Context) {
        let Some(path) = &self.path else { return };
        match open(path) {
            Ok(file) => self.output = Output::File(file),
            // The old file stays in use: better there than nowhere.
            Err(error) => {
                let text = format!("error: Can't reopen log file {}: {error}", path.display());
                context.log(text);
            }
        }
    }
}

/// `dd/mm/yy HH:MM:SS.cc ` in local time.
fn stamp(line: &mut Vec<u8>, seconds: u64, centis: u64) {
    let time = seconds as libc::time_t;
    // SAFETY: an all-zero tm is a valid value to be overwritten.
    let mut tm: libc::tm = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are valid.
    unsafe { libc::localtime_r(&raw const time, &raw mut tm) };
    let _ = write!(
        line,
        "{:02}/{:02}/{:02} {:02}:{:02}:{:02}.{centis:02} ",
        tm.tm_mday,
        tm.tm_mon + 1,
        tm.tm_year % 100,
        tm.tm_hour,
        tm.tm_min,
        tm.tm_sec
    );
}

impl Service for Logger {
    fn init(&mut self, _context: &Context, args: Option<&[u8]>) -> Result<(), InitError> {
        let Some(name) = args.filter(|a| !a.is_empty()) else {
            return Ok(());
        };
        let path = PathBuf::from(String::from_utf8_lossy(name).into_owned());
        let file = open(&path).map_err(|error| {
            InitError::new(format!("can't open log file {}: {error}", path.display()))
        })?;
        self.output = Output::File(file);
        self.path = Some(path);
        Ok(())
    }

    fn dispatch(&mut self, context: &Context, message: Message) {
        match message.kind() {
            ptype::TEXT => self.write_line(context, &message),
            ptype::SYSTEM => self.reopen(context),
            _ => {}
        }
    }
}
