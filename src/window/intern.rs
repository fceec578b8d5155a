//! Strings as words: seven bytes or fewer stand in the word, longer ones in a counted table.
//!
//! Takes bytes, hands on a `u64` that is equal for equal bytes for as long as it is held. Keeps each
//! long string once with the number of buffered rows that hold it; the last release frees it. A word
//! taken must be released once, which the buffers do when a row leaves.

use std::cmp::Ordering;
use std::hash::BuildHasher;

use foldhash::fast::FixedState;
use hashbrown::HashTable;

const INTERNED: u64 = 1 << 63;
const INLINE_BYTES: usize = 7;

/// Hash seed of all tables of this module's users; answers don't depend on it.
pub(super) const HASHER: FixedState = FixedState::with_seed(0x7011_6a7e);

#[derive(Debug, Default)]
pub(super) struct Interner {
    table: HashTable<u32>,
    entries: Vec<Entry>,
    free: Vec<u32>,
    heap_bytes: usize,
}

#[derive(Debug, Default)]
struct Entry {
    bytes: Box<[u8]>,
    holders: u32,
}

fn inline(bytes: &[u8]) -> u64 {
    let mut word = [0u8; 8];
    word[..bytes.len()].copy_from_slice(bytes);
    word[7] = bytes.len() as u8;
    u64::from_le_bytes(word)
}

impl Interner {
    /// Word of these bytes, with one more holder.
    pub(super) fn take(&mut self, bytes: &[u8]) -> u64 {
        if bytes.len() <= INLINE_BYTES {
            return inline(bytes);
        }
        let hash = HASHER.hash_one(bytes);
        let entries = &mut self.entries;
        if let Some(&found) = self.table.find(hash, |&id| *entries[id as usize].bytes == *bytes) {
            entries[found as usize].holders += 1;
            return INTERNED | u64::from(found);
        }
        let entry = Entry { bytes: bytes.into(), holders: 1 };
        self.heap_bytes += bytes.len();
        let id = match self.free.pop() {
            Some(id) => {
                entries[id as usize] = entry;
                id
            }
            None => {
                entries.push(entry);
                (entries.len() - 1) as u32
            }
        };
        self.table.insert_unique(hash, id, |&id| HASHER.hash_one(&*entries[id as usize].bytes));
        INTERNED | u64::from(id)
    }

    /// One more holder of a word that is held already.
    #[inline]
    pub(super) fn hold(&mut self, word: u64) {
        if word & INTERNED != 0 {
            self.entries[(word & !INTERNED) as usize].holders += 1;
        }
    }

    /// One holder fewer.
    #[inline]
    pub(super) fn release(&mut self, word: u64) {
        if word & INTERNED != 0 {
            self.release_entry((word & !INTERNED) as u32);
        }
    }

    fn release_entry(&mut self, id: u32) {
        let entry = &mut self.entries[id as usize];
        entry.holders -= 1;
        if entry.holders > 0 {
            return;
        }
        let bytes = std::mem::take(&mut entry.bytes);
        self.heap_bytes -= bytes.len();
        if let Ok(found) = self.table.find_entry(HASHER.hash_one(&*bytes), |&other| other == id) {
            found.remove();
        }
        self.free.push(id);
    }

    /// Calls `use_bytes` with the bytes of a word.
    #[inline]
    pub(super) fn with<T>(&self, word: u64, use_bytes: impl FnOnce(&[u8]) -> T) -> T {
        if word & INTERNED != 0 {
            return use_bytes(&self.entries[(word & !INTERNED) as usize].bytes);
        }
        let bytes = word.to_le_bytes();
        use_bytes(&bytes[..usize::from(bytes[7]).min(INLINE_BYTES)])
    }

    /// Order of two words' bytes.
    pub(super) fn compare(&self, left: u64, right: u64) -> Ordering {
        if left == right {
            return Ordering::Equal;
        }
        self.with(left, |left| self.with(right, |right| left.cmp(right)))
    }

    /// Memory in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.heap_bytes
            + self.table.allocation_size()
            + self.entries.capacity() * size_of::<Entry>()
            + self.free.capacity() * size_of::<u32>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_strings_share_a_word_and_the_last_release_frees_it() {
        let mut interner = Interner::default();
        for text in ["", "a", "1234567", "12345678", "a longer string"] {
            let first = interner.take(text.as_bytes());
            assert_eq!(first, interner.take(text.as_bytes()), "{text}");
            assert_eq!(interner.with(first, <[u8]>::to_vec), text.as_bytes());
            interner.release(first);
            assert_eq!(interner.with(first, <[u8]>::to_vec), text.as_bytes());
            interner.release(first);
        }
        assert_eq!(interner.heap_bytes, 0);
        assert_eq!(interner.free.len(), 1);
    }

    #[test]
    fn words_compare_as_their_bytes() {
        let mut interner = Interner::default();
        let texts = ["", "a", "aa", "ab", "abcdefg", "abcdefgh", "b"];
        let words: Vec<u64> = texts.iter().map(|text| interner.take(text.as_bytes())).collect();
        for (i, left) in words.iter().enumerate() {
            for (j, right) in words.iter().enumerate() {
                assert_eq!(interner.compare(*left, *right), i.cmp(&j));
            }
        }
    }
}
