//! The bytes of a message, which move from sender to receiver.
//!
//! A payload is 32 bytes. Up to [`INLINE`] bytes live inside it; more live in a
//! block that is freed by whoever ends up owning the payload. Blocks that may
//! cross the C border are plain `malloc` blocks (spec/01-core.md §18.1).

use std::ffi::c_void;
use std::fmt;
use std::mem::ManuallyDrop;

/// How many bytes a payload holds without a block of its own.
pub const INLINE: usize = 24;

/// Frees a foreign block: called once with the pointer and the size it was made with.
pub type FreeFn = unsafe fn(*mut u8, usize);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
enum Tag {
    /// No data: the pointer a C callback sees is NULL. `words[1]` is the size.
    Null,
    /// `inline_len` bytes inside.
    Inline,
    /// `words` = pointer, size; freed with `free`.
    Malloc,
    /// `words` = pointer, size, [`FreeFn`].
    Foreign,
    /// Inside: a `skynet_socket_message` whose buffer pointer (at offset 16) owns a `malloc` block.
    Socket,
}

/// The bytes of a message.
#[repr(C)]
pub struct Payload {
    tag: Tag,
    inline_len: u8,
    /// Not ours: the message type lives here, so that a message is 40 bytes.
    pub(crate) kind: u8,
    words: [u64; 3],
}

// SAFETY: a payload owns what it points to; `FreeFn`s are required by
// `foreign` to be callable from any thread.
unsafe impl Send for Payload {}

/// A `malloc` block owned by Rust code; freed on drop.
pub struct MallocBlock {
    pointer: *mut u8,
    size: usize,
}

// SAFETY: it owns its block, and `free` may be called from any thread.
unsafe impl Send for MallocBlock {}
// SAFETY: shared access only reads the bytes.
unsafe impl Sync for MallocBlock {}

impl MallocBlock {
    /// A block of `size` zero bytes (never NULL, also for size 0).
    pub fn zeroed(size: usize) -> Self {
        // SAFETY: calloc has no preconditions.
        let pointer = unsafe { libc::calloc(size.max(1), 1) }.cast::<u8>();
        if pointer.is_null() {
            std::alloc::handle_alloc_error(
                std::alloc::Layout::from_size_align(size, 16)
                    .unwrap_or(std::alloc::Layout::new::<u8>()),
            );
        }
        Self { pointer, size }
    }

    /// A copy of `bytes`.
    pub fn copy_of(bytes: &[u8]) -> Self {
        let block = Self {
            pointer: malloc(bytes.len() + 1),
            size: bytes.len(),
        };
        // SAFETY: the block is fresh and one byte larger than `bytes`; C
        // receivers of text find a NUL after it.
        unsafe {
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), block.pointer, bytes.len());
            block.pointer.add(bytes.len()).write(0);
        }
        block
    }

    /// Takes over a block.
    ///
    /// # Safety
    /// `pointer` is a `malloc` block of at least `size` initialised bytes that nobody else frees.
    pub unsafe fn from_raw(pointer: *mut u8, size: usize) -> Self {
        Self { pointer, size }
    }

    /// Gives the block away: the caller frees it with `free`.
    pub fn into_raw(self) -> (*mut u8, usize) {
        let this = ManuallyDrop::new(self);
        (this.pointer, this.size)
    }

    /// Makes the block end earlier.
    pub fn truncate(&mut self, size: usize) {
        self.size = self.size.min(size);
    }

    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        // SAFETY: the block holds `size` initialised bytes (constructor contracts).
        unsafe { std::slice::from_raw_parts(self.pointer, self.size) }
    }

    /// The bytes, to be written.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: as above, and the block is borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.pointer, self.size) }
    }
}

impl Drop for MallocBlock {
    fn drop(&mut self) {
        // SAFETY: the block came from malloc and is owned.
        unsafe { libc::free(self.pointer.cast()) }
    }
}

fn malloc(size: usize) -> *mut u8 {
    // SAFETY: malloc has no preconditions.
    let pointer = unsafe { libc::malloc(size.max(1)) }.cast::<u8>();
    if pointer.is_null() {
        std::alloc::handle_alloc_error(
            std::alloc::Layout::from_size_align(size, 16)
                .unwrap_or(std::alloc::Layout::new::<u8>()),
        );
    }
    pointer
}

impl Payload {
    const fn raw(tag: Tag, inline_len: u8, words: [u64; 3]) -> Self {
        Self {
            tag,
            inline_len,
            kind: 0,
            words,
        }
    }

    /// No data: NULL and size 0.
    pub const fn null() -> Self {
        Self::raw(Tag::Null, 0, [0; 3])
    }

    /// NULL with a size, which C senders can make (spec/01-core.md §4.3).
    pub const fn null_sized(size: usize) -> Self {
        Self::raw(Tag::Null, 0, [0, size as u64, 0])
    }

    /// A copy of `bytes`: inside if they fit, else in a `malloc` block. No bytes make a
    /// non-NULL payload of size 0.
    pub fn from_slice(bytes: &[u8]) -> Self {
        if bytes.len() <= INLINE {
            let mut payload = Self::raw(Tag::Inline, bytes.len() as u8, [0; 3]);
            // SAFETY: `words` is INLINE bytes long and `bytes` is not longer.
            unsafe {
                std::ptr::copy_nonoverlapping(
                    bytes.as_ptr(),
                    payload.words.as_mut_ptr().cast(),
                    bytes.len(),
                );
            }
            payload
        } else {
            Self::from_block(MallocBlock::copy_of(bytes))
        }
    }

    /// Takes over a `malloc` block.
    pub fn from_block(block: MallocBlock) -> Self {
        let (pointer, size) = block.into_raw();
        Self::raw(Tag::Malloc, 0, [pointer as u64, size as u64, 0])
    }

    /// Takes over a `malloc` block by pointer; a NULL pointer gives a NULL payload of that size.
    ///
    /// # Safety
    /// As [`MallocBlock::from_raw`], or NULL.
    pub unsafe fn from_malloc(pointer: *mut c_void, size: usize) -> Self {
        if pointer.is_null() {
            Self::null_sized(size)
        } else {
            Self::raw(Tag::Malloc, 0, [pointer as u64, size as u64, 0])
        }
    }

    /// Takes over a block with a destructor of its own.
    ///
    /// # Safety
    /// `pointer` is valid for `size` bytes until `free(pointer, size)`, which may be called once from any thread.
    pub unsafe fn foreign(pointer: *mut u8, size: usize, free: FreeFn) -> Self {
        Self::raw(
            Tag::Foreign,
            0,
            [pointer as u64, size as u64, free as usize as u64],
        )
    }

    /// Takes over a vector without copying (small ones are copied inside).
    pub fn from_vec(bytes: Vec<u8>) -> Self {
        unsafe fn free(pointer: *mut u8, size: usize) {
            // SAFETY: made below from a boxed slice of exactly this size.
            drop(unsafe { Box::from_raw(std::ptr::slice_from_raw_parts_mut(pointer, size)) });
        }
        if bytes.len() <= INLINE {
            return Self::from_slice(&bytes);
        }
        let boxed = Box::leak(bytes.into_boxed_slice());
        // SAFETY: the boxed slice was leaked to us and `free` rebuilds it.
        unsafe { Self::foreign(boxed.as_mut_ptr(), boxed.len(), free) }
    }

    /// A socket message without text: the 24 bytes of `skynet_socket_message`
    /// (spec/03-network.md §1.4). The data block is freed with the payload unless
    /// [`take_socket_buffer`](Self::take_socket_buffer) takes it.
    pub fn socket(kind: i32, id: i32, ud: i32, buffer: Option<MallocBlock>) -> Self {
        debug_assert!(buffer.as_ref().is_none_or(|b| b.size >= ud.max(0) as usize));
        let pointer = buffer.map_or(0, |block| block.into_raw().0 as u64);
        let first = u64::from(kind as u32) | u64::from(id as u32) << 32;
        Self::raw(
            Tag::Socket,
            INLINE as u8,
            [first.to_le(), u64::from(ud as u32).to_le(), pointer],
        )
    }

    /// A socket message with text behind the record (CONNECT, ACCEPT, ERROR).
    pub fn socket_text(kind: i32, id: i32, ud: i32, text: &[u8]) -> Self {
        let mut block = MallocBlock::zeroed(24 + text.len());
        let bytes = block.as_mut_slice();
        bytes[0..4].copy_from_slice(&kind.to_ne_bytes());
        bytes[4..8].copy_from_slice(&id.to_ne_bytes());
        bytes[8..12].copy_from_slice(&ud.to_ne_bytes());
        bytes[24..].copy_from_slice(text);
        Self::from_block(block)
    }

    /// The data block of a socket message becomes the caller's (it frees it with `free`):
    /// the pointer in the record stays, so a receiver may read it through the record.
    pub fn take_socket_buffer(&mut self) {
        if self.tag == Tag::Socket {
            self.tag = Tag::Inline;
        }
    }

    /// The data block of a socket message that still owns it (DATA: `ud` bytes).
    pub fn socket_data(&self) -> Option<&[u8]> {
        if self.tag != Tag::Socket || self.words[2] == 0 {
            return None;
        }
        let size = (u64::from_le(self.words[1]) as u32 as i32).max(0) as usize;
        // SAFETY: a Socket payload's record points to a malloc block of at
        // least `ud` bytes, which it owns.
        Some(unsafe { std::slice::from_raw_parts(self.words[2] as *const u8, size) })
    }

    /// Whether the pointer is NULL.
    pub fn is_null(&self) -> bool {
        self.tag == Tag::Null
    }

    /// The size in bytes.
    pub fn len(&self) -> usize {
        match self.tag {
            Tag::Inline | Tag::Socket => usize::from(self.inline_len),
            Tag::Null | Tag::Malloc | Tag::Foreign => self.words[1] as usize,
        }
    }

    /// Whether there are no bytes (NULL or size 0).
    pub fn is_empty(&self) -> bool {
        self.is_null() || self.len() == 0
    }

    /// Where the bytes are; valid as long as the payload is neither moved nor dropped.
    pub fn as_ptr(&self) -> *const u8 {
        match self.tag {
            Tag::Null => std::ptr::null(),
            Tag::Inline | Tag::Socket => self.words.as_ptr().cast(),
            Tag::Malloc | Tag::Foreign => self.words[0] as *const u8,
        }
    }

    /// The bytes (none for NULL).
    pub fn as_slice(&self) -> &[u8] {
        if self.is_null() {
            return &[];
        }
        // SAFETY: every other tag's pointer is valid for `len` bytes as long as
        // the payload lives (constructor contracts).
        unsafe { std::slice::from_raw_parts(self.as_ptr(), self.len()) }
    }

    /// Gives a foreign block back to the code that made it, recognised by its
    /// [`FreeFn`]; that code frees it.
    pub(crate) fn into_foreign(self, free: FreeFn) -> Option<(*mut u8, usize)> {
        if self.tag != Tag::Foreign || self.words[2] != free as usize as u64 {
            return None;
        }
        let this = ManuallyDrop::new(self);
        Some((this.words[0] as *mut u8, this.words[1] as usize))
    }

    /// Gives the bytes away as a `malloc` block (NULL stays NULL). The receiver frees it.
    pub fn into_malloc(mut self) -> (*mut c_void, usize) {
        let size = self.len();
        match self.tag {
            Tag::Null => (std::ptr::null_mut(), size),
            Tag::Malloc => {
                let this = ManuallyDrop::new(self);
                (this.words[0] as *mut c_void, size)
            }
            Tag::Inline | Tag::Foreign | Tag::Socket => {
                let (pointer, size) = MallocBlock::copy_of(self.as_slice()).into_raw();
                self.take_socket_buffer();
                (pointer.cast(), size)
            }
        }
    }
}

impl Drop for Payload {
    fn drop(&mut self) {
        match self.tag {
            Tag::Null | Tag::Inline => {}
            // SAFETY: a Malloc payload owns its malloc block.
            Tag::Malloc => unsafe { libc::free(self.words[0] as *mut c_void) },
            Tag::Socket => {
                // SAFETY: a Socket payload owns the malloc block its record
                // points to (or holds NULL, which free accepts).
                unsafe { libc::free(self.words[2] as *mut c_void) }
            }
            Tag::Foreign => {
                // SAFETY: words[2] was written from a FreeFn by `foreign`.
                let free = unsafe { std::mem::transmute::<usize, FreeFn>(self.words[2] as usize) };
                // SAFETY: contract of `foreign`; called once, here.
                unsafe { free(self.words[0] as *mut u8, self.words[1] as usize) }
            }
        }
    }
}

impl Default for Payload {
    fn default() -> Self {
        Self::null()
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Payload({:?}, {} bytes)", self.tag, self.len())
    }
}

impl From<&[u8]> for Payload {
    fn from(bytes: &[u8]) -> Self {
        Self::from_slice(bytes)
    }
}

impl From<&str> for Payload {
    fn from(text: &str) -> Self {
        Self::from_slice(text.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn a_message_is_forty_bytes() {
        assert_eq!(size_of::<Payload>(), 32);
        assert_eq!(size_of::<crate::Message>(), 40);
    }

    #[test]
    fn null_and_empty_differ() {
        assert!(Payload::null().is_null());
        assert!(!Payload::from_slice(b"").is_null());
        assert_eq!(Payload::null_sized(7).len(), 7);
        assert_eq!(Payload::null_sized(7).as_slice(), b"");
    }

    #[test]
    fn bytes_survive_every_form() {
        for n in [0, 1, 23, 24, 25, 1000] {
            let bytes: Vec<u8> = (0..n).map(|i| i as u8).collect();
            assert_eq!(Payload::from_slice(&bytes).as_slice(), &bytes[..]);
            assert_eq!(Payload::from_vec(bytes.clone()).as_slice(), &bytes[..]);
            let (pointer, size) = Payload::from_slice(&bytes).into_malloc();
            // SAFETY: into_malloc gave the block away.
            let back = unsafe { Payload::from_malloc(pointer, size) };
            assert_eq!(back.as_slice(), &bytes[..]);
        }
    }

    #[test]
    fn a_foreign_block_is_freed_once() {
        static FREED: AtomicUsize = AtomicUsize::new(0);
        unsafe fn free(_: *mut u8, size: usize) {
            FREED.fetch_add(size, Ordering::Relaxed);
        }
        static BYTES: [u8; 3] = *b"abc";
        // SAFETY: the bytes are static and `free` does not touch them.
        let payload = unsafe { Payload::foreign(BYTES.as_ptr().cast_mut(), 3, free) };
        assert_eq!(payload.as_slice(), b"abc");
        drop(payload);
        assert_eq!(FREED.load(Ordering::Relaxed), 3);
    }

    #[test]
    fn a_socket_record_has_the_layout_of_the_c_struct() {
        let mut payload = Payload::socket(1, 77, -3, Some(MallocBlock::copy_of(b"xyz")));
        let bytes = payload.as_slice();
        assert_eq!(bytes.len(), 24);
        assert_eq!(&bytes[0..4], &1i32.to_ne_bytes());
        assert_eq!(&bytes[4..8], &77i32.to_ne_bytes());
        assert_eq!(&bytes[8..12], &(-3i32).to_ne_bytes());
        let pointer = usize::from_ne_bytes(bytes[16..24].try_into().unwrap()) as *mut u8;
        payload.take_socket_buffer();
        // SAFETY: the block was taken out of the payload.
        let block = unsafe { MallocBlock::from_raw(pointer, 3) };
        assert_eq!(block.as_slice(), b"xyz");
        assert_eq!(
            &Payload::socket_text(2, 1, 80, b"::1").as_slice()[24..],
            b"::1"
        );
    }
}
