//! The gate with real clients that behave badly.

mod util;

use std::io::{Read, Write};
use std::net::TcpStream;

use util::{Client, Dir, Process, last_number, run};

/// A watchdog and agent in one: echoes packets, except those that ask for more.
const SERVER: &str = r#"
local skynet = require "skynet"
local driver = require "skynet.socketdriver"

local gate
local function send(fd, text) driver.send(fd, string.pack(">s2", text)) end

skynet.register_protocol {
	name = "client", id = skynet.PTYPE_CLIENT, unpack = skynet.tostring,
	dispatch = function(fd, _, text)
		skynet.ignoreret()
		local size = text:match "^flood (%d+)"
		if size then
			local block = string.rep("x", 60000)
			for _ = 1, size // #block do send(fd, block) end
		else
			send(fd, #text < 100 and "echo " .. text or "length " .. #text)
		end
	end,
}

local on = {}
function on.open(fd, addr) skynet.call(gate, "lua", "forward", fd) skynet.error("open", addr) end
function on.close(fd) skynet.send(gate, "lua", "kick", fd) skynet.error "closed" end
function on.error(fd, text) skynet.error("failed", text) end
function on.warning(fd, kib)
	if kib > 0 then skynet.error("does not read", kib) skynet.send(gate, "lua", "kick", fd) end
end

skynet.start(function()
	skynet.dispatch("lua", function(_, _, _, event, ...) on[event](...) end)
	gate = skynet.newservice "gate"
	local _, port = skynet.call(gate, "lua", "open",
		{ address = "127.0.0.1", port = 0, maxclient = 4, watchdog = skynet.self() })
	skynet.error("PORT " .. port)
end)
"#;

fn server() -> (Dir, Process, u16) {
    let dir = Dir::new();
    dir.service(SERVER, "");
    let node = Process::start(dir.path(), &["config"]);
    let port = last_number(&node.expect("PORT"));
    (dir, node, port)
}

fn stop(mut node: Process) {
    node.signal(libc::SIGTERM);
    assert_eq!(node.wait().code(), Some(0), "{}", node.output());
}

#[test]
fn packets_of_every_length() {
    let (_dir, node, port) = server();
    let mut client = Client::connect(port);
    client.send(b"");
    assert_eq!(client.receive(), "echo ");
    client.send(&[b'x'; 65535]);
    assert_eq!(client.receive(), "length 65535");
    // Many in one piece, the last one cut.
    let mut bytes = Vec::new();
    for _ in 0..1000 {
        bytes.extend_from_slice(b"\0\x01a");
    }
    bytes.extend_from_slice(b"\0\x04cu");
    client.0.write_all(&bytes).expect("sent");
    for _ in 0..1000 {
        assert_eq!(client.receive(), "echo a");
    }
    client.0.write_all(b"tt").expect("sent");
    assert_eq!(client.receive(), "echo cutt");
    stop(node);
}

#[test]
fn a_client_that_sends_one_byte_at_a_time() {
    let (_dir, node, port) = server();
    let mut client = Client::connect(port);
    client.0.set_nodelay(true).expect("a socket");
    for byte in *b"\0\x05hello\0\0\0\x01x" {
        client.0.write_all(&[byte]).expect("sent");
    }
    assert_eq!(client.receive(), "echo hello");
    assert_eq!(client.receive(), "echo ");
    assert_eq!(client.receive(), "echo x");
    stop(node);
}

#[test]
fn a_client_that_never_reads_is_told_of_and_can_be_closed() {
    let (_dir, node, port) = server();
    let mut client = Client::connect(port);
    client.send(b"flood 30000000");
    node.expect("does not read");
    node.expect("closed");
    let mut other = Client::connect(port);
    other.send(b"alive?");
    assert_eq!(other.receive(), "echo alive?");
    drop(client);
    stop(node);
}

#[test]
fn a_client_that_resets_the_connection() {
    let (_dir, node, port) = server();
    let mut client = Client::connect(port);
    client.send(b"hello");
    assert_eq!(client.receive(), "echo hello");
    // Half a packet, then a reset (linger 0).
    client.0.write_all(b"\0\x09half").expect("sent");
    let socket = socket2::SockRef::from(&client.0);
    socket
        .set_linger(Some(std::time::Duration::ZERO))
        .expect("a socket");
    drop(client);
    node.expect("closed");
    let mut other = Client::connect(port);
    other.send(b"alive?");
    assert_eq!(other.receive(), "echo alive?");
    stop(node);
}

#[test]
fn at_most_maxclient_minus_one_clients() {
    let (_dir, node, port) = server();
    let mut clients: Vec<Client> = (0..3).map(|_| Client::connect(port)).collect();
    for client in &mut clients {
        client.send(b"in");
        assert_eq!(client.receive(), "echo in");
    }
    let mut refused = Client::connect(port);
    assert!(refused.is_closed());
    // Its place is free again when one has gone.
    clients.pop();
    node.expect_count("closed", 2);
    let mut next = Client::connect(port);
    next.send(b"in");
    assert_eq!(next.receive(), "echo in");
    stop(node);
}

#[test]
fn a_port_that_is_in_use() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("bound").port();
    let dir = Dir::new();
    dir.service(
        &format!(
            "local skynet = require 'skynet' require 'skynet.manager'
            skynet.start(function()
                local gate = skynet.newservice 'gate'
                print(pcall(skynet.call, gate, 'lua', 'open', {{ address = '127.0.0.1', port = {port} }}))
                local _, free = skynet.call(gate, 'lua', 'open', {{ address = '127.0.0.1', port = 0 }})
                print('the gate lives, port ' .. free)
                io.stdout:flush()
                skynet.abort()
            end)"
        ),
        "",
    );
    let run = run(dir.path(), &["config"]);
    assert_eq!(run.status.code(), Some(0), "{}", run.stdout);
    assert!(run.stdout.contains("Listen error"), "{}", run.stdout);
    assert!(
        run.stdout.contains("Address already in use"),
        "{}",
        run.stdout
    );
    assert!(
        run.stdout.contains("the gate lives, port "),
        "{}",
        run.stdout
    );
}

#[test]
fn descriptors_exhausted() {
    let dir = Dir::new();
    dir.service(
        "local skynet = require 'skynet'
        local socket = require 'skynet.socket'
        local function serve(id)
            socket.start(id)
            local line = socket.readline(id)
            while line do socket.write(id, line .. '\\n') line = socket.readline(id) end
            socket.close(id)
        end
        skynet.start(function()
            local id, _, port = socket.listen('127.0.0.1', 0)
            socket.start(id, function(fd) skynet.fork(serve, fd) end)
            skynet.error('PORT ' .. port)
        end)",
        "",
    );
    // The limit lets some connections in, and not sixty.
    let mut limited = std::process::Command::new("sh");
    limited
        .args(["-c", "ulimit -n 48; exec \"$0\" config"])
        .arg(env!("CARGO_BIN_EXE_skynet"))
        .current_dir(dir.path());
    let node = Process::spawn(&mut limited);
    let port = last_number(&node.expect("PORT"));
    let mut clients: Vec<TcpStream> = (0..60)
        .map(|_| TcpStream::connect(("127.0.0.1", port)).expect("accepted by the system"))
        .collect();
    node.expect("Too many open files");
    // Those that were let in are served.
    let mut answer = [0; 6];
    clients[0].write_all(b"first\n").expect("sent");
    clients[0].read_exact(&mut answer).expect("served");
    assert_eq!(&answer, b"first\n");
    drop(clients);
    // The listener has survived. The server needs a moment to close the others.
    let mut tries = 0;
    loop {
        let mut again = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
        let sent = again.write_all(b"again\n");
        if sent.is_ok() && again.read_exact(&mut answer).is_ok() {
            assert_eq!(&answer, b"again\n");
            break;
        }
        tries += 1;
        assert!(tries < 10_000, "never served again:\n{}", node.output());
    }
    stop(node);
}
