//! Handles: the table from a handle to its service, and local names.
//!
//! The allocation rule is upstream's (spec/01-core.md §3.2): a table of a power of two
//! of slots, a handle in slot `index & (size - 1)`, candidates in ascending
//! order from a counter, doubling when all slots are full.
//!
//! Look-ups take no lock: a table is an array of atomic pointers to contexts
//! that are never unmapped while the node lives (see [`crate::context`]); the
//! handle in the context tells whether it is still the one asked for. A table
//! that was outgrown is kept for readers that are still in it, until the node is dropped.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicPtr, Ordering};

use parking_lot::{Mutex, RwLock};

use crate::context::Context;
use crate::message::Handle;
use crate::stable::Stable;

/// The part of a handle that is not the harbor id.
pub const HANDLE_MASK: u32 = 0x00ff_ffff;
/// Where the harbor id starts in a handle.
pub const HARBOR_SHIFT: u32 = 24;

struct Table {
    slots: Box<[AtomicPtr<Context>]>,
}

impl Table {
    fn new(size: usize) -> Stable<Self> {
        Stable::new(Self {
            slots: (0..size).map(|_| AtomicPtr::default()).collect(),
        })
    }

    fn slot(&self, handle: Handle) -> &AtomicPtr<Context> {
        let index = (handle & HANDLE_MASK) as usize & (self.slots.len() - 1);
        &self.slots[index]
    }
}

struct Writer {
    /// All tables ever made; the last one is current.
    tables: Vec<Stable<Table>>,
    /// The handle index tried next.
    next: u32,
}

/// Why no handle could be given out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HandlesExhausted;

/// The handle table of a node.
pub(crate) struct HandleTable {
    current: AtomicPtr<Table>,
    writer: Mutex<Writer>,
    harbor: u32,
    names: RwLock<Names>,
}

#[derive(Default)]
struct Names {
    by_name: BTreeMap<Vec<u8>, Handle>,
    by_handle: HashMap<Handle, Vec<Vec<u8>>>,
}

impl HandleTable {
    /// A table for the node with id `harbor` (its low 8 bits count).
    pub(crate) fn new(harbor: u32) -> Self {
        let table = Table::new(4);
        let current = AtomicPtr::new(table.pointer().as_ptr());
        Self {
            current,
            writer: Mutex::new(Writer {
                tables: vec![table],
                next: 1,
            }),
            harbor: (harbor & 0xff) << HARBOR_SHIFT,
            names: RwLock::default(),
        }
    }

    /// The harbor id in the place it has in a handle.
    pub(crate) fn harbor(&self) -> u32 {
        self.harbor
    }

    fn table(&self) -> &Table {
        // SAFETY: `current` always points into `writer.tables`, which is
        // only freed with `self`.
        unsafe { &*self.current.load(Ordering::Acquire) }
    }

    /// The context a handle names, if it is alive.
    pub(crate) fn get(&self, handle: Handle) -> Option<&Context> {
        let pointer = self.table().slot(handle).load(Ordering::Acquire);
        // SAFETY: contexts are freed only with the node, which owns this table.
        let context = unsafe { pointer.as_ref() }?;
        (context.handle() == handle && handle != 0).then_some(context)
    }

    /// Gives `context` a handle, moves it into its mailbox and lists it. In this order: a
    /// service that can be found can be retired.
    pub(crate) fn register(&self, context: &Context) -> Result<Handle, HandlesExhausted> {
        let mut writer = self.writer.lock();
        loop {
            let table = self.table();
            let size = table.slots.len() as u32;
            let mut index = writer.next;
            for _ in 0..size {
                if index > HANDLE_MASK {
                    index = 1;
                }
                let slot = table.slot(index);
                if slot.load(Ordering::Relaxed).is_null() {
                    writer.next = index + 1;
                    let handle = index | self.harbor;
                    context.set_handle(handle);
                    context.mailbox.occupy(handle);
                    slot.store(std::ptr::from_ref(context).cast_mut(), Ordering::Release);
                    return Ok(handle);
                }
                index += 1;
            }
            if 2 * size - 1 > HANDLE_MASK {
                return Err(HandlesExhausted);
            }
            let bigger = Table::new(2 * size as usize);
            // SAFETY: just made; freed only with `self`.
            let slots = unsafe { bigger.pointer().as_ref() };
            for slot in &table.slots {
                let pointer = slot.load(Ordering::Relaxed);
                // SAFETY: as in `get`.
                if let Some(context) = unsafe { pointer.as_ref() } {
                    slots
                        .slot(context.handle())
                        .store(pointer, Ordering::Relaxed);
                }
            }
            self.current
                .store(bigger.pointer().as_ptr(), Ordering::Release);
            writer.tables.push(bigger);
        }
    }

    /// Takes a handle and all its names off the list; its context, if it was listed.
    pub(crate) fn unregister(&self, handle: Handle) -> Option<&Context> {
        let context = {
            let _writer = self.writer.lock();
            let context = self.get(handle)?;
            self.table()
                .slot(handle)
                .store(std::ptr::null_mut(), Ordering::Release);
            context
        };
        let mut names = self.names.write();
        for name in names.by_handle.remove(&handle).unwrap_or_default() {
            names.by_name.remove(&name);
        }
        Some(context)
    }

    /// All live handles in ascending order.
    pub(crate) fn handles(&self) -> Vec<Handle> {
        let _writer = self.writer.lock();
        let mut handles: Vec<Handle> = self
            .table()
            .slots
            .iter()
            .filter_map(|slot| {
                // SAFETY: as in `get`.
                unsafe { slot.load(Ordering::Relaxed).as_ref() }.map(Context::handle)
            })
            .collect();
        handles.sort_unstable();
        handles
    }

    /// Binds a local name (without its dot) to a handle; false if it is taken.
    /// The handle need not exist (spec/01-core.md §3.4).
    pub(crate) fn bind(&self, name: &[u8], handle: Handle) -> bool {
        let mut names = self.names.write();
        if names.by_name.contains_key(name) {
            return false;
        }
        names.by_name.insert(name.to_vec(), handle);
        names
            .by_handle
            .entry(handle)
            .or_default()
            .push(name.to_vec());
        true
    }

    /// The handle a local name (without its dot) is bound to.
    pub(crate) fn find(&self, name: &[u8]) -> Option<Handle> {
        self.names.read().by_name.get(name).copied()
    }

    /// The first name of a handle.
    pub(crate) fn name_of(&self, handle: Handle) -> Option<Vec<u8>> {
        self.names.read().by_handle.get(&handle)?.first().cloned()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::ptr::NonNull;

    use super::*;

    #[test]
    fn what_can_be_found_can_be_retired() {
        let table = HandleTable::new(1);
        // The node of a context is not looked at here.
        let context = Context::vacant(NonNull::dangling(), 0);
        let handle = table.register(&context).unwrap();
        assert_eq!(handle, 0x0100_0001);
        let found = table.unregister(handle).unwrap();
        assert!(found.mailbox.retire(handle).is_some());
        assert!(table.get(handle).is_none() && table.unregister(handle).is_none());
    }
}
