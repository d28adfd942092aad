//! The text commands of a service (spec/01-core.md §10).
//!
//! Where upstream crashes or aborts (a NULL parameter, SETENV of an existing key), the
//! command returns nothing and, where that helps, logs why.

use std::borrow::Cow;

use crate::context::Context;
use crate::env::{is_blank, leading_integer, sign_and_digits};
use crate::message::{Handle, Message, ptype};
use crate::payload::Payload;
use crate::send::{Address, parse_hex};

/// Runs command `name`; `None` where upstream returns NULL.
pub(crate) fn run(context: &Context, name: &[u8], parameter: Option<&[u8]>) -> Option<Vec<u8>> {
    // C strings: they end at the first NUL.
    let parameter = parameter.map(until_nul);
    let given = parameter.unwrap_or_default();
    match until_nul(name) {
        b"TIMEOUT" => {
            let session = context.new_session();
            context.timeout(leading_integer(parameter?) as i32, session);
            Some(session.to_string().into_bytes())
        }
        b"REG" => register(context, given),
        b"QUERY" => {
            let Address::Local(name) = Address::parse(parameter?) else {
                return None;
            };
            context.node().find_name(name).map(colon_hex)
        }
        b"NAME" => name_command(context, parameter?),
        b"EXIT" => {
            exit(context);
            None
        }
        b"KILL" => {
            kill(context, parameter?);
            None
        }
        b"LAUNCH" => launch(context, parameter?),
        b"GETENV" => context.node().env().get(parameter?),
        b"SETENV" => {
            set_env(context, parameter?);
            None
        }
        b"STARTTIME" => Some(context.node().start_seconds().to_string().into_bytes()),
        // A parameter (upstream ignores it) is the exit code of the process.
        b"ABORT" => {
            context
                .node()
                .abort_with(u8::try_from(leading_integer(given)).unwrap_or(0));
            None
        }
        b"MONITOR" => monitor(context, given),
        b"STAT" => Some(stat(context, parameter?)),
        b"LOGON" => {
            if let Some((target, handle)) = target(context, parameter?) {
                target.log_on(context, handle);
            }
            None
        }
        b"LOGOFF" => {
            if let Some((target, handle)) = target(context, parameter?) {
                target.log_off(context, handle);
            }
            None
        }
        b"SIGNAL" => {
            signal(context, parameter?);
            None
        }
        _ => None,
    }
}

fn until_nul(text: &[u8]) -> &[u8] {
    text.split(|&b| b == 0).next().unwrap_or_default()
}

fn colon_hex(handle: Handle) -> Vec<u8> {
    format!(":{handle:x}").into_bytes()
}

fn lossy(text: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(text)
}

/// Logs a line around a piece of the parameter, whose bytes need not be UTF-8.
fn quote(context: &Context, before: &str, piece: &[u8], after: &str) {
    context.log([before.as_bytes(), piece, after.as_bytes()].concat());
}

fn register(context: &Context, name: &[u8]) -> Option<Vec<u8>> {
    match name {
        [] => Some(colon_hex(context.handle())),
        [b'.', local @ ..] => context
            .node()
            .bind_name(local, context.handle())
            .then(|| local.to_vec()),
        global => {
            quote(
                context,
                "error: Can't register global name ",
                global,
                " in C",
            );
            None
        }
    }
}

fn name_command(context: &Context, text: &[u8]) -> Option<Vec<u8>> {
    let mut words = text.split(is_blank).filter(|word| !word.is_empty());
    let name = words.next()?;
    let Some([b':', hex @ ..]) = words.next() else {
        return None;
    };
    let handle = parse_hex(hex);
    if handle == 0 {
        return None;
    }
    let Some(local) = name.strip_prefix(b".") else {
        quote(context, "error: Can't set global name ", name, " in C");
        return None;
    };
    context
        .node()
        .bind_name(local, handle)
        .then(|| local.to_vec())
}

/// Command EXIT.
pub(crate) fn exit(context: &Context) {
    context.log("KILL self");
    end(context, context.handle());
}

fn kill(context: &Context, text: &[u8]) {
    let Some(handle) = to_handle(context, text) else {
        return;
    };
    context.log(format!("KILL :{handle:x}"));
    end(context, handle);
}

/// Tells the exit monitor and retires the service, existing or not.
fn end(context: &Context, handle: Handle) {
    let node = context.node();
    let monitor = node.exit_monitor();
    if monitor != 0 {
        let _ = node.push(
            monitor,
            Message::new(handle, 0, ptype::CLIENT, Payload::null()),
        );
    }
    node.retire(handle);
}

/// A parameter that must be `:hex` or `.name`; 0 counts as none.
fn to_handle(context: &Context, text: &[u8]) -> Option<Handle> {
    match Address::parse(text) {
        Address::Handle(handle) => Some(handle),
        Address::Local(name) => context.node().find_name(name),
        Address::Global(name) => {
            quote(context, "error: Can't convert ", name, " to handle");
            None
        }
    }
    .filter(|&handle| handle != 0)
}

/// The live service an address names, with its handle: the slot may be another one's soon.
fn target<'a>(context: &'a Context, text: &[u8]) -> Option<(&'a Context, Handle)> {
    let handle = to_handle(context, text)?;
    Some((context.node().context(handle)?, handle))
}

fn launch(context: &Context, text: &[u8]) -> Option<Vec<u8>> {
    let is_end = |b: &u8| matches!(b, b'\r' | b'\n');
    let is_separator = |b: &u8| matches!(b, b' ' | b'\t') || is_end(b);
    let (module, args) = match text.iter().position(is_separator) {
        // The arguments end with their line, and keep their blanks.
        Some(at) => (&text[..at], text[at + 1..].split(is_end).next()),
        None => (text, None),
    };
    match context.node().launch(&lossy(module), args) {
        Ok(handle) => Some(format!(":{handle:08X}").into_bytes()),
        Err(error) => {
            // Upstream reports these on stderr or not at all.
            context.log(format!("error: launch {} : {error}", lossy(module)));
            None
        }
    }
}

fn set_env(context: &Context, text: &[u8]) {
    let Some(at) = text.iter().position(|&b| b == b' ') else {
        return;
    };
    if !context.node().env().set(&text[..at], &text[at + 1..]) {
        quote(context, "error: Can't setenv exist key : ", &text[..at], "");
    }
}

fn monitor(context: &Context, text: &[u8]) -> Option<Vec<u8>> {
    let node = context.node();
    if text.is_empty() {
        return Some(node.exit_monitor())
            .filter(|&handle| handle != 0)
            .map(colon_hex);
    }
    node.set_exit_monitor(to_handle(context, text).unwrap_or(0));
    None
}

fn stat(context: &Context, what: &[u8]) -> Vec<u8> {
    let seconds = |ns: u64| format!("{:.6}", ns as f64 / 1e9);
    match what {
        b"mqlen" => context.mailbox_length().to_string(),
        b"endless" => if context.take_endless() { "1" } else { "0" }.to_owned(),
        b"cpu" => seconds(context.stat().cpu_ns),
        b"time" if context.node().profile() => seconds(context.dispatch_cpu_ns()),
        b"time" => "0".to_owned(),
        b"message" => context.stat().message_count.to_string(),
        _ => String::new(),
    }
    .into_bytes()
}

fn signal(context: &Context, text: &[u8]) {
    // With a `.name` the whole rest is the name; with `:hex` a number may follow.
    let (address, number) = match text {
        [b':', ..] => {
            let at = text.iter().position(|&b| b == b' ').unwrap_or(text.len());
            (&text[..at], &text[at..])
        }
        _ => (text, &text[text.len()..]),
    };
    if let Some((target, handle)) = target(context, address) {
        target.signal(handle, parse_base_0(number) as i32);
    }
}

/// C's `strtol(text, NULL, 0)`: decimal, `0x` hexadecimal, `0` octal.
pub fn parse_base_0(text: &[u8]) -> i64 {
    let (negative, digits) = sign_and_digits(text);
    let (base, digits) = match digits {
        [b'0', b'x' | b'X', tail @ ..] => (16, tail),
        [b'0', tail @ ..] => (8, tail),
        tail => (10, tail),
    };
    digits
        .iter()
        .map_while(|&b| (b as char).to_digit(base))
        .map(i64::from)
        .fold(0, |value: i64, digit| {
            let value = value.saturating_mul(i64::from(base));
            match negative {
                true => value.saturating_sub(digit),
                false => value.saturating_add(digit),
            }
        })
}
