//! Payloads as Lua strings without a copy.
//!
//! A large block that a message owns becomes an external string of Lua: Lua
//! frees it with the VM's own allocator, so it counts as the VM's memory, under
//! its limit, and its size is put to the collector's account.

use skynet_core::Payload;

use crate::alloc;
use crate::ffi::*;
use crate::vm::Vm;

/// Smaller payloads are copied: that is cheaper than a string with a header of its own.
const WORTH: usize = 1024;

/// Pushes the bytes of a payload, which is empty afterwards if they were not
/// copied. Slots: 1. May raise (memory); then the payload is freed or unchanged.
///
/// # Safety
/// `L` is a live thread of `vm` in a call that may raise; `payload` is valid,
/// nobody else refers to it or to its bytes, and an error leaves its owner in place.
pub(crate) unsafe fn push_payload(L: *mut lua_State, vm: *mut Vm, payload: *mut Payload) {
    // SAFETY: the caller's contract; borrows end before Lua is called, but for
    // the bytes that are copied, whose owner stays.
    unsafe {
        let size = (*payload).len();
        if size < WORTH || (*payload).is_null() {
            push_bytes(L, (*payload).as_slice());
            return;
        }
        let charge = size + 1;
        let fits = || {
            let memory = &(*vm).memory;
            memory.limit == 0 || memory.bytes + charge <= memory.limit
        };
        if !fits() {
            // As an allocation would: collect, then give up.
            lua_gc(L, LUA_GCCOLLECT);
            if !fits() {
                push_bytes(L, (*payload).as_slice());
                return;
            }
        }
        let (block, _) = std::mem::take(&mut *payload).into_malloc();
        // Lua wants a NUL behind the bytes, for which blocks of C code have no room.
        let text = libc::realloc(block, charge).cast::<u8>();
        if text.is_null() {
            *payload = Payload::from_malloc(block, size);
            push_bytes(L, (*payload).as_slice());
            return;
        }
        text.add(size).write(0);
        (*vm).memory.bytes += charge;
        (*vm).memory.allocated += charge as u64;
        // If there is no memory for the string's header, Lua frees the block and raises.
        lua_pushexternalstring(
            L,
            text.cast_const().cast(),
            size,
            Some(alloc::allocate),
            vm.cast(),
        );
        if lua_gc(L, LUA_GCISRUNNING) != 0 {
            // Puts the bytes to the account of the collector, which then does
            // what is due.
            lua_gc(L, LUA_GCSTEP, charge);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alloc::failing;
    use crate::sweep::{inside, vm};
    use std::ffi::c_int;

    unsafe extern "C-unwind" fn push(L: *mut lua_State) -> c_int {
        // SAFETY: called through lua_pcall with a pointer to a payload.
        unsafe {
            let payload = lua_touserdata(L, 1).cast::<Payload>();
            push_payload(L, crate::vm::vm_of(L), payload);
        }
        1
    }

    unsafe fn pushed(L: *mut lua_State, payload: &mut Payload) -> c_int {
        // SAFETY: the VM is the test's own; the payload outlives the call.
        unsafe {
            lua_pushcfunction(L, push);
            lua_pushlightuserdata(L, std::ptr::from_mut(payload).cast());
            lua_pcall(L, 1, 1, 0)
        }
    }

    #[test]
    fn strings_of_payloads_are_counted_and_freed() {
        inside(|context| {
            let owner = vm(context);
            let vm = owner.as_ptr();
            // SAFETY: the VM is ours, used on this thread only.
            unsafe {
                let L = (*vm).main;
                lua_gc(L, LUA_GCCOLLECT);
                let before = (*vm).memory.bytes;
                for size in [0, 1, 40, 1023, 1024, 100_000] {
                    let bytes = vec![b'x'; size];
                    let mut payload = Payload::from_slice(&bytes);
                    let address = payload.as_ptr();
                    assert_eq!(pushed(L, &mut payload), LUA_OK);
                    let text = string_at(L, -1).expect("a string");
                    assert_eq!(text, &bytes[..]);
                    if size >= WORTH {
                        assert!(payload.is_null());
                        assert!((*vm).memory.bytes > before + size);
                    } else {
                        assert!(!std::ptr::eq(text.as_ptr(), address));
                        assert_eq!(payload.len(), size);
                    }
                    lua_settop(L, 0);
                    lua_gc(L, LUA_GCCOLLECT);
                }
                let after = (*vm).memory.bytes;
                assert!(after <= before + 256, "{before} became {after}");
                // Many of them are collected on the way.
                for _ in 0..1000 {
                    let mut payload = Payload::from_vec(vec![b'y'; 100_000]);
                    assert_eq!(pushed(L, &mut payload), LUA_OK);
                    lua_settop(L, 0);
                    assert!((*vm).memory.bytes < before + 20_000_000);
                }
            }
        });
    }

    #[test]
    fn a_string_that_does_not_fit_is_a_memory_error() {
        inside(|context| {
            let owner = vm(context);
            let vm = owner.as_ptr();
            // SAFETY: the VM is ours, used on this thread only.
            unsafe {
                let L = (*vm).main;
                assert!(lua_checkstack(L, 40) != 0);
                (*vm).memory.limit = (*vm).memory.bytes + 100_000;
                let mut payload = Payload::from_vec(vec![b'x'; 200_000]);
                assert_eq!(pushed(L, &mut payload), LUA_ERRMEM);
                assert_eq!(payload.len(), 200_000, "the message keeps its bytes");
                lua_settop(L, 0);
                (*vm).memory.limit = 0;
                for n in 1..100 {
                    let mut payload = Payload::from_vec(vec![b'x'; 5000]);
                    failing::from(n);
                    let status = pushed(L, &mut payload);
                    let failed = failing::stop();
                    lua_settop(L, 0);
                    assert!(status == LUA_OK || failed && status == LUA_ERRMEM);
                    if !failed {
                        return;
                    }
                }
                panic!("it never succeeds");
            }
        });
    }
}
