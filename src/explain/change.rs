//! One setting that two configurations have differently.
//! It knows nothing of how that is found.

use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// One thing that is otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// What.
    pub what: Cow<'static, str>,
    /// How it was.
    pub before: String,
    /// How it is.
    pub after: String,
}
