//! The TCP scenarios of vectors/socket-events.json, played on the system's sockets
//! and in memory. Events are compared per socket: between sockets their order is not fixed.

mod common;

use std::collections::BTreeMap;

use common::{Bed, Event, Probe};
use serde_json::Value;
use skynet_net::kind;

/// Plays the steps of one scenario.
struct Play<'a> {
    bed: &'a Bed,
    probe: Probe,
    steps: Vec<Value>,
    at: usize,
    /// The sockets' names in the vectors.
    names: BTreeMap<String, i32>,
    port: i32,
}

impl<'a> Play<'a> {
    fn new(bed: &'a Bed, scenario: &str) -> Self {
        let vectors: Value =
            serde_json::from_str(include_str!("vectors/socket-events.json")).unwrap();
        let scenario = vectors["scenarios"]
            .as_array()
            .unwrap()
            .iter()
            .find(|s| s["name"] == scenario)
            .unwrap()
            .clone();
        Self {
            bed,
            probe: bed.probe(),
            steps: scenario["steps"].as_array().unwrap().clone(),
            at: 0,
            names: BTreeMap::new(),
            port: 0,
        }
    }

    fn id(&self, name: &str) -> i32 {
        self.names[name]
    }

    /// A connected pair C, S; S is started if `start`.
    fn connect(&mut self, start: bool) {
        let (listener, address) = self.bed.listener(&self.probe);
        let client = self
            .bed
            .net
            .connect(self.probe.handle, "127.0.0.1", address.port().into())
            .unwrap();
        let events = [self.probe.next(), self.probe.next()];
        let accept = events.iter().find(|e| e.kind == kind::ACCEPT).unwrap();
        self.names.insert("L".into(), listener);
        self.names.insert("C".into(), client);
        self.names.insert("S".into(), accept.ud);
        if start {
            self.bed.net.start(self.probe.handle, accept.ud);
            assert_eq!(self.probe.next().brief(), (kind::CONNECT, 0, "start"));
        }
    }

    /// Plays one step, whose text in the vectors begins with `op`, and compares what comes.
    fn step(&mut self, op: &str, play: impl FnOnce(&mut Self)) {
        let step = self.steps[self.at].clone();
        self.at += 1;
        let text = step["op"].as_str().unwrap();
        assert!(text.starts_with(op), "the vectors have {text:?} here");
        play(self);
        let expected = step["events"].as_array().unwrap();
        let got: Vec<Event> = expected.iter().map(|_| self.probe.next()).collect();
        self.compare(text, expected, &got);
        // Everything done by this thread has been told by now.
        self.probe.settle();
        if let Some(sim) = self.bed.node.sim() {
            sim.run();
        }
        assert_eq!(self.probe.ready(), None, "{text}");
    }

    fn compare(&mut self, op: &str, expected: &[Value], got: &[Event]) {
        // New ids become known by the event that brings them.
        for event in expected {
            if event["ud"] == "newid" {
                let accept = got.iter().find(|e| e.kind == kind::ACCEPT).unwrap();
                self.names.insert("S".into(), accept.ud);
            }
            if event["ud"] == "<port>" {
                self.port = got[0].ud;
                assert!(self.port > 0);
            }
        }
        let mut by_id: BTreeMap<i32, Vec<&Event>> = BTreeMap::new();
        for event in got {
            by_id.entry(event.id).or_default().push(event);
        }
        for want in expected {
            let id = match &want["id"] {
                Value::String(name) => self.id(name),
                number => number.as_i64().unwrap() as i32,
            };
            let list = by_id.get_mut(&id).filter(|list| !list.is_empty());
            let list = list.unwrap_or_else(|| panic!("{op}: no event for {want} in {got:?}"));
            let event = list.remove(0);
            self.compare_one(op, want, event);
        }
    }

    fn compare_one(&self, op: &str, want: &Value, got: &Event) {
        let number = match want["type"].as_str().unwrap() {
            "DATA" => kind::DATA,
            "CONNECT" => kind::CONNECT,
            "CLOSE" => kind::CLOSE,
            "ACCEPT" => kind::ACCEPT,
            "ERROR" => kind::ERROR,
            "WARNING" => kind::WARNING,
            other => panic!("unknown type {other}"),
        };
        assert_eq!(got.kind, number, "{op}: want {want}, got {got:?}");
        match &want["ud"] {
            Value::Number(ud) => assert_eq!(i64::from(got.ud), ud.as_i64().unwrap(), "{op}"),
            name if *name == "newid" => assert_eq!(got.ud, self.id("S")),
            name => assert_eq!(*name, "<port>"),
        }
        if let Some(text) = want["inline"].as_str() {
            if let Some(fixed) = text.strip_suffix("<ephemeral>") {
                let port = got.text.strip_prefix(fixed).unwrap();
                assert!(port.parse::<u16>().unwrap() > 0);
            } else {
                assert_eq!(got.text, text, "{op}");
            }
        }
        if let Some(data) = want["data"].as_str() {
            assert_eq!(got.data, data.as_bytes(), "{op}");
        }
        match want["sz"].as_u64() {
            Some(size) => assert_eq!(got.size as u64, size, "{op}: {want}"),
            None => assert_eq!(got.size, 24 + got.text.len()),
        }
    }

    fn end(self) {
        assert_eq!(self.at, self.steps.len(), "every step was played");
    }
}

fn both(play: impl Fn(&Bed)) {
    for bed in [Bed::new(), Bed::simulated(1)] {
        play(&bed);
        bed.end();
    }
}

#[test]
fn listen_start_connect_accept_data_close() {
    both(|bed| {
        let net = &bed.net;
        let mut play = Play::new(bed, "listen/start/connect/accept/start/data/close");
        let me = play.probe.handle;
        play.step("L=listen", |p| {
            let id = net.listen(me, "127.0.0.1", 0, 32).unwrap();
            assert_eq!(id, 1, "ids count from 1");
            p.names.insert("L".into(), id);
        });
        play.step("start(L)", |p| net.start(me, p.id("L")));
        play.step("start(L) again", |p| net.start(me, p.id("L")));
        play.step("C=connect", |p| {
            let id = net.connect(me, "127.0.0.1", p.port).unwrap();
            assert_eq!(id, 2);
            p.names.insert("C".into(), id);
        });
        assert_eq!(play.id("S"), 3);
        play.step("send(C,'hello')", |p| {
            assert!(net.send_slice(p.id("C"), b"hello"));
        });
        play.step("send(S,'lost')", |p| {
            assert!(net.send_slice(p.id("S"), b"lost"));
        });
        play.step("start(S)", |p| net.start(me, p.id("S")));
        play.step("start(S) again", |p| net.start(me, p.id("S")));
        play.step("send(S,'world')", |p| {
            assert!(net.send_slice(p.id("S"), b"world"));
        });
        play.step("close(C)", |p| net.close(p.id("C")));
        play.step("close(S)", |p| net.close(p.id("S")));
        play.step("start(S) after close", |p| net.start(me, p.id("S")));
        play.step("shutdown(S) after close", |p| net.shutdown(p.id("S")));
        play.end();
    });
}

#[test]
fn shutdown() {
    both(|bed| {
        let mut play = Play::new(bed, "shutdown");
        play.connect(true);
        play.step("shutdown(S)", |p| bed.net.shutdown(p.id("S")));
        play.step("close(C)", |p| bed.net.close(p.id("C")));
        play.end();
    });
}

#[test]
fn close_while_never_started() {
    both(|bed| {
        let mut play = Play::new(bed, "close while never started");
        play.connect(false);
        play.step("close(S)", |p| bed.net.close(p.id("S")));
        play.step("close(C)", |p| bed.net.close(p.id("C")));
        play.end();
    });
}

#[test]
fn half_close_then_start() {
    both(|bed| {
        let mut play = Play::new(bed, "half close then start");
        play.connect(true);
        let me = play.probe.handle;
        play.step("close(C)", |p| bed.net.close(p.id("C")));
        play.step("start(S)", |p| bed.net.start(me, p.id("S")));
        play.step("close(S)", |p| bed.net.close(p.id("S")));
        play.end();
    });
}

#[test]
fn peer_resets() {
    both(|bed| {
        let mut play = Play::new(bed, "peer resets");
        play.connect(true);
        let me = play.probe.handle;
        play.step("C paused with unread data", |p| {
            let (client, server) = (p.id("C"), p.id("S"));
            // The pause must not meet a connection whose data is on its way.
            bed.net.pause(client);
            assert!(bed.net.send_slice(server, b"unread"));
            bed.net.close(client);
        });
        bed.net.start(me, play.id("S"));
        assert_eq!(
            play.probe.next().brief(),
            (kind::ERROR, 0, "invalid socket"),
            "nobody called close, the id is free"
        );
        play.end();
    });
}

#[test]
fn write_after_peer_closed() {
    both(|bed| {
        let mut play = Play::new(bed, "write after peer closed");
        play.connect(true);
        let (client, server) = (play.id("C"), play.id("S"));
        bed.net.close(client);
        for _ in 0..2 {
            assert_eq!(play.probe.next().kind, kind::CLOSE);
        }
        play.step("send(S,'x')", |_| {
            assert!(bed.net.send_slice(server, b"x"));
        });
        common::until("the id becomes free", || !bed.net.send_slice(server, b"y"));
        play.end();
    });
}

#[test]
fn failures() {
    both(|bed| {
        let net = &bed.net;
        let mut play = Play::new(bed, "failures");
        let me = play.probe.handle;
        let port = {
            let (listener, address) = bed.listener(&play.probe);
            net.close(listener);
            assert_eq!(play.probe.next().kind, kind::CLOSE);
            address.port()
        };
        play.step("connect refused", |p| {
            let id = net.connect(me, "127.0.0.1", port.into()).unwrap();
            p.names.insert("C".into(), id);
        });
        play.step("connect, unresolvable", |p| {
            // Spaces: no resolver asks a server for such a name.
            let id = net.connect(me, "no such host", 80).unwrap();
            p.names.insert("C2".into(), id);
        });
        play.step("start(99999)", |_| net.start(me, 99999));
        if bed.node.sim().is_some() {
            return;
        }
        play.step("bind(999)", |p| {
            let id = net.bind(me, 999_999).unwrap();
            p.names.insert("B".into(), id);
        });
        play.step("close/shutdown/pause/nodelay", |_| {
            net.close(99999);
            net.shutdown(99999);
            net.pause(99999);
            net.nodelay(99999);
        });
        play.end();
    });
}

#[test]
fn read_chunking() {
    both(|bed| {
        let net = &bed.net;
        let mut play = Play::new(bed, "read chunking");
        play.connect(true);
        let (client, me) = (play.id("C"), play.probe.handle);
        // Paused while the data is sent, so that all of it is there at the first read.
        let send = |p: &mut Play<'_>, size: usize| {
            let server = p.id("S");
            net.pause(server);
            assert!(net.send_slice(client, &vec![b'a'; size]));
            net.start(me, server);
            assert_eq!(p.probe.next().brief(), (kind::CONNECT, 0, "transfer"));
        };
        play.step("send 1000 bytes on a fresh socket", |p| send(p, 1000));
        play.step("send 1000 bytes again", |p| send(p, 1000));
        play.step("send 10", |p| send(p, 10));
        play.step("send 1000 (buffer halved", |p| send(p, 1000));
        play.end();
    });
}

#[test]
fn warning_thresholds() {
    both(|bed| {
        let net = &bed.net;
        let mut play = Play::new(bed, "warning thresholds");
        play.connect(false);
        let (client, server, me) = (play.id("C"), play.id("S"), play.probe.handle);
        play.step("send 8 MiB", |_| {
            assert!(net.send_slice(client, &vec![b'a'; 8 << 20]));
        });
        play.step("20 x send 256 KiB", |_| {
            for _ in 0..20 {
                assert!(net.send_slice(client, &vec![b'b'; 256 << 10]));
            }
        });
        // DATA events are left out of the vectors.
        net.start(me, server);
        let (mut bytes, mut rest) = (0, Vec::new());
        while bytes < 13_631_488 || rest.len() < 2 {
            let event = play.probe.next();
            match event.kind {
                kind::DATA => bytes += event.data.len(),
                _ => rest.push(event),
            }
        }
        let expected = play.steps[play.at]["events"].as_array().unwrap().clone();
        play.compare("start(S)", &expected, &rest);
        play.at += 1;
        assert_eq!(bytes, 13_631_488);
        play.end();
    });
}

#[test]
fn bind_leaves_the_descriptor_open() {
    use std::io::{Read, Write};
    use std::os::fd::AsRawFd;
    let bed = Bed::new();
    let (mut reader, mut writer) = std::io::pipe().unwrap();
    let mut play = Play::new(&bed, "bind stdin");
    let me = play.probe.handle;
    play.step("bind(0)", |p| {
        let id = bed.net.bind(me, reader.as_raw_fd()).unwrap();
        p.names.insert("B".into(), id);
    });
    writer.write_all(b"typed").unwrap();
    assert_eq!(play.probe.data(play.id("B"), 5), b"typed");
    play.step("close(B)", |p| bed.net.close(p.id("B")));
    play.end();
    writer.write_all(b"later").unwrap();
    let mut buffer = [0; 5];
    reader.read_exact(&mut buffer).unwrap();
    assert_eq!(&buffer, b"later");
    bed.end();
}
