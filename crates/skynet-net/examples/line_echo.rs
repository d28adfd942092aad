//! A node with one Rust service that sends every line back.
//!
//! `line_echo PORT [THREADS]`, for load generators and to see what the socket layer itself costs.

use std::collections::HashMap;
use std::process::ExitCode;

use skynet_core::{Context, InitError, Message, Node, Service, ptype};
use skynet_net::{Net, kind};

struct Echo {
    /// Lines that have not ended yet.
    partial: HashMap<i32, Vec<u8>>,
}

fn net(context: &Context) -> Result<&Net, InitError> {
    let net = context.node().extension::<Net>();
    net.ok_or_else(|| InitError::new("the node has no sockets"))
}

impl Service for Echo {
    fn init(&mut self, context: &Context, args: Option<&[u8]>) -> Result<(), InitError> {
        let port = args.and_then(|args| std::str::from_utf8(args).ok()?.trim().parse().ok());
        let port = port.ok_or_else(|| InitError::new("which port?"))?;
        let net = net(context)?;
        let id = net
            .listen(context.handle(), "127.0.0.1", port, 128)
            .map_err(|error| InitError::new(error.to_string()))?;
        net.start(context.handle(), id);
        println!("READY");
        Ok(())
    }

    fn dispatch(&mut self, context: &Context, message: Message) {
        let Ok(net) = net(context) else { return };
        if message.kind() != ptype::SOCKET {
            return;
        }
        let record = message.payload.as_slice();
        let field = |at: usize| {
            let bytes = record.get(at..at + 4).and_then(|b| b.try_into().ok());
            i32::from_ne_bytes(bytes.unwrap_or_default())
        };
        let id = field(4);
        match field(0) {
            kind::ACCEPT => net.start(context.handle(), field(8)),
            kind::DATA => {
                let data = message.payload.socket_data().unwrap_or_default();
                let mut rest = data;
                let partial = self.partial.entry(id).or_default();
                while let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
                    partial.extend_from_slice(&rest[..=end]);
                    net.send_slice(id, partial);
                    partial.clear();
                    rest = &rest[end + 1..];
                }
                partial.extend_from_slice(rest);
            }
            kind::CLOSE | kind::ERROR => {
                self.partial.remove(&id);
                net.close(id);
            }
            _ => {}
        }
    }
}

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let Some(port) = args.next() else {
        eprintln!("usage: line_echo PORT [THREADS]");
        return ExitCode::from(2);
    };
    let threads = args.next().unwrap_or_else(|| "2".to_owned());
    let net = Net::new();
    let built = Node::builder()
        .env("thread", threads)
        .env("harbor", "0")
        .env("bootstrap", format!("echo {port}"))
        .module("echo", || {
            let partial = HashMap::new();
            Ok(Box::new(Echo { partial }) as Box<dyn Service>)
        })
        .component(net.clone())
        .extension(net)
        .build();
    match built.and_then(|node| node.start().map(|()| node)) {
        Ok(node) => {
            node.wait();
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
