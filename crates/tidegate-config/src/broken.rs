//! The parts of a configuration that could not be read, so that one mistake gives one error and not a second for what
//! is missing. Knows no key.

use std::collections::BTreeSet;
use std::ops::Bound;

/// The parts of a configuration that were read with a problem, by their paths. They are missing
/// from what is compiled, and what misses them is no mistake of its own.
#[derive(Debug, Clone, Default)]
pub struct BrokenParts(BTreeSet<String>);

impl BrokenParts {
    /// These parts, and those within them.
    pub fn from_paths(paths: impl IntoIterator<Item = String>) -> Self {
        Self(paths.into_iter().filter(|path| !path.is_empty()).collect())
    }

    /// Whether this part is broken as a whole.
    pub fn is_whole(&self, path: &str) -> bool {
        self.0.contains(path)
    }

    /// Whether this part is broken, or one within it.
    pub fn is_any_within(&self, path: &str) -> bool {
        let from = (Bound::Included(path), Bound::Unbounded);
        // Those that begin so stand together, with others such as `routes[10]` between them.
        let mut following =
            self.0.range::<str, _>(from).take_while(|broken| broken.starts_with(path));
        following.any(|broken| is_within(broken, path))
    }
}

/// Whether the path leads to the part, or into it.
fn is_within(path: &str, part: &str) -> bool {
    path.strip_prefix(part).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn part_is_broken_when_a_key_inside_it_is() {
        let broken = BrokenParts::from_paths(
            ["", "routes[1].match.path", "upstreams.a-b"].map(str::to_owned),
        );
        for part in ["routes", "routes[1]", "routes[1].match", "routes[1].match.path", "upstreams"]
        {
            assert!(broken.is_any_within(part), "{part}");
        }
        for part in ["route", "routes[10]", "routes[1].mat", "upstreams.a", "upstreams.a-b.tls"] {
            assert!(!broken.is_any_within(part), "{part}");
        }
    }
}
