//! What a route requires of the sender of a request, as written.

use crate::union::short_or_long;
use crate::{Exactly, HeaderName, RequiredScheme, Spanned};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;

/// `off`, the name of a scheme, or settings.
#[derive(Debug, Clone)]
pub enum RequireSetting {
    /// One scheme, or none with `off`.
    Scheme(RequiredScheme),
    /// Several schemes, or conditions.
    Settings(Box<Require>),
}

short_or_long!(RequireSetting: Scheme(RequiredScheme) | Settings(Box<Require>));

/// What a request needs to be admitted; all that is given must hold.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Require {
    /// Schemes of `authentication`, one of which must verify the request. The first that does decides who
    /// its user is.
    #[schemars(length(min = 1))]
    pub any: Vec<Spanned<String>>,
    /// Claims and what each must be; otherwise the request is answered 403.
    #[serde(default)]
    pub claims: BTreeMap<String, Spanned<ClaimMatch>>,
    /// The place where the request names a user that must be the verified one; otherwise it is answered
    /// 403. So nobody can ask for what belongs to another user.
    #[serde(default)]
    pub user_matches: Option<Spanned<UserSource>>,
}

/// What a claim must be. A list of strings, and a string of words separated by spaces such as `scope`, have
/// several values.
#[derive(Debug, Clone)]
pub enum ClaimMatch {
    /// This value, and no other.
    Equals(Exactly),
    /// A condition.
    Condition(Box<ClaimCondition>),
}

short_or_long!(ClaimMatch: Equals(Exactly) | Condition(Box<ClaimCondition>));

/// A condition on a claim.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ClaimCondition {
    /// A value that must be among the values.
    pub contains: Option<Spanned<String>>,
    /// Values, one of which must be among the values.
    pub any_of: Vec<Spanned<String>>,
}

/// A place where a request names a user.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum UserSource {
    /// The name of a query parameter.
    Query(String),
    /// The name of a header.
    Header(HeaderName),
    /// The name of a cookie.
    Cookie(String),
}
