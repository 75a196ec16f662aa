use super::{Path, Spanned};
use schemars::JsonSchema;
use serde::Deserialize;

/// Serves files of a folder, for `GET` and `HEAD`, with ranges and conditional requests. Nothing
/// outside the folder can be reached, by a symbolic link neither; what begins with a dot is not
/// there, except `.well-known`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Files {
    /// The folder. Relative paths start at the folder of the configuration file. The path of a
    /// request is added to it, after `rewrite.prefix`. It may be a symbolic link that a deployment
    /// replaces.
    pub root: Spanned<String>,
    /// The file that stands for a folder.
    #[serde(default)]
    pub index: Option<Spanned<String>>,
    /// The file for a path that is none, unless its last segment has a dot: `/index.html` for an
    /// application that has its own routes.
    #[serde(default)]
    pub fallback: Option<Spanned<Path>>,
    /// `Cache-Control` of the files. With `no-cache` clients keep them, and ask each time whether
    /// they have changed.
    #[serde(default)]
    pub cache_control: Option<Spanned<String>>,
    /// Paths below the folder, as glob patterns (`assets/**`), whose files never change, as their
    /// names do instead: `Cache-Control: public, max-age=31536000, immutable`.
    #[serde(default)]
    pub immutable: Vec<Spanned<String>>,
}
