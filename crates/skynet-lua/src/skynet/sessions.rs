//! Which session is waited for by whom: a small open-addressing hash table.
//!
//! Removal shifts entries back, so there are no tombstones. Sessions are handed
//! out in ascending order; they are spread, since a long run of neighbours would
//! have to be walked through at each removal from it.

/// What a session stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A coroutine that called, sleeps, or has not started yet (`index` in the slab).
    Coro,
    /// A coroutine in `skynet.wait`: no message will come.
    Wait,
    /// A timer whose function is anchored at `index`; it has no coroutine yet.
    Timer,
    /// As `Timer`, of a `skynet.request` object, which is anchored: it is told
    /// that its time is over without a coroutine.
    Alarm,
    /// An answer for the native side of `skynet.request` (`index` means nothing).
    Select,
    /// The deadline of the call whose session is `watch`.
    Deadline,
    /// Swallow the message when it comes.
    Break,
}

/// Whether and how the address of a call is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Watch {
    /// It is not.
    No,
    /// It was given as a number, `watch`.
    Number,
    /// It was given as a string, kept in `Cold::names`.
    Name,
}

/// One pending session.
#[derive(Debug, Clone, Copy)]
pub(super) struct Waiter {
    pub(super) kind: Kind,
    pub(super) watching: Watch,
    pub(super) index: u32,
    pub(super) watch: u32,
}

impl Waiter {
    pub(super) fn new(kind: Kind, index: u32) -> Self {
        Self {
            kind,
            watching: Watch::No,
            index,
            watch: 0,
        }
    }

    /// "Swallow the message", in the place of this one: what is watched stays
    /// watched, so the entry goes when the other side dies.
    pub(super) fn broken(self) -> Self {
        Self {
            kind: Kind::Break,
            index: 0,
            ..self
        }
    }
}

/// 0 is no session: it marks a free place.
type Place = (i32, Waiter);

const FREE: Place = (
    0,
    Waiter {
        kind: Kind::Break,
        watching: Watch::No,
        index: 0,
        watch: 0,
    },
);

/// The table; it has no memory until the first entry.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    places: Box<[Place]>,
    len: usize,
    /// 32 - log2 of the number of places.
    shift: u32,
}

impl Sessions {
    fn mask(&self) -> usize {
        self.places.len() - 1
    }

    fn home(&self, session: i32) -> usize {
        // Multiplied by 2^32 / golden ratio; the high bits are the good ones.
        ((session as u32).wrapping_mul(0x9E37_79B1) >> self.shift) as usize
    }

    fn find(&self, session: i32) -> Option<usize> {
        if self.places.is_empty() || session == 0 {
            return None;
        }
        let mut at = self.home(session);
        loop {
            match self.places[at].0 {
                0 => return None,
                found if found == session => return Some(at),
                _ => at = (at + 1) & self.mask(),
            }
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn contains(&self, session: i32) -> bool {
        self.find(session).is_some()
    }

    pub(super) fn get(&self, session: i32) -> Option<Waiter> {
        self.find(session).map(|at| self.places[at].1)
    }

    /// Adds or replaces; 0 is ignored.
    pub(super) fn insert(&mut self, session: i32, waiter: Waiter) {
        if session == 0 {
            return;
        }
        if let Some(at) = self.find(session) {
            self.places[at].1 = waiter;
            return;
        }
        // At most three quarters full.
        if (self.len + 1) * 4 > self.places.len() * 3 {
            self.resize((self.places.len() * 2).max(4));
        }
        self.put(session, waiter);
        self.len += 1;
    }

    fn put(&mut self, session: i32, waiter: Waiter) {
        let mut at = self.home(session);
        while self.places[at].0 != 0 {
            at = (at + 1) & self.mask();
        }
        self.places[at] = (session, waiter);
    }

    fn resize(&mut self, size: usize) {
        let old = std::mem::replace(&mut self.places, vec![FREE; size].into_boxed_slice());
        self.shift = 32 - size.trailing_zeros();
        for (session, waiter) in old {
            if session != 0 {
                self.put(session, waiter);
            }
        }
    }

    pub(super) fn remove(&mut self, session: i32) -> Option<Waiter> {
        let mut hole = self.find(session)?;
        let waiter = self.places[hole].1;
        self.len -= 1;
        // Entries behind the hole move into it unless that would put them
        // before their home.
        let mut at = hole;
        loop {
            at = (at + 1) & self.mask();
            let found = self.places[at].0;
            if found == 0 {
                break;
            }
            let distance = at.wrapping_sub(self.home(found)) & self.mask();
            if distance >= (at.wrapping_sub(hole) & self.mask()) {
                self.places[hole] = self.places[at];
                hole = at;
            }
        }
        self.places[hole] = FREE;
        Some(waiter)
    }

    /// All entries, in no particular order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (i32, Waiter)> + '_ {
        self.places.iter().copied().filter(|place| place.0 != 0)
    }

    /// Gives memory back that a burst of sessions left.
    pub(super) fn shrink(&mut self) {
        let size = (self.len * 2).next_power_of_two().max(4);
        if self.len == 0 {
            self.places = Box::default();
        } else if size * 2 < self.places.len() {
            self.resize(size);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn it_agrees_with_a_map() {
        let mut table = Sessions::default();
        let mut map = HashMap::new();
        let mut seed = 12345u64;
        for step in 0..20_000u32 {
            seed = seed
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            let session = (seed >> 40) as i32 % 300 + 1;
            if seed & 1 << 20 == 0 {
                table.insert(session, Waiter::new(Kind::Coro, step));
                map.insert(session, step);
            } else {
                assert_eq!(table.remove(session).map(|w| w.index), map.remove(&session));
            }
            if step % 1000 == 0 {
                table.shrink();
            }
            assert_eq!(table.len(), map.len());
        }
        for (&session, &index) in &map {
            assert_eq!(table.get(session).map(|w| w.index), Some(index));
        }
        assert_eq!(table.iter().count(), map.len());
        assert!(!table.contains(0) && table.remove(0).is_none());
    }
}
