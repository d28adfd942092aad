//! The order of writes: priorities, mixed senders, warnings.

mod common;

use std::io::Read;
use std::net::TcpStream;

use common::{Bed, Probe, until};
use proptest::prelude::*;
use skynet_core::Payload;
use skynet_net::kind;

/// Sends until the socket takes no more; returns the size.
fn block(bed: &Bed, id: i32) -> usize {
    let size = 12 << 20;
    assert!(bed.net.send(id, Payload::from_vec(vec![b'.'; size])));
    let info = bed.net.info();
    assert!(info.iter().find(|i| i.id == id).unwrap().write_buffer > 0);
    size
}

fn read_rest(client: &mut TcpStream, skip: usize) -> Vec<u8> {
    let mut all = Vec::new();
    client.read_to_end(&mut all).unwrap();
    assert!(all[..skip].iter().all(|&b| b == b'.'));
    all.split_off(skip)
}

#[test]
fn priorities_act_between_whole_blocks() {
    let bed = Bed::new();
    let probe = bed.probe();
    let (mut client, id) = bed.pair(&probe);
    let skip = block(&bed, id);
    for (text, low) in [
        ("L1", true),
        ("H1", false),
        ("L2", true),
        ("H2", false),
        ("L3", true),
        ("H3", false),
    ] {
        let sent = if low {
            bed.net.send_low(id, Payload::from(text))
        } else {
            bed.net.send(id, Payload::from(text))
        };
        assert!(sent);
    }
    bed.net.close(id);
    assert_eq!(read_rest(&mut client, skip), b"L1H1H2H3L2L3");
    bed.end();
}

#[test]
fn a_low_send_to_an_idle_socket_waits_for_nothing() {
    let bed = Bed::new();
    let probe = bed.probe();
    let (mut client, id) = bed.pair(&probe);
    probe.run(move |_, net| {
        net.send_slice(id, b"H0");
        net.send_low_slice(id, b"L1");
        net.send_slice(id, b"H1");
        net.close(id);
    });
    assert_eq!(read_rest(&mut client, 0), b"H0L1H1");
    bed.end();
}

#[test]
fn warnings_double_and_end_when_drained() {
    let bed = Bed::new();
    let probe = bed.probe();
    let (mut client, id) = bed.pair(&probe);
    let skip = block(&bed, id);
    let piece = vec![b'.'; 256 << 10];
    for _ in 0..32 {
        assert!(bed.net.send_slice(id, &piece));
    }
    for kib in [1024, 2048, 4096, 8192] {
        assert_eq!(probe.next().brief(), (kind::WARNING, kib, ""));
    }
    let mut all = vec![0; skip + 32 * piece.len()];
    client.read_exact(&mut all).unwrap();
    assert_eq!(probe.next().brief(), (kind::WARNING, 0, ""));
    let sockets = bed.net.info();
    let info = sockets.iter().find(|i| i.id == id).unwrap();
    assert_eq!((info.write_buffer, info.writing), (0, false));
    assert_eq!(info.write, all.len() as u64);
    // The thresholds begin anew.
    let again = block(&bed, id);
    for _ in 0..4 {
        assert!(bed.net.send_slice(id, &piece));
    }
    assert_eq!(probe.next().brief(), (kind::WARNING, 1024, ""));
    let mut all = vec![0; again + 4 * piece.len()];
    client.read_exact(&mut all).unwrap();
    assert_eq!(probe.next().brief(), (kind::WARNING, 0, ""));
    bed.end();
}

#[test]
fn a_client_that_never_reads_holds_up_nobody() {
    let bed = Bed::new();
    let (stuck, lively) = (bed.probe(), bed.probe());
    let (client, id) = bed.pair(&stuck);
    let (mut other, other_id) = bed.pair(&lively);
    block(&bed, id);
    for _ in 0..100 {
        assert!(bed.net.send_slice(id, &[b'x'; 64 << 10]));
        assert!(bed.net.send_slice(other_id, b"lively"));
        let mut got = [0; 6];
        other.read_exact(&mut got).unwrap();
    }
    assert_eq!(stuck.next().brief(), (kind::WARNING, 1024, ""));
    drop(client);
    until("the id becomes free", || {
        bed.net.info().iter().all(|i| i.id != id)
    });
    bed.end();
}

/// Two threads keep a socket full while its reader drains it, so that sends meet writes in
/// progress and events meet both. A lost wake-up would be a hang, a wrong place a broken message.
#[test]
fn a_full_socket_that_is_drained_loses_nothing() {
    const COUNT: usize = 6000;
    const HIGH_WATER: u64 = 4 << 20;
    let bed = Bed::new();
    let probe = bed.probe();
    let (mut client, id) = bed.pair(&probe);
    let senders: Vec<_> = (0..2u8)
        .map(|sender| {
            let net = bed.net.clone();
            std::thread::spawn(move || {
                for number in 0..COUNT as u32 {
                    let size = 16 + number as usize * 7919 % 24_000;
                    let mut bytes = vec![sender; size];
                    bytes[1..5].copy_from_slice(&number.to_be_bytes());
                    bytes[5..9].copy_from_slice(&(size as u32).to_be_bytes());
                    assert!(net.send(id, Payload::from_vec(bytes)));
                    until("the queue shrinks", || {
                        let info = net.info();
                        let waiting = info.iter().find(|i| i.id == id).unwrap().write_buffer;
                        waiting < HIGH_WATER
                    });
                }
            })
        })
        .collect();
    let mut next = [0; 2];
    let mut body = Vec::new();
    while next != [COUNT as u32; 2] {
        let mut head = [0; 9];
        client.read_exact(&mut head).unwrap();
        let sender = usize::from(head[0]);
        let number = u32::from_be_bytes(head[1..5].try_into().unwrap());
        let size = u32::from_be_bytes(head[5..9].try_into().unwrap()) as usize;
        assert_eq!(
            number, next[sender],
            "messages of a sender keep their order"
        );
        next[sender] += 1;
        body.resize(size - head.len(), 0);
        client.read_exact(&mut body).unwrap();
        assert!(
            body.iter().all(|&byte| byte == head[0]),
            "a message is whole"
        );
    }
    for sender in senders {
        sender.join().unwrap();
    }
    bed.end();
}

/// One send: who, how long, which way.
#[derive(Debug, Clone)]
struct Send {
    sender: usize,
    size: usize,
    how: How,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum How {
    Slice,
    Payload,
    Large,
}

fn sends() -> impl Strategy<Value = Vec<Send>> {
    let size = prop_oneof![
        6 => 8..200usize,
        2 => 200..5000usize,
        1 => 5000..100_000usize,
        1 => 100_000..3_000_000usize,
    ];
    let how = prop_oneof![Just(How::Slice), Just(How::Payload), Just(How::Large)];
    let send = (0..3usize, size, how).prop_map(|(sender, size, how)| Send { sender, size, how });
    prop::collection::vec(send, 1..60)
}

/// A message: sender, number, size, filler. Whole messages can be told apart in the stream.
fn message(sender: usize, number: usize, size: usize) -> Vec<u8> {
    let mut bytes = vec![sender as u8, number as u8];
    bytes.extend_from_slice(&(size as u32).to_be_bytes());
    bytes.resize(size, (sender * 60 + number) as u8);
    bytes
}

fn put(net: &skynet_net::Net, id: i32, bytes: Vec<u8>, how: How) {
    assert!(match how {
        How::Slice => net.send_slice(id, &bytes),
        How::Payload => net.send(id, Payload::from_slice(&bytes)),
        How::Large => net.send(id, Payload::from_vec(bytes)),
    });
}

/// Sender 0 and 1 are services (the first sends several messages in a dispatch), sender 2 is this thread.
fn play(
    bed: &Bed,
    owner: &Probe,
    services: &[Probe; 2],
    all: &[Send],
) -> Result<(), TestCaseError> {
    let (mut client, id) = bed.pair(owner);
    let reader = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        client.read_to_end(&mut bytes).unwrap();
        bytes
    });
    let mut numbers = [0; 3];
    let mut batch = Vec::new();
    let mut done = Vec::new();
    for send in all {
        let number = numbers[send.sender];
        numbers[send.sender] += 1;
        let bytes = message(send.sender, number, send.size);
        let how = send.how;
        match send.sender {
            0 => {
                batch.push((bytes, how));
                if batch.len() == 4 {
                    let batch = std::mem::take(&mut batch);
                    done.push(services[0].begin(move |_, net| {
                        batch.into_iter().for_each(|(b, how)| put(net, id, b, how));
                    }));
                }
            }
            1 => done.push(services[1].begin(move |_, net| put(net, id, bytes, how))),
            _ => put(&bed.net, id, bytes, how),
        }
    }
    done.push(services[0].begin(move |_, net| {
        batch.into_iter().for_each(|(b, how)| put(net, id, b, how));
    }));
    for done in done {
        done.recv_timeout(common::PATIENCE).unwrap();
    }
    bed.net.close(id);
    let stream = reader.join().unwrap();
    let mut at = 0;
    let mut seen = [0; 3];
    while at < stream.len() {
        let (sender, number) = (stream[at] as usize, stream[at + 1] as usize);
        let size = u32::from_be_bytes(stream[at + 2..at + 6].try_into().unwrap()) as usize;
        prop_assert_eq!(
            number,
            seen[sender],
            "messages of a sender keep their order"
        );
        prop_assert_eq!(&stream[at..at + size], &message(sender, number, size)[..]);
        seen[sender] += 1;
        at += size;
    }
    prop_assert_eq!(seen, numbers);
    // Warnings and the close.
    while owner.next().kind != kind::CLOSE {}
    Ok(())
}

#[test]
fn messages_of_a_sender_keep_their_order_and_stay_whole() {
    let bed = Bed::new();
    let owner = bed.probe();
    let services = [bed.probe(), bed.probe()];
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 40,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    runner
        .run(&sends(), |all| play(&bed, &owner, &services, &all))
        .unwrap();
    bed.end();
}
