//! A bounded set of values that were seen not long ago. Knows nothing of what they are.

use std::collections::{HashSet, VecDeque};

/// Maximum number of values; the oldest make room.
const CAPACITY: usize = 16_384;

/// Values, each remembered until a time.
#[derive(Debug, Default)]
pub(super) struct RecentSet {
    values: HashSet<Box<str>>,
    order: VecDeque<(u64, Box<str>)>,
}

impl RecentSet {
    /// Remembers the value; `false` if it is remembered already.
    pub(super) fn insert(&mut self, value: &str, until: u64, now: u64) -> bool {
        let is_over = |(end, _): &(u64, Box<str>)| *end < now;
        while self.order.len() >= CAPACITY || self.order.front().is_some_and(is_over) {
            let Some((_, oldest)) = self.order.pop_front() else { break };
            self.values.remove(&oldest);
        }
        if !self.values.insert(value.into()) {
            return false;
        }
        self.order.push_back((until, value.into()));
        true
    }

    /// Whether the value is remembered.
    pub(super) fn contains(&self, value: &str) -> bool {
        self.values.contains(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn value_is_remembered_until_its_time_and_the_set_is_bounded() {
        let mut set = RecentSet::default();
        assert!(set.insert("a", 10, 0));
        assert!(!set.insert("a", 10, 10));
        assert!(set.insert("a", 20, 11));
        for number in 0..CAPACITY {
            assert!(set.insert(&number.to_string(), 100, 12));
        }
        assert!(!set.contains("a"));
        assert_eq!((set.values.len(), set.order.len()), (CAPACITY, CAPACITY));
    }
}
