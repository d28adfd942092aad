//! Connections of a node with plain clients and servers of the standard library.

mod common;

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::AsRawFd;

use common::{Bed, PATIENCE, until};
use skynet_core::Payload;
use skynet_net::{NetError, SocketKind, kind};

fn read_exactly(stream: &mut TcpStream, size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    stream.read_exact(&mut bytes).unwrap();
    bytes
}

/// Closes with a reset instead of an orderly end.
fn reset(stream: TcpStream) {
    socket2::SockRef::from(&stream)
        .set_linger(Some(std::time::Duration::ZERO))
        .unwrap();
}

#[test]
fn echo() {
    let bed = Bed::new();
    let probe = bed.probe();
    let (mut client, id) = bed.pair(&probe);
    for text in ["hello", "world"] {
        client.write_all(text.as_bytes()).unwrap();
        assert_eq!(probe.data(id, 5), text.as_bytes());
        assert!(bed.net.send(id, Payload::from(text)));
        assert_eq!(read_exactly(&mut client, 5), text.as_bytes());
    }
    bed.net.close(id);
    assert_eq!(probe.next().brief(), (kind::CLOSE, 0, ""));
    assert_eq!(client.read(&mut [0; 8]).unwrap(), 0);
    bed.end();
}

#[test]
fn a_client_that_sends_one_byte_at_a_time() {
    let bed = Bed::new();
    let probe = bed.probe();
    let (mut client, id) = bed.pair(&probe);
    client.set_nodelay(true).unwrap();
    let text = b"one byte at a time";
    for byte in text {
        client.write_all(&[*byte]).unwrap();
    }
    assert_eq!(probe.data(id, text.len()), text);
    bed.end();
}

#[test]
fn writes_of_one_dispatch_go_out_at_its_end() {
    let bed = Bed::new();
    let probe = bed.probe();
    let (client, id) = bed.pair(&probe);
    let mut observer = client.try_clone().unwrap();
    probe.run(move |_, net| {
        for i in 0..100 {
            assert!(net.send_slice(id, format!("{i:03}\n").as_bytes()));
        }
        let info = net.info().into_iter().find(|i| i.id == id).unwrap();
        assert_eq!((info.write, info.write_buffer), (0, 400));
        observer.set_nonblocking(true).unwrap();
        let early = observer.read(&mut [0; 1]).unwrap_err();
        observer.set_nonblocking(false).unwrap();
        assert_eq!(early.kind(), ErrorKind::WouldBlock);
    });
    let mut client = client;
    let got = read_exactly(&mut client, 400);
    assert_eq!(&got[..8], b"000\n001\n");
    assert_eq!(&got[392..], b"098\n099\n");
    bed.end();
}

#[test]
fn much_in_one_dispatch_goes_out_at_once() {
    let bed = Bed::new();
    let probe = bed.probe();
    let (mut client, id) = bed.pair(&probe);
    probe.run(move |_, net| {
        for _ in 0..16 {
            assert!(net.send_slice(id, &[b'x'; 1024]));
        }
        // Still inside the dispatch.
        assert_eq!(read_exactly(&mut client, 16 * 1024), [b'x'; 16 * 1024]);
    });
    bed.end();
}

#[test]
fn what_was_sent_before_close_arrives() {
    let bed = Bed::new();
    let probe = bed.probe();
    for close in [true, false] {
        let (mut client, id) = bed.pair(&probe);
        probe.run(move |_, net| {
            assert!(net.send_slice(id, b"last words"));
            if close {
                net.close(id);
            } else {
                net.shutdown(id);
            }
            assert!(!net.send_slice(id, b"too late"));
        });
        let mut all = Vec::new();
        client.read_to_end(&mut all).unwrap();
        assert_eq!(all, b"last words");
        assert_eq!(probe.next().brief(), (kind::CLOSE, 0, ""));
    }
    bed.end();
}

#[test]
fn close_writes_everything_to_a_slow_client() {
    let bed = Bed::new();
    let probe = bed.probe();
    let (mut client, id) = bed.pair(&probe);
    let size = 12 << 20;
    assert!(bed.net.send(id, Payload::from_vec(vec![b'z'; size])));
    bed.net.close(id);
    assert_eq!(probe.next().brief(), (kind::CLOSE, 0, ""));
    assert!(!bed.net.send_slice(id, b"closing"));
    assert!(bed.net.send_low_slice(id, b"dropped without a word"));
    let info = bed.net.info().into_iter().find(|i| i.id == id).unwrap();
    assert_eq!(info.kind, SocketKind::Closing);
    assert!(info.write_buffer > 0 && info.writing && !info.reading);
    bed.net.close(id);
    let mut all = Vec::new();
    client.read_to_end(&mut all).unwrap();
    assert_eq!(all.len(), size);
    until("the id becomes free", || bed.net.info().is_empty());
    assert_eq!(probe.ready(), None, "CLOSE comes once");
    bed.end();
}

#[test]
fn shutdown_drops_what_a_slow_client_has_not_read() {
    let bed = Bed::new();
    let probe = bed.probe();
    let (mut client, id) = bed.pair(&probe);
    let size = 12 << 20;
    assert!(bed.net.send(id, Payload::from_vec(vec![b'z'; size])));
    bed.net.shutdown(id);
    assert_eq!(probe.next().brief(), (kind::CLOSE, 0, ""));
    assert!(bed.net.info().is_empty());
    let mut all = Vec::new();
    client.read_to_end(&mut all).unwrap();
    assert!(all.len() < size);
    bed.end();
}

#[test]
fn a_half_closed_peer_can_still_be_written_to() {
    let bed = Bed::new();
    let probe = bed.probe();
    let (mut client, id) = bed.pair(&probe);
    client.write_all(b"question").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(probe.data(id, 8), b"question");
    assert_eq!(probe.next().brief(), (kind::CLOSE, 0, ""));
    assert!(bed.net.send_slice(id, b"answer"));
    bed.net.close(id);
    let mut all = Vec::new();
    client.read_to_end(&mut all).unwrap();
    assert_eq!(all, b"answer");
    until("the id becomes free", || bed.net.info().is_empty());
    probe.settle();
    assert_eq!(probe.ready(), None, "CLOSE comes once");
    bed.end();
}

#[test]
fn a_reset_gives_error_and_close_and_frees_the_id() {
    let bed = Bed::new();
    let probe = bed.probe();
    let (client, id) = bed.pair(&probe);
    reset(client);
    let expected = (kind::ERROR, 0, "Connection reset by peer");
    assert_eq!(probe.next().brief(), expected);
    assert_eq!(probe.next().brief(), (kind::CLOSE, 0, ""));
    assert!(!bed.net.send_slice(id, b"x"));
    bed.end();
}

#[test]
fn a_reset_of_paused_sockets_is_noticed() {
    let bed = Bed::new();
    let probe = bed.probe();
    let (_, address) = bed.listener(&probe);
    for start in [false, true] {
        let client = TcpStream::connect(address).unwrap();
        let id = probe.next().ud;
        if start {
            bed.net.start(probe.handle, id);
            assert_eq!(probe.next().brief(), (kind::CONNECT, 0, "start"));
            bed.net.pause(id);
        }
        reset(client);
        let expected = (kind::ERROR, 0, "Connection reset by peer");
        assert_eq!(probe.next().brief(), expected);
        assert_eq!(probe.next().brief(), (kind::CLOSE, 0, ""));
        bed.net.start(probe.handle, id);
        assert_eq!(probe.next().brief(), (kind::ERROR, 0, "invalid socket"));
    }
    bed.end();
}

#[test]
fn data_and_end_wait_for_the_start() {
    let bed = Bed::new();
    let probe = bed.probe();
    let (_, address) = bed.listener(&probe);
    let mut client = TcpStream::connect(address).unwrap();
    client.write_all(b"early").unwrap();
    drop(client);
    let id = probe.next().ud;
    bed.net.start(probe.handle, id);
    assert_eq!(probe.next().brief(), (kind::CONNECT, 0, "start"));
    assert_eq!(probe.data(id, 5), b"early");
    assert_eq!(probe.next().brief(), (kind::CLOSE, 0, ""));
    bed.end();
}

#[test]
fn a_paused_socket_keeps_data_and_end_back() {
    let bed = Bed::new();
    let (probe, other) = (bed.probe(), bed.probe());
    let (mut client, id) = bed.pair(&probe);
    bed.net.pause(id);
    client.write_all(b"later").unwrap();
    drop(client);
    // A second connection that gets through shows that the socket thread has been busy since.
    let (mut second, second_id) = bed.pair(&other);
    second.write_all(b"x").unwrap();
    assert_eq!(other.data(second_id, 1), b"x");
    probe.settle();
    assert_eq!(probe.ready(), None);
    assert!(!bed.net.info().iter().find(|i| i.id == id).unwrap().reading);
    // Whoever resumes it becomes its owner.
    bed.net.start(other.handle, id);
    assert_eq!(other.next().brief(), (kind::CONNECT, 0, "transfer"));
    assert_eq!(other.data(id, 5), b"later");
    assert_eq!(other.next().brief(), (kind::CLOSE, 0, ""));
    bed.end();
}

#[test]
fn a_paused_listener_keeps_connections_back() {
    let bed = Bed::new();
    let probe = bed.probe();
    let (id, address) = bed.listener(&probe);
    bed.net.pause(id);
    let _client = TcpStream::connect(address).unwrap();
    let (mut second, second_id) = bed.pair(&bed.probe());
    second.write_all(b"x").unwrap();
    until("the socket thread has seen it", || {
        bed.net
            .info()
            .iter()
            .any(|i| i.id == second_id && i.read == 1)
    });
    probe.settle();
    assert_eq!(probe.ready(), None);
    bed.net.start(probe.handle, id);
    assert_eq!(probe.next().kind, kind::ACCEPT);
    bed.end();
}

#[test]
fn sends_before_the_connection_is_made_go_out_after_it() {
    let bed = Bed::new();
    let probe = bed.probe();
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = i32::from(server.local_addr().unwrap().port());
    let me = probe.handle;
    // By name, so that the look-up is part of it.
    let id = probe.run(move |_, net| {
        let id = net.connect(me, "localhost", port).unwrap();
        net.nodelay(id);
        assert!(net.send_slice(id, b"early "));
        assert!(net.send(id, Payload::from("bird")));
        id
    });
    let event = probe.next();
    assert_eq!(
        (event.kind, event.id, event.text.as_str()),
        (kind::CONNECT, id, "127.0.0.1")
    );
    let (mut peer, _) = server.accept().unwrap();
    assert_eq!(read_exactly(&mut peer, 10), b"early bird");
    bed.end();
}

#[test]
fn close_while_connecting() {
    let bed = Bed::new();
    let probe = bed.probe();
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = i32::from(server.local_addr().unwrap().port());
    let me = probe.handle;
    let id = probe.run(move |_, net| {
        let id = net.connect(me, "localhost", port).unwrap();
        net.close(id);
        id
    });
    let event = probe.next();
    // The name may have been looked up in between.
    let event = if event.kind == kind::CONNECT {
        probe.next()
    } else {
        event
    };
    assert_eq!((event.kind, event.id), (kind::CLOSE, id));
    probe.settle();
    assert_eq!(probe.ready(), None);
    bed.end();
}

#[test]
fn connections_that_fail() {
    let bed = Bed::new();
    let probe = bed.probe();
    let me = probe.handle;
    let long = "h".repeat(232);
    assert_eq!(
        bed.net.connect(me, &long, 80),
        Err(NetError::InvalidAddress)
    );
    until("the log line", || {
        bed.logged("socket-server error: Invalid addr hhh") == 1
    });
    for (host, port, text) in [
        ("a\0b", 80, "Name or service not known"),
        ("", 80, "Name or service not known"),
        (
            "127.0.0.1",
            65_536,
            "Servname not supported for ai_socktype",
        ),
        ("255.255.255.255", 80, "Network is unreachable"),
    ] {
        let id = bed.net.connect(me, host, port).unwrap();
        let event = probe.next();
        assert_eq!(
            (event.kind, event.id, event.text.as_str()),
            (kind::ERROR, id, text)
        );
        assert!(!bed.net.send_slice(id, b"x"), "the id is free");
    }
    bed.end();
}

#[test]
fn listeners_that_fail_say_why() {
    let bed = Bed::new();
    let probe = bed.probe();
    let (_, address) = bed.listener(&probe);
    let listen = |host: &str, port: i32| bed.net.listen(probe.handle, host, port, 32);
    let failed = |text: &str| Err(NetError::Failed(text.to_owned()));
    assert_eq!(
        listen("127.0.0.1", address.port().into()),
        failed("Address already in use")
    );
    assert_eq!(
        listen("192.0.2.1", 0),
        failed("Cannot assign requested address")
    );
    assert_eq!(
        listen("no such host", 0),
        failed("Name or service not known")
    );
    assert_eq!(
        listen("127.0.0.1", -1),
        failed("Servname not supported for ai_socktype")
    );
    probe.settle();
    assert_eq!(probe.ready(), None);
    bed.end();
}

#[test]
fn ipv6_and_any_address() {
    let bed = Bed::new();
    let probe = bed.probe();
    for (host, local, target) in [
        ("::1", "::1", "::1"),
        ("", "0.0.0.0", "127.0.0.1"),
        ("::", "::", "::1"),
    ] {
        let listener = bed.net.listen(probe.handle, host, 0, 32).unwrap();
        let event = probe.next();
        assert_eq!(event.text, local);
        let port = event.ud;
        bed.net.start(probe.handle, listener);
        probe.next();
        let id = bed.net.connect(probe.handle, target, port).unwrap();
        let (one, two) = (probe.next(), probe.next());
        let (accept, connect) = if one.kind == kind::ACCEPT {
            (one, two)
        } else {
            (two, one)
        };
        assert_eq!((connect.id, connect.text.as_str()), (id, target));
        let name = format!("{target}:");
        assert!(accept.text.starts_with(&name), "{}", accept.text);
        let info = bed.net.info();
        let find = |id| info.iter().find(|i| i.id == id).unwrap();
        assert_eq!(find(id).name, format!("{target}:{port}"));
        assert_eq!(find(listener).name, format!("{local}:{port}"));
        assert_eq!(
            (find(listener).kind, find(listener).read),
            (SocketKind::Listen, 1)
        );
        for id in [listener, id, accept.ud] {
            bed.net.shutdown(id);
        }
        while probe.next().id != accept.ud {}
    }
    bed.end();
}

#[test]
fn info_shows_what_the_states_show() {
    let bed = Bed::new();
    let probe = bed.probe();
    let paused = bed.net.listen(probe.handle, "127.0.0.1", 0, 32).unwrap();
    probe.next();
    let (listener, address) = bed.listener(&probe);
    let mut client = TcpStream::connect(address).unwrap();
    let id = probe.next().ud;
    let ids = || bed.net.info().iter().map(|i| i.id).collect::<Vec<_>>();
    assert_eq!(
        ids(),
        [listener],
        "not {paused} and {id}, which are not started"
    );
    bed.net.start(probe.handle, id);
    probe.next();
    client.write_all(b"12345").unwrap();
    probe.data(id, 5);
    assert!(bed.net.send_slice(id, b"123"));
    assert_eq!(ids(), [id, listener], "the newest first");
    let info = &bed.net.info()[0];
    assert_eq!(info.owner, probe.handle);
    assert_eq!(info.kind, SocketKind::Tcp);
    assert_eq!((info.read, info.write, info.write_buffer), (5, 3, 0));
    assert!(info.reading && !info.writing);
    assert_eq!(info.name, client.local_addr().unwrap().to_string());
    assert!(info.read_time <= bed.node.now() && info.write_time <= bed.node.now());
    bed.end();
}

#[test]
fn a_write_to_a_listener_is_logged() {
    let bed = Bed::new();
    let probe = bed.probe();
    let (id, _) = bed.listener(&probe);
    assert!(bed.net.send_slice(id, b"x"));
    let line = format!("socket-server error: write to listen fd {id}.");
    until("the log line", || bed.logged(&line) == 1);
    bed.end();
}

#[test]
fn sockets_of_a_dead_service_are_closed() {
    let bed = Bed::new();
    let probe = bed.probe();
    let (mut client, _) = bed.pair(&probe);
    bed.node.retire(probe.handle);
    client.write_all(b"anybody?").unwrap();
    // Unread data: the end may be a reset.
    let end = client.read(&mut [0; 8]);
    assert!(matches!(end, Ok(0)) || end.is_err(), "{end:?}");
    until("the id becomes free", || bed.net.info().is_empty());
    bed.end();
}

#[test]
fn a_listener_of_a_dead_service_is_closed() {
    let bed = Bed::new();
    let probe = bed.probe();
    let (_, address) = bed.listener(&probe);
    bed.node.retire(probe.handle);
    let mut client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let end = client.read(&mut [0; 8]);
    assert!(matches!(end, Ok(0)) || end.is_err(), "{end:?}");
    until("the listener is gone", || {
        TcpStream::connect(address).is_err()
    });
    bed.end();
}

#[test]
fn a_fast_sender_does_not_starve_others() {
    let bed = Bed::new();
    let (flood, calm) = (bed.probe(), bed.probe());
    let (mut fast, fast_id) = bed.pair(&flood);
    let (mut slow, slow_id) = bed.pair(&calm);
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let stopped = stop.clone();
    let sender = std::thread::spawn(move || {
        let block = vec![b'f'; 1 << 20];
        while !stopped.load(std::sync::atomic::Ordering::Relaxed) && fast.write_all(&block).is_ok()
        {
        }
    });
    assert_eq!(flood.next_of(fast_id).kind, kind::DATA);
    for _ in 0..20 {
        slow.write_all(b"calm").unwrap();
        assert_eq!(calm.data(slow_id, 4), b"calm");
        // What has come in is freed.
        while flood.ready().is_some() {}
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    bed.net.shutdown(fast_id);
    sender.join().unwrap();
    bed.end();
}

#[test]
fn a_bound_pipe_is_written_and_its_reader_may_go() {
    let bed = Bed::new();
    let probe = bed.probe();
    let (mut reader, writer) = std::io::pipe().unwrap();
    let id = bed.net.bind(probe.handle, writer.as_raw_fd()).unwrap();
    assert_eq!(probe.next().brief(), (kind::CONNECT, 0, "binding"));
    let size = 1 << 20;
    assert!(bed.net.send(id, Payload::from_vec(vec![b'p'; size])));
    let mut all = vec![0; size];
    reader.read_exact(&mut all).unwrap();
    assert!(all.iter().all(|&b| b == b'p'));
    drop(reader);
    bed.net.send_slice(id, b"x");
    bed.net.shutdown(id);
    assert!(bed.net.info().is_empty());
    drop(writer);
    bed.end();
}

#[test]
fn a_regular_file_cannot_be_bound() {
    let bed = Bed::new();
    let probe = bed.probe();
    let file = std::fs::File::open("/proc/self/exe").unwrap();
    let id = bed.net.bind(probe.handle, file.as_raw_fd()).unwrap();
    let event = probe.next();
    assert_eq!(
        event.brief(),
        (kind::ERROR, 0, "reach skynet socket number limit")
    );
    assert!(!bed.net.send_slice(id, b"x"));
    assert!(file.metadata().is_ok(), "it is still open");
    bed.end();
}

#[test]
fn names_are_resolved_once_per_socket_type() {
    let bed = Bed::new();
    let all = bed.net.resolve("127.0.0.1").unwrap();
    assert_eq!(all, ["127.0.0.1"; 3]);
    assert!(
        bed.net
            .resolve("localhost")
            .unwrap()
            .contains(&"127.0.0.1".to_owned())
    );
    assert_eq!(
        bed.net.resolve("no such host"),
        Err("Name or service not known".to_owned())
    );
    bed.end();
}

#[test]
fn the_end_of_the_node_closes_sockets_after_what_was_sent() {
    let bed = Bed::new();
    let probe = bed.probe();
    let (mut client, id) = bed.pair(&probe);
    let (_, address) = bed.listener(&probe);
    probe.run(move |context, net| {
        assert!(net.send_slice(id, b"goodbye"));
        context.node().abort();
    });
    let net = bed.net.clone();
    bed.end();
    let mut all = Vec::new();
    client.read_to_end(&mut all).unwrap();
    assert_eq!(all, b"goodbye");
    assert!(TcpStream::connect(address).is_err());
    assert!(net.info().is_empty());
    assert_eq!(net.connect(1, "127.0.0.1", 80), Err(NetError::NotRunning));
    assert!(!net.send_slice(id, b"x"));
}

/// A service of one node may use the sockets of another one in the process.
#[test]
fn a_service_of_another_node_can_send() {
    let (bed, foreign) = (Bed::new(), Bed::new());
    let probe = bed.probe();
    let (mut client, id) = bed.pair(&probe);
    let net = bed.net.clone();
    let sender = foreign.probe();
    assert!(sender.run(move |_, _| net.send_slice(id, b"from afar")));
    let mut got = [0; 9];
    client.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"from afar");
    foreign.end();
    bed.end();
}

/// What `start` does, state by state, and who is told (spec/03-network.md §1.9).
#[test]
fn start_by_another_service() {
    let bed = Bed::new();
    let (owner, other) = (bed.probe(), bed.probe());
    let (listener, address) = bed.listener(&owner);
    let nothing_for = |probe: &common::Probe| {
        probe.settle();
        assert!(probe.ready().is_none());
    };
    // Listening: no message, the owner stays.
    bed.net.start(other.handle, listener);
    nothing_for(&other);
    let mut client = TcpStream::connect(address).unwrap();
    let accept = owner.next();
    assert_eq!((accept.id, accept.kind), (listener, kind::ACCEPT));
    let id = accept.ud;
    // Accepted: it is the starter's from now on.
    bed.net.start(other.handle, id);
    assert_eq!(other.next().brief(), (kind::CONNECT, 0, "start"));
    client.write_all(b"one").unwrap();
    assert_eq!(other.data(id, 3), b"one");
    // Connected: it changes hands.
    bed.net.start(owner.handle, id);
    assert_eq!(owner.next().brief(), (kind::CONNECT, 0, "transfer"));
    client.write_all(b"two").unwrap();
    assert_eq!(owner.data(id, 3), b"two");
    // Half closed: only the asker hears of it, and may still write.
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(owner.next().brief(), (kind::CLOSE, 0, ""));
    bed.net.start(other.handle, id);
    assert_eq!(other.next().brief(), (kind::ERROR, 0, "socket closed"));
    assert!(bed.net.send_slice(id, b"bye"));
    bed.net.close(id);
    assert_eq!(read_exactly(&mut client, 3), b"bye");
    // Gone.
    bed.net.start(other.handle, id);
    assert_eq!(other.next().brief(), (kind::ERROR, 0, "invalid socket"));
    // A foreign descriptor: no message.
    let (ours, _theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let bound = bed.net.bind(owner.handle, ours.as_raw_fd()).unwrap();
    assert_eq!(owner.next().brief(), (kind::CONNECT, 0, "binding"));
    bed.net.start(other.handle, bound);
    nothing_for(&other);
    nothing_for(&owner);
    bed.net.close(bound);
    assert_eq!(owner.next().brief(), (kind::CLOSE, 0, ""));
    bed.end();

    // Connecting: no message, the owner stays; nothing moves here until the driver is asked.
    let bed = Bed::simulated(1);
    let (owner, other) = (bed.probe(), bed.probe());
    let (_, address) = bed.listener(&owner);
    let connecting = bed
        .net
        .connect(other.handle, "127.0.0.1", i32::from(address.port()))
        .unwrap();
    bed.net.start(owner.handle, connecting);
    assert_eq!(other.next_of(connecting).kind, kind::CONNECT);
    bed.end();
}

/// Without an owner there is nobody to start, read or close a socket.
#[test]
fn a_start_for_a_dead_service_closes_the_socket() {
    let bed = Bed::new();
    let probe = bed.probe();
    let (listener, address) = bed.listener(&probe);
    let mut client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let accept = probe.next();
    assert_eq!((accept.id, accept.kind), (listener, kind::ACCEPT));
    bed.net.start(0x00ff_0000, accept.ud);
    assert_eq!(client.read(&mut [0; 8]).unwrap(), 0);
    assert!(!bed.net.send_slice(accept.ud, b"x"));
    bed.end();
}
