//! Running the executable as a user does.

#![allow(dead_code)] // each test file uses its own part

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// Longer than anything takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A temporary directory, removed at the end.
pub struct Dir(PathBuf);

impl Dir {
    pub fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let path = std::env::temp_dir().join(format!(
            "skynet-test-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        ));
        fs::create_dir_all(&path).expect("a temporary directory");
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes a file, with the directories it needs.
    pub fn write(&self, name: &str, text: &str) -> &Self {
        let path = self.file(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).expect("a directory");
        }
        fs::write(path, text).expect("a file");
        self
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.file(name)).unwrap_or_default()
    }

    /// Writes the service `main` and a config that starts it, with these lines added.
    pub fn service(&self, main: &str, config: &str) -> &Self {
        self.write("main.lua", main);
        self.write(
            "config",
            &format!(
                "harbor = 0\nthread = 2\nstart = \"main\"\n\
                 luaservice = \"./?.lua;./service/?.lua\"\nlua_path = \"./?.lua;./lualib/?.lua\"\n{config}\n"
            ),
        )
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The top folder of the source tree.
pub fn source_tree() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The executable, to be run in `dir`.
pub fn command(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_skynet"));
    command.args(args).current_dir(dir).stdin(Stdio::null());
    command
}

/// What a finished run left.
pub struct Run {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

/// Runs to the end.
pub fn run(dir: &Path, args: &[&str]) -> Run {
    let output = command(dir, args).output().expect("the executable runs");
    Run {
        status: output.status,
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

#[derive(Default)]
struct Lines {
    lines: Mutex<(Vec<String>, usize)>,
    changed: Condvar,
}

/// A running process whose output is collected.
pub struct Process {
    child: Child,
    output: Arc<Lines>,
}

impl Process {
    /// Starts the executable in `dir`.
    pub fn start(dir: &Path, args: &[&str]) -> Self {
        Self::spawn(&mut command(dir, args))
    }

    pub fn spawn(command: &mut Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the executable starts");
        let output = Arc::new(Lines::default());
        let streams: [Box<dyn Read + Send>; 2] = [
            Box::new(child.stdout.take().expect("piped")),
            Box::new(child.stderr.take().expect("piped")),
        ];
        for stream in streams {
            let output = output.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(stream).split(b'\n') {
                    let Ok(line) = line else { break };
                    let text = String::from_utf8_lossy(&line).into_owned();
                    output.lines.lock().expect("lines").0.push(text);
                    output.changed.notify_all();
                }
                output.lines.lock().expect("lines").1 += 1;
                output.changed.notify_all();
            });
        }
        Self { child, output }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn stdin(&mut self) -> &mut std::process::ChildStdin {
        self.child.stdin.as_mut().expect("piped")
    }

    /// Ends what the process reads.
    pub fn close_stdin(&mut self) {
        self.child.stdin = None;
    }

    /// Waits for a line that contains `text` and returns it.
    pub fn expect(&self, text: &str) -> String {
        self.expect_count(text, 1)
    }

    /// Waits for `count` lines that contain `text`; returns the last of them.
    pub fn expect_count(&self, text: &str, count: usize) -> String {
        let deadline = Instant::now() + PATIENCE;
        let mut lines = self.output.lines.lock().expect("lines");
        loop {
            if let Some(line) = lines.0.iter().filter(|l| l.contains(text)).nth(count - 1) {
                return line.clone();
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(
                !left.is_zero() && lines.1 < 2,
                "no {count} lines with {text:?} in:\n{}",
                lines.0.join("\n")
            );
            lines = self
                .output
                .changed
                .wait_timeout(lines, left)
                .expect("lines")
                .0;
        }
    }

    /// All output so far.
    pub fn output(&self) -> String {
        self.output.lines.lock().expect("lines").0.join("\n")
    }

    pub fn signal(&self, signal: i32) {
        let pid = i32::try_from(self.child.id()).expect("a process id");
        // SAFETY: signals a child that has not been waited for.
        assert_eq!(unsafe { libc::kill(pid, signal) }, 0);
    }

    /// Waits for the end.
    pub fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                // All output is in once both streams have ended.
                let mut lines = self.output.lines.lock().expect("lines");
                while lines.1 < 2 {
                    lines = self.output.changed.wait(lines).expect("lines");
                }
                return status;
            }
            assert!(
                Instant::now() < deadline,
                "still running; output:\n{}",
                self.output()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A client that sends and receives packets with a two-byte length.
pub struct Client(pub TcpStream);

impl Client {
    pub fn connect(port: u16) -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let stream = TcpStream::connect(address).expect("the server listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        Self(stream)
    }

    pub fn send(&mut self, data: &[u8]) {
        let length = u16::try_from(data.len()).expect("short");
        let mut packet = length.to_be_bytes().to_vec();
        packet.extend_from_slice(data);
        self.0.write_all(&packet).expect("sent");
    }

    pub fn receive(&mut self) -> String {
        let mut header = [0; 2];
        self.0.read_exact(&mut header).expect("a packet");
        let mut data = vec![0; usize::from(u16::from_be_bytes(header))];
        self.0.read_exact(&mut data).expect("a packet");
        String::from_utf8_lossy(&data).into_owned()
    }

    /// Receives until a packet contains `text`.
    pub fn expect(&mut self, text: &str) -> String {
        loop {
            let packet = self.receive();
            if packet.contains(text) {
                return packet;
            }
        }
    }

    /// Whether the server closes the connection (what it sent before is read).
    pub fn is_closed(&mut self) -> bool {
        let mut rest = Vec::new();
        match self.0.read_to_end(&mut rest) {
            Ok(_) => true,
            Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
        }
    }
}

/// The number at the end of a line.
pub fn last_number(line: &str) -> u16 {
    line.rsplit(|c: char| !c.is_ascii_digit())
        .find(|part| !part.is_empty())
        .and_then(|part| part.parse().ok())
        .unwrap_or_else(|| panic!("no number in {line:?}"))
}
