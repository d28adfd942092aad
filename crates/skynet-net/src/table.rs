//! Socket ids and what they stand for (spec/03-network.md §1.2).

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use parking_lot::RwLock;

use crate::socket::Socket;

/// Ids follow each other, so neighbours do not share a lock.
const SHARDS: usize = 64;

/// Ids are well spread as they are.
#[derive(Default)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 << 8) | u64::from(byte);
        }
    }

    fn write_i32(&mut self, id: i32) {
        // Tables look at the top bits too.
        self.0 = (id as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

type Shard = RwLock<HashMap<i32, Arc<Socket>, BuildHasherDefault<IdHasher>>>;

/// All sockets by id.
pub(crate) struct Table {
    shards: Box<[Shard]>,
    last: AtomicU32,
}

impl Default for Table {
    fn default() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Shard::default()).collect(),
            last: AtomicU32::new(0),
        }
    }
}

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Table(last id {})", self.last.load(Ordering::Relaxed))
    }
}

impl Table {
    fn shard(&self, id: i32) -> &Shard {
        &self.shards[id as usize % SHARDS]
    }

    /// The next id (1, 2, ...; after 2^31 - 1 those that are free again) with the socket made for it.
    pub(crate) fn insert(&self, make: impl Fn(i32) -> Socket) -> Arc<Socket> {
        loop {
            let next = self.last.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
            let id = (next & 0x7fff_ffff) as i32;
            if id == 0 {
                continue;
            }
            let mut shard = self.shard(id).write();
            if shard.contains_key(&id) {
                continue;
            }
            let socket = Arc::new(make(id));
            shard.insert(id, socket.clone());
            return socket;
        }
    }

    pub(crate) fn get(&self, id: i32) -> Option<Arc<Socket>> {
        self.shard(id).read().get(&id).cloned()
    }

    pub(crate) fn remove(&self, id: i32) {
        self.shard(id).write().remove(&id);
    }

    /// Every socket, highest id first.
    pub(crate) fn all(&self) -> Vec<Arc<Socket>> {
        let mut all: Vec<_> = self
            .shards
            .iter()
            .flat_map(|shard| shard.read().values().cloned().collect::<Vec<_>>())
            .collect();
        all.sort_unstable_by_key(|socket| std::cmp::Reverse(socket.id));
        all
    }

    #[cfg(test)]
    pub(crate) fn set_last(&self, last: u32) {
        self.last.store(last, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_count_up_and_wrap_over_zero_and_what_is_in_use() {
        let table = Table::default();
        let id = || table.insert(|id| Socket::new(id, 1)).id;
        assert_eq!((id(), id(), id()), (1, 2, 3));
        table.remove(2);
        assert!(table.get(2).is_none());
        assert_eq!(table.get(3).map(|s| s.id), Some(3));
        table.set_last(0x7fff_fffe);
        assert_eq!(id(), 0x7fff_ffff);
        // 0 is skipped, 1 is in use, 2 is free, 3 is in use.
        assert_eq!((id(), id()), (2, 4));
        let all: Vec<i32> = table.all().iter().map(|s| s.id).collect();
        assert_eq!(all, [0x7fff_ffff, 4, 3, 2, 1]);
    }
}
