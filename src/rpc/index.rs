//! The way from a path to its row: a hash table laid out by the compiler. A binary search over these paths, which all
//! begin alike, costs some 60 ns; this costs under 10.

use super::{row::Rpc, table::ROWS};

/// A power of two, and roomy: most paths are found in their first slot.
const SLOTS: usize = 512;

/// The slot of a row that does not exist.
const EMPTY: u8 = u8::MAX;

/// Row numbers by hash of their path; a taken slot sends to the next one.
static INDEX: [u8; SLOTS] = build();

/// The shortest path that `hash` can take.
const MIN_PATH: usize = 32;

pub(super) fn lookup(path: &str) -> Option<&'static Rpc> {
    if path.len() < MIN_PATH {
        return None;
    }
    let mut slot = hash(path.as_bytes());
    loop {
        // An empty slot holds no row's number, and there is always one.
        let row = ROWS.get(usize::from(INDEX[slot]))?;
        if row.path() == path {
            return Some(row);
        }
        slot = (slot + 1) % SLOTS;
    }
}

const fn build() -> [u8; SLOTS] {
    assert!(ROWS.len() < EMPTY as usize && ROWS.len() < SLOTS);
    let mut index = [EMPTY; SLOTS];
    let mut row = 0;
    while row < ROWS.len() {
        let path = ROWS[row].path().as_bytes();
        assert!(path.len() >= MIN_PATH);
        let mut slot = hash(path);
        while index[slot] != EMPTY {
            slot = (slot + 1) % SLOTS;
        }
        index[slot] = row as u8;
        row += 1;
    }
    index
}

/// Mixes the length and the last 16 bytes: the parts in which the paths differ.
const fn hash(path: &[u8]) -> usize {
    let (_, last) = path.split_at(path.len() - 16);
    let (a, b) = last.split_at(8);
    let mixed = word(a) ^ word(b).rotate_left(31) ^ path.len() as u64;
    (mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - SLOTS.ilog2())) as usize
}

const fn word(b: &[u8]) -> u64 {
    u64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]])
}
