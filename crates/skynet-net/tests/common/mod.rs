//! A node for tests: services that record socket events and run pieces of the test.

#![allow(dead_code)] // each test file uses a part of it

use std::collections::VecDeque;
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use skynet_core::{Context, Driver, Handle, InitError, Message, Node, Service, ptype};
use skynet_net::{Net, kind};

/// How long a test waits for what must come; only a failing test gets there.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// One socket message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub kind: i32,
    pub id: i32,
    pub ud: i32,
    pub text: String,
    pub data: Vec<u8>,
    /// The size of the message.
    pub size: usize,
}

impl Event {
    fn of(message: &Message) -> Self {
        let bytes = message.payload.as_slice();
        assert!(bytes.len() >= 24, "a socket record has 24 bytes");
        let field = |at: usize| i32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap());
        let data = message.payload.socket_data().unwrap_or_default().to_vec();
        let event = Self {
            kind: field(0),
            id: field(4),
            ud: field(8),
            text: String::from_utf8_lossy(&bytes[24..]).into_owned(),
            data,
            size: bytes.len(),
        };
        if event.kind == kind::DATA {
            assert_eq!(event.ud as usize, event.data.len());
        }
        assert_eq!((message.source, message.session), (0, 0));
        event
    }

    /// Kind, ud, text: what most tests compare.
    pub fn brief(&self) -> (i32, i32, &str) {
        (self.kind, self.ud, &self.text)
    }
}

type Job = Box<dyn FnOnce(&Context, &Net) + Send>;
type Jobs = Arc<Mutex<VecDeque<Job>>>;

/// The test's side of a service that was just created.
type Made = (Receiver<Event>, Jobs);

struct ProbeService {
    events: Sender<Event>,
    jobs: Jobs,
}

impl Service for ProbeService {
    fn init(&mut self, _: &Context, _: Option<&[u8]>) -> Result<(), InitError> {
        Ok(())
    }

    fn dispatch(&mut self, context: &Context, message: Message) {
        if message.kind() == ptype::SOCKET {
            // The test may have ended and dropped its end.
            let _ = self.events.send(Event::of(&message));
            return;
        }
        let job = self.jobs.lock().unwrap().pop_front().expect("a job");
        let net = context
            .node()
            .extension::<Net>()
            .expect("the node has sockets");
        job(context, net);
    }
}

struct Silent;

impl Service for Silent {
    fn init(&mut self, _: &Context, _: Option<&[u8]>) -> Result<(), InitError> {
        Ok(())
    }

    fn dispatch(&mut self, _: &Context, _: Message) {}
}

struct LogService(Arc<Mutex<Vec<String>>>);

impl Service for LogService {
    fn init(&mut self, _: &Context, _: Option<&[u8]>) -> Result<(), InitError> {
        Ok(())
    }

    fn dispatch(&mut self, _: &Context, message: Message) {
        let line = String::from_utf8_lossy(message.payload.as_slice()).into_owned();
        self.0.lock().unwrap().push(line);
    }
}

/// A node with sockets.
pub struct Bed {
    pub node: Arc<Node>,
    pub net: Arc<Net>,
    made: Arc<Mutex<Option<Made>>>,
    log: Arc<Mutex<Vec<String>>>,
}

impl Bed {
    /// A node with worker threads.
    pub fn new() -> Self {
        Self::with(Driver::Threads)
    }

    /// A node under the deterministic driver.
    pub fn simulated(seed: u64) -> Self {
        Self::with(Driver::Sim { seed })
    }

    pub fn with(driver: Driver) -> Self {
        let net = Net::new();
        let made = Arc::new(Mutex::new(None));
        let log = Arc::new(Mutex::new(Vec::new()));
        let (slot, lines) = (made.clone(), log.clone());
        let node = Node::builder()
            .env("thread", "2")
            .env("harbor", "0")
            .env("logservice", "log")
            .env("bootstrap", "silent")
            .module("log", move || {
                Ok(Box::new(LogService(lines.clone())) as Box<dyn Service>)
            })
            .module("silent", || Ok(Box::new(Silent) as Box<dyn Service>))
            .module("probe", move || {
                let (events, receiver) = channel();
                let jobs = Jobs::default();
                *slot.lock().unwrap() = Some((receiver, jobs.clone()));
                Ok(Box::new(ProbeService { events, jobs }) as Box<dyn Service>)
            })
            .driver(driver)
            .record_trace()
            .quiet_launch()
            .component(net.clone())
            .extension(net.clone())
            .build()
            .unwrap();
        node.start().unwrap();
        Self {
            node,
            net,
            made,
            log,
        }
    }

    /// A new service.
    pub fn probe(&self) -> Probe {
        let handle = self.node.launch("probe", None).unwrap();
        let (events, jobs) = self.made.lock().unwrap().take().unwrap();
        Probe {
            node: self.node.clone(),
            handle,
            events,
            jobs,
        }
    }

    /// A started listener of `probe` at a free port of 127.0.0.1.
    pub fn listener(&self, probe: &Probe) -> (i32, SocketAddr) {
        let id = self.net.listen(probe.handle, "127.0.0.1", 0, 128).unwrap();
        let port = probe.next().ud as u16;
        self.net.start(probe.handle, id);
        assert_eq!(probe.next().brief(), (kind::CONNECT, 0, "start"));
        (id, SocketAddr::from(([127, 0, 0, 1], port)))
    }

    /// A connection from a plain client to a started socket of `probe`.
    pub fn pair(&self, probe: &Probe) -> (TcpStream, i32) {
        let (listener, address) = self.listener(probe);
        let client = TcpStream::connect(address).unwrap();
        let id = probe.next().ud;
        self.net.start(probe.handle, id);
        assert_eq!(probe.next().brief(), (kind::CONNECT, 0, "start"));
        self.net.close(listener);
        assert_eq!(probe.next().brief(), (kind::CLOSE, 0, ""));
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        (client, id)
    }

    /// Lines of the log that hold `part`.
    pub fn logged(&self, part: &str) -> usize {
        let log = self.log.lock().unwrap();
        log.iter().filter(|line| line.contains(part)).count()
    }

    /// Ends the node.
    pub fn end(self) {
        self.node.abort();
        match self.node.sim() {
            Some(sim) => {
                sim.run();
                self.node.wait();
            }
            None => assert!(self.node.wait_timeout(PATIENCE), "the node does not end"),
        }
    }
}

/// A service of a test.
pub struct Probe {
    node: Arc<Node>,
    pub handle: Handle,
    events: Receiver<Event>,
    jobs: Jobs,
}

impl Probe {
    /// The next event, waited for.
    pub fn next(&self) -> Event {
        self.try_next().expect("an event should have come")
    }

    fn try_next(&self) -> Option<Event> {
        let Some(sim) = self.node.sim() else {
            return self.events.recv_timeout(PATIENCE).ok();
        };
        loop {
            if let Ok(event) = self.events.try_recv() {
                return Some(event);
            }
            if !sim.turn() {
                return None;
            }
        }
    }

    /// The next event of socket `id`; others before it are dropped.
    pub fn next_of(&self, id: i32) -> Event {
        loop {
            let event = self.next();
            if event.id == id {
                return event;
            }
        }
    }

    /// An event that has come already.
    pub fn ready(&self) -> Option<Event> {
        self.events.try_recv().ok()
    }

    /// Data of `id` until `size` bytes have come.
    pub fn data(&self, id: i32, size: usize) -> Vec<u8> {
        let mut all = Vec::new();
        while all.len() < size {
            let event = self.next();
            assert_eq!((event.kind, event.id), (kind::DATA, id), "{event:?}");
            all.extend_from_slice(&event.data);
        }
        assert_eq!(all.len(), size);
        all
    }

    /// Runs `job` inside a dispatch of the service and returns its result.
    pub fn run<R: Send + 'static>(
        &self,
        job: impl FnOnce(&Context, &Net) -> R + Send + 'static,
    ) -> R {
        let result = self.begin(job);
        match self.node.sim() {
            Some(sim) => loop {
                if let Ok(result) = result.try_recv() {
                    return result;
                }
                assert!(sim.turn(), "the job is not run");
            },
            None => result.recv_timeout(PATIENCE).expect("the job should end"),
        }
    }

    /// Like [`run`](Self::run) without waiting.
    pub fn begin<R: Send + 'static>(
        &self,
        job: impl FnOnce(&Context, &Net) -> R + Send + 'static,
    ) -> Receiver<R> {
        let (sender, receiver) = channel();
        self.jobs
            .lock()
            .unwrap()
            .push_back(Box::new(move |context, net| {
                let _ = sender.send(job(context, net));
            }));
        let payload = skynet_core::Payload::null();
        self.node
            .send(0, self.handle, ptype::TEXT, 0, payload)
            .unwrap();
        receiver
    }

    /// Waits until everything that was sent to the service before has been dispatched.
    pub fn settle(&self) {
        self.run(|_, _| ());
    }
}

/// Waits until `condition` holds, without a sleep.
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let end = std::time::Instant::now() + PATIENCE;
    while !condition() {
        assert!(std::time::Instant::now() < end, "{what}");
        std::thread::yield_now();
    }
}
