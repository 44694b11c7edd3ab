//! The way from a path to its row: a hash table laid out by the compiler. A binary search over these paths, which all
//! begin alike, costs some 60 ns; this costs under 10.

use super::{row::Rpc, table::ROWS};

/// A power of two, and roomy: most paths are found in their first slot.
const SLOTS: usize = 512;

/// The slot of a row that does not exist.
const EMPTY: u8 = u8::MAX;

/// Row numbers by the [`Key`] of their path; a taken slot sends to the next one.
static INDEX: [u8; SLOTS] = index();

/// No row's path is shorter.
const MIN_PATH: usize = 32;

/// The service of nearly all rows.
const DAPR: &str = "/dapr.proto.runtime.v1.Dapr/";

/// The longest path that its key and a beginning with [`DAPR`] tell from all others.
const MAX_SHORT: usize = DAPR.len() + TAIL;

/// The keys of the rows with such a path, and [`Key::NONE`] of the others. Keys are quicker to compare than paths.
static SHORT: [Key; ROWS.len()] = short();

/// The parts in which the paths differ: the length and the last bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Key {
    len: usize,
    tail: [u64; 2],
}

const TAIL: usize = 16;

#[inline]
pub(super) fn lookup(path: &str) -> Option<&'static Rpc> {
    if path.len() < MIN_PATH {
        return None;
    }
    let key = Key::of(path.as_bytes());
    let is_short = path.len() <= MAX_SHORT && path.starts_with(DAPR);
    let mut slot = key.slot();
    loop {
        // An empty slot holds no row's number, and there is always one.
        let number = usize::from(INDEX[slot]);
        let row = ROWS.get(number)?;
        let is_it = if is_short { SHORT[number] == key } else { row.path() == path };
        if is_it {
            return Some(row);
        }
        slot = (slot + 1) % SLOTS;
    }
}

impl Key {
    /// Of no path.
    const NONE: Self = Self { len: 0, tail: [0; 2] };

    #[inline]
    const fn of(path: &[u8]) -> Self {
        let (_, tail) = path.split_at(path.len() - TAIL);
        let (a, b) = tail.split_at(TAIL / 2);
        Self { len: path.len(), tail: [word(a), word(b)] }
    }

    /// Where the search begins.
    #[inline]
    const fn slot(self) -> usize {
        let [a, b] = self.tail;
        let mixed = a ^ b.rotate_left(31) ^ self.len as u64;
        (mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - SLOTS.ilog2())) as usize
    }
}

#[inline]
const fn word(b: &[u8]) -> u64 {
    u64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]])
}

const fn index() -> [u8; SLOTS] {
    assert!(ROWS.len() < EMPTY as usize && ROWS.len() < SLOTS);
    let mut index = [EMPTY; SLOTS];
    let mut row = 0;
    while row < ROWS.len() {
        let path = ROWS[row].path().as_bytes();
        assert!(path.len() >= MIN_PATH);
        let mut slot = Key::of(path).slot();
        while index[slot] != EMPTY {
            slot = (slot + 1) % SLOTS;
        }
        index[slot] = row as u8;
        row += 1;
    }
    index
}

const fn short() -> [Key; ROWS.len()] {
    let mut short = [Key::NONE; ROWS.len()];
    let mut row = 0;
    while row < ROWS.len() {
        let path = ROWS[row].path().as_bytes();
        if path.len() <= MAX_SHORT && begins_with(path, DAPR.as_bytes()) {
            short[row] = Key::of(path);
        }
        row += 1;
    }
    short
}

const fn begins_with(path: &[u8], beginning: &[u8]) -> bool {
    let mut at = 0;
    while at < beginning.len() {
        if path[at] != beginning[at] {
            return false;
        }
        at += 1;
    }
    true
}
