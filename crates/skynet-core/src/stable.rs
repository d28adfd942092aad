//! A box whose content may be pointed to from elsewhere while the box itself is moved.

use std::ptr::NonNull;

/// Owns a `T` at an address that never changes. Unlike a `Box`, moving it does
/// not claim that nobody else points to the content.
pub(crate) struct Stable<T>(NonNull<T>);

// SAFETY: it owns its content like a Box does; shared access is `&T` only.
unsafe impl<T: Send + Sync> Send for Stable<T> {}
// SAFETY: as above.
unsafe impl<T: Send + Sync> Sync for Stable<T> {}

impl<T> Stable<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(NonNull::from(Box::leak(Box::new(value))))
    }

    /// Where the content is; valid until the `Stable` is dropped.
    pub(crate) fn pointer(&self) -> NonNull<T> {
        self.0
    }
}

impl<T> Drop for Stable<T> {
    fn drop(&mut self) {
        // SAFETY: made from a leaked box in `new`; dropped once.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}
