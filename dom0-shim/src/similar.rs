//! "Did you mean": the known word that is nearest to a wrong one.
//!
//! Nearest is the fewest letters to insert, remove or exchange, or to swap with a neighbour. Words longer than `MAX`
//! are similar to nothing.

/// Longest word that is compared.
const MAX: usize = 32;

/// How many edits make `a` of `b`; `None` if one of them is too long.
fn distance(a: &[u8], b: &[u8]) -> Option<usize> {
    if a.len() > MAX || b.len() > MAX {
        return None;
    }
    // Rows of the usual table: the one before the last, the last, and this one.
    let mut rows = [[0usize; MAX + 1]; 3];
    rows[1] = core::array::from_fn(|j| j);
    for i in 1..=a.len() {
        let (old, last) = (rows[0], rows[1]);
        let row = &mut rows[2];
        row[0] = i;
        for j in 1..=b.len() {
            let exchange = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = exchange.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(old[j - 2] + 1);
            }
        }
        rows.rotate_left(1);
    }
    Some(rows[1][b.len()])
}

/// Finds the nearest of the words it is shown.
#[derive(Debug)]
pub struct Nearest<'w> {
    wrong: &'w [u8],
    best: usize,
}

impl<'w> Nearest<'w> {
    /// For a word that is not known. Nothing is near enough that needs more edits than a third of its letters.
    pub fn new(wrong: &'w str) -> Nearest<'w> {
        Nearest {
            wrong: wrong.as_bytes(),
            best: wrong.len() / 3 + 2,
        }
    }

    /// Whether `known` is nearer than all before it.
    pub fn nearer(&mut self, known: &[u8]) -> bool {
        match distance(self.wrong, known) {
            Some(d) if d < self.best && d < known.len() => {
                self.best = d;
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_edits() {
        let d = |a: &str, b: &str| distance(a.as_bytes(), b.as_bytes());
        assert_eq!(d("list", "list"), Some(0));
        assert_eq!(d("lsit", "list"), Some(1));
        assert_eq!(d("", "list"), Some(4));
        assert_eq!(d("poollist", "pool-list"), Some(1));
        assert_eq!(d("kitten", "sitting"), Some(3));
        assert_eq!(d("x", &"y"[..0]), Some(1));
        assert_eq!(distance(&[0; 33], b""), None);
        assert_eq!(distance(&[0; 32], &[1; 32]), Some(32));
    }

    #[test]
    fn far_words_are_not_suggested() {
        assert!(!Nearest::new("xyz").nearer(b"list"));
        assert!(Nearest::new("destory").nearer(b"destroy"));
        assert!(!Nearest::new("a").nearer(b"b"));
    }
}
