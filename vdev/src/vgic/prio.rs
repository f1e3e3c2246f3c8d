//! A set of interrupts that knows its highest-priority member.
//!
//! Finding the best of up to 1020 must not be paid by every delivery, nor all at once by whoever comes after many changes:
//! each byte of 8, each word of 32 and each eight words know their best member, and who changes members or a priority
//! corrects all three. A choice is a look at four numbers.

use super::{WORDS, bits};

/// A member and its priority as one number, the better the lower: priority, then number in the word.
type Key = u16;
/// No member.
const NONE: Key = Key::MAX;

/// Interrupts of one vCPU's view (word 0 private, the others shared).
#[derive(Clone, Debug)]
pub(super) struct PrioSet {
    /// Bit w set iff `words[w]` is not zero.
    sum: u32,
    words: [u32; WORDS],
    /// The best of each eight.
    eights: [[Key; 4]; WORDS],
    /// The best of each word.
    bests: [Key; WORDS],
    /// The best of each eight words: its priority, then the word.
    tops: [Key; WORDS / 8],
}

impl PrioSet {
    pub(super) const EMPTY: PrioSet = PrioSet {
        sum: 0,
        words: [0; WORDS],
        eights: [[NONE; 4]; WORDS],
        bests: [NONE; WORDS],
        tops: [NONE; WORDS / 8],
    };

    #[inline]
    pub(super) const fn is_empty(&self) -> bool {
        self.sum == 0
    }

    /// Words with members, as a mask.
    #[inline]
    pub(super) const fn sum(&self) -> u32 {
        self.sum
    }

    /// Members in word `w`.
    #[inline]
    pub(super) const fn word(&self, w: usize) -> u32 {
        self.words[w & (WORDS - 1)]
    }

    /// Replaces the members of word `w`, whose priorities are `prio` (of the last word there may be fewer than 32).
    #[inline]
    pub(super) fn set_word(&mut self, w: usize, members: u32, prio: &[u8]) {
        let w = w & (WORDS - 1);
        let changed = self.words[w] ^ members;
        self.words[w] = members;
        if members == 0 {
            self.sum &= !(1 << w);
            self.eights[w] = [NONE; 4];
            self.bests[w] = NONE;
            self.correct_top(w);
            return;
        }
        self.sum |= 1 << w;
        if changed & !members == 0 {
            return self.added(w, changed, prio);
        }
        self.correct(w, changed, prio);
    }

    /// Members `m` of word `w` are new: each is the best of its eight, its word and its eight words, or it is not.
    fn added(&mut self, w: usize, m: u32, prio: &[u8]) {
        let mut word = self.bests[w];
        for n in bits(m) {
            let key = key(n, prio);
            let eight = &mut self.eights[w][n / 8 % 4];
            *eight = (*eight).min(key);
            word = word.min(key);
        }
        self.bests[w] = word;
        let top = &mut self.tops[w / 8 % (WORDS / 8)];
        *top = (*top).min(word & 0xff00 | w as Key);
    }

    /// Looks again at every eight of word `w` with one of `changed` in it.
    fn correct(&mut self, w: usize, changed: u32, prio: &[u8]) {
        for (i, best) in self.eights[w].iter_mut().enumerate() {
            if changed >> (8 * i) & 0xff == 0 {
                continue;
            }
            *best = NONE;
            for n in bits(self.words[w] & 0xff << (8 * i)) {
                *best = (*best).min(key(n, prio));
            }
        }
        let [a, b, c, d] = self.eights[w];
        let best = a.min(b).min(c.min(d));
        if best != self.bests[w] {
            self.bests[w] = best;
            self.correct_top(w);
        }
    }

    /// Looks again at the eight words around `w`.
    fn correct_top(&mut self, w: usize) {
        let mut top = NONE;
        for w in bits(self.sum & 0xff << (w & 24)) {
            top = top.min(self.bests[w & (WORDS - 1)] & 0xff00 | w as Key);
        }
        self.tops[w / 8 % (WORDS / 8)] = top;
    }

    #[inline]
    pub(super) fn insert(&mut self, w: usize, m: u32, prio: &[u8]) {
        self.set_word(w, self.word(w) | m, prio);
    }

    #[inline]
    pub(super) fn remove(&mut self, w: usize, m: u32, prio: &[u8]) {
        self.set_word(w, self.word(w) & !m, prio);
    }

    /// The priorities of interrupts `m` of word `w` have changed.
    #[inline]
    pub(super) fn reprioritise(&mut self, w: usize, m: u32, prio: &[u8]) {
        let w = w & (WORDS - 1);
        if self.words[w] & m != 0 {
            self.correct(w, m, prio);
        }
    }

    /// The member of highest priority (lowest number), the lowest INTID among equals.
    #[inline]
    pub(super) fn best(&self) -> Option<u16> {
        let [a, b, c, d] = self.tops;
        let w = match a.min(b).min(c.min(d)) {
            NONE => return None,
            top => top & 31,
        };
        Some(w * 32 + (self.bests[usize::from(w)] & 31))
    }
}

#[inline]
fn key(n: usize, prio: &[u8]) -> Key {
    Key::from(prio.get(n).copied().unwrap_or(u8::MAX)) << 8 | n as Key
}

/// The priorities of word `w`: `private` are those of INTIDs 0 to 31, `shared` those from 32.
#[inline]
pub(super) fn of_word<'a>(w: usize, private: &'a [u8; 32], shared: &'a [u8]) -> &'a [u8] {
    match w.checked_sub(1) {
        None => private,
        Some(w) => shared.get(w * 32..).unwrap_or(&[]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_best_after_every_change() {
        let mut private = [0xa0; 32];
        let mut shared = [0xa0; 64];
        let mut set = PrioSet::EMPTY;
        assert_eq!(set.best(), None);
        set.insert(2, 1 << 5, &shared[32..]);
        assert_eq!(set.best(), Some(69));
        set.insert(0, 1 << 7 | 1 << 9, &private);
        assert_eq!(set.best(), Some(7));
        shared[37] = 0x50;
        set.reprioritise(2, 1 << 5, &shared[32..]);
        assert_eq!(set.best(), Some(69));
        set.remove(2, 1 << 5, &shared[32..]);
        private[9] = 0;
        set.reprioritise(0, 1 << 9, &private);
        assert_eq!(set.best(), Some(9));
        private.fill(0xff);
        set.reprioritise(0, !0, &private);
        assert_eq!(set.best(), Some(7));
        set.set_word(0, 1 << 31, &private);
        assert_eq!(set.best(), Some(31), "all have the lowest priority");
        set.set_word(0, 0, &private);
        assert!(set.is_empty() && set.best().is_none());
    }

    #[test]
    fn agrees_with_a_search_through_all() {
        let mut seed = 88_172_645_463_325_252u64;
        let mut random = |n: u64| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed % n
        };
        let (mut private, mut shared) = ([0; 32], [0; 988]);
        let mut set = PrioSet::EMPTY;
        for _ in 0..20_000 {
            let w = random(32) as usize;
            let m = random(1 << 32) as u32 & if w == 31 { 0x0fff_ffff } else { !0 };
            match random(4) {
                0 => set.insert(w, m & 1 << random(32), of_word(w, &private, &shared)),
                1 => set.remove(w, m, of_word(w, &private, &shared)),
                2 => set.set_word(w, m, of_word(w, &private, &shared)),
                _ => {
                    let n = random(28) as usize;
                    let prio = if w == 0 {
                        &mut private[n]
                    } else {
                        &mut shared[(w - 1) * 32 + n]
                    };
                    *prio = random(4) as u8 * 0x55;
                    set.reprioritise(w, 1 << n, of_word(w, &private, &shared));
                }
            }
            let all = (0..WORDS).flat_map(|w| bits(set.word(w)).map(move |n| (w, n)));
            let best = all.min_by_key(|(w, n)| (of_word(*w, &private, &shared)[*n], w * 32 + n));
            assert_eq!(set.best(), best.map(|(w, n)| (w * 32 + n) as u16));
        }
    }
}
