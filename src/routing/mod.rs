//! Which route takes a request: the rules, and the table that finds the most specific one.

mod rule;
mod table;

pub(crate) use rule::ValueRule;
pub use rule::{PathRule, Rule};
pub(crate) use table::Miss;
pub use table::{Query, Table};
