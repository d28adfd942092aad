//! Daemon mode: one node per pid file, detached from the terminal
//! (spec: core chapter, 1.5).

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::sys;

/// A running daemon's pid file; holds the lock as long as it lives.
#[derive(Debug)]
pub(crate) struct PidFile {
    path: PathBuf,
    _locked: File,
}

impl PidFile {
    /// Removes the file after an orderly stop.
    pub(crate) fn remove(self) {
        // If it is gone already, that is what was wanted.
        let _ = fs::remove_file(&self.path);
    }
}

/// Becomes a daemon whose process id is in `path`. The calling process must have one thread.
///
/// # Errors
/// The text for standard error; exit code 1.
pub(crate) fn start(path: &Path) -> Result<PidFile, String> {
    if let Some(pid) = running(path) {
        return Err(format!("Skynet is already running, pid = {pid}."));
    }
    // Locked before the fork, which keeps the lock: whoever started us sees the error.
    let file = lock(path)?;
    sys::detach().map_err(|_| "Can't daemonize.".to_owned())?;
    write_pid(&file).map_err(|_| "Can't write pid.".to_owned())?;
    let null = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/null")
        .map_err(|error| format!("Unable to open /dev/null: : {error}"))?;
    for (fd, name) in [(0, "stdin"), (1, "stdout"), (2, "stderr")] {
        sys::redirect(&null, fd)
            .map_err(|error| format!("Unable to dup2 {name}({fd}): : {error}"))?;
    }
    Ok(PidFile {
        path: path.to_owned(),
        _locked: file,
    })
}

/// The process a pid file names, if it is another one and lives.
fn running(path: &Path) -> Option<i32> {
    let pid = first_integer(&fs::read(path).ok()?)?;
    let own = i32::try_from(std::process::id()).unwrap_or(0);
    (pid != 0 && pid != own && sys::process_exists(pid)).then_some(pid)
}

/// Opens and locks the pid file.
fn lock(path: &Path) -> Result<File, String> {
    let name = path.display();
    // Not truncated: another node's id must stay readable until the lock is ours.
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o644)
        .open(path)
        .map_err(|_| format!("Can't create pidfile [{name}]."))?;
    if file.try_lock().is_err() {
        let mut text = Vec::new();
        let _ = file.read_to_end(&mut text);
        return Err(match first_integer(&text) {
            Some(pid) => format!("Can't lock pidfile, lock is held by pid {pid}."),
            None => "Can't lock and read pidfile.".to_owned(),
        });
    }
    Ok(file)
}

/// Makes the own process id what the pid file says.
fn write_pid(mut file: &File) -> io::Result<()> {
    let line = format!("{}\n", std::process::id());
    file.seek(SeekFrom::Start(0))?;
    file.write_all(line.as_bytes())?;
    file.set_len(line.len() as u64)
}

/// What `fscanf("%d")` reads; 0 where it reads nothing is told apart.
fn first_integer(text: &[u8]) -> Option<i32> {
    let text = text.trim_ascii_start();
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    if !digits.first().is_some_and(u8::is_ascii_digit) {
        return None;
    }
    i32::try_from(skynet_core::leading_integer(text)).ok()
}

#[cfg(test)]
mod tests {
    use super::first_integer;

    #[test]
    fn pid_files_start_with_a_number() {
        assert_eq!(first_integer(b"6632\n"), Some(6632));
        assert_eq!(first_integer(b"  7 x"), Some(7));
        assert_eq!(first_integer(b"-3"), Some(-3));
        assert_eq!(first_integer(b"pid"), None);
        assert_eq!(first_integer(b""), None);
        assert_eq!(first_integer(b"99999999999"), None);
    }
}
