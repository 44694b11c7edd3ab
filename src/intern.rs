//! Texts that come again and again, kept once: tables of fixed size that only grow, read without a lock.
//!
//! [`Interner`] gives static text to spans, so that a name costs no allocation per call. It is one table for the process
//! (a span's name must be `'static`), it holds nothing but text, and it is bounded: what finds no room is not kept.
//! [`Names`] numbers the texts that one layer has seen and refuses all beyond a maximum, which bounds the layer's series.

use std::sync::{
    OnceLock,
    atomic::{AtomicUsize, Ordering},
};

/// Names of HTTP servers' spans, `POST /orders/{id}`: as many as there are methods and routes.
pub(crate) static ROUTES: Interner = Interner::new();

/// What a message names: components, app ids, `publish orders`.
pub(crate) static NAMES: Interner = Interner::new();

/// A power of two.
const SLOTS: usize = 1024;

/// How far a text is searched for from its first slot on.
const PROBES: usize = 8;

/// A longer text is not kept.
const MAX_TEXT: usize = 512;

/// A bounded set of texts that live as long as the process.
#[derive(Debug)]
pub(crate) struct Interner {
    slots: [OnceLock<&'static str>; SLOTS],
}

impl Interner {
    const fn new() -> Self {
        Self { slots: [const { OnceLock::new() }; SLOTS] }
    }

    /// The text as a static one; `None` if there is no room for it.
    pub(crate) fn get(&self, text: &str) -> Option<&'static str> {
        self.find(hash(text), text.len(), |kept| kept == text, || text.to_owned())
    }

    /// `"{first} {second}"` as a static text, without putting it together if it is there; `None` if there is no room.
    pub(crate) fn pair(&self, first: &str, second: &str) -> Option<&'static str> {
        let is_pair = |kept: &str| {
            kept.strip_prefix(first).and_then(|rest| rest.strip_prefix(' ')).is_some_and(|rest| rest == second)
        };
        let len = first.len() + 1 + second.len();
        self.find(hash(first) ^ hash(second).rotate_left(7), len, is_pair, || format!("{first} {second}"))
    }

    fn find(
        &self,
        hash: usize,
        len: usize,
        is: impl Fn(&str) -> bool,
        make: impl Fn() -> String,
    ) -> Option<&'static str> {
        if len > MAX_TEXT {
            return None;
        }
        (0..PROBES).find_map(|probe| {
            let slot = &self.slots[hash.wrapping_add(probe) % SLOTS];
            let kept: &'static str = slot.get_or_init(|| Box::leak(make().into_boxed_str()));
            is(kept).then_some(kept)
        })
    }
}

/// The number of a text in its [`Names`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Name(u16);

impl Name {
    /// Stands for every text that there was no room for.
    pub(crate) const OTHER: Self = Self(u16::MAX);

    pub(crate) fn number(self) -> u16 {
        self.0
    }
}

type Pair = (Box<str>, Box<str>);

/// The texts that one layer has seen, the first `max` of them. An entry is a pair, of which the second may be empty.
#[derive(Debug)]
pub(crate) struct Names {
    slots: Box<[OnceLock<Pair>]>,
    taken: AtomicUsize,
    max: usize,
}

impl Names {
    pub(crate) fn new(max: usize) -> Self {
        // Half empty at most, so that a search ends soon; and a slot's number fits, with the one that is taken.
        let max = max.min(usize::from(u16::MAX) / 4);
        let slots = (0..(max * 2).next_power_of_two().max(2)).map(|_| OnceLock::new()).collect();
        Self { slots, taken: AtomicUsize::new(0), max }
    }

    /// The number of a pair; [`Name::OTHER`] if it is new and `max` are known already.
    pub(crate) fn number(&self, first: &str, second: &str) -> Name {
        self.search(first, second, true).unwrap_or(Name::OTHER)
    }

    /// The number of a pair that is known already.
    pub(crate) fn known(&self, first: &str, second: &str) -> Option<Name> {
        self.search(first, second, false)
    }

    /// The pair of a number; `None` for [`Name::OTHER`].
    pub(crate) fn text(&self, name: Name) -> Option<(&str, &str)> {
        let (first, second) = self.slots.get(usize::from(name.0))?.get()?;
        Some((first, second))
    }

    fn search(&self, first: &str, second: &str, insert: bool) -> Option<Name> {
        let start = hash(first) ^ hash(second).rotate_left(7);
        for probe in 0..self.slots.len() {
            let at = start.wrapping_add(probe) & (self.slots.len() - 1);
            let kept = match self.slots[at].get() {
                Some(kept) => kept,
                None if insert && self.reserve() => {
                    let mut mine = false;
                    let kept = self.slots[at].get_or_init(|| {
                        mine = true;
                        (first.into(), second.into())
                    });
                    if !mine {
                        self.taken.fetch_sub(1, Ordering::Relaxed);
                    }
                    kept
                }
                None => return None,
            };
            if &*kept.0 == first && &*kept.1 == second {
                return u16::try_from(at).ok().map(Name);
            }
        }
        None
    }

    fn reserve(&self) -> bool {
        let next = |taken: usize| (taken < self.max).then_some(taken + 1);
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).is_ok()
    }
}

/// Eight bytes at a time. The tables are small and bounded: whoever makes texts collide gains nothing.
fn hash(text: &str) -> usize {
    const MIX: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut hash = text.len() as u64;
    let mut words = text.as_bytes().chunks_exact(8);
    for word in &mut words {
        let word = u64::from_le_bytes(word.try_into().unwrap_or_default());
        hash = (hash.rotate_left(5) ^ word).wrapping_mul(MIX);
    }
    for byte in words.remainder() {
        hash = (hash.rotate_left(5) ^ u64::from(*byte)).wrapping_mul(MIX);
    }
    (hash >> 32) as usize
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::{Interner, Name, Names};

    #[test]
    fn a_text_is_kept_once() {
        static TEXTS: Interner = Interner::new();
        let (first, again) = (TEXTS.get("orders").unwrap(), TEXTS.get(&String::from("orders")).unwrap());
        assert!(std::ptr::eq(first, again));
        let pair = TEXTS.pair("GET", "/orders/{id}").unwrap();
        assert_eq!(pair, "GET /orders/{id}");
        assert!(std::ptr::eq(pair, TEXTS.pair("GET", "/orders/{id}").unwrap()));
        assert_eq!(TEXTS.get(&"x".repeat(1000)), None);
    }

    #[test]
    fn a_full_table_keeps_what_it_has_and_takes_no_more() {
        static TEXTS: Interner = Interner::new();
        let kept: HashSet<_> = (0..100_000).filter_map(|n| TEXTS.get(&n.to_string())).collect();
        assert!(kept.len() <= super::SLOTS, "{}", kept.len());
        assert_eq!(TEXTS.get("0"), Some("0"));
    }

    #[test]
    fn names_beyond_the_maximum_are_one() {
        let names = Names::new(3);
        let number = |n: usize| names.number(&n.to_string(), "");
        let first: Vec<_> = (0..3).map(number).collect();
        assert_eq!((3..1000).map(number).collect::<Vec<_>>(), vec![Name::OTHER; 997]);
        assert_eq!((0..3).map(number).collect::<Vec<_>>(), first);
        assert_eq!(names.text(first[1]), Some(("1", "")));
        assert_eq!((names.text(Name::OTHER), names.known("9", "")), (None, None));
        assert_eq!(Names::new(0).number("a", ""), Name::OTHER);
    }

    #[test]
    fn threads_that_race_do_not_exceed_the_maximum() {
        let names = Names::new(8);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let names = &names;
                scope.spawn(move || {
                    for n in 0..1000 {
                        names.number(&format!("{}", (n * 7 + thread) % 100), "");
                    }
                });
            }
        });
        let kept = (0..100).filter(|n| names.known(&n.to_string(), "").is_some()).count();
        assert_eq!(kept, 8);
    }
}
