//! Many connections, no descriptors left, everything at once.

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::sync::Arc;

use common::{Bed, PATIENCE, until};
use proptest::test_runner::{RngAlgorithm, TestRng};
use skynet_core::Payload;
use skynet_net::kind;

/// Set in the child process that plays a test alone, because it changes a limit of the process.
const ALONE: &str = "SKYNET_NET_TEST_ALONE";

/// Runs the test `name` in a process of its own; true in that process.
fn alone(name: &str) -> bool {
    if std::env::var_os(ALONE).is_some() {
        return true;
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture"])
        .env(ALONE, "1")
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("1 passed"), "the test ran: {text}");
    false
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

fn limit_descriptors(limit: u64) {
    let limit = libc::rlimit {
        rlim_cur: limit,
        rlim_max: limit,
    };
    // SAFETY: a valid structure.
    let result = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
    assert_eq!(result, 0);
}

#[test]
fn no_descriptors_left() {
    if !alone("no_descriptors_left") {
        return;
    }
    let bed = Bed::new();
    let probe = bed.probe();
    let (listener, address) = bed.listener(&probe);
    let (mut old, old_id) = bed.pair(&probe);
    // Room for the client's own end, none for the accepted one.
    let client = socket2::Socket::new(
        socket2::Domain::IPV4,
        socket2::Type::STREAM,
        Some(socket2::Protocol::TCP),
    )
    .unwrap();
    let mut fillers = Vec::new();
    limit_descriptors(descriptors() as u64 + 16);
    while let Ok(file) = std::fs::File::open("/dev/null") {
        fillers.push(file);
    }
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.connect(&address.into()).unwrap();
    let event = probe.next();
    assert_eq!(event.id, listener);
    assert_eq!(event.brief(), (kind::ERROR, 0, "Too many open files"));
    let mut client = TcpStream::from(client);
    assert_eq!(
        client.read(&mut [0; 8]).unwrap(),
        0,
        "the client sees a close"
    );
    // The node lives: old connections work, a connection of its own fails with the reason.
    old.write_all(b"still here").unwrap();
    assert_eq!(probe.data(old_id, 10), b"still here");
    let id = bed
        .net
        .connect(probe.handle, "127.0.0.1", address.port().into())
        .unwrap();
    let event = probe.next();
    assert_eq!(
        (event.id, event.brief()),
        (id, (kind::ERROR, 0, "Too many open files"))
    );
    let refused = bed
        .net
        .listen(probe.handle, "127.0.0.1", 0, 32)
        .unwrap_err();
    assert_eq!(refused.to_string(), "Too many open files");
    // With descriptors again, so is the listener.
    fillers.clear();
    let _late = TcpStream::connect(address).unwrap();
    assert_eq!(probe.next().kind, kind::ACCEPT);
    bed.end();
}

/// User-space memory in use, in bytes.
fn in_use() -> usize {
    // SAFETY: mallinfo2 has no preconditions.
    let info = unsafe { libc::mallinfo2() };
    info.uordblks + info.hblkhd
}

#[test]
fn idle_connections_are_small() {
    if !alone("idle_connections_are_small") {
        return;
    }
    const COUNT: usize = 4000;
    let bed = Bed::new();
    let probe = bed.probe();
    let (_, address) = bed.listener(&probe);
    let connect = |count: usize| {
        let mut clients = Vec::with_capacity(count);
        let mut ids = Vec::with_capacity(count);
        for _ in 0..count {
            let mut client = TcpStream::connect(address).unwrap();
            let id = probe.next().ud;
            bed.net.start(probe.handle, id);
            assert_eq!(probe.next().brief(), (kind::CONNECT, 0, "start"));
            // Each has read and written before it is idle.
            client.write_all(&[b'x'; 500]).unwrap();
            probe.data(id, 500);
            assert!(bed.net.send(id, Payload::from_vec(vec![b'y'; 5000])));
            let mut got = [0; 5000];
            client.read_exact(&mut got).unwrap();
            clients.push(client);
            ids.push(id);
        }
        (clients, ids)
    };
    let warm = connect(64);
    let before = in_use();
    let cold = connect(COUNT);
    let each = (in_use() - before) / COUNT;
    println!("{each} bytes for each idle connection");
    assert!(each < 1024, "{each} bytes for each idle connection");
    assert!(each > 50, "the measurement measures: {each}");
    drop((warm, cold));
    bed.end();
}

#[test]
fn ten_thousand_ids_at_once_need_no_slots() {
    // More sockets than upstream has slots cannot be had from the system; in memory they can.
    let bed = Bed::simulated(3);
    let probe = bed.probe();
    let (_, address) = bed.listener(&probe);
    let ids: Vec<i32> = (0..10_000)
        .map(|_| {
            bed.net
                .connect(probe.handle, "127.0.0.1", address.port().into())
                .unwrap()
        })
        .collect();
    assert!(ids.windows(2).all(|w| w[0] < w[1]));
    let mut connected = 0;
    while connected < ids.len() {
        let event = probe.next();
        assert!(matches!(event.kind, kind::CONNECT | kind::ACCEPT));
        connected += usize::from(event.kind == kind::CONNECT);
    }
    bed.end();
}

/// Threads do anything with any socket, in any order. Nothing may hang or
/// break, CLOSE comes at most once, nothing comes after it but answers to `start`.
#[test]
fn everything_at_once() {
    use proptest::prelude::Rng;
    let bed = Arc::new(Bed::new());
    let probe = bed.probe();
    let (_, address) = bed.listener(&probe);
    let threads: Vec<_> = (0..3u8)
        .map(|seed| {
            let (bed, owner) = (bed.clone(), probe.handle);
            std::thread::spawn(move || {
                let mut rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]);
                let port = i32::from(address.port());
                for round in 0..3000 {
                    // The last ids that were given out are the lively ones.
                    let newest = bed.net.info().first().map_or(1, |i| i.id);
                    let id = (newest - (rng.next_u32() % 12) as i32).max(2);
                    match rng.next_u32() % 10 {
                        0 => {
                            bed.net.connect(owner, "127.0.0.1", port).unwrap();
                        }
                        1 => bed.net.close(id),
                        2 if round % 4 == 0 => bed.net.shutdown(id),
                        3 => bed.net.pause(id),
                        4..=6 => bed.net.start(owner, id),
                        7 => {
                            bed.net.send(id, Payload::from_vec(vec![1; 300_000]));
                        }
                        8 => {
                            bed.net.send_low_slice(id, &[2; 100]);
                        }
                        _ => {
                            bed.net.send_slice(id, &[3; 100]);
                        }
                    }
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    // What is left is closed; then every connection has had its CLOSE or ERROR.
    until("all sockets are closed", || {
        for info in bed.net.info() {
            bed.net.shutdown(info.id);
        }
        // Accepted sockets are not shown before they are started.
        while let Some(event) = probe.ready() {
            if event.kind == kind::ACCEPT {
                bed.net.shutdown(event.ud);
            }
        }
        bed.net.info().is_empty()
    });
    probe.settle();
    let (mut client, id) = bed.pair(&bed.probe());
    assert!(bed.net.send_slice(id, b"alive"));
    let mut got = [0; 5];
    client.read_exact(&mut got).unwrap();
    Arc::into_inner(bed).unwrap().end();
}

/// Somebody closes ids that they were not given, at the very moment they come into being:
/// the socket thread lives.
#[test]
fn ids_that_are_guessed_harm_nobody() {
    use std::sync::atomic::{AtomicI32, Ordering};
    const CLIENTS: usize = 1000;
    let bed = Bed::new();
    let probe = bed.probe();
    let (listener, address) = bed.listener(&probe);
    let guess = AtomicI32::new(listener + 1);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while let id = guess.load(Ordering::Relaxed)
                && id > 0
            {
                bed.net.close(id);
            }
        });
        for _ in 0..CLIENTS {
            let mut client = TcpStream::connect(address).unwrap();
            client.set_read_timeout(Some(PATIENCE)).unwrap();
            assert_eq!(client.read(&mut [0]).unwrap(), 0, "it is closed");
            guess.fetch_add(1, Ordering::Relaxed);
        }
        guess.store(0, Ordering::Relaxed);
    });
    bed.end();
}
