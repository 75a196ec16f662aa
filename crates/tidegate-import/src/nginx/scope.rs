//! The directives of a block together with those inherited from outer blocks. It does not know what a directive means.

use super::tree::Directive;

/// A block with those around it, the outermost first.
#[derive(Debug, Clone)]
pub(super) struct BlockScope<'d> {
    levels: Vec<&'d [Directive]>,
}

impl<'d> BlockScope<'d> {
    pub(super) fn outermost(outermost: &'d [Directive]) -> Self {
        Self { levels: vec![outermost] }
    }

    /// The scope of a block in this one.
    pub(super) fn inherit(&self, block: &'d [Directive]) -> Self {
        let mut levels = self.levels.clone();
        levels.push(block);
        Self { levels }
    }

    /// The directives of this name that apply: those of the innermost level that has any.
    pub(super) fn all(&self, name: &str) -> Vec<&'d Directive> {
        self.all_of(&[name])
    }

    /// The directives of these names that apply together: those of the innermost level that has any, in their order.
    pub(super) fn all_of(&self, names: &[&str]) -> Vec<&'d Directive> {
        let of_level = |level: &&'d [Directive]| {
            let is_named = |directive: &&Directive| names.contains(&directive.name.as_str());
            level.iter().filter(is_named).collect::<Vec<_>>()
        };
        self.levels.iter().rev().map(of_level).find(|found| !found.is_empty()).unwrap_or_default()
    }

    /// The directive of this name that applies.
    pub(super) fn last(&self, name: &str) -> Option<&'d Directive> {
        self.all(name).into_iter().next_back()
    }

    /// The first argument of the directive that applies.
    pub(super) fn value(&self, name: &str) -> Option<&'d str> {
        self.last(name).and_then(|directive| directive.argument(0))
    }

    /// Whether the directive that applies is `on`.
    pub(super) fn is_on(&self, name: &str) -> bool {
        self.value(name) == Some("on")
    }

    /// The directives of the innermost block alone.
    pub(super) fn own_directives(&self) -> &'d [Directive] {
        self.levels.last().copied().unwrap_or_default()
    }
}
