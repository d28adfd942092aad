//! The message log of one service (LOGON/LOGOFF): a line for each message it
//! is given (spec/01-core.md §12.4).

use std::ffi::CStr;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;

use crate::context::Context;
use crate::message::{Handle, Message, ptype};

/// Opens the log of `handle` for the service `by`, if `logpath` is set.
pub(crate) fn open(by: &Context, handle: Handle) -> Option<File> {
    let node = by.node();
    let path = PathBuf::from(node.env().text("logpath")?).join(format!("{handle:08x}.log"));
    match OpenOptions::new().append(true).create(true).open(&path) {
        Ok(mut file) => {
            by.log(format!("Open log file {}", path.display()));
            let now = node.now();
            let seconds = u64::from(node.start_seconds()) + now / 100;
            let line = format!("open time: {} {}", now as u32, calendar_text(seconds));
            let _ = file.write_all(line.as_bytes());
            Some(file)
        }
        Err(error) => {
            by.log(format!("Open log file {} fail ({error})", path.display()));
            None
        }
    }
}

/// Ends a log, on behalf of the service `by`.
pub(crate) fn close(by: &Context, mut file: File, handle: Handle) {
    by.log(format!("Close log file :{handle:08x}"));
    let _ = writeln!(file, "close time: {}", by.node().now() as u32);
}

/// Writes the line of one message.
pub(crate) fn write(file: &mut File, message: &Message, now: u64) {
    let mut line = Vec::with_capacity(64);
    format_line(&mut line, message, now);
    let _ = file.write_all(&line);
}

fn format_line(line: &mut Vec<u8>, message: &Message, now: u64) {
    let bytes = message.payload.as_slice();
    if message.kind() == ptype::SOCKET && bytes.len() >= 24 {
        let int = |at: usize| {
            i32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        let (kind, id, ud) = (int(0), int(4), int(8));
        let _ = write!(line, "[socket] {kind} {id} {ud} ");
        match message.payload.socket_data() {
            Some(data) => hex(line, data),
            None => {
                let text = bytes[24..].split(|&b| b == 0).next().unwrap_or_default();
                line.push(b'[');
                line.extend_from_slice(text);
                line.push(b']');
            }
        }
    } else {
        let _ = write!(
            line,
            ":{:08x} {} {} {} ",
            message.source,
            message.kind(),
            message.session,
            now as u32
        );
        hex(line, bytes);
    }
    line.push(b'\n');
}

fn hex(line: &mut Vec<u8>, bytes: &[u8]) {
    for byte in bytes {
        let _ = write!(line, "{byte:02x}");
    }
}

/// C's `ctime` text, which ends with a newline.
fn calendar_text(seconds: u64) -> String {
    let time = seconds as libc::time_t;
    let mut buffer = [0; 64];
    // SAFETY: the buffer is longer than the 26 bytes ctime_r writes.
    let text = unsafe { libc::ctime_r(&raw const time, buffer.as_mut_ptr()) };
    if text.is_null() {
        return "\n".to_owned();
    }
    // SAFETY: ctime_r returned a NUL-terminated text in `buffer`.
    unsafe { CStr::from_ptr(text) }
        .to_string_lossy()
        .into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::{MallocBlock, Payload};

    fn line(kind: u8, source: Handle, session: i32, payload: Payload) -> String {
        let mut line = Vec::new();
        format_line(&mut line, &Message::new(source, session, kind, payload), 9);
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn lines_are_those_of_the_vectors() {
        // spec/vectors/core-msglog.json
        assert_eq!(line(0, 8, 0, Payload::null()), ":00000008 0 0 9 \n");
        assert_eq!(line(10, 8, 1, Payload::from("x")), ":00000008 10 1 9 78\n");
        assert_eq!(
            line(255, 8, -1, Payload::from_slice(&[0, 255])),
            ":00000008 255 -1 9 00ff\n"
        );
        assert_eq!(
            line(6, 8, 0, Payload::socket_text(2, 77, -3, b"127.0.0.1:80")),
            "[socket] 2 77 -3 [127.0.0.1:80]\n"
        );
        assert_eq!(
            line(6, 8, 0, Payload::socket(3, 79, 0, None)),
            "[socket] 3 79 0 []\n"
        );
        assert_eq!(
            line(
                6,
                0,
                0,
                Payload::socket(1, 2, 3, Some(MallocBlock::copy_of(b"hi\n")))
            ),
            "[socket] 1 2 3 68690a\n"
        );
        // A crafted record (not made by the socket layer) is not followed.
        let mut forged = [0u8; 24];
        forged[0] = 1;
        forged[8] = 200;
        forged[16..24].copy_from_slice(&0x1234u64.to_ne_bytes());
        assert_eq!(
            line(6, 8, 0, Payload::from_slice(&forged)),
            "[socket] 1 0 200 []\n"
        );
    }
}
