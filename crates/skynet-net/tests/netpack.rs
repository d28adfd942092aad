//! The framing codec against the vectors and against random chunks.

use proptest::prelude::*;
use serde_json::Value;
use skynet_net::netpack::{Decoded, MAX_PACKET, Netpack, TooLong, pack};

fn hex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap())
        .collect()
}

/// The bytes of a step, which are given in full or as a head that repeats.
fn chunk(step: &Value) -> Vec<u8> {
    if let Some(text) = step["chunk"].as_str() {
        return hex(text);
    }
    let head = hex(step["chunk_head"].as_str().unwrap());
    let length = step["chunk_len"].as_u64().unwrap() as usize;
    let period = step["chunk_period"].as_u64().unwrap() as usize;
    let mut bytes = head;
    while bytes.len() < length {
        bytes.push(bytes[bytes.len() - period]);
    }
    bytes
}

#[test]
fn filter_vectors() {
    let vectors: Value = serde_json::from_str(include_str!("vectors/netpack.json")).unwrap();
    let mut steps = 0;
    for case in vectors["filter"].as_array().unwrap() {
        let mut codec = Netpack::new();
        for step in case["steps"].as_array().unwrap() {
            steps += 1;
            let fd = step["fd"].as_i64().unwrap() as i32;
            if let Some(control) = step.get("control") {
                // Control messages carry no packets; close (3) and error (5) end a partial one.
                if matches!(control["type"].as_i64(), Some(3 | 5)) {
                    codec.forget(fd);
                }
                continue;
            }
            let decoded = codec.push(fd, &chunk(step));
            match (step["event"].as_str(), decoded) {
                (None, Decoded::Nothing) => {}
                (Some("data"), Decoded::One(packet)) => {
                    assert_eq!(i64::from(packet.fd), step["event_fd"].as_i64().unwrap());
                    let data = packet.data.as_slice();
                    match step["data"].as_str() {
                        Some(text) => assert_eq!(data, hex(text), "{}", case["name"]),
                        None => {
                            assert_eq!(data.len() as u64, step["data_len"].as_u64().unwrap());
                        }
                    }
                }
                (Some("more"), Decoded::More) => {
                    let mut popped = Vec::new();
                    while let Some(packet) = codec.pop() {
                        popped.push((i64::from(packet.fd), packet.data.as_slice().to_vec()));
                    }
                    match step["popped"].as_array() {
                        Some(expected) => {
                            let expected: Vec<_> = expected
                                .iter()
                                .map(|p| {
                                    (p["fd"].as_i64().unwrap(), hex(p["data"].as_str().unwrap()))
                                })
                                .collect();
                            assert_eq!(popped, expected, "{}", case["name"]);
                        }
                        None => {
                            assert_eq!(popped.len() as u64, step["popped_count"].as_u64().unwrap())
                        }
                    }
                }
                (expected, decoded) => {
                    panic!("{}: expected {expected:?}, got {decoded:?}", case["name"])
                }
            }
        }
    }
    assert!(steps > 30, "the vectors were read");
}

#[test]
fn pack_vectors() {
    let vectors: Value = serde_json::from_str(include_str!("vectors/netpack.json")).unwrap();
    for case in vectors["pack"].as_array().unwrap() {
        let length = case["len"].as_u64().unwrap() as usize;
        let head = hex(case["head"].as_str().unwrap());
        let data: Vec<u8> = if length > 8 {
            vec![b'x'; length]
        } else {
            head[2..].to_vec()
        };
        let packed = pack(&data).unwrap();
        assert_eq!(
            packed.as_slice().len() as u64,
            case["out_len"].as_u64().unwrap()
        );
        assert_eq!(&packed.as_slice()[..head.len()], &head[..]);
    }
    let error = pack(&vec![0; MAX_PACKET + 1]).err().unwrap();
    assert_eq!(error, TooLong(65536));
    assert_eq!(error.to_string(), "Invalid size (too long) of data : 65536");
}

#[test]
fn a_million_tiny_packets_in_one_chunk() {
    let mut codec = Netpack::new();
    let chunk = vec![0; 2_000_000];
    assert!(matches!(codec.push(1, &chunk), Decoded::More));
    assert_eq!(codec.waiting(), 1_000_000);
    codec.clear();
    assert_eq!(codec.waiting(), 0);
}

proptest! {
    /// Any packets of several connections, cut anywhere, come out whole and in order.
    #[test]
    fn packets_survive_any_chunks(
        packets in prop::collection::vec(
            (0..3i32, prop::collection::vec(any::<u8>(), 0..300)), 1..40),
        cuts in prop::collection::vec(1..200usize, 1..50),
    ) {
        let mut streams: [Vec<u8>; 3] = Default::default();
        for (fd, data) in &packets {
            streams[*fd as usize].extend_from_slice(pack(data).unwrap().as_slice());
        }
        let mut codec = Netpack::new();
        let mut got: [Vec<Vec<u8>>; 3] = Default::default();
        let mut at = [0; 3];
        let mut cuts = cuts.iter().cycle();
        while (0..3).any(|fd| at[fd] < streams[fd].len()) {
            for fd in 0..3 {
                let end = (at[fd] + cuts.next().unwrap()).min(streams[fd].len());
                let decoded = codec.push(fd as i32, &streams[fd][at[fd]..end]);
                at[fd] = end;
                match decoded {
                    Decoded::Nothing => prop_assert_eq!(codec.waiting(), 0),
                    Decoded::One(packet) => got[fd].push(packet.data.as_slice().to_vec()),
                    Decoded::More => while let Some(packet) = codec.pop() {
                        prop_assert_eq!(packet.fd, fd as i32);
                        got[fd].push(packet.data.as_slice().to_vec());
                    },
                }
            }
        }
        for (fd, got) in got.iter().enumerate() {
            let sent: Vec<_> = packets
                .iter()
                .filter(|(of, _)| *of == fd as i32)
                .map(|(_, data)| data.clone())
                .collect();
            prop_assert_eq!(got, &sent);
        }
    }

    /// Garbage never breaks the codec: what comes out is what the headers say.
    #[test]
    fn garbage_is_only_framed(chunks in prop::collection::vec(
        prop::collection::vec(any::<u8>(), 0..2000), 0..20)) {
        let mut codec = Netpack::new();
        let mut out = 0;
        for chunk in &chunks {
            match codec.push(1, chunk) {
                Decoded::Nothing => {}
                Decoded::One(packet) => out += packet.data.as_slice().len() + 2,
                Decoded::More => while let Some(packet) = codec.pop() {
                    out += packet.data.as_slice().len() + 2;
                },
            }
        }
        prop_assert!(out <= chunks.iter().map(Vec::len).sum());
    }
}
