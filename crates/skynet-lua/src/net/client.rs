//! `client.socket`: blocking sockets and standard input for client scripts run
//! by `skynet lua` (spec/03-network.md §4). It knows nothing of services.

use std::collections::VecDeque;
use std::ffi::{CStr, c_int};
use std::io::{self, BufRead, Read, Write};
use std::net::{IpAddr, TcpStream};
use std::os::fd::IntoRawFd;
use std::sync::OnceLock;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::ffi::*;

/// Most bytes of one `recv`.
const RECV_SIZE: usize = 4096;
/// Most bytes of one piece of a line of standard input.
const PIECE: u64 = 1023;
/// Lines read ahead of the script.
const LINES: usize = 1024;

/// Connects; the descriptor, in non-blocking mode.
fn open(address: &[u8], port: lua_Integer) -> Option<i32> {
    let address: IpAddr = std::str::from_utf8(address).ok()?.parse().ok()?;
    let port = u16::try_from(port).ok()?;
    let stream = TcpStream::connect((address, port)).ok()?;
    stream.set_nonblocking(true).ok()?;
    Some(stream.into_raw_fd())
}

/// Pushes nothing: raises `socket error: <reason>` for an error number.
unsafe fn raise_errno(L: *mut lua_State, errno: c_int) -> c_int {
    // SAFETY: strerror's text lives until its next call on this thread's state.
    unsafe { luaL_error(L, c"socket error: %s".as_ptr(), libc::strerror(errno)) }
}

fn errno() -> c_int {
    io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

fn would_block(errno: c_int) -> bool {
    errno == libc::EAGAIN || errno == libc::EWOULDBLOCK || errno == libc::EINTR
}

/// A descriptor argument.
unsafe fn fd_at(L: *mut lua_State, idx: c_int) -> c_int {
    // SAFETY: Lua called our caller.
    let fd = unsafe { luaL_checkinteger(L, idx) };
    c_int::try_from(fd).unwrap_or(-1)
}

unsafe extern "C-unwind" fn connect(L: *mut lua_State) -> c_int {
    // SAFETY: Lua called us; `open` gives back a plain number.
    unsafe {
        let mut length = 0;
        let text = luaL_checklstring(L, 1, &mut length);
        let port = luaL_checkinteger(L, 2);
        let address = std::slice::from_raw_parts(text.cast::<u8>(), length);
        match open(address, port) {
            Some(fd) => lua_pushinteger(L, lua_Integer::from(fd)),
            None => {
                return luaL_error(L, c"Connect %s %d failed".as_ptr(), text, port as c_int);
            }
        }
    }
    1
}

unsafe extern "C-unwind" fn send(L: *mut lua_State) -> c_int {
    // SAFETY: Lua called us; the string stays on the stack.
    unsafe {
        let fd = fd_at(L, 1);
        let mut left = 0;
        let mut at = luaL_checklstring(L, 2, &mut left);
        while left > 0 {
            let sent = libc::send(fd, at.cast(), left, libc::MSG_NOSIGNAL);
            if sent >= 0 {
                at = at.add(sent as usize);
                left -= sent as usize;
                continue;
            }
            let error = errno();
            if !would_block(error) {
                return raise_errno(L, error);
            }
            let mut wait = libc::pollfd {
                fd,
                events: libc::POLLOUT,
                revents: 0,
            };
            libc::poll(&raw mut wait, 1, -1);
        }
    }
    0
}

unsafe extern "C-unwind" fn recv(L: *mut lua_State) -> c_int {
    let mut bytes = [0_u8; RECV_SIZE];
    // SAFETY: Lua called us; `bytes` needs no destructor.
    unsafe {
        let fd = fd_at(L, 1);
        let got = libc::recv(fd, bytes.as_mut_ptr().cast(), bytes.len(), 0);
        match usize::try_from(got) {
            Ok(size) => push_bytes(L, &bytes[..size]),
            Err(_) => {
                let error = errno();
                if would_block(error) {
                    return 0;
                }
                return raise_errno(L, error);
            }
        }
    }
    1
}

unsafe extern "C-unwind" fn close(L: *mut lua_State) -> c_int {
    // SAFETY: Lua called us; the descriptor is the script's.
    unsafe { libc::close(fd_at(L, 1)) };
    0
}

unsafe extern "C-unwind" fn shutdown(L: *mut lua_State) -> c_int {
    // SAFETY: Lua called us; the descriptor is the script's.
    unsafe {
        let fd = fd_at(L, 1);
        let mut length = 0;
        let text = luaL_checklstring(L, 2, &mut length);
        let (mut read, mut write) = (false, false);
        for &byte in std::slice::from_raw_parts(text.cast::<u8>(), length) {
            match byte {
                b'r' => read = true,
                b'w' => write = true,
                other => return luaL_error(L, c"Invalid mode %c".as_ptr(), c_int::from(other)),
            }
        }
        let how = match (read, write) {
            (true, true) => libc::SHUT_RDWR,
            (true, false) => libc::SHUT_RD,
            (false, true) => libc::SHUT_WR,
            (false, false) => return luaL_error(L, c"mode should be r or/and w".as_ptr()),
        };
        libc::shutdown(fd, how);
        let mut line = [0_u8; 40];
        let mut rest = &mut line[..];
        let _ = writeln!(rest, "SHUTDOWN {fd} {how}");
        let used = 40 - rest.len();
        let _ = io::stdout().write_all(&line[..used]);
    }
    0
}

unsafe extern "C-unwind" fn usleep(L: *mut lua_State) -> c_int {
    // SAFETY: Lua called us.
    let micros = unsafe { luaL_checkinteger(L, 1) };
    std::thread::sleep(Duration::from_micros(u64::try_from(micros).unwrap_or(0)));
    0
}

/// Lines of standard input on their way to the script.
#[derive(Default)]
struct Input {
    lines: Mutex<VecDeque<Vec<u8>>>,
    taken: Condvar,
}

impl Input {
    /// Reads for ever; the process ends with status 1 when the input has ended
    /// and the script has taken every line.
    fn read(&self) {
        let mut stdin = io::stdin().lock();
        loop {
            let mut line = Vec::new();
            let got = stdin.by_ref().take(PIECE).read_until(b'\n', &mut line);
            let ended = !matches!(got, Ok(size) if size > 0);
            let mut lines = self.lines.lock();
            if ended {
                while !lines.is_empty() {
                    self.taken.wait(&mut lines);
                }
                std::process::exit(1);
            }
            if line.last() == Some(&b'\n') {
                line.pop();
            }
            while lines.len() >= LINES {
                self.taken.wait(&mut lines);
            }
            lines.push_back(line);
        }
    }

    /// The next line, if there is one.
    fn take(&self) -> Option<Vec<u8>> {
        let line = self.lines.lock().pop_front();
        self.taken.notify_all();
        line
    }
}

static INPUT: OnceLock<&'static Input> = OnceLock::new();

/// Starts the reader at the first use. False: no thread could be made.
fn input() -> Option<&'static Input> {
    if let Some(input) = INPUT.get() {
        return Some(input);
    }
    let input: &'static Input = Box::leak(Box::default());
    std::thread::Builder::new()
        .name("stdin".to_owned())
        .spawn(|| input.read())
        .ok()?;
    Some(INPUT.get_or_init(|| input))
}

/// Copies the next line to `out`; its length.
fn next_line(out: &mut [u8; PIECE as usize]) -> Option<usize> {
    let line = input()?.take()?;
    out[..line.len()].copy_from_slice(&line);
    Some(line.len())
}

unsafe extern "C-unwind" fn readstdin(L: *mut lua_State) -> c_int {
    let mut line = [0_u8; PIECE as usize];
    let Some(size) = next_line(&mut line) else {
        return 0;
    };
    // SAFETY: Lua called us; `line` needs no destructor.
    unsafe { push_bytes(L, &line[..size]) };
    1
}

const FUNCTIONS: &[(&CStr, lua_CFunction)] = &[
    (c"connect", connect),
    (c"send", send),
    (c"recv", recv),
    (c"close", close),
    (c"shutdown", shutdown),
    (c"usleep", usleep),
    (c"readstdin", readstdin),
];

/// Opens the module and starts to read standard input.
///
/// # Safety
/// A `luaopen` function: Lua calls it.
pub(crate) unsafe extern "C-unwind" fn luaopen(L: *mut lua_State) -> c_int {
    // SAFETY: Lua called us.
    unsafe {
        if input().is_none() {
            return luaL_error(L, c"cannot start the reader of standard input".as_ptr());
        }
        new_library(L, FUNCTIONS, 0);
    }
    1
}
