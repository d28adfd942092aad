//! Sockets under the deterministic driver.

mod common;

use common::{Bed, Event};
use skynet_core::{SimEnd, TraceEntry};
use skynet_net::{NetError, kind};

/// Three clients talk to an echo service; what each sees, and the node's trace.
fn conversation(seed: u64) -> (Vec<Event>, Vec<TraceEntry>) {
    let bed = Bed::simulated(seed);
    let (server, clients) = (bed.probe(), [bed.probe(), bed.probe(), bed.probe()]);
    let (_, address) = bed.listener(&server);
    let ids = clients.each_ref().map(|client| {
        let me = client.handle;
        client.run(move |_, net| {
            let id = net.connect(me, "127.0.0.1", address.port().into()).unwrap();
            net.send_slice(id, b"hello from me");
            id
        })
    });
    let mut seen = Vec::new();
    let mut echoed = 0;
    while echoed < 3 * 13 {
        let event = server.next();
        match event.kind {
            kind::ACCEPT => bed.net.start(server.handle, event.ud),
            kind::DATA => {
                echoed += event.data.len();
                let id = event.id;
                let data = event.data.clone();
                server.run(move |_, net| assert!(net.send_slice(id, &data)));
            }
            _ => {}
        }
        seen.push(event);
    }
    for (client, id) in clients.iter().zip(ids) {
        assert_eq!(client.next().brief(), (kind::CONNECT, 0, "127.0.0.1"));
        assert_eq!(client.data(id, 13), b"hello from me");
        bed.net.close(id);
        assert_eq!(client.next().kind, kind::CLOSE);
    }
    assert_eq!(bed.node.sim().unwrap().run(), SimEnd::Idle);
    while let Some(event) = server.ready() {
        seen.push(event);
    }
    let closed = seen.iter().filter(|e| e.kind == kind::CLOSE).count();
    assert_eq!(closed, 3);
    let trace = bed.node.trace().unwrap().entries();
    bed.end();
    (seen, trace)
}

#[test]
fn one_seed_gives_one_trace() {
    for seed in [1, 7, 99] {
        let (seen, trace) = conversation(seed);
        assert!(trace.len() > 20);
        let again = conversation(seed);
        assert_eq!(seen, again.0);
        assert_eq!(trace, again.1);
    }
}

#[test]
fn seeds_try_different_orders() {
    let runs: Vec<_> = (0..10).map(|seed| conversation(seed).1).collect();
    assert!(runs.iter().any(|run| *run != runs[0]));
}

#[test]
fn real_descriptors_are_refused() {
    let bed = Bed::simulated(1);
    let probe = bed.probe();
    let id = bed.net.bind(probe.handle, 0).unwrap();
    let event = probe.next();
    assert_eq!((event.id, event.kind), (id, kind::ERROR));
    assert!(event.text.contains("deterministic driver"));
    assert!(!bed.net.send_slice(id, b"x"));
    bed.end();
}

#[test]
fn addresses_in_memory() {
    let bed = Bed::simulated(1);
    let probe = bed.probe();
    let listen = |host: &str, port| bed.net.listen(probe.handle, host, port, 32);
    let any = listen("", 7000).unwrap();
    assert_eq!(probe.next().brief(), (kind::CONNECT, 7000, "0.0.0.0"));
    let in_use = Err(NetError::Failed("Address already in use".to_owned()));
    assert_eq!(listen("0.0.0.0", 7000), in_use);
    assert_eq!(listen("127.0.0.1", 7000), in_use);
    listen("::1", 0).unwrap();
    let event = probe.next();
    assert!(event.ud > 0 && event.text == "::1");
    assert_eq!(bed.net.resolve("localhost").unwrap(), ["127.0.0.1"]);
    assert!(bed.net.resolve("example.com").is_err());
    bed.net.start(probe.handle, any);
    probe.next();
    // A wildcard listener is reached by any address of its family.
    let id = bed.net.connect(probe.handle, "10.1.2.3", 7000).unwrap();
    let (one, two) = (probe.next(), probe.next());
    let connect = if one.kind == kind::CONNECT {
        &one
    } else {
        &two
    };
    assert_eq!((connect.id, connect.text.as_str()), (id, "10.1.2.3"));
    // A listener that is closed resets what it has not accepted.
    bed.net.pause(any);
    let late = bed.net.connect(probe.handle, "127.0.0.1", 7000).unwrap();
    assert_eq!(probe.next_of(late).kind, kind::CONNECT);
    bed.net.close(any);
    assert_eq!(
        probe.next_of(late).brief(),
        (kind::ERROR, 0, "Connection reset by peer")
    );
    assert_eq!(probe.next_of(late).kind, kind::CLOSE);
    let none = bed.net.connect(probe.handle, "127.0.0.1", 7000).unwrap();
    assert_eq!(
        probe.next_of(none).brief(),
        (kind::ERROR, 0, "Connection refused")
    );
    bed.end();
}

#[test]
fn a_blocked_writer_goes_on_when_the_reader_reads() {
    let bed = Bed::simulated(5);
    let (server, client) = (bed.probe(), bed.probe());
    let (_, address) = bed.listener(&server);
    let id = bed
        .net
        .connect(client.handle, "localhost", address.port().into())
        .unwrap();
    assert_eq!(client.next().kind, kind::CONNECT);
    let accepted = server.next().ud;
    let size = 3 << 20;
    client.run(move |_, net| {
        for i in 0..size / 1024 {
            assert!(net.send_slice(id, &[i as u8; 1024]));
        }
        net.close(id);
    });
    assert_eq!(bed.node.sim().unwrap().run(), SimEnd::Idle);
    bed.net.start(server.handle, accepted);
    server.next();
    let got = server.data(accepted, size);
    assert!(
        got.chunks(1024)
            .enumerate()
            .all(|(i, c)| c == [i as u8; 1024])
    );
    assert_eq!(server.next().kind, kind::CLOSE);
    bed.end();
}
