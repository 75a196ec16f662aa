//! One setting that differs between two configurations. Knows nothing of how the difference is found.

use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// One thing that is otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Change {
    /// What.
    pub what: Cow<'static, str>,
    /// How it was.
    pub before: String,
    /// How it is.
    pub after: String,
}
