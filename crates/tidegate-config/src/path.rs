//! A route's `path` setting, as written. Reads no path.

use super::union::short_or_long;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::str::FromStr;

/// The form in which a route passes paths on.
#[derive(Debug, Clone)]
pub enum PathSetting {
    /// One word for all of it.
    Form(PathForm),
    /// Each part by itself.
    Settings(PathSettings),
}

short_or_long!(PathSetting: Form(PathForm) | Settings(PathSettings));

/// The form in which a route passes paths on, as one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PathForm {
    /// The normal form.
    Normal,
    /// Byte for byte as received.
    Raw,
}

impl FromStr for PathForm {
    type Err = String;

    fn from_str(written: &str) -> Result<Self, String> {
        match written {
            "normal" => Ok(Self::Normal),
            "raw" => Ok(Self::Raw),
            _ => Err("expected `normal` or `raw`".to_owned()),
        }
    }
}

/// The form in which a route passes paths on, for each part. With all three set to `keep` it is the
/// same as `raw`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PathSettings {
    /// `%2F`, `%5C` and `\\`: `reject` answers 400, `keep` passes them on, `decode` makes each a
    /// `/`.
    pub encoded_slash: Option<EncodedSlash>,
    /// `//`: `merge` merges it into one slash, `keep` passes it on.
    pub duplicate_slashes: Option<DuplicateSlashes>,
    /// `.` and `..` as segments: `resolve` resolves them (RFC 3986, section 5.2.4), `keep` passes
    /// them on.
    pub dot_segments: Option<DotSegments>,
}

/// Handling of an encoded slash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EncodedSlash {
    /// Answers 400.
    Reject,
    /// Passes it on.
    Keep,
    /// Turns it into a slash.
    Decode,
}

/// Handling of `//`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DuplicateSlashes {
    /// Merges it into one slash.
    Merge,
    /// Passes it on.
    Keep,
}

/// Handling of dot segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DotSegments {
    /// Resolves them.
    Resolve,
    /// Passes them on.
    Keep,
}
