//! The network modules with the n-th allocation failing, for all n, on sockets in memory.

use skynet_core::{Context, Driver, Node, Service};
use skynet_net::Net;

use crate::ffi::*;
use crate::interrupt;
use crate::sweep::{Probe, sweep, vm};

/// Lua code that uses one function each. `record(kind, text)` makes the message of a socket event.
const USES: &[&str] = &[
    "driver.close(driver.connect('127.0.0.1', 9))",
    "driver.close(driver.connect('127.0.0.1:9'))",
    "pcall(driver.connect, 'no port')",
    "pcall(driver.connect, 'host:x')",
    "driver.close(driver.listen('127.0.0.1', 0))",
    "driver.start(1) driver.pause(1) driver.nodelay(1) driver.shutdown(1) driver.close(driver.bind(0))",
    "driver.send(sock, 'text') driver.send(sock, 12) driver.send(sock, { 'a', 1, 'b' }) driver.lsend(sock, 'low')",
    "driver.send(sock, driver.str2p 'block')",
    "driver.send(sock, setmetatable({}, { __index = function(_, i) if i < 4 then return tostring(i) end end }))",
    "pcall(driver.send, sock, { {} })",
    "driver.info()",
    "driver.resolve('127.0.0.1')",
    "pcall(driver.resolve, 'no.such.name')",
    "driver.udp_address('\\1\\0\\80\\127\\0\\0\\1') pcall(driver.udp_address, 'x')",
    "pcall(driver.udp, '127.0.0.1', 1)",
    "driver.header('\\1\\2') pcall(driver.header, '12345')",
    "local b = driver.buffer() driver.push(b, {}, driver.str2p(('line\\n'):rep(100))) \
     driver.readline(b, {}, '\\n') driver.pop(b, {}, 7) driver.readall(b, {}) driver.clear(b, {})",
    "local b = driver.buffer() driver.push(b, {}, driver.str2p 'left to the collector')",
    "driver.unpack(record(5, 'an error')) driver.unpack(record(2, '127.0.0.1'))",
    "local _, _, ud, p = driver.unpack(data('bytes')) driver.drop(p, ud)",
    "local q, _, _, p, n = netpack.filter(nil, data('\\0\\5hello')) netpack.tostring(p, n)",
    "local q = netpack.filter(nil, data('\\0\\1a\\0\\1b\\0')) netpack.pop(q) netpack.clear(q)",
    "netpack.filter(nil, record(4, '127.0.0.1:80')) netpack.filter(nil, record(5, 'text'))",
    "netpack.tostring(netpack.pack 'a packet') pcall(netpack.pack, ('x'):rep(65536))",
    "package.loaded['skynet.socketdriver'] = nil require 'skynet.socketdriver'",
    "package.loaded['skynet.netpack'] = nil require 'skynet.netpack'",
];

const SETUP: &str = "
driver, netpack = require 'skynet.socketdriver', require 'skynet.netpack'
sock = driver.connect('127.0.0.1', 9)
local kept
local function message(kind, ud, block, text)
    local place = block and math.tointeger(tonumber(string.format('%p', block))) or 0
    if kept then driver.drop(kept, 0) kept = nil end
    local pointer, size = driver.str2p(string.pack('<i4i4i4i4I8', kind, 5, ud, 0, place) .. text)
    kept = pointer
    return pointer, size
end
function record(kind, text) return message(kind, 0, nil, text) end
function data(text) return message(1, #text, driver.str2p(text), '') end
";

fn body(context: &Context) {
    let owner = vm(context);
    let vm = owner.as_ptr();
    // SAFETY: the VM is ours, used on this thread only.
    unsafe {
        let _entered = interrupt::enter(vm);
        let L = (*vm).main;
        let load = |text: &str| {
            let name = c"=use".as_ptr();
            let status = luaL_loadbufferx(L, text.as_ptr().cast(), text.len(), name, c"t".as_ptr());
            assert_eq!(status, LUA_OK, "{text}");
        };
        load(SETUP);
        assert_eq!(lua_pcall(L, 0, 0, 0), LUA_OK);
        let mut allocations = 0;
        for text in USES {
            load(text);
            allocations += sweep(vm, text);
            lua_settop(L, 0);
        }
        assert!(
            allocations > 80,
            "only {allocations} allocations were failed"
        );
    }
}

#[test]
fn network_functions_survive_a_failing_allocation() {
    let net = Net::new();
    let node = crate::install(Node::builder())
        .component(net.clone())
        .extension(net)
        .driver(Driver::Sim { seed: 1 })
        .env("harbor", "0")
        .env("logger", "/dev/null")
        .env("bootstrap", "probe")
        .module("probe", || Ok(Box::new(Probe(body)) as Box<dyn Service>))
        .build()
        .unwrap();
    node.start().unwrap();
    node.abort();
}
