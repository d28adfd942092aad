//! Names to addresses. Asking a name server can take half a minute, so it is
//! done on threads made when needed, never on the socket thread.

use std::collections::VecDeque;
use std::ffi::{CStr, CString};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::ptr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

/// More names than this are looked up one after the other.
const MAX_THREADS: usize = 4;
/// How long an idle thread waits for another name.
const LINGER: Duration = Duration::from_secs(5);

const NO_NAME: &str = "Name or service not known";
pub(crate) const NO_PORT: &str = "Servname not supported for ai_socktype";

/// An address written in numbers.
pub(crate) fn numeric(host: &[u8], port: u16) -> Option<SocketAddr> {
    let ip: IpAddr = std::str::from_utf8(host).ok()?.parse().ok()?;
    Some(SocketAddr::new(ip, port))
}

/// What `localhost` and numbers mean where no name server may be asked.
pub(crate) fn without_server(host: &[u8], port: u16) -> Result<Vec<SocketAddr>, String> {
    if host == b"localhost" {
        return Ok(vec![SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port)]);
    }
    numeric(host, port)
        .map(|address| vec![address])
        .ok_or_else(|| NO_NAME.to_owned())
}

/// Looks a name up on this thread. `stream`: each address once, else once per socket type.
pub(crate) fn blocking(host: &[u8], port: u16, stream: bool) -> Result<Vec<SocketAddr>, String> {
    let host = CString::new(host).map_err(|_| NO_NAME.to_owned())?;
    // SAFETY: addrinfo is plain C data for which zeros are the documented "any".
    let mut hints: libc::addrinfo = unsafe { std::mem::zeroed() };
    hints.ai_family = libc::AF_UNSPEC;
    if stream {
        hints.ai_socktype = libc::SOCK_STREAM;
        hints.ai_protocol = libc::IPPROTO_TCP;
    }
    let mut list: *mut libc::addrinfo = ptr::null_mut();
    // SAFETY: a NUL-terminated name, valid hints, a place for the result.
    let code =
        unsafe { libc::getaddrinfo(host.as_ptr(), ptr::null(), &raw const hints, &raw mut list) };
    if code == libc::EAI_SYSTEM {
        return Err(crate::os::error_text(&std::io::Error::last_os_error()));
    }
    if code != 0 {
        // SAFETY: gai_strerror returns a static text for every code.
        let text = unsafe { CStr::from_ptr(libc::gai_strerror(code)) };
        return Err(text.to_string_lossy().into_owned());
    }
    let mut addresses = Vec::new();
    let mut entry = list;
    while !entry.is_null() {
        // SAFETY: an entry of the list, which is freed below.
        let info = unsafe { &*entry };
        // SAFETY: the entry's family says what its address is.
        addresses.extend(unsafe { address_of(info, port) });
        entry = info.ai_next;
    }
    // SAFETY: the list of the successful call above, freed once.
    unsafe { libc::freeaddrinfo(list) };
    if addresses.is_empty() {
        return Err(NO_NAME.to_owned());
    }
    Ok(addresses)
}

/// # Safety
/// `info` is an entry of a list of getaddrinfo.
unsafe fn address_of(info: &libc::addrinfo, port: u16) -> Option<SocketAddr> {
    match info.ai_family {
        libc::AF_INET => {
            // SAFETY: an AF_INET entry's address is a sockaddr_in.
            let address = unsafe { info.ai_addr.cast::<libc::sockaddr_in>().read_unaligned() };
            let ip = Ipv4Addr::from(u32::from_be(address.sin_addr.s_addr));
            Some(SocketAddrV4::new(ip, port).into())
        }
        libc::AF_INET6 => {
            // SAFETY: an AF_INET6 entry's address is a sockaddr_in6.
            let address = unsafe { info.ai_addr.cast::<libc::sockaddr_in6>().read_unaligned() };
            let ip = Ipv6Addr::from(address.sin6_addr.s6_addr);
            Some(SocketAddrV6::new(ip, port, 0, address.sin6_scope_id).into())
        }
        _ => None,
    }
}

/// What is done with the answer.
type Done = Box<dyn FnOnce(Result<Vec<SocketAddr>, String>) + Send>;

struct Job {
    host: Vec<u8>,
    port: u16,
    done: Done,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    threads: usize,
    idle: usize,
    stop: bool,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
}

/// The threads that look names up.
#[derive(Default)]
pub(crate) struct Resolver(Arc<Shared>);

impl std::fmt::Debug for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Resolver({} threads)", self.0.queue.lock().threads)
    }
}

impl Resolver {
    /// Looks a name up and calls `done` with the result on another thread; not
    /// at all after [`stop`](Self::stop).
    pub(crate) fn ask(
        &self,
        host: &[u8],
        port: u16,
        done: impl FnOnce(Result<Vec<SocketAddr>, String>) + Send + 'static,
    ) {
        let mut queue = self.0.queue.lock();
        queue.jobs.push_back(Job {
            host: host.to_vec(),
            port,
            done: Box::new(done),
        });
        if queue.idle >= queue.jobs.len() || queue.threads >= MAX_THREADS {
            self.0.changed.notify_one();
            return;
        }
        queue.threads += 1;
        drop(queue);
        let shared = self.0.clone();
        let spawned = std::thread::Builder::new()
            .name("resolver".to_owned())
            .stack_size(1 << 20)
            .spawn(move || shared.run());
        if let Err(error) = spawned {
            let mut queue = self.0.queue.lock();
            queue.threads -= 1;
            if queue.threads == 0 {
                // Nobody is left to do it.
                let jobs = std::mem::take(&mut queue.jobs);
                drop(queue);
                for job in jobs {
                    (job.done)(Err(crate::os::error_text(&error)));
                }
            }
        }
    }

    /// Ends the threads. One that waits for a name server goes on until it
    /// answers, and finds nobody to tell.
    pub(crate) fn stop(&self) {
        let mut queue = self.0.queue.lock();
        queue.stop = true;
        queue.jobs.clear();
        self.0.changed.notify_all();
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn run(&self) {
        let mut queue = self.queue.lock();
        loop {
            if queue.stop {
                break;
            }
            if let Some(job) = queue.jobs.pop_front() {
                drop(queue);
                (job.done)(blocking(&job.host, job.port, true));
                queue = self.queue.lock();
                continue;
            }
            queue.idle += 1;
            let timed_out = self.changed.wait_for(&mut queue, LINGER).timed_out();
            queue.idle -= 1;
            if timed_out && queue.jobs.is_empty() {
                break;
            }
        }
        queue.threads -= 1;
    }
}
