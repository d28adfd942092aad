//! What the standard library does not offer of the operating system. The only
//! unsafe code of this crate.

#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// Goes on in a child that is detached from the terminal, with working
/// directory and descriptors kept; the parent ends with exit code 0.
///
/// To be called while the process has one thread: only the calling thread
/// goes on in the child.
pub(crate) fn detach() -> io::Result<()> {
    // SAFETY: daemon(3) takes two flags; it forks, and our caller promises a
    // single thread, so no lock is held by a thread that is lost.
    check(unsafe { libc::daemon(1, 1) })
}

/// Whether a process with this id exists (also one we may not signal).
pub(crate) fn process_exists(pid: i32) -> bool {
    // SAFETY: kill with signal 0 checks and does nothing.
    let result = unsafe { libc::kill(pid, 0) };
    result == 0 || io::Error::last_os_error().raw_os_error() != Some(libc::ESRCH)
}

/// Lets descriptor `to` mean what `file` means.
pub(crate) fn redirect(file: &File, to: i32) -> io::Result<()> {
    // SAFETY: dup2 takes two descriptor numbers; the standard descriptors
    // belong to nobody in this process, and std's handles for them stay valid
    // because the numbers stay open.
    check(unsafe { libc::dup2(file.as_raw_fd(), to) })
}

/// Lets writes to closed pipes and sockets fail instead of ending the process.
/// (Rust's runtime does so as well; a node must not depend on it.)
pub(crate) fn ignore_broken_pipes() {
    // SAFETY: SIG_IGN is a valid disposition for SIGPIPE.
    unsafe {
        libc::signal(libc::SIGPIPE, libc::SIG_IGN);
    }
}
