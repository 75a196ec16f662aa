use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

/// How many lines are kept.
const KEPT: usize = 1000;

/// The last lines of a log, for who looks on.
#[derive(Debug, Default)]
pub struct Recent(Mutex<Lines>);

#[derive(Debug, Default)]
struct Lines {
    /// Without the room that they were written with.
    lines: VecDeque<Box<[u8]>>,
    /// How many there have been.
    count: u64,
}

impl Recent {
    /// Adds lines, their line feeds included.
    pub(super) fn add(&self, lines: impl Iterator<Item = Vec<u8>>) {
        let lines: Vec<Box<[u8]>> = lines.map(Vec::into_boxed_slice).collect();
        let mut recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for line in lines {
            recent.count += 1;
            recent.lines.push_back(line);
            if recent.lines.len() > KEPT {
                recent.lines.pop_front();
            }
        }
    }

    /// The lines after the one of this number, at most so many, the newest; and the number of the
    /// newest of all.
    pub fn after(&self, number: u64, limit: usize) -> (u64, Vec<String>) {
        let recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A number from the future is one of another process.
        let new = recent.count.checked_sub(number).unwrap_or(recent.count);
        let wanted = usize::try_from(new).unwrap_or(limit).min(limit).min(recent.lines.len());
        let skipped = recent.lines.len() - wanted;
        let lines = recent.lines.iter().skip(skipped);
        (
            recent.count,
            lines.map(|line| String::from_utf8_lossy(line).trim_end().to_owned()).collect(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_looks_on_misses_nothing_and_sees_nothing_twice() {
        let recent = Recent::default();
        let add = |range: std::ops::Range<u64>| {
            recent.add(range.map(|number| format!("{number}\n").into_bytes()));
        };
        add(0..3);
        let (seen, lines) = recent.after(0, 10);
        assert_eq!((seen, lines.join(" ")), (3, "0 1 2".to_owned()));
        assert_eq!(recent.after(seen, 10), (3, Vec::new()));
        add(3..5);
        assert_eq!(recent.after(seen, 10), (5, vec!["3".to_owned(), "4".to_owned()]));
        assert_eq!(recent.after(seen, 1), (5, vec!["4".to_owned()]), "the newest");
        assert_eq!(recent.after(99, 10).1.len(), 5);
        add(5..5000);
        assert_eq!(recent.after(0, usize::MAX).1.len(), KEPT);
    }
}
