//! A set of interrupts that knows its highest-priority member.
//!
//! Finding the best of up to 1020 must not be paid by every delivery: each word of 32 remembers its best member and
//! looks again only after it has changed, so a choice costs at most one look at each word.

use super::{WORDS, bits};

/// Interrupts of one vCPU's view (word 0 private, the others shared).
#[derive(Clone, Debug)]
pub(super) struct PrioSet {
    /// Bit w set iff `words[w]` is not zero.
    sum: u32,
    /// Words whose best member must be looked for again.
    stale: u32,
    words: [u32; WORDS],
    /// Best member of a word, and its priority.
    member: [u8; WORDS],
    priority: [u8; WORDS],
    /// The members for which that was found out; 0 if nobody knows.
    seen: [u32; WORDS],
}

impl PrioSet {
    pub(super) const EMPTY: PrioSet = PrioSet {
        sum: 0,
        stale: 0,
        words: [0; WORDS],
        member: [0; WORDS],
        priority: [0; WORDS],
        seen: [0; WORDS],
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

    /// Replaces the members of word `w`.
    #[inline]
    pub(super) fn set_word(&mut self, w: usize, members: u32) {
        let bit = 1 << (w & (WORDS - 1));
        self.words[w & (WORDS - 1)] = members;
        self.stale |= bit;
        if members == 0 {
            self.sum &= !bit;
        } else {
            self.sum |= bit;
        }
    }

    /// The same for a set whose members do not change priority unnoticed while they are out of it (`reprioritise`): if
    /// they are back as they were, as after a group has been switched off and on, nothing has to be looked for again.
    #[inline]
    pub(super) fn set_word_again(&mut self, w: usize, members: u32) {
        self.set_word(w, members);
        if members == self.seen[w & (WORDS - 1)] {
            self.stale &= !(1 << (w & (WORDS - 1)));
        }
    }

    #[inline]
    pub(super) fn insert(&mut self, w: usize, m: u32) {
        self.set_word(w, self.word(w) | m);
    }

    #[inline]
    pub(super) fn remove(&mut self, w: usize, m: u32) {
        self.set_word(w, self.word(w) & !m);
    }

    /// A priority in word `w` has changed.
    #[inline]
    pub(super) fn reprioritise(&mut self, w: usize) {
        self.stale |= 1 << (w & (WORDS - 1));
        self.seen[w & (WORDS - 1)] = 0;
    }

    /// The member of highest priority (lowest number), the lowest INTID among equals. `private` and `shared` are the
    /// priorities of INTIDs 0 to 31 and from 32.
    #[inline]
    pub(super) fn best(&mut self, private: &[u8; 32], shared: &[u8]) -> Option<u16> {
        if self.sum == 0 {
            return None;
        }
        let w = self.sum.trailing_zeros() as usize;
        let word = self.word(w);
        if self.sum & (self.sum - 1) == 0 && word & word.wrapping_sub(1) == 0 {
            return Some((w * 32) as u16 + word.trailing_zeros() as u16);
        }
        self.best_of_many(private, shared)
    }

    #[inline(never)]
    fn best_of_many(&mut self, private: &[u8; 32], shared: &[u8]) -> Option<u16> {
        for w in bits(self.stale & self.sum) {
            let priorities = match w.checked_sub(1) {
                None => &private[..],
                Some(w) => shared.get(w * 32..).unwrap_or(&[]),
            };
            let (mut member, mut best) = (0, u8::MAX);
            for (n, p) in priorities.iter().enumerate().take(32) {
                if *p < best && self.words[w] >> n & 1 != 0 {
                    (member, best) = (n as u8, *p);
                }
            }
            if best == u8::MAX {
                member = self.words[w].trailing_zeros() as u8; // all of them have the lowest priority
            }
            self.member[w] = member;
            self.priority[w] = best;
            self.seen[w] = self.words[w];
        }
        self.stale &= !self.sum;
        let mut found: Option<(u8, usize)> = None;
        for w in bits(self.sum) {
            if found.is_none_or(|(priority, _)| self.priority[w] < priority) {
                found = Some((self.priority[w], w));
            }
        }
        found.map(|(_, w)| (w * 32) as u16 + u16::from(self.member[w] & 31))
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
        assert_eq!(set.best(&private, &shared), None);
        set.insert(2, 1 << 5);
        assert_eq!(set.best(&private, &shared), Some(69));
        set.insert(0, 1 << 7 | 1 << 9);
        assert_eq!(set.best(&private, &shared), Some(7));
        shared[37] = 0x50;
        set.reprioritise(2);
        assert_eq!(set.best(&private, &shared), Some(69));
        set.remove(2, 1 << 5);
        private[9] = 0;
        set.reprioritise(0);
        assert_eq!(set.best(&private, &shared), Some(9));
        private.fill(0xff);
        set.reprioritise(0);
        assert_eq!(set.best(&private, &shared), Some(7));
        // Out and in again: as it was, unless a priority has changed meanwhile.
        for (changed, first) in [(false, 7), (true, 9)] {
            set.set_word_again(0, 0);
            if changed {
                private[9] = 1;
                set.reprioritise(0);
            }
            set.set_word_again(0, 1 << 7 | 1 << 9);
            assert_eq!(set.stale & 1 != 0, changed, "looked for again only then");
            assert_eq!(set.best(&private, &shared), Some(first));
        }
        set.set_word_again(0, 1 << 7 | 1 << 8);
        assert_eq!(set.best(&private, &shared), Some(7));
        set.set_word(0, 0);
        assert!(set.is_empty() && set.best(&private, &shared).is_none());
    }
}
