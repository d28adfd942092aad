//! Module `harbor` on a node without a network: launched as `harbor 0 HANDLE`
//! (spec/04-distribution.md §2.4). It delivers what is sent to global names
//! registered on this node and drops what is sent to other nodes.

use std::collections::HashMap;

use skynet_core::harbor::{NAME_LENGTH, RemoteMessage};
use skynet_core::{
    Context, HARBOR_SHIFT, Handle, InitError, Message, Payload, Service, leading_integer, ptype,
};

/// A global name, filled up with NULs.
type Name = [u8; NAME_LENGTH];

/// What is known of a name.
enum Known {
    /// Who has it.
    Handle(Handle),
    /// Nobody yet: messages that wait for it.
    Waiting(Vec<Waiting>),
}

/// A message for a name.
struct Waiting {
    source: Handle,
    session: i32,
    kind: u8,
    payload: Payload,
}

/// The service.
#[derive(Default)]
pub(crate) struct Harbor {
    slave: Handle,
    names: HashMap<Name, Known>,
}

/// The text form of a name.
fn trimmed(name: &Name) -> &[u8] {
    name.split(|&b| b == 0).next().unwrap_or_default()
}

impl Harbor {
    /// `N name`: the source of the message has this name.
    fn bind(&mut self, context: &Context, name: &[u8], handle: Handle) {
        if name.is_empty() || name.len() >= NAME_LENGTH {
            context.log(format!(
                "Invalid global name {}",
                String::from_utf8_lossy(name)
            ));
            return;
        }
        let mut key = [0; NAME_LENGTH];
        key[..name.len()].copy_from_slice(name);
        let before = self.names.insert(key, Known::Handle(handle));
        if let Some(Known::Waiting(messages)) = before {
            for message in messages {
                deliver(context, handle, message);
            }
        }
    }

    fn command(&mut self, context: &Context, message: &Message) {
        match message.payload.as_slice() {
            [b'N', b' ', name @ ..] => self.bind(context, name, message.source),
            other => context.log(format!(
                "Unknown command {}",
                String::from_utf8_lossy(other)
            )),
        }
    }

    fn remote(&mut self, context: &Context, message: Message) {
        let (source, session) = (message.source, message.session);
        let Some(remote) = RemoteMessage::from_message(message) else {
            context.log(format!("recv invalid message from {source:x},  type = 4"));
            return;
        };
        let message = Waiting {
            source,
            session,
            kind: remote.kind,
            payload: remote.payload,
        };
        let name = remote.destination.name;
        if name[0] == 0 {
            deliver(context, remote.destination.handle, message);
            return;
        }
        match self
            .names
            .entry(name)
            .or_insert_with(|| Known::Waiting(Vec::new()))
        {
            Known::Handle(handle) => deliver(context, *handle, message),
            Known::Waiting(messages) => {
                messages.push(message);
                let mut text = b"Q ".to_vec();
                text.extend_from_slice(trimmed(&name));
                let _ = context.send(self.slave, ptype::TEXT, 0, Payload::from_slice(&text));
            }
        }
    }
}

/// To a service of this node; else it is dropped and the sender told.
fn deliver(context: &Context, handle: Handle, message: Waiting) {
    let Waiting {
        source,
        session,
        kind,
        payload,
    } = message;
    if !context.node().is_remote(handle) {
        if context
            .redirect(handle, source, kind, session, payload)
            .is_err()
            && kind != ptype::ERROR
            && kind != ptype::RESPONSE
        {
            let cause = format!("service :{handle:08x} is dead");
            reply_error(context, source, handle, session, cause.as_bytes());
        }
        return;
    }
    context.log(format!(
        "Drop message to harbor {} from {source:x} to {handle:x} (session = {session}, msgsz = {})",
        handle >> HARBOR_SHIFT,
        payload.len()
    ));
    if kind != ptype::ERROR && kind != ptype::RESPONSE {
        let cause = format!("harbor {} does not exist", handle >> HARBOR_SHIFT);
        reply_error(context, source, handle, session, cause.as_bytes());
    }
}

/// The reply comes in the name of the service that was meant; session 0 tells
/// the sender that this address is dead.
fn reply_error(context: &Context, to: Handle, from: Handle, session: i32, cause: &[u8]) {
    if to != 0 {
        let _ = context.redirect(to, from, ptype::ERROR, session, Payload::from_slice(cause));
    }
}

impl Service for Harbor {
    fn init(&mut self, context: &Context, args: Option<&[u8]>) -> Result<(), InitError> {
        let words: Vec<&[u8]> = args
            .unwrap_or_default()
            .split(u8::is_ascii_whitespace)
            .filter(|word| !word.is_empty())
            .collect();
        let [id, slave] = words[..] else {
            return Err(InitError::new(
                "harbor needs two arguments: node id and handle of its slave service",
            ));
        };
        let id = leading_integer(id);
        if id != 0 {
            return Err(InitError::new(format!(
                "harbor {id}: this module serves a single node (harbor = 0) only"
            )));
        }
        self.slave = leading_integer(slave) as Handle;
        if self.slave == 0 {
            return Err(InitError::new(
                "harbor: the handle of its slave service is 0",
            ));
        }
        context.node().set_harbor_service(context);
        Ok(())
    }

    fn dispatch(&mut self, context: &Context, message: Message) {
        match message.kind() {
            ptype::HARBOR => self.command(context, &message),
            ptype::SYSTEM => self.remote(context, message),
            kind => {
                let (source, session) = (message.source, message.session);
                context.log(format!(
                    "recv invalid message from {source:x},  type = {kind}"
                ));
                if kind != ptype::ERROR && kind != ptype::RESPONSE {
                    context.reply_error(source, session, b"the harbor service takes no requests");
                }
            }
        }
    }
}
