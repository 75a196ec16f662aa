//! Which route takes a request: the rules, and the table that finds the most specific one.

mod rule;
mod table;

pub use rule::{PathRule, Rule, ValueRule};
pub use table::{Miss, Query, Table};
