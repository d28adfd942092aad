//! The framing of game clients.

use std::collections::BTreeMap;

use skynet_net::netpack::{Decoded, Netpack, pack};

use super::source::Source;

/// The packets of one stream by the definition, and what is left of it.
fn frames(mut stream: &[u8]) -> (Vec<Vec<u8>>, &[u8]) {
    let mut packets = Vec::new();
    while let [high, low, body @ ..] = stream {
        let length = usize::from(*high) * 256 + usize::from(*low);
        if body.len() < length {
            break;
        }
        packets.push(body[..length].to_vec());
        stream = &body[length..];
    }
    (packets, stream)
}

/// What has come of one connection, and what it was taken for.
#[derive(Default)]
struct Connection {
    /// The bytes since it began.
    stream: Vec<u8>,
    packets: Vec<Vec<u8>>,
}

impl Connection {
    /// Checks the packets against the definition; what is left of the stream.
    fn check(&self) -> usize {
        let (expected, rest) = frames(&self.stream);
        assert_eq!(self.packets, expected);
        rest.len()
    }
}

/// Feeds one chunk; the packets it completes go to `connection`.
fn push(codec: &mut Netpack, fd: i32, chunk: &[u8], connection: &mut Connection) {
    assert_eq!(codec.waiting(), 0);
    connection.stream.extend_from_slice(chunk);
    let before = connection.packets.len();
    let mut take = |packet: skynet_net::netpack::Packet| {
        assert_eq!(packet.fd, fd);
        connection.packets.push(packet.data.as_slice().to_vec());
    };
    match codec.push(fd, chunk) {
        Decoded::Nothing => assert_eq!(codec.waiting(), 0),
        Decoded::One(packet) => {
            assert_eq!(codec.waiting(), 0);
            take(packet);
            assert_eq!(connection.check(), 0, "exactly one packet, nothing left");
        }
        Decoded::More => {
            assert!(codec.waiting() > 0);
            while let Some(packet) = codec.pop() {
                take(packet);
            }
            let many = connection.packets.len() - before > 1;
            assert!(many || connection.check() > 0, "one packet and a piece");
        }
    }
}

/// Sizes of chunks; 0 stands for a whole buffer of a socket.
const SIZES: [usize; 8] = [1, 2, 3, 5, 17, 64, 300, 0];

/// Arbitrary bytes, over some connections, in arbitrary chunks: the packets
/// that the definition says, and those that one chunk gives.
pub fn fuzz_netpack(data: &[u8]) {
    let mut source = Source::new(data);
    let fds = 1 + source.below(3);
    let mut codec = Netpack::new();
    let mut connections: BTreeMap<i32, Connection> = BTreeMap::new();
    let mut ended: Vec<Connection> = Vec::new();
    while !source.is_empty() {
        let choice = source.byte();
        let fd = i32::from(choice) % fds as i32;
        let connection = connections.entry(fd).or_default();
        match choice {
            // The connection ends; another one may get its number.
            0xff => {
                codec.forget(fd);
                ended.push(std::mem::take(connection));
            }
            // A packet whose bytes the input need not hold.
            0xf0..0xff => {
                let length = usize::from(source.byte()) << (choice & 7);
                let packet = pack(&vec![choice; length]).expect("short enough");
                push(&mut codec, fd, packet.as_slice(), connection);
            }
            _ => {
                let chunk = match SIZES[usize::from(choice >> 3) % SIZES.len()] {
                    0 => source.rest(),
                    size => source.bytes(size),
                };
                push(&mut codec, fd, chunk, connection);
            }
        }
    }
    for connection in connections.values().chain(&ended) {
        connection.check();
        let mut whole = Connection::default();
        push(&mut Netpack::new(), 1, &connection.stream, &mut whole);
        assert_eq!(whole.packets, connection.packets, "in one chunk");
        let mut out = Vec::new();
        for packet in &connection.packets {
            out.extend_from_slice(pack(packet).expect("it came in a packet").as_slice());
        }
        assert!(connection.stream.starts_with(&out), "packed again");
    }
}
