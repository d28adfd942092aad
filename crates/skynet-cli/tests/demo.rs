//! The main job: the demo game with real clients, from the executable alone.

mod util;

use std::io::Write;
use std::process::Stdio;

use util::{Client, Dir, Process, command, last_number, source_tree};

/// A player at a terminal.
fn player(dir: &Dir, name: &str, port: u16) -> Process {
    let port = port.to_string();
    let mut command = command(dir.path(), &["lua", "examples/client.lua", name, &port]);
    command.stdin(Stdio::piped());
    Process::spawn(&mut command)
}

fn types(player: &mut Process, line: &str) {
    writeln!(player.stdin(), "{line}").expect("the client reads");
}

fn port_of(node: &Process) -> u16 {
    last_number(&node.expect("Game is open on 127.0.0.1 port"))
}

#[test]
fn two_clients_see_each_other() {
    let dir = Dir::new();
    let mut node = Process::start(dir.path(), &[]);
    let port = port_of(&node);
    let mut alice = player(&dir, "alice", port);
    alice.expect("> welcome, alice");
    let mut bob = player(&dir, "bob", port);
    bob.expect("> welcome, bob");
    alice.expect("* bob enters");
    types(&mut bob, "hello alice");
    alice.expect("bob: hello alice");
    types(&mut alice, "e");
    bob.expect("* alice goes to 13,4");
    types(&mut bob, "who");
    bob.expect("> here: alice, bob");
    types(&mut bob, "look");
    bob.expect("@a");
    types(&mut alice, "quit");
    bob.expect("* alice leaves");
    assert_eq!(alice.wait().code(), Some(0));
    node.signal(libc::SIGTERM);
    assert_eq!(node.wait().code(), Some(0));
    bob.expect("The server has closed the connection.");
    assert_eq!(bob.wait().code(), Some(0));
}

#[test]
fn a_name_can_be_used_by_one_player_only() {
    let dir = Dir::new();
    let node = Process::start(dir.path(), &[]);
    let port = port_of(&node);
    let mut first = Client::connect(port);
    first.send(b"login eve");
    first.expect("> welcome, eve");
    let mut second = Client::connect(port);
    second.send(b"login eve");
    second.expect("! eve is playing already");
    first.send(b"quit");
    assert!(first.is_closed());
    // The agent tells the room when it hears of the end.
    loop {
        second.send(b"login eve");
        if second.receive().starts_with("> welcome, eve") {
            break;
        }
    }
}

#[test]
fn coins_are_kept_in_a_file() {
    let dir = Dir::new();
    dir.write("game-store.txt", "midas 41\nthis line is damaged\n");
    let mut node = Process::start(dir.path(), &[]);
    let port = port_of(&node);
    let mut midas = Client::connect(port);
    midas.send(b"login midas");
    midas.expect("> welcome, midas");
    midas.send(b"top");
    midas.expect("> midas 41");
    // Walk the whole field, row by row, until a coin has been found.
    let mut picked = false;
    'walk: for row in 0_u32.. {
        let directions: Vec<&str> = match row {
            0 => [vec!["w"; 12], vec!["n"; 4]].concat(),
            _ => {
                let across = if row % 2 == 1 { "e" } else { "w" };
                let along = if (row - 1) / 8 % 2 == 0 { "s" } else { "n" };
                [vec![across; 23], vec![along; 1]].concat()
            }
        };
        for direction in directions {
            midas.send(format!("move {direction}").as_bytes());
            // Own steps are told too; the answer to a step into the fence is "!".
            loop {
                let packet = midas.receive();
                if packet.contains("picks up a coin and has 42") {
                    picked = true;
                    break 'walk;
                }
                if packet.contains("midas goes") || packet.starts_with('!') {
                    break;
                }
            }
        }
    }
    assert!(picked);
    node.signal(libc::SIGTERM);
    assert_eq!(node.wait().code(), Some(0));
    assert!(
        dir.read("game-store.txt").contains("midas 42"),
        "{}",
        dir.read("game-store.txt")
    );
}

#[test]
fn the_configs_in_examples_run_as_they_are() {
    let tree = source_tree();
    let dir = Dir::new();
    // In a copy: another test may run at the same time, and files are written.
    for name in ["config", "config.path", "config.daemon"] {
        let text = std::fs::read_to_string(tree.join("examples").join(name)).expect("an example");
        dir.write(&format!("examples/{name}"), &text);
    }
    // The ports of a machine that runs tests are not ours to choose.
    let text = dir.read("examples/config").replace("8888", "0");
    dir.write("examples/config", &text);
    let mut node = Process::start(dir.path(), &["examples/config"]);
    let port = port_of(&node);
    let mut client = Client::connect(port);
    client.expect("who are you");
    node.signal(libc::SIGINT);
    assert_eq!(node.wait().code(), Some(0));
}
