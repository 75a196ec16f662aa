//! Which route takes a request: the rules, and the table that finds the most specific one. It knows nothing of what a
//! route does with the request.

mod rule;
mod table;

pub use rule::{Condition, PathRule, Rule, ValueRule};
pub use table::{Miss, Query, Table};
pub use tidegate_http::host::HostPattern;
